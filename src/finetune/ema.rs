//! The moving average of weights under training.
//!
//! Reference: diffusers 0.42.1, `training_utils.py` (`EMAModel`).

use burn::tensor::{Device, Tensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

use super::FinetuneError;
use super::settings::within;

/// How fast an [`Ema`] forgets; names and defaults are those of diffusers' `EMAModel`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Largest decay, in `[0, 1)`.
    pub decay: f64,
    /// Smallest decay.
    pub min_decay: f64,
    /// Steps during which the average is the weights themselves.
    pub update_after_step: u64,
    /// Let the decay rise as `1 - (1 + s / inv_gamma)^-power` instead of `(1 + s) / (10 + s)`, at step `s` after those.
    pub use_ema_warmup: bool,
    /// See [`use_ema_warmup`](Self::use_ema_warmup).
    pub inv_gamma: f64,
    /// See [`use_ema_warmup`](Self::use_ema_warmup); 2/3 for long trainings, 3/4 for shorter ones.
    pub power: f64,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.9999, min_decay: 0.0, update_after_step: 0, use_ema_warmup: false, inv_gamma: 1.0, power: 2.0 / 3.0 }
    }
}

impl EmaConfig {
    /// Refuses numbers out of range.
    pub(super) fn check(&self) -> Result<(), FinetuneError> {
        let Self { decay, min_decay, inv_gamma, power, .. } = *self;
        within("ema.decay", decay, (0.0..1.0).contains(&decay), "a number from 0 to below 1")?;
        within("ema.min_decay", min_decay, (0.0..=decay).contains(&min_decay), "a number from 0 to the decay")?;
        within("ema.inv_gamma", inv_gamma, inv_gamma > 0.0, "a number above 0")?;
        within("ema.power", power, power > 0.0, "a number above 0")
    }

    /// The share of the average that stays at update `step`, from 1; 0 makes the average the weights.
    #[must_use]
    pub fn decay_at(&self, step: u64) -> f64 {
        let step = step.saturating_sub(self.update_after_step + 1) as f64;
        if step == 0.0 {
            return 0.0;
        }
        let decay = match self.use_ema_warmup {
            true => 1.0 - (1.0 + step / self.inv_gamma).powf(-self.power),
            false => (1.0 + step) / (10.0 + step),
        };
        decay.min(self.decay).max(self.min_decay)
    }
}

/// A moving average of some tensors: begins as they are, and follows them.
#[derive(Clone, Debug)]
pub struct Ema {
    config: EmaConfig,
    /// Updates so far.
    pub(super) updates: u64,
    pub(super) averages: Vec<Tensor<1>>,
}

impl Ema {
    /// An average of flat F32 tensors, so far equal to them.
    #[must_use]
    pub fn new(config: EmaConfig, weights: Vec<Tensor<1>>) -> Self {
        Self { config, updates: 0, averages: weights }
    }

    /// Takes the tensors in, which come in the same order every time; returns the decay.
    pub fn update(&mut self, weights: impl Iterator<Item = Tensor<1>>) -> f64 {
        self.updates += 1;
        let decay = self.config.decay_at(self.updates);
        let share = (1.0 - decay) as f32;
        for (average, weight) in self.averages.iter_mut().zip(weights) {
            *average = approach(std::mem::replace(average, weight.clone()), weight, share);
        }
        decay
    }

    /// The averages, in the order of the tensors.
    #[must_use]
    pub fn averages(&self) -> &[Tensor<1>] {
        &self.averages
    }
}

/// `average - share * (average - weight)`.
fn approach(average: Tensor<1>, weight: Tensor<1>, share: f32) -> Tensor<1> {
    const PIECE: usize = 1 << 14;
    let device = average.device();
    if device != Device::flex() {
        return average.clone() - (average - weight) * share;
    }
    // On the CPU in one pass; elements are independent, so threads change nothing.
    let (mut average, weight) = (average.into_data(), weight.into_data());
    let averages = average.as_mut_slice::<f32>().expect("averages are F32").par_chunks_mut(PIECE);
    let weights = weight.as_slice::<f32>().expect("weights under training are F32").par_chunks(PIECE);
    averages.zip(weights).for_each(|(averages, weights)| {
        for (average, weight) in averages.iter_mut().zip(weights) {
            *average -= share * (*average - *weight);
        }
    });
    Tensor::from_data(average, &device)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::noise;
    use super::*;

    /// `EMAModel.get_decay` of diffusers 0.42.1 at updates 1, 2, 3, 10 and 1000.
    #[test]
    fn decays_are_those_of_the_reference() {
        let default = EmaConfig::default();
        for (config, expected) in [
            (default, [0.0, 0.181_818_181_818, 0.25, 0.526_315_789_474, 0.991_080_277_502]),
            (EmaConfig { decay: 0.5, ..default }, [0.0, 0.181_818_181_818, 0.25, 0.5, 0.5]),
            (
                EmaConfig { use_ema_warmup: true, inv_gamma: 2.0, power: 0.5, ..default },
                [0.0, 0.183_503_419_072, 0.292_893_218_813, 0.573_598_567_288, 0.955_300_984_373],
            ),
            (EmaConfig { min_decay: 0.3, update_after_step: 1, ..default }, [0.0, 0.0, 0.3, 0.5, 0.991_071_428_571]),
        ] {
            for (update, expected) in [1, 2, 3, 10, 1000].into_iter().zip(expected) {
                assert!((config.decay_at(update) - expected).abs() < 1e-11, "{config:?} at {update}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_average_stays_between_what_it_saw(seed in 0u64..1000, decay in 0f64..0.999) {
            let mut ema = Ema::new(EmaConfig { decay, ..EmaConfig::default() }, vec![noise(seed, [5])]);
            let seen: Vec<Tensor<1>> = (1..6).map(|step| noise(seed + step, [5])).collect();
            for (step, weights) in seen.iter().enumerate() {
                ema.update(std::iter::once(weights.clone()));
                let floats = |tensor: &Tensor<1>| tensor.to_data().iter::<f32>().collect::<Vec<_>>();
                let average = floats(&ema.averages()[0]);
                if step == 0 {
                    // The first decay is 0; `a - (a - w)` is `w` up to the last bit of the larger.
                    prop_assert!(average.iter().zip(floats(weights)).all(|(a, w)| (a - w).abs() < 1e-6));
                }
                let all: Vec<Vec<f32>> = seen[..=step].iter().map(floats).collect();
                for (i, value) in average.iter().enumerate() {
                    let (low, high) = all.iter().fold((f32::MAX, f32::MIN), |(low, high), row| (low.min(row[i]), high.max(row[i])));
                    prop_assert!((low - 1e-6..=high + 1e-6).contains(value));
                }
            }
        }
    }
}
