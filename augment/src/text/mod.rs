//! Reports and what is made of them: their sections and sentences, labels read from them by rule, and prompts for a generator, cleaned or
//! made by rule.

mod labeler;
mod prompt;
mod report;
mod template;

pub use labeler::{Evidence, Labeler, Labelling, PhraseFault, RulesError, Source};
pub use prompt::{Prompt, PromptFrom, PromptKind, PromptSettings, PromptSummary, PromptedRow, PromptedRows, template_prompts};
pub use report::{Dropped, Marks, Part, ReportCleaning, Section, Sections, TakenFrom, Title, sentences};
