//! What is wrong with a data set.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn_core::data::dataset::Dataset;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde::Serialize;

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::digest::Fingerprint;
use crate::image::{GrayDepth, GrayImage};
use crate::record::{PatientId, Split};

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
    /// Images that can't be decoded.
    pub unreadable: Vec<Unreadable>,
    /// Images of equal pixels in different splits: they leak.
    pub duplicates_across_splits: Vec<Vec<ImageCopy>>,
    /// Images of equal pixels within one split.
    pub duplicates_within_split: Vec<Vec<ImageCopy>>,
    /// Patients in more than one split: they leak.
    pub patients_across_splits: Vec<SharedPatient>,
    /// Images by size and depth (`1024x1024, 8 bit`).
    pub sizes: BTreeMap<String, usize>,
}

impl CheckReport {
    /// Decodes every image of `data`, in parallel, and looks for faults. Splits are those of the records; check what
    /// [`SplitPlan::apply`](crate::dataset::SplitPlan::apply) gives to check a planned one.
    ///
    /// `progress(done, all)` is called after every image, from any thread.
    #[must_use]
    pub fn of(data: &CxrDataset, progress: impl Fn(usize, usize) + Sync) -> Self {
        let done = AtomicUsize::new(0);
        let look = |index| {
            let seen = data.decode(index).map(|image| (size_of_image(&image), image.digest()));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, data.len());
            seen
        };
        let seen: Vec<Result<(String, Fingerprint), AugmentError>> = (0..data.len()).into_par_iter().map(look).collect();
        let mut report = Self {
            notes: data.notes().to_vec(),
            images: data.len(),
            patients_across_splits: shared_patients(data),
            ..Self::default()
        };
        let mut alike: BTreeMap<Fingerprint, Vec<ImageCopy>> = BTreeMap::new();
        for (index, seen) in seen.into_iter().enumerate() {
            let row = &data.rows()[index];
            match seen {
                Ok((size, digest)) => {
                    *report.sizes.entry(size).or_insert(0) += 1;
                    let copy = ImageCopy { row: row.line, image: row.record.id.clone(), split: row.record.split };
                    alike.entry(digest).or_default().push(copy);
                }
                Err(error) => {
                    let image = data.describe(index);
                    report.unreadable.push(Unreadable { row: row.line, image, reason: reason(&error) });
                }
            }
        }
        for copies in alike.into_values().filter(|copies| copies.len() > 1) {
            let splits: BTreeSet<_> = copies.iter().map(|copy| copy.split).collect();
            let list =
                if splits.len() > 1 { &mut report.duplicates_across_splits } else { &mut report.duplicates_within_split };
            list.push(copies);
        }
        report.duplicates_across_splits.sort_by_key(|copies| copies[0].row);
        report.duplicates_within_split.sort_by_key(|copies| copies[0].row);
        report
    }

    /// Whether nothing was found that spoils a study: duplicates within one split are allowed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.unreadable.is_empty() && self.duplicates_across_splits.is_empty() && self.patients_across_splits.is_empty()
    }
}

fn reason(error: &AugmentError) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    std::iter::once(error.to_string()).chain(causes.map(ToString::to_string)).collect::<Vec<_>>().join(": ")
}

fn size_of_image(image: &GrayImage) -> String {
    let bits = match image.depth() {
        GrayDepth::U8(_) => 8,
        GrayDepth::U16(_) => 16,
    };
    format!("{}x{}, {bits} bit", image.width(), image.height())
}

fn shared_patients(data: &CxrDataset) -> Vec<SharedPatient> {
    let mut rows: HashMap<&PatientId, BTreeMap<Split, u64>> = HashMap::new();
    for row in data.rows() {
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
    use crate::dataset::tests::record;
    use crate::image::ImageSource;
    use crate::record::Vocabulary;

    /// Image `i` is one pixel of `levels[i]`; 255 can't be read.
    struct Levels(Vec<u8>);

    impl ImageSource for Levels {
        fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
            match self.0[index] {
                255 => Err(AugmentError::TruncatedJpeg { path: self.describe(index).into() }),
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
        let report = CheckReport::of(&data, |_, all| {
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
        assert!(!report.is_clean());
    }
}
