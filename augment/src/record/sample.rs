//! One item of a dataset: an image and its record.

use std::sync::Arc;

use crate::image::{Pixels, Signed};
use crate::record::CxrRecord;

/// One decoded, resized image with its record.
#[derive(Clone, Debug)]
pub struct CxrSample {
    /// Gray pixels in `[-1, 1]`, square at the size the dataset was opened with.
    pub image: Pixels<Signed>,
    /// Labels, patient, view, origin.
    pub record: Arc<CxrRecord>,
}
