//! Antialiased resampling, row by row: no more of the image is ever in floats than the rows that one output row is made of.
//!
//! Sums are those of `fast_image_resize` with AVX2 (f64, products added in the order of its lanes, rounded to f32 after each axis), on every
//! processor. Tests compare the bits.

use std::f64::consts::PI;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::resize::Filter;

/// Rows that are resampled along x together: they share the weights.
const BAND: usize = 4;

/// Resamples an image of `size` (columns, rows) to `to`; `read(y, row)` writes row `y`. First along x, then along y.
pub(super) fn resample(size: (usize, usize), to: (usize, usize), filter: Filter, read: impl Fn(usize, &mut [f32])) -> Vec<f32> {
    resample_padded(Padded { size, columns: 0..size.0, rows: 0..size.1, fill: 0.0 }, to, filter, read)
}

/// An image in a larger one of a single value.
pub(super) struct Padded {
    /// Columns and rows of the larger one.
    pub(super) size: (usize, usize),
    /// Where the image is in it.
    pub(super) columns: Range<usize>,
    pub(super) rows: Range<usize>,
    /// The value around it.
    pub(super) fill: f32,
}

/// As [`resample`], of a padded image; `read(y, row)` writes the image's part of row `y` of the larger one. What the padding alone
/// determines is computed once: a strip of 45 x 22,565 pixels in its square costs what the strip does.
pub(super) fn resample_padded(
    padded: Padded,
    to: (usize, usize),
    filter: Filter,
    read: impl Fn(usize, &mut [f32]),
) -> Vec<f32> {
    let along = |from: usize, to: usize| (from != to).then(|| Axis::new(from, to, filter));
    let (x, y) = (along(padded.size.0, to.0), along(padded.size.1, to.1));
    pulp::Arch::new().dispatch(Pass { padded, to, x, y, read })
}

/// The source samples of each output sample along one axis, and their weights, whose sum is 1.
struct Axis {
    windows: Vec<Window>,
    weights: Vec<f64>,
}

struct Window {
    samples: Range<usize>,
    weights: Range<usize>,
}

impl Axis {
    fn new(from: usize, to: usize, filter: Filter) -> Self {
        let scale = from as f64 / to as f64;
        // Antialiasing: a shrinking kernel covers as many more samples.
        let wider = scale.max(1.0);
        let (radius, narrower) = (filter.support() * wider, 1.0 / wider);
        let mut axis = Self { windows: Vec::with_capacity(to), weights: Vec::new() };
        for index in 0..to {
            let center = (index as f64 + 0.5) * scale;
            let first = (center - radius).floor().max(0.0) as usize;
            let end = (center + radius).ceil().min(from as f64) as usize;
            let weight = |sample: usize| filter.weight((sample as f64 - (center - 0.5)) * narrower);
            let start = axis.weights.len();
            let skipped = (first..end).take_while(|&sample| weight(sample) == 0.0).count();
            axis.weights.extend((first + skipped..end).map(weight));
            let sum: f64 = axis.weights[start..].iter().fold(0.0, |sum, weight| sum + weight);
            while axis.weights.len() > start && axis.weights.last() == Some(&0.0) {
                axis.weights.pop();
            }
            if sum != 0.0 {
                axis.weights[start..].iter_mut().for_each(|weight| *weight /= sum);
            }
            let weights = start..axis.weights.len();
            let first = first + skipped;
            axis.windows.push(Window { samples: first..first + weights.len(), weights });
        }
        axis
    }

    /// Most samples from the first of a window to the last that this window or one before it needs.
    fn reach(&self) -> usize {
        let mut end = 0;
        let reach = |window: &Window| {
            end = end.max(window.samples.end);
            end - window.samples.start
        };
        self.windows.iter().map(reach).max().unwrap_or(0)
    }

    /// The windows that have one of these samples.
    fn touching(&self, samples: &Range<usize>) -> Range<usize> {
        let first = self.windows.partition_point(|window| window.samples.end <= samples.start);
        let end = self.windows.partition_point(|window| window.samples.start < samples.end);
        first..end.max(first)
    }
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Area => 0.5,
            Self::Bilinear => 1.0,
            Self::Bicubic => 2.0,
            Self::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let distance = x.abs();
        match self {
            // An edge belongs to one side only.
            Self::Area => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Self::Bilinear => (1.0 - distance).max(0.0),
            Self::Bicubic => keys(distance, -0.5),
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
        }
    }
}

/// Keys, "Cubic convolution interpolation for digital image processing" (1981), equations 8 and 15, in Horner's form.
fn keys(x: f64, a: f64) -> f64 {
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

fn sinc(x: f64) -> f64 {
    let angle = x * PI;
    if x == 0.0 { 1.0 } else { angle.sin() / angle }
}

struct Pass<F> {
    padded: Padded,
    to: (usize, usize),
    x: Option<Axis>,
    y: Option<Axis>,
    read: F,
}

impl<F: Fn(usize, &mut [f32])> WithSimd for Pass<F> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<f32> {
        let (columns, rows) = self.to;
        let mut out = vec![0.0; columns * rows];
        let mut narrow = Narrow::new(&self);
        let Some(y) = &self.y else {
            for (row, out) in out.chunks_exact_mut(columns).enumerate() {
                narrow.advance_to(row + 1, &self);
                out.copy_from_slice(narrow.row(row));
            }
            return out;
        };
        let mut sums = vec![0.0; columns];
        for (window, out) in y.windows.iter().zip(out.chunks_exact_mut(columns)) {
            narrow.advance_to(window.samples.end, &self);
            sums.fill(0.0);
            for (row, weight) in window.samples.clone().zip(&y.weights[window.weights.clone()]) {
                for (sum, value) in sums.iter_mut().zip(narrow.row(row)) {
                    *sum += f64::from(*value) * weight;
                }
            }
            for (out, sum) in out.iter_mut().zip(&sums) {
                *out = *sum as f32;
            }
        }
        out
    }
}

/// The rows of the source that are in use, resampled along x.
struct Narrow {
    /// At least as many rows as are in use at once, in whole bands: row `y` is at `y % kept`.
    rows: Vec<f32>,
    kept: usize,
    columns: usize,
    /// Rows before this one have been made.
    next: usize,
    band: Vec<f32>,
    /// A row of padding alone, resampled.
    blank: Vec<f32>,
    /// The columns of which the image has a part.
    touched: Range<usize>,
}

impl Narrow {
    fn new<F>(pass: &Pass<F>) -> Self {
        let Padded { size, columns, fill, .. } = &pass.padded;
        let in_use = pass.y.as_ref().map_or(1, Axis::reach);
        let kept = (in_use + BAND).next_multiple_of(BAND);
        let band = if pass.x.is_some() { BAND * size.0 } else { 0 };
        let touched = pass.x.as_ref().map_or_else(|| columns.clone(), |x| x.touching(columns));
        let band = vec![*fill; band];
        let mut blank = vec![*fill; pass.to.0];
        if let Some(x) = &pass.x {
            along_x(x, 0..pass.to.0, [&band[..size.0]], &mut blank);
        }
        Self { rows: vec![0.0; kept * pass.to.0], kept, columns: pass.to.0, next: 0, band, blank, touched }
    }

    #[inline(always)]
    fn row(&self, y: usize) -> &[f32] {
        &self.rows[y % self.kept * self.columns..][..self.columns]
    }

    /// Makes the rows before `end`.
    #[inline(always)]
    fn advance_to<F: Fn(usize, &mut [f32])>(&mut self, end: usize, pass: &Pass<F>) {
        let Padded { size: (width, height), columns, rows, fill } = &pass.padded;
        while self.next < end {
            let count = BAND.min(height - self.next);
            let made = &mut self.rows[self.next % self.kept * self.columns..][..count * self.columns];
            let is_blank = self.next + count <= rows.start || self.next >= rows.end;
            if is_blank || self.touched.len() < self.columns {
                made.chunks_exact_mut(self.columns).for_each(|row| row.copy_from_slice(&self.blank));
            }
            // The image's part of a row, or padding.
            let part = |y: usize, row: &mut [f32]| match rows.contains(&y) {
                true => (pass.read)(y, row),
                false => row.fill(*fill),
            };
            match &pass.x {
                _ if is_blank => {}
                Some(x) => {
                    for (offset, row) in self.band.chunks_exact_mut(*width).take(count).enumerate() {
                        part(self.next + offset, &mut row[columns.clone()]);
                    }
                    if count == BAND {
                        let rows: [&[f32]; BAND] = std::array::from_fn(|offset| &self.band[offset * width..][..*width]);
                        along_x(x, self.touched.clone(), rows, made);
                    } else {
                        let rows = self.band.chunks_exact(*width);
                        let made = made.chunks_exact_mut(self.columns);
                        rows.zip(made).for_each(|(row, made)| along_x(x, self.touched.clone(), [row], made));
                    }
                }
                None => {
                    let rows = made.chunks_exact_mut(self.columns).enumerate();
                    rows.for_each(|(offset, row)| part(self.next + offset, &mut row[columns.clone()]));
                }
            }
            self.next += count;
        }
    }
}

/// Weighted sums of `rows` in four lanes, for the columns `touched`; what is left of a window goes to the first two, then to the first.
#[inline(always)]
fn along_x<const N: usize>(axis: &Axis, touched: Range<usize>, rows: [&[f32]; N], out: &mut [f32]) {
    let columns = axis.windows.len();
    for (column, window) in axis.windows.iter().enumerate().take(touched.end).skip(touched.start) {
        let (fours, rest) = axis.weights[window.weights.clone()].as_chunks::<4>();
        let rows = rows.map(|row| row[window.samples.clone()].as_chunks::<4>());
        let mut lanes = [[0.0f64; 4]; N];
        for (index, weights) in fours.iter().enumerate() {
            for (lanes, (row, _)) in lanes.iter_mut().zip(&rows) {
                for lane in 0..4 {
                    lanes[lane] += f64::from(row[index][lane]) * weights[lane];
                }
            }
        }
        for (offset, (lanes, (_, row))) in lanes.iter_mut().zip(&rows).enumerate() {
            match (rest, row) {
                ([a], [x]) => lanes[0] += f64::from(*x) * a,
                ([a, b], [x, y]) => {
                    lanes[0] += f64::from(*x) * a;
                    lanes[1] += f64::from(*y) * b;
                }
                ([a, b, c], [x, y, z]) => {
                    lanes[0] += f64::from(*x) * a;
                    lanes[1] += f64::from(*y) * b;
                    lanes[0] += f64::from(*z) * c;
                }
                _ => {}
            }
            out[offset * columns + column] = ((lanes[0] + lanes[2]) + (lanes[1] + lanes[3])) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use fast_image_resize::images::{TypedImage, TypedImageRef};
    use fast_image_resize::pixels::F32;
    use fast_image_resize::{CpuExtensions, FilterType, ResizeAlg, ResizeOptions, Resizer};
    use proptest::prelude::*;

    use super::*;

    const FILTERS: [(Filter, FilterType); 4] = [
        (Filter::Area, FilterType::Box),
        (Filter::Bilinear, FilterType::Bilinear),
        (Filter::Bicubic, FilterType::CatmullRom),
        (Filter::Lanczos, FilterType::Lanczos3),
    ];

    /// What `fast_image_resize` 6.1.0 makes of it, and whether that was on AVX2.
    fn theirs(samples: &[f32], size: (usize, usize), to: (usize, usize), filter: FilterType) -> (Vec<f32>, bool) {
        let pixels: Vec<F32> = samples.iter().map(|&v| F32::new(v)).collect();
        let source = TypedImageRef::new(size.0 as u32, size.1 as u32, &pixels).unwrap();
        let mut out = vec![F32::default(); to.0 * to.1];
        let mut target = TypedImage::from_pixels_slice(to.0 as u32, to.1 as u32, &mut out).unwrap();
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter)).use_alpha(false);
        let mut resizer = Resizer::new();
        resizer.resize_typed(&source, &mut target, &options).unwrap();
        (out.iter().map(|pixel| pixel.0).collect(), matches!(resizer.cpu_extensions(), CpuExtensions::Avx2))
    }

    fn agrees(size: (usize, usize), to: (usize, usize), seed: u32) {
        let samples: Vec<f32> = (0..size.0 * size.1)
            .map(|i| (i as u32).wrapping_mul(2_654_435_761).wrapping_add(seed) as f32 / u32::MAX as f32 * 2.0 - 1.0)
            .collect();
        for (filter, kernel) in FILTERS {
            let (theirs, exact) = theirs(&samples, size, to, kernel);
            let ours = resample(size, to, filter, |y, row| row.copy_from_slice(&samples[y * size.0..][..size.0]));
            for (index, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                // Other instruction sets add in another order: the last bit of a sum below 8 may differ.
                let same = if exact { a.to_bits() == b.to_bits() } else { (a - b).abs() <= 1e-6 };
                assert!(same, "{filter:?} {size:?} to {to:?} at {index}: {a:e} and {b:e}");
            }
        }
    }

    #[test]
    fn bits_are_those_of_the_resampler_before() {
        for (size, to) in [
            ((1024, 1024), (224, 224)),
            ((1024, 1024), (512, 512)),
            ((300, 200), (64, 64)),
            ((64, 48), (224, 224)),
            ((224, 100), (224, 32)),
            ((100, 224), (32, 224)),
            ((1, 1), (5, 3)),
            ((5000, 3), (32, 32)),
            ((3, 5000), (32, 32)),
            ((7, 5), (7, 5)),
        ] {
            agrees(size, to, 1);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn padding_is_as_if_it_were_read(
            size in (1usize..60, 1usize..60),
            to in (1usize..40, 1usize..40),
            pad in (0usize..50, 0usize..50),
            filter in 0usize..4,
        ) {
            let image: Vec<f32> = (0..size.0 * size.1).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
            let part = |y: usize, row: &mut [f32]| row.copy_from_slice(&image[y * size.0..][..size.0]);
            let larger = (size.0 + pad.0, size.1 + pad.1);
            let (left, top) = (pad.0 / 2, pad.1 / 2);
            let padded = Padded { size: larger, columns: left..left + size.0, rows: top..top + size.1, fill: -1.0 };
            let filter = FILTERS[filter].0;
            let skipped = resample_padded(padded, to, filter, |y, row| part(y - top, row));
            let read = resample(larger, to, filter, |y, row| {
                row.fill(-1.0);
                if (top..top + size.1).contains(&y) {
                    part(y - top, &mut row[left..left + size.0]);
                }
            });
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&skipped), bits(&read));
        }

        #[test]
        fn any_size_to_any_other(size in (1usize..90, 1usize..90), to in (1usize..90, 1usize..90), seed: u32) {
            agrees(size, to, seed);
        }
    }
}
