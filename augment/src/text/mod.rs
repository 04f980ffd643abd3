//! Text that conditions a generator: cleaned reports, and template text made by rule.

mod prompt;
mod report;
mod template;

pub use prompt::{Prompt, PromptFrom, PromptKind, PromptSettings, PromptSummary, PromptedRow, PromptedRows, template_prompts};
pub use report::{Dropped, ReportCleaning, Section};
