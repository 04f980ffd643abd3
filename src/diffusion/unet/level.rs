//! One resolution of the U-Net.

/// Kind of a block of residual layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UNetBlock {
    /// Residual blocks alone (`DownBlock2D`, `UpBlock2D`).
    Plain,
    /// A transformer after each residual block (`CrossAttnDownBlock2D`, `CrossAttnUpBlock2D`).
    CrossAttention,
}

/// One resolution: the block on the way down and the one on the way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UNetLevel {
    /// Channels of the features.
    pub channels: usize,
    /// Residual blocks on the way down; there is one more on the way up.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks of each transformer.
    pub transformer_layers: usize,
    /// Whether both attentions of a transformer block go to the text.
    pub only_cross_attention: bool,
    /// On the way down.
    pub down: UNetBlock,
    /// On the way up.
    pub up: UNetBlock,
}
