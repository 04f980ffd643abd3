//! Ground truth: which pixels a finding or a structure covers.

use crate::GrayImage;

/// A binary image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    size: usize,
    inside: Vec<bool>,
}

impl Mask {
    /// A square mask; `inside` is asked for every `(column, row)`.
    pub(super) fn new(size: usize, inside: impl Fn(usize, usize) -> bool) -> Self {
        Self { size, inside: (0..size * size).map(|i| inside(i % size, i / size)).collect() }
    }

    /// Pixels a side.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether the pixel is covered; false outside the film.
    #[must_use]
    pub fn contains(&self, column: usize, row: usize) -> bool {
        column < self.size && row < self.size && self.inside[row * self.size + column]
    }

    /// Covered pixels.
    #[must_use]
    pub fn area(&self) -> usize {
        self.inside.iter().filter(|inside| **inside).count()
    }

    /// Row-major, `size * size` values.
    #[must_use]
    pub fn pixels(&self) -> &[bool] {
        &self.inside
    }

    /// 255 where covered, 0 elsewhere.
    #[must_use]
    pub fn to_gray8(&self) -> GrayImage {
        GrayImage::from_u8(self.size, self.size, self.inside.iter().map(|&inside| 255 * u8::from(inside)).collect::<Vec<_>>())
    }
}
