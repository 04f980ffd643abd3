//! Where synthetic samples come from.

mod cache;
#[cfg(test)]
pub(crate) mod fake;
mod images;
mod sample_png;
mod synthesizer;
mod synthetic;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::gate::{Candidate, GateOutcome, Verdict};
use crate::image::GrayImage;
use crate::request::SampleRequest;

pub use cache::{CacheKey, CacheOptions, CacheReport, CorruptSample, SampleCache};
pub use images::{Descendants, ImagePool, PoolOptions};
pub use sample_png::{SampleDefect, SampleOrigin, decode_sample, encode_sample};
pub use synthesizer::{AdapterCard, AdapterKind, SynthesisError, Synthesized, Synthesizer, SynthesizerCard};
pub use synthetic::{FillProgress, SyntheticBuilder, SyntheticDataset};

/// Where synthetic samples come from, as a run file states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupplyMode {
    /// From the cache alone: what is missing is an error.
    Cached,
    /// From the generator, every time; nothing is kept.
    OnDemand,
    /// From the cache; what is missing is generated and kept.
    #[default]
    CacheThenGenerate,
}

impl fmt::Display for SupplyMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cached => "cached",
            Self::OnDemand => "on-demand",
            Self::CacheThenGenerate => "cache-then-generate",
        })
    }
}

/// Where synthetic samples come from, with all that it needs. All three give the same samples.
#[derive(Clone)]
pub enum Supply {
    /// See [`SupplyMode::Cached`]. The generator itself is not needed, only its identity.
    Cached {
        /// The cache.
        cache: Arc<SampleCache>,
        /// Fingerprint of the generator that filled it.
        fingerprint: Fingerprint,
        /// Its [`SynthesizerCard::model`](crate::supply::SynthesizerCard::model).
        model: String,
    },
    /// See [`SupplyMode::OnDemand`].
    OnDemand {
        /// The generator.
        synthesizer: Arc<dyn Synthesizer>,
    },
    /// See [`SupplyMode::CacheThenGenerate`].
    CacheThenGenerate {
        /// The cache.
        cache: Arc<SampleCache>,
        /// The generator.
        synthesizer: Arc<dyn Synthesizer>,
    },
}

impl Supply {
    /// The supply of that mode from a generator and, if the mode has one, a cache.
    ///
    /// # Errors
    /// [`AugmentError::SupplyLacks`] if the mode needs a cache and there is none.
    pub fn new(
        mode: SupplyMode,
        synthesizer: Arc<dyn Synthesizer>,
        cache: Option<Arc<SampleCache>>,
    ) -> Result<Self, AugmentError> {
        let cache = cache.ok_or(AugmentError::SupplyLacks { supply: mode, needs: "a cache" });
        Ok(match mode {
            SupplyMode::OnDemand => Self::OnDemand { synthesizer },
            SupplyMode::Cached => {
                Self::Cached { cache: cache?, fingerprint: synthesizer.fingerprint(), model: synthesizer.card().model }
            }
            SupplyMode::CacheThenGenerate => Self::CacheThenGenerate { cache: cache?, synthesizer },
        })
    }

    /// The mode.
    #[must_use]
    pub fn mode(&self) -> SupplyMode {
        match self {
            Self::Cached { .. } => SupplyMode::Cached,
            Self::OnDemand { .. } => SupplyMode::OnDemand,
            Self::CacheThenGenerate { .. } => SupplyMode::CacheThenGenerate,
        }
    }

    /// The cache, if there is one.
    #[must_use]
    pub fn cache(&self) -> Option<&Arc<SampleCache>> {
        match self {
            Self::Cached { cache, .. } | Self::CacheThenGenerate { cache, .. } => Some(cache),
            Self::OnDemand { .. } => None,
        }
    }

    /// The generator, if there is one.
    #[must_use]
    pub fn synthesizer(&self) -> Option<&Arc<dyn Synthesizer>> {
        match self {
            Self::OnDemand { synthesizer } | Self::CacheThenGenerate { synthesizer, .. } => Some(synthesizer),
            Self::Cached { .. } => None,
        }
    }

    /// Fingerprint of the generator.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Cached { fingerprint, .. } => *fingerprint,
            Self::OnDemand { synthesizer } | Self::CacheThenGenerate { synthesizer, .. } => synthesizer.fingerprint(),
        }
    }

    /// The generator's name.
    #[must_use]
    pub fn model(&self) -> String {
        match self {
            Self::Cached { model, .. } => model.clone(),
            Self::OnDemand { synthesizer } | Self::CacheThenGenerate { synthesizer, .. } => synthesizer.card().model,
        }
    }
}

impl Supply {
    /// What the cache has of `keys`, and the places of the keys it lacks, each distinct key once.
    pub(crate) fn look_up(&self, keys: &[CacheKey]) -> Result<(HashMap<CacheKey, Synthesized>, Vec<usize>), AugmentError> {
        let (mut found, mut absent, mut seen) = (HashMap::new(), Vec::new(), HashSet::new());
        for (place, &key) in keys.iter().enumerate().filter(|(_, key)| seen.insert(**key)) {
            match self.cache().map_or(Ok(None), |cache| cache.sample(key))? {
                Some((image, origin)) => {
                    found.insert(key, Synthesized { image, channel_spread: origin.channel_spread });
                }
                None => absent.push(place),
            }
        }
        Ok((found, absent))
    }

    /// Verdicts on the images of `wanted`, one per request. Images that had to be made are kept with theirs, if there is a cache.
    ///
    /// `judge` decides whether images pass, and what is written beside them.
    pub(crate) fn judged(
        &self,
        wanted: &[SampleRequest],
        judge: impl FnOnce(&[Candidate<'_>]) -> Result<Vec<(Verdict, GateOutcome)>, AugmentError>,
    ) -> Result<Vec<Verdict>, AugmentError> {
        let fingerprint = self.fingerprint();
        let keys: Vec<_> = wanted.iter().map(|request| CacheKey::new(request, fingerprint)).collect();
        let (mut images, absent) = self.look_up(&keys)?;
        let missing: Vec<_> = absent.iter().map(|&place| wanted[place].clone()).collect();
        let made = match self.synthesizer() {
            _ if missing.is_empty() => Vec::new(),
            Some(synthesizer) => synthesize(synthesizer.as_ref(), &missing)?,
            None => return Err(self.not_in_cache(absent.len(), wanted.len(), absent[0])),
        };
        images.extend(absent.iter().map(|&place| keys[place]).zip(made));
        let candidates: Vec<_> = wanted
            .iter()
            .zip(&keys)
            .map(|(request, key)| {
                let Synthesized { image, channel_spread } = &images[key];
                Candidate { request, image, channel_spread: *channel_spread }
            })
            .collect();
        let judged = judge(&candidates)?;
        if let (Some(cache), Some(synthesizer)) = (self.cache(), self.synthesizer()) {
            let describe = |&place: &usize| {
                let (verdict, outcome) = &judged[place];
                let sample = images[&keys[place]].clone();
                let (image, mut origin) = self_describing(synthesizer.as_ref(), wanted[place].clone(), sample);
                (origin.gate, origin.nearest_real) = (Some(*outcome), verdict.nearest_real.clone());
                (image, origin)
            };
            let samples: Vec<_> = absent.iter().map(describe).collect();
            cache.put(&samples, &keys.iter().copied().collect())?;
        }
        Ok(judged.into_iter().map(|(verdict, _)| verdict).collect())
    }

    /// The error that `missing` of `total` samples are absent, the request at `first` among them.
    ///
    /// # Panics
    /// If the supply has no cache.
    pub(crate) fn not_in_cache(&self, missing: usize, total: usize, first: usize) -> AugmentError {
        let cache = self.cache().expect("a supply without a generator has a cache");
        AugmentError::NotInCache { path: cache.folder().to_owned(), missing, total, first }
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supply({}, {})", self.mode(), self.model())
    }
}

/// One image per request; none for no request.
pub(crate) fn synthesize(synthesizer: &dyn Synthesizer, requests: &[SampleRequest]) -> Result<Vec<Synthesized>, AugmentError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let model = || synthesizer.card().model;
    let images = synthesizer.synthesize(requests).map_err(|source| AugmentError::Synthesis {
        model: model(),
        requests: requests.len(),
        source,
    })?;
    if images.len() != requests.len() {
        return Err(AugmentError::SynthesizerCount { model: model(), expected: requests.len(), found: images.len() });
    }
    Ok(images)
}

/// An image with the description that its file will hold, before any gate.
pub(crate) fn self_describing(
    synthesizer: &dyn Synthesizer,
    request: SampleRequest,
    sample: Synthesized,
) -> (GrayImage, SampleOrigin) {
    let origin = SampleOrigin {
        request,
        fingerprint: synthesizer.fingerprint(),
        card: synthesizer.card(),
        channel_spread: sample.channel_spread,
        gate: None,
        nearest_real: None,
    };
    (sample.image, origin)
}
