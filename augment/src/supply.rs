//! Where synthetic samples come from.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{AugmentError, Fingerprint, SampleCache, Synthesizer};

/// Where synthetic samples come from, as a run file says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SupplyMode {
    /// From the cache alone: what is missing is an error.
    Cached,
    /// From the generator, each time anew; nothing is kept.
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
    /// See [`SupplyMode::Cached`]. The generator itself is not needed, only what it is.
    Cached {
        /// The cache.
        cache: Arc<SampleCache>,
        /// Fingerprint of the generator that filled it.
        fingerprint: Fingerprint,
        /// Its [`SynthesizerCard::model`](crate::SynthesizerCard::model).
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

    /// What the generator calls itself.
    #[must_use]
    pub fn model(&self) -> String {
        match self {
            Self::Cached { model, .. } => model.clone(),
            Self::OnDemand { synthesizer } | Self::CacheThenGenerate { synthesizer, .. } => synthesizer.card().model,
        }
    }
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Supply({}, {})", self.mode(), self.model())
    }
}
