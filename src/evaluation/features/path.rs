//! Ways from an image's size to a network's. A distance between features depends on the way, so it has a name.

use std::fmt;

use roentgen_augment::image::{Filter, GrayImage, PixelRange, Pixels, RgbImage};
use serde::{Deserialize, Serialize};

/// Side of Inception's images: the size that two of the ways pass through whatever the network's is.
const INCEPTION: usize = 299;

/// How an image of any size becomes a square of a network's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizePath {
    /// clean-fid's `clean` mode: each channel as floats by Pillow's bicubic to the network's size, clipped to `0..=255`, never rounded.
    /// Both sides are scaled: an image that isn't square loses its aspect.
    #[default]
    CleanFid,
    /// What RoentGen's own `eval/calculate_fid.py` does: clean-fid's way to 299 x 299 whatever the network is, then torchvision's
    /// antialiased bilinear to the network's size.
    Authors,
    /// What CheXGenBench does: 8-bit bilinear to 299 x 299 (Pillow), then 8-bit bicubic to the network's size.
    Chexgenbench,
}

/// The channels of a square colour picture as floats.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Columns and rows.
    pub side: usize,
    /// Red, then green, then blue, each row-major, in `0..=255`: `3 * side * side` numbers.
    pub values: Vec<f32>,
}

/// The values of [`Planes`].
#[derive(Clone, Copy, Debug)]
struct Levels;

impl PixelRange for Levels {
    const LOW: f32 = 0.0;
    const HIGH: f32 = 255.0;
}

impl ResizePath {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::CleanFid, Self::Authors, Self::Chexgenbench];

    /// Its name in commands and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CleanFid => "clean-fid",
            Self::Authors => "authors",
            Self::Chexgenbench => "chexgenbench",
        }
    }

    /// In words, to `side` pixels.
    #[must_use]
    pub fn describe(self, side: usize) -> String {
        match self {
            Self::CleanFid => format!("bicubic in floats to {side}x{side} (clean-fid)"),
            Self::Authors if side == INCEPTION => format!("bicubic in floats to {side}x{side} (authors)"),
            Self::Authors => format!("bicubic in floats to {INCEPTION}x{INCEPTION}, then bilinear to {side}x{side} (authors)"),
            Self::Chexgenbench => {
                format!("bilinear in 8 bits to {INCEPTION}x{INCEPTION}, then bicubic in 8 bits to {side}x{side} (chexgenbench)")
            }
        }
    }

    /// The picture of `side * side` pixels that a network takes of `image`.
    ///
    /// # Panics
    /// If `side` is 0, or the image has no pixel.
    #[must_use]
    pub fn apply(self, image: &RgbImage, side: usize) -> Planes {
        let first = channel(image, 0);
        let is_gray = image.samples.as_chunks::<3>().0.iter().all(|[r, g, b]| r == g && g == b);
        let red = self.plane(&first, side);
        if is_gray {
            // The same three times.
            return Planes { side, values: [&red[..], &red, &red].concat() };
        }
        let others = [1, 2].map(|at| self.plane(&channel(image, at), side));
        Planes { side, values: [&red[..], &others[0], &others[1]].concat() }
    }

    fn plane(self, channel: &GrayImage, side: usize) -> Vec<f32> {
        let bicubic = |side| channel.to_pixels::<Levels>().resize(side, side, Filter::Bicubic).clamp();
        let pixels: Pixels<Levels> = match self {
            Self::CleanFid => bicubic(side),
            Self::Authors if side == INCEPTION => bicubic(side),
            Self::Authors => bicubic(INCEPTION).resize(side, side, Filter::Bilinear),
            Self::Chexgenbench => {
                channel.resize(INCEPTION, INCEPTION, Filter::Bilinear).resize(side, side, Filter::Bicubic).to_pixels()
            }
        };
        pixels.values().to_vec()
    }
}

fn channel(image: &RgbImage, at: usize) -> GrayImage {
    let samples: Vec<u8> = image.samples.iter().skip(at).step_by(3).copied().collect();
    GrayImage::from_u8(image.width, image.height, samples)
}

impl Planes {
    /// Gray levels in `0..=255` as torchvision's `rgb_to_grayscale` weighs colours (0.2989, 0.587, 0.114); the levels themselves where the
    /// three are equal, as its weights add up to 0.9999.
    #[must_use]
    pub fn gray(&self) -> Vec<f32> {
        let size = self.side * self.side;
        let (red, others) = self.values.split_at(size);
        let (green, blue) = others.split_at(size);
        let pixels = red.iter().zip(green).zip(blue);
        let gray = |((&r, &g), &b): ((&f32, &f32), &f32)| if r == g && g == b { r } else { 0.2989 * r + 0.587 * g + 0.114 * b };
        pixels.map(gray).collect()
    }
}

impl fmt::Display for ResizePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: usize, height: usize, level: impl Fn(usize, usize) -> [u8; 3]) -> RgbImage {
        let samples = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(|(x, y)| level(x, y)).collect();
        RgbImage { width, height, samples }
    }

    #[test]
    fn ways_are_those_of_pillow_and_torchvision() {
        let channel = |x: usize, y: usize, k: usize| ((x * (7 + k) + y * (13 - k) + (x * y) % (5 + k) * 20) % 256) as u8;
        let image = picture(53, 37, |x, y| [0, 1, 2].map(|k| channel(x, y, k)));
        // Pillow 13.0 in modes F and RGB, torchvision's `resize(antialias=True)` with torch 2.15: values at (channel, row, column), then all.
        let places = [(0, 0, 0), (0, 5, 7), (1, 20, 20), (2, 39, 39), (1, 3, 38)];
        for (path, expected, sum) in [
            (ResizePath::CleanFid, [0.9943, 124.5503, 208.0916, 151.8485, 212.9468], 611_212.56),
            (ResizePath::Authors, [3.995, 129.8993, 197.9868, 139.5721, 214.7409], 611_368.75),
            (ResizePath::Chexgenbench, [4.0, 130.0, 199.0, 140.0, 215.0], 611_339.0),
        ] {
            let planes = path.apply(&image, 40);
            let found = places.map(|(plane, row, column)| planes.values[(plane * 40 + row) * 40 + column]);
            // Sums of f32 in another order; 8-bit values may round the other way in a few of 4,800 places.
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 2e-3), "{path}: {found:?}");
            let all: f64 = planes.values.iter().copied().map(f64::from).sum();
            assert!((all - sum).abs() < 5.0, "{path}: {all}");
        }
    }

    #[test]
    fn a_flat_colour_stays_what_it_is() {
        let image = picture(70, 40, |_, _| [10, 200, 30]);
        for path in ResizePath::ALL {
            let planes = path.apply(&image, 32);
            assert_eq!(planes.values.len(), 3 * 32 * 32);
            for (values, level) in planes.values.chunks(32 * 32).zip([10.0, 200.0, 30.0]) {
                assert!(values.iter().all(|value| (value - level).abs() < 1e-3), "{path}");
            }
        }
    }

    #[test]
    fn gray_levels_are_kept_and_stay_in_range() {
        let image = picture(301, 299, |x, y| [if (x / 7 + y / 5) % 2 == 0 { 0 } else { 255 }; 3]);
        for path in ResizePath::ALL {
            let planes = path.apply(&image, 224);
            assert!(planes.values.iter().all(|value| (0.0..=255.0).contains(value)), "{path}");
            assert_eq!(planes.gray(), planes.values[..224 * 224]);
        }
        // Bicubic overshoots at edges; only the 8-bit way rounds.
        let rounded = |path: ResizePath| path.apply(&image, 224).values.iter().all(|value| value.fract() == 0.0);
        assert_eq!(ResizePath::ALL.map(rounded), [false, false, true]);
    }
}
