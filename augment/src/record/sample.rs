//! One item of a dataset: an image and its row.

use std::sync::Arc;

use crate::image::{Pixels, Signed};
use crate::record::CxrRecord;

/// One decoded, resized radiograph with its row.
#[derive(Clone, Debug)]
pub struct CxrSample {
    /// Gray pixels in `[-1, 1]`, square at the size the dataset was opened with.
    pub image: Pixels<Signed>,
    /// Labels, patient, view, origin.
    pub record: Arc<CxrRecord>,
}
