//! Where a data set's images come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::decode::{deep_pixels, says_how_shown};
use crate::AugmentError;
use crate::image::{GrayImage, Preprocess};

/// The images of a data set, decoded one by one on demand.
///
/// `load(i)` must give the same pixels on every call and on every thread; on failure it returns an error that names the image
/// and keeps no state. Both methods panic for an index that is not below the source's number of images.
pub trait ImageSource: Send + Sync {
    /// Decodes image `index`.
    ///
    /// # Errors
    /// If the image is missing or damaged.
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError>;

    /// As [`load`](Self::load), as `preprocess` reads files: which values of DICOM, and whether less than the whole image is enough, see
    /// [`Preprocess::jpeg_scale`].
    ///
    /// # Errors
    /// As [`load`](Self::load).
    fn load_for(&self, index: usize, preprocess: &Preprocess) -> Result<GrayImage, AugmentError> {
        let _ = preprocess;
        self.load(index)
    }

    /// Where image `index` is: a path, or an archive and a row of it.
    fn describe(&self, index: usize) -> String;

    /// How many pixels image `index` has if it has more than 8 bits per sample; `None` if it has 8, or if only decoding it can tell.
    fn deep_pixels(&self, index: usize) -> Option<usize> {
        let _ = index;
        None
    }

    /// Whether image `index` is a DICOM file that says that its values are shown otherwise than they are stored.
    fn says_how_shown(&self, index: usize) -> bool {
        let _ = index;
        false
    }

    /// The file that holds image `index` and nothing else; `None` if there is no such file.
    fn file(&self, index: usize) -> Option<&Path> {
        let _ = index;
        None
    }
}

/// Image files on disk.
#[derive(Clone, Debug)]
pub struct ImageFiles(Vec<PathBuf>);

impl ImageFiles {
    /// A source of these files, in order. Nothing is opened yet.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }
}

impl ImageSource for ImageFiles {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        GrayImage::open(&self.0[index])
    }

    fn load_for(&self, index: usize, preprocess: &Preprocess) -> Result<GrayImage, AugmentError> {
        GrayImage::open_for(&self.0[index], preprocess)
    }

    fn describe(&self, index: usize) -> String {
        self.0[index].display().to_string()
    }

    fn deep_pixels(&self, index: usize) -> Option<usize> {
        deep_pixels(&self.0[index])
    }

    fn says_how_shown(&self, index: usize) -> bool {
        says_how_shown(&self.0[index])
    }

    fn file(&self, index: usize) -> Option<&Path> {
        Some(&self.0[index])
    }
}

/// Images of one size in memory, such as the rows of an `.npz` array.
#[derive(Clone, Debug)]
pub struct ImageArray {
    name: String,
    width: usize,
    height: usize,
    samples: Arc<[u8]>,
}

impl ImageArray {
    /// A source of `samples.len() / (width * height)` 8-bit images, row-major one after the other.
    ///
    /// # Panics
    /// If the number of samples is not a multiple of `width * height`.
    #[must_use]
    pub fn new(name: &str, width: usize, height: usize, samples: impl Into<Arc<[u8]>>) -> Self {
        let samples = samples.into();
        assert!(width * height > 0 && samples.len() % (width * height) == 0, "{} samples of {width}x{height}", samples.len());
        Self { name: name.to_owned(), width, height, samples }
    }
}

impl ImageSource for ImageArray {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let size = self.width * self.height;
        Ok(GrayImage::from_u8(self.width, self.height, &self.samples[index * size..][..size]))
    }

    fn describe(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }
}

/// Images that a function makes, such as a renderer's.
#[derive(Clone, Debug)]
pub struct ImageFunction<F> {
    name: String,
    image: F,
}

impl<F: Fn(usize) -> GrayImage + Send + Sync> ImageFunction<F> {
    /// A source whose image `i` is `image(i)`.
    #[must_use]
    pub fn new(name: &str, image: F) -> Self {
        Self { name: name.to_owned(), image }
    }
}

impl<F: Fn(usize) -> GrayImage + Send + Sync> ImageSource for ImageFunction<F> {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        Ok((self.image)(index))
    }

    fn describe(&self, index: usize) -> String {
        format!("{}[{index}]", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_is_cut_into_images() {
        let array = ImageArray::new("a.npz:images", 2, 1, vec![1u8, 2, 3, 4]);
        assert_eq!(array.load(1).unwrap(), GrayImage::from_u8(2, 1, vec![3u8, 4]));
        assert_eq!(array.describe(1), "a.npz:images[1]");
    }
}
