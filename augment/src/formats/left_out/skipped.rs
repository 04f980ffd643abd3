//! Rows that `missing = "skip"` leaves out, as their images aren't there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::record::Split;

/// Counts the rows of a table, and those without an image.
#[derive(Debug, Default)]
pub(in crate::formats) struct Skipped {
    rows: usize,
    skipped: usize,
    splits: BTreeSet<Split>,
    kept: BTreeSet<Split>,
}

impl Skipped {
    /// Counts a row of that split, with or without its image.
    pub(in crate::formats) fn count(&mut self, split: Option<Split>, has_image: bool) {
        self.rows += 1;
        self.splits.extend(split);
        if has_image {
            self.kept.extend(split);
        } else {
            self.skipped += 1;
        }
    }

    /// The data set that `read` makes of the remaining rows, with a note of how many were left out.
    ///
    /// # Errors
    /// [`AugmentError::RowsLost`] if no row remains, or none of a split that the table has.
    pub(in crate::formats) fn with(
        self,
        folder: &Path,
        name: &str,
        read: impl FnOnce() -> Result<CxrDataset, AugmentError>,
    ) -> Result<CxrDataset, AugmentError> {
        let Self { rows, skipped, splits, kept } = self;
        if skipped == 0 {
            return read();
        }
        let cause = format!("{skipped} of {rows} images are not under {}", folder.display());
        let lost = |what: String| AugmentError::RowsLost {
            name: name.to_owned(),
            cause: cause.clone(),
            lost: what,
            remedy: "fetch more of them, or correct data.images",
        };
        if skipped == rows {
            return Err(lost("nothing is left".to_owned()));
        }
        if let Some(split) = splits.difference(&kept).next() {
            return Err(lost(format!("nothing is left of the {split} split")));
        }
        Ok(read()?.with_note(format!("{cause}; their rows are left out, as missing = \"skip\" says")))
    }
}
