//! Noticing a generator that paints one image for every seed, or no image at all.
//!
//! A checkpoint whose settings do not go together, or whose weights are damaged, often paints a flat gray instead of failing.

use std::fmt;

use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{GrayDepth, GrayImage};

/// So many flat images in a row are no chance.
const FLAT: usize = 4;

/// What is wrong with all images of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetFault {
    /// Their gray values are all the same, but for one level of 8 bits.
    Flat,
    /// They are equal pixel for pixel although their seeds differ.
    Alike,
}

impl fmt::Display for SetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flat => "flat: their gray values are all the same",
            Self::Alike => "the same, pixel for pixel, although their seeds differ",
        })
    }
}

/// The images of a set so far, as far as they are all flat or all alike.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sameness {
    /// Of the first image.
    first: Option<(u64, Fingerprint)>,
    images: usize,
    has_contrast: bool,
    differs: bool,
    /// Whether an image had another seed than the first.
    other_seed: bool,
}

impl Sameness {
    /// Takes in an image made with `seed`.
    pub(super) fn add(&mut self, seed: u64, image: &GrayImage) {
        self.images += 1;
        self.has_contrast = self.has_contrast || has_contrast(image);
        // Digests are for sets that still look wrong.
        if self.differs {
            return;
        }
        match self.first {
            None => self.first = Some((seed, image.digest())),
            Some((first_seed, first)) => {
                self.other_seed |= seed != first_seed;
                self.differs = image.digest() != first;
            }
        }
    }

    /// What is wrong with all images so far, once they are enough to tell.
    pub(super) fn fault(&self) -> Option<(SetFault, usize)> {
        self.fault_of(FLAT)
    }

    /// What is wrong with all images, after the last one.
    pub(super) fn fault_of_all(&self) -> Option<(SetFault, usize)> {
        self.fault_of(1)
    }

    fn fault_of(&self, flat: usize) -> Option<(SetFault, usize)> {
        let alike = self.other_seed && !self.differs;
        let fault = match self.has_contrast {
            false if alike || self.images >= flat => SetFault::Flat,
            true if alike => SetFault::Alike,
            _ => return None,
        };
        Some((fault, self.images))
    }
}

/// Whether two of its pixels differ by more than one level of 8 bits.
fn has_contrast(image: &GrayImage) -> bool {
    fn range<T: Copy + Ord + Into<u32>>(samples: &[T]) -> u32 {
        let (least, most) = (samples.iter().min(), samples.iter().max());
        least.zip(most).map_or(0, |(least, most)| (*most).into() - (*least).into())
    }
    match image.depth() {
        GrayDepth::U8(samples) => range(samples) > 1,
        GrayDepth::U16(samples) => range(samples) > 257,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(level: u8) -> GrayImage {
        GrayImage::from_u8(2, 2, [level, level, level + 1, level])
    }

    fn ramp(start: u8) -> GrayImage {
        GrayImage::from_u8(2, 2, [start, start + 10, start + 20, start + 30])
    }

    fn faults(images: &[(u64, GrayImage)]) -> [Option<SetFault>; 2] {
        let mut sameness = Sameness::default();
        images.iter().for_each(|(seed, image)| sameness.add(*seed, image));
        [sameness.fault(), sameness.fault_of_all()].map(|fault| {
            fault.map(|(fault, images_of)| {
                assert_eq!(images_of, images.len());
                fault
            })
        })
    }

    #[test]
    fn flat_images_are_a_fault_of_the_whole_set_alone() {
        assert_eq!(faults(&[(0, flat(9))]), [None, Some(SetFault::Flat)]);
        assert_eq!(faults(&[(0, flat(1)), (1, flat(2)), (2, flat(3)), (3, flat(4))]), [Some(SetFault::Flat); 2]);
        assert_eq!(faults(&[(0, flat(1)), (1, flat(2)), (2, ramp(3)), (3, flat(4)), (4, flat(4))]), [None; 2]);
        let deep = GrayImage::from_u16(2, 1, [1000, 1257]);
        assert_eq!(faults(&[(0, deep)]), [None, Some(SetFault::Flat)]);
        assert_eq!(faults(&[(0, GrayImage::from_u16(2, 1, [1000, 1258]))]), [None; 2]);
    }

    #[test]
    fn equal_images_are_a_fault_where_seeds_differ() {
        assert_eq!(faults(&[(0, ramp(1)), (1, ramp(1))]), [Some(SetFault::Alike); 2]);
        // A seed that is asked for twice gives the same image twice.
        assert_eq!(faults(&[(7, ramp(1)), (7, ramp(1))]), [None; 2]);
        assert_eq!(faults(&[(0, ramp(1)), (1, ramp(2)), (2, ramp(1))]), [None; 2]);
        assert_eq!(faults(&[]), [None; 2]);
    }
}
