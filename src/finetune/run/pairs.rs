//! Radiographs with their texts, from which a generator learns.

use std::sync::Arc;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, HeldOut, Row, Splits, TrainSet};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::record::{CxrRecord, Origin, Split};
use roentgen_augment::text::{Prompt, PromptSettings, PromptSummary};

use super::error::RunError;
use crate::run_folder::{DataRecord, RecordedRow, stamp};

/// One image with its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Its row in the data set.
    pub row: usize,
    /// The text.
    pub prompt: Arc<str>,
    /// Digest of the image as decoded.
    pub image: Fingerprint,
}

/// The pairs of one split.
#[derive(Clone, Debug)]
pub struct PairSet {
    data: CxrDataset,
    split: Split,
    pairs: Vec<Pair>,
    /// Size and time of each image's file.
    stamps: Vec<String>,
}

/// How pairs are made from rows.
pub struct Pairing<'a> {
    /// How texts are made.
    pub prompts: &'a PromptSettings,
    /// Tokens of a text as the text encoder sees it, begin and end included.
    pub count: &'a dyn Fn(&str) -> usize,
    /// Records of earlier starts: images whose files have not changed since are not read again.
    pub known: &'a DataRecord,
    /// Called after each image.
    pub progress: &'a (dyn Fn() + Sync),
}

impl PairSet {
    /// The pairs to train on. They come from a [`TrainSet`], whose patients are in no other split, and, if the splits that it is of
    /// are given, from their synthetic rows.
    ///
    /// # Errors
    /// [`RunError::Image`] for an image that can't be read; [`RunError::NoPrompts`] if no row has a text; as
    /// [`Splits::with_synthetic`].
    pub fn training(
        train: &TrainSet,
        synthetic: Option<&Splits>,
        pairing: &Pairing<'_>,
    ) -> Result<(Self, PromptSummary), RunError> {
        let data = match synthetic {
            Some(splits) => splits.with_synthetic(train)?,
            None => train.data().clone(),
        };
        let held_out = train.held_out_patients();
        let is_held_out = |row: &Row| row.record.patients().any(|id| held_out.contains(id));
        assert!(!data.rows().iter().any(is_held_out), "no held-out patient is in a training set");
        Self::new(&data, Split::Train, pairing)
    }

    /// The first `images` pairs of a held-out split, to measure the loss on.
    ///
    /// # Errors
    /// As [`training`](Self::training).
    pub fn held_out(set: &HeldOut, images: usize, pairing: &Pairing<'_>) -> Result<(Self, PromptSummary), RunError> {
        let rows: Vec<usize> = (0..set.data().rows().len().min(images)).collect();
        Self::new(&set.data().select(&rows), set.split(), pairing)
    }

    fn new(data: &CxrDataset, split: Split, pairing: &Pairing<'_>) -> Result<(Self, PromptSummary), RunError> {
        let mut summary = PromptSummary::default();
        let mut prompted = Vec::new();
        for (row, entry) in data.rows().iter().enumerate() {
            let prompt = match own_prompt(&entry.record) {
                Some(prompt) => Ok(prompt),
                None => pairing.prompts.prompt(&entry.record, data.vocabulary(), pairing.count),
            };
            summary.add(&prompt);
            prompted.extend(prompt.ok().map(|prompt| (row, Arc::<str>::from(prompt.text))));
        }
        if prompted.is_empty() {
            return Err(no_prompts(split, &summary));
        }
        let rows: Vec<usize> = prompted.iter().map(|(row, _)| *row).collect();
        let looked_at = digests(data, split, &rows, pairing)?;
        let (stamps, images): (Vec<_>, Vec<_>) = looked_at.into_iter().unzip();
        let pair = |((row, prompt), image)| Pair { row, prompt, image };
        let pairs = prompted.into_iter().zip(images).map(pair).collect();
        Ok((Self { data: data.clone(), split, pairs, stamps }, summary))
    }

    /// The pairs in order.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The data set that the rows are of.
    #[must_use]
    pub fn data(&self) -> &CxrDataset {
        &self.data
    }

    /// The record that a later start compares with.
    #[must_use]
    pub fn record(&self) -> Vec<RecordedRow> {
        let recorded = |(pair, stamp): (&Pair, &String)| RecordedRow {
            split: self.split,
            id: self.data.record(pair.row).id.clone(),
            stamp: stamp.clone(),
            image: pair.image.to_string(),
            row: pair.prompt.to_string(),
        };
        self.pairs.iter().zip(&self.stamps).map(recorded).collect()
    }
}

/// The prompt that a synthetic image was made from.
fn own_prompt(record: &CxrRecord) -> Option<Prompt> {
    let Origin::Synthetic(provenance) = &record.origin else { return None };
    let request = &provenance.request;
    (!request.prompt.is_empty()).then(|| Prompt { text: request.prompt.clone(), kind: request.prompt_kind })
}

/// The stamp and digest of each row's image.
fn digests(
    data: &CxrDataset,
    split: Split,
    rows: &[usize],
    pairing: &Pairing<'_>,
) -> Result<Vec<(String, Fingerprint)>, AugmentError> {
    let (known, progress) = (pairing.known, pairing.progress);
    let look = |row: &usize| {
        let stamp = data.file(*row).map(stamp).unwrap_or_default();
        let id = &data.record(*row).id;
        let digest = match known.digest(split, id, &stamp) {
            Some(digest) => digest,
            None => data.decode(*row)?.digest(),
        };
        progress();
        Ok((stamp, digest))
    };
    // The error of the first failing row wins, whichever thread was first.
    let found: Vec<_> = rows.par_iter().map(look).collect();
    found.into_iter().collect()
}

fn no_prompts(split: Split, summary: &PromptSummary) -> RunError {
    let reasons: Vec<String> = summary.dropped.iter().map(|(rule, count)| format!("{rule}: {count}")).collect();
    RunError::NoPrompts { split, rows: summary.dropped(), reasons: reasons.join(", ") }
}
