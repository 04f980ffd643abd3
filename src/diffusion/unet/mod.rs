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

mod blocks;
mod config;
mod config_file;
mod keys;
mod time_embedding;
mod transformer;

use burn::module::Module;
use burn::tensor::{Bool, FloatDType, Tensor};
use roentgen_classifier::nn::{Conv2d, GroupNorm};
use roentgen_kernels::silu;

use crate::diffusion::Trace;
use blocks::{Condition, DownBlock, MidBlock, UpBlock};
use time_embedding::{TimeEmbedding, TimeProjection};

pub use config::{UNetBlock, UNetConfig, UNetLevel};
pub use keys::UNetKeys;

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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::module::{ModuleVisitor, Param};
    use burn::tensor::{Device, Gradients, TensorData};
    use proptest::prelude::*;

    use super::*;
    use crate::diffusion::weights::init_with;

    /// Two levels with attention in the first.
    const SMALL: &str = r#"{
        "block_out_channels": [8, 16], "norm_num_groups": 4, "cross_attention_dim": 6, "attention_head_dim": [2, 4],
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]"#;

    /// A network whose weights, in the layout of files, are sines of their index and the length of their name.
    fn unet(more_options: &str, device: &Device, dtype: FloatDType) -> UNet {
        let config = UNetConfig::parse(&format!("{SMALL}{more_options}}}"), Path::new("config.json")).unwrap();
        let value = |name: &str, shape: &[usize]| {
            let (offset, gain) = match shape {
                [_, inputs @ ..] if !inputs.is_empty() => (0.0, (2.0 / inputs.iter().product::<usize>() as f64).sqrt()),
                _ if name.ends_with(".weight") => (1.0, 0.1),
                _ => (0.0, 0.1),
            };
            let value = |i: usize| (offset + gain * (0.7 * i as f64 + name.len() as f64).sin()) as f32;
            let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
            Ok(TensorData::new(values, shape.to_vec()))
        };
        init_with(config.init(device), &config.keys(), dtype, value).unwrap()
    }

    fn wave<const D: usize>(shape: [usize; D], value: impl Fn(f64) -> f64, device: &Device) -> Tensor<D> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i| value(i as f64) as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    fn sample(shape: [usize; 4], device: &Device) -> Tensor<4> {
        wave(shape, |i| (0.3 * i).sin(), device)
    }

    fn text(device: &Device) -> Tensor<3> {
        wave([2, 4, 6], |i| (0.2 * i).cos(), device)
    }

    fn mask(seen: [[bool; 4]; 2]) -> Option<Tensor<2, Bool>> {
        Some(Tensor::from_data(TensorData::from(seen), &Device::flex()))
    }

    fn timesteps<const N: usize>(timesteps: [f32; N], device: &Device) -> Tensor<1> {
        Tensor::from_floats(timesteps, device)
    }

    fn assert_close(got: &Tensor<4>, want: &Tensor<4>, tolerance: f32) {
        let error = (got.clone() - want.clone()).abs().max().into_scalar::<f32>();
        assert!(error <= tolerance, "error {error}");
    }

    /// Expected: `UNet2DConditionModel` of diffusers 0.42.1 in 64 bits with these options, weights and inputs; every 25th
    /// value. In 32 bits it differs from that by up to 1.2e-6.
    #[test]
    fn options_that_few_models_set_are_as_in_the_reference() {
        let options = r#", "in_channels": 5, "out_channels": 3, "center_input_sample": true, "flip_sin_to_cos": false,
            "freq_shift": 1, "only_cross_attention": [true, false], "transformer_layers_per_block": [1, 2],
            "layers_per_block": [1, 2]"#;
        let device = Device::flex();
        let unet = unet(options, &device, FloatDType::F32);
        // In the reference, a row whose text is hidden whole sees all of it.
        let mask = mask([[true, true, true, false], [false; 4]]);
        let y = unet.forward(sample([2, 5, 5, 7], &device), timesteps([3.25, 900.0], &device), text(&device), mask);
        assert_eq!(y.dims(), [2, 3, 5, 7]);
        let y = y.into_data().try_to_vec::<f32>().unwrap();
        let expected = [
            0.762_761_2,
            -0.780_641_7,
            0.104_007_76,
            -0.123_102_03,
            -1.088_177_6,
            -0.750_812_3,
            1.892_525_4,
            0.186_542_08,
            -0.716_118_2,
        ];
        for (i, expected) in expected.into_iter().enumerate() {
            assert!((y[25 * i] - expected).abs() < 2e-5, "[{}] is {}, expected {expected}", 25 * i, y[25 * i]);
        }
    }

    #[test]
    fn rows_of_a_batch_are_as_alone() {
        let device = Device::flex();
        let unet = unet("", &device, FloatDType::F32);
        let (x, text) = (sample([2, 4, 8, 8], &device), text(&device));
        let both = unet.forward(x.clone(), timesteps([5.0, 700.0], &device), text.clone(), None);
        for (row, t) in [5.0, 700.0].into_iter().enumerate() {
            let x = x.clone().narrow(0, row, 1);
            let alone = unet.forward(x, timesteps([t], &device), text.clone().narrow(0, row, 1), None);
            assert_close(&alone, &both.clone().narrow(0, row, 1), 1e-5);
        }
        let shared = unet.forward(x.clone(), timesteps([5.0], &device), text.clone(), None);
        let repeated = unet.forward(x, timesteps([5.0, 5.0], &device), text, None);
        assert_eq!(shared.into_data(), repeated.into_data());
    }

    #[test]
    fn hidden_text_has_no_influence_and_the_rest_has() {
        let device = Device::flex();
        let unet = unet("", &device, FloatDType::F32);
        let seen = [[true, true, true, false]; 2];
        let run = |changed: usize| {
            let change = wave([2, 1, 6], |i| 1.0 + i, &device);
            let text = text(&device).slice_assign([0..2, changed..changed + 1, 0..6], change);
            unet.forward(sample([2, 4, 4, 4], &device), timesteps([10.0], &device), text, mask(seen)).into_data()
        };
        let plain =
            unet.forward(sample([2, 4, 4, 4], &device), timesteps([10.0], &device), text(&device), mask(seen)).into_data();
        assert_eq!(run(3), plain);
        assert_ne!(run(2), plain);
    }

    /// Names of parameters without a gradient.
    struct WithoutGradient<'a> {
        gradients: &'a Gradients,
        path: Vec<String>,
        found: Vec<String>,
        seen: usize,
    }

    impl ModuleVisitor for WithoutGradient<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.seen += 1;
            let gradient = param.val().grad(self.gradients);
            if gradient.is_none_or(|gradient| gradient.abs().sum().into_scalar::<f32>() == 0.0) {
                self.found.push(self.path.join("."));
            }
        }
    }

    #[test]
    fn gradients_reach_every_weight() {
        let device = Device::flex().autodiff();
        let unet = unet("", &device, FloatDType::F32);
        // An odd size, so that all of the way up takes part.
        let y = unet.forward(sample([2, 4, 5, 5], &device), timesteps([5.0, 700.0], &device), text(&device), None);
        let gradients = y.powf_scalar(2.0).mean().backward();
        let mut visitor = WithoutGradient { gradients: &gradients, path: Vec::new(), found: Vec::new(), seen: 0 };
        unet.visit(&mut visitor);
        assert_eq!(visitor.found, Vec::<String>::new());
        assert!(visitor.seen > 100, "{}", visitor.seen);
    }

    #[test]
    fn half_precision_is_near() {
        let device = Device::flex();
        let run = |options, dtype| {
            let [x, text] =
                [sample([2, 4, 8, 8], &device).flatten(0, 3), text(&device).flatten(0, 2)].map(|x: Tensor<1>| x.cast(dtype));
            let unet = unet(options, &device, dtype);
            let y = unet.forward(x.reshape([2, 4, 8, 8]), timesteps([981.0], &device), text.reshape([2, 4, 6]), None);
            assert_eq!(FloatDType::from(y.dtype()), dtype);
            y.cast(FloatDType::F32)
        };
        let full = run("", FloatDType::F32);
        // Results are of size 1; half precision rounds to 11 bits, bfloat16 to 8, in some thirty layers.
        for options in ["", r#", "upcast_attention": true"#] {
            assert_close(&run(options, FloatDType::F16), &full, 0.02);
            assert_close(&run(options, FloatDType::BF16), &full, 0.15);
        }
    }

    #[test]
    #[should_panic(expected = "2 timesteps for 3 samples")]
    fn timesteps_must_be_one_or_one_a_row() {
        let device = Device::flex();
        let _ = unet("", &device, FloatDType::F32).forward(
            sample([3, 4, 4, 4], &device),
            timesteps([1.0, 2.0], &device),
            text(&device),
            None,
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn any_size_goes_in_and_comes_out(height in 1usize..12, width in 1usize..12) {
            let device = Device::flex();
            let options = r#", "block_out_channels": [8, 8, 8], "attention_head_dim": 2, "layers_per_block": 1,
                "down_block_types": ["DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"]"#;
            let y = unet(options, &device, FloatDType::F32)
                .forward(sample([2, 4, height, width], &device), timesteps([1.0], &device), text(&device), None);
            prop_assert_eq!(y.dims(), [2, 4, height, width]);
            prop_assert!(y.into_data().try_to_vec::<f32>().unwrap().iter().all(|value| value.is_finite()));
        }
    }
}
