//! The denoiser: a U-Net over latents whose transformers attend to text states.
//!
//! ```text
//! sample ── conv_in ── down_blocks ── mid_block ── up_blocks ── conv_norm_out ── SiLU ── conv_out
//!              └───────────┴──── skip tensors, last in, first out ───┘
//! timesteps ── time_proj ── time_embedding ── SiLU ── every residual block
//! encoder_hidden_states ── every transformer block
//! ```
//!
//! Reference: diffusers 0.42.1, `models/unets/unet_2d_condition.py` (`UNet2DConditionModel`); Rombach et al. 2022.

mod condition;
mod config;
mod cross_attention;
mod down_block;
mod feed_forward;
mod keys;
mod level;
mod mid_block;
mod read;
mod time_embedding;
mod transformer;
mod up_block;

use burn::module::Module;
use burn::nn::GroupNorm;
use burn::nn::conv::Conv2d;
use burn::tensor::activation::silu;
use burn::tensor::{Bool, FloatDType, Tensor};

use super::Trace;
use condition::Condition;
pub use config::UNetConfig;
use down_block::DownBlock;
pub use keys::UNetKeys;
pub use level::{UNetBlock, UNetLevel};
use mid_block::MidBlock;
use time_embedding::{TimeEmbedding, TimeProjection};
use up_block::UpBlock;

/// Predicts, from latents with noise, the timestep and a text, what was added to them.
///
/// Should be created using [`UNetConfig`].
#[derive(Module, Debug)]
pub struct UNet {
    conv_in: Conv2d,
    #[module(skip)]
    time_proj: TimeProjection,
    time_embedding: TimeEmbedding,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    center_input_sample: bool,
}

impl UNet {
    /// One evaluation of the network.
    ///
    /// # Shapes
    /// - `sample`: `[B, in_channels, H, W]`, in the type of the weights; any size
    /// - `timesteps`: `[1]` for all rows or `[B]`, in `0..1000`, fractions allowed, in 32 bits whatever the type of the weights
    /// - `encoder_hidden_states`: `[B, L, D]` with `D` the configuration's `cross_attention_dim`, in the type of the weights
    /// - `encoder_attention_mask`: `[B, L]`, true where a text state may be seen; `None`, as Stable Diffusion has it, shows all
    /// - output: `[B, out_channels, H, W]`
    ///
    /// # Panics
    /// If the shapes don't fit the configuration or each other.
    #[must_use]
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        encoder_hidden_states: Tensor<3>,
        encoder_attention_mask: Option<Tensor<2, Bool>>,
    ) -> Tensor<4> {
        self.forward_traced(sample, timesteps, encoder_hidden_states, encoder_attention_mask, &mut Trace::off())
    }

    /// [`forward`](Self::forward), with what each module computed shown to `trace`.
    ///
    /// # Panics
    /// If the shapes don't fit the configuration or each other.
    #[must_use]
    pub fn forward_traced(
        &self,
        sample: Tensor<4>,
        timesteps: Tensor<1>,
        encoder_hidden_states: Tensor<3>,
        encoder_attention_mask: Option<Tensor<2, Bool>>,
        trace: &mut Trace,
    ) -> Tensor<4> {
        let [batch, ..] = sample.dims();
        let [rows] = timesteps.dims();
        let [texts, ..] = encoder_hidden_states.dims();
        assert!(rows == 1 || rows == batch, "{rows} timesteps for {batch} samples");
        assert_eq!(texts, batch, "{texts} texts for {batch} samples");

        // 1. Time. The angles go up to 1000 radians, which half precision can't tell apart: only their sines are rounded.
        let dtype = FloatDType::from(sample.dtype());
        let angles = self.time_proj.forward(timesteps.cast(FloatDType::F32).expand([batch])).cast(dtype);
        trace.record("time_proj", &angles);
        let time = self.time_embedding.forward(angles);
        trace.record("time_embedding", &time);
        let condition = Condition::new(silu(time), encoder_hidden_states, encoder_attention_mask);

        // 2. In
        let sample = if self.center_input_sample { sample * 2.0 - 1.0 } else { sample };
        let mut x = self.conv_in.forward(sample);
        trace.record("conv_in", &x);

        // 3. Down
        let mut skips = vec![x.clone()];
        for (i, block) in self.down_blocks.iter().enumerate() {
            let before = skips.len();
            x = trace.within(format_args!("down_blocks.{i}"), |trace| block.forward(x, &mut skips, &condition, trace));
            trace.record(&format!("down_blocks.{i}"), &x);
            for (j, skip) in skips[before..].iter().enumerate() {
                trace.record(&format!("down_blocks.{i}.res{j}"), skip);
            }
        }

        // 4. Middle
        x = trace.within("mid_block", |trace| self.mid_block.forward(x, &condition, trace));
        trace.record("mid_block", &x);

        // 5. Up
        for (i, block) in self.up_blocks.iter().enumerate() {
            x = trace.within(format_args!("up_blocks.{i}"), |trace| block.forward(x, &mut skips, &condition, trace));
            trace.record(&format!("up_blocks.{i}"), &x);
        }

        // 6. Out
        let x = self.conv_norm_out.forward(x);
        trace.record("conv_norm_out", &x);
        let x = self.conv_out.forward(silu(x));
        trace.record("sample", &x);
        x
    }
}
