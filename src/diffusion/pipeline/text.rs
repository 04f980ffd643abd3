//! Prompts to text states, kept from batch to batch.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::{Int, Tensor, TensorData};
use hashlink::LruCache;

use super::StableDiffusion;
use crate::diffusion::DiffusionError;
use crate::diffusion::text::{Encoded, TextEncoder, TextEncoderModel, TextInput, Tokenizer};

/// The text encoder's output for some prompts.
#[derive(Clone, Debug)]
pub struct EncodedText {
    /// Ids `[B][L]`, padded and cut to the encoder's length.
    pub input_ids: Vec<Vec<u32>>,
    /// `[B, L, D]`, what the U-Net attends to.
    pub states: Tensor<3>,
    /// Tokens of each prompt that the encoder did not see.
    pub dropped_tokens: Vec<usize>,
}

impl StableDiffusion {
    /// Encodes prompts; equal prompts are encoded once.
    ///
    /// A prompt longer than the encoder's length (77 tokens for CLIP) is cut, keeping the end token, as diffusers cuts it.
    /// `clip_skip` last layers are left out (0 for none).
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    ///
    /// # Panics
    /// If the encoder has fewer layers than `clip_skip`.
    pub fn encode(&self, prompts: &[&str], clip_skip: usize) -> Result<EncodedText, DiffusionError> {
        let (distinct, rows) = distinct(prompts);
        let encoded = self.checkpoint.tokenizer.encode(&distinct, self.text_length())?;
        let states = self.states(&self.text_encoder.on(&self.device), &encoded, clip_skip);
        let positions: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
        let states = states.select(0, Tensor::<1, Int>::from_data(TensorData::new(positions, [rows.len()]), &self.device));
        let dropped = encoded.dropped();
        Ok(EncodedText {
            input_ids: rows.iter().map(|row| encoded.input_ids[*row].clone()).collect(),
            states,
            dropped_tokens: rows.iter().map(|row| dropped[*row]).collect(),
        })
    }

    /// The states `[L, D]` of each prompt, encoded alone, so that their bits do not depend on the other prompts.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    fn encode_each(&self, prompts: &[&str], clip_skip: usize) -> Result<Vec<Tensor<2>>, DiffusionError> {
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let encoder = self.text_encoder.on(&self.device);
        let each = prompts.iter().map(|prompt| {
            let encoded = self.checkpoint.tokenizer.encode(&[*prompt], self.text_length())?;
            Ok(self.states(&encoder, &encoded, clip_skip).squeeze_dim(0))
        });
        each.collect()
    }

    /// The states `[B, L, D]` that the U-Net attends to.
    fn states(&self, encoder: &TextEncoderModel, encoded: &Encoded, clip_skip: usize) -> Tensor<3> {
        // As in diffusers, only encoders whose configuration asks for a mask get one.
        let mask = encoder.uses_attention_mask().then(|| encoded.mask(&self.device));
        let input = TextInput { mask, skip: clip_skip, ..TextInput::new(encoded.ids(&self.device)) };
        let states = encoder.encode(input).last_hidden_state;
        match &self.projection {
            Some(projection) => projection.on(&self.device).forward(states),
            None => states,
        }
    }

    /// The tokenizer of its text encoder.
    #[must_use]
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.checkpoint.tokenizer
    }

    /// Ids of each distinct prompt, in order of appearance, as far as the text encoder sees it.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub(crate) fn prompt_ids(&self, prompts: &[&str]) -> Result<Vec<Vec<u32>>, DiffusionError> {
        Ok(self.checkpoint.tokenizer.encode(&distinct(prompts).0, self.text_length())?.input_ids)
    }

    /// Tokens of each prompt that the text encoder does not see.
    ///
    /// # Errors
    /// [`DiffusionError::Tokenizer`].
    pub fn dropped_tokens(&self, prompts: &[&str]) -> Result<Vec<usize>, DiffusionError> {
        let (distinct, rows) = distinct(prompts);
        let dropped = self.checkpoint.tokenizer.encode(&distinct, self.text_length())?.dropped();
        Ok(rows.into_iter().map(|row| dropped[row]).collect())
    }

    /// Tokens of a padded prompt: the tokenizer's length, or the encoder's where that is less.
    pub(crate) fn text_length(&self) -> usize {
        let positions = self.text_encoder.model.max_positions();
        self.checkpoint.tokenizer.model_max_length().map_or(positions, |length| length.min(positions))
    }
}

/// Distinct texts in order of appearance, and the position of each text among them.
fn distinct<'a>(texts: &[&'a str]) -> (Vec<&'a str>, Vec<usize>) {
    let mut positions = HashMap::new();
    let mut distinct = Vec::new();
    let rows = texts.iter().map(|text| {
        *positions.entry(*text).or_insert_with(|| {
            distinct.push(*text);
            distinct.len() - 1
        })
    });
    let rows = rows.collect();
    (distinct, rows)
}

/// Most bytes of states that are kept: more than 1,000 prompts of Stable Diffusion 1.4 (77 x 768 floats each).
const MOST_BYTES: usize = 256 << 20;

/// The most recently used text states of one pipeline's prompts, on the compute device.
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
        // Touched first, so that states this batch needs are not evicted for the rest of it.
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

    /// A panic elsewhere can't have left a wrong state: they are inserted complete.
    fn lock(&self) -> MutexGuard<'_, LruCache<String, Tensor<2>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::checkpoint::OpenOptions;
    use super::super::random::{RandomSize, write_random_pipeline};
    use super::*;

    #[test]
    fn equal_texts_share_a_row() {
        assert_eq!(distinct(&["b", "a", "b", ""]), (vec!["b", "a", ""], vec![0, 1, 0, 2]));
    }

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
