//! Batches as tensors.
//!
//! Letters: `B` batch, `F` findings.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::Dataset;
use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::image::{Pixels, Signed};
use roentgen_augment::record::{CxrRecord, CxrSample, LabelPolicy, Vocabulary};

use crate::error::chain;
use crate::{ClassifierError, InputRange};

/// Images, targets and masks of one forward pass.
#[derive(Clone, Debug)]
pub struct CxrBatch {
    /// `[B, C, H, W]`, in the network's range.
    pub images: Tensor<4>,
    /// `[B, F]`, 0 or 1; 0 where the mask is 0.
    pub targets: Tensor<2>,
    /// `[B, F]`, 1 where the label is known.
    pub mask: Tensor<2>,
    /// The mask on the host, row-major.
    pub known: Arc<[f32]>,
    /// Rows, in order.
    pub records: Vec<Arc<CxrRecord>>,
}

/// Turns samples into a [`CxrBatch`]: burn's [`Batcher`].
#[derive(Clone, Debug)]
pub struct CxrBatcher {
    /// Findings, in the order of the samples' labels.
    pub vocabulary: Arc<Vocabulary>,
    /// What uncertain and blank labels become.
    pub policy: LabelPolicy,
    /// What the network's weights expect.
    pub input: InputRange,
}

/// Targets of rows as the losses and the statistics take them: row-major `B * F`, NaN where the label is ignored.
#[must_use]
pub fn targets(records: &[Arc<CxrRecord>], vocabulary: &Vocabulary, policy: &LabelPolicy) -> Vec<f32> {
    let row = |record: &Arc<CxrRecord>| {
        let labels = vocabulary.findings().iter().zip(&record.labels);
        labels.map(|(finding, label)| policy.target(*finding, *label).unwrap_or(f32::NAN)).collect::<Vec<_>>()
    };
    records.iter().flat_map(row).collect()
}

impl CxrBatcher {
    /// A batch of these images and rows.
    ///
    /// # Panics
    /// If there is no image, or a row has another number of labels than the vocabulary.
    #[must_use]
    pub fn stack(&self, images: &[Pixels<Signed>], records: Vec<Arc<CxrRecord>>, device: &Device) -> CxrBatch {
        let findings = self.vocabulary.len();
        let targets = targets(&records, &self.vocabulary, &self.policy);
        assert_eq!(targets.len(), records.len() * findings, "rows have one label a finding");
        let known: Arc<[f32]> = targets.iter().map(|t| if t.is_nan() { 0.0 } else { 1.0 }).collect();
        let targets: Vec<f32> = targets.into_iter().map(|t| if t.is_nan() { 0.0 } else { t }).collect();
        let shape = [records.len(), findings];
        CxrBatch {
            images: self.input.stack(images, device),
            targets: Tensor::from_data(TensorData::new(targets, shape), device),
            mask: Tensor::from_data(TensorData::new(known.to_vec(), shape), device),
            known,
            records,
        }
    }
}

impl Batcher<CxrSample, CxrBatch> for CxrBatcher {
    fn batch(&self, items: Vec<CxrSample>, device: &Device) -> CxrBatch {
        let (images, records): (Vec<_>, Vec<_>) = items.into_iter().map(|item| (item.image, item.record)).unzip();
        self.stack(&images, records, device)
    }
}

/// A whole set as batches on `device`, in order.
///
/// # Errors
/// [`ClassifierError::Training`] for an unreadable image.
pub fn batches<D: Dataset<CxrSample>>(
    set: &D,
    batcher: &CxrBatcher,
    batch_size: usize,
    device: &Device,
) -> Result<Vec<CxrBatch>, ClassifierError> {
    let rows: Vec<usize> = (0..set.len()).collect();
    let batch = |rows: &[usize]| {
        let samples = set.get_many(rows.to_vec()).map_err(|error| ClassifierError::Training { message: chain(&error) })?;
        Ok(batcher.batch(samples, device))
    };
    rows.chunks(batch_size).map(batch).collect()
}

#[cfg(test)]
mod tests {
    use roentgen_augment::record::{Details, Label, Origin};

    use super::*;

    #[test]
    fn ignored_labels_are_masked_and_zero() {
        let record = CxrRecord {
            id: "a.png".into(),
            patient_id: None,
            labels: vec![Label::Positive, Label::Uncertain, Label::Negative],
            age: None,
            sex: None,
            view: None,
            report: None,
            split: None,
            origin: Origin::Real,
            details: Details::default(),
        };
        let vocabulary = Arc::new(Vocabulary::parse(["Mass", "Edema", "Nodule"]).unwrap());
        let batcher = CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed };
        let sample = CxrSample { image: Pixels::new(1, 1, vec![0.5]), record: Arc::new(record) };
        let batch = batcher.batch(vec![sample], &Device::flex());
        assert_eq!(batch.targets.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
        assert_eq!(*batch.known, [1.0, 0.0, 1.0]);
    }
}
