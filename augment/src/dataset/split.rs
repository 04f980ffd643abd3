//! Training, validation and test, apart by patient and apart by type.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn_core::data::dataset::{Dataset, DatasetError};
use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::digest::Fingerprint;
use crate::record::{CxrRecord, CxrSample, PatientId, Split};

/// Training data: real images, and the only kind that can be mixed with synthetic ones.
#[derive(Clone, Debug)]
pub struct TrainSet {
    data: CxrDataset,
    held_out: Arc<HashSet<PatientId>>,
}

/// Validation or test data: real only, for evaluation alone.
#[derive(Clone, Debug)]
pub struct HeldOut {
    data: CxrDataset,
    split: Split,
}

/// The three parts of a data set, checked once.
///
/// A `Splits` guarantees that no part is empty, that no patient is in two parts, and that all three hold real images only.
/// Synthetic rows are in none of them: they lie beside, see [`Splits::synthetic`].
#[derive(Clone, Debug)]
pub struct Splits {
    train: TrainSet,
    valid: HeldOut,
    test: HeldOut,
    synthetic: Option<CxrDataset>,
    unidentified: usize,
}

impl Splits {
    /// Divides the real rows of `data` by `plan`, and puts the synthetic ones aside.
    ///
    /// # Errors
    /// As [`SplitPlan::apply`], and [`AugmentError::SyntheticHeldOut`], [`AugmentError::PatientInTwoSplits`] or
    /// [`AugmentError::EmptySplit`].
    pub fn new(data: &CxrDataset, plan: &SplitPlan) -> Result<Self, AugmentError> {
        if let Some(fault) = plan.faults(data).into_iter().next() {
            return Err(fault);
        }
        let data = plan.apply(data)?;
        let (train, valid, test) = (part(&data, Split::Train)?, part(&data, Split::Valid)?, part(&data, Split::Test)?);
        let judged = valid.rows().iter().chain(test.rows());
        // An image without a patient counts as a separate patient, here as in requests.
        let patient = |row: &Row| row.record.patient_id.clone().unwrap_or_else(|| PatientId::new(&row.record.id));
        let held_out = Arc::new(judged.map(patient).collect());
        let real = [&train, &valid, &test].into_iter().flat_map(CxrDataset::rows);
        Ok(Self {
            unidentified: real.filter(|row| row.record.patient_id.is_none()).count(),
            train: TrainSet { data: train, held_out },
            valid: HeldOut { data: valid, split: Split::Valid },
            test: HeldOut { data: test, split: Split::Test },
            synthetic: rows(&data, |record| record.origin.is_synthetic()),
        })
    }

    /// The real rows of one part of `data`, for scoring: the others may be empty.
    ///
    /// # Errors
    /// As [`Splits::new`], of the parts that there are.
    pub fn part(data: &CxrDataset, plan: &SplitPlan, split: Split) -> Result<CxrDataset, AugmentError> {
        let data = plan.apply(data)?;
        match row_faults(&data).into_iter().next() {
            Some(fault) => Err(fault),
            None => part(&data, split),
        }
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

    /// The test part.
    #[must_use]
    pub fn test(&self) -> &HeldOut {
        &self.test
    }

    /// The synthetic rows of the data set, which are a pool and no training images; `None` if it has none.
    /// An [`ImagePool`](crate::supply::ImagePool) lets a mixture draw from them.
    #[must_use]
    pub fn synthetic(&self) -> Option<&CxrDataset> {
        self.synthetic.as_ref()
    }

    /// The rows of `train`, a training set of these splits, and after them the synthetic rows: for a generator that is to learn from
    /// both.
    ///
    /// # Errors
    /// [`AugmentError::HeldOutPatient`] for a synthetic row that descends from a patient of validation or test.
    pub fn with_synthetic(&self, train: &TrainSet) -> Result<CxrDataset, AugmentError> {
        let synthetic = self.synthetic.as_ref().map_or(&[][..], CxrDataset::rows);
        for (index, row) in synthetic.iter().enumerate() {
            let held_out = row.record.patients().find(|patient| self.train.held_out.contains(*patient));
            if let Some(patient) = held_out {
                let (image, patient) = (row.record.id.clone(), patient.clone());
                return Err(AugmentError::HeldOutPatient { index, image, patient });
            }
        }
        Ok(train.data.with_rows(train.data.rows().iter().chain(synthetic).cloned().collect()))
    }

    /// Patients of validation and test: nothing that descends from them may train.
    #[must_use]
    pub fn held_out_patients(&self) -> &Arc<HashSet<PatientId>> {
        &self.train.held_out
    }

    /// Real images without a patient. Each counts as a separate patient, so images of one person may be on both sides: warn of them.
    #[must_use]
    pub fn unidentified(&self) -> usize {
        self.unidentified
    }
}

/// The rows that are `wanted`; `None` if there are none.
fn rows(data: &CxrDataset, wanted: impl Fn(&CxrRecord) -> bool) -> Option<CxrDataset> {
    let rows: Vec<_> = (0..data.len()).filter(|&i| wanted(data.record(i))).collect();
    (!rows.is_empty()).then(|| data.select(&rows))
}

/// The real rows of `split`.
fn part(data: &CxrDataset, split: Split) -> Result<CxrDataset, AugmentError> {
    let found = rows(data, |record| record.split == Some(split) && !record.origin.is_synthetic());
    found.ok_or_else(|| AugmentError::EmptySplit { name: data.name().to_owned(), split })
}

/// Synthetic rows for evaluation, and patients of real rows in two splits, each of them once.
fn row_faults(data: &CxrDataset) -> Vec<AugmentError> {
    let mut seen: HashMap<&PatientId, (Split, u64)> = HashMap::new();
    let (mut faults, mut shared) = (Vec::new(), HashSet::new());
    for row in data.rows() {
        let Some(split) = row.record.split else { continue };
        if row.record.origin.is_synthetic() {
            if split != Split::Train {
                faults.extend(refuse_synthetic(data, row, split).err());
            }
            continue;
        }
        let Some(patient) = &row.record.patient_id else { continue };
        let &mut (first_split, first_row) = seen.entry(patient).or_insert((split, row.line));
        if first_split != split && shared.insert(patient) {
            faults.push(AugmentError::PatientInTwoSplits {
                name: data.name().to_owned(),
                patient: patient.clone(),
                first_split,
                first_row,
                second_split: split,
                second_row: row.line,
            });
        }
    }
    faults
}

fn refuse_synthetic(data: &CxrDataset, row: &crate::dataset::Row, split: Split) -> Result<(), AugmentError> {
    if row.record.origin.is_synthetic() {
        let (name, image) = (data.name().to_owned(), row.record.id.clone());
        return Err(AugmentError::SyntheticHeldOut { name, row: row.line, image, split });
    }
    Ok(())
}

impl TrainSet {
    /// The data.
    #[must_use]
    pub fn data(&self) -> &CxrDataset {
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
    /// An external data set, used whole as a test set.
    ///
    /// # Errors
    /// [`AugmentError::SyntheticHeldOut`] if an image of it is synthetic.
    pub fn external(data: CxrDataset) -> Result<Self, AugmentError> {
        data.rows().iter().try_for_each(|row| refuse_synthetic(&data, row, Split::Test))?;
        Ok(Self { data, split: Split::Test })
    }

    /// The data.
    #[must_use]
    pub fn data(&self) -> &CxrDataset {
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
    /// Another seed gives another split.
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
    /// The split of a real row depends on its patient and the seed alone, never on other rows or their order. A row without a
    /// patient counts as a separate patient. No plan puts a synthetic row anywhere but in training.
    ///
    /// # Errors
    /// [`AugmentError::BadFractions`]; [`AugmentError::NoSplit`] for a row whose column is blank.
    pub fn apply(&self, data: &CxrDataset) -> Result<CxrDataset, AugmentError> {
        if let Some(fault) = self.unsplit(data).into_iter().next() {
            return Err(fault);
        }
        let &Self { by, valid, test, seed } = self;
        if by == SplitBy::Patient {
            return Ok(with_split(data, |record| match position(record, seed) {
                _ if record.origin.is_synthetic() => Split::Train,
                p if p < test => Split::Test,
                p if p < test + valid => Split::Valid,
                _ => Split::Train,
            }));
        }
        let mut real = data.rows().iter().filter(|row| !row.record.origin.is_synthetic());
        let is_whole = real.any(|row| row.record.split == Some(Split::Valid));
        Ok(with_split(data, |record| match record.split {
            Some(Split::Train) if !is_whole && !record.origin.is_synthetic() && position(record, seed) < valid => Split::Valid,
            Some(given) => given,
            // A synthetic row, which needs none.
            None => Split::Train,
        }))
    }

    /// Everything for which [`Splits::new`] refuses `data`, in the order in which it does; empty if it does not.
    ///
    /// Without a split for every row it can't be told which splits are empty.
    #[must_use]
    pub fn faults(&self, data: &CxrDataset) -> Vec<AugmentError> {
        match self.apply(data) {
            Ok(data) => {
                let empty = [Split::Train, Split::Valid, Split::Test].map(|split| part(&data, split).err());
                row_faults(&data).into_iter().chain(empty.into_iter().flatten()).collect()
            }
            Err(_) => self.unsplit(data).into_iter().chain(row_faults(data)).collect(),
        }
    }

    /// Why rows have no split: shares that leave nothing, or blank cells where the column decides.
    fn unsplit(&self, data: &CxrDataset) -> Vec<AugmentError> {
        let &Self { by, valid, test, .. } = self;
        let drawn = if by == SplitBy::Patient { valid + test } else { valid };
        if !(valid >= 0.0 && test >= 0.0 && drawn < 1.0) {
            return vec![AugmentError::BadFractions { valid, test }];
        }
        let is_blank = |row: &&Row| !row.record.origin.is_synthetic() && row.record.split.is_none();
        let blank = data.rows().iter().filter(|row| by == SplitBy::Column && is_blank(row));
        let fault =
            |row: &Row| AugmentError::NoSplit { name: data.name().to_owned(), row: row.line, image: row.record.id.clone() };
        blank.map(fault).collect()
    }
}

fn with_split(data: &CxrDataset, choose: impl Fn(&CxrRecord) -> Split) -> CxrDataset {
    data.map_records(|row| {
        let split = Some(choose(&row.record));
        if row.record.split == split {
            return Arc::clone(&row.record);
        }
        Arc::new(CxrRecord { split, ..CxrRecord::clone(&row.record) })
    })
}

/// What keeps rows together: the patient, or the row itself where it has none.
fn group(record: &CxrRecord) -> (bool, &str) {
    record.patient_id.as_ref().map_or((false, record.id.as_str()), |patient| (true, patient.as_str()))
}

/// A number in `[0, 1)`, uniform over patients and fixed for one patient and seed.
fn position(record: &CxrRecord, seed: u64) -> f64 {
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
    use crate::dataset::SplitBy;
    use crate::dataset::tests::{dataset, record, synthetic};
    use proptest::prelude::{Strategy, any, prop};
    use proptest::{prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeSet;

    const THIRDS: SplitPlan = SplitPlan { by: SplitBy::Patient, valid: 0.3, test: 0.3, seed: 0 };

    /// Rows of the given patients, named by their place.
    fn rows(patients: &[&str], splits: &[Option<Split>]) -> CxrDataset {
        let record = |i: usize| record(&format!("r{i}"), patients[i], splits.get(i).copied().flatten());
        dataset((0..patients.len()).map(record).collect()).unwrap()
    }

    fn ids(data: &CxrDataset) -> BTreeSet<String> {
        data.rows().iter().map(|row| row.record.id.clone()).collect()
    }

    fn patients(data: &CxrDataset) -> BTreeSet<PatientId> {
        let patient = |row: &Row| row.record.patient_id.clone().unwrap_or_else(|| PatientId::new(&row.record.id));
        data.rows().iter().map(patient).collect()
    }

    /// 60 to 200 rows over few or many patients, some without any; no patient has the name of a row.
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
        fn a_synthetic_row_is_in_no_part_and_changes_none(patients_of_rows in any_rows(), made in prop::collection::vec(any::<bool>(), 200), by_column: bool, seed: u64, images in 1usize..60) {
            let given = |i: usize| Some([Split::Train, Split::Valid, Split::Test][i % 3]);
            let patient = |i: usize| if by_column { format!("{}{}", patients_of_rows[i], i % 3) } else { patients_of_rows[i].clone() };
            let row = |i: usize| match made[i] {
                true => synthetic(record(&format!("r{i}"), &patient(i), Some(Split::Train))),
                false => record(&format!("r{i}"), &patient(i), given(i)),
            };
            let data = dataset((0..patients_of_rows.len()).map(row).collect()).unwrap();
            let plan = if by_column { SplitPlan { seed, ..SplitPlan::column() } } else { SplitPlan { seed, ..THIRDS } };
            let real: Vec<usize> = (0..data.len()).filter(|i| !made[*i]).collect();
            match (Splits::new(&data, &plan), Splits::new(&data.select(&real), &plan)) {
                (Ok(all), Ok(alone)) => {
                    let parts = |splits: &Splits| [splits.train().data(), splits.valid().data(), splits.test().data()].map(ids);
                    prop_assert_eq!(parts(&all), parts(&alone));
                    prop_assert_eq!(all.held_out_patients(), alone.held_out_patients());
                    prop_assert_eq!(all.synthetic().map_or(0, CxrDataset::len), data.len() - real.len());
                    let subset = all.train().subset(images.min(all.train().len()), seed).unwrap();
                    prop_assert!(subset.data().rows().iter().all(|row| !row.record.origin.is_synthetic()));
                }
                (Err(AugmentError::EmptySplit { .. }), Err(AugmentError::EmptySplit { .. })) => {}
                (all, alone) => prop_assert!(false, "{all:?} {alone:?}"),
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
            // Whole patients except the last.
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
        assert!(message(&["1", "2"], &given[..2]).starts_with("test: the test split has no real image"));
    }

    #[test]
    fn a_synthetic_image_cannot_be_held_out() {
        let made = synthetic(record("made", "9", Some(Split::Valid)));
        let given = [record("a", "1", Some(Split::Train)), record("b", "2", Some(Split::Test)), made];
        let data = dataset(given.to_vec()).unwrap();
        let error = Splits::new(&data, &SplitPlan::column()).unwrap_err().to_string();
        assert_eq!(error, "test, row 3 (`made`): a synthetic image can't be in the valid split; synthetic data never judges");
        assert!(HeldOut::external(data).is_err());
    }

    #[test]
    fn synthetic_rows_lie_beside_the_splits() {
        let real = |id, split| record(id, id, Some(split));
        let given = [real("a", Split::Train), real("b", Split::Valid), real("c", Split::Test)];
        // One of a training patient, one of a patient of the test set, one of nobody and without a split.
        let made = [("x", "a", Some(Split::Train)), ("y", "c", Some(Split::Train)), ("z", "", None)];
        let made = made.map(|(id, patient, split)| synthetic(record(id, patient, split)));
        let data = dataset(given.into_iter().chain(made).collect()).unwrap();
        let splits = Splits::new(&data, &SplitPlan::column()).unwrap();
        let parts = [splits.train().data(), splits.valid().data(), splits.test().data()];
        assert_eq!(parts.map(|part| ids(part).into_iter().collect::<String>()), ["a", "b", "c"]);
        assert_eq!(ids(splits.synthetic().unwrap()).into_iter().collect::<String>(), "xyz");
        assert_eq!(splits.unidentified(), 0);
        // Without validation rows, none is taken from the synthetic ones.
        let unsplit = data.select(&[0, 2, 3, 4, 5]);
        let without = SplitPlan { valid: 0.999, ..SplitPlan::column() }.apply(&unsplit).unwrap();
        assert_eq!(without.rows()[2..].iter().filter(|row| row.record.split == Some(Split::Train)).count(), 3);
        // A data set of synthetic rows alone has nothing to train on.
        let alone = Splits::new(&data.select(&[3, 4, 5]), &SplitPlan::column()).unwrap_err().to_string();
        assert!(alone.starts_with("test: the train split has no real image"), "{alone}");
    }

    #[test]
    fn impossible_subsets_are_refused() {
        let data = rows(&["1", "2", "3"], &[Some(Split::Train), Some(Split::Valid), Some(Split::Test)]);
        let train = Splits::new(&data, &SplitPlan::column()).unwrap().train;
        assert!(train.subset(0, 0).is_err() && train.subset(2, 0).is_err() && train.subset(1, 0).is_ok());
    }

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
