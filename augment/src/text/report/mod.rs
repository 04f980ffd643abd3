//! Reports of radiologists: their sections, their sentences, and their words without what no image shows.

mod cleaning;
mod sections;
mod sentences;

pub use cleaning::{Dropped, Marks, ReportCleaning, Section, TakenFrom};
pub use sections::{Part, Sections, Title};
pub use sentences::sentences;
