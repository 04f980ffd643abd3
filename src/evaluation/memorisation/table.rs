//! The pairs as a table.

use std::io;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;

use super::{Outcome, Pair};

/// Writes every synthetic image of every space with its nearest training image, the closest first: `space, rank, image, nearest, distance,
/// limit, flagged, own_source, like, like_distance`. `flagged` and `own_source` are 1, 0 or blank (not known); `like` is the
/// synthetic image nearest to this one.
///
/// # Errors
/// That of writing `path`.
pub fn write_pairs(path: &Path, outcomes: &[Outcome]) -> io::Result<()> {
    write_atomic(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record([
            "space",
            "rank",
            "image",
            "nearest",
            "distance",
            "limit",
            "flagged",
            "own_source",
            "like",
            "like_distance",
        ])?;
        for Outcome { report, pairs } in outcomes {
            for (place, pair) in pairs.iter().enumerate() {
                let Pair { image, nearest, distance, flagged, own_source, like, .. } = pair;
                let word = |known: &Option<bool>| known.map(|yes| u8::from(yes).to_string()).unwrap_or_default();
                let (other, apart) =
                    like.as_ref().map(|(other, apart)| (other.as_str(), apart.to_string())).unwrap_or_default();
                csv.write_record([
                    &report.space.to_string(),
                    &(place + 1).to_string(),
                    image,
                    nearest,
                    &distance.to_string(),
                    &report.limit.map(|limit| limit.to_string()).unwrap_or_default(),
                    &word(flagged),
                    &word(own_source),
                    other,
                    &apart,
                ])?;
            }
        }
        csv.flush()
    })
}
