//! torch's antialiased bilinear resize, rounding included.

use crate::image::{PixelRange, Pixels};

impl<R: PixelRange> Pixels<R> {
    /// The picture at another size as `interpolate(mode="bilinear", antialias=True)` makes it in fp32 on the CPU (torch 2.15.0):
    /// what torchxrayvision's models do to their input (`utils.fix_resolution`).
    ///
    /// [`Pixels::resize`] with [`Filter::Bilinear`](crate::image::Filter::Bilinear) is the same kernel with exact weights, and faster.
    /// torch rounds the centre of each window to fp32, which on the [-1024, 1024] scale moves values by some thousandths.
    ///
    /// # Panics
    /// If `width` or `height` is 0.
    #[must_use]
    pub fn resize_torch(&self, width: usize, height: usize) -> Self {
        assert!(width * height > 0, "a resize to {width}x{height}");
        let windows = windows(self.width(), width);
        let mut narrow = Vec::with_capacity(width * self.height());
        for row in self.values().chunks_exact(self.width()) {
            narrow.extend(windows.iter().map(|window| {
                let taps = row[window.start..].iter().zip(&window.weights);
                taps.fold(0.0, |sum, (value, weight)| sum + value * weight)
            }));
        }
        let mut out = vec![0.0; width * height];
        for (window, out) in self::windows(self.height(), height).iter().zip(out.chunks_exact_mut(width)) {
            for (row, weight) in narrow[window.start * width..].chunks_exact(width).zip(&window.weights) {
                for (sum, value) in out.iter_mut().zip(row) {
                    *sum += value * weight;
                }
            }
        }
        Self::new(width, height, out)
    }
}

/// The samples that one output sample is a mean of.
struct Window {
    start: usize,
    weights: Vec<f32>,
}

/// `HelperInterpBase::_compute_indices_min_size_weights_aa` of ATen's `UpSampleKernel.cpp`, with its mix of fp32 and fp64.
fn windows(from: usize, to: usize) -> Vec<Window> {
    let scale = from as f32 / to as f32;
    let support = scale.max(1.0);
    let inverse = (1.0 / f64::from(support)) as f32;
    let window = |index: usize| {
        let center = (f64::from(scale) * (index as f64 + 0.5)) as f32;
        let start = (f64::from(center - support) + 0.5).max(0.0) as usize;
        let end = ((f64::from(center + support) + 0.5) as usize).min(from);
        let weight = |sample: usize| {
            let distance = (f64::from(sample as f32 - center) + 0.5) * f64::from(inverse);
            (1.0 - (distance as f32).abs()).max(0.0)
        };
        let mut weights: Vec<f32> = (start..end).map(weight).collect();
        let sum: f32 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        Window { start, weights }
    };
    (0..to).map(window).collect()
}

#[cfg(test)]
mod tests {
    use crate::image::{Filter, Pixels, Xrv};

    #[test]
    fn it_differs_from_exact_weights_by_rounding_only() {
        let values: Vec<f32> = (0..187 * 120u32).map(|i| (i * 7919 % 2048) as f32 - 1024.0).collect();
        let picture = Pixels::<Xrv>::new(187, 120, values);
        for (width, height) in [(64, 64), (187, 120), (201, 96)] {
            let (torch, exact) = (picture.resize_torch(width, height), picture.resize(width, height, Filter::Bilinear));
            let worst = torch.values().iter().zip(exact.values()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 0.05, "{width}x{height}: {worst}");
        }
    }
}
