//! Sets of images that are evaluated or compared with: whatever has images, with what is known of each.

mod files;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::dataset::{CxrDataset, Splits};
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::formats::{DataSource, MissingImages, guess_for};
use roentgen_augment::image::{GrayImage, Preprocess, RgbImage};
use roentgen_augment::progress::Progress;
use roentgen_augment::record::{CxrRecord, Finding, Label, LabelPolicy, Origin, Split, Vocabulary};
use roentgen_augment::request::RequestSource;

use self::files::{MOST_FILES, files};
use crate::config::{ConfigError, RunConfig};
use crate::data::{self, DataError};

/// Images of one kind, each with its row.
#[derive(Clone, Debug)]
pub struct ImageSet {
    data: CxrDataset,
    notes: Vec<String>,
    policy: LabelPolicy,
}

/// What is seen of an image without a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    /// Of size and pixels in colour: equal for equal pixels, whatever the file.
    pub digest: Fingerprint,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Mean of each pixel's largest channel less its smallest, in gray levels of 255: 0 for gray images.
    pub spread: f32,
}

impl Look {
    fn of(image: &RgbImage) -> Self {
        let sides = [image.width, image.height].map(|side| (side as u64).to_le_bytes());
        let digest = Fingerprint::of(&[b"rgb 8", &sides[0], &sides[1], &image.samples]);
        let pixels = image.samples.as_chunks::<3>().0;
        let spread = |[r, g, b]: &[u8; 3]| u64::from(*r.max(g).max(b) - *r.min(g).min(b));
        let spread = pixels.iter().map(spread).sum::<u64>() as f64 / pixels.len().max(1) as f64;
        Self { digest, width: image.width, height: image.height, spread: spread as f32 }
    }
}

/// Which images of a place are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The radiographs: rows that are not marked as synthetic. Of a run file's data, those of this split, or all.
    Real(Option<Split>),
    /// The images that were made: rows that are marked as synthetic, or all if none is.
    Synthetic,
}

/// Why there is no set of images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageSetError {
    /// A run file can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its data, or another table, can't be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A table, an archive or an image can't be read.
    #[error(transparent)]
    Read(#[from] AugmentError),
    /// A folder can't be listed.
    #[error("can't list {}", path.display())]
    List {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder holds more images than any set.
    #[error("{} holds more than {MOST_FILES} image files: give the folder of the images alone, or a table of them", path.display())]
    TooMany {
        /// The folder.
        path: PathBuf,
    },
    /// Images can't be read.
    #[error("{images} of {total} images of {name} can't be read, and none is left out or taken for black: {first}")]
    Unreadable {
        /// The set.
        name: String,
        /// Images that can't be read.
        images: usize,
        /// All of them.
        total: usize,
        /// Why the first of them can't.
        first: String,
    },
    /// Nothing of the kind that is wanted is there.
    #[error("{name} has no {wanted} image: {remedy}")]
    Nothing {
        /// The set.
        name: String,
        /// `real` or `synthetic`.
        wanted: &'static str,
        /// What to give.
        remedy: String,
    },
}

impl ImageSet {
    /// Opens a place: a run file (`*.toml`: its `[data]`), a table or an archive in any of the layouts that are read, a folder that holds
    /// one such as `generate` writes, folders of classes, or a folder of image files, of which nothing else is known.
    ///
    /// # Errors
    /// [`ImageSetError`].
    pub fn open(path: &Path, wanted: Wanted) -> Result<Self, ImageSetError> {
        if path.extension().is_some_and(|ending| ending == "toml") {
            return Self::of_run_file(path, wanted);
        }
        let asked = DataSource { missing: MissingImages::Refuse, ..DataSource::default() };
        let data = match guess_for(path, &asked) {
            Ok(guess) => {
                let left_out = &guess.source.extra_columns;
                let source = DataSource { missing: MissingImages::Refuse, ..guess.source.clone() };
                let data = guess.format.read(&source)?.with_depth_note();
                let columns = left_out.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                let note = format!("columns of {} that are not known are not read: {columns}", path.display());
                if left_out.is_empty() { data } else { data.with_note(note) }
            }
            Err(error @ AugmentError::NoLayout { .. }) if path.is_dir() => files(path)?.ok_or(error)?,
            Err(error) => return Err(error.into()),
        };
        Self::of(data, wanted)
    }

    /// The wanted rows of `data`, as an image source that was opened otherwise.
    ///
    /// # Errors
    /// [`ImageSetError::Nothing`] if none of its rows is.
    pub fn of(data: CxrDataset, wanted: Wanted) -> Result<Self, ImageSetError> {
        let mut notes = data.notes().to_vec();
        let all = data.rows().len();
        let chosen = match wanted {
            Wanted::Real(_) => data.of_origin(false),
            Wanted::Synthetic => Some(data.of_origin(true)).filter(|marked| !marked.rows().is_empty()).unwrap_or(data),
        };
        let left_out = all - chosen.rows().len();
        let (kind, other) = match wanted {
            Wanted::Real(_) => ("real", "are marked as synthetic"),
            Wanted::Synthetic => ("synthetic", "are not marked as synthetic"),
        };
        if chosen.rows().is_empty() {
            let remedy = format!("all {all} of its images {other}");
            return Err(ImageSetError::Nothing { name: chosen.name().to_owned(), wanted: kind, remedy });
        }
        if left_out > 0 {
            notes.push(format!("{left_out} of {all} images of {} {other} and take no part as {kind} ones", chosen.name()));
        }
        Ok(Self { data: chosen, notes, policy: LabelPolicy::default() })
    }

    fn of_run_file(path: &Path, wanted: Wanted) -> Result<Self, ImageSetError> {
        let config = RunConfig::read_data(path)?;
        // Images are read once.
        let mut table = config.data.clone();
        table.cache_mib = 0;
        let data = data::read(&table, config.preprocess, MissingImages::Refuse)?;
        let set = match wanted {
            Wanted::Real(Some(split)) => Self::of(Splits::part(&data, &data::plan(&table), split)?, wanted),
            _ => Self::of(data, wanted),
        };
        Ok(set?.with_policy(table.policy_of_rows()))
    }

    /// The same images, whose uncertain and blank labels count as `policy` says; they count for nothing otherwise.
    #[must_use]
    pub fn with_policy(self, policy: LabelPolicy) -> Self {
        Self { policy, ..self }
    }

    /// Where the images are from.
    #[must_use]
    pub fn name(&self) -> &str {
        self.data.name()
    }

    /// Number of images, at least one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.data.rows().len()
    }

    /// Whether there is no image: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.data.rows().is_empty()
    }

    /// The images as a data set.
    #[must_use]
    pub fn data(&self) -> &CxrDataset {
        &self.data
    }

    /// What is doubtful in how they were read, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The images at `indices`, in that order.
    ///
    /// # Panics
    /// If there is no such image.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { data: self.data.select(indices), ..self.clone() }
    }

    /// What is known of image `index`.
    ///
    /// # Panics
    /// If there is no such image; so do all that take an index.
    #[must_use]
    pub fn record(&self, index: usize) -> &CxrRecord {
        self.data.record(index)
    }

    /// Its name, unique in the set.
    #[must_use]
    pub fn id(&self, index: usize) -> &str {
        &self.record(index).id
    }

    /// Where it is.
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        self.data.describe(index)
    }

    /// Image `index` in colour, at 8 bits per sample.
    ///
    /// # Errors
    /// If it is missing or damaged; the error names it.
    pub fn rgb(&self, index: usize) -> Result<RgbImage, AugmentError> {
        self.data.decode_rgb(index)
    }

    /// Looks at every image, several at a time.
    ///
    /// # Errors
    /// [`ImageSetError::Unreadable`] names those that can't be read.
    pub fn looks(&self, progress: &dyn Progress) -> Result<Vec<Look>, ImageSetError> {
        let task = progress.begin("", self.len() as u64, "images looked at");
        let look = |index: usize| {
            let look = self.rgb(index).map(|image| Look::of(&image));
            task.advance(1);
            look
        };
        let looks: Vec<Result<Look, AugmentError>> = (0..self.len()).into_par_iter().map(look).collect();
        let unreadable: Vec<String> = looks.iter().filter_map(|look| Some(look.as_ref().err()?.to_string())).collect();
        match unreadable.first() {
            Some(first) => Err(ImageSetError::Unreadable {
                name: self.name().to_owned(),
                images: unreadable.len(),
                total: self.len(),
                first: first.clone(),
            }),
            None => Ok(looks.into_iter().filter_map(Result::ok).collect()),
        }
    }

    /// Image `index` in gray, at its own depth.
    ///
    /// # Errors
    /// As [`rgb`](Self::rgb).
    pub fn gray(&self, index: usize) -> Result<GrayImage, AugmentError> {
        self.data.decode(index)
    }

    /// The same images with pictures made by `preprocess`, for networks that take a set's own pictures.
    #[must_use]
    pub fn with_preprocess(&self, preprocess: Preprocess) -> Self {
        Self { data: self.data.clone().with_preprocess(preprocess), ..self.clone() }
    }

    /// Whom it shows or descends from; the image itself where nobody is named.
    #[must_use]
    pub fn patient(&self, index: usize) -> &str {
        let record = self.record(index);
        record.patients().next().map_or(record.id.as_str(), |patient| patient.as_str())
    }

    /// How many images name a patient, or a source that has one.
    #[must_use]
    pub fn with_patient(&self) -> usize {
        self.data.rows().iter().filter(|row| row.record.patients().next().is_some()).count()
    }

    /// The findings of its labels.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        self.data.vocabulary()
    }

    /// The label of `finding` on image `index`: for an image that was made, what it was asked to show. Missing where the set has no such
    /// finding.
    #[must_use]
    pub fn label(&self, index: usize, finding: Finding) -> Label {
        let place = self.vocabulary().position(finding);
        place.and_then(|place| self.record(index).labels.get(place).copied()).unwrap_or(Label::Missing)
    }

    /// What a classifier is to say of image `index`, one target per finding; NaN where the label counts for nothing.
    pub fn targets(&self, index: usize) -> impl Iterator<Item = f64> {
        let labels = self.vocabulary().findings().iter().zip(&self.record(index).labels);
        labels.map(|(finding, label)| self.policy.target(*finding, *label).map_or(f64::NAN, f64::from))
    }

    /// The text that it was made from, or its report.
    #[must_use]
    pub fn prompt(&self, index: usize) -> Option<&str> {
        let record = self.record(index);
        let prompt = match &record.origin {
            Origin::Synthetic(provenance) => Some(provenance.request.prompt.as_str()),
            Origin::Real => None,
        };
        prompt.or(record.report.as_deref()).filter(|text| !text.trim().is_empty())
    }

    /// The real image that it was requested from, if its row says so.
    #[must_use]
    pub fn source(&self, index: usize) -> Option<&RequestSource> {
        match &self.record(index).origin {
            Origin::Synthetic(provenance) => provenance.request.source.as_ref().filter(|source| !source.id.is_empty()),
            Origin::Real => None,
        }
    }

    /// Groups of images with one prompt, in the order of their first images; images without one are in none.
    #[must_use]
    pub fn by_prompt(&self) -> Vec<Vec<usize>> {
        let mut places = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for index in 0..self.len() {
            let Some(prompt) = self.prompt(index) else { continue };
            let place = *places.entry(prompt).or_insert(groups.len());
            match groups.get_mut(place) {
                Some(group) => group.push(index),
                None => groups.push(vec![index]),
            }
        }
        groups
    }

    /// The set without images whose prompt an earlier one has, and how many those were.
    #[must_use]
    pub fn without_repeated_prompts(&self) -> (Self, usize) {
        let mut seen = HashSet::new();
        let kept: Vec<usize> =
            (0..self.len()).filter(|&index| self.prompt(index).is_none_or(|prompt| seen.insert(prompt))).collect();
        (self.select(&kept), self.len() - kept.len())
    }
}
