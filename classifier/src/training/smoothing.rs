//! Moving averages of training: of the logged loss, and of the weights.
//!
//! Reference for weights: diffusers 0.42.1, `training_utils.py` (`EMAModel`).

use burn::tensor::{Device, Tensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

use crate::error::SettingError;

/// The `[watch]` table: when a diverging run causes a warning, and when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Weight of the past in the smoothed loss, in [0, 1).
    pub smoothing: f64,
    /// Warn once the smoothed loss is this many times its best; 0 for never.
    pub warn_above: f64,
    /// Stop once it is this many times its best; 0 for never.
    pub stop_above: f64,
    /// Steps before either applies: the first losses are averages of few images.
    pub patience: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { smoothing: 0.98, warn_above: 2.0, stop_above: 20.0, patience: 20 }
    }
}

/// The state of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing unusual.
    Fine,
    /// Far above its best for the first time since it was near.
    Warn {
        /// Smoothed loss over the best.
        ratio: f64,
    },
    /// So far above its best that the run should stop.
    Stop {
        /// Smoothed loss over the best.
        ratio: f64,
    },
}

/// An exponential average of the losses, corrected for its start, with its best value. It is part of every checkpoint; values
/// are stored as bits, since decimal text may not come back exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossWatch {
    steps: u64,
    sum: u64,
    weight: u64,
    best: u64,
    warned: bool,
}

impl LossWatch {
    /// Takes the loss of the next step.
    pub fn push(&mut self, loss: f64, config: &WatchConfig) -> Verdict {
        let keep = config.smoothing;
        let sum = keep * f64::from_bits(self.sum) + (1.0 - keep) * loss;
        let weight = keep * f64::from_bits(self.weight) + (1.0 - keep);
        (self.sum, self.weight) = (sum.to_bits(), weight.to_bits());
        self.steps += 1;
        let smoothed = self.smoothed();
        if self.steps <= config.patience.max(1) {
            self.best = smoothed.to_bits();
            return Verdict::Fine;
        }
        let best = f64::from_bits(self.best).min(smoothed);
        self.best = best.to_bits();
        let ratio = smoothed / best;
        let beyond = |limit: f64| limit > 0.0 && ratio > limit;
        if beyond(config.stop_above) {
            return Verdict::Stop { ratio };
        }
        let warn = beyond(config.warn_above);
        let first = warn && !self.warned;
        self.warned = warn;
        if first { Verdict::Warn { ratio } } else { Verdict::Fine }
    }

    /// The smoothed loss; NaN before the first step.
    #[must_use]
    pub fn smoothed(&self) -> f64 {
        if self.steps == 0 { f64::NAN } else { f64::from_bits(self.sum) / f64::from_bits(self.weight) }
    }

    /// The best smoothed loss.
    #[must_use]
    pub fn best(&self) -> f64 {
        f64::from_bits(self.best)
    }
}

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
    ///
    /// # Errors
    /// [`SettingError`] names the first one.
    pub fn check(&self) -> Result<(), SettingError> {
        let Self { decay, min_decay, inv_gamma, power, .. } = *self;
        SettingError::unless((0.0..1.0).contains(&decay), "ema.decay", decay, "a number from 0 to below 1")?;
        SettingError::unless((0.0..=decay).contains(&min_decay), "ema.min_decay", min_decay, "a number from 0 to the decay")?;
        SettingError::unless(inv_gamma > 0.0, "ema.inv_gamma", inv_gamma, "a number above 0")?;
        SettingError::unless(power > 0.0, "ema.power", power, "a number above 0")
    }

    /// The share of the average that stays at update `step`, from 1; 0 makes the average the weights.
    #[must_use]
    pub fn decay_at(&self, step: u64) -> f64 {
        let step = step.saturating_sub(self.update_after_step.saturating_add(1)) as f64;
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

/// A moving average of some tensors, which starts equal to them.
#[derive(Clone, Debug)]
pub struct Ema {
    config: EmaConfig,
    /// Updates so far.
    pub updates: u64,
    /// The averages, in the order of the tensors.
    pub averages: Vec<Tensor<1>>,
}

impl Ema {
    /// An average of flat F32 tensors, so far equal to them.
    #[must_use]
    pub fn new(config: EmaConfig, weights: Vec<Tensor<1>>) -> Self {
        Self { config, updates: 0, averages: weights }
    }

    /// Updates the average with the tensors, always in the same order; returns the decay.
    pub fn update(&mut self, weights: impl Iterator<Item = Tensor<1>>) -> f64 {
        self.updates += 1;
        let decay = self.config.decay_at(self.updates);
        let share = (1.0 - decay) as f32;
        for (average, weight) in self.averages.iter_mut().zip(weights) {
            *average = approach(std::mem::replace(average, weight.clone()), weight, share);
        }
        decay
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
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn verdicts(losses: impl Iterator<Item = f64>, config: &WatchConfig) -> Vec<Verdict> {
        let mut watch = LossWatch::default();
        losses.map(|loss| watch.push(loss, config)).collect()
    }

    #[test]
    fn a_constant_loss_is_its_own_average_from_the_first_step() {
        let (mut watch, config) = (LossWatch::default(), WatchConfig::default());
        for _ in 0..100 {
            assert_eq!(watch.push(0.25, &config), Verdict::Fine);
            assert!((watch.smoothed() - 0.25).abs() < 1e-12);
        }
    }

    #[test]
    fn a_rising_loss_warns_once_and_then_stops() {
        let config = WatchConfig { smoothing: 0.5, patience: 5, ..WatchConfig::default() };
        let rising = (0..10).map(|_| 0.1).chain((1..12).map(|i| 0.1 * f64::from(1 << i)));
        let verdicts = verdicts(rising, &config);
        let warnings = verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Warn { .. })).count();
        assert_eq!(warnings, 1, "{verdicts:?}");
        assert!(matches!(verdicts.last(), Some(Verdict::Stop { .. })));
        let off = WatchConfig { warn_above: 0.0, stop_above: 0.0, ..config };
        let rising = (0..10).map(|_| 0.1).chain((1..12).map(|i| 0.1 * f64::from(1 << i)));
        assert!(self::verdicts(rising, &off).iter().all(|verdict| *verdict == Verdict::Fine));
    }

    #[test]
    fn it_goes_on_where_it_was_saved() {
        let config = WatchConfig::default();
        let (mut whole, mut cut) = (LossWatch::default(), LossWatch::default());
        for step in 0..60 {
            let loss = 1.0 / f64::from(step + 3);
            whole.push(loss, &config);
            cut = serde_json::from_str(&serde_json::to_string(&cut).unwrap()).unwrap();
            cut.push(loss, &config);
        }
        assert_eq!(whole, cut);
    }

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

    /// Seeded uniform numbers in `[-1, 1]`.
    fn noise(seed: u64) -> Tensor<1> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        Tensor::from_floats([(); 5].map(|()| rng.random_range(-1f32..1.0)), &Device::flex())
    }

    proptest! {
        #[test]
        fn an_average_stays_between_what_it_saw(seed in 0u64..1000, decay in 0f64..0.999) {
            let mut ema = Ema::new(EmaConfig { decay, ..EmaConfig::default() }, vec![noise(seed)]);
            let seen: Vec<Tensor<1>> = (1..6).map(|step| noise(seed + step)).collect();
            for (step, weights) in seen.iter().enumerate() {
                ema.update(std::iter::once(weights.clone()));
                let floats = |tensor: &Tensor<1>| tensor.to_data().iter::<f32>().collect::<Vec<_>>();
                let average = floats(&ema.averages[0]);
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
