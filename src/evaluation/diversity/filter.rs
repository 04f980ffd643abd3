//! Weighted means over windows.

/// Weights along one side of a window of N x N pixels; the weight of a pixel is the product of two of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps<const N: usize>([f64; N]);

impl<const N: usize> Taps<N> {
    /// A Gaussian, cut off after N taps, with sum 1.
    pub fn gaussian(sigma: f64) -> Self {
        let middle = (N / 2) as f64;
        let weights: [f64; N] = std::array::from_fn(|tap| (-(tap as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp());
        let sum: f64 = weights.iter().sum();
        Self(weights.map(|weight| weight / sum))
    }

    /// Equal weights.
    pub fn uniform() -> Self {
        Self([1.0 / N as f64; N])
    }

    /// Means of a `width` wide image over all windows that lie within it: `(height - N + 1) x (width - N + 1)`.
    pub fn means(&self, image: &[f64], width: usize) -> Vec<f64> {
        let (height, across) = (image.len() / width, width - N + 1);
        let mut means = vec![0.0; (height - N + 1) * across];
        // The last N rows, filtered along: they are read again soon, so they stay in the fastest memory.
        let mut along = vec![0.0; N * across];
        for (row, line) in image.chunks(width).enumerate() {
            let slot = row % N;
            self.mix(&mut along[slot * across..][..across], std::array::from_fn(|tap| &line[tap..]));
            if let Some(first) = (row + 1).checked_sub(N) {
                let rows = std::array::from_fn(|tap| &along[(first + tap) % N * across..]);
                self.mix(&mut means[first * across..][..across], rows);
            }
        }
        means
    }

    /// The weighted sum of N rows. Both ends of a window weigh the same, so they are added first.
    fn mix(&self, to: &mut [f64], rows: [&[f64]; N]) {
        let rows = rows.map(|row| &row[..to.len()]);
        for (x, to) in to.iter_mut().enumerate() {
            let mut sum = self.0[N / 2] * rows[N / 2][x];
            for tap in 0..N / 2 {
                sum += self.0[tap] * (rows[tap][x] + rows[N - 1 - tap][x]);
            }
            *to = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Taps;

    /// The definition, window by window.
    #[test]
    fn means_are_weighted_sums_over_windows() {
        let (width, height) = (17, 14);
        let image: Vec<f64> = (0..width * height).map(|at| ((at * at) as f64 * 0.1).sin()).collect();
        fn check<const N: usize>(taps: &Taps<N>, image: &[f64], width: usize) {
            assert!((taps.0.iter().sum::<f64>() - 1.0).abs() < 1e-15);
            let (height, across) = (image.len() / width, width - N + 1);
            let means = taps.means(image, width);
            assert_eq!(means.len(), (height - N + 1) * across);
            for (at, mean) in means.iter().enumerate() {
                let (row, column) = (at / across, at % across);
                let weighted = |i: usize, j: usize| taps.0[i] * taps.0[j] * image[(row + i) * width + column + j];
                let expected: f64 = (0..N * N).map(|tap| weighted(tap / N, tap % N)).sum();
                assert!((mean - expected).abs() < 1e-14);
            }
        }
        check(&Taps::<11>::gaussian(1.5), &image, width);
        check(&Taps::<7>::uniform(), &image, width);
        check(&Taps::<1>::uniform(), &image, width);
    }
}
