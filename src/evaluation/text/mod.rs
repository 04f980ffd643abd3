//! How near generated reports come to the real ones: words (BLEU, ROUGE), findings, entities.
//!
//! Words measure wording: a report that says the same in other words scores low, and one that leaves out a "no" scores high. Read the
//! findings' F1 first. Every figure is one of a reference implementation, named with it, since BLEU alone has three common readings that
//! differ by ten points on the same texts.

mod bleu;
mod decoder;
mod entities;
mod error;
mod findings;
mod given;
mod report;
mod rouge;
mod words;

pub use bleu::{Bleu, BleuCounts, BleuTokens, NltkCounts};
pub use decoder::{DecoderCard, DecoderError, DecoderSettings, Pairs, ReportDecoder};
pub use entities::{Entities, Entity, EntityF1, Overlap, entity_f1, read_entities};
pub use error::TextError;
pub use findings::{FIVE, FindingsF1, UncertainAs, findings_f1, label_reports};
pub use given::{GivenReport, read_reports};
pub use report::{ReportText, TextFigure, TextOptions, report_text};
pub use rouge::{MOST_TOKENS, Rouge, RougeScore};
