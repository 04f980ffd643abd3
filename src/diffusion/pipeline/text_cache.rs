//! Text states kept from batch to batch.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Tensor;
use hashlink::LruCache;

use super::StableDiffusion;
use crate::diffusion::DiffusionError;

/// Most bytes of states that are kept: more than 1,000 prompts of Stable Diffusion 1.4 (77 x 768 floats each).
const MOST_BYTES: usize = 256 << 20;

/// Text states of one pipeline's prompts, those used last; they lie on the compute device.
///
/// Each prompt is encoded alone, so that its states are the same bits whichever batch it came in first.
#[derive(Debug)]
pub(crate) struct TextCache {
    kept: Mutex<LruCache<String, Tensor<2>>>,
    clip_skip: usize,
}

impl TextCache {
    /// An empty cache of the states before the last `clip_skip` layers of `pipeline`.
    pub(crate) fn new(pipeline: &StableDiffusion, clip_skip: usize) -> Self {
        let each = pipeline.text_length() * pipeline.checkpoint.unet.cross_attention_dim * size_of::<f32>();
        Self { kept: Mutex::new(LruCache::new((MOST_BYTES / each).max(1))), clip_skip }
    }

    /// States `[B, L, D]` of `prompts` by `pipeline`, the one that the cache was made for.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub(crate) fn states(&self, pipeline: &StableDiffusion, prompts: &[&str]) -> Result<Tensor<3>, DiffusionError> {
        let mut kept = self.lock();
        // Touched first, so that what this batch needs is not what makes room for the rest of it.
        let mut missing: Vec<&str> = prompts.iter().copied().filter(|prompt| kept.get(*prompt).is_none()).collect();
        missing.sort_unstable();
        missing.dedup();
        let encoded = pipeline.encode_each(&missing, self.clip_skip)?;
        let found = |prompt: &&str| match missing.binary_search(prompt) {
            Ok(position) => encoded[position].clone(),
            Err(_) => kept.get(*prompt).expect("it was found above").clone(),
        };
        let states = prompts.iter().map(found).collect();
        for (prompt, states) in missing.into_iter().zip(encoded) {
            kept.insert(prompt.to_owned(), states);
        }
        Ok(Tensor::stack(states, 0))
    }

    /// Prompts in it.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// A panic elsewhere can't have left a state that is wrong: they are inserted whole.
    fn lock(&self) -> MutexGuard<'_, LruCache<String, Tensor<2>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::diffusion::{OpenOptions, RandomSize, write_random_pipeline};

    fn pipeline(seed: u64) -> StableDiffusion {
        let folder = tempfile::tempdir().unwrap();
        write_random_pipeline(folder.path(), RandomSize::Tiny, seed, burn::tensor::FloatDType::F32, |_| ()).unwrap();
        StableDiffusion::open(folder.path(), &OpenOptions::new(&Device::flex()), |_| ()).unwrap()
    }

    fn rows(states: Tensor<3>) -> Vec<Vec<f32>> {
        let values = states.to_data().try_to_vec::<f32>().unwrap();
        values.chunks(values.len() / states.dims()[0]).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn states_are_those_of_the_encoder_whatever_the_company() {
        let pipeline = pipeline(1);
        let cache = TextCache::new(&pipeline, 0);
        let together = rows(cache.states(&pipeline, &["", "left effusion", "", "mass"]).unwrap());
        assert_eq!(together[0], together[2]);
        assert_eq!(cache.len(), 3);
        let encoded = rows(pipeline.encode(&["", "left effusion", "", "mass"], 0).unwrap().states);
        for (kept, encoded) in together.iter().flatten().zip(encoded.iter().flatten()) {
            assert!((kept - encoded).abs() <= 1e-5 * encoded.abs().max(1.0), "{kept} {encoded}");
        }
        let alone = TextCache::new(&pipeline, 0);
        assert_eq!(rows(alone.states(&pipeline, &["mass"]).unwrap())[0], together[3]);
    }

    #[test]
    fn a_prompt_is_encoded_once() {
        let (first, other) = (pipeline(1), pipeline(2));
        let cache = TextCache::new(&first, 0);
        let states = rows(cache.states(&first, &["mass"]).unwrap());
        // Another encoder would give other states, were it asked.
        let again = rows(cache.states(&other, &["edema", "mass"]).unwrap());
        assert_eq!(again[1], states[0]);
        assert_ne!(rows(TextCache::new(&other, 0).states(&other, &["mass"]).unwrap()), states);
    }

    #[test]
    fn a_full_cache_lets_go_of_what_was_used_longest_ago_and_serves_batches_larger_than_itself() {
        let (first, other) = (pipeline(1), pipeline(2));
        let cache = TextCache { kept: Mutex::new(LruCache::new(2)), clip_skip: 0 };
        let first_states = rows(cache.states(&first, &["", "a", "b", "c", ""]).unwrap());
        assert_eq!((first_states.len(), cache.len()), (5, 2));
        let kept = rows(cache.states(&first, &["", "a"]).unwrap());
        assert_eq!(kept[0], first_states[0]);
        // The empty prompt, used again, outlives "a".
        cache.states(&first, &["", "d"]).unwrap();
        assert_eq!(rows(cache.states(&other, &[""]).unwrap())[0], kept[0]);
        assert_ne!(rows(cache.states(&other, &["a"]).unwrap())[0], kept[1]);
    }
}
