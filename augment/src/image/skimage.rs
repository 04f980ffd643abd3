//! scikit-image's `resize`, for pictures that must match torchxrayvision's training pipeline.

use crate::image::{Pixels, Xrv};

impl Pixels<Xrv> {
    /// The picture at another size as `skimage.transform.resize(…, mode="constant", preserve_range=True)` makes it
    /// (scikit-image 0.26.0): torchxrayvision's `XRayResizer` with its default engine.
    ///
    /// A Gaussian of sigma `max(0, (in / out - 1) / 2)` per axis, truncated at 4 sigma, then linear interpolation at
    /// `(o + 0.5) * in / out - 0.5`, clipped to the range of the source. Both take 0 (mid gray in this range) outside the
    /// picture, so borders differ from [`Pixels::resize`] by hundreds of units, as the original's do.
    ///
    /// # Panics
    /// If `width` or `height` is 0.
    #[must_use]
    pub fn resize_skimage(&self, width: usize, height: usize) -> Self {
        assert!(width * height > 0, "a resize to {width}x{height}");
        let source: Vec<f64> = self.values().iter().map(|&v| f64::from(v)).collect();
        let taller = resample_columns(&source, self.width(), self.height(), height);
        let turned = transpose(&taller, self.width(), height);
        let wider = resample_columns(&turned, height, self.width(), width);
        let values = transpose(&wider, height, width);
        let (mut low, mut high) = range(&source);
        let (lowest, highest) = range(&values);
        // The outside value widens the range only if the result reaches it (`_clip_warp_output`).
        if lowest <= 0.0 && highest >= 0.0 {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        Self::new(width, height, values.iter().map(|v| v.clamp(low, high) as f32).collect::<Vec<_>>())
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)))
}

/// Blurs and resamples every column of `source` (`rows * columns`) to `to` rows.
fn resample_columns(source: &[f64], columns: usize, rows: usize, to: usize) -> Vec<f64> {
    let factor = rows as f64 / to as f64;
    let kernel = gaussian(((factor - 1.0) / 2.0).max(0.0));
    let radius = kernel.len() / 2;
    let mut blurred = vec![0.0; source.len()];
    for (row, out) in blurred.chunks_exact_mut(columns).enumerate() {
        for (tap, weight) in kernel.iter().enumerate() {
            if let Some(from) = (row + tap).checked_sub(radius).filter(|&from| from < rows) {
                add_scaled(out, &source[from * columns..][..columns], *weight);
            }
        }
    }
    let mut resampled = vec![0.0; to * columns];
    for (row, out) in resampled.chunks_exact_mut(columns).enumerate() {
        let position = (row as f64 + 0.5) * factor - 0.5;
        let share = position - position.floor();
        for (offset, weight) in [(0.0, 1.0 - share), (1.0, share)] {
            let from = position.floor() + offset;
            if from >= 0.0 && from < rows as f64 {
                add_scaled(out, &blurred[from as usize * columns..][..columns], weight);
            }
        }
    }
    resampled
}

fn add_scaled(out: &mut [f64], from: &[f64], weight: f64) {
    for (o, f) in out.iter_mut().zip(from) {
        *o += weight * f;
    }
}

/// scipy.ndimage's `_gaussian_kernel1d`, `radius = int(4 sigma + 0.5)`; the identity for sigma 0.
fn gaussian(sigma: f64) -> Vec<f64> {
    if sigma == 0.0 {
        return vec![1.0];
    }
    let radius = (4.0 * sigma + 0.5) as i32;
    let weights: Vec<f64> = (-radius..=radius).map(|x| (-0.5 * f64::from(x * x) / (sigma * sigma)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn transpose(values: &[f64], columns: usize, rows: usize) -> Vec<f64> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let picture = Pixels::<Xrv>::new(3, 2, vec![-1024.0, -3.5, 0.0, 7.25, 512.0, 1024.0]);
        assert_eq!(picture.resize_skimage(3, 2), picture);
    }

    #[test]
    fn outside_is_mid_gray() {
        // Enlarging by two samples at -0.25, 0.25, 0.75, 1.25: the ends mix a quarter of 0 in, then 300 is clipped to 400.
        let picture = Pixels::<Xrv>::new(2, 1, vec![800.0, 400.0]).resize_skimage(4, 1);
        assert_eq!(picture.values(), [600.0, 700.0, 500.0, 400.0]);
    }
}
