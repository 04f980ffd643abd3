//! The synthetic part of a training set: requests, and the samples that answer them.

mod manifest;
mod source;
#[cfg(test)]
mod tests;
mod training;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use burn_core::data::dataset::{Dataset, DatasetError};

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::digest::Fingerprint;
use crate::gate::GatedRequest;
use crate::image::{GrayImage, Preprocess};
use crate::record::{CxrRecord, CxrSample, Origin, PatientId, Provenance, Split};
use crate::request::SampleRequest;
use crate::supply::{CacheKey, ImagePool, Supply, Synthesized};
use crate::supply::{self_describing, synthesize};

pub use training::SyntheticBuilder;

/// Samples of a generator, one per request: a burn [`Dataset`] of [`CxrSample`]s.
///
/// A batch is answered by the cache where it can be, and all that is missing is generated in one call. The result is the
/// same whatever the supply and whatever the cache holds. Clones share everything.
#[derive(Clone)]
pub struct SyntheticDataset {
    records: Arc<[Arc<CxrRecord>]>,
    samples: Samples,
}

#[derive(Clone)]
enum Samples {
    /// Answers to requests.
    Requested(Requested),
    /// A synthetic set that is images on disk already.
    Images(CxrDataset),
}

#[derive(Clone)]
struct Requested {
    requests: Arc<[SampleRequest]>,
    /// One per request.
    keys: Arc<[CacheKey]>,
    supply: Supply,
    preprocess: Preprocess,
}

/// How far [`SyntheticDataset::fill`] has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillProgress {
    /// Distinct samples that are in the cache.
    pub done: usize,
    /// Distinct samples of the set.
    pub total: usize,
    /// Samples that this call generated.
    pub generated: usize,
}

impl SyntheticDataset {
    /// Samples that answer `requests`.
    ///
    /// `held_out` are the patients of validation and test ([`Splits::held_out_patients`](crate::dataset::Splits::held_out_patients)).
    ///
    /// # Errors
    /// [`AugmentError::HeldOutPatient`] if a request descends from one of them; as [`Preprocess::validate`].
    pub fn new(
        requests: Arc<[SampleRequest]>,
        supply: Supply,
        preprocess: Preprocess,
        held_out: &HashSet<PatientId>,
    ) -> Result<Self, AugmentError> {
        preprocess.validate()?;
        let (fingerprint, model) = (supply.fingerprint(), supply.model());
        let keys: Arc<[CacheKey]> = requests.iter().map(|request| CacheKey::new(request, fingerprint)).collect();
        let records =
            requests.iter().zip(keys.iter()).map(|(request, key)| Arc::new(record_of(request, *key, &model))).collect();
        let set = Self { records, samples: Samples::Requested(Requested { requests, keys, supply, preprocess }) };
        set.check_held_out(held_out)?;
        Ok(set)
    }

    /// Samples of requests that passed a [`Gate`](crate::gate::Gate), whose rows say so.
    ///
    /// # Errors
    /// As [`SyntheticDataset::new`].
    pub fn gated(
        accepted: &[GatedRequest],
        supply: Supply,
        preprocess: Preprocess,
        held_out: &HashSet<PatientId>,
    ) -> Result<Self, AugmentError> {
        let requests = accepted.iter().map(|gated| gated.request.clone()).collect();
        let mut set = Self::new(requests, supply, preprocess, held_out)?;
        let marked = |(record, gated): (&Arc<CxrRecord>, &GatedRequest)| {
            let mut record = CxrRecord::clone(record);
            if let Origin::Synthetic(provenance) = &mut record.origin {
                (provenance.gate, provenance.nearest_real) = (Some(gated.outcome), gated.nearest_real.clone());
            }
            Arc::new(record)
        };
        set.records = set.records.iter().zip(accepted).map(marked).collect();
        Ok(set)
    }

    /// A synthetic set read from its manifest.
    ///
    /// # Errors
    /// [`AugmentError::NotSynthetic`] if a row is a real image, [`AugmentError::HeldOutPatient`] if one descends from a patient
    /// in `held_out`.
    pub fn from_images(data: CxrDataset, held_out: &HashSet<PatientId>) -> Result<Self, AugmentError> {
        let records: Arc<[_]> = data.rows().iter().map(|row| Arc::clone(&row.record)).collect();
        if let Some(index) = records.iter().position(|record| !record.origin.is_synthetic()) {
            return Err(AugmentError::NotSynthetic { index, image: records[index].id.clone() });
        }
        let set = Self { records, samples: Samples::Images(data) };
        set.check_held_out(held_out)?;
        Ok(set)
    }

    /// A pool of images that were made elsewhere.
    #[must_use]
    pub fn from_pool(pool: &ImagePool) -> Self {
        let records = pool.data().rows().iter().map(|row| Arc::clone(&row.record)).collect();
        Self { records, samples: Samples::Images(pool.data().clone()) }
    }

    /// Refuses a set with a sample that descends from a patient in `held_out`.
    ///
    /// # Errors
    /// [`AugmentError::HeldOutPatient`] names the first.
    pub fn check_held_out(&self, held_out: &HashSet<PatientId>) -> Result<(), AugmentError> {
        for (index, record) in self.records.iter().enumerate() {
            if let Some(patient) = record.patients().find(|patient| held_out.contains(*patient)) {
                let (image, patient) = (record.id.clone(), patient.clone());
                return Err(AugmentError::HeldOutPatient { index, image, patient });
            }
        }
        Ok(())
    }

    /// The rows of the samples: what a manifest of the set lists.
    #[must_use]
    pub fn records(&self) -> &[Arc<CxrRecord>] {
        &self.records
    }

    /// Digest of which samples these are, in order: of requests and generator, or of the files' names for a set of images on disk.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        let ids: Vec<_> = self.records.iter().map(|record| record.id.as_bytes()).collect();
        Fingerprint::of(&ids)
    }

    /// Where the samples come from; `None` for a set of images on disk.
    #[must_use]
    pub fn supply(&self) -> Option<&Supply> {
        match &self.samples {
            Samples::Requested(requested) => Some(&requested.supply),
            Samples::Images(_) => None,
        }
    }

    /// Mean over the first `most` samples of what gray hides of their colours, [`Synthesized::channel_spread`]; `None` if the generator
    /// paints in gray, and for images on disk. Samples that a cache lacks are left out; without a cache they are made.
    ///
    /// # Errors
    /// Those of the generator and the cache.
    pub fn channel_spread(&self, most: usize) -> Result<Option<f32>, AugmentError> {
        let Samples::Requested(Requested { requests, keys, supply, .. }) = &self.samples else { return Ok(None) };
        let first = ..most.min(keys.len());
        let samples: Vec<Synthesized> = match supply {
            Supply::OnDemand { synthesizer } => synthesize(synthesizer.as_ref(), &requests[first])?,
            _ => supply.look_up(&keys[first])?.0.into_values().collect(),
        };
        // Summed in an order of its own, so that the mean has the same bits every time.
        let mut spreads: Vec<f32> = samples.iter().filter_map(|sample| sample.channel_spread).collect();
        spreads.sort_by(f32::total_cmp);
        Ok((!spreads.is_empty()).then(|| spreads.iter().sum::<f32>() / spreads.len() as f32))
    }

    /// Indices of the requests whose sample has no file in the cache; none without a cache.
    #[must_use]
    pub fn missing(&self) -> Vec<usize> {
        let Samples::Requested(Requested { keys, supply, .. }) = &self.samples else { return Vec::new() };
        let Some(cache) = supply.cache() else { return Vec::new() };
        (0..keys.len()).filter(|&index| !cache.contains(keys[index])).collect()
    }

    /// Generates what the cache lacks, `batch` samples per call, and says after each how far it has come.
    ///
    /// If it is stopped at any moment, the next call continues where it was; on a full cache it generates nothing.
    ///
    /// # Errors
    /// [`AugmentError::SupplyLacks`] unless the supply has cache and generator, [`AugmentError::CacheTooSmall`], and those of
    /// the generator and the cache.
    pub fn fill(&self, batch: NonZeroUsize, mut progress: impl FnMut(FillProgress)) -> Result<FillProgress, AugmentError> {
        let Samples::Requested(Requested { requests, keys, supply, .. }) = &self.samples else {
            return Ok(FillProgress::default());
        };
        let lacks = |needs| AugmentError::SupplyLacks { supply: supply.mode(), needs };
        let cache = supply.cache().ok_or_else(|| lacks("a cache to fill"))?;
        let synthesizer = supply.synthesizer().ok_or_else(|| lacks("a generator to fill the cache"))?;
        let keep: HashSet<CacheKey> = keys.iter().copied().collect();
        let mut seen = HashSet::new();
        let missing: Vec<usize> = self.missing().into_iter().filter(|&index| seen.insert(keys[index])).collect();
        let mut state = FillProgress { done: keep.len() - missing.len(), total: keep.len(), generated: 0 };
        progress(state);
        for indexes in missing.chunks(batch.get()) {
            // Another process may have made some of them by now.
            let indexes: Vec<usize> = indexes.iter().copied().filter(|&index| !cache.contains(keys[index])).collect();
            let wanted: Vec<SampleRequest> = indexes.iter().map(|&index| requests[index].clone()).collect();
            let made = synthesize(synthesizer.as_ref(), &wanted)?;
            let described = wanted.into_iter().zip(made);
            let described: Vec<_> =
                described.map(|(request, made)| self_describing(synthesizer.as_ref(), request, made)).collect();
            let not_kept = cache.put(&described, &keep)?;
            if let (1.., Some(max_bytes)) = (not_kept, cache.max_bytes()) {
                let path = cache.folder().to_owned();
                return Err(AugmentError::CacheTooSmall { path, max_bytes, not_kept: self.missing().len(), total: keys.len() });
            }
            state.generated += indexes.len();
            state.done = state.done.saturating_add(batch.get()).min(state.total);
            progress(state);
        }
        Ok(state)
    }

    /// The samples at `indexes`, in that order.
    fn batch(&self, indexes: &[usize]) -> Result<Vec<CxrSample>, DatasetError> {
        let requested = match &self.samples {
            Samples::Images(data) => return data.get_many(indexes.to_vec()),
            Samples::Requested(requested) => requested,
        };
        let images = self.images(requested, indexes).map_err(DatasetError::new)?;
        let sample = |&index: &usize| {
            let image = images.get(&requested.keys[index]).expect("every key of the batch was found or made");
            CxrSample { image: requested.preprocess.apply(image), record: Arc::clone(&self.records[index]) }
        };
        Ok(indexes.iter().map(sample).collect())
    }

    /// The images of a batch: what the cache has, and the rest made in one call (and kept, if there is a cache).
    fn images(&self, requested: &Requested, indexes: &[usize]) -> Result<HashMap<CacheKey, GrayImage>, AugmentError> {
        let Requested { requests, keys, supply, .. } = requested;
        let batch: Vec<CacheKey> = indexes.iter().map(|&index| keys[index]).collect();
        let (found, absent) = supply.look_up(&batch)?;
        let mut images: HashMap<_, _> = found.into_iter().map(|(key, sample)| (key, sample.image)).collect();
        if absent.is_empty() {
            return Ok(images);
        }
        let absent: Vec<usize> = absent.into_iter().map(|place| indexes[place]).collect();
        let synthesizer = match supply {
            Supply::Cached { .. } => return Err(self.not_in_cache(supply, &absent)),
            Supply::OnDemand { synthesizer } | Supply::CacheThenGenerate { synthesizer, .. } => synthesizer.as_ref(),
        };
        let wanted: Vec<_> = absent.iter().map(|&index| requests[index].clone()).collect();
        let made = synthesize(synthesizer, &wanted)?;
        images.extend(absent.iter().map(|&index| keys[index]).zip(made.iter().map(|made| made.image.clone())));
        if let Some(cache) = supply.cache() {
            let described = wanted.into_iter().zip(made);
            let described: Vec<_> = described.map(|(request, made)| self_describing(synthesizer, request, made)).collect();
            cache.put(&described, &batch.into_iter().collect())?;
        }
        Ok(images)
    }

    /// The error that the samples of the requests `absent` are missing.
    fn not_in_cache(&self, supply: &Supply, absent: &[usize]) -> AugmentError {
        // A corrupt file that can't be removed exists, but is not a sample.
        let missing = self.missing().len().max(absent.len());
        supply.not_in_cache(missing, self.records.len(), absent.first().copied().unwrap_or_default())
    }

    /// Refuses a set that must come from its cache alone and is not complete.
    ///
    /// # Errors
    /// [`AugmentError::NotInCache`] says how many samples are missing and how to make them.
    pub fn check_complete(&self) -> Result<(), AugmentError> {
        match self.supply() {
            Some(supply @ Supply::Cached { .. }) => match self.missing() {
                missing if missing.is_empty() => Ok(()),
                missing => Err(self.not_in_cache(supply, &missing)),
            },
            _ => Ok(()),
        }
    }
}

impl Dataset<CxrSample> for SyntheticDataset {
    fn get(&self, index: usize) -> Result<CxrSample, DatasetError> {
        Ok(self.batch(&[index])?.remove(0))
    }

    fn get_many(&self, indexes: Vec<usize>) -> Result<Vec<CxrSample>, DatasetError> {
        self.batch(&indexes)
    }

    fn len(&self) -> usize {
        self.records.len()
    }
}

impl fmt::Debug for SyntheticDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyntheticDataset").field("len", &self.records.len()).field("supply", &self.supply()).finish()
    }
}

/// The row of a sample. Its split is training, the only one for synthetic images.
fn record_of(request: &SampleRequest, key: CacheKey, model: &str) -> CxrRecord {
    let record = CxrRecord::of_sample(format!("{key}.png"), Provenance::new(request.clone(), model));
    CxrRecord { split: Some(Split::Train), ..record }
}
