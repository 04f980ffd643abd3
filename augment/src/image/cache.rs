//! Preprocessed pictures kept in memory, up to a number of bytes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use crate::image::{Pixels, Signed};

/// Preprocessed pictures in memory.
///
/// Pictures are admitted until the bound is reached and then stay: training visits every image once per epoch, and under that
/// pattern any eviction (LRU above all) removes what is needed next. A cache of half a data set serves half of its reads.
/// A picture is the same from the cache as without it.
pub struct ImageCache {
    bound: usize,
    kept: RwLock<Kept>,
}

#[derive(Default)]
struct Kept {
    pictures: HashMap<usize, Pixels<Signed>>,
    bytes: usize,
}

impl ImageCache {
    /// A cache of at most `bytes` bytes of pixels.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self { bound: bytes, kept: RwLock::default() }
    }

    /// The most bytes it keeps.
    #[must_use]
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Bytes of pixels kept now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// The picture of source image `index`, made by `make` if it isn't kept.
    ///
    /// Two threads that miss at once both make it, with the same result.
    ///
    /// # Errors
    /// What `make` returns; failures are never kept.
    pub fn get_or_make<E>(&self, index: usize, make: impl FnOnce() -> Result<Pixels<Signed>, E>) -> Result<Pixels<Signed>, E> {
        if let Some(kept) = self.kept.read().unwrap_or_else(PoisonError::into_inner).pictures.get(&index) {
            return Ok(kept.clone());
        }
        let picture = make()?;
        let bytes = size_of_val(picture.values());
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes <= self.bound && !kept.pictures.contains_key(&index) {
            kept.pictures.insert(index, picture.clone());
            kept.bytes += bytes;
        }
        Ok(picture)
    }
}

impl fmt::Debug for ImageCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImageCache({} of {} bytes)", self.bytes(), self.bound)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn picture(value: f32) -> Result<Pixels<Signed>, Infallible> {
        Ok(Pixels::new(2, 2, vec![value; 4]))
    }

    #[test]
    fn a_kept_picture_is_not_made_again() {
        let cache = ImageCache::new(16);
        let _ = cache.get_or_make(3, || picture(0.5)).unwrap();
        let again = cache.get_or_make(3, || -> Result<_, Infallible> { panic!("made twice") }).unwrap();
        assert_eq!(again, picture(0.5).unwrap());
    }

    #[test]
    fn the_bound_holds_and_first_comers_stay() {
        let cache = ImageCache::new(40);
        for index in 0..5 {
            let got = cache.get_or_make(index, || picture(index as f32)).unwrap();
            assert_eq!(got.values()[0], index as f32);
        }
        assert_eq!(cache.bytes(), 32);
        assert!(cache.get_or_make(0, || Err(())).is_ok());
        assert!(cache.get_or_make(4, || Err(())).is_err());
    }

    #[test]
    fn a_failure_is_not_kept() {
        let cache = ImageCache::new(64);
        assert!(cache.get_or_make(0, || Err("unreadable")).is_err());
        assert!(cache.get_or_make(0, || picture(1.0)).is_ok());
    }
}
