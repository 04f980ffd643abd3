//! F1 over the findings that reports speak of.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::record::{Finding, Label, Vocabulary};
use roentgen_augment::text::Labeler;
use roentgen_classifier::metrics::F1Table;
use serde::{Deserialize, Serialize};

use super::TextError;

/// The five findings of CheXpert's competition (Irvin et al., arXiv 1901.07031), which papers average over beside all 14.
pub const FIVE: [&str; 5] = ["Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Effusion"];

/// What an uncertain finding counts as. Findings that are denied or not spoken of count as absent either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UncertainAs {
    /// Present: the `rrg` convention of F1CheXbert, which papers on report generation print.
    #[default]
    Present,
    /// Absent: the policy U-Zeros.
    Absent,
}

/// F1 over findings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingsF1 {
    /// What uncertain findings count as.
    pub uncertain: UncertainAs,
    /// Names, in the order of `all.findings`.
    pub findings: Vec<String>,
    /// Over all findings.
    pub all: F1Table,
    /// Over [`FIVE`]; `None` where the vocabulary lacks one of them.
    pub five: Option<F1Table>,
}

/// Labels of texts, one list per text in the order of the labeler's vocabulary.
#[must_use]
pub fn label_reports<S: AsRef<str> + Sync>(labeler: &Labeler, texts: &[S]) -> Vec<Vec<Label>> {
    texts.par_iter().map(|text| labeler.label(text.as_ref()).labels).collect()
}

/// Compares labels of reports, one list per report in the order of the vocabulary.
///
/// # Errors
/// [`TextError::Unequal`], [`TextError::Empty`], [`TextError::Labels`].
pub fn findings_f1(
    references: &[Vec<Label>],
    hypotheses: &[Vec<Label>],
    vocabulary: &Vocabulary,
    uncertain: UncertainAs,
) -> Result<FindingsF1, TextError> {
    if references.len() != hypotheses.len() {
        return Err(TextError::Unequal { references: references.len(), hypotheses: hypotheses.len() });
    }
    let all: Vec<usize> = (0..vocabulary.len()).collect();
    for labels in [references, hypotheses] {
        if let Some(report) = labels.iter().position(|labels| labels.len() != all.len()) {
            return Err(TextError::Labels { report, expected: all.len(), found: labels[report].len() });
        }
    }
    let table = |columns: &[usize]| {
        let cells = |labels: &[Vec<Label>]| -> Vec<bool> {
            labels.iter().flat_map(|labels| columns.iter().map(|&column| uncertain.is_present(labels[column]))).collect()
        };
        F1Table::new(&cells(references), &cells(hypotheses), columns.len())
    };
    Ok(FindingsF1 {
        uncertain,
        findings: vocabulary.findings().iter().map(|finding| finding.name().to_owned()).collect(),
        all: table(&all)?.ok_or(TextError::Empty)?,
        five: five(vocabulary).map(|columns| table(&columns)).transpose()?.flatten(),
    })
}

/// Columns of [`FIVE`].
pub(super) fn five(vocabulary: &Vocabulary) -> Option<Vec<usize>> {
    let column = |name: &str| {
        let finding = Finding::parse(name).ok()?;
        vocabulary.findings().iter().position(|known| *known == finding)
    };
    FIVE.into_iter().map(column).collect()
}

impl UncertainAs {
    /// Whether a label counts as present.
    #[must_use]
    pub fn is_present(self, label: Label) -> bool {
        match label {
            Label::Positive => true,
            Label::Uncertain => self == Self::Present,
            Label::Negative | Label::Missing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uncertain_findings_count_as_asked() {
        let vocabulary = Vocabulary::parse(FIVE).unwrap();
        let labels = |first: Label| vec![vec![first, Label::Missing, Label::Negative, Label::Positive, Label::Missing]];
        let of = |uncertain| findings_f1(&labels(Label::Positive), &labels(Label::Uncertain), &vocabulary, uncertain).unwrap();
        let (present, absent) = (of(UncertainAs::Present), of(UncertainAs::Absent));
        assert_eq!((present.all.micro.recall, absent.all.micro.recall), (1.0, 0.5));
        assert_eq!(present.five.as_ref(), Some(&present.all));
        let without = Vocabulary::parse(["Edema", "Fracture"]).unwrap();
        let labels = vec![vec![Label::Positive, Label::Missing]];
        assert_eq!(findings_f1(&labels, &labels, &without, UncertainAs::Present).unwrap().five, None);
    }

    #[test]
    fn bad_labels_are_refused() {
        let vocabulary = Vocabulary::parse(["Edema", "Fracture"]).unwrap();
        let of = |references: &[Vec<Label>], hypotheses: &[Vec<Label>]| {
            findings_f1(references, hypotheses, &vocabulary, UncertainAs::Present).unwrap_err()
        };
        let (two, three) = (vec![Label::Positive; 2], vec![Label::Positive; 3]);
        assert!(matches!(of(&[], &[]), TextError::Empty));
        assert!(matches!(of(std::slice::from_ref(&two), &[]), TextError::Unequal { references: 1, hypotheses: 0 }));
        assert!(matches!(
            of(&[two.clone(), two.clone()], &[two, three]),
            TextError::Labels { report: 1, expected: 2, found: 3 }
        ));
    }
}
