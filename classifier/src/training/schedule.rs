//! Learning rates over the steps of a training run.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;
use serde::{Deserialize, Serialize};

use super::TrainConfig;

/// The course of a learning rate after a linear warm-up from 0, as a factor of its base.
///
/// Reference: diffusers 0.42.1, `optimization.py` (`get_scheduler`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearningRateSchedule {
    /// Stays at the base (`constant_with_warmup`).
    #[default]
    Constant,
    /// Falls in a straight line to 0 at the last step (`linear`).
    Linear,
    /// Falls along half a cosine to 0 (`cosine`; SGDR, arXiv 1608.03983, equation 5, one period).
    Cosine,
    /// Falls in a straight line to this rate, and stays there (`polynomial` with power 1, whose default is 1e-7).
    LinearTo {
        /// The rate at the end, in the unit of the base.
        end: f64,
    },
}

impl LearningRateSchedule {
    /// The factor at `step` of `total`, with `base` the rate that it is a factor of: `step / warmup` in the warm-up, which is 0 at
    /// step 0 and 1 at step `warmup`.
    ///
    /// The caller decides whether the first optimiser step is number 0, as in PyTorch, or 1: fine-tuning counts from 0, so that
    /// its first step with a warm-up changes nothing; classifiers count from 1.
    #[must_use]
    pub fn factor(self, step: u64, warmup: u64, total: u64, base: f64) -> f64 {
        let [at, warmup, total] = [step, warmup, total].map(|count| count as f64);
        if at < warmup {
            return at / warmup;
        }
        let progress = (at - warmup) / (total - warmup).max(1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => (1.0 - progress).max(0.0),
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Self::LinearTo { end } if at > total => end / base,
            Self::LinearTo { end } => ((base - end) * (1.0 - progress) + end) / base,
        }
    }
}

/// The learning rate of a classifier by optimiser step, as a burn scheduler.
#[derive(Clone, Debug)]
pub struct WarmupSchedule {
    peak: f64,
    warmup: u64,
    steps: u64,
    shape: LearningRateSchedule,
    step: u64,
}

impl WarmupSchedule {
    /// The schedule of a run, at step 0.
    #[must_use]
    pub fn new(config: &TrainConfig) -> Self {
        let (warmup, steps) = (config.warmup_steps as u64, config.steps as u64);
        Self { peak: config.learning_rate, warmup, steps, shape: config.schedule, step: 0 }
    }

    /// Learning rate of step `step`, from 1; after the last step, that of the last.
    #[must_use]
    pub fn rate(&self, step: u64) -> f64 {
        if step < self.warmup {
            // Multiplied first, which keeps the rounding of runs that earlier versions started.
            return self.peak * step as f64 / self.warmup as f64;
        }
        self.peak * self.shape.factor(step.min(self.steps.max(self.warmup)), self.warmup, self.steps, self.peak)
    }
}

impl LrScheduler for WarmupSchedule {
    fn step(&mut self) -> LearningRate {
        self.step += 1;
        self.rate(self.step)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>("step") {
            self.step = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn schedule(shape: LearningRateSchedule) -> WarmupSchedule {
        WarmupSchedule::new(&TrainConfig {
            learning_rate: 0.1,
            warmup_steps: 10,
            steps: 110,
            schedule: shape,
            ..TrainConfig::default()
        })
    }

    #[test]
    fn warms_up_and_decays_to_zero() {
        let cosine = schedule(LearningRateSchedule::Cosine);
        assert_eq!(cosine.rate(1), 0.01);
        assert_eq!(cosine.rate(10), 0.1);
        assert!((cosine.rate(60) - 0.05).abs() < 1e-12);
        assert!(cosine.rate(110).abs() < 1e-12);
        assert_eq!(cosine.rate(u64::MAX), cosine.rate(110));
        assert_eq!(schedule(LearningRateSchedule::Constant).rate(110), 0.1);
    }

    #[test]
    fn a_record_continues_where_it_stopped() {
        let mut first = schedule(LearningRateSchedule::Cosine);
        for _ in 0..37 {
            first.step();
        }
        let mut second = schedule(LearningRateSchedule::Cosine);
        second.load_record(first.to_record());
        assert_eq!(first.step(), second.step());
    }

    const ALL: [LearningRateSchedule; 4] = [
        LearningRateSchedule::Constant,
        LearningRateSchedule::Linear,
        LearningRateSchedule::Cosine,
        LearningRateSchedule::LinearTo { end: 1e-7 },
    ];

    proptest! {
        #[test]
        fn factors_rise_then_fall_within_0_and_1(warmup in 0u64..50, more in 1u64..200) {
            let total = warmup + more;
            for schedule in ALL {
                let factors: Vec<f64> = (0..=total).map(|step| schedule.factor(step, warmup, total, 5e-5)).collect();
                prop_assert!(factors.iter().all(|factor| (0.0..=1.0).contains(factor)), "{schedule:?} {factors:?}");
                let (rise, fall) = factors.split_at(warmup as usize);
                prop_assert!(rise.is_sorted() && fall.is_sorted_by(|a, b| a >= b), "{schedule:?} {factors:?}");
                prop_assert_eq!(fall[0], 1.0);
            }
        }

        /// The formula that earlier versions had for classifiers, bit for bit: a run that they started continues with the same
        /// rates.
        #[test]
        fn rates_of_classifiers_are_those_of_earlier_versions(warmup in 0usize..50, more in 0usize..200, peak in 1e-6f64..1.0) {
            let config = TrainConfig {
                learning_rate: peak, warmup_steps: warmup, steps: 1 + warmup / 2 + more, ..TrainConfig::default()
            };
            let schedule = WarmupSchedule::new(&config);
            for step in 1..=config.steps {
                let earlier = if step < warmup {
                    peak * step as f64 / warmup as f64
                } else {
                    let length = config.steps.saturating_sub(warmup).max(1) as f64;
                    let share = ((step - warmup) as f64 / length).min(1.0);
                    peak / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
                };
                prop_assert_eq!(schedule.rate(step as u64), earlier);
            }
        }
    }
}
