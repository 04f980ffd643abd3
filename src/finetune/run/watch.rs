//! The smoothed loss, and whether it runs away.

use serde::{Deserialize, Serialize};

/// The `[watch]` table: when a run is told to be diverging, and when it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    /// Weight of the past in the smoothed loss, in [0, 1).
    pub smoothing: f64,
    /// Warn once the smoothed loss is this many times its best; 0 for never.
    pub warn_above: f64,
    /// Stop once it is this many times its best; 0 for never.
    pub stop_above: f64,
    /// Steps before either is judged: the first losses are a few samples'.
    pub patience: u64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self { smoothing: 0.98, warn_above: 2.0, stop_above: 20.0, patience: 20 }
    }
}

/// What the loss is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Nothing unusual.
    Fine,
    /// Far above its best for the first time since it was near.
    Warn {
        /// Smoothed loss over the best.
        ratio: f64,
    },
    /// So far above that going on is a waste.
    Stop {
        /// Smoothed loss over the best.
        ratio: f64,
    },
}

/// An exponential average of the losses, corrected for its start, with its best value. It is a part of every checkpoint; values are
/// stored as bits, since decimal text may not come back exactly.
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

#[cfg(test)]
mod tests {
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
        assert!(super::tests::verdicts(rising, &off).iter().all(|verdict| *verdict == Verdict::Fine));
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
}
