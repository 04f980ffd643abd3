//! Texts to the states that the U-Net attends to.
//!
//! | file | what it holds |
//! |---|---|
//! | `tokenizer` | text to ids, for CLIP, BERT and RoBERTa |
//! | `encoder` | ids to text states, whatever the network |
//! | `clip`, `bert` | the networks |
//! | `sizes` | what their configurations share |
//! | `projection` | from the states of one encoder to the width of another's U-Net |

mod bert;
mod clip;
mod encoder;
mod projection;
mod sizes;
mod tokenizer;

pub use bert::{BertConfig, BertModel};
pub use clip::{ClipTextConfig, ClipTextModel};
pub use encoder::{TextEncoder, TextEncoderConfig, TextEncoderModel, TextInput, TextStates};
pub(crate) use projection::TEXT_PROJECTION;
pub use projection::{TextProjection, TextProjectionConfig, TextProjectionKeys};
pub use tokenizer::{Encoded, Tokenizer};
