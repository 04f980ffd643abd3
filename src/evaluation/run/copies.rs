//! Whether synthetic images are copies of what the generator was trained on: in pixels, and in the features of each network.

use roentgen_augment::AugmentError;
use roentgen_augment::progress::Progress;

use super::report::CopiesReport;
use crate::evaluation::features::Features;
use crate::evaluation::images::ImageSet;
use crate::evaluation::memorisation::{
    MemorisationError, MemorisationSettings, Outcome, SheetPair, Space, compare_features, compare_pictures, sheet_pairs,
};

/// Pairs that a report lists and a sheet shows.
const CLOSEST: usize = 24;

/// What was found in one space, with every pair.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) report: CopiesReport,
    pub(super) outcome: Outcome,
}

/// The training images, the real ones that the generator never saw, and the synthetic ones.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sets<'a> {
    pub(super) train: &'a ImageSet,
    pub(super) real: &'a ImageSet,
    pub(super) synthetic: &'a ImageSet,
}

/// Compares pictures.
///
/// # Errors
/// [`MemorisationError`].
pub(super) fn in_pixels(sets: Sets<'_>, progress: &dyn Progress) -> Result<Found, MemorisationError> {
    let Sets { train, real, synthetic } = sets;
    Ok(found("pixels", compare_pictures(train, Some(real), synthetic, MemorisationSettings::default(), progress)?))
}

/// Compares the features of one network.
///
/// # Errors
/// [`MemorisationError`].
pub(super) fn in_features(sets: Sets<'_>, [train, real, synthetic]: [&Features; 3]) -> Result<Found, MemorisationError> {
    let wrong = |set| move |source| MemorisationError::Rows { set, source };
    let (a, b) = (train.rows().map_err(wrong("training"))?, real.rows().map_err(wrong("held-out"))?);
    let c = synthetic.rows().map_err(wrong("synthetic"))?;
    let settings = MemorisationSettings::default();
    let outcome = compare_features(Space::Cosine, (sets.train, a), Some((sets.real, b)), (sets.synthetic, c), settings)?;
    Ok(found(&synthetic.network, outcome))
}

fn found(by: &str, outcome: Outcome) -> Found {
    let closest = outcome.pairs.iter().take(CLOSEST).cloned().collect();
    Found { report: CopiesReport { by: by.to_owned(), found: outcome.report.clone(), closest }, outcome }
}

/// The images of the closest pairs.
///
/// # Errors
/// If an image can't be read.
pub(super) fn closest(found: &Found, sets: Sets<'_>) -> Result<Vec<SheetPair>, AugmentError> {
    sheet_pairs(&found.outcome, sets.train, sets.synthetic, CLOSEST)
}
