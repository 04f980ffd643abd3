//! Several data sets as one.

use std::sync::Arc;

use super::{CxrDataset, Row};
use crate::AugmentError;
use crate::image::{GrayImage, ImageSource, Preprocess};
use crate::record::{CxrRecord, Finding, Label, LabelPolicy, Origin, PatientId, Vocabulary};

impl CxrDataset {
    /// The rows of several data sets, one after the other. Names of images and patients get the name of their set in front
    /// (`nih/00000001_000.png`), so that patient 1 of one set is another person than patient 1 of the next.
    ///
    /// The findings are those of all sets, in order of their first appearance. A set's labels of a finding that it doesn't know are
    /// [`Label::Missing`]. Blank labels of a finding that it does know become what `policy` says of blank ones, here: afterwards, both
    /// would be taken for the same.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for two sets of one name; as [`CxrDataset::new`].
    pub fn merged(name: &str, sets: Vec<(String, Self)>, policy: &LabelPolicy) -> Result<Self, AugmentError> {
        let mut findings: Vec<Finding> = Vec::new();
        for (at, (set, data)) in sets.iter().enumerate() {
            if sets[..at].iter().any(|(earlier, _)| earlier == set) {
                return Err(AugmentError::setting("data.also.name", format!("`{set}` twice"), "another `name` for each set"));
            }
            let new =
                data.vocabulary.findings().iter().filter(|finding| !findings.contains(finding)).copied().collect::<Vec<_>>();
            findings.extend(new);
        }
        let vocabulary = Vocabulary::new(findings)?;
        let (mut rows, mut images, mut notes, mut faults) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (at, (set, data)) in sets.iter().enumerate() {
            for row in data.rows.iter() {
                let record = Arc::new(renamed(set, &row.record, &data.vocabulary, &vocabulary, policy));
                rows.push(Row { record, image: images.len(), line: row.line });
                images.push((at, row.image));
            }
            notes.extend(data.notes.iter().map(|note| format!("{set}: {note}")));
            faults.extend(data.faults.iter().map(|fault| format!("{set}: {fault}")));
        }
        let sources = sets.iter().map(|(_, data)| Arc::clone(&data.source)).collect();
        let merged = Self::new(name, Arc::new(vocabulary), rows, Arc::new(Sources { sources, images }))?;
        Ok(notes.into_iter().fold(merged.with_faults(faults.into_iter()), Self::with_note))
    }
}

/// A record as the merged data set has it.
fn renamed(set: &str, record: &CxrRecord, own: &Vocabulary, all: &Vocabulary, policy: &LabelPolicy) -> CxrRecord {
    let patient = |patient: &PatientId| PatientId::new(&format!("{set}/{patient}"));
    let labels = |labels: &[Label]| -> Vec<Label> {
        let label = |finding: &Finding| match own.position(*finding).map(|column| labels[column]) {
            Some(Label::Missing) => match policy.target(*finding, Label::Missing) {
                Some(target) if target > 0.5 => Label::Positive,
                Some(_) => Label::Negative,
                None => Label::Missing,
            },
            known => known.unwrap_or(Label::Missing),
        };
        all.findings().iter().map(label).collect()
    };
    let mut origin = record.origin.clone();
    if let Origin::Synthetic(provenance) = &mut origin {
        provenance.request.labels = labels(&provenance.request.labels);
        if let Some(source) = &mut provenance.request.source {
            source.patient_id = patient(&source.patient_id);
            if !source.id.is_empty() {
                source.id = format!("{set}/{}", source.id);
            }
        }
    }
    CxrRecord {
        id: format!("{set}/{}", record.id),
        patient_id: record.patient_id.as_ref().map(patient),
        labels: labels(&record.labels),
        origin,
        ..record.clone()
    }
}

/// The images of several data sets.
struct Sources {
    sources: Vec<Arc<dyn ImageSource>>,
    /// Source, and the image's number there.
    images: Vec<(usize, usize)>,
}

impl Sources {
    fn at(&self, index: usize) -> (&dyn ImageSource, usize) {
        let (source, image) = self.images[index];
        (&*self.sources[source], image)
    }
}

impl ImageSource for Sources {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let (source, image) = self.at(index);
        source.load(image)
    }

    fn load_for(&self, index: usize, preprocess: &Preprocess) -> Result<GrayImage, AugmentError> {
        let (source, image) = self.at(index);
        source.load_for(image, preprocess)
    }

    fn describe(&self, index: usize) -> String {
        let (source, image) = self.at(index);
        source.describe(image)
    }

    fn deep_pixels(&self, index: usize) -> Option<usize> {
        let (source, image) = self.at(index);
        source.deep_pixels(image)
    }

    fn says_how_shown(&self, index: usize) -> bool {
        let (source, image) = self.at(index);
        source.says_how_shown(image)
    }

    fn file(&self, index: usize) -> Option<&std::path::Path> {
        let (source, image) = self.at(index);
        source.file(image)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{dataset, record, synthetic};
    use super::*;
    use crate::record::{Split, Target};

    fn relabelled(findings: [&str; 2], records: Vec<CxrRecord>) -> CxrDataset {
        let vocabulary = Arc::new(Vocabulary::parse(findings).unwrap());
        CxrDataset { vocabulary, ..dataset(records).unwrap() }
    }

    #[test]
    fn sets_are_apart_by_name_and_absent_findings_are_unknown() {
        let blank = CxrRecord { labels: vec![Label::Missing, Label::Positive], ..record("a", "1", Some(Split::Train)) };
        let first = relabelled(["Effusion", "Mass"], vec![blank, record("b", "2", Some(Split::Test))]);
        let second = relabelled(["Hernia", "Mass"], vec![record("a", "1", Some(Split::Test)), record("c", "", None)]);
        let sets = || vec![("x".to_owned(), first.clone()), ("y".to_owned(), second.clone())];
        let merged = CxrDataset::merged("both", sets(), &LabelPolicy::default()).unwrap();
        let names: Vec<_> = merged.vocabulary().findings().iter().map(|finding| finding.name()).collect();
        assert_eq!(names, ["Effusion", "Mass", "Hernia"]);
        let row = |at: usize| {
            let record = merged.record(at);
            (record.id.clone(), record.patient_id.as_ref().map(ToString::to_string), record.labels.clone())
        };
        use Label::{Missing, Positive, Uncertain};
        assert_eq!(row(0), ("x/a".to_owned(), Some("x/1".to_owned()), vec![Missing, Positive, Missing]));
        assert_eq!(row(2), ("y/a".to_owned(), Some("y/1".to_owned()), vec![Missing, Uncertain, Positive]));
        assert_eq!(row(3).1, None);
        // One person per set: no patient is in two splits.
        assert!(
            super::super::SplitPlan::column()
                .faults(&merged.select(&[0, 1, 2]))
                .iter()
                .all(|fault| { !matches!(fault, AugmentError::PatientInTwoSplits { .. }) })
        );
        // Blank as absent: of the findings that the set has, and of no other.
        let policy = LabelPolicy { blank: Target::Zero, ..LabelPolicy::default() };
        let merged = CxrDataset::merged("both", sets(), &policy).unwrap();
        assert_eq!(merged.record(0).labels, [Label::Negative, Positive, Missing]);
        for at in 0..4 {
            let alone = if at < 2 { first.decode(at) } else { second.decode(at - 2) };
            assert_eq!(merged.decode(at).unwrap(), alone.unwrap());
        }
        let twice = vec![("x".to_owned(), first.clone()), ("x".to_owned(), second.clone())];
        let message = CxrDataset::merged("both", twice, &policy).unwrap_err().to_string();
        assert!(message.contains("`x` twice"), "{message}");
    }

    /// What each of its methods says, told apart from what a source says that has none of its own.
    struct Telling;

    impl ImageSource for Telling {
        fn load(&self, _: usize) -> Result<GrayImage, AugmentError> {
            Ok(GrayImage::from_u8(1, 1, vec![1]))
        }

        fn load_for(&self, _: usize, _: &Preprocess) -> Result<GrayImage, AugmentError> {
            Ok(GrayImage::from_u8(1, 1, vec![2]))
        }

        fn describe(&self, index: usize) -> String {
            format!("telling {index}")
        }

        fn deep_pixels(&self, index: usize) -> Option<usize> {
            Some(index)
        }

        fn says_how_shown(&self, _: usize) -> bool {
            true
        }

        fn file(&self, _: usize) -> Option<&std::path::Path> {
            Some("telling".as_ref())
        }
    }

    #[test]
    fn every_question_goes_to_the_set_that_has_the_image() {
        let silent = dataset(vec![record("a", "1", None)]).unwrap();
        let sources: Vec<Arc<dyn ImageSource>> = vec![Arc::clone(&silent.source), Arc::new(Telling)];
        let sources = Sources { sources, images: vec![(0, 0), (1, 7)] };
        assert_eq!(sources.load(1).unwrap(), GrayImage::from_u8(1, 1, vec![1]));
        assert_eq!(sources.load_for(1, &Preprocess::new(1)).unwrap(), GrayImage::from_u8(1, 1, vec![2]));
        assert_eq!((sources.describe(1), sources.deep_pixels(1)), ("telling 7".to_owned(), Some(7)));
        assert!(sources.says_how_shown(1) && sources.file(1).is_some());
        assert!(!sources.says_how_shown(0) && sources.file(0).is_none() && sources.deep_pixels(0).is_none());
    }

    #[test]
    fn what_descends_from_a_patient_still_does() {
        let rows = vec![record("a", "1", Some(Split::Test)), synthetic(record("s", "1", None))];
        let merged = CxrDataset::merged("m", vec![("x".to_owned(), dataset(rows).unwrap())], &LabelPolicy::default()).unwrap();
        let patients: Vec<_> = merged.record(1).patients().map(ToString::to_string).collect();
        assert!(!patients.is_empty() && patients.iter().all(|patient| patient == "x/1"), "{patients:?}");
    }
}
