//! What is wrong with a data set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_core::data::dataset::Dataset;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;

use crate::AugmentError;
use crate::dataset::doubts::{DataWarning, counted, doubts, one_split};
use crate::dataset::{CxrDataset, SplitBy, SplitPlan};
use crate::digest::Fingerprint;
use crate::image::{GrayDepth, GrayImage};
use crate::record::{Label, PatientId, Split};

/// An image that can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// Row of the table.
    pub row: u64,
    /// Where the image is.
    pub image: String,
    /// Why, with every cause.
    pub reason: String,
}

/// One image among several of the same pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageCopy {
    /// Row of the table.
    pub row: u64,
    /// The image's name.
    pub image: String,
    /// Its split.
    pub split: Option<Split>,
}

/// A patient in more than one split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SharedPatient {
    /// The patient.
    pub patient: PatientId,
    /// A row of each split it is in.
    pub rows: Vec<(Split, u64)>,
}

/// Everything found wrong with a data set, and the sizes of its images.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// What is doubtful in how they were read, see [`CxrDataset::notes`].
    pub notes: Vec<String>,
    /// Images examined.
    pub images: usize,
    /// Why the data can't be used, other than the faults that have lists of their own below.
    pub faults: Vec<String>,
    /// Images that can't be decoded.
    pub unreadable: Vec<Unreadable>,
    /// Images of equal pixels in different splits: they leak.
    pub duplicates_across_splits: Vec<Vec<ImageCopy>>,
    /// Images of equal pixels within one split.
    pub duplicates_within_split: Vec<Vec<ImageCopy>>,
    /// Patients in more than one split: they leak.
    pub patients_across_splits: Vec<SharedPatient>,
    /// What is likely to be a mistake, and keeps nothing from being used.
    pub warnings: Vec<DataWarning>,
    /// Images by size and depth (`1024x1024, 8 bit`).
    pub sizes: BTreeMap<String, usize>,
    /// The sizes in one line: the only one, or the smallest and the largest.
    pub size_range: String,
}

impl CheckReport {
    /// Divides `data` by `plan` as [`Splits::new`](crate::dataset::Splits::new) does, decodes every image, in parallel, and looks for
    /// faults.
    ///
    /// `progress(done, all)` is called after every image, from any thread.
    #[must_use]
    pub fn of(data: &CxrDataset, plan: &SplitPlan, progress: impl Fn(usize, usize) + Sync) -> Self {
        // Patients in two splits have a list of their own.
        let faults = plan.faults(data).into_iter().filter(|fault| !matches!(fault, AugmentError::PatientInTwoSplits { .. }));
        let faults = faults.map(|fault| reason(&fault));
        // Rows without a split, if there are any, are among the faults; the others are looked at.
        let divided = plan.apply(data);
        let given = one_split(data).filter(|_| plan.by == SplitBy::Column);
        let data = divided.as_ref().unwrap_or(data);
        let done = AtomicUsize::new(0);
        let look = |index| {
            let seen = data.decode(index).map(|image| (Size::of(&image), image.digest()));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, data.len());
            seen
        };
        let seen: Vec<Result<(Size, Fingerprint), AugmentError>> = (0..data.len()).into_par_iter().map(look).collect();
        let mut report = Self {
            notes: data.notes().to_vec(),
            images: data.len(),
            faults: data.faults().iter().cloned().chain(faults).collect(),
            patients_across_splits: shared_patients(data),
            warnings: doubts(data).into_iter().chain(given).collect(),
            ..Self::default()
        };
        let mut alike: BTreeMap<Fingerprint, Vec<usize>> = BTreeMap::new();
        let mut sizes: BTreeMap<Size, usize> = BTreeMap::new();
        for (index, seen) in seen.into_iter().enumerate() {
            match seen {
                Ok((size, digest)) => {
                    *sizes.entry(size).or_insert(0) += 1;
                    alike.entry(digest).or_default().push(index);
                }
                Err(error) => {
                    let (row, image) = (data.rows()[index].line, data.describe(index));
                    report.unreadable.push(Unreadable { row, image, reason: reason(&error) });
                }
            }
        }
        report.size_range = size_range(&sizes);
        report.sizes = sizes.into_iter().map(|(size, count)| (size.to_string(), count)).collect();
        let mut alike: Vec<_> = alike.into_values().filter(|copies| copies.len() > 1).collect();
        alike.sort_by_key(|copies| data.rows()[copies[0]].line);
        report.warnings.extend(unequal_labels(data, &alike));
        for copies in alike {
            let copies: Vec<_> = copies.into_iter().map(|index| copy(data, index)).collect();
            let splits: BTreeSet<_> = copies.iter().map(|copy| copy.split).collect();
            let list =
                if splits.len() > 1 { &mut report.duplicates_across_splits } else { &mut report.duplicates_within_split };
            list.push(copies);
        }
        report
    }

    /// The report on a data set that can't be read at all.
    #[must_use]
    pub fn unread(error: &dyn Error) -> Self {
        Self { faults: vec![reason(error)], ..Self::default() }
    }

    /// Adds why the data can't be used.
    pub fn push(&mut self, error: &dyn Error) {
        self.faults.push(reason(error));
    }

    /// Adds why the data can't be used, before what follows from it.
    ///
    /// # Panics
    /// If `at` is above the number of faults.
    pub fn insert(&mut self, at: usize, error: &dyn Error) {
        self.faults.insert(at, reason(error));
    }

    /// Adds what is likely to be a mistake.
    pub fn warn(&mut self, kind: &'static str, error: &dyn Error) {
        self.warnings.push(DataWarning { kind, count: 1, text: reason(error), examples: Vec::new() });
    }

    /// Whether training takes the data: every row has a split, its image can be decoded, and splits hold what they must. Images of equal
    /// pixels in two splits are trained on.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.faults.is_empty() && self.unreadable.is_empty() && self.patients_across_splits.is_empty()
    }

    /// Whether nothing was found that spoils a study: duplicates within one split are allowed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.is_usable() && self.duplicates_across_splits.is_empty()
    }
}

fn reason(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let mut said = error.to_string();
    for cause in causes.map(ToString::to_string) {
        // A transparent error says what its cause says.
        if !said.ends_with(&cause) {
            said.push_str(&format!(": {cause}"));
        }
    }
    said
}

/// Size and depth of an image. Ordered by the number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Size {
    pixels: usize,
    width: usize,
    height: usize,
    bits: u8,
}

impl Size {
    fn of(image: &GrayImage) -> Self {
        let bits = match image.depth() {
            GrayDepth::U8(_) => 8,
            GrayDepth::U16(_) => 16,
        };
        let (width, height) = (image.width(), image.height());
        Self { pixels: width * height, width, height, bits }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}, {} bit", self.width, self.height, self.bits)
    }
}

/// `1024x1024, 8 bit`, or `60 sizes from 300x200 to 3000x2500, 8 and 16 bit`.
fn size_range(sizes: &BTreeMap<Size, usize>) -> String {
    let (Some((first, _)), Some((last, _))) = (sizes.first_key_value(), sizes.last_key_value()) else {
        return String::new();
    };
    let different: BTreeSet<_> = sizes.keys().map(|size| (size.width, size.height)).collect();
    let bits: BTreeSet<_> = sizes.keys().map(|size| size.bits.to_string()).collect();
    let bits = bits.into_iter().rev().collect::<Vec<_>>().join(" and ");
    match different.len() {
        1 => format!("{}x{}, {bits} bit", first.width, first.height),
        count => {
            format!("{count} sizes from {}x{} to {}x{}, {bits} bit", first.width, first.height, last.width, last.height)
        }
    }
}

fn copy(data: &CxrDataset, index: usize) -> ImageCopy {
    let row = &data.rows()[index];
    ImageCopy { row: row.line, image: row.record.id.clone(), split: row.record.split }
}

/// Images of equal pixels that say different things of a finding. A label that one of them lacks is no difference.
fn unequal_labels(data: &CxrDataset, alike: &[Vec<usize>]) -> Option<DataWarning> {
    let mut all = Vec::new();
    for copies in alike {
        let differing = data.vocabulary().findings().iter().enumerate().find_map(|(column, finding)| {
            let labels = copies.iter().map(|&index| (index, data.record(index).labels[column]));
            let mut known = labels.filter(|(_, label)| *label != Label::Missing);
            let (first, label) = known.next()?;
            let (other, _) = known.find(|(_, other)| *other != label)?;
            Some((finding, first, other))
        });
        if let Some((finding, first, other)) = differing {
            let (first, other) = (&data.rows()[first], &data.rows()[other]);
            let (one, two) = (&first.record.id, &other.record.id);
            all.push(format!("{one} (row {}) and {two} (row {}) differ in {finding}", first.line, other.line));
        }
    }
    DataWarning::of("unequal-labels", all, |count| {
        format!("{} of equal pixels with different labels", counted(count, "group of images is", "groups of images are"))
    })
}

/// Patients of real rows in several splits. Synthetic rows are in none.
fn shared_patients(data: &CxrDataset) -> Vec<SharedPatient> {
    let mut rows: HashMap<&PatientId, BTreeMap<Split, u64>> = HashMap::new();
    for row in data.rows().iter().filter(|row| !row.record.origin.is_synthetic()) {
        if let (Some(patient), Some(split)) = (&row.record.patient_id, row.record.split) {
            rows.entry(patient).or_default().entry(split).or_insert(row.line);
        }
    }
    let shared = rows.into_iter().filter(|(_, rows)| rows.len() > 1);
    let mut shared: Vec<_> =
        shared.map(|(patient, rows)| SharedPatient { patient: patient.clone(), rows: rows.into_iter().collect() }).collect();
    shared.sort_by(|a, b| a.patient.cmp(&b.patient));
    shared
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dataset::Splits;
    use crate::dataset::tests::record;
    use crate::image::{ImageFileError, ImageSource};
    use crate::record::{CxrRecord, Vocabulary};

    /// Image `i` is one pixel of `levels[i]`; 255 can't be read.
    struct Levels(Vec<u8>);

    impl ImageSource for Levels {
        fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
            match self.0[index] {
                255 => Err(ImageFileError::TruncatedJpeg { path: self.describe(index).into() }.into()),
                level => Ok(GrayImage::from_u8(1, 1, vec![level])),
            }
        }

        fn describe(&self, index: usize) -> String {
            format!("{index}.jpg")
        }
    }

    #[test]
    fn every_fault_is_listed() {
        let splits = [Split::Train, Split::Train, Split::Test, Split::Train, Split::Valid];
        let patients = ["1", "2", "3", "4", "1"];
        let records = splits.iter().zip(patients).enumerate();
        let records = records.map(|(i, (split, patient))| record(&format!("r{i}"), patient, Some(*split))).collect();
        let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"]).unwrap());
        let data = CxrDataset::from_records("levels", vocabulary, records, Arc::new(Levels(vec![7, 9, 7, 9, 255]))).unwrap();
        let calls = AtomicUsize::new(0);
        let report = CheckReport::of(&data, &SplitPlan::column(), |_, all| {
            assert_eq!(all, 5);
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 5);
        let rows =
            |copies: &[Vec<ImageCopy>]| copies.iter().map(|c| c.iter().map(|c| c.row).collect()).collect::<Vec<Vec<u64>>>();
        assert_eq!(rows(&report.duplicates_across_splits), [[1, 3]]);
        assert_eq!(rows(&report.duplicates_within_split), [[2, 4]]);
        assert_eq!(report.unreadable.iter().map(|u| (u.row, u.image.as_str())).collect::<Vec<_>>(), [(5, "4.jpg")]);
        assert_eq!(report.patients_across_splits[0].rows, [(Split::Train, 1), (Split::Valid, 5)]);
        assert_eq!(report.sizes, BTreeMap::from([("1x1, 8 bit".to_owned(), 4)]));
        assert_eq!(report.size_range, "1x1, 8 bit");
        assert!(report.faults.is_empty());
        assert!(!report.is_clean());
    }

    /// A data set of [`Levels`] whose records `change` makes; record `i` is that of patient `i` in training.
    fn levels(levels: Vec<u8>, change: impl Fn(usize, &mut CxrRecord)) -> CxrDataset {
        let records = (0..levels.len()).map(|i| {
            let mut record = record(&format!("r{i}"), &i.to_string(), Some(Split::Train));
            change(i, &mut record);
            record
        });
        let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"]).unwrap());
        CxrDataset::from_records("levels", vocabulary, records.collect(), Arc::new(Levels(levels))).unwrap()
    }

    #[test]
    fn faults_of_splits_are_all_listed_and_the_first_is_the_one_that_training_names() {
        let blank = levels(vec![1, 2, 3, 4], |i, record| {
            record.split = [Some(Split::Train), None, Some(Split::Test), None][i];
            record.patient_id = Some(PatientId::new("same"));
        });
        let report = CheckReport::of(&blank, &SplitPlan::column(), |_, _| ());
        assert_eq!(report.images, 4);
        assert_eq!(report.faults.len(), 2);
        assert!(report.faults[1].contains("levels, row 4 (`r3`): no split"), "{:?}", report.faults);
        assert_eq!(report.patients_across_splits.len(), 1);
        let refused = Splits::new(&blank, &SplitPlan::column()).unwrap_err();
        assert_eq!(report.faults[0], refused.to_string());

        let empty = levels(vec![1, 2, 3], |_, _| ());
        let report = CheckReport::of(&empty, &SplitPlan { valid: 0.0, ..SplitPlan::column() }, |_, _| ());
        assert_eq!(report.faults.len(), 2, "{:?}", report.faults);
        assert!(!report.is_usable() && report.faults[1].contains("the test split has no"));
    }

    #[test]
    fn equal_images_of_different_labels_are_a_warning() {
        let data = levels(vec![1, 1, 2, 2, 3, 3], |i, record| match i {
            1 => record.labels = vec![Label::Positive, Label::Negative],
            2 => record.labels = vec![Label::Missing, Label::Uncertain],
            _ => {}
        });
        let report = CheckReport::of(&data, &SplitPlan { by: SplitBy::Patient, valid: 0.0, test: 0.0, seed: 0 }, |_, _| ());
        let said: Vec<_> = report.warnings.iter().filter(|warning| warning.kind == "unequal-labels").collect();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].text, "1 group of images is of equal pixels with different labels");
        assert_eq!(said[0].examples, ["r0 (row 1) and r1 (row 2) differ in Mass"]);
        assert_eq!(report.duplicates_within_split.len(), 3);
    }

    #[test]
    fn many_sizes_are_one_line() {
        let size = |width, height, bits| (Size { pixels: width * height, width, height, bits }, 1);
        assert_eq!(size_range(&BTreeMap::new()), "");
        assert_eq!(size_range(&BTreeMap::from([size(30, 20, 8)])), "30x20, 8 bit");
        assert_eq!(size_range(&BTreeMap::from([size(30, 20, 8), size(30, 20, 16)])), "30x20, 8 and 16 bit");
        let many: BTreeMap<_, _> = (0..60).map(|i| size(100 + i, 300 - i, 8)).collect();
        assert_eq!(size_range(&many), "60 sizes from 100x300 to 159x241, 8 bit");
    }
}
