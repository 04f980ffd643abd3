//! What a text encoder knows of findings, before and after fine-tuning: probes on frozen embeddings, out of fold.
//!
//! RoentGen (Chambon et al. 2022, arXiv 2211.12737) reports that fine-tuning the text encoder improved the representation of some findings,
//! "+25 % for pneumothorax". This is that experiment with its intervals: each text becomes one embedding by the encoder before and by the
//! one after; for each finding a small classifier is fitted on either, on folds grouped by patient; what it scores on the fold that it did
//! not see is judged, and the two are compared on resampled patients, in absolute and in relative terms.
//!
//! | file | what it holds |
//! |---|---|
//! | `texts`, `template` | what is read, whose it is, its labels; whether it is template text |
//! | `encoder`, `store` | one embedding per text; kept on disk |
//! | `fit` | folds by patient, the two probes, and what they score on texts that they did not see |
//! | `measure` | what the scores are worth, before and after |
//! | `run`, `report`, `page`, `table` | the whole, and what is written |

mod encoder;
mod error;
mod fit;
mod measure;
mod page;
mod report;
mod run;
mod store;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod texts;

pub use encoder::{Embedding, FrozenEncoder, Pooling};
pub use error::ProbeError;
pub use fit::{FitConfig, ProbeKind};
pub use measure::{Change, Figures, Quantity};
pub use page::render_page;
pub use report::{EncoderCard, FindingOutcome, Identical, ProbeReport, Settings, TextCard};
pub use run::{FEWEST_IN_FOLD, Prepared, ProbeConfig, ProbeOutcome, check_folder, usual_blank};
pub use table::render_table;
pub(in crate::evaluation) use template::is_list_of_labels;
pub use texts::{LabelSource, ProbeText, TextSet};
