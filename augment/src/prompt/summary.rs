//! What became of the rows that prompts were made from.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Prompt, PromptKind};
use crate::Dropped;

/// Counts of rows by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSummary {
    /// Rows with a prompt.
    pub kept: usize,
    /// Those of them whose prompt is a report.
    pub reports: usize,
    /// Those of them whose prompt is template text.
    pub templates: usize,
    /// Rows without a prompt, by the rule that dropped them.
    pub dropped: BTreeMap<Dropped, usize>,
}

impl PromptSummary {
    /// Counts one more row.
    pub fn add(&mut self, prompt: &Result<Prompt, Dropped>) {
        match prompt {
            Ok(prompt) => {
                self.kept += 1;
                self.reports += usize::from(prompt.kind == PromptKind::Report);
                self.templates += usize::from(prompt.kind == PromptKind::Template);
            }
            Err(dropped) => *self.dropped.entry(*dropped).or_default() += 1,
        }
    }

    /// Rows without a prompt.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped.values().sum()
    }
}

impl fmt::Display for PromptSummary {
    /// `412 prompts: 400 from reports, 12 template text; 30 rows dropped: report too short 28, no report 2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} prompts: {} from reports, {} template text", self.kept, self.reports, self.templates)?;
        if self.dropped() > 0 {
            let rules = self.dropped.iter().map(|(rule, count)| format!("{rule} {count}"));
            write!(f, "; {} rows dropped: {}", self.dropped(), rules.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }
}
