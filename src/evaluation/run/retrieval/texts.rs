//! Texts that ask for images: what they ask for, and their embeddings.

use burn::tensor::Device;
use roentgen_augment::formats::{OwnColumns, PromptTable};
use roentgen_augment::record::{Finding, Label};

use crate::config::{EvaluationConfig, TextsConfig};
use crate::evaluation::features::FeatureNetwork;
use crate::evaluation::features::networks::ClipTexts;
use crate::evaluation::query::Embeddings;
use crate::evaluation::run::EvaluationError;

/// Texts with their embeddings.
#[derive(Debug)]
pub(in crate::evaluation::run) struct Texts {
    /// Place of the network in whose features they look.
    pub(in crate::evaluation::run) network: usize,
    pub(super) embeddings: Embeddings,
    /// What each asks for; nothing, for some.
    pub(super) findings: Vec<Vec<Finding>>,
    pub(super) source: String,
    /// Texts that are longer than the encoder sees.
    pub(super) cut: usize,
    /// What is doubtful.
    pub(in crate::evaluation::run) notes: Vec<String>,
}

/// The texts that the settings name, `None` without; `networks` are the settings'.
///
/// # Errors
/// [`EvaluationError::Config`] for a network that isn't clear; [`EvaluationError::Read`] for the table, [`EvaluationError::Query`] for the
/// embeddings, [`EvaluationError::Features`] for an encoder; [`EvaluationError::Texts`] for what doesn't fit together.
pub(in crate::evaluation::run) fn open(
    config: &EvaluationConfig,
    networks: &[Box<dyn FeatureNetwork>],
    device: &Device,
) -> Result<Option<Texts>, EvaluationError> {
    let (Some(files), Some(place)) = (&config.texts, config.network_of_texts()?) else { return Ok(None) };
    let table = PromptTable::read(&files.table, &OwnColumns::default())?;
    let requests = table.requests(1, 0)?;
    let asked = |labels: &[Label]| {
        let known = table.vocabulary.findings().iter().zip(labels);
        known.filter(|(_, label)| **label == Label::Positive).map(|(finding, _)| *finding).collect::<Vec<_>>()
    };
    let findings: Vec<Vec<Finding>> = requests.iter().map(|request| asked(&request.labels)).collect();
    if findings.iter().all(Vec::is_empty) {
        let what = "no text asks for a finding: give a column for each finding, 1 for the texts that ask for it".to_owned();
        return Err(EvaluationError::Texts { path: files.table.clone(), what });
    }
    let network = &networks[place];
    let (embeddings, source, cut) = match &files.embeddings {
        Some(path) => {
            let embeddings = Embeddings::open(path)?;
            check(files, &embeddings, findings.len(), network.as_ref())?;
            (embeddings, path.display().to_string(), 0)
        }
        None => {
            let choice = &config.networks[place];
            let encoder = ClipTexts::open(&choice.place.path(), device)?;
            let encoded = requests.iter().map(|request| encoder.embed(&request.prompt)).collect::<Result<Vec<_>, _>>()?;
            let cut = encoded.iter().filter(|(_, cut)| *cut > 0).count();
            let values = encoded.into_iter().flat_map(|(embedding, _)| embedding).collect();
            (Embeddings::new(network.width(), values)?, format!("the text tower of {choice}"), cut)
        }
    };
    let mut notes = table.notes().to_vec();
    let silent = findings.iter().filter(|findings| findings.is_empty()).count();
    if silent > 0 {
        notes.push(format!("{silent} of {} texts ask for no finding and are left out.", findings.len()));
    }
    if cut > 0 {
        notes
            .push(format!("{cut} of {} texts are longer than their encoder sees: their ends ask for nothing.", findings.len()));
    }
    Ok(Some(Texts { network: place, embeddings, findings, source, cut, notes }))
}

/// Refuses embeddings that are not one per text, of another network, or without a direction.
fn check(
    files: &TextsConfig,
    embeddings: &Embeddings,
    texts: usize,
    network: &dyn FeatureNetwork,
) -> Result<(), EvaluationError> {
    let rows = embeddings.rows();
    let path = files.embeddings.clone().unwrap_or_default();
    let what = if rows.len() != texts {
        let table = files.table.display();
        format!("{} embeddings for the {texts} texts of {table}: give one each, in the same order", rows.len())
    } else if rows.width() != network.width() {
        format!(
            "embeddings of {} numbers, and features of {} have {}: texts must be embedded in the space of these features, by the text tower \
             that belongs to the network, or name another with --text-network (`evaluation.texts.network`)",
            rows.width(),
            network.name(),
            network.width()
        )
    } else if let Some(row) = (0..rows.len()).find(|row| rows.row(*row).iter().all(|value| *value == 0.0)) {
        format!("the embedding of text {} is all 0: a cosine has no direction to go by", row + 1)
    } else {
        return Ok(());
    };
    Err(EvaluationError::Texts { path, what })
}
