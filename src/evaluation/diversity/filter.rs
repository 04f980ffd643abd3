//! Weighted means over windows.

/// Weights along one side of a window; the weight of a pixel is the product of two of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps(Vec<f64>);

impl Taps {
    /// A Gaussian, cut off after `count` taps, with sum 1.
    pub fn gaussian(count: usize, sigma: f64) -> Self {
        let middle = (count / 2) as f64;
        let weights: Vec<f64> = (0..count).map(|i| (-(i as f64 - middle).powi(2) / (2.0 * sigma * sigma)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        Self(weights.into_iter().map(|weight| weight / sum).collect())
    }

    /// Equal weights.
    pub fn uniform(count: usize) -> Self {
        Self(vec![1.0 / count as f64; count])
    }

    /// Pixels along one side of the window.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Means of a `width` wide image over all windows that lie within it: `(height - len + 1) x (width - len + 1)`.
    pub fn means(&self, image: &[f64], width: usize) -> Vec<f64> {
        let (height, across) = (image.len() / width, width - self.len() + 1);
        let mut means = vec![0.0; (height - self.len() + 1) * across];
        // The last `len` rows, filtered along: they are read again soon, so they stay in the fastest memory.
        let mut along = vec![0.0; self.len() * across];
        for (row, line) in image.chunks(width).enumerate() {
            let slot = row % self.len();
            self.mix(&mut along[slot * across..][..across], |tap| &line[tap..][..across]);
            if let Some(first) = (row + 1).checked_sub(self.len()) {
                let slot = |tap| (first + tap) % self.len() * across;
                self.mix(&mut means[first * across..][..across], |tap| &along[slot(tap)..][..across]);
            }
        }
        means
    }

    /// The weighted sum of as many rows as there are taps. Both ends of a window weigh the same, so they are added first.
    #[inline(always)]
    fn mix<'a>(&self, to: &mut [f64], row: impl Fn(usize) -> &'a [f64]) {
        let last = self.len() - 1;
        let middle = self.0[last / 2];
        to.iter_mut().zip(row(last / 2)).for_each(|(to, value)| *to = middle * value);
        for tap in 0..last / 2 {
            let weight = self.0[tap];
            let (first, second) = (row(tap), row(last - tap));
            to.iter_mut().zip(first).zip(second).for_each(|((to, a), b)| *to += weight * (a + b));
        }
    }
}
