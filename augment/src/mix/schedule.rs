//! Mixtures that change over the epochs.

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::mix::{EpochCounts, MixMode};

/// Most epochs of a phase; more is considered a mistake.
const MAX_EPOCHS: usize = 1_000_000;

/// Some epochs of one mode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// How many epochs it lasts, from 1. The last phase lasts for ever, whatever this number is.
    #[serde(default = "one")]
    pub epochs: usize,
    /// What its epochs are made of.
    pub mode: MixMode,
}

fn one() -> usize {
    1
}

/// Phases in their order; the last one lasts for ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schedule(pub Vec<Phase>);

/// A run of epochs of one mode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    /// First epoch.
    pub start: u64,
    /// Number of epochs; `None` for the last phase.
    pub epochs: Option<u64>,
    pub mode: MixMode,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::constant(MixMode::default())
    }
}

impl Schedule {
    /// One mode for ever.
    #[must_use]
    pub fn constant(mode: MixMode) -> Self {
        Self(vec![Phase { epochs: 1, mode }])
    }

    /// Replaces a share of the real images that goes in equal steps from `from` in epoch 0 to `to` in epoch `epochs - 1`, and
    /// stays there.
    #[must_use]
    pub fn ramp(from: f64, to: f64, epochs: usize) -> Self {
        let last = epochs.saturating_sub(1).max(1) as f64;
        let fraction = |epoch: usize| from + (to - from) * epoch as f64 / last;
        Self(
            (0..epochs.max(1)).map(|epoch| Phase { epochs: 1, mode: MixMode::Replace { fraction: fraction(epoch) } }).collect(),
        )
    }

    /// The mode of an epoch, counted from 0.
    ///
    /// # Panics
    /// If the schedule has no phase.
    #[must_use]
    pub fn mode(&self, epoch: usize) -> MixMode {
        let epoch = epoch as u64;
        let covers = |span: &Span| span.epochs.is_none_or(|epochs| epoch - span.start < epochs);
        self.spans().find(covers).expect("the last phase has no end").mode
    }

    /// The phases with the epochs they cover.
    pub(crate) fn spans(&self) -> impl Iterator<Item = Span> {
        let mut start = 0;
        self.0.iter().enumerate().map(move |(i, phase)| {
            let epochs = (i + 1 < self.0.len()).then_some(phase.epochs as u64);
            let span = Span { start, epochs, mode: phase.mode };
            start += epochs.unwrap_or(0);
            span
        })
    }

    /// The sum of `count` over the epochs before `epoch`.
    pub(crate) fn sum_before(&self, epoch: usize, real: usize, count: impl Fn(EpochCounts) -> usize) -> u64 {
        let epoch = epoch as u64;
        let epochs = |span: Span| epoch.saturating_sub(span.start).min(span.epochs.unwrap_or(u64::MAX));
        self.spans().map(|span| epochs(span) * count(span.mode.counts(real)) as u64).sum()
    }

    pub(crate) fn validate(&self) -> Result<(), AugmentError> {
        let bad = |key: String, found: &str, expected| Err(AugmentError::BadMixture { key, found: found.to_owned(), expected });
        let Some(last) = self.0.len().checked_sub(1) else {
            return bad("phases".to_owned(), "empty", "at least one phase");
        };
        for (i, phase) in self.0.iter().enumerate() {
            if phase.epochs == 0 && i < last {
                return bad(format!("phases[{i}].epochs"), "0", "at least 1, or leave the phase out");
            }
            if phase.epochs > MAX_EPOCHS && i < last {
                return bad(format!("phases[{i}].epochs"), &phase.epochs.to_string(), "at most 1000000");
            }
            phase.mode.validate(&format!("phases[{i}]."))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic_then_real() -> Schedule {
        let synthetic = MixMode::Synthetic { size: 30 };
        Schedule(vec![
            Phase { epochs: 3, mode: synthetic },
            Phase { epochs: 2, mode: MixMode::Replace { fraction: 0.5 } },
            Phase { epochs: 1, mode: MixMode::RealOnly },
        ])
    }

    #[test]
    fn the_last_phase_lasts_for_ever() {
        let schedule = synthetic_then_real();
        let sizes: Vec<_> = (0..8).map(|epoch| schedule.mode(epoch).counts(10).synthetic).collect();
        assert_eq!(sizes, [30, 30, 30, 5, 5, 0, 0, 0]);
        assert_eq!(schedule.mode(1_000_000), MixMode::RealOnly);
    }

    #[test]
    fn sums_agree_with_counting() {
        let schedule = synthetic_then_real();
        for epoch in 0..12 {
            let counted: usize = (0..epoch).map(|e| schedule.mode(e).counts(10).len()).sum();
            assert_eq!(schedule.sum_before(epoch, 10, EpochCounts::len), counted as u64);
        }
    }

    #[test]
    fn a_ramp_reaches_its_ends() {
        let ramp = Schedule::ramp(1.0, 0.0, 5);
        let share = |epoch| ramp.mode(epoch).counts(100).synthetic;
        assert_eq!((0..7).map(share).collect::<Vec<_>>(), [100, 75, 50, 25, 0, 0, 0]);
    }

    #[test]
    fn a_phase_of_no_epochs_is_refused() {
        let mut schedule = synthetic_then_real();
        schedule.0[1].epochs = 0;
        assert!(schedule.validate().unwrap_err().to_string().contains("phases[1].epochs"));
        schedule.0[1].epochs = usize::MAX;
        assert!(schedule.validate().unwrap_err().to_string().contains("phases[1].epochs is 18446744073709551615"));
        assert!(Schedule(Vec::new()).validate().unwrap_err().to_string().contains("at least one phase"));
        assert!(Schedule::ramp(0.0, 2.0, 3).validate().unwrap_err().to_string().contains("phases[2].fraction is 2"));
    }
}
