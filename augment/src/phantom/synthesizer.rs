//! The phantom as a generator.

use rayon::prelude::*;

use super::noise::derive;
use super::{Pathology, PhantomFinding, PhantomPatient, PhantomPhysics, PhantomStudy};
use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::image::check_side;
use crate::record::{Label, View, Vocabulary};
use crate::request::SampleRequest;
use crate::supply::{SynthesisError, Synthesized, Synthesizer, SynthesizerCard};

/// Changes whenever the same request would give other pixels.
const RENDERER_VERSION: &[u8] = b"phantom renderer 1";

/// Draws what the labels of a request say, in a new body for each seed.
///
/// Reads labels, age, sex, view and seed; the prompt is not read. Only positive labels are drawn. Labels that the phantom has no
/// drawing for become their [look-alike](Pathology::look_alike) (`Pneumonia` is drawn as `Consolidation`) or nothing
/// (`Hernia`). Age is held to 18 to 95 years. A request without a view is a PA view.
#[derive(Clone, Debug)]
pub struct PhantomSynthesizer {
    vocabulary: Vocabulary,
    physics: PhantomPhysics,
    size: usize,
}

impl PhantomSynthesizer {
    /// A generator of images of `size` pixels a side for labels in `vocabulary`.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] if `size` is 0 or above [`MAX_SIDE`](crate::image::MAX_SIDE).
    pub fn new(vocabulary: Vocabulary, physics: PhantomPhysics, size: usize) -> Result<Self, AugmentError> {
        check_side("generator.size", size)?;
        Ok(Self { vocabulary, physics, size })
    }

    /// The examination that `request` asks for.
    ///
    /// # Errors
    /// [`SynthesisError`] if the labels are not one per finding of the vocabulary, or the view is lateral.
    pub fn study(&self, request: &SampleRequest) -> Result<PhantomStudy, SynthesisError> {
        let refuse = |message: String| SynthesisError { message, source: None };
        if request.labels.len() != self.vocabulary.len() {
            return Err(refuse(format!(
                "the request has {} labels, the phantom's vocabulary {}; ask in the vocabulary that `vocabulary()` gives",
                request.labels.len(),
                self.vocabulary.len()
            )));
        }
        let view = request.view.unwrap_or(View::Pa);
        if view == View::Lateral {
            return Err(refuse("the phantom has no lateral view; ask for PA or AP".to_owned()));
        }
        // One rng for the body and one for everything else, so that a label changes its finding and nothing more.
        let mut patient = PhantomPatient::sample(derive(request.seed, 0));
        patient.sex = request.sex.unwrap_or(patient.sex);
        patient.age = request.age.map_or(patient.age, |age| age.clamp(18.0, 95.0));
        let positive = self.vocabulary.findings().iter().zip(&request.labels).filter(|(_, label)| **label == Label::Positive);
        let mut wanted: Vec<_> = positive.filter_map(|(finding, _)| Pathology::look_alike(*finding)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let findings = wanted.into_iter().map(|pathology| {
            let seed = derive(request.seed, 2 + pathology as u64);
            PhantomFinding::sample(pathology, seed)
        });
        Ok(PhantomStudy::of_findings(patient, findings.collect(), view, derive(request.seed, 1)))
    }
}

impl Synthesizer for PhantomSynthesizer {
    fn fingerprint(&self) -> Fingerprint {
        let physics = serde_json::to_vec(&self.physics).expect("numbers and a string serialise");
        let names: Vec<u8> = self.vocabulary.findings().iter().flat_map(|f| [f.name().as_bytes(), b"\n"].concat()).collect();
        Fingerprint::of(&[RENDERER_VERSION, &physics, &names, &(self.size as u64).to_le_bytes()])
    }

    fn card(&self) -> SynthesizerCard {
        SynthesizerCard::named(format!("phantom ({})", self.physics.name))
    }

    fn vocabulary(&self) -> Option<&Vocabulary> {
        Some(&self.vocabulary)
    }

    fn synthesize(&self, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, SynthesisError> {
        let studies = requests.iter().map(|request| self.study(request)).collect::<Result<Vec<_>, _>>()?;
        Ok(studies.par_iter().map(|study| study.render(self.size, &self.physics).into()).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::record::Sex;
    use crate::text::PromptKind;

    fn synthesizer() -> PhantomSynthesizer {
        PhantomSynthesizer::new(Vocabulary::nih(), PhantomPhysics::shifted(), 24).unwrap()
    }

    fn request(seed: u64, positive: usize) -> SampleRequest {
        let mut labels = vec![Label::Negative; 14];
        labels[positive % 14] = Label::Positive;
        let prompt_kind = PromptKind::Free;
        SampleRequest {
            prompt: String::new(),
            prompt_kind,
            labels,
            seed,
            replica: 0,
            source: None,
            age: None,
            sex: None,
            view: None,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn an_image_does_not_depend_on_its_batch(seeds in proptest::collection::vec(any::<u64>(), 1..5)) {
            let requests: Vec<_> = seeds.iter().enumerate().map(|(i, &seed)| request(seed, i)).collect();
            let together = synthesizer().synthesize(&requests).unwrap();
            for (request, image) in requests.iter().zip(&together) {
                prop_assert_eq!(&synthesizer().synthesize(std::slice::from_ref(request)).unwrap()[0], image);
            }
        }
    }

    #[test]
    fn every_setting_is_in_the_fingerprint() {
        let base = synthesizer();
        let value = serde_json::to_value(&base.physics).unwrap();
        let mut seen = vec![base.fingerprint()];
        for key in value.as_object().unwrap().keys() {
            let mut changed = value.clone();
            changed[key] = match &value[key] {
                Value::String(name) => format!("{name}!").into(),
                Value::Number(n) if n.is_u64() => (n.as_u64().unwrap() + 1).into(),
                number => (number.as_f64().unwrap() + 0.125).into(),
            };
            let physics = serde_json::from_value(changed).unwrap();
            seen.push(PhantomSynthesizer { physics, ..base.clone() }.fingerprint());
        }
        seen.push(PhantomSynthesizer { size: 25, ..base.clone() }.fingerprint());
        seen.push(PhantomSynthesizer { vocabulary: Vocabulary::chexpert(), ..base.clone() }.fingerprint());
        let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len());
        assert_eq!(base.fingerprint(), synthesizer().fingerprint());
        assert_eq!(base.card().model, "phantom (shifted)");
    }

    #[test]
    fn a_request_is_drawn_as_asked() {
        let asked = SampleRequest { age: Some(71.0), sex: Some(Sex::Female), view: Some(View::Ap), ..request(5, 1) };
        let study = synthesizer().study(&asked).unwrap();
        assert_eq!((study.patient.age, study.patient.sex, study.view), (71.0, Sex::Female, View::Ap));
        assert_eq!(study.findings.iter().map(|f| f.pathology).collect::<Vec<_>>(), [Pathology::Cardiomegaly]);
        // Pneumonia (column 6) and Infiltration (3) are both drawn as consolidation, once.
        let mut two = request(5, 6);
        two.labels[3] = Label::Positive;
        let drawn = synthesizer().study(&two).unwrap().findings;
        assert_eq!(drawn.iter().map(|f| f.pathology).collect::<Vec<_>>(), [Pathology::Consolidation]);
    }

    #[test]
    fn what_it_can_not_draw_is_refused_with_advice() {
        let lateral = SampleRequest { view: Some(View::Lateral), ..request(1, 0) };
        assert!(synthesizer().synthesize(&[lateral]).unwrap_err().message.contains("PA or AP"));
        let short = SampleRequest { labels: vec![Label::Positive; 3], ..request(1, 0) };
        assert!(synthesizer().synthesize(&[short]).unwrap_err().message.contains("3 labels"));
    }
}
