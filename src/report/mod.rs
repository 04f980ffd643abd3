//! The results of a comparison for people: `report.json`, a self-contained `report.html`, and tables for terminal and Markdown.

pub(crate) mod format;
pub(crate) mod html;
mod lookup;
#[cfg(test)]
mod mock;
mod outlook;
pub(crate) mod page;
mod plot;
mod sample_grid;
mod schema;
pub(crate) mod table;
mod verdict;

pub use html::render_html;
pub(crate) use outlook::FORWARD;
pub use outlook::{Outlook, Work};
pub use plot::{svg_forest, svg_losses};
pub use sample_grid::{GridColumn, GridImage, SampleGrid};
pub use schema::{
    AdherenceFinding, AdherenceReport, ArmReport, CalibrationPoint, ComparisonReport, DataCard, Difference, Estimate,
    FairnessArm, FairnessAttribute, FairnessGap, FairnessGroup, FairnessReport, FindingCount, FindingReport, Protocol,
    RunReport,
};
pub use table::{markdown_findings, markdown_table, terminal_table};
