//! The size of adapters, and the modules that have them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::adapters::lora::check_alpha;
use crate::finetune::FinetuneError;
use crate::finetune::settings::within;

/// Adapters of one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoraSettings {
    /// Rank of the product: 4 to 64 are usual.
    pub rank: usize,
    /// The product is multiplied by `alpha / rank`. It counts for a file in `start` that states no alpha, and must agree with one that
    /// does.
    pub alpha: f64,
    /// Modules that get an adapter, each by the end of its name, cut at a dot: `to_q` is that of every attention, `attn2.to_q` that
    /// of the attentions to the text.
    ///
    /// Empty stands for the attention projections: `to_q`, `to_k`, `to_v`, `to_out.0` in a U-Net, `q_proj`, `k_proj`, `v_proj`,
    /// `out_proj` in CLIP, `query`, `key`, `value`, `attention.output.dense` in BERT.
    pub targets: Vec<String>,
    /// A file or folder of adapters to start from, with this rank, alpha and these modules; `None` starts from new ones.
    pub start: Option<PathBuf>,
}

impl Default for LoraSettings {
    /// diffusers' defaults (`train_text_to_image_lora.py`), with an `alpha` of the rank.
    fn default() -> Self {
        Self { rank: 4, alpha: 4.0, targets: Vec::new(), start: None }
    }
}

impl LoraSettings {
    /// Of this rank, with an `alpha` of the same.
    #[must_use]
    pub fn of_rank(rank: usize) -> Self {
        Self { rank, alpha: rank as f64, ..Self::default() }
    }

    /// The factor of the product.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.alpha / self.rank as f64
    }

    /// Refuses numbers out of range.
    pub(in crate::finetune) fn check(&self) -> Result<(), FinetuneError> {
        /// Wider than the layers of any U-Net of this kind.
        const MOST_RANK: usize = 4_096;
        let known = (1..=MOST_RANK).contains(&self.rank);
        within("lora.rank", self.rank as f64, known, "a number above 0 and at most 4096; 4 to 64 are usual")?;
        Ok(check_alpha(self.alpha)?)
    }

    /// Ends of the names of modules that get an adapter.
    #[must_use]
    pub fn target_modules(&self) -> Vec<&str> {
        /// Names that are different in all networks.
        const ATTENTION: [&str; 12] = [
            "to_q",
            "to_k",
            "to_v",
            "to_out.0", // U-Net
            "q_proj",
            "k_proj",
            "v_proj",
            "out_proj", // CLIP
            "query",
            "key",
            "value",
            "attention.output.dense", // BERT
        ];
        match self.targets.is_empty() {
            true => ATTENTION.to_vec(),
            false => self.targets.iter().map(String::as_str).collect(),
        }
    }

    /// Whether the module of that name gets an adapter.
    #[must_use]
    pub fn is_target(&self, module: &str) -> bool {
        self.target_modules()
            .into_iter()
            .any(|target| module.strip_suffix(target).is_some_and(|before| before.is_empty() || before.ends_with('.')))
    }
}
