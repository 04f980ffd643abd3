//! Images that exist already through a gate.

use std::num::NonZeroUsize;

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{Attempt, Candidate, Gate, GateOutcome, GateReport, VerdictLedger};
use crate::AugmentError;
use crate::supply::{CacheKey, ImagePool};

/// What became of the images of a pool.
#[derive(Clone, Debug, PartialEq)]
pub struct Sifted {
    /// The verdict on every image, in order.
    pub attempts: Vec<Attempt>,
    /// The counts.
    pub report: GateReport,
}

impl Gate {
    /// Judges every image of a pool, `batch` of them at a time; `progress` is told how many are judged. An image that fails is left
    /// out: unlike a generator's, it can't be made again with another seed.
    ///
    /// # Errors
    /// An image that can't be decoded, [`AugmentError::Judge`], and those of the ledger.
    pub fn sift(
        &self,
        images: &ImagePool,
        ledger: Option<&VerdictLedger>,
        batch: NonZeroUsize,
        mut progress: impl FnMut(usize),
    ) -> Result<Sifted, AugmentError> {
        let mut sifted = Sifted { attempts: Vec::new(), report: self.report() };
        let indices: Vec<usize> = (0..images.data().rows().len()).collect();
        for batch in indices.chunks(batch.get()) {
            // The error of the first failing image wins, whichever thread was first.
            let decoded: Vec<_> = batch.par_iter().map(|&index| images.data().decode(index)).collect();
            let decoded = decoded.into_iter().collect::<Result<Vec<_>, _>>()?;
            // A verdict depends on the pixels and on what the image should show.
            let keys: Vec<_> = batch
                .iter()
                .zip(&decoded)
                .map(|(&index, image)| CacheKey::new(images.request(index), image.digest()))
                .collect();
            let known = |key: &CacheKey| ledger.map_or(Ok(None), |ledger| ledger.get(self.fingerprint, *key));
            let mut verdicts = keys.iter().map(known).collect::<Result<Vec<_>, _>>()?;
            let unknown: Vec<usize> = (0..batch.len()).filter(|&place| verdicts[place].is_none()).collect();
            let candidate = |&place: &usize| Candidate {
                request: images.request(batch[place]),
                image: &decoded[place],
                channel_spread: None,
            };
            let judged = match unknown.is_empty() {
                true => Vec::new(),
                false => self.judge(&unknown.iter().map(candidate).collect::<Vec<_>>(), 1)?,
            };
            let rows: Vec<_> = unknown.iter().zip(judged).map(|(&place, (verdict, _))| (keys[place], verdict)).collect();
            if let Some(ledger) = ledger.filter(|_| !rows.is_empty()) {
                ledger.record(self.fingerprint, &rows)?;
            }
            for (place, (_, verdict)) in unknown.into_iter().zip(rows) {
                verdicts[place] = Some(verdict);
            }
            for (&index, verdict) in batch.iter().zip(verdicts) {
                let verdict = verdict.expect("known or judged just now");
                sifted.report.judged(&verdict);
                let passed = verdict.passed();
                sifted.report.settled(if passed { GateOutcome::Passed(1) } else { GateOutcome::Rejected(1) });
                let seed = images.request(index).seed;
                sifted.attempts.push(Attempt { request: index, attempt: 1, seed, verdict });
            }
            progress(sifted.attempts.len());
        }
        Ok(sifted)
    }
}
