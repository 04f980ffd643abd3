//! Features of a whole set of images.

use std::collections::HashSet;
use std::path::Path;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::RgbImage;
use roentgen_augment::progress::Progress;

use super::store::FeatureStore;
use super::{FeatureError, FeatureNetwork, Features};
use crate::evaluation::images::{ImageSet, Look};
use crate::evaluation::{Rows, RowsError};

/// How features are made and kept.
#[derive(Clone, Copy, Debug)]
pub struct Extraction<'a> {
    /// Images that a network is given at once.
    pub batch: usize,
    /// The folder that keeps them.
    pub cache: &'a Path,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

/// Features of the images of `set`, which `looks` has looked at: kept ones, and the others made and kept. Images of equal pixels are given to
/// the network once.
///
/// # Errors
/// [`FeatureError`].
///
/// # Panics
/// If `looks` is of another set.
pub fn extract(
    network: &dyn FeatureNetwork,
    set: &ImageSet,
    looks: &[Look],
    Extraction { batch, cache, progress }: Extraction<'_>,
) -> Result<Features, FeatureError> {
    assert_eq!(looks.len(), set.len(), "every image was looked at");
    let mut store = FeatureStore::open(cache, network)?;
    let mut seen = HashSet::new();
    let is_missing = |index: &usize| !store.has(&looks[*index].digest) && seen.insert(looks[*index].digest);
    let missing: Vec<usize> = (0..set.len()).filter(is_missing).collect();
    if !missing.is_empty() {
        let unit = "images";
        let distinct: HashSet<Fingerprint> = looks.iter().map(|look| look.digest).collect();
        let task = progress.begin(network.name(), distinct.len() as u64, unit);
        task.resume_at((distinct.len() - missing.len()) as u64);
        task.set((distinct.len() - missing.len()) as u64);
        for indices in missing.chunks(batch.max(1)) {
            let images = indices.par_iter().map(|&index| set.rgb(index)).collect::<Result<Vec<RgbImage>, AugmentError>>()?;
            let values = network.features(&images)?;
            check(network, set, indices, &values)?;
            let digests: Vec<Fingerprint> = indices.iter().map(|&index| looks[index].digest).collect();
            store.keep(&digests, &values)?;
            task.advance(indices.len() as u64);
        }
        store.finish()?;
    }
    let mut values = Vec::with_capacity(set.len() * network.width());
    for (index, look) in looks.iter().enumerate() {
        if !store.read(&look.digest, &mut values)? {
            return Err(FeatureError::Store {
                action: "read",
                path: store.path().to_owned(),
                cause: format!("{} isn't there any more", set.describe(index)),
            });
        }
    }
    let network_name = network.name().to_owned();
    let (preparation, fingerprint, width) = (network.preparation(), network.fingerprint(), network.width());
    let features = Features { network: network_name, preparation, fingerprint, width, values };
    // Kept ones may be damaged.
    features.rows().map_err(|cause| FeatureError::Store {
        action: "read",
        path: store.path().to_owned(),
        cause: format!("{cause}; delete the file, and the features are made again"),
    })?;
    Ok(features)
}

/// Refuses rows that aren't whole or finite, by the name of the image.
fn check(network: &dyn FeatureNetwork, set: &ImageSet, indices: &[usize], values: &[f32]) -> Result<(), FeatureError> {
    let width = network.width();
    let of = |index: usize, cause| FeatureError::Rows { network: network.name().to_owned(), image: set.describe(index), cause };
    if values.len() != indices.len() * width {
        let cause = RowsError::Ragged { values: values.len(), width };
        return Err(of(indices[0], cause));
    }
    for (row, &index) in values.chunks_exact(width).zip(indices) {
        Rows::new(row, width).map_err(|cause| of(index, cause))?;
    }
    Ok(())
}
