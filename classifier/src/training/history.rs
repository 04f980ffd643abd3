//! The validations of a classifier's run, and which was the best.

use super::Selection;
use super::log::{BinnedLoss, Metric, RoundMetric, ValidMetric};

/// One validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// From 1.
    pub round: usize,
    /// Optimiser steps done.
    pub step: usize,
    /// Mean training loss over the round.
    pub train_loss: f64,
    /// Loss on validation.
    pub valid_loss: f64,
    /// Macro AUROC on validation; `None` if undefined.
    pub valid_macro_auroc: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Wall seconds of the round, validation included.
    pub seconds: f64,
    /// Seconds of the round that the trainer waited for data.
    pub waited: f64,
}

impl Round {
    /// The round that a line of `metrics.jsonl` tells of, if it does.
    fn of(metric: &Metric, steps_per_round: usize) -> Option<Self> {
        let Metric::Valid(ValidMetric { step, live, classifier: Some(round), .. }) = metric else { return None };
        let step = usize::try_from(*step).ok()?;
        let RoundMetric { macro_auroc, train_loss, learning_rate, seconds, waited } = *round;
        Some(Self {
            round: step.div_ceil(steps_per_round),
            step,
            train_loss,
            valid_loss: live.mean,
            valid_macro_auroc: macro_auroc,
            learning_rate,
            seconds,
            waited,
        })
    }

    /// Its line in `metrics.jsonl`.
    pub(super) fn metric(&self) -> ValidMetric {
        let Self { step, train_loss, valid_loss, valid_macro_auroc, learning_rate, seconds, waited, .. } = *self;
        let round = RoundMetric { macro_auroc: valid_macro_auroc, train_loss, learning_rate, seconds, waited };
        let live = BinnedLoss { mean: valid_loss, bins: Vec::new() };
        ValidMetric { step: step as u64, live, ema: None, classifier: Some(round) }
    }
}

/// The rounds of a run so far.
#[derive(Clone, Debug)]
pub struct History {
    select: Selection,
    rounds: Vec<Round>,
}

impl History {
    /// The rounds up to and including `last` of a run with these metrics: lines past the newest checkpoint belong to work that was
    /// lost.
    #[must_use]
    pub fn resume(metrics: &[Metric], select: Selection, steps_per_round: usize, last: usize) -> Self {
        let rounds = metrics.iter().filter_map(|metric| Round::of(metric, steps_per_round));
        Self { select, rounds: rounds.take_while(|round| round.round <= last).collect() }
    }

    /// Adds a round.
    pub fn push(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// All rounds.
    #[must_use]
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// The best round by the selection; the earliest of equals.
    #[must_use]
    pub fn best(&self) -> Option<&Round> {
        self.best_until(usize::MAX)
    }

    /// That of the rounds up to and including `last`.
    #[must_use]
    pub fn best_until(&self, last: usize) -> Option<&Round> {
        let better = |a: &Round, b: &Round| match self.select {
            Selection::MacroAuroc => a.valid_macro_auroc.unwrap_or(f64::MIN) > b.valid_macro_auroc.unwrap_or(f64::MIN),
            Selection::Loss => a.valid_loss < b.valid_loss,
            Selection::Last => true,
        };
        let rounds = self.rounds.iter().filter(|round| round.round <= last);
        rounds.reduce(|best, round| if better(round, best) { round } else { best })
    }

    /// Rounds since the best one.
    #[must_use]
    pub fn rounds_without_improvement(&self) -> usize {
        match (self.best(), self.rounds.last()) {
            (Some(best), Some(last)) => last.round - best.round,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(round: usize, auroc: f64, loss: f64) -> Round {
        Round {
            round,
            step: 10 * round,
            train_loss: loss,
            valid_loss: loss,
            valid_macro_auroc: Some(auroc),
            learning_rate: 1e-3,
            seconds: 1.0,
            waited: 0.0,
        }
    }

    #[test]
    fn the_best_round_is_the_selections() {
        for (select, best) in [(Selection::MacroAuroc, 2), (Selection::Loss, 1), (Selection::Last, 3)] {
            let mut history = History::resume(&[], select, 10, 0);
            for r in [round(1, 0.5, 0.1), round(2, 0.7, 0.2), round(3, 0.7, 0.3)] {
                history.push(r);
            }
            assert_eq!(history.best().unwrap().round, best);
            assert_eq!(history.best_until(1).unwrap().round, 1);
        }
    }

    #[test]
    fn resuming_forgets_what_lies_past_the_checkpoint() {
        let rounds = [round(1, 0.5, 0.1), round(2, 0.6, 0.2)];
        let metrics = rounds.map(|round| Metric::Valid(round.metric()));
        assert_eq!(History::resume(&metrics, Selection::Loss, 10, 1).rounds(), &rounds[..1]);
        assert_eq!(History::resume(&metrics, Selection::Loss, 10, 9).rounds(), rounds);
    }

    #[test]
    fn the_last_round_may_be_shorter() {
        let last = Round { step: 25, ..round(3, 0.5, 0.1) };
        assert_eq!(History::resume(&[Metric::Valid(last.metric())], Selection::Last, 10, 3).rounds(), [last]);
    }
}
