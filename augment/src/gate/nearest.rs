//! Samples that are copies of training images.

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Candidate, Fault, Judge, JudgeError, NearestReal, Verdict};
use crate::AugmentError;
use crate::dataset::{CxrDataset, HeldOut, TrainSet};
use crate::digest::Fingerprint;
use crate::image::{Filter, GrayImage, Preprocess};

/// Side of the pictures that are compared.
const SIDE: usize = 32;

/// The training image nearest to a sample, and whether it is too near.
///
/// Pictures are compared at 32 by 32 pixels (antialiased, cropped or padded as in training), each less its mean and divided
/// by its standard deviation; the distance is the root of the mean squared difference, `sqrt(2 - 2 r)` with the correlation `r` of the
/// two pictures: 0 for a copy, whatever its brightness and contrast, about 1.4 for unrelated pictures, at most 2.
///
/// The limit is learnt from people who are not in the training set: the `quantile` of the distances from held-out
/// images (validation, real) to their nearest training image. Any real image has a nearest neighbour; a sample that is nearer than
/// all but a few of these is considered a copy.
pub struct NearestTraining {
    ids: Vec<String>,
    pictures: Vec<Picture>,
    prepare: Preprocess,
    limit: f32,
    quantile: f64,
    held_out: usize,
}

type Picture = Box<[f32]>;

impl NearestTraining {
    /// Reads every image of both sets once. `quantile` is in `[0, 1)`.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for another quantile, and those of reading an image.
    pub fn new(train: &TrainSet, held_out: &HeldOut, quantile: f64) -> Result<Self, AugmentError> {
        Self::of(train.data(), held_out.data(), quantile)
    }

    fn of(train: &CxrDataset, held_out: &CxrDataset, quantile: f64) -> Result<Self, AugmentError> {
        if !(0.0..1.0).contains(&quantile) {
            let (key, expected) = ("gate.copies.quantile".to_owned(), "a number from 0 to below 1".to_owned());
            return Err(AugmentError::BadSetting { key, found: quantile.to_string(), expected });
        }
        let prepare = Preprocess { size: SIDE, filter: Filter::Area, ..*train.preprocess() };
        let pictures = pictures(train, &prepare)?;
        let ids = train.rows().iter().map(|row| row.record.id.clone()).collect();
        let mut set = Self { ids, pictures, prepare, limit: 0.0, quantile, held_out: held_out.rows().len() };
        let others = self::pictures(held_out, &prepare)?;
        let mut distances: Vec<f32> = others.iter().map(|picture| set.nearest(picture).1).collect();
        distances.sort_by(f32::total_cmp);
        set.limit = distances[(quantile * (distances.len() - 1) as f64).floor() as usize];
        Ok(set)
    }

    /// Distance that a sample has to keep.
    #[must_use]
    pub fn limit(&self) -> f32 {
        self.limit
    }

    /// The training image nearest to `image`.
    #[must_use]
    pub fn nearest_to(&self, image: &GrayImage) -> NearestReal {
        let (index, distance) = self.nearest(&picture(image, &self.prepare));
        NearestReal { id: self.ids[index].clone(), distance }
    }

    /// Index and distance of the nearest training picture; the first of equals, whatever the number of threads.
    fn nearest(&self, picture: &[f32]) -> (usize, f32) {
        let squares: Vec<f32> = self.pictures.par_iter().map(|other| mean_square(picture, other)).collect();
        let nearest = squares.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1));
        let (index, square) = nearest.expect("a training set is never empty");
        (index, square.sqrt())
    }
}

impl Judge for NearestTraining {
    fn fingerprint(&self) -> Fingerprint {
        let mut hasher = blake3::Hasher::new();
        for value in self.pictures.iter().flat_map(|picture| picture.iter()) {
            hasher.update(&value.to_le_bytes());
        }
        let ids = self.ids.join("\n");
        let pictures = hasher.finalize();
        Fingerprint::of(&[b"nearest training 1", ids.as_bytes(), pictures.as_bytes(), &self.limit.to_le_bytes()])
    }

    fn limits(&self) -> Vec<String> {
        vec![format!(
            "distance to the nearest of {} training images at least {:.3}: the {} quantile of the distances of {} held-out images \
             ({SIDE} by {SIDE} pixels, standardised; 0 is a copy, 1.4 is unrelated)",
            self.ids.len(),
            self.limit,
            self.quantile,
            self.held_out
        )]
    }

    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError> {
        let verdict = |candidate: &Candidate<'_>| {
            let nearest = self.nearest_to(candidate.image);
            let fault = Fault::Copy { distance: nearest.distance, limit: self.limit };
            let faults = (nearest.distance < self.limit).then_some(fault).into_iter().collect();
            Verdict { faults, nearest_real: Some(nearest) }
        };
        Ok(candidates.iter().map(verdict).collect())
    }
}

fn pictures(data: &CxrDataset, prepare: &Preprocess) -> Result<Vec<Picture>, AugmentError> {
    let indices: Vec<usize> = (0..data.rows().len()).collect();
    let made: Vec<_> = indices.par_iter().map(|&index| Ok(picture(&data.decode(index)?, prepare))).collect();
    made.into_iter().collect()
}

/// The picture that is compared: mean 0, standard deviation 1. One without contrast is all 0, at distance 1 from every other.
fn picture(image: &GrayImage, prepare: &Preprocess) -> Picture {
    prepare.apply(image).standardised().into()
}

fn mean_square(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{SplitPlan, Splits};
    use crate::image::GrayDepth;
    use crate::phantom::{PhantomDataset, PhantomDatasetConfig};
    use crate::supply::fake::request;

    /// Distance of a copy: what rounding to 8 bits leaves of an image with a deviation of some 50 levels.
    const COPY: f32 = 0.03;

    fn splits() -> Splits {
        let images = PhantomDataset::new(PhantomDatasetConfig::new(60, 48, 5)).unwrap();
        let plan = SplitPlan { valid: 0.3, test: 0.2, ..SplitPlan::default() };
        Splits::new(&CxrDataset::from_phantom(images).unwrap(), &plan).unwrap()
    }

    fn kinds(judge: &NearestTraining, image: &GrayImage) -> Vec<&'static str> {
        let request = request(0);
        let verdicts = judge.judge(&[Candidate { request: &request, image, channel_spread: None }]).unwrap();
        verdicts[0].faults.iter().map(Fault::kind).collect()
    }

    #[test]
    fn a_copy_is_found_whatever_its_brightness() {
        let splits = splits();
        let judge = NearestTraining::new(splits.train(), splits.valid(), 0.05).unwrap();
        let train = splits.train().data();
        let image = train.decode(7).unwrap();
        let GrayDepth::U8(levels) = image.depth() else { panic!("phantom images have 8 bits") };
        let paler: Vec<u8> = levels.iter().map(|level| 40 + level / 2).collect();
        for copy in [image.clone(), GrayImage::from_u8(image.width(), image.height(), paler)] {
            let nearest = judge.nearest_to(&copy);
            assert!(nearest.id == train.record(7).id && nearest.distance < COPY, "{nearest:?}");
            assert_eq!(kinds(&judge, &copy), ["copy"]);
        }
    }

    #[test]
    fn the_limit_is_the_quantile_of_held_out_images() {
        let splits = splits();
        let judge = NearestTraining::new(splits.train(), splits.valid(), 0.25).unwrap();
        let valid = splits.valid().data();
        let copies = (0..valid.rows().len()).filter(|&i| !kinds(&judge, &valid.decode(i).unwrap()).is_empty()).count();
        assert_eq!(copies, (0.25 * (valid.rows().len() - 1) as f64).floor() as usize);
        assert!(judge.limit() > COPY);
        for bad in [-0.1, 1.0, f64::NAN] {
            assert!(NearestTraining::new(splits.train(), splits.valid(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_distance_is_that_of_the_correlation() {
        let picture = |levels: [u8; 4]| picture(&GrayImage::from_u8(2, 2, levels), &Preprocess::new(2));
        // By hand: r of (0, 1, 2, 3) and (0, 2, 1, 3) is 4/5.
        let square = mean_square(&picture([0, 10, 20, 30]), &picture([0, 20, 10, 30]));
        assert!((square - 0.4).abs() < 1e-5, "{square}");
        assert_eq!(mean_square(&picture([9; 4]), &picture([9; 4])), 0.0);
    }
}
