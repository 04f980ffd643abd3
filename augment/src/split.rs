//! Training, validation and test, apart by patient and apart by type.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn_dataset::{Dataset, DatasetError};

use crate::split_plan::{group, position};
use crate::{AugmentError, CxrSample, PatientId, RealDataset, Row, Split, SplitPlan};

/// Training data: the only kind that can be mixed with synthetic images.
#[derive(Clone, Debug)]
pub struct TrainSet {
    data: RealDataset,
    held_out: Arc<HashSet<PatientId>>,
}

/// Validation or test data: real only, and good for nothing but evaluation.
#[derive(Clone, Debug)]
pub struct HeldOut {
    data: RealDataset,
    split: Split,
}

/// The three parts of a data set, checked once.
///
/// Of a `Splits` it is certain that no part is empty, no patient is in two of them, and validation and test hold real images
/// only.
#[derive(Clone, Debug)]
pub struct Splits {
    train: TrainSet,
    valid: HeldOut,
    test: HeldOut,
    unidentified: usize,
}

impl Splits {
    /// Divides `data` by `plan`.
    ///
    /// # Errors
    /// As [`SplitPlan::apply`], and [`AugmentError::SyntheticHeldOut`], [`AugmentError::PatientInTwoSplits`] or
    /// [`AugmentError::EmptySplit`].
    pub fn new(data: &RealDataset, plan: &SplitPlan) -> Result<Self, AugmentError> {
        let data = plan.apply(data)?;
        check_rows(&data)?;
        let part = |split| {
            let rows: Vec<_> = (0..data.len()).filter(|&i| data.record(i).split == Some(split)).collect();
            let empty = || AugmentError::EmptySplit { name: data.name().to_owned(), split };
            (!rows.is_empty()).then(|| data.select(&rows)).ok_or_else(empty)
        };
        let (train, valid, test) = (part(Split::Train)?, part(Split::Valid)?, part(Split::Test)?);
        let judged = valid.rows().iter().chain(test.rows());
        // An image without a patient counts as a patient of its own, here as in requests.
        let patient = |row: &Row| row.record.patient_id.clone().unwrap_or_else(|| PatientId::new(&row.record.id));
        let held_out = Arc::new(judged.map(patient).collect());
        Ok(Self {
            train: TrainSet { data: train, held_out },
            valid: HeldOut { data: valid, split: Split::Valid },
            test: HeldOut { data: test, split: Split::Test },
            unidentified: data.rows().iter().filter(|row| row.record.patient_id.is_none()).count(),
        })
    }

    /// The training part.
    #[must_use]
    pub fn train(&self) -> &TrainSet {
        &self.train
    }

    /// The part that chooses the checkpoint.
    #[must_use]
    pub fn valid(&self) -> &HeldOut {
        &self.valid
    }

    /// The part that judges.
    #[must_use]
    pub fn test(&self) -> &HeldOut {
        &self.test
    }

    /// Patients of validation and test: nothing that descends from them may train.
    #[must_use]
    pub fn held_out_patients(&self) -> &Arc<HashSet<PatientId>> {
        &self.train.held_out
    }

    /// Images without a patient. Each counted as a patient of its own, so two of one person may be on both sides: warn.
    #[must_use]
    pub fn unidentified(&self) -> usize {
        self.unidentified
    }
}

/// Refuses synthetic rows outside training, and a patient in two splits.
fn check_rows(data: &RealDataset) -> Result<(), AugmentError> {
    let mut seen: HashMap<&PatientId, (Split, u64)> = HashMap::new();
    for row in data.rows() {
        let Some(split) = row.record.split else { continue };
        if split != Split::Train {
            refuse_synthetic(data, row, split)?;
        }
        let Some(patient) = &row.record.patient_id else { continue };
        let &mut (first_split, first_row) = seen.entry(patient).or_insert((split, row.line));
        if first_split != split {
            return Err(AugmentError::PatientInTwoSplits {
                name: data.name().to_owned(),
                patient: patient.clone(),
                first_split,
                first_row,
                second_split: split,
                second_row: row.line,
            });
        }
    }
    Ok(())
}

fn refuse_synthetic(data: &RealDataset, row: &crate::Row, split: Split) -> Result<(), AugmentError> {
    if row.record.origin.is_synthetic() {
        let (name, image) = (data.name().to_owned(), row.record.id.clone());
        return Err(AugmentError::SyntheticHeldOut { name, row: row.line, image, split });
    }
    Ok(())
}

impl TrainSet {
    /// The data.
    #[must_use]
    pub fn data(&self) -> &RealDataset {
        &self.data
    }

    /// Patients of validation and test: nothing that descends from them may train.
    #[must_use]
    pub fn held_out_patients(&self) -> &Arc<HashSet<PatientId>> {
        &self.held_out
    }

    /// `images` of the training images, whole patients at a time (the last one cut to the number), for learning curves.
    ///
    /// Subsets of one seed are nested: the smaller is contained in the larger. Rows keep their order.
    ///
    /// # Errors
    /// [`AugmentError::BadSubset`] for 0 images or more than there are.
    pub fn subset(&self, images: usize, seed: u64) -> Result<Self, AugmentError> {
        let available = self.data.len();
        if images == 0 || images > available {
            return Err(AugmentError::BadSubset { name: self.data.name().to_owned(), wanted: images, available });
        }
        let mut order: Vec<usize> = (0..available).collect();
        order.sort_by(|&a, &b| {
            let key = |i: usize| (position(self.data.record(i), seed), group(self.data.record(i)));
            let (a, b) = (key(a), key(b));
            a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1))
        });
        order.truncate(images);
        order.sort_unstable();
        Ok(Self { data: self.data.select(&order), held_out: Arc::clone(&self.held_out) })
    }
}

impl HeldOut {
    /// A data set of elsewhere, used whole as a test set.
    ///
    /// # Errors
    /// [`AugmentError::SyntheticHeldOut`] if an image of it is synthetic.
    pub fn external(data: RealDataset) -> Result<Self, AugmentError> {
        data.rows().iter().try_for_each(|row| refuse_synthetic(&data, row, Split::Test))?;
        Ok(Self { data, split: Split::Test })
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &RealDataset {
        &self.data
    }

    /// [`Split::Valid`] or [`Split::Test`].
    #[must_use]
    pub fn split(&self) -> Split {
        self.split
    }
}

impl Dataset<CxrSample> for TrainSet {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        self.data.get(index)
    }

    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<CxrSample>, DatasetError> {
        self.data.get_many(indexes)
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

impl Dataset<CxrSample> for HeldOut {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        self.data.get(index)
    }

    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<CxrSample>, DatasetError> {
        self.data.get_many(indexes)
    }

    fn len(&self) -> usize {
        self.data.len()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::{Strategy, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::real::tests::{dataset, record};
    use crate::{CxrRecord, Origin, PromptKind, Provenance, SampleRequest, SplitBy};

    const THIRDS: SplitPlan = SplitPlan { by: SplitBy::Patient, valid: 0.3, test: 0.3, seed: 0 };

    /// Rows of the given patients, named by their place.
    fn rows(patients: &[&str], splits: &[Option<Split>]) -> RealDataset {
        let record = |i: usize| record(&format!("r{i}"), patients[i], splits.get(i).copied().flatten());
        dataset((0..patients.len()).map(record).collect()).unwrap()
    }

    fn ids(data: &RealDataset) -> BTreeSet<String> {
        data.rows().iter().map(|row| row.record.id.clone()).collect()
    }

    fn patients(data: &RealDataset) -> BTreeSet<PatientId> {
        let patient = |row: &Row| row.record.patient_id.clone().unwrap_or_else(|| PatientId::new(&row.record.id));
        data.rows().iter().map(patient).collect()
    }

    /// 60 to 200 rows over few or many patients, some without any; none is called as a row is.
    fn any_rows() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("[a-q0-9]{0,2}", 60..200)
    }

    proptest! {
        #[test]
        fn no_patient_is_in_two_splits(patients_of_rows in any_rows(), seed: u64) {
            let data = rows(&patients_of_rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
            let splits = Splits::new(&data, &SplitPlan { seed, ..THIRDS });
            // Few patients may leave a part empty; that is refused, not divided otherwise.
            prop_assert!(matches!(splits, Ok(_) | Err(AugmentError::EmptySplit { .. })), "{splits:?}");
            if let Ok(splits) = splits {
                let parts = [splits.train().data(), splits.valid().data(), splits.test().data()];
                let [train, valid, test] = parts.map(patients);
                prop_assert!(train.is_disjoint(&valid) && train.is_disjoint(&test) && valid.is_disjoint(&test));
                prop_assert_eq!(parts.map(|part| part.rows().len()).iter().sum::<usize>(), patients_of_rows.len());
                let held_out: BTreeSet<_> = splits.held_out_patients().iter().cloned().collect();
                prop_assert_eq!(held_out, valid.union(&test).cloned().collect());
            }
        }

        #[test]
        fn row_order_changes_no_split(patients_of_rows in any_rows(), seed: u64) {
            let plan = SplitPlan { seed, ..THIRDS };
            let data = rows(&patients_of_rows.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
            let reversed = data.select(&(0..data.len()).rev().collect::<Vec<_>>());
            if let (Ok(a), Ok(b)) = (Splits::new(&data, &plan), Splits::new(&reversed, &plan)) {
                prop_assert_eq!(ids(a.train().data()), ids(b.train().data()));
                prop_assert_eq!(ids(a.test().data()), ids(b.test().data()));
            }
        }

        #[test]
        fn fractions_are_about_kept(seed: u64) {
            let names: Vec<String> = (0..3000).map(|i| i.to_string()).collect();
            let splits = Splits::new(&rows(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]), &SplitPlan { seed, ..SplitPlan::default() }).unwrap();
            // Binomial(3000, p): five standard deviations, 82 and 110 rows.
            prop_assert!(splits.valid().len().abs_diff(300) < 82, "{}", splits.valid().len());
            prop_assert!(splits.test().len().abs_diff(600) < 110, "{}", splits.test().len());
        }

        #[test]
        fn subsets_are_nested_and_exact(seed: u64, fewer in 1usize..50, more in 50usize..100) {
            let names: Vec<String> = (0..300).map(|i| (i / 3).to_string()).collect();
            let train = Splits::new(&rows(&names.iter().map(String::as_str).collect::<Vec<_>>(), &[]), &THIRDS).unwrap().train;
            let (small, large) = (train.subset(fewer, seed).unwrap(), train.subset(more, seed).unwrap());
            prop_assert_eq!((small.len(), large.len()), (fewer, more));
            prop_assert!(ids(small.data()).is_subset(&ids(large.data())));
            // Whole patients but for the last.
            prop_assert!(patients(small.data()).len() <= fewer.div_ceil(3));
        }
    }

    #[test]
    fn the_column_decides_and_validation_is_drawn_where_it_names_none() {
        let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let column: Vec<_> = (0..100).map(|i| Some(if i < 80 { Split::Train } else { Split::Test })).collect();
        let data = rows(&names, &column);
        let splits = Splits::new(&data, &SplitPlan { valid: 0.25, ..SplitPlan::column() }).unwrap();
        assert_eq!(splits.test().len(), 20);
        assert_eq!(splits.train().len() + splits.valid().len(), 80);
        assert!(matches!(
            Splits::new(&data, &SplitPlan { valid: 0.0, ..SplitPlan::column() }),
            Err(AugmentError::EmptySplit { split: Split::Valid, .. })
        ));
    }

    #[test]
    fn bad_columns_are_named() {
        let given = [Some(Split::Train), Some(Split::Valid), Some(Split::Test), Some(Split::Test)];
        let message = |patients: &[&str], splits: &[Option<Split>]| {
            Splits::new(&rows(patients, splits), &SplitPlan::column()).unwrap_err().to_string()
        };
        assert!(message(&["1", "2", "3", "1"], &given).starts_with("test: patient 1 is in train (row 1) and in test (row 4)"));
        assert!(message(&["1", "2", "3", "4"], &given[..3]).starts_with("test, row 4 (`r3`): no split"));
        assert!(message(&["1", "2"], &given[..2]).starts_with("test: the test split has no image"));
    }

    #[test]
    fn a_synthetic_image_cannot_be_held_out() {
        let request = SampleRequest {
            prompt: "A mass.".to_owned(),
            prompt_kind: PromptKind::Template,
            labels: Vec::new(),
            seed: 0,
            replica: 0,
            source: None,
            age: None,
            sex: None,
            view: None,
        };
        let origin = Origin::Synthetic(Box::new(Provenance::new(request, "m")));
        let made = CxrRecord { origin, ..record("made", "9", Some(Split::Valid)) };
        let given = [record("a", "1", Some(Split::Train)), record("b", "2", Some(Split::Test)), made];
        let data = dataset(given.to_vec()).unwrap();
        let error = Splits::new(&data, &SplitPlan::column()).unwrap_err().to_string();
        assert_eq!(error, "test, row 3 (`made`): a synthetic image can't be in the valid split; synthetic data never judges");
        assert!(HeldOut::external(data).is_err());
    }

    #[test]
    fn impossible_subsets_are_refused() {
        let data = rows(&["1", "2", "3"], &[Some(Split::Train), Some(Split::Valid), Some(Split::Test)]);
        let train = Splits::new(&data, &SplitPlan::column()).unwrap().train;
        assert!(train.subset(0, 0).is_err() && train.subset(2, 0).is_err() && train.subset(1, 0).is_ok());
    }
}
