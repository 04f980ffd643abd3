//! Retrieval as a task: an image or a text asks for its like among many images.
//!
//! Queries may be synthetic images and candidates real ones: whether a synthetic image of a finding is surrounded by radiographs with that
//! finding. Real queries on the same candidates are the upper row, and the share of the candidates that have the finding is what chance
//! finds.
//!
//! [`by_category`] asks for one category at a time, as CheXpert 8x200 does (Zhang et al., "Contrastive learning of medical visual
//! representations from paired images and text", arXiv 2010.00747), whose sets [`Protocol`] draws; [`by_label_set`] asks for images with the
//! same labels throughout; [`between_sets`] does both for a synthetic set, with the upper row.

mod category;
mod embeddings;
mod label_set;
mod protocol;
mod report;
mod resample;
mod sets;

pub use category::{CategoryQueries, QuerySettings, by_category};
pub use embeddings::Embeddings;
pub use label_set::{LabelSetQueries, by_label_set};
pub use protocol::{Draw, Protocol};
pub use report::{CategoryPrecision, LabelSetReport, QueryError, QueryReport};
pub use sets::{SetRetrieval, between_sets};
