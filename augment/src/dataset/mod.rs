//! A data set on disk or in memory: rows, and images decoded on demand.

mod check;
mod depth;
mod doubts;
mod filter;
mod merge;
mod split;
mod summary;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use burn_core::data::dataset::{Dataset, DatasetError};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::AugmentError;
use crate::image::{GrayImage, ImageCache, ImageSource, Preprocess, RgbImage};
use crate::record::{CxrRecord, CxrSample, Finding, Label, Vocabulary};

pub use check::{CheckReport, ImageCopy, SharedPatient, Unreadable};
pub use doubts::DataWarning;
pub use split::{HeldOut, SplitBy, SplitPlan, Splits, TrainSet};
pub use summary::{AgeQuantiles, DataSummary, FindingCounts, LabelCounts};

/// One row of a data set with the place of its image and of itself.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is known of the image.
    pub record: Arc<CxrRecord>,
    /// Index of the image in the [`ImageSource`].
    pub image: usize,
    /// Line of the table the row came from, from 1 with the header; a count from 1 where there is no table.
    pub line: u64,
}

/// Radiographs with their labels: a burn [`Dataset`] of [`CxrSample`]s.
///
/// Images are decoded and preprocessed on demand. Clones and subsets share rows, images and the cache.
#[derive(Clone)]
pub struct CxrDataset {
    name: Arc<str>,
    vocabulary: Arc<Vocabulary>,
    rows: Arc<[Row]>,
    source: Arc<dyn ImageSource>,
    preprocess: Preprocess,
    cache: Option<Arc<ImageCache>>,
    notes: Arc<[String]>,
    faults: Arc<[String]>,
}

impl CxrDataset {
    /// A data set of `rows`; `name` is for messages, usually the path of the table. Pictures come out at the default
    /// [`Preprocess`] until [`CxrDataset::with_preprocess`] says otherwise.
    ///
    /// # Errors
    /// [`AugmentError::EmptyDataset`], [`AugmentError::LabelCount`], or [`AugmentError::DuplicateImage`] for two rows of one
    /// [`CxrRecord::id`].
    pub fn new(
        name: &str,
        vocabulary: Arc<Vocabulary>,
        rows: Vec<Row>,
        source: Arc<dyn ImageSource>,
    ) -> Result<Self, AugmentError> {
        if rows.is_empty() {
            return Err(AugmentError::EmptyDataset { name: name.to_owned() });
        }
        let mut lines = HashMap::with_capacity(rows.len());
        for Row { record, line, .. } in &rows {
            let (found, expected) = (record.labels.len(), vocabulary.len());
            if found != expected {
                return Err(AugmentError::LabelCount { name: name.to_owned(), row: *line, found, expected });
            }
            if let Some(first) = lines.insert(record.id.as_str(), *line) {
                return Err(AugmentError::DuplicateImage { path: name.into(), image: record.id.clone(), row: *line, first });
            }
        }
        let preprocess = Preprocess::default();
        let (notes, faults) = (Arc::default(), Arc::default());
        Ok(Self { name: name.into(), vocabulary, rows: rows.into(), source, preprocess, cache: None, notes, faults })
    }

    /// A data set whose record `i` has image `i` of `source`, for data that do not come from a table.
    ///
    /// # Errors
    /// As [`CxrDataset::new`].
    pub fn from_records(
        name: &str,
        vocabulary: Arc<Vocabulary>,
        records: Vec<CxrRecord>,
        source: Arc<dyn ImageSource>,
    ) -> Result<Self, AugmentError> {
        let row = |(image, record)| Row { record: Arc::new(record), image, line: image as u64 + 1 };
        Self::new(name, vocabulary, records.into_iter().enumerate().map(row).collect(), source)
    }

    /// The same rows with pictures made by `preprocess`. A cache starts empty again, with the same bound.
    #[must_use]
    pub fn with_preprocess(self, preprocess: Preprocess) -> Self {
        let cache = self.cache.map(|cache| Arc::new(ImageCache::new(cache.bound())));
        Self { preprocess, cache, ..self }
    }

    /// The same data set, keeping up to `bytes` bytes of preprocessed pictures in memory.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: Some(Arc::new(ImageCache::new(bytes))), ..self }
    }

    /// The same rows with the labels of `vocabulary`, in its order.
    ///
    /// # Errors
    /// [`AugmentError::FindingNotInData`] if the data set has no labels of one of its findings.
    pub fn with_vocabulary(self, vocabulary: Vocabulary) -> Result<Self, AugmentError> {
        let missing = self.lacks(&vocabulary);
        if !missing.is_empty() {
            return Err(self.not_in_data(&missing, &vocabulary));
        }
        Ok(self.relabelled(&vocabulary))
    }

    fn lacks(&self, vocabulary: &Vocabulary) -> Vec<Finding> {
        vocabulary.findings().iter().copied().filter(|finding| self.vocabulary.position(*finding).is_none()).collect()
    }

    fn not_in_data(&self, missing: &[Finding], wanted: &Vocabulary) -> AugmentError {
        AugmentError::FindingNotInData {
            name: self.name.to_string(),
            missing: names(missing),
            wanted: names(wanted.findings()),
            available: names(self.vocabulary.findings()),
        }
    }

    fn relabelled(self, vocabulary: &Vocabulary) -> Self {
        let columns: Vec<Option<usize>> = vocabulary.findings().iter().map(|f| self.vocabulary.position(*f)).collect();
        let mut rows = self.rows;
        // In place, unless another data set shares them.
        for row in Arc::make_mut(&mut rows) {
            let record = Arc::make_mut(&mut row.record);
            let label = |column: &Option<usize>| column.map_or(Label::Missing, |column| record.labels[column]);
            record.labels = columns.iter().map(label).collect();
        }
        Self { rows, vocabulary: Arc::new(vocabulary.clone()), ..self }
    }

    /// The same rows with the labels of `vocabulary`, in its order; unknown where the data set has no such finding, with a note.
    #[must_use]
    pub fn with_vocabulary_or_blank(self, vocabulary: Vocabulary) -> Self {
        let absent = self.lacks(&vocabulary);
        let note = format!("{} has no labels of {}; they are taken as unknown", self.name, names(&absent));
        let data = self.relabelled(&vocabulary);
        if absent.is_empty() { data } else { data.with_note(note) }
    }

    /// The real rows alone, or the synthetic ones.
    #[must_use]
    pub fn of_origin(&self, synthetic: bool) -> Self {
        let rows = self.rows.iter().filter(|row| row.record.origin.is_synthetic() == synthetic);
        self.with_rows(rows.cloned().collect())
    }

    /// The rows at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below the number of rows.
    #[must_use]
    pub fn select(&self, indices: &[usize]) -> Self {
        self.with_rows(indices.iter().map(|&index| self.rows[index].clone()).collect())
    }

    /// The same rows with other records, one per row.
    pub(crate) fn map_records(&self, map: impl Fn(&Row) -> Arc<CxrRecord>) -> Self {
        self.with_rows(self.rows.iter().map(|row| Row { record: map(row), ..row.clone() }).collect())
    }

    /// Other rows of the same images.
    pub(crate) fn with_rows(&self, rows: Vec<Row>) -> Self {
        Self { rows: rows.into(), ..self.clone() }
    }

    /// Name for messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The findings of the label columns.
    #[must_use]
    pub fn vocabulary(&self) -> &Arc<Vocabulary> {
        &self.vocabulary
    }

    /// How pictures are made.
    #[must_use]
    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Adds what is doubtful in how the data were read, for [`notes`](Self::notes).
    #[must_use]
    pub fn with_note(self, note: impl Into<String>) -> Self {
        let notes = self.notes.iter().cloned().chain([note.into()]).collect();
        Self { notes, ..self }
    }

    /// What is doubtful in how the data were read, a sentence each. Every command that reads the data says them once, and a
    /// comparison report repeats them.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Adds faults of rows that were left out, for [`faults`](Self::faults).
    pub(crate) fn with_faults(self, faults: impl Iterator<Item = String>) -> Self {
        let faults = self.faults.iter().cloned().chain(faults).collect();
        Self { faults, ..self }
    }

    /// Why rows of the table were left out: faults for which the data set is refused unless a check asks for all of them with
    /// [`MissingImages::Keep`](crate::formats::MissingImages::Keep).
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// The rows in order.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// What is known of image `index`.
    ///
    /// # Panics
    /// If `index` is not below the number of rows.
    #[must_use]
    pub fn record(&self, index: usize) -> &Arc<CxrRecord> {
        &self.rows[index].record
    }

    /// Where image `index` is.
    ///
    /// # Panics
    /// As [`CxrDataset::record`].
    #[must_use]
    pub fn describe(&self, index: usize) -> String {
        self.source.describe(self.rows[index].image)
    }

    /// The file that holds image `index` and nothing else; `None` if there is no such file.
    ///
    /// # Panics
    /// As [`CxrDataset::record`].
    #[must_use]
    pub fn file(&self, index: usize) -> Option<&Path> {
        self.source.file(self.rows[index].image)
    }

    /// Image `index` as decoded, before preprocessing; never from the cache.
    ///
    /// # Errors
    /// If the image is missing or damaged, or has a value above the white of the [`Preprocess`].
    ///
    /// # Panics
    /// As [`CxrDataset::record`].
    pub fn decode(&self, index: usize) -> Result<GrayImage, AugmentError> {
        let whole = Preprocess { jpeg_scale: false, ..self.preprocess };
        let image = self.source.load_for(self.rows[index].image, &whole)?;
        self.preprocess.depth().check(&image, || self.describe(index))?;
        Ok(image)
    }

    /// Image `index` in colour at 8 bits, as Pillow's `convert("RGB")` gives it. Where it has more bits, or colours can't be read, each
    /// channel has the gray levels of [`decode`](Self::decode) from black to the white of the [`Preprocess`].
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    ///
    /// # Panics
    /// As [`CxrDataset::record`].
    pub fn decode_rgb(&self, index: usize) -> Result<RgbImage, AugmentError> {
        let image = self.rows[index].image;
        let has_levels = self.source.deep_pixels(image).is_some() || self.source.says_how_shown(image);
        match self.source.file(image).filter(|_| !has_levels) {
            Some(file) => RgbImage::open(file),
            None => Ok(self.preprocess.depth().rgb(&self.decode(index)?)),
        }
    }

    /// Item `index`: the preprocessed picture and its record.
    ///
    /// # Errors
    /// If the image is missing or damaged, or the [`Preprocess`] asks for a size that no picture has.
    ///
    /// # Panics
    /// As [`CxrDataset::record`].
    pub fn sample(&self, index: usize) -> Result<CxrSample, AugmentError> {
        self.preprocess.validate()?;
        let Row { record, image, .. } = &self.rows[index];
        let make = || -> Result<_, AugmentError> {
            let decoded = self.source.load_for(*image, &self.preprocess)?;
            Ok(self.preprocess.picture(&decoded, || self.describe(index))?)
        };
        let picture = match &self.cache {
            Some(cache) => cache.get_or_make(*image, make)?,
            None => make()?,
        };
        Ok(CxrSample { image: picture, record: Arc::clone(record) })
    }
}

impl Dataset<CxrSample> for CxrDataset {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        self.sample(index).map_err(DatasetError::new)
    }

    /// Decodes in parallel; the error of the first failing index wins, whichever thread was first.
    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<CxrSample>, DatasetError> {
        let samples: Vec<_> = indexes.par_iter().map(|&index| self.sample(index)).collect();
        samples.into_iter().collect::<Result<_, _>>().map_err(DatasetError::new)
    }

    fn len(&self) -> usize {
        self.rows.len()
    }
}

impl fmt::Debug for CxrDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CxrDataset({}, {} rows, {} findings)", self.name, self.rows.len(), self.vocabulary.len())
    }
}

fn names(findings: &[Finding]) -> String {
    findings.iter().map(|f| f.name()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::image::{ImageArray, ImageFiles};
    use crate::record::{Origin, PatientId, Provenance, Split};
    use crate::request::{RequestSource, SampleRequest};
    use crate::supply::fake::request;

    /// A real row of two findings with the given id and patient (`""` for none).
    pub(crate) fn record(id: &str, patient: &str, split: Option<Split>) -> CxrRecord {
        let patient = (!patient.is_empty()).then(|| PatientId::new(patient));
        CxrRecord { split, ..CxrRecord::real(id.to_owned(), patient, vec![Label::Positive, Label::Uncertain]) }
    }

    /// The same row as that of a synthetic image, with a request that descends from its patient.
    pub(crate) fn synthetic(record: CxrRecord) -> CxrRecord {
        let source = record.patient_id.clone().map(|patient_id| RequestSource { id: String::new(), patient_id, fold: None });
        let request = SampleRequest { labels: record.labels.clone(), source, ..request(0) };
        CxrRecord { origin: Origin::Synthetic(Box::new(Provenance::new(request, "fake"))), ..record }
    }

    /// A data set of 2x2 images, each of a different gray level.
    pub(crate) fn dataset(records: Vec<CxrRecord>) -> Result<CxrDataset, AugmentError> {
        let samples: Vec<u8> = (0..records.len()).flat_map(|i| [(i % 256) as u8; 4]).collect();
        let source = Arc::new(ImageArray::new("test", 2, 2, samples));
        let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"])?);
        Ok(CxrDataset::from_records("test", vocabulary, records, source)?.with_preprocess(Preprocess::new(2)))
    }

    /// A training set of these records; two more are held out.
    pub(crate) fn train_set(records: Vec<CxrRecord>) -> TrainSet {
        let train = records.into_iter().map(|record| CxrRecord { split: Some(Split::Train), ..record });
        let held_out = [Split::Valid, Split::Test].map(|split| record(&format!("held out {split}"), "", Some(split)));
        let data = dataset(train.chain(held_out).collect()).unwrap();
        Splits::new(&data, &SplitPlan::column()).unwrap().train().clone()
    }

    fn three() -> CxrDataset {
        dataset(["a", "b", "c"].map(|id| record(id, id, None)).to_vec()).unwrap()
    }

    #[test]
    fn the_cache_changes_no_sample() {
        let (plain, cached) = (three(), three().with_cache(20));
        for round in 0..2 {
            for index in [2, 0, 1] {
                assert_eq!(plain.sample(index).unwrap().image, cached.sample(index).unwrap().image, "round {round}");
            }
        }
    }

    #[test]
    fn a_size_that_no_picture_has_is_an_error() {
        for size in [0, crate::image::MAX_SIDE + 1, usize::MAX] {
            let error = three().with_preprocess(Preprocess::new(size)).sample(0).unwrap_err().to_string();
            assert_eq!(error, format!("preprocess.size is {size}; write a side of 1 to 8192 pixels"));
        }
    }

    #[test]
    fn subsets_share_images_by_source() {
        let data = three().with_cache(1000);
        let _ = data.sample(2).unwrap();
        let last = data.select(&[2]);
        assert_eq!(last.sample(0).unwrap().image, data.sample(2).unwrap().image);
        assert_eq!(last.record(0).id, "c");
    }

    #[test]
    fn labels_follow_the_vocabulary() {
        let data = three().with_vocabulary(Vocabulary::parse(["Mass"]).unwrap()).unwrap();
        assert_eq!(data.record(0).labels, [Label::Uncertain]);
        let error = data.with_vocabulary(Vocabulary::parse(["Mass", "Hernia"]).unwrap()).unwrap_err().to_string();
        assert_eq!(error, "test has no labels of Hernia; requested: Mass, Hernia; available: Mass");
    }

    #[test]
    fn contradictory_rows_are_refused() {
        let error = dataset(vec![record("a", "1", None), record("b", "1", None), record("a", "2", None)]).unwrap_err();
        assert_eq!(error.to_string(), "test: image `a` is in row 3 and in row 1; keep one of them");
        assert!(matches!(dataset(Vec::new()), Err(AugmentError::EmptyDataset { .. })));
        let short = CxrRecord { labels: vec![Label::Missing], ..record("a", "1", None) };
        assert!(matches!(dataset(vec![short]), Err(AugmentError::LabelCount { row: 1, found: 1, expected: 2, .. })));
    }

    #[test]
    fn an_unreadable_image_is_an_error_of_its_item_only() {
        let folder = tempfile::tempdir().unwrap();
        let good = folder.path().join("good.png");
        image::save_buffer(&good, &[9; 4], 2, 2, image::ExtendedColorType::L8).unwrap();
        let files = ImageFiles::new(vec![good, folder.path().join("gone.png")]);
        let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"]).unwrap());
        let records = vec![record("good", "1", None), record("gone", "2", None)];
        let data = CxrDataset::from_records("files", vocabulary, records, Arc::new(files)).unwrap();
        assert!(data.get(0).is_ok());
        assert!(data.get_many(vec![0, 1]).unwrap_err().to_string().contains("gone.png"));
    }
}
