//! The manifest of a synthetic set: the table that makes cached samples an ordinary data set.

use std::collections::HashSet;
use std::path::Path;

use super::{Requested, Samples, SyntheticDataset};
use crate::AugmentError;
use crate::formats::{TableRow, write_table};
use crate::record::Vocabulary;

impl SyntheticDataset {
    /// Writes the project's table of the set to `path`: one row per distinct sample, naming the cache's own PNG (relative to the
    /// table's folder if it lies below it, as it does for a table in the cache folder).
    ///
    /// [`Table`](crate::formats::Table) reads it, and [`SyntheticDataset::from_images`] then has the same samples. A set that
    /// was read from a manifest is written with the image names it had.
    ///
    /// # Errors
    /// [`AugmentError::SupplyLacks`] without a cache, [`AugmentError::NotInCache`] if samples are missing,
    /// [`AugmentError::LabelCount`] for a sample whose labels are not in `vocabulary`, [`AugmentError::Io`].
    pub fn write_manifest(&self, path: &Path, vocabulary: &Vocabulary) -> Result<(), AugmentError> {
        for (row, record) in (1..).zip(self.records()) {
            let (found, expected) = (record.labels.len(), vocabulary.len());
            if found != expected {
                return Err(AugmentError::LabelCount { name: "the synthetic set".to_owned(), row, found, expected });
            }
        }
        let images = self.image_names(path.parent().unwrap_or(Path::new("")))?;
        let card = self.supply().and_then(|supply| supply.synthesizer()).map(|synthesizer| synthesizer.card());
        let mut seen = HashSet::new();
        let distinct = images.iter().zip(self.records()).filter(|(image, _)| seen.insert(*image));
        let rows: Vec<_> = distinct.map(|(image, record)| TableRow { image, record, card: card.as_ref() }).collect();
        write_table(path, vocabulary, &rows)
    }

    /// The image of each record, as a table in `folder` names it.
    fn image_names(&self, folder: &Path) -> Result<Vec<String>, AugmentError> {
        let Samples::Requested(Requested { keys, supply, .. }) = &self.samples else {
            return Ok(self.records().iter().map(|record| record.id.clone()).collect());
        };
        let needs = "a cache, whose samples the manifest lists";
        let cache = supply.cache().ok_or(AugmentError::SupplyLacks { supply: supply.mode(), needs })?;
        let missing = self.missing();
        if !missing.is_empty() {
            return Err(self.not_in_cache(supply, &missing));
        }
        let name = |path: &Path| path.strip_prefix(folder).unwrap_or(path).display().to_string();
        Ok(keys.iter().map(|key| name(&cache.path_of(*key))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;

    use burn_core::data::dataset::Dataset;

    use super::*;
    use crate::formats::Table;
    use crate::image::Preprocess;
    use crate::supply::fake::{Fake, requests};
    use crate::supply::{CacheOptions, SampleCache, Supply};

    #[test]
    fn a_set_read_from_its_manifest_has_the_same_samples() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Arc::new(SampleCache::open(folder.path(), CacheOptions::default()).unwrap());
        let supply = Supply::CacheThenGenerate { cache, synthesizer: Arc::new(Fake::default()) };
        let twice = [requests(5), requests(2)].concat();
        let set = SyntheticDataset::new(twice.into(), supply, Preprocess::new(8), &HashSet::new()).unwrap();
        let (path, vocabulary) = (folder.path().join("manifest.csv"), Vocabulary::parse(["Effusion", "Mass"]).unwrap());
        let missing = set.write_manifest(&path, &vocabulary).unwrap_err();
        assert!(matches!(missing, AugmentError::NotInCache { missing: 7, .. }), "{missing}");

        set.fill(NonZeroUsize::new(3).unwrap(), |_| {}).unwrap();
        set.write_manifest(&path, &vocabulary).unwrap();
        let data = Table::new(&path).read().unwrap().with_preprocess(Preprocess::new(8));
        let read = SyntheticDataset::from_images(data, &HashSet::new()).unwrap();
        assert_eq!(read.len(), 5);
        for i in 0..5 {
            let (made, read) = (set.get(i).unwrap(), read.get(i).unwrap());
            assert_eq!(made.image, read.image);
            assert_eq!((&made.record.origin, &made.record.labels), (&read.record.origin, &read.record.labels));
        }
        let other = set.write_manifest(&path, &Vocabulary::nih()).unwrap_err();
        assert!(matches!(other, AugmentError::LabelCount { found: 2, expected: 14, .. }), "{other}");
    }
}
