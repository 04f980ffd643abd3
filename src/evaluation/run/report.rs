//! `evaluation.json`: all figures of an evaluation, as numbers.

use serde::{Deserialize, Serialize};

use super::lpips::LpipsReport;
use super::reports::ReportsReport;
use super::retrieval::NetworkRetrieval;
use crate::config::EvaluationConfig;
use crate::evaluation::correctness::{ColumnAgreement, CorrectnessReport};
use crate::evaluation::memorisation::{Pair, SpaceReport};
use crate::report::FairnessReport;

/// One evaluation of synthetic images beside real ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Version of `roentgen` that wrote it.
    pub version: String,
    /// The benchmark whose conventions hold, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub benchmark: Option<String>,
    /// What was asked for.
    pub settings: EvaluationConfig,
    /// The real images: the reference of every figure.
    pub real: SetReport,
    /// The synthetic images.
    pub synthetic: SetReport,
    /// Images of the synthetic set whose pixels are those of a real image, one by one.
    pub copies: usize,
    /// How near the sets are, one entry per network.
    pub fidelity: Vec<NetworkFidelity>,
    /// How varied the images are as pictures.
    pub diversity: DiversityReport,
    /// Whether images and texts find what they ask for, one entry per network.
    #[serde(default)]
    pub retrieval: Vec<NetworkRetrieval>,
    /// Whether the images show what they were asked for, one entry per judge.
    #[serde(default)]
    pub correctness: Vec<JudgeReport>,
    /// Whether they are copies of what the generator was trained on: in pixels, then by each network. Empty without a training set.
    #[serde(default)]
    pub memorisation: Vec<CopiesReport>,
    /// Whether images say what their reports do: reports of files, then of the decoder on each network. Empty where neither was asked for.
    #[serde(default)]
    pub reports: Vec<ReportsReport>,
    /// What a reader must know before quoting a number.
    pub warnings: Vec<String>,
}

/// What a classifier says of the images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JudgeReport {
    /// The classifier.
    pub weights: String,
    /// How images were prepared.
    pub preparation: String,
    /// Against the labels that they were asked for, beside real images.
    pub correctness: Option<CorrectnessReport>,
    /// Why there is nothing to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// Against the sex, age and view that they were asked for, where an output is named after one (`Sex=F`).
    #[serde(default)]
    pub agreements: Vec<ColumnAgreement>,
    /// The same by sex, age, view and race: of the synthetic images and of the real ones, where they record any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<FairnessReport>,
}

/// How near the images are to those of the training set.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CopiesReport {
    /// `pixels`, or the network.
    pub by: String,
    /// All figures.
    pub found: SpaceReport,
    /// The closest pairs.
    pub closest: Vec<Pair>,
}

/// A set of images, as it was read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SetReport {
    /// Where it is from.
    pub name: String,
    /// Images.
    pub images: usize,
    /// Images whose pixels no earlier one has.
    pub distinct: usize,
    /// Images that name a patient, or a source that has one.
    pub with_patient: usize,
    /// Columns and rows of the images, and how many have them; the most frequent first, at most ten.
    pub sizes: Vec<SizeCount>,
    /// How many sizes there are.
    pub size_count: usize,
    /// Images that aren't gray.
    pub coloured: usize,
    /// Mean over the images of each pixel's largest channel less its smallest, in gray levels of 255.
    pub channel_spread: f64,
}

/// Images of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCount {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Images.
    pub images: usize,
}

/// How near the sets are in the features of one network.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NetworkFidelity {
    /// The network.
    pub network: String,
    /// The weights that were given.
    pub weights: String,
    /// How images were prepared.
    pub preparation: String,
    /// Features per image.
    pub width: usize,
    /// Digest of weights and preparation: figures are comparable only where it is equal.
    pub fingerprint: String,
    /// Of all images.
    pub overall: FidelityRow,
    /// Of the images of each finding.
    pub findings: Vec<FidelityRow>,
}

/// The figures of one group of images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FidelityRow {
    /// The finding that its images show or were asked to show; `None` for all images.
    pub finding: Option<String>,
    /// Real images.
    pub real: usize,
    /// Synthetic images.
    pub synthetic: usize,
    /// Images on each side where sets are halved; 0 if they weren't.
    pub half: usize,
    /// Images on each side of all figures but FID, where that is less than there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<usize>,
    /// Why there is no figure, or why single ones are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undefined: Vec<String>,
    /// Fréchet distance. Lower is nearer.
    pub fid: Option<Figure>,
    /// Kernel distance (unbiased MMD², all images). Lower is nearer.
    pub kid: Option<Figure>,
    /// Share of the synthetic images that lie among the real ones.
    pub precision: Option<Figure>,
    /// Share of the real images that lie among the synthetic ones.
    pub recall: Option<Figure>,
    /// How densely real images lie around the synthetic ones; 1 where both sets are alike.
    pub density: Option<Figure>,
    /// Share of the real images that have a synthetic one near.
    pub coverage: Option<Figure>,
    /// How many images that have nothing in common the synthetic ones are worth (Vendi score); the floor is that of real images.
    pub vendi: Option<Figure>,
}

impl FidelityRow {
    /// Its figures by their names, in the order of tables.
    #[must_use]
    pub fn figures(&self) -> [(&'static str, &Option<Figure>); 7] {
        [
            ("FID", &self.fid),
            ("KID", &self.kid),
            ("Precision", &self.precision),
            ("Recall", &self.recall),
            ("Density", &self.density),
            ("Coverage", &self.coverage),
            ("Vendi", &self.vendi),
        ]
    }
}

/// A figure with what it has to be read beside.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Of all images of the group.
    pub value: f64,
    /// Lower and upper end of the 95 % interval: the value, and 1.96 times the deviation of the figure over half samples on either side.
    pub interval: Option<[f64; 2]>,
    /// Real half against as many synthetic images, over the splits.
    pub at_half: Option<Spread>,
    /// Real half against the other real half, over the same splits: what the figure is where nothing differs but the people.
    pub floor: Option<Spread>,
}

/// Mean and standard deviation of a figure over splits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation over n - 1.
    pub deviation: f64,
}

impl Spread {
    /// Of these values; `None` for fewer than two.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
        (values.len() > 1).then(|| Self { mean, deviation: (squares / (count - 1.0)).sqrt() })
    }
}

/// How varied the images are as pictures: MS-SSIM, lower where they differ more, and LPIPS, higher where they do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DiversityReport {
    /// Among synthetic images of one prompt.
    pub intra_prompt: Measured,
    /// Among as many real images of different patients with the same labels, at the synthetic images' size.
    pub real_labels: Measured,
    /// Between a synthetic image and the real one that it was requested from. Not a measure of variety: higher is more alike.
    pub paired: Measured,
    /// The same by LPIPS, if its files were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lpips: Option<LpipsReport>,
}

/// A mean over groups of images, or why there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Groups.
    pub groups: usize,
    /// Mean of the groups' means.
    pub mean: Option<f64>,
    /// Standard deviation of the groups' means.
    pub deviation: Option<f64>,
    /// Columns and rows of the pictures that were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<[usize; 2]>,
    /// Why it is undefined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
}

impl Measured {
    /// There is none.
    pub(super) fn undefined(reason: impl Into<String>) -> Self {
        Self { undefined: Some(reason.into()), ..Self::default() }
    }
}
