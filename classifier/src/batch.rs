//! Whole data sets as batches, for validation, test and prediction.

use std::sync::Arc;

use burn::data::dataloader::batcher::Batcher;
use burn::data::dataset::{Dataset, DatasetError};
use burn::tensor::Device;
use roentgen_augment::batch::{CxrBatch, CxrBatcher};
use roentgen_augment::mix::{BatchStream, Prefetch};
use roentgen_augment::record::{CxrSample, Vocabulary};

use crate::error::{ClassifierError, SettingError, chain};
use crate::training::Precision;

/// A data set cut into batches, in order, read again in every pass.
///
/// A pass decodes ahead of the network on another thread. Memory holds a few batches, however many images there are; to decode
/// images only once, use the data set's cache, which has a bound.
#[derive(Clone)]
pub struct Batches {
    set: Arc<dyn Dataset<CxrSample>>,
    batcher: CxrBatcher,
    batch_size: usize,
    precision: Precision,
    device: Device,
}

impl Batches {
    /// Batches that a pass prepares or holds, besides the one it has returned.
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
        let precision = Precision::Fp32;
        Ok(Self { set: Arc::new(set), batcher: batcher.clone(), batch_size, precision, device: device.clone() })
    }

    /// Batches whose images are of that precision, in which networks then compute; 32-bit floats without this.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Number of images.
    #[must_use]
    pub fn images(&self) -> usize {
        self.set.len()
    }

    /// The findings of the columns of targets and scores.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.batcher.vocabulary
    }

    /// Every batch, in order. An unreadable image is the error of its batch, in its place.
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
        let Batches { batcher, precision, device, .. } = self.batches;
        Some(samples.map(|samples| precision.of_images(batcher.batch(samples, device))))
    }
}

/// The error of an image that can't be read.
pub(crate) fn unreadable(error: &DatasetError) -> ClassifierError {
    ClassifierError::Training { message: chain(error) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, Weak};

    use roentgen_augment::image::Pixels;
    use roentgen_augment::record::{CxrRecord, Label};

    use super::*;

    fn batcher() -> CxrBatcher {
        CxrBatcher::new(Arc::new(Vocabulary::parse(["Mass", "Edema", "Nodule"]).unwrap()))
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
            let record = Arc::new(CxrRecord::real(format!("{index}.png"), None, vec![Label::Negative; 3]));
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
            // The current batch, and those ahead of it.
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
