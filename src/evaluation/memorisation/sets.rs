//! Comparisons of sets of images.

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::image::Preprocess;
use roentgen_augment::progress::{Progress, Task};

use super::comparison::{Comparison, Image, MemorisationSettings, Outcome, Sets, compare};
use super::report::MemorisationError;
use super::sheet::SheetPair;
use super::space::{SIDE, Space, picture};
use crate::evaluation::Rows;
use crate::evaluation::images::ImageSet;

/// Training images whose pictures are in memory at once: 64 MiB of them.
const BLOCK: usize = 4096;

/// Compares sets in [`Space::Pixels`]. Every image is read once; the pictures of the synthetic and the held-out images are kept in
/// memory (16 KiB each), those of the training images are not. All are cropped or padded as the training set says.
///
/// # Errors
/// [`MemorisationError::Image`] if an image can't be read, and as [`Comparison::new`].
pub fn compare_pictures(
    train: &ImageSet,
    held_out: Option<&ImageSet>,
    synthetic: &ImageSet,
    settings: MemorisationSettings,
    progress: &dyn Progress,
) -> Result<Outcome, MemorisationError> {
    let all = train.len() + held_out.map_or(0, ImageSet::len) + synthetic.len();
    let task = progress.begin("", all as u64, "images compared");
    let prepare = train.data().preprocess();
    let seen = held_out.map_or_else(|| Ok(Vec::new()), |set| pictures(set, 0..set.len(), prepare, &*task))?;
    let made = pictures(synthetic, 0..synthetic.len(), prepare, &*task)?;
    let named = Named::new(train, held_out, synthetic);
    let (seen, made) = (rows("held-out", &seen)?, rows("synthetic", &made)?);
    let mut comparison = Comparison::new(Space::Pixels, named.sets(), seen, made, settings)?;
    for start in (0..train.len()).step_by(BLOCK) {
        let block = pictures(train, start..(start + BLOCK).min(train.len()), prepare, &*task)?;
        comparison.train(rows("training", &block)?)?;
    }
    comparison.finish()
}

/// Compares sets by the features of their images, one row per image; those of the held-out set may be none.
///
/// # Errors
/// As [`compare`].
pub fn compare_features(
    space: Space,
    (train, of_train): (&ImageSet, Rows<'_, f32>),
    held_out: Option<(&ImageSet, Rows<'_, f32>)>,
    (synthetic, of_synthetic): (&ImageSet, Rows<'_, f32>),
    settings: MemorisationSettings,
) -> Result<Outcome, MemorisationError> {
    let named = Named::new(train, held_out.map(|(set, _)| set), synthetic);
    let none = || Rows::new(&[], of_train.width()).map_err(|source| MemorisationError::Rows { set: "held-out", source });
    let of_held_out = held_out.map_or_else(none, |(_, rows)| Ok(rows))?;
    compare(space, named.sets(), [of_train, of_held_out, of_synthetic], settings)
}

/// The images of the closest `most` pairs, for the [sheet](super::contact_sheet).
///
/// # Errors
/// If an image can't be read.
pub fn sheet_pairs(
    outcome: &Outcome,
    train: &ImageSet,
    synthetic: &ImageSet,
    most: usize,
) -> Result<Vec<SheetPair>, AugmentError> {
    let pair = |(place, pair): (usize, &super::Pair)| {
        let (made, nearest) = (synthetic.gray(pair.synthetic)?, train.gray(pair.train)?);
        Ok(SheetPair { rank: place + 1, pair: pair.clone(), synthetic: made, nearest })
    };
    outcome.pairs.iter().take(most).enumerate().map(pair).collect()
}

/// Who the images of three sets are.
struct Named<'a> {
    train: Vec<Image<'a>>,
    held_out: Vec<Image<'a>>,
    synthetic: Vec<Image<'a>>,
}

impl<'a> Named<'a> {
    fn new(train: &'a ImageSet, held_out: Option<&'a ImageSet>, synthetic: &'a ImageSet) -> Self {
        Self { train: images(train), held_out: held_out.map(images).unwrap_or_default(), synthetic: images(synthetic) }
    }

    fn sets(&self) -> Sets<'_> {
        Sets { train: &self.train, held_out: &self.held_out, synthetic: &self.synthetic }
    }
}

fn images(set: &ImageSet) -> Vec<Image<'_>> {
    let image = |index: usize| Image {
        id: set.id(index),
        patient: set.record(index).patients().next().map(|patient| patient.as_str()),
        source: set.source(index).map(|source| source.id.as_str()),
    };
    (0..set.len()).map(image).collect()
}

fn pictures(
    set: &ImageSet,
    indices: std::ops::Range<usize>,
    prepare: &Preprocess,
    task: &dyn Task,
) -> Result<Vec<f32>, AugmentError> {
    let make = |index: usize| -> Result<Vec<f32>, AugmentError> {
        let row = picture(&set.gray(index)?, prepare);
        task.advance(1);
        Ok(row)
    };
    let made: Vec<Result<Vec<f32>, AugmentError>> = indices.into_par_iter().map(make).collect();
    made.into_iter().collect::<Result<Vec<Vec<f32>>, AugmentError>>().map(|rows| rows.concat())
}

fn rows<'a>(set: &'static str, values: &'a [f32]) -> Result<Rows<'a, f32>, MemorisationError> {
    Rows::new(values, SIDE * SIDE).map_err(|source| MemorisationError::Rows { set, source })
}

#[cfg(test)]
mod tests {
    use roentgen_augment::dataset::CxrDataset;
    use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
    use roentgen_augment::progress::Silent;

    use super::*;
    use crate::evaluation::images::Wanted;
    use crate::evaluation::memorisation::contact_sheet;

    /// Two hundred images of phantoms, and the first image of a patient near the middle.
    fn phantoms() -> (ImageSet, usize) {
        let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(200, 64, 1)).unwrap();
        let set = ImageSet::of(CxrDataset::from_phantom(phantoms).unwrap(), Wanted::Real(None)).unwrap();
        let middle = (100..200).find(|&index| set.patient(index) != set.patient(index - 1)).unwrap();
        (set, middle)
    }

    #[test]
    fn copies_are_found_in_pixels_and_in_features_and_other_people_are_not() {
        let (all, middle) = phantoms();
        let train = all.select(&(0..middle).collect::<Vec<_>>());
        // The first held-out image shows a patient of the training set.
        let held_out: Vec<usize> = [middle - 1].into_iter().chain(middle..150).collect();
        let synthetic: Vec<usize> = [7, 11].into_iter().chain(160..180).collect();
        let (held_out, synthetic) = (all.select(&held_out), all.select(&synthetic));
        let settings = MemorisationSettings::default();
        let found = compare_pictures(&train, Some(&held_out), &synthetic, settings, &Silent).unwrap();
        assert_eq!((found.report.train, found.report.held_out, found.report.same_patient), (middle, 150 - middle, 1));
        let names: Vec<_> = found.pairs.iter().take(2).map(|pair| (pair.image.as_str(), pair.nearest.as_str())).collect();
        assert_eq!(names, [(train.id(7), train.id(7)), (train.id(11), train.id(11))]);
        assert!(found.pairs[1].distance == 0.0 && found.pairs[1].flagged == Some(true));
        // Chance flags a few of the others at most.
        assert!(found.report.flagged.unwrap() <= 5, "{:?}", found.report);

        let features = |set: &ImageSet| -> Vec<f32> {
            (0..set.len()).flat_map(|index| picture(&set.gray(index).unwrap(), set.data().preprocess())).collect()
        };
        let (a, b, c) = (features(&train), features(&held_out), features(&synthetic));
        let [a, b, c] = [&a, &b, &c].map(|values| Rows::new(values, SIDE * SIDE).unwrap());
        let again = compare_features(Space::Cosine, (&train, a), Some((&held_out, b)), (&synthetic, c), settings).unwrap();
        for (one, other) in found.pairs.iter().zip(&again.pairs) {
            assert_eq!((one.synthetic, one.train), (other.synthetic, other.train));
            assert!((one.distance.powi(2) / 2.0 - other.distance).abs() < 1e-6);
        }
        let sheet = sheet_pairs(&found, &train, &synthetic, 5).unwrap();
        assert_eq!(sheet.iter().map(|pair| pair.rank).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(sheet[0].synthetic, sheet[0].nearest);
        assert!(contact_sheet(&sheet).is_some());
    }
}
