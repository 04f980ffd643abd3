//! Whether images show what was asked for, by a classifier that knows radiographs.
//!
//! A classifier scores the synthetic images, and the labels they were asked for are the targets ([`judge`](judge())): an AUROC of 1 says that
//! every image that was asked to show a finding scores above every other. The same classifier on real images is the upper row: it can't be
//! read without, as no classifier reaches 1 on those either. Sex, age and view are asked for too ([`agreements`]).
//!
//! What it can't tell: a classifier that is fooled by what the generator exaggerates agrees with it. Labels that come from a report are no
//! truth either.

mod agreement;
mod heads;
mod judge;
mod question;
mod report;
mod scores;
mod table;

pub use agreement::{Columns, agreements};
pub use heads::same_finding;
pub use judge::{CorrectnessSettings, Judged, judge};
pub use question::Question;
pub use report::{
    Averages, ColumnAgreement, CorrectnessError, CorrectnessReport, Decisions, FindingCorrectness, SetCorrectness,
    ValueAgreement,
};
pub use scores::{FEWEST, blank_rare};
