//! `metrics.jsonl`: one line a round, and what it says of the best one.

use std::io::Write;
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use serde::{Deserialize, Serialize};

use super::Selection;
use crate::ClassifierError;

/// One validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// The rounds of a run so far, mirrored in `metrics.jsonl`.
#[derive(Clone, Debug)]
pub struct History {
    path: PathBuf,
    select: Selection,
    rounds: Vec<Round>,
}

impl History {
    /// The rounds in `folder`, up to and including `last_round`: lines past the newest checkpoint belong to work that was lost.
    ///
    /// # Errors
    /// [`ClassifierError::Io`] if the file can't be read; a line that is no round ends the history (a torn last line).
    pub fn resume(folder: &Path, select: Selection, last_round: usize) -> Result<Self, ClassifierError> {
        let path = folder.join("metrics.jsonl");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(ClassifierError::Io { action: "read", path, source }),
        };
        let rounds = text.lines().map_while(|line| serde_json::from_str::<Round>(line).ok());
        let rounds = rounds.take_while(|round| round.round <= last_round).collect();
        Ok(Self { path, select, rounds })
    }

    /// Adds a round and rewrites the file atomically.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn push(&mut self, round: Round) -> Result<(), ClassifierError> {
        self.rounds.push(round);
        let write = write_atomic(&self.path, |file| {
            for round in &self.rounds {
                let line = serde_json::to_string(round).expect("a round is plain numbers");
                writeln!(file, "{line}")?;
            }
            Ok(())
        });
        write.map_err(|source| ClassifierError::Io { action: "write", path: self.path.clone(), source })
    }

    /// All rounds.
    #[must_use]
    pub fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// The round that the selection prefers; the earliest of equals.
    #[must_use]
    pub fn best(&self) -> Option<&Round> {
        let better = |a: &Round, b: &Round| match self.select {
            Selection::MacroAuroc => a.valid_macro_auroc.unwrap_or(f64::MIN) > b.valid_macro_auroc.unwrap_or(f64::MIN),
            Selection::Loss => a.valid_loss < b.valid_loss,
            Selection::Last => true,
        };
        self.rounds.iter().reduce(|best, round| if better(round, best) { round } else { best })
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
        let folder = tempfile::tempdir().unwrap();
        for (select, best) in [(Selection::MacroAuroc, 2), (Selection::Loss, 1), (Selection::Last, 3)] {
            let mut history = History::resume(folder.path(), select, 0).unwrap();
            for r in [round(1, 0.5, 0.1), round(2, 0.7, 0.2), round(3, 0.7, 0.3)] {
                history.push(r).unwrap();
            }
            assert_eq!(history.best().unwrap().round, best);
        }
    }

    #[test]
    fn resuming_forgets_what_lies_past_the_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::resume(folder.path(), Selection::Loss, 0).unwrap();
        for r in [round(1, 0.5, 0.1), round(2, 0.6, 0.2)] {
            history.push(r).unwrap();
        }
        std::fs::write(&history.path, std::fs::read_to_string(&history.path).unwrap() + "{\"round\": 3, \"st").unwrap();
        assert_eq!(History::resume(folder.path(), Selection::Loss, 1).unwrap().rounds(), &history.rounds()[..1]);
        assert_eq!(History::resume(folder.path(), Selection::Loss, 9).unwrap().rounds(), history.rounds());
    }
}
