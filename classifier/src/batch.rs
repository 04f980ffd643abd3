//! Samples as tensors: pixels in the range that a network expects, targets and masks.
//!
//! Letters: `B` batch, `C` channels, `H` height, `W` width, `F` findings.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::image::{Pixels, Signed};
use roentgen_augment::mix::{BatchStream, Prefetch};
use roentgen_augment::record::{CxrRecord, CxrSample, LabelPolicy, Vocabulary};
use serde::{Deserialize, Serialize};

use crate::error::{ClassifierError, SettingError, chain};

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

/// A data set cut into batches, in order, read anew by every pass.
///
/// A pass decodes ahead of the network on another thread. Memory holds a few batches, however many images there are; what should not
/// be decoded twice belongs into the data set's cache, which has a bound.
#[derive(Clone)]
pub struct Batches {
    set: Arc<dyn Dataset<CxrSample>>,
    batcher: CxrBatcher,
    batch_size: usize,
    device: Device,
}

impl Batches {
    /// Batches that a pass keeps ready or works on, besides the one it has handed out.
    pub const AHEAD: usize = 2;

    /// Batches of `batch_size` images on `device`; the last one may be smaller.
    ///
    /// # Errors
    /// [`ClassifierError::Setting`] for batches of no image.
    pub fn new<D: Dataset<CxrSample> + 'static>(
        set: D,
        batcher: &CxrBatcher,
        batch_size: usize,
        device: &Device,
    ) -> Result<Self, ClassifierError> {
        SettingError::unless(batch_size > 0, "eval_batch_size", batch_size, "at least 1")?;
        Ok(Self { set: Arc::new(set), batcher: batcher.clone(), batch_size, device: device.clone() })
    }

    /// Number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.set.len()
    }

    /// What the columns of targets and scores are.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.batcher.vocabulary
    }

    /// Every batch, in order. An unreadable image is the error of its batch, at its place.
    #[must_use]
    pub fn pass(&self) -> Pass<'_> {
        Pass { batches: self, samples: self.samples() }
    }

    /// Reads every image once, without the network: an unreadable one is found before hours of training, and the data set's cache
    /// fills up in the order of the rows.
    ///
    /// # Errors
    /// [`ClassifierError::Training`] names the image.
    pub fn check(&self) -> Result<(), ClassifierError> {
        self.samples().try_for_each(|samples| samples.map(drop)).map_err(|error| unreadable(&error))
    }

    fn samples(&self) -> BatchStream<Vec<CxrSample>, DatasetError> {
        let (set, size) = (Arc::clone(&self.set), self.batch_size);
        let steps = set.len().div_ceil(size) as u64;
        // One thread: a data set decodes the images of a batch in parallel.
        let prefetch = Prefetch { workers: 1, in_flight: Self::AHEAD };
        BatchStream::new(0..steps, prefetch, move |step| {
            let first = step as usize * size;
            set.get_many((first..set.len().min(first + size)).collect())
        })
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batches({} images by {})", self.images(), self.batch_size)
    }
}

/// The batches of one pass through a [`Batches`].
pub struct Pass<'a> {
    batches: &'a Batches,
    samples: BatchStream<Vec<CxrSample>, DatasetError>,
}

impl Iterator for Pass<'_> {
    type Item = Result<CxrBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let samples = self.samples.next()?;
        Some(samples.map(|samples| self.batches.batcher.batch(samples, &self.batches.device)))
    }
}

/// The error of an image that can't be read.
pub(crate) fn unreadable(error: &DatasetError) -> ClassifierError {
    ClassifierError::Training { message: chain(error) }
}

/// The pixel range and channels that a set of weights was trained with.
///
/// Feeding another range than the weights know is the commonest silent error with pretrained chest X-ray networks, so the range
/// is part of a checkpoint and never a caller's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRange {
    /// One channel in `[-1024, 1024]` (torchxrayvision).
    Xrv,
    /// Gray copied to three channels, `[0, 1]` less the ImageNet mean over its deviation (torchvision).
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
    use std::sync::{Mutex, Weak};

    use roentgen_augment::record::{Details, Label, Origin};

    use super::*;

    fn record(id: String, labels: Vec<Label>) -> CxrRecord {
        CxrRecord {
            id,
            patient_id: None,
            labels,
            age: None,
            sex: None,
            view: None,
            report: None,
            split: None,
            origin: Origin::Real,
            details: Details::default(),
        }
    }

    fn batcher() -> CxrBatcher {
        let vocabulary = Arc::new(Vocabulary::parse(["Mass", "Edema", "Nodule"]).unwrap());
        CxrBatcher { vocabulary, policy: LabelPolicy::default(), input: InputRange::Signed }
    }

    #[test]
    fn ignored_labels_are_masked_and_zero() {
        let record = record("a.png".into(), vec![Label::Positive, Label::Uncertain, Label::Negative]);
        let sample = CxrSample { image: Pixels::new(1, 1, vec![0.5]), record: Arc::new(record) };
        let batch = batcher().batch(vec![sample], &Device::flex());
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
        let imagenet = values(InputRange::Imagenet);
        assert_eq!(imagenet.len(), 6);
        assert!((imagenet[0] + 0.485 / 0.229).abs() < 1e-6 && (imagenet[5] - (1.0 - 0.406) / 0.225).abs() < 1e-6);
    }

    /// Images of their own gray level, whose samples are counted while they live.
    struct Counted {
        images: usize,
        broken: usize,
        made: Arc<Mutex<Vec<Weak<CxrRecord>>>>,
    }

    impl Dataset<CxrSample> for Counted {
        fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
            if index == self.broken {
                return Err(DatasetError::new(std::io::Error::other(format!("{index}.png is damaged"))));
            }
            let record = Arc::new(record(format!("{index}.png"), vec![Label::Negative; 3]));
            self.made.lock().unwrap().push(Arc::downgrade(&record));
            Ok(CxrSample { image: Pixels::new(1, 1, vec![index as f32 / 1000.0]), record })
        }

        fn len(&self) -> usize {
            self.images
        }
    }

    fn counted(images: usize, broken: usize) -> (Batches, Arc<Mutex<Vec<Weak<CxrRecord>>>>) {
        let made = Arc::default();
        let set = Counted { images, broken, made: Arc::clone(&made) };
        (Batches::new(set, &batcher(), 4, &Device::flex()).unwrap(), made)
    }

    #[test]
    fn a_pass_holds_a_few_batches_however_many_images_there_are() {
        let most = |images: usize| {
            let (batches, made) = counted(images, usize::MAX);
            let alive = || made.lock().unwrap().iter().filter(|record| record.strong_count() > 0).count();
            // The batch in hand, and those ahead of it.
            let most = batches.pass().map(|batch| (batch.unwrap(), alive()).1).max().unwrap();
            assert_eq!(alive(), 0);
            assert_eq!(made.lock().unwrap().len(), images);
            most
        };
        for images in [40, 400] {
            let most = most(images);
            assert!(most <= 4 * (1 + Batches::AHEAD), "{most} of {images} images were alive at once");
        }
    }

    #[test]
    fn rows_come_in_order_in_every_pass_and_the_last_batch_may_be_smaller() {
        let (batches, _) = counted(10, usize::MAX);
        for _ in 0..2 {
            let found: Vec<_> = batches.pass().map(Result::unwrap).collect();
            assert_eq!(found.iter().map(|batch| batch.records.len()).collect::<Vec<_>>(), [4, 4, 2]);
            let ids = found.iter().flat_map(|batch| batch.records.iter().map(|record| record.id.clone()));
            assert!(ids.eq((0..10).map(|i| format!("{i}.png"))));
            let pixels = found.iter().flat_map(|batch| batch.images.clone().into_data().iter::<f32>().collect::<Vec<_>>());
            assert!(pixels.eq((0..10).map(|i| i as f32 / 1000.0)));
        }
    }

    #[test]
    fn an_unreadable_image_is_named_at_its_place() {
        let (batches, _) = counted(10, 5);
        let found: Vec<bool> = batches.pass().map(|batch| batch.is_ok()).collect();
        assert_eq!(found, [true, false, true]);
        assert!(batches.check().unwrap_err().to_string().contains("5.png is damaged"));
        counted(10, usize::MAX).0.check().unwrap();
    }

    #[test]
    fn batches_of_no_image_are_refused() {
        let set = Counted { images: 3, broken: usize::MAX, made: Arc::default() };
        let error = Batches::new(set, &batcher(), 0, &Device::flex()).unwrap_err().to_string();
        assert_eq!(error, "eval_batch_size is 0, expected at least 1");
    }
}
