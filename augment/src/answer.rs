//! Images for requests: from the cache where it has them, else from the generator.

use std::collections::{HashMap, HashSet};

use crate::{
    AugmentError, CacheKey, Candidate, GateOutcome, SampleOrigin, SampleRequest, Supply, Synthesized, Synthesizer, Verdict,
};

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

    /// Verdicts on the images of `wanted`, one a request. Images that had to be made are kept with theirs, if there is a cache.
    ///
    /// `judge` says of images whether they pass, and what is written beside them.
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

    /// The error of not finding `missing` of `total` samples, the request at `first` among them.
    ///
    /// # Panics
    /// If the supply has no cache.
    pub(crate) fn not_in_cache(&self, missing: usize, total: usize, first: usize) -> AugmentError {
        let cache = self.cache().expect("a supply without a generator has a cache");
        AugmentError::NotInCache { path: cache.folder().to_owned(), missing, total, first }
    }
}

/// One image a request; none for no request.
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

/// An image with what its file will say of it, before any gate.
pub(crate) fn self_describing(
    synthesizer: &dyn Synthesizer,
    request: SampleRequest,
    sample: Synthesized,
) -> (crate::GrayImage, SampleOrigin) {
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
