//! A classifier that decides whether a sample shows what was requested.

use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use roentgen_augment::batch::CxrBatcher;
use roentgen_augment::dataset::HeldOut;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::gate::{Candidate, Fault, Judge, JudgeError, Verdict};
use roentgen_augment::image::Preprocess;
use roentgen_augment::record::{Finding, Label, Vocabulary};
use roentgen_augment::request::SampleRequest;
use roentgen_classifier::ClassifierError;
use roentgen_classifier::batch::Batches;
use roentgen_classifier::networks::Network;
use roentgen_classifier::predict::Predictions;

use crate::config::{AgreementConfig, FindingLimits};

/// Fewest validation images of a kind for learning a limit from them.
const FEWEST: usize = 5;

/// Images per forward pass.
const BATCH: usize = 64;

/// What a [`ClassifierJudge`] is made of.
#[derive(Debug)]
pub struct JudgeParts<'a> {
    /// A network trained on the training split alone.
    pub net: Network,
    /// Digest of its weights.
    pub weights: Fingerprint,
    /// How its images are prepared, and in which order its outputs are.
    pub batcher: CxrBatcher,
    /// How decoded images become its input.
    pub preprocess: Preprocess,
    /// Where it computes.
    pub device: &'a Device,
    /// Real images that limits are learnt from.
    pub valid: &'a HeldOut,
}

/// Rejects samples whose classifier scores differ from those of real images with the requested labels.
pub struct ClassifierJudge {
    net: Mutex<Network>,
    batcher: CxrBatcher,
    preprocess: Preprocess,
    device: Device,
    limits: Vec<FindingLimits>,
    fingerprint: Fingerprint,
}

impl ClassifierJudge {
    /// Learns the limits that `config` does not set.
    ///
    /// # Errors
    /// [`ClassifierError::Training`] for an unreadable validation image.
    pub fn new(config: &AgreementConfig, parts: JudgeParts<'_>) -> Result<Self, ClassifierError> {
        let JudgeParts { net, weights, batcher, preprocess, device, valid } = parts;
        // White and the values of DICOM are a matter of the files, the rest of the network. Each image is read once: there is nothing to keep.
        let Preprocess { bit_depth, dicom, .. } = *valid.data().preprocess();
        let files = Preprocess { bit_depth, dicom, ..preprocess };
        let valid = valid.data().clone().with_preprocess(files).with_cache(0);
        let scored = Predictions::of(&net, &Batches::new(valid, &batcher, BATCH, device)?, |_| {})?;
        let findings = batcher.vocabulary.findings();
        let limits: Vec<FindingLimits> = findings
            .iter()
            .enumerate()
            .map(|(column, finding)| {
                let given = config.limits.get(finding).copied().unwrap_or_default();
                let learnt = learnt(&scored, column, config);
                FindingLimits { positive: given.positive.or(learnt.positive), negative: given.negative.or(learnt.negative) }
            })
            .collect();
        let numbers = serde_json::to_vec(&limits).expect("limits are numbers");
        let fingerprint = Fingerprint::of(&[b"classifier judge 1", &weights.0, &preprocess.digest().0, &numbers]);
        Ok(Self { net: Mutex::new(net), batcher, preprocess, device: device.clone(), limits, fingerprint })
    }

    fn verdict(&self, request: &SampleRequest, scores: &[f32]) -> Verdict {
        let findings = self.batcher.vocabulary.findings().iter().zip(&request.labels);
        let fault = |((finding, label), (&score, limits)): ((&Finding, &Label), (&f32, &FindingLimits))| {
            let limit = match label {
                Label::Positive => limits.positive.filter(|limit| score < *limit),
                Label::Negative => limits.negative.filter(|limit| score > *limit),
                Label::Uncertain | Label::Missing => None,
            };
            limit.map(|limit| Fault::Disagrees { finding: *finding, score, limit })
        };
        let faults = findings.zip(scores.iter().zip(&self.limits)).filter_map(fault).collect();
        Verdict { faults, nearest_real: None }
    }
}

impl Judge for ClassifierJudge {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    fn limits(&self) -> Vec<String> {
        let number = |limit: Option<f32>| limit.map_or_else(|| "not judged".to_owned(), |limit| format!("{limit:.3}"));
        let findings = self.batcher.vocabulary.findings().iter().zip(&self.limits);
        findings
            .map(|(finding, limits)| {
                format!(
                    "{finding}: score at least {} if requested, at most {} if not",
                    number(limits.positive),
                    number(limits.negative)
                )
            })
            .collect()
    }

    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError> {
        let findings = self.batcher.vocabulary.len();
        if let Some(other) = candidates.iter().find(|candidate| candidate.request.labels.len() != findings) {
            let message = format!("a request has {} labels, the classifier {findings} outputs", other.request.labels.len());
            return Err(JudgeError { message, source: None });
        }
        let mut verdicts = Vec::with_capacity(candidates.len());
        // One image per pass: a score must not depend on the images beside it, to the last bit.
        for candidate in candidates {
            let picture = self.preprocess.apply(candidate.image);
            let input = self.batcher.input.stack(&[picture], &self.device);
            let logits = self.net.lock().unwrap_or_else(PoisonError::into_inner).forward(input);
            let scores: Vec<f32> = sigmoid(logits).into_data().iter::<f32>().collect();
            verdicts.push(self.verdict(candidate.request, &scores));
        }
        Ok(verdicts)
    }
}

/// Limits of a finding from its real validation scores; none of a kind with too few images.
fn learnt(scored: &Predictions, column: usize, config: &AgreementConfig) -> FindingLimits {
    let findings = scored.findings.len();
    let scores = |wanted: f64| {
        let rows = (column..scored.scores.len()).step_by(findings).filter(|&at| scored.targets[at] == wanted);
        let mut scores: Vec<f32> = rows.map(|at| scored.scores[at] as f32).collect();
        scores.sort_by(f32::total_cmp);
        (scores.len() >= FEWEST).then_some(scores)
    };
    let at = |scores: &[f32], quantile: f64| scores[(quantile * (scores.len() - 1) as f64).floor() as usize];
    FindingLimits {
        positive: scores(1.0).map(|scores| at(&scores, config.positive_quantile)),
        negative: scores(0.0).map(|scores| {
            let from_top = (config.negative_quantile * (scores.len() - 1) as f64).floor() as usize;
            scores[scores.len() - 1 - from_top]
        }),
    }
}

/// Whether a network's outputs are the findings of a vocabulary, in its order.
pub(super) fn fits(findings: &[String], vocabulary: &Vocabulary) -> bool {
    let names = vocabulary.findings().iter().map(|finding| finding.name());
    findings.iter().map(String::as_str).eq(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_quantiles_of_the_real_scores() {
        // Two findings; of the first ten positives and eleven negatives, of the second four positives.
        let mut scored = Predictions {
            rows: Vec::new(),
            findings: vec!["Mass".into(), "Edema".into()],
            scores: Vec::new(),
            targets: Vec::new(),
        };
        for i in 0..21 {
            let positive = i < 10;
            scored.scores.extend([f64::from(i) / 20.0, 0.5]);
            scored.targets.extend([f64::from(u8::from(positive)), if i < 4 { 1.0 } else { f64::NAN }]);
        }
        let config = AgreementConfig { positive_quantile: 0.25, negative_quantile: 0.25, ..AgreementConfig::default() };
        // The third of ten positives from below (0, 0.05, 0.1), the third of eleven negatives from above (1, 0.95, 0.9).
        assert_eq!(learnt(&scored, 0, &config), FindingLimits { positive: Some(0.1), negative: Some(0.9) });
        assert_eq!(learnt(&scored, 1, &config), FindingLimits::default());
    }
}
