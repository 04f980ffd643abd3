//! How a data set is divided: by a hash of the patient, or by its own column.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AugmentError, CxrRecord, Fingerprint, RealDataset, Split};

/// Who decides the split of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// A hash of the patient and the seed.
    #[default]
    Patient,
    /// The data set's own split column. Where it names no validation rows, they are taken from training by patient.
    Column,
}

/// How a data set is divided.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitPlan {
    /// Who decides.
    pub by: SplitBy,
    /// Share of patients for validation, in `[0, 1)`.
    pub valid: f64,
    /// Share of patients for test, in `[0, 1)`; unused with [`SplitBy::Column`].
    pub test: f64,
    /// Another seed is another split.
    pub seed: u64,
}

impl Default for SplitPlan {
    /// By patient: 70 % training, 10 % validation, 20 % test, seed 0.
    fn default() -> Self {
        Self { by: SplitBy::Patient, valid: 0.1, test: 0.2, seed: 0 }
    }
}

impl SplitPlan {
    /// The data set's own column.
    #[must_use]
    pub fn column() -> Self {
        Self { by: SplitBy::Column, ..Self::default() }
    }

    /// The same rows with [`CxrRecord::split`] filled in.
    ///
    /// The split of a row depends on its patient and the seed alone, never on other rows or their order. A row without a
    /// patient counts as a patient of its own.
    ///
    /// # Errors
    /// [`AugmentError::BadFractions`]; [`AugmentError::NoSplit`] for a row whose column is blank.
    pub fn apply(&self, data: &RealDataset) -> Result<RealDataset, AugmentError> {
        let &Self { by, valid, test, seed } = self;
        let drawn = if by == SplitBy::Patient { valid + test } else { valid };
        if !(valid >= 0.0 && test >= 0.0 && drawn < 1.0) {
            return Err(AugmentError::BadFractions { valid, test });
        }
        if by == SplitBy::Patient {
            return Ok(with_split(data, |record| match position(record, seed) {
                p if p < test => Split::Test,
                p if p < test + valid => Split::Valid,
                _ => Split::Train,
            }));
        }
        if let Some(row) = data.rows().iter().find(|row| row.record.split.is_none()) {
            return Err(AugmentError::NoSplit { name: data.name().to_owned(), row: row.line, image: row.record.id.clone() });
        }
        if data.rows().iter().any(|row| row.record.split == Some(Split::Valid)) {
            return Ok(data.clone());
        }
        Ok(with_split(data, |record| match record.split {
            Some(Split::Train) if position(record, seed) < valid => Split::Valid,
            Some(given) => given,
            None => Split::Train,
        }))
    }
}

fn with_split(data: &RealDataset, choose: impl Fn(&CxrRecord) -> Split) -> RealDataset {
    data.map_records(|row| {
        let split = Some(choose(&row.record));
        if row.record.split == split {
            return Arc::clone(&row.record);
        }
        Arc::new(CxrRecord { split, ..CxrRecord::clone(&row.record) })
    })
}

/// What a row is kept together by: its patient, or itself where it has none.
pub(crate) fn group(record: &CxrRecord) -> (bool, &str) {
    record.patient_id.as_ref().map_or((false, record.id.as_str()), |patient| (true, patient.as_str()))
}

/// A number in `[0, 1)`, uniform over patients and fixed for one patient and seed.
pub(crate) fn position(record: &CxrRecord, seed: u64) -> f64 {
    let (known, name) = group(record);
    let kind: &[u8] = if known { b"patient" } else { b"image" };
    let digest = Fingerprint::of(&[b"roentgen split 1", &seed.to_le_bytes(), kind, name.as_bytes()]);
    let first: [u8; 8] = digest.0[..8].try_into().expect("a digest has 32 bytes");
    // 53 bits fill a double exactly.
    (u64::from_le_bytes(first) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::real::tests::{dataset, record};

    fn splits(seed: u64) -> Vec<Option<Split>> {
        let records = (0..64).map(|i| record(&format!("r{i}"), &(i / 2).to_string(), None)).collect();
        let planned = SplitPlan { seed, ..SplitPlan::default() }.apply(&dataset(records).unwrap()).unwrap();
        planned.rows().iter().map(|row| row.record.split).collect()
    }

    #[test]
    fn the_seed_decides() {
        assert_eq!(splits(1), splits(1));
        assert_ne!(splits(1), splits(2));
    }

    #[test]
    fn an_image_is_no_patient_of_its_name() {
        let (image, patient) = (record("7", "", None), record("other", "7", None));
        assert_ne!(position(&image, 0), position(&patient, 0));
    }

    #[test]
    fn impossible_fractions_are_refused() {
        let data = dataset(vec![record("a", "1", None)]).unwrap();
        for (valid, test) in [(-0.1, 0.2), (0.5, 0.5), (f64::NAN, 0.1)] {
            let plan = SplitPlan { valid, test, ..SplitPlan::default() };
            assert!(matches!(plan.apply(&data), Err(AugmentError::BadFractions { .. })), "{valid} {test}");
        }
    }
}
