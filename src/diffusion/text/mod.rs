//! Texts to the states that the U-Net attends to.
//!
//! | file | what it holds |
//! |---|---|
//! | `tokenizer` | text to ids, for CLIP, BERT and RoBERTa |
//! | `encoder` | ids to text states, with any network |
//! | `clip`, `bert` | the networks |
//! | `folder` | an encoder with its tokenizer, without the rest of a pipeline |
//! | `sizes`, `table` | the common part of their configurations, and of their tables of tokens |
//! | `projection` | from the states of one encoder to the width of another's U-Net |

mod bert;
mod clip;
mod encoder;
mod folder;
mod projection;
mod sizes;
mod table;
mod tokenizer;

pub use bert::{BertConfig, BertModel};
pub use clip::{ClipTextConfig, ClipTextModel};
pub(crate) use clip::{Encoder, LayerSizes};
pub(crate) use encoder::OPEN_CLIP;
pub use encoder::{TextEncoder, TextEncoderConfig, TextEncoderModel, TextInput, TextStates};
pub use folder::EncoderFolder;
pub(crate) use projection::TEXT_PROJECTION;
pub use projection::{TextProjection, TextProjectionConfig, TextProjectionKeys};
pub(crate) use sizes::Activation;
pub use tokenizer::{Encoded, Tokenizer};
pub(crate) use tokenizer::{TOKENIZER_FILES, tokenizer_folder};
pub(in crate::diffusion) use tokenizer::{edit, list_tokens};
