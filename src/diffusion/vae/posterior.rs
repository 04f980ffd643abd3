//! The Gaussian over latents that the encoder gives.

use burn::tensor::Tensor;

/// Bounds of the log-variance (diffusers 0.42.1, `DiagonalGaussianDistribution`); beyond them its exponential leaves 32 bits.
const LOGVAR: [f64; 2] = [-30.0, 20.0];

/// A Gaussian with a diagonal covariance over the latents of each image.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[B, C, H, W]`
    pub mean: Tensor<4>,
    /// Natural logarithm of the variance, within `[-30, 20]`; `[B, C, H, W]`.
    pub logvar: Tensor<4>,
}

impl Posterior {
    /// From `[B, 2 * C, H, W]`: means, then log-variances.
    pub(super) fn new(moments: Tensor<4>) -> Self {
        let [mean, logvar]: [Tensor<4>; 2] = moments.chunk(2, 1).try_into().expect("an even number of channels has two halves");
        let [low, high] = LOGVAR;
        Self { mean, logvar: logvar.clamp(low, high) }
    }

    /// Standard deviation, `[B, C, H, W]`.
    #[must_use]
    pub fn std(&self) -> Tensor<4> {
        (self.logvar.clone() * 0.5).exp()
    }

    /// The most probable latents.
    #[must_use]
    pub fn mode(&self) -> Tensor<4> {
        self.mean.clone()
    }

    /// `mean + std * noise`: latents drawn at random, where `noise` is standard normal and of their shape.
    ///
    /// # Panics
    /// If `noise` has another shape.
    #[must_use]
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        assert_eq!(noise.dims(), self.mean.dims(), "noise of the latents' shape");
        self.mean.clone() + self.std() * noise
    }

    /// Kullback-Leibler divergence from the standard normal distribution, nats: `[B]`, summed over channels and positions
    /// (Kingma & Welling 2014, arXiv 1312.6114, appendix B).
    #[must_use]
    pub fn kl(&self) -> Tensor<1> {
        let terms = self.mean.clone().square() + self.logvar.clone().exp() - self.logvar.clone() - 1.0;
        terms.flatten::<2>(1, 3).sum_dim(1).squeeze_dim(1) * 0.5
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn posterior(moments: [f32; 2]) -> Posterior {
        Posterior::new(Tensor::from_data(TensorData::new(moments.to_vec(), [1, 2, 1, 1]), &Device::flex()))
    }

    fn value<const D: usize>(x: Tensor<D>) -> f32 {
        x.into_scalar::<f32>()
    }

    #[test]
    fn log_variance_is_clamped() {
        assert_eq!(value(posterior([0.0, -31.0]).logvar), -30.0);
        assert_eq!(value(posterior([0.0, 1e30]).logvar), 20.0);
        assert!(value(posterior([0.0, f32::MAX]).kl()).is_finite());
    }

    #[test]
    fn a_sample_is_the_mean_and_noise() {
        // By hand: variance 4.
        let posterior = posterior([0.5, 4f32.ln()]);
        let noise = Tensor::from_data(TensorData::new(vec![-1.5f32], [1, 1, 1, 1]), &Device::flex());
        assert_eq!(value(posterior.std()), 2.0);
        assert_eq!(value(posterior.sample(noise)), -2.5);
        assert_eq!(value(posterior.mode()), 0.5);
        // By hand: (0.25 + 4 - 1 - ln 4) / 2.
        assert!((value(posterior.kl()) - 0.931_853).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "noise of the latents' shape")]
    fn noise_is_not_broadcast() {
        let _ = posterior([0.0, 0.0]).sample(Tensor::zeros([2, 1, 1, 1], &Device::flex()));
    }
}
