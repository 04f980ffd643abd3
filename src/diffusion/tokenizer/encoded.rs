//! Ids of a batch of texts.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Ids of a batch of texts, all of one length; shapes with `B` texts of `L` tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// Length of every row.
    pub max_length: usize,
    /// `[B, L]`.
    pub input_ids: Vec<Vec<u32>>,
    /// `[B, L]`, false where a token only fills up the row.
    pub attention_mask: Vec<Vec<bool>>,
    /// `[B, L]`, 0 for every token of a single text.
    pub token_type_ids: Vec<Vec<u32>>,
    /// `[B]`, tokens of the whole text, start and end tokens included.
    pub untruncated_length: Vec<usize>,
}

impl Encoded {
    pub(super) fn with_capacity(texts: usize, max_length: usize) -> Self {
        Self {
            max_length,
            input_ids: Vec::with_capacity(texts),
            attention_mask: Vec::with_capacity(texts),
            token_type_ids: Vec::with_capacity(texts),
            untruncated_length: Vec::with_capacity(texts),
        }
    }

    pub(super) fn push(&mut self, tokens: &tokenizers::Encoding, untruncated: usize) {
        self.input_ids.push(tokens.get_ids().to_vec());
        self.attention_mask.push(tokens.get_attention_mask().iter().map(|seen| *seen != 0).collect());
        self.token_type_ids.push(tokens.get_type_ids().to_vec());
        self.untruncated_length.push(untruncated);
    }

    /// `[B]`, tokens that were cut off every text.
    #[must_use]
    pub fn dropped(&self) -> Vec<usize> {
        self.untruncated_length.iter().map(|length| length.saturating_sub(self.max_length)).collect()
    }

    /// [`input_ids`](Self::input_ids) on a device.
    #[must_use]
    pub fn ids(&self, device: &Device) -> Tensor<2, Int> {
        self.integers(&self.input_ids, device)
    }

    /// [`token_type_ids`](Self::token_type_ids) on a device.
    #[must_use]
    pub fn token_types(&self, device: &Device) -> Tensor<2, Int> {
        self.integers(&self.token_type_ids, device)
    }

    /// [`attention_mask`](Self::attention_mask) on a device.
    #[must_use]
    pub fn mask(&self, device: &Device) -> Tensor<2, Bool> {
        let shape = [self.attention_mask.len(), self.max_length];
        Tensor::from_data(TensorData::new(self.attention_mask.concat(), shape), device)
    }

    fn integers(&self, rows: &[Vec<u32>], device: &Device) -> Tensor<2, Int> {
        let values: Vec<i32> = rows.iter().flatten().map(|id| id.cast_signed()).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), self.max_length]), device)
    }
}
