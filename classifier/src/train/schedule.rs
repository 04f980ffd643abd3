//! Learning rate: linear warm-up, then a cosine or a constant.

use burn::lr_scheduler::{LrScheduler, LrSchedulerRecord};
use burn::optim::LearningRate;

use super::{LrShape, TrainConfig};

/// Warm-up and decay as a function of the optimiser step.
#[derive(Clone, Debug)]
pub struct WarmupSchedule {
    peak: f64,
    warmup: usize,
    steps: usize,
    shape: LrShape,
    step: usize,
}

impl WarmupSchedule {
    /// The schedule of a run, at step 0.
    #[must_use]
    pub fn new(config: &TrainConfig) -> Self {
        Self { peak: config.learning_rate, warmup: config.warmup_steps, steps: config.steps, shape: config.schedule, step: 0 }
    }

    /// Learning rate of step `step`, from 1.
    ///
    /// Warm-up: `peak * step / warmup`. Cosine: `peak / 2 * (1 + cos(pi * (step - warmup) / (steps - warmup)))`, which is 0 at
    /// the last step (SGDR, arXiv 1608.03983, eq. 5, one period).
    #[must_use]
    pub fn rate(&self, step: usize) -> f64 {
        if step < self.warmup {
            return self.peak * step as f64 / self.warmup as f64;
        }
        match self.shape {
            LrShape::Constant => self.peak,
            LrShape::Cosine => {
                let length = self.steps.saturating_sub(self.warmup).max(1) as f64;
                let share = ((step - self.warmup) as f64 / length).min(1.0);
                self.peak / 2.0 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}

impl LrScheduler for WarmupSchedule {
    fn step(&mut self) -> LearningRate {
        self.step += 1;
        self.rate(self.step)
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar("step", self.step as u64)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(step) = record.scalar::<u64>("step") {
            self.step = step as usize;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: LrShape) -> WarmupSchedule {
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
        let cosine = schedule(LrShape::Cosine);
        assert_eq!(cosine.rate(1), 0.01);
        assert_eq!(cosine.rate(10), 0.1);
        assert!((cosine.rate(60) - 0.05).abs() < 1e-12);
        assert!(cosine.rate(110).abs() < 1e-12);
        assert_eq!(schedule(LrShape::Constant).rate(110), 0.1);
    }

    #[test]
    fn a_record_continues_where_it_stopped() {
        let mut first = schedule(LrShape::Cosine);
        for _ in 0..37 {
            first.step();
        }
        let mut second = schedule(LrShape::Cosine);
        second.load_record(first.to_record());
        assert_eq!(first.step(), second.step());
    }
}
