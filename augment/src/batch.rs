//! Batches as tensors, for burn's data loader.
//!
//! Letters: `B` batch, `C` channels, `F` findings.

use std::sync::Arc;

use burn_core::data::dataloader::batcher::Batcher;
use burn_core::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::image::{Pixels, Signed};
use crate::record::{CxrRecord, CxrSample, LabelPolicy, Vocabulary};

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

/// Targets of rows as the losses and the statistics use them: row-major `B * F`, NaN where the label is ignored.
#[must_use]
pub fn targets(records: &[Arc<CxrRecord>], vocabulary: &Vocabulary, policy: &LabelPolicy) -> Vec<f32> {
    let row = |record: &Arc<CxrRecord>| {
        let labels = vocabulary.findings().iter().zip(&record.labels);
        labels.map(|(finding, label)| policy.target(*finding, *label).unwrap_or(f32::NAN)).collect::<Vec<_>>()
    };
    records.iter().flat_map(row).collect()
}

impl CxrBatcher {
    /// A batcher for a network that starts from random weights: one channel in `[-1, 1]`, uncertain and blank labels ignored.
    #[must_use]
    pub fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed }
    }

    /// A batch of these images and rows.
    ///
    /// # Panics
    /// If there is no image, or a row's number of labels differs from the vocabulary's.
    #[must_use]
    pub fn stack(&self, images: &[Pixels<Signed>], records: Vec<Arc<CxrRecord>>, device: &Device) -> CxrBatch {
        let findings = self.vocabulary.len();
        let targets = targets(&records, &self.vocabulary, &self.policy);
        assert_eq!(targets.len(), records.len() * findings, "rows have one label per finding");
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

/// The pixel range and channels that a set of weights was trained with.
///
/// A range other than that of the weights is the most common silent error with pretrained chest X-ray networks, so the range
/// is part of a checkpoint and not left to the caller's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRange {
    /// One channel in `[-1024, 1024]` (torchxrayvision).
    Xrv,
    /// Gray copied to three channels, `[0, 1]` minus the ImageNet mean, divided by its deviation (torchvision).
    Imagenet,
    /// One channel in `[-1, 1]`; for networks trained from scratch.
    Signed,
}

/// Per-channel statistics of torchvision's ImageNet weights (`transforms.Normalize` in its reference recipes).
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl InputRange {
    /// 1 or 3.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Xrv | Self::Signed => 1,
            Self::Imagenet => 3,
        }
    }

    /// What pixels from 0 to 1 are less, and what they are divided by, in three channels or in the one three times.
    #[must_use]
    pub fn mean_and_deviation(self) -> [[f32; 3]; 2] {
        match self {
            Self::Xrv => [[0.5; 3], [0.5 / 1024.0; 3]],
            Self::Signed => [[0.5; 3], [0.5; 3]],
            Self::Imagenet => [IMAGENET_MEAN, IMAGENET_STD],
        }
    }

    /// Stacks images of one size into `[B, C, H, W]`.
    ///
    /// # Panics
    /// If there is no image or sizes differ: a dataset gives one size.
    #[must_use]
    pub fn stack(self, images: &[Pixels<Signed>], device: &Device) -> Tensor<4> {
        let first = images.first().expect("a batch has at least one image");
        let (height, width) = (first.height(), first.width());
        let mut values = Vec::with_capacity(images.len() * self.channels() * height * width);
        for image in images {
            assert_eq!((image.height(), image.width()), (height, width), "images of one batch have one size");
            match self {
                Self::Xrv => values.extend(image.values().iter().map(|v| v * 1024.0)),
                Self::Signed => values.extend_from_slice(image.values()),
                Self::Imagenet => {
                    for (mean, std) in IMAGENET_MEAN.into_iter().zip(IMAGENET_STD) {
                        values.extend(image.values().iter().map(|v| ((v + 1.0) / 2.0 - mean) / std));
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [images.len(), self.channels(), height, width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::record;
    use crate::record::Label;

    #[test]
    fn ignored_labels_are_masked_and_zero() {
        let vocabulary = Arc::new(Vocabulary::parse(["Mass", "Edema", "Nodule"]).unwrap());
        let labels = vec![Label::Positive, Label::Uncertain, Label::Negative];
        let record = CxrRecord { labels, ..record("a.png", "", None) };
        let sample = CxrSample { image: Pixels::new(1, 1, vec![0.5]), record: Arc::new(record) };
        let batch = CxrBatcher::new(vocabulary).batch(vec![sample], &Device::flex());
        assert_eq!(batch.targets.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
        assert_eq!(*batch.known, [1.0, 0.0, 1.0]);
    }

    #[test]
    fn ranges_of_black_and_white() {
        let device = Device::flex();
        let image = Pixels::<Signed>::new(2, 1, vec![-1.0, 1.0]);
        let values =
            |range: InputRange| range.stack(std::slice::from_ref(&image), &device).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(InputRange::Xrv), [-1024.0, 1024.0]);
        assert_eq!(values(InputRange::Signed), [-1.0, 1.0]);
        for range in [InputRange::Xrv, InputRange::Signed, InputRange::Imagenet] {
            let [mean, deviation] = range.mean_and_deviation();
            for (channel, pixels) in values(range).chunks_exact(2).enumerate() {
                for (level, pixel) in [0.0, 1.0].into_iter().zip(pixels) {
                    let expected = (level - mean[channel]) / deviation[channel];
                    assert!((pixel - expected).abs() < 1e-6 * expected.abs(), "{range:?}: {pixel}, {expected}");
                }
            }
        }
        let imagenet = values(InputRange::Imagenet);
        assert_eq!(imagenet.len(), 6);
        assert!((imagenet[0] + 0.485 / 0.229).abs() < 1e-6 && (imagenet[5] - (1.0 - 0.406) / 0.225).abs() < 1e-6);
    }
}
