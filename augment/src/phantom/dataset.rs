//! A data set of phantoms.

use std::sync::Arc;

use burn_core::data::dataset::{Dataset, DatasetError};
use rand::RngExt;

use super::noise::{Purpose, derive, rng};
use super::{PhantomPatient, PhantomPhysics, PhantomStudy, Prevalence};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::image::{GrayImage, ImageSource, Preprocess, Signed, check_side};
use crate::record::{CxrRecord, CxrSample, Label, Origin, PatientId, Vocabulary};

/// Chance that a patient comes back for one more image, up to [`MOST_VISITS`].
const RETURN_RATE: f64 = 0.35;
const MOST_VISITS: usize = 5;
/// More is considered a mistake: the rows alone would fill the memory.
const MOST_STUDIES: usize = 1_000_000;

/// What a [`PhantomDataset`] holds.
#[derive(Clone, Debug)]
pub struct PhantomDatasetConfig {
    /// Number of images.
    pub studies: usize,
    /// Seed of everybody and everything.
    pub seed: u64,
    /// Pixels per side.
    pub size: usize,
    /// Columns of the labels.
    pub vocabulary: Vocabulary,
    /// How often each pathology occurs.
    pub prevalence: Prevalence,
    /// How the images are made.
    pub physics: PhantomPhysics,
    /// Chance that a positive or negative label is flipped, `[0, 1]`; 0 is the truth. Images, masks and template texts stay true.
    pub label_noise: f64,
}

impl PhantomDatasetConfig {
    /// Reference images of [`Prevalence::enriched`], labelled truly in the nine findings that the phantom draws.
    #[must_use]
    pub fn new(studies: usize, size: usize, seed: u64) -> Self {
        let findings = super::Pathology::ALL.map(super::Pathology::finding);
        Self {
            studies,
            seed,
            size,
            vocabulary: Vocabulary::new(findings).expect("nine distinct findings"),
            prevalence: Prevalence::enriched(),
            physics: PhantomPhysics::reference(),
            label_noise: 0.0,
        }
    }

    /// Refuses numbers that no data set has.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for more than a million images, a side of 0 or above [`MAX_SIDE`](crate::image::MAX_SIDE), or a
    /// chance outside `[0, 1]`.
    pub fn validate(&self) -> Result<(), AugmentError> {
        if self.studies > MOST_STUDIES {
            return Err(AugmentError::setting("phantom.studies", self.studies, format!("at most {MOST_STUDIES}")));
        }
        if !(0.0..=1.0).contains(&self.label_noise) {
            return Err(AugmentError::setting("phantom.label_noise", self.label_noise, "a chance from 0 to 1"));
        }
        check_side("phantom.size", self.size)
    }
}

/// Images of phantoms, one to five per patient, made on demand.
///
/// Item `i` is a function of the configuration and `i`; a longer data set begins with the shorter one. Records carry
/// [`Origin::Real`], because phantoms take the place of a hospital's images wherever a data set is needed; their identifiers
/// begin with `phantom_`, and nothing else may call them real.
#[derive(Clone, Debug)]
pub struct PhantomDataset {
    config: PhantomDatasetConfig,
    /// Patient and visit of each image.
    visits: Vec<(u32, u32)>,
}

impl PhantomDataset {
    /// The data set of that configuration. No image is made yet.
    ///
    /// # Errors
    /// As [`PhantomDatasetConfig::validate`].
    pub fn new(config: PhantomDatasetConfig) -> Result<Self, AugmentError> {
        config.validate()?;
        let mut rng = rng(config.seed, Purpose::Visits);
        let mut visits = Vec::with_capacity(config.studies + MOST_VISITS);
        for patient in 0.. {
            if visits.len() >= config.studies {
                break;
            }
            let count = 1 + (1..MOST_VISITS).take_while(|_| rng.random_bool(RETURN_RATE)).count();
            visits.extend((0..count as u32).map(|visit| (patient, visit)));
        }
        visits.truncate(config.studies);
        Ok(Self { config, visits })
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &PhantomDatasetConfig {
        &self.config
    }

    /// Columns of the labels.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.config.vocabulary
    }

    /// The examination behind image `index`: findings, pose, masks.
    ///
    /// # Panics
    /// If `index` is out of bounds.
    #[must_use]
    pub fn study(&self, index: usize) -> PhantomStudy {
        let (patient, visit) = self.visits[index];
        let seed = derive(self.config.seed, u64::from(patient));
        let mut body = PhantomPatient::sample(seed);
        // Follow-up images are half a year apart.
        body.age += (0.5 * visit as f32).floor();
        PhantomStudy::of_patient(&body, derive(seed, 1 + u64::from(visit)), &self.config.prevalence)
    }

    /// Image `index`.
    ///
    /// # Panics
    /// If `index` is out of bounds.
    #[must_use]
    pub fn image(&self, index: usize) -> GrayImage {
        self.study(index).render(self.config.size, &self.config.physics)
    }

    /// Row `index`: everything but the pixels.
    ///
    /// # Panics
    /// If `index` is out of bounds.
    #[must_use]
    pub fn record(&self, index: usize) -> CxrRecord {
        self.record_of(&self.study(index), index)
    }

    /// All rows, in order.
    #[must_use]
    pub fn records(&self) -> Vec<CxrRecord> {
        (0..self.visits.len()).map(|index| self.record(index)).collect()
    }

    fn record_of(&self, study: &PhantomStudy, index: usize) -> CxrRecord {
        let (patient, visit) = self.visits[index];
        let mut labels = study.labels(&self.config.vocabulary);
        let mut rng = rng(study.seed, Purpose::LabelNoise);
        for label in &mut labels {
            if rng.random_bool(self.config.label_noise) {
                *label = match *label {
                    Label::Positive => Label::Negative,
                    Label::Negative => Label::Positive,
                    other => other,
                };
            }
        }
        CxrRecord {
            id: format!("phantom_{patient:06}_{visit:03}"),
            patient_id: Some(PatientId::new(&format!("phantom_{patient:06}"))),
            labels,
            age: Some(study.patient.age),
            sex: Some(study.patient.sex),
            view: Some(study.view),
            report: None,
            split: None,
            origin: Origin::Real,
            details: study.details(),
        }
    }
}

impl Dataset<CxrSample> for PhantomDataset {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        let study = self.study(index);
        let image = study.render(self.config.size, &self.config.physics).to_pixels::<Signed>();
        Ok(CxrSample { image, record: Arc::new(self.record_of(&study, index)) })
    }

    fn len(&self) -> usize {
        self.visits.len()
    }
}

/// Images are rendered on demand.
impl ImageSource for PhantomDataset {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        Ok(self.image(index))
    }

    fn describe(&self, index: usize) -> String {
        format!("phantom image {index}")
    }
}

impl CxrDataset {
    /// A data set of phantom images at their rendered size: it stands where real radiographs stand in demos and tests, and is to
    /// be called a phantom wherever it is shown.
    ///
    /// # Errors
    /// As [`CxrDataset::new`].
    pub fn from_phantom(phantom: PhantomDataset) -> Result<Self, AugmentError> {
        let (vocabulary, records, size) = (phantom.vocabulary().clone(), phantom.records(), phantom.config().size);
        let data = Self::from_records("phantom", Arc::new(vocabulary), records, Arc::new(phantom))?;
        Ok(data.with_preprocess(Preprocess::new(size)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::Pathology;
    use super::*;

    #[test]
    fn an_item_depends_on_its_index_alone() {
        let dataset = PhantomDataset::new(PhantomDatasetConfig::new(12, 32, 5)).unwrap();
        let later = dataset.get(9).unwrap();
        let all: Vec<_> = dataset.iter().map(Result::unwrap).collect();
        assert_eq!(all[9].image.values(), later.image.values());
        assert_eq!(*all[9].record, *later.record);
        assert_eq!(dataset.records()[9], *later.record);
        assert_eq!(dataset.image(9).to_pixels::<Signed>().values(), later.image.values());
        let longer = PhantomDataset::new(PhantomDatasetConfig::new(40, 32, 5)).unwrap();
        assert_eq!(longer.records()[..12], dataset.records());
        let other = PhantomDataset::new(PhantomDatasetConfig::new(12, 32, 6)).unwrap();
        assert_ne!(other.image(9), dataset.image(9));
    }

    #[test]
    fn patients_keep_who_they_are_and_what_is_chronic() {
        let dataset = PhantomDataset::new(PhantomDatasetConfig::new(400, 32, 1)).unwrap();
        let mut seen: HashMap<PatientId, CxrRecord> = HashMap::new();
        let chronic =
            Pathology::ALL.iter().filter(|p| p.is_chronic()).map(|p| dataset.vocabulary().position(p.finding()).unwrap());
        let chronic: Vec<_> = chronic.collect();
        let mut repeats = 0;
        for record in dataset.records() {
            let first = seen.entry(record.patient_id.clone().unwrap()).or_insert_with(|| record.clone());
            repeats += usize::from(first.id != record.id);
            assert_eq!(first.sex, record.sex);
            assert!(chronic.iter().all(|&column| first.labels[column] == record.labels[column]));
        }
        assert!((60..240).contains(&repeats), "{repeats} of 400 images are follow-ups");
    }

    #[test]
    fn prevalences_come_out_as_asked() {
        let dataset = PhantomDataset::new(PhantomDatasetConfig::new(3000, 32, 2)).unwrap();
        let records = dataset.records();
        for (column, pathology) in Pathology::ALL.into_iter().enumerate() {
            let positive = records.iter().filter(|r| r.labels[column] == Label::Positive).count() as f64 / 3000.0;
            // Images of one patient share chronic findings; 3,000 images are then worth about 1,500: 4 standard errors are 0.04.
            let expected = Prevalence::enriched().rate(pathology);
            assert!((positive - expected).abs() < 0.04, "{pathology:?}: {positive} for {expected}");
        }
    }

    #[test]
    fn label_noise_flips_its_share_and_nothing_else() {
        let clean = PhantomDataset::new(PhantomDatasetConfig::new(500, 32, 3)).unwrap();
        let noisy = PhantomDataset::new(PhantomDatasetConfig { label_noise: 0.1, ..clean.config().clone() }).unwrap();
        let (mut flipped, mut total) = (0, 0);
        for (a, b) in clean.records().iter().zip(noisy.records()) {
            assert_eq!(a.details, b.details);
            total += a.labels.len();
            flipped += a.labels.iter().zip(&b.labels).filter(|(a, b)| a != b).count();
        }
        let share = flipped as f64 / total as f64;
        assert!((share - 0.1).abs() < 0.02, "{share}");
        assert_eq!(clean.image(4), noisy.image(4));
    }

    #[test]
    fn phantom_images_come_as_rendered() {
        let phantom = PhantomDataset::new(PhantomDatasetConfig::new(3, 16, 1)).unwrap();
        let image = phantom.image(2).to_pixels();
        let data = CxrDataset::from_phantom(phantom).unwrap();
        assert_eq!((data.len(), data.sample(2).unwrap().image), (3, image));
    }

    #[test]
    fn numbers_that_no_data_set_has_are_refused() {
        let config = PhantomDatasetConfig::new(3, 16, 1);
        for (wrong, key) in [
            (PhantomDatasetConfig { size: 0, ..config.clone() }, "phantom.size is 0"),
            (PhantomDatasetConfig { size: usize::MAX, ..config.clone() }, "phantom.size is 18"),
            (PhantomDatasetConfig { studies: usize::MAX, ..config.clone() }, "phantom.studies is 18"),
            (PhantomDatasetConfig { label_noise: f64::NAN, ..config.clone() }, "phantom.label_noise is NaN"),
        ] {
            let error = PhantomDataset::new(wrong).unwrap_err().to_string();
            assert!(error.starts_with(key), "{error}");
        }
    }
}
