//! Text that conditions a generator: reports made fit to be prompts, and template text made by rule.

mod prompt;
mod report;
mod template;

pub use prompt::{Prompt, PromptFrom, PromptKind, PromptSettings, PromptSummary, PromptedRow, PromptedRows, template_prompts};
pub use report::{Dropped, ReportCleaning, Section};
