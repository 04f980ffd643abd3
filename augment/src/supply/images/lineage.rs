//! From the source that a synthetic image names to the patient whom a study knows.

use std::collections::HashMap;
use std::path::Path;

use crate::dataset::{CxrDataset, Splits};
use crate::record::{CxrRecord, PatientId};
use crate::request::RequestSource;

/// The real images of a study, by the names under which another table may know them.
pub(super) struct Lineage<'a> {
    images: HashMap<&'a str, &'a CxrRecord>,
}

impl<'a> Lineage<'a> {
    /// The images of all three splits: by their names, and by the names of their files without folders and endings. If several have
    /// one such name, a held-out one is meant.
    pub fn new(splits: &'a Splits) -> Self {
        let mut images = HashMap::new();
        // Later ones replace earlier ones: whole names file names, and held-out images those of training.
        let sets = [splits.train().data(), splits.valid().data(), splits.test().data()];
        let records = || sets.into_iter().flat_map(CxrDataset::rows).map(|row| row.record.as_ref());
        images.extend(records().filter_map(|record| Some((stem(&record.id)?, record))));
        images.extend(records().map(|record| (record.id.as_str(), record)));
        Self { images }
    }

    /// Names the patient of a source that is an image of the study.
    pub fn trace(&self, source: &mut RequestSource) {
        let by_stem = || self.images.get(stem(&source.id)?);
        if let Some(record) = self.images.get(source.id.as_str()).or_else(by_stem) {
            // As in splits, an image without a patient counts as a separate patient.
            source.patient_id = record.patient_id.clone().unwrap_or_else(|| PatientId::new(&record.id));
        }
    }
}

fn stem(name: &str) -> Option<&str> {
    // A Windows path is one name to the other systems.
    let name = name.rsplit(['/', '\\']).next()?;
    Path::new(name).file_stem()?.to_str().filter(|stem| !stem.is_empty())
}
