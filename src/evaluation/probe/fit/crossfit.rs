//! Scores of every text by probes that did not see it.

use faer::Mat;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::progress::Task;
use roentgen_augment::record::Finding;
use serde::Serialize;

use super::super::error::ProbeError;
use super::design::{Design, Standard};
use super::logistic::{Logistic, scores};
use super::mlp::Mlp;
use crate::evaluation::Rows;

/// A kind of probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// Logistic regression.
    Linear,
    /// One hidden layer.
    Mlp,
}

impl ProbeKind {
    /// Its name in outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Mlp => "mlp",
        }
    }
}

/// How probes are fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FitConfig {
    /// Inverse strength of the L2 penalty on standardised embeddings, scikit-learn's `C`.
    pub c: f64,
    /// Whether positives and negatives count equally much, whatever their number (scikit-learn's `class_weight="balanced"`).
    pub balanced: bool,
    /// Units of the hidden layer of the non-linear probe.
    pub hidden: usize,
    /// Seed of its first weights.
    pub seed: u64,
}

/// The texts and what is asked of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::evaluation::probe) struct Questions<'a> {
    /// The findings.
    pub(in crate::evaluation::probe) findings: &'a [Finding],
    /// `[texts, findings]`: 1, 0 or NaN.
    pub(in crate::evaluation::probe) targets: &'a [f64],
    /// Fold of each text.
    pub(in crate::evaluation::probe) folds: &'a [usize],
    /// Number of folds.
    pub(in crate::evaluation::probe) count: usize,
}

impl Questions<'_> {
    fn target(&self, text: usize, finding: usize) -> f64 {
        self.targets[text * self.findings.len() + finding]
    }

    /// Targets of one finding.
    pub(in crate::evaluation::probe) fn column(&self, finding: usize) -> Vec<f64> {
        (0..self.folds.len()).map(|text| self.target(text, finding)).collect()
    }

    /// Targets (0 where unknown) and weights (0 where unknown) of one finding on these texts.
    fn weighed(&self, finding: usize, at: &[usize], balanced: bool) -> (Vec<f64>, Vec<f64>) {
        let known = at.iter().map(|text| self.target(*text, finding));
        let positives = known.clone().filter(|target| *target == 1.0).count() as f64;
        let negatives = known.clone().filter(|target| *target == 0.0).count() as f64;
        let weight = |target: f64| match target {
            target if target.is_nan() => 0.0,
            _ if !balanced => 1.0,
            target => (positives + negatives) / (2.0 * if target == 1.0 { positives } else { negatives }),
        };
        (known.clone().map(|target| if target == 1.0 { 1.0 } else { 0.0 }).collect(), known.map(weight).collect())
    }
}

/// Logits `[texts, findings]` by a probe of `kind` on these embeddings; each text's are of the fit without its fold.
///
/// # Errors
/// [`ProbeError::NotConverged`].
pub(in crate::evaluation::probe) fn out_of_fold(
    kind: ProbeKind,
    rows: &Rows<'_>,
    questions: &Questions<'_>,
    config: &FitConfig,
    task: &dyn Task,
) -> Result<Vec<f64>, ProbeError> {
    let findings = questions.findings.len();
    let of_fold = |fold: usize| -> Result<(Vec<usize>, Vec<f64>), ProbeError> {
        let (judged, trained): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|text| questions.folds[*text] == fold);
        let standard = Standard::of(rows, &trained);
        let (train, test) = (Design::of(rows, &trained, &standard), Design::of(rows, &judged, &standard));
        let weighed: Vec<_> = (0..findings).map(|finding| questions.weighed(finding, &trained, config.balanced)).collect();
        let mut logits = vec![0.0; judged.len() * findings];
        match kind {
            ProbeKind::Linear => {
                let fit = |finding: usize| -> Result<Mat<f64>, ProbeError> {
                    let (targets, weights) = &weighed[finding];
                    let fitted = Logistic { design: &train, targets, weights, c: config.c }.fit();
                    let error = |_| ProbeError::NotConverged { finding: questions.findings[finding], fold: fold + 1 };
                    let fitted = fitted.map_err(error)?;
                    task.advance(1);
                    Ok(scores(test.matrix(), &fitted))
                };
                let columns = (0..findings).into_par_iter().map(fit).collect::<Result<Vec<_>, ProbeError>>()?;
                for (finding, column) in columns.iter().enumerate() {
                    (0..judged.len()).for_each(|text| logits[text * findings + finding] = column[(text, 0)]);
                }
            }
            ProbeKind::Mlp => {
                type Part = fn(&(Vec<f64>, Vec<f64>)) -> &Vec<f64>;
                let flat = |part: Part| -> Vec<f64> {
                    (0..trained.len()).flat_map(|text| weighed.iter().map(move |column| part(column)[text])).collect()
                };
                let (targets, weights) = (flat(|column| &column.0), flat(|column| &column.1));
                let FitConfig { c, hidden, seed, .. } = *config;
                let network = Mlp { design: &train, targets: &targets, weights: &weights, findings, c, hidden, seed }.train();
                let found = network.scores(&test);
                for text in 0..judged.len() {
                    (0..findings).for_each(|finding| logits[text * findings + finding] = found[(text, finding)]);
                }
                task.advance(findings as u64);
            }
        }
        Ok((judged, logits))
    };
    let parts = (0..questions.count).into_par_iter().map(of_fold).collect::<Result<Vec<_>, _>>()?;
    let mut all = vec![f64::NAN; rows.len() * findings];
    for (judged, logits) in parts {
        for (text, logits) in judged.into_iter().zip(logits.chunks(findings)) {
            all[text * findings..][..findings].copy_from_slice(logits);
        }
    }
    Ok(all)
}
