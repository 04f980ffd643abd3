//! The meaning of the network's output.

use std::fmt;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::combine;
use super::list::SamplerKind;
use super::noise_schedule::Level;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// What the network was trained to predict (`prediction_type`).
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub enum Prediction {
    /// `epsilon`: the noise (Stable Diffusion 1, 2-base and RoentGen).
    #[serde(rename = "epsilon")]
    Epsilon,
    /// `v_prediction`: the velocity `alpha noise - sigma clean` (Stable Diffusion 2).
    #[serde(rename = "v_prediction")]
    Velocity,
    /// `sample`: the clean sample.
    #[serde(rename = "sample")]
    Sample,
}

impl Prediction {
    /// As in configurations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Velocity => "v_prediction",
            Self::Sample => "sample",
        }
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A linear combination of a noisy sample and the network's output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Mix {
    pub(super) sample: f64,
    pub(super) output: f64,
}

impl Mix {
    pub(super) const OUTPUT: Self = Self { sample: 0.0, output: 1.0 };

    pub(super) fn times(self, factor: f64) -> Self {
        Self { sample: self.sample * factor, output: self.output * factor }
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self { sample: self.sample + other.sample, output: self.output + other.output }
    }

    pub(super) fn of(self, sample: Tensor<4>, output: Tensor<4>) -> Tensor<4> {
        combine([(self.sample, sample), (self.output, output)])
    }
}

impl Prediction {
    /// Takes `prediction_type`; the reference has no `sample` prediction for two of the samplers.
    pub(super) fn take(options: &mut Options, kind: SamplerKind) -> Result<Self, DiffusionError> {
        let prediction = options.take_or("prediction_type", Self::Epsilon)?;
        if prediction == Self::Sample && matches!(kind, SamplerKind::Pndm | SamplerKind::EulerAncestral) {
            let expected = format!("epsilon or v_prediction with the sampler {kind}");
            return Err(options.refuse("prediction_type", "\"sample\"", &expected));
        }
        Ok(prediction)
    }

    /// The clean sample.
    pub(super) fn clean(self, Level { alpha, sigma }: Level) -> Mix {
        // With zero terminal SNR the estimate from a noise prediction is infinite; finite factors keep its sign for a limit to
        // work on, where infinities of both signs would cancel to no number.
        let alpha = alpha.max(1e-30);
        match self {
            Self::Epsilon => Mix { sample: 1.0 / alpha, output: -sigma / alpha },
            Self::Velocity => Mix { sample: alpha, output: -sigma },
            Self::Sample => Mix::OUTPUT,
        }
    }

    /// The noise.
    pub(super) fn noise(self, Level { alpha, sigma }: Level) -> Mix {
        match self {
            Self::Epsilon => Mix::OUTPUT,
            Self::Velocity => Mix { sample: sigma, output: alpha },
            Self::Sample => Mix { sample: 1.0 / sigma, output: -alpha / sigma },
        }
    }
}

/// How an estimate of the clean sample is limited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Limit {
    Unlimited,
    /// To `[-range, range]`.
    Clip {
        range: f64,
    },
    /// Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models", section 2.3: clip each sample at this quantile of its
    /// absolute values (at least 1, at most `max`) and divide by it.
    Threshold {
        quantile: f64,
        max: f64,
    },
}

impl Limit {
    /// Takes `clip_sample` and its range, and what [`threshold`](Self::threshold) takes, which comes first.
    pub(super) fn take(options: &mut Options) -> Result<Self, DiffusionError> {
        let clip = options.take_or("clip_sample", true)?;
        let range: f64 = options.take_or("clip_sample_range", 1.0)?;
        if range <= 0.0 {
            return Err(options.refuse("clip_sample_range", &range.to_string(), "a number above 0"));
        }
        Ok(match Self::threshold(options)? {
            Self::Unlimited if clip => Self::Clip { range },
            other => other,
        })
    }

    /// Takes `thresholding` and its settings.
    pub(super) fn threshold(options: &mut Options) -> Result<Self, DiffusionError> {
        let on = options.take_or("thresholding", false)?;
        let quantile: f64 = options.take_or("dynamic_thresholding_ratio", 0.995)?;
        if !(0.0..=1.0).contains(&quantile) {
            return Err(options.refuse("dynamic_thresholding_ratio", &quantile.to_string(), "0 to 1"));
        }
        let max: f64 = options.take_or("sample_max_value", 1.0)?;
        if max <= 0.0 {
            return Err(options.refuse("sample_max_value", &max.to_string(), "a number above 0"));
        }
        Ok(if on { Self::Threshold { quantile, max } } else { Self::Unlimited })
    }

    pub(super) fn apply(self, clean: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Unlimited => clean,
            Self::Clip { range } => clean.clamp(-range, range),
            Self::Threshold { quantile, max } => {
                let dims = clean.dims();
                let bound = quantiles(clean.clone().abs(), quantile).clamp_min(1.0).clamp_max(max).expand(dims);
                clean.min_pair(bound.clone()).max_pair(bound.clone().neg()) / bound
            }
        }
    }

    /// `weight * limited(clean) + rest`, in one combination where there is no limit.
    pub(super) fn step(self, clean: Mix, weight: f64, rest: Mix, [sample, output]: [Tensor<4>; 2]) -> Tensor<4> {
        if self == Self::Unlimited {
            return clean.times(weight).plus(rest).of(sample, output);
        }
        let limited = self.apply(clean.of(sample.clone(), output.clone()));
        combine([(weight, limited), (rest.sample, sample), (rest.output, output)])
    }
}

/// A quantile of each sample, linear between neighbours. `[B, C, H, W]` to `[B, 1, 1, 1]`.
fn quantiles(values: Tensor<4>, quantile: f64) -> Tensor<4> {
    let [batch, channels, height, width] = values.dims();
    let count = channels * height * width;
    let sorted = values.reshape([batch, count]).sort(1);
    let rank = quantile * (count - 1) as f64;
    let (below, above) = (rank.floor() as usize, rank.ceil() as usize);
    let at = |i: usize| sorted.clone().narrow(1, i, 1);
    let value = at(below).mul_scalar(1.0 - rank.fract()) + at(above).mul_scalar(rank.fract());
    value.reshape([batch, 1, 1, 1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData, Tolerance};

    use super::*;

    #[test]
    fn thresholds_are_quantiles_of_each_sample() {
        // torch.quantile([1, 2, 4, 8], 0.9) is 6.8 and that of [0.5, 0.5, 0.5, 0.5] is clamped to 1 (torch 2.15).
        let values = [1.0, -2.0, 4.0, -8.0, 0.5, -0.5, 0.5, -0.5];
        let sample = Tensor::<1>::from_floats(values, &Device::flex()).reshape([2, 1, 2, 2]);
        let limited = |max| Limit::Threshold { quantile: 0.9, max }.apply(sample.clone()).into_data();
        let expect = |bound: f32| {
            let high = [1.0, -2.0, 4.0, -8.0].map(|v: f32| v.clamp(-bound, bound) / bound);
            TensorData::new([high, [0.5, -0.5, 0.5, -0.5]].concat(), [2, 1, 2, 2])
        };
        limited(10.0).assert_approx_eq::<f32>(&expect(6.8), Tolerance::absolute(1e-6));
        limited(3.0).assert_approx_eq::<f32>(&expect(3.0), Tolerance::absolute(1e-6));
    }

    #[test]
    fn a_limited_estimate_without_signal_has_the_sign_of_the_difference() {
        // As in the reference, where (sample - noise) / 0 is infinite and clipped.
        let device = Device::flex();
        let row = |v: [f32; 4]| Tensor::<1>::from_floats(v, &device).reshape([1, 1, 2, 2]);
        let clean = Prediction::Epsilon.clean(Level::of_alpha_cumprod(0.0));
        let rest = Mix { sample: 0.0, output: 0.0 };
        let tensors = [row([3.0, 1.0, -2.0, 0.0]), row([1.0, 3.0, 1.0, -1.0])];
        let limited = Limit::Clip { range: 1.0 }.step(clean, 1.0, rest, tensors);
        assert_eq!(limited.into_data().try_to_vec::<f32>().unwrap(), [1.0, -1.0, -1.0, 1.0]);
    }

    #[test]
    fn clean_and_noise_explain_the_sample() {
        let level = Level::of_ratio(2.0);
        for prediction in [Prediction::Epsilon, Prediction::Velocity, Prediction::Sample] {
            let sum = prediction.clean(level).times(level.alpha).plus(prediction.noise(level).times(level.sigma));
            assert!((sum.sample - 1.0).abs() < 1e-12 && sum.output.abs() < 1e-12, "{prediction:?}: {sum:?}");
        }
    }
}
