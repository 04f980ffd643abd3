//! What a comparison leaves behind for people: `report.json` and a self-contained `report.html`.

mod schema;

pub use schema::{
    ArmReport, ComparisonReport, DataCard, Difference, Estimate, FindingCount, FindingReport, Protocol, RunReport,
};
