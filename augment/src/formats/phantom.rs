//! The phantom as a data set with a split column.

use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::image::ImageFunction;
use crate::phantom::{PhantomDataset, PhantomDatasetConfig};
use crate::record::{PatientId, Split};

/// Numbers of phantom images. A patient's images stay in one split, so that counts can be off by a few.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhantomGroups {
    /// Images in training.
    pub train: usize,
    /// Images in validation.
    pub valid: usize,
    /// Images in test.
    pub test: usize,
    /// Another seed gives other bodies.
    pub seed: u64,
    /// Pixels per side.
    pub size: usize,
}

/// Images of three groups of phantoms, one group for each split.
pub(super) fn phantom(groups: &PhantomGroups) -> Result<CxrDataset, AugmentError> {
    // A sum beyond the largest number is refused with the numbers that are merely too large.
    let total = groups.train.saturating_add(groups.valid).saturating_add(groups.test);
    let phantom = PhantomDataset::new(PhantomDatasetConfig::new(total, groups.size, groups.seed))?;
    let vocabulary = Arc::new(phantom.vocabulary().clone());
    let mut records = phantom.records();
    let mut last: Option<(PatientId, Split)> = None;
    for (at, record) in records.iter_mut().enumerate() {
        let planned = match at {
            at if at < groups.train => Split::Train,
            at if at < groups.train + groups.valid => Split::Valid,
            _ => Split::Test,
        };
        // A patient stays with its first image.
        let split = match (&last, &record.patient_id) {
            (Some((patient, split)), Some(this)) if patient == this => *split,
            _ => planned,
        };
        last = record.patient_id.clone().map(|patient| (patient, split));
        record.split = Some(split);
    }
    let source = ImageFunction::new("phantom", move |index| phantom.image(index));
    CxrDataset::from_records("analytic chest phantom", vocabulary, records, Arc::new(source))
}
