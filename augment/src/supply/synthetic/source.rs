//! The samples as images of a data set: for whoever judges them at the size at which they were made.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Samples, SyntheticDataset};
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::image::{GrayImage, ImageSource};
use crate::record::Vocabulary;

impl SyntheticDataset {
    /// The first `most` samples that differ, with the labels of `vocabulary`, those of their requests.
    ///
    /// An image is read from the cache, or made, when it is asked for.
    ///
    /// # Errors
    /// [`AugmentError::EmptyDataset`] for no samples, [`AugmentError::LabelCount`] if requests have other labels than `vocabulary`.
    pub fn to_data(&self, name: &str, vocabulary: &Arc<Vocabulary>, most: usize) -> Result<CxrDataset, AugmentError> {
        if let Samples::Images(data) = &self.samples {
            let first: Vec<usize> = (0..data.rows().len().min(most)).collect();
            return Ok(data.select(&first));
        }
        // Two requests may be answered by one sample.
        let mut seen = HashSet::new();
        let distinct = self.records.iter().enumerate().filter(|(_, record)| seen.insert(record.id.as_str()));
        let row = |(image, record): (usize, &Arc<_>)| Row { record: Arc::clone(record), image, line: image as u64 + 1 };
        let rows = distinct.take(most).map(row).collect();
        CxrDataset::new(name, Arc::clone(vocabulary), rows, Arc::new(self.clone()))
    }
}

impl ImageSource for SyntheticDataset {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        match &self.samples {
            Samples::Images(data) => data.decode(index),
            Samples::Requested(requested) => {
                let mut images = self.images(requested, &[index])?;
                Ok(images.remove(&requested.keys[index]).expect("the sample was found or made"))
            }
        }
    }

    fn describe(&self, index: usize) -> String {
        format!("sample {}", self.records[index].id)
    }
}
