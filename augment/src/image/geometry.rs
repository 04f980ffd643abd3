//! Crops and padding: where the references put their windows.

use std::sync::Arc;

use crate::image::{GrayDepth, GrayImage, PixelRange, Pixels};

/// A window inside an image, in pixels from the top left corner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// The largest centred square, where torchxrayvision puts it: at `(w / 2 - s / 2, h / 2 - s / 2)` with floor division
    /// (`datasets.XRayCenterCrop`, torchxrayvision 1.5.7).
    #[must_use]
    pub fn center_square(width: usize, height: usize) -> Self {
        let side = width.min(height);
        Self { left: width / 2 - side / 2, top: height / 2 - side / 2, width: side, height: side }
    }

    /// A centred `side * side` window, where torchvision puts it: offsets round half to even
    /// (`transforms.functional.center_crop`, torchvision 0.29.2).
    ///
    /// # Panics
    /// If the window doesn't fit into `width * height`.
    #[must_use]
    pub fn center_torchvision(width: usize, height: usize, side: usize) -> Self {
        assert!(side <= width && side <= height, "a {side}x{side} window in a {width}x{height} image");
        Self { left: half_to_even(width - side), top: half_to_even(height - side), width: side, height: side }
    }
}

/// `round(n / 2)`, halves to the even neighbour as Python rounds.
fn half_to_even(n: usize) -> usize {
    let down = n / 2;
    if n.is_multiple_of(2) || down.is_multiple_of(2) { down } else { down + 1 }
}

/// Size after torchvision's `Resize(size)`: the shorter side becomes `size`, the longer `int(size * long / short)`.
///
/// Gives `(width, height)`.
#[must_use]
pub fn shorter_side_to(width: usize, height: usize, size: usize) -> (usize, usize) {
    if width <= height { (size, size * height / width) } else { (size * width / height, size) }
}

fn crop<T: Copy>(samples: &[T], width: usize, window: Window) -> Arc<[T]> {
    let Window { left, top, width: columns, height } = window;
    let mut out = Vec::with_capacity(columns * height);
    for row in samples.chunks_exact(width).skip(top).take(height) {
        out.extend_from_slice(&row[left..left + columns]);
    }
    out.into()
}

/// Columns on the left and rows on the top of an image in the middle of a square.
pub(super) fn padding(width: usize, height: usize) -> (usize, usize) {
    let side = width.max(height);
    ((side - width) / 2, (side - height) / 2)
}

fn pad_to_square<T: Copy>(samples: &[T], width: usize, height: usize, black: T) -> Arc<[T]> {
    let side = width.max(height);
    let (left, top) = padding(width, height);
    let mut out = vec![black; side * side];
    for (from, to) in samples.chunks_exact(width).zip(out.chunks_exact_mut(side).skip(top)) {
        to[left..left + width].copy_from_slice(from);
    }
    out.into()
}

fn check(window: Window, width: usize, height: usize) {
    let fits = window.left + window.width <= width && window.top + window.height <= height;
    assert!(fits && window.width * window.height > 0, "{window:?} of a {width}x{height} image");
}

impl GrayImage {
    /// The part of the image inside `window`.
    ///
    /// # Panics
    /// If the window is empty or reaches beyond the image.
    #[must_use]
    pub fn crop(&self, window: Window) -> Self {
        check(window, self.width(), self.height());
        match self.depth() {
            GrayDepth::U8(samples) => Self::from_u8(window.width, window.height, crop(samples, self.width(), window)),
            GrayDepth::U16(samples) => {
                Self::from_u16(window.width, window.height, crop(samples, self.width(), window)).with_white(self.white())
            }
        }
    }

    /// The image in the middle of a black square; an odd remainder goes to the right and the bottom.
    #[must_use]
    pub fn pad_to_square(&self) -> Self {
        let (width, height) = (self.width(), self.height());
        let side = width.max(height);
        match self.depth() {
            GrayDepth::U8(samples) => Self::from_u8(side, side, pad_to_square(samples, width, height, 0)),
            GrayDepth::U16(samples) => {
                Self::from_u16(side, side, pad_to_square(samples, width, height, 0)).with_white(self.white())
            }
        }
    }
}

impl<R: PixelRange> Pixels<R> {
    /// The part of the picture inside `window`.
    ///
    /// # Panics
    /// If the window is empty or reaches beyond the picture.
    #[must_use]
    pub fn crop(&self, window: Window) -> Self {
        check(window, self.width(), self.height());
        Self::new(window.width, window.height, crop(self.values(), self.width(), window))
    }

    /// The picture in the middle of a square of [`PixelRange::LOW`]; an odd remainder goes to the right and the bottom.
    #[must_use]
    pub fn pad_to_square(&self) -> Self {
        let side = self.width().max(self.height());
        Self::new(side, side, pad_to_square(self.values(), self.width(), self.height(), R::LOW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Xrv;

    #[test]
    fn offsets_round_as_torchvision() {
        // crop/* cases of the preprocessing fixtures: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2.
        let tops = [65, 66, 67, 69].map(|height| Window::center_torchvision(64, height, 64).top);
        assert_eq!(tops, [0, 1, 2, 2]);
    }

    #[test]
    fn xrv_subtracts_two_floors() {
        assert_eq!(Window::center_square(6, 3), Window { left: 2, top: 0, width: 3, height: 3 });
        assert_eq!(Window::center_square(5, 8), Window { left: 0, top: 2, width: 5, height: 5 });
    }

    #[test]
    fn the_longer_side_is_floored() {
        assert_eq!(shorter_side_to(101, 131, 64), (64, 83));
        assert_eq!(shorter_side_to(187, 120, 64), (99, 64));
    }

    #[test]
    fn padding_keeps_the_picture_in_the_middle() {
        let image = GrayImage::from_u8(1, 4, vec![1u8, 2, 3, 4]);
        let square = image.pad_to_square();
        assert_eq!((square.width(), square.height()), (4, 4));
        assert_eq!(square.crop(Window { left: 1, top: 0, width: 1, height: 4 }), image);
        assert_eq!(image.to_pixels::<Xrv>().pad_to_square(), square.to_pixels::<Xrv>());
    }
}
