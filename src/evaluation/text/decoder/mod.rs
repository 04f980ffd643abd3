//! A small decoder that writes a report from the features of an image: what an image says to a reader who learnt from real ones.
//!
//! It is trained here on (image, report) pairs, on frozen features of any network, and it is small: a few thousand pairs, a thousand words,
//! one recurrent layer. It is no radiologist and no published model of report generation. Its figures mean something only beside those of
//! the same decoder on real images, and beside those of its reports dealt to other images.
//!
//! B: images, T: words of the longest report, F: features, E: width of a word, H: width of the state, V: words of the vocabulary.

mod model;
#[cfg(test)]
mod tests;
mod train;
mod vocabulary;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use self::model::DecoderNet;
use self::vocabulary::WordVocabulary;
use crate::evaluation::Rows;

/// How a decoder is made and trained.
#[derive(Clone, Copy, Debug)]
pub struct DecoderSettings {
    /// Most pairs that are learnt from; of more, whole patients are drawn.
    pub most_reports: usize,
    /// Most words of the vocabulary, the most frequent ones; a word of one report alone is never one of them.
    pub most_words: usize,
    /// Most words of a report; the rest of a longer one is neither learnt nor written.
    pub longest: usize,
    /// E, also the width of what is made of an image.
    pub word_width: usize,
    /// H.
    pub state_width: usize,
    /// Most passes over the pairs.
    pub epochs: usize,
    /// Passes without a better loss on held-out patients after which it ends.
    pub patience: usize,
    /// Pairs of one step of AdamW.
    pub batch: usize,
    /// Its learning rate.
    pub learning_rate: f64,
    /// Of the first weights, the held-out patients and the order of the pairs.
    pub seed: u64,
}

impl Default for DecoderSettings {
    fn default() -> Self {
        Self {
            most_reports: 5_000,
            most_words: 1_000,
            longest: 80,
            word_width: 128,
            state_width: 256,
            epochs: 30,
            patience: 3,
            batch: 32,
            learning_rate: 2e-3,
            seed: 0,
        }
    }
}

/// What a decoder learns from: three lists with one entry per image.
#[derive(Clone, Copy, Debug)]
pub struct Pairs<'a> {
    /// Features of the images, F each.
    pub features: Rows<'a>,
    /// Their reports, cleaned.
    pub reports: &'a [String],
    /// Whom they show.
    pub patients: &'a [&'a str],
}

/// How a decoder came about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DecoderCard {
    /// Pairs that it was trained on.
    pub trained_on: usize,
    /// Pairs of other patients, on which training was ended.
    pub held_out: usize,
    /// Pairs that there are beyond [`DecoderSettings::most_reports`].
    pub not_used: usize,
    /// Reports that are longer than [`DecoderSettings::longest`].
    pub cut: usize,
    /// Words of the vocabulary.
    pub words: usize,
    /// Share of the words of held-out reports that the vocabulary has.
    pub known: f64,
    /// Numbers that were trained.
    pub parameters: usize,
    /// Passes over the pairs.
    pub epochs: usize,
    /// The one whose weights are kept, from 1.
    pub best_epoch: usize,
    /// Its cross-entropy on held-out pairs, in nats per word.
    pub held_out_loss: f64,
}

/// Why there is no decoder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderError {
    /// Lists of different lengths.
    #[error("{images} images, {reports} reports and {patients} patients; give one of each per image, in the same order")]
    Unequal {
        /// Rows of features.
        images: usize,
        /// Reports.
        reports: usize,
        /// Patients.
        patients: usize,
    },
    /// Too little to learn from.
    #[error(
        "{reports} (image, report) pairs of {patients} patients are too few for a report decoder; it needs {} pairs of {}",
        train::FEWEST_REPORTS,
        train::FEWEST_PATIENTS
    )]
    TooFew {
        /// Pairs.
        reports: usize,
        /// Patients.
        patients: usize,
    },
    /// No word is in two reports.
    #[error("no word is in two of the {reports} training reports; check the column of reports")]
    NoWords {
        /// Reports.
        reports: usize,
    },
    /// Training got lost.
    #[error("the loss of the report decoder is {loss} in epoch {epoch}; check the features of the training images")]
    Diverged {
        /// Epoch, from 1.
        epoch: usize,
        /// Its loss.
        loss: f64,
    },
    /// Features of another network.
    #[error("images have {found} features, the report decoder was trained on {expected}")]
    Width {
        /// F of the decoder.
        expected: usize,
        /// Features of the images.
        found: usize,
    },
}

/// A trained decoder.
#[derive(Debug)]
pub struct ReportDecoder {
    net: DecoderNet,
    vocabulary: WordVocabulary,
    scale: Scale,
    settings: DecoderSettings,
    device: Device,
    card: DecoderCard,
}

impl ReportDecoder {
    /// How it came about.
    #[must_use]
    pub fn card(&self) -> &DecoderCard {
        &self.card
    }

    /// Writes a report for every image: at each place the most probable word. Equal features give equal reports.
    ///
    /// # Errors
    /// [`DecoderError::Width`].
    pub fn read(&self, features: Rows<'_>) -> Result<Vec<String>, DecoderError> {
        if features.width() != self.scale.mean.len() {
            return Err(DecoderError::Width { expected: self.scale.mean.len(), found: features.width() });
        }
        let images: Vec<usize> = (0..features.len()).collect();
        let mut reports = Vec::with_capacity(images.len());
        for images in images.chunks(self.settings.batch) {
            let written = self.net.write(self.scale.tensor(features, images, &self.device), self.settings.longest);
            reports.extend(written.iter().map(|words| self.vocabulary.text(words)));
        }
        Ok(reports)
    }
}

/// Mean and deviation of each feature over the training images.
#[derive(Clone, Debug)]
struct Scale {
    mean: Vec<f32>,
    deviation: Vec<f32>,
}

/// Features beyond this many deviations are cut: one image that is unlike all others would drown the rest.
const MOST_DEVIATIONS: f32 = 10.0;

impl Scale {
    fn new(features: Rows<'_>, images: &[usize]) -> Self {
        let count = images.len().max(1) as f64;
        let (mut sums, mut squares) = (vec![0.0; features.width()], vec![0.0; features.width()]);
        for &image in images {
            for (sum, value) in sums.iter_mut().zip(features.row(image)) {
                *sum += f64::from(*value) / count;
            }
        }
        for &image in images {
            for ((square, mean), value) in squares.iter_mut().zip(&sums).zip(features.row(image)) {
                *square += (f64::from(*value) - mean).powi(2) / count;
            }
        }
        // A feature that never changes says nothing: it becomes 0.
        let deviation = |square: f64| if square > 0.0 { square.sqrt() as f32 } else { f32::INFINITY };
        Self {
            mean: sums.into_iter().map(|mean| mean as f32).collect(),
            deviation: squares.into_iter().map(deviation).collect(),
        }
    }

    /// Scaled features `[B, F]` of these images.
    fn tensor(&self, features: Rows<'_>, images: &[usize], device: &Device) -> Tensor<2> {
        let scaled = |image: &usize| {
            let parts = features.row(*image).iter().zip(&self.mean).zip(&self.deviation);
            parts.map(|((value, mean), deviation)| ((value - mean) / deviation).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS))
        };
        let values: Vec<f32> = images.iter().flat_map(scaled).collect();
        Tensor::from_data(TensorData::new(values, [images.len(), features.width()]), device)
    }
}
