//! A frozen text encoder: one embedding per text.

use std::path::Path;

use burn::tensor::{Device, Int, Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;
use serde::Serialize;

use super::error::ProbeError;
use crate::diffusion::DiffusionError;
use crate::diffusion::text::{EncoderFolder, TextEncoder, TextEncoderConfig, TextInput};

/// How the states of a text's tokens become one embedding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state of the first token, `[CLS]` or `<s>`: BERT and RoBERTa.
    Cls,
    /// The mean over all tokens, those that frame the text included.
    Mean,
    /// The state of the last token, the one that ends the text: CLIP's own choice.
    Eos,
}

impl Pooling {
    /// Its name in outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Eos => "eos",
        }
    }
}

/// A text encoder that is only read.
#[derive(Clone, Debug)]
pub struct FrozenEncoder {
    /// As the user named it.
    pub name: String,
    /// How states are pooled.
    pub pooling: Pooling,
    folder: EncoderFolder,
    length: usize,
    device: Device,
}

/// The embedding of one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    /// One number per unit of the encoder's width.
    pub values: Vec<f32>,
    /// Tokens of the text that the encoder did not see, as it was too long.
    pub cut: usize,
}

impl FrozenEncoder {
    /// Opens the encoder in `folder`, see [`EncoderFolder::read`]; `name` is for people. Without a `pooling`, CLIP's text tower is read at
    /// its end token, any other by the mean.
    ///
    /// # Errors
    /// [`ProbeError::CausalCls`]; [`ProbeError::Encoder`].
    pub fn open(name: &str, folder: &Path, pooling: Option<Pooling>, device: &Device) -> Result<Self, ProbeError> {
        let folder = EncoderFolder::read(folder, device)?;
        let is_clip = matches!(folder.config, TextEncoderConfig::Clip(_));
        let pooling = pooling.unwrap_or(if is_clip { Pooling::Eos } else { Pooling::Mean });
        if is_clip && pooling == Pooling::Cls {
            return Err(ProbeError::CausalCls);
        }
        Ok(Self { name: name.to_owned(), pooling, length: folder.text_length(), folder, device: device.clone() })
    }

    /// Digest of all that an embedding depends on, the text apart.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&[b"roentgen embedding 1", &self.folder.digest.0, self.pooling.name().as_bytes()])
    }

    /// Numbers per embedding.
    #[must_use]
    pub fn width(&self) -> usize {
        self.folder.model.width()
    }

    /// Its class in transformers.
    #[must_use]
    pub fn class(&self) -> &'static str {
        self.folder.config.class_name()
    }

    /// Most tokens of a text that it sees.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// The embedding of a text. Each is encoded alone, without padding, so that its bits depend on no other text.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn embed(&self, text: &str) -> Result<Embedding, DiffusionError> {
        let encoded = self.folder.tokenizer.encode(&[text], self.length)?;
        let cut = encoded.dropped()[0];
        let tokens = encoded.input_ids[0].iter().zip(&encoded.attention_mask[0]);
        let ids: Vec<i32> = tokens.filter(|(_, is_seen)| **is_seen).map(|(id, _)| id.cast_signed()).collect();
        let count = ids.len();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, count]), &self.device);
        let states = self.folder.model.encode(TextInput::new(ids)).last_hidden_state.into_data();
        let states: Vec<f32> = states.try_to_vec().expect("the encoder computes in 32-bit floats");
        let width = self.width();
        let of_token = |token: usize| states[token * width..][..width].to_vec();
        let values = match self.pooling {
            Pooling::Cls => of_token(0),
            Pooling::Eos => of_token(count - 1),
            Pooling::Mean => {
                let sum = |unit: usize| states.iter().skip(unit).step_by(width).map(|value| f64::from(*value)).sum::<f64>();
                (0..width).map(|unit| (sum(unit) / count as f64) as f32).collect()
            }
        };
        Ok(Embedding { values, cut })
    }
}
