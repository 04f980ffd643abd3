//! The parts of Stable Diffusion and a whole image, with random weights. A size reads model, then pixels per side of the image.
//!
//! `tiny` runs always. `sd14`, the shapes of Stable Diffusion 1.4, needs 5 GB of memory, 5 GB of disk for the whole image, and
//! minutes; it runs where the environment has `ROENTGEN_BENCH_SD14`.

use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use divan::{Bencher, black_box};
use roentgen::diffusion::autoencoder::{AutoencoderKlConfig, AutoencoderKlKeys};
use roentgen::diffusion::pipeline::{
    ImageRequest, OpenOptions, RandomSize, Settings, StableDiffusion, Start, write_random_pipeline,
};
use roentgen::diffusion::text::{TextEncoder, TextEncoderConfig, TextInput};
use roentgen::diffusion::unet::{UNet, UNetConfig};
use roentgen::diffusion::weights::{KeyMap, draw, init_with};
use roentgen_kernels::keep_freed_memory;
use serde_json::{Value, json};

const SEED: u64 = 0;
/// Tokens of a text for CLIP.
const TOKENS: usize = 77;
/// Steps of the whole image. Time grows with them; RoentGen's published setting is 75.
const STEPS: usize = 10;
const GUIDANCE: f64 = 4.0;

fn main() {
    keep_freed_memory();
    divan::main();
}

#[derive(Clone, Copy)]
enum Size {
    Tiny,
    Sd14,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}px", self.pick("sd14", "tiny"), 8 * self.latents())
    }
}

impl Size {
    /// The models to measure.
    fn all() -> Vec<Self> {
        match std::env::var_os("ROENTGEN_BENCH_SD14") {
            Some(_) => vec![Self::Tiny, Self::Sd14],
            None => vec![Self::Tiny],
        }
    }

    fn pick<T>(self, sd14: T, tiny: T) -> T {
        match self {
            Self::Tiny => tiny,
            Self::Sd14 => sd14,
        }
    }

    /// Latents per side.
    fn latents(self) -> usize {
        self.pick(64, 8)
    }

    /// Width of text states.
    fn width(self) -> usize {
        self.pick(768, 32)
    }

    /// Number of ids.
    fn vocabulary(self) -> usize {
        self.pick(49408, 514)
    }

    /// The three configurations are those of `roentgen dev random-pipeline`; what they leave out has the same default.
    fn text_encoder(self) -> Value {
        json!({
            "model_type": "clip_text_model",
            "vocab_size": self.vocabulary(),
            "hidden_size": self.width(),
            "intermediate_size": 4 * self.width(),
            "num_hidden_layers": self.pick(12, 2),
            "num_attention_heads": self.pick(12, 4),
        })
    }

    fn unet(self) -> Value {
        json!({
            "block_out_channels": self.pick([320, 640, 1280, 1280], [16, 32, 32, 32]),
            "attention_head_dim": self.pick(8, 4),
            "layers_per_block": self.pick(2, 1),
            "norm_num_groups": self.pick(32, 8),
            "cross_attention_dim": self.width(),
        })
    }

    fn vae(self) -> Value {
        json!({
            "block_out_channels": self.pick([128, 256, 512, 512], [8, 16, 16, 16]),
            "down_block_types": (["DownEncoderBlock2D"; 4]),
            "up_block_types": (["UpDecoderBlock2D"; 4]),
            "layers_per_block": self.pick(2, 1),
            "norm_num_groups": self.pick(32, 4),
        })
    }

    /// A folder of such a pipeline, written once.
    fn folder(self) -> PathBuf {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-pipeline-{self}"));
        if !folder.join("model_index.json").is_file() {
            let size = self.pick(RandomSize::Sd14, RandomSize::Tiny);
            write_random_pipeline(&folder, size, SEED, FloatDType::F32, |_| ()).expect("the target folder can be written");
        }
        folder
    }
}

fn random<M: Module>(model: M, keys: &dyn KeyMap) -> M {
    random_in(FloatDType::F32, model, keys)
}

fn random_in<M: Module>(dtype: FloatDType, model: M, keys: &dyn KeyMap) -> M {
    init_with(model, keys, dtype, |key, shape| Ok(draw(key, shape, SEED))).expect("weights are drawn, not read")
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    device.seed(SEED);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// A prompt and a negative one: ids `[2, 77]` to states.
#[divan::bench(args = Size::all(), sample_count = 5, sample_size = 1)]
fn text_encoder_2_prompts(bencher: Bencher, size: Size) {
    encode(bencher, size, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = Size::all(), sample_count = 5, sample_size = 1)]
fn text_encoder_2_prompts_bf16(bencher: Bencher, size: Size) {
    encode(bencher, size, FloatDType::BF16);
}

fn encode(bencher: Bencher, size: Size, dtype: FloatDType) {
    let device = Device::flex();
    let config = TextEncoderConfig::parse(&size.text_encoder().to_string(), Path::new("bench")).expect("a known configuration");
    let encoder = random_in(dtype, config.init(&device), config.keys());
    let ids: Tensor<1, Int> = Tensor::arange(0..2 * TOKENS as i64, &device) % size.vocabulary() as i64;
    let ids: Tensor<2, Int> = ids.reshape([2, TOKENS]);
    bencher.bench_local(|| encoder.encode(TextInput::new(black_box(ids.clone()))).last_hidden_state.into_data());
}

/// The network's share of a guided step of one image: two rows, and their combination.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn unet_guided_step(bencher: Bencher, size: Size) {
    guided_step(bencher, size, FloatDType::F32);
}

/// The same in brain floats, with latents of 32 bits.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn unet_guided_step_bf16(bencher: Bencher, size: Size) {
    guided_step(bencher, size, FloatDType::BF16);
}

fn guided_step(bencher: Bencher, size: Size, dtype: FloatDType) {
    let device = Device::flex();
    let config = UNetConfig::parse(&size.unet().to_string(), Path::new("bench")).expect("a known configuration");
    let unet = random_in(dtype, config.init(&device), &config.keys());
    let latents = normal([1, 4, size.latents(), size.latents()], &device);
    let states = normal([2, TOKENS, size.width()], &device).cast(dtype);
    bencher.bench_local(|| {
        let rows = Tensor::cat(vec![latents.clone(), latents.clone()], 0).cast(dtype);
        let output = unet.forward(black_box(rows), Tensor::from_floats([500.0], &device), states.clone(), None);
        let output = output.cast(FloatDType::F32);
        let [unconditional, conditional] = [output.clone().narrow(0, 0, 1), output.narrow(0, 1, 1)];
        (unconditional.clone() + (conditional - unconditional) * GUIDANCE).into_data()
    });
}

/// The blocks of the U-Net's highest level in the middle of training or sampling: 5 residual blocks and 4 transformers with 320
/// channels at 64x64 latents, one row.
#[divan::bench(args = level(), sample_count = 4, sample_size = 1)]
fn unet_level_forward(bencher: Bencher, _: &str) {
    forward_level(bencher, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = level(), sample_count = 4, sample_size = 1)]
fn unet_level_forward_bf16(bencher: Bencher, _: &str) {
    forward_level(bencher, FloatDType::BF16);
}

fn forward_level(bencher: Bencher, dtype: FloatDType) {
    let device = Device::flex();
    let config = UNetConfig::parse(&one_level().to_string(), Path::new("bench")).expect("a known configuration");
    let unet = random_in(dtype, config.init(&device), &config.keys());
    let inputs = UNetInputs::new(Size::Sd14.latents(), Size::Sd14.width(), dtype, &device);
    bencher.bench_local(|| inputs.predict(black_box(&unet)).into_data());
}

/// The same: forward, mean squared error, gradients of all weights.
#[divan::bench(args = level(), sample_count = 4, sample_size = 1)]
fn unet_level_train(bencher: Bencher, _: &str) {
    train_level(bencher, FloatDType::F32, &Device::flex().autodiff());
}

/// The same in brain floats, with weights of 32 bits.
#[divan::bench(args = level(), sample_count = 4, sample_size = 1)]
fn unet_level_train_bf16(bencher: Bencher, _: &str) {
    train_level(bencher, FloatDType::BF16, &Device::flex().autodiff());
}

/// The same where burn recomputes memory-bound operations in the backward pass.
#[divan::bench(args = level(), sample_count = 4, sample_size = 1)]
fn unet_level_train_checkpointed(bencher: Bencher, _: &str) {
    train_level(bencher, FloatDType::F32, &Device::flex().autodiff().gradient_checkpointing());
}

fn train_level(bencher: Bencher, dtype: FloatDType, device: &Device) {
    let config = UNetConfig::parse(&one_level().to_string(), Path::new("bench")).expect("a known configuration");
    let unet = random(config.init(device), &config.keys());
    let inputs = UNetInputs::new(Size::Sd14.latents(), Size::Sd14.width(), dtype, device);
    bencher.bench_local(|| inputs.gradients(black_box(&unet)));
}

/// One row through the whole U-Net at 32x32 latents: forward, mean squared error, gradients of all weights. No optimiser: AdamW
/// would need twice the weights again.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn unet_train(bencher: Bencher, size: Size) {
    train(bencher, size, FloatDType::F32);
}

/// The same in brain floats, with weights of 32 bits.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn unet_train_bf16(bencher: Bencher, size: Size) {
    train(bencher, size, FloatDType::BF16);
}

fn train(bencher: Bencher, size: Size, dtype: FloatDType) {
    let device = Device::flex().autodiff();
    let config = UNetConfig::parse(&size.unet().to_string(), Path::new("bench")).expect("a known configuration");
    let unet = random(config.init(&device), &config.keys());
    let inputs = UNetInputs::new(size.pick(32, 8), size.width(), dtype, &device);
    bencher.bench_local(|| inputs.gradients(black_box(&unet)));
}

/// Where the large sizes are measured.
fn level() -> Vec<&'static str> {
    std::env::var_os("ROENTGEN_BENCH_SD14").map(|_| "320ch_64x64").into_iter().collect()
}

/// A U-Net of the highest level of Stable Diffusion 1.4 alone.
fn one_level() -> Value {
    json!({
        "block_out_channels": [320],
        "down_block_types": ["CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D"],
        "attention_head_dim": 8,
        "layers_per_block": 1,
        "cross_attention_dim": Size::Sd14.width(),
    })
}

/// One row for a U-Net.
struct UNetInputs {
    latents: Tensor<4>,
    timestep: Tensor<1>,
    states: Tensor<3>,
    noise: Tensor<4>,
}

impl UNetInputs {
    fn new(side: usize, width: usize, dtype: FloatDType, device: &Device) -> Self {
        let latents = normal([1, 4, side, side], device);
        let states = normal([1, TOKENS, width], device).cast(dtype);
        let noise = latents.clone().flip([2]);
        Self { noise, latents: latents.cast(dtype), timestep: Tensor::from_floats([500.0], device), states }
    }

    fn predict(&self, unet: &UNet) -> Tensor<4> {
        unet.forward(self.latents.clone(), self.timestep.clone(), self.states.clone(), None)
    }

    fn gradients(&self, unet: &UNet) -> GradientsParams {
        let loss = (self.predict(unet).cast(FloatDType::F32) - self.noise.clone()).square().mean();
        GradientsParams::from_grads(loss.backward(), unet)
    }
}

/// Latents of one image to pixels.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn vae_decode(bencher: Bencher, size: Size) {
    decode(bencher, size, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn vae_decode_bf16(bencher: Bencher, size: Size) {
    decode(bencher, size, FloatDType::BF16);
}

fn decode(bencher: Bencher, size: Size, dtype: FloatDType) {
    let device = Device::flex();
    let config = AutoencoderKlConfig::parse(&size.vae().to_string(), Path::new("bench")).expect("a known configuration");
    let vae = random_in(dtype, config.init(&device), &AutoencoderKlKeys);
    let latents = normal([1, 4, size.latents(), size.latents()], &device).cast(dtype);
    bencher.bench_local(|| vae.decode(black_box(latents.clone())).into_data());
}

/// Prompt to 8-bit picture: PNDM, 10 steps (11 evaluations), guidance. Opening the folder is not timed, but counts for peak memory.
#[divan::bench(args = Size::all(), sample_count = 2, sample_size = 1)]
fn image_10_steps(bencher: Bencher, size: Size) {
    image(bencher, size, STEPS, FloatDType::F32);
}

/// The same in brain floats.
#[divan::bench(args = Size::all(), sample_count = 2, sample_size = 1)]
fn image_10_steps_bf16(bencher: Bencher, size: Size) {
    image(bencher, size, STEPS, FloatDType::BF16);
}

/// The same with 25 steps (26 evaluations).
#[divan::bench(args = Size::all(), sample_count = 1, sample_size = 1)]
fn image_25_steps_bf16(bencher: Bencher, size: Size) {
    image(bencher, size, 25, FloatDType::BF16);
}

fn image(bencher: Bencher, size: Size, steps: usize, dtype: FloatDType) {
    let options = OpenOptions { dtype, ..OpenOptions::new(&Device::flex()) };
    let pipeline = StableDiffusion::open(&size.folder(), &options, |_| ()).expect("the folder was just written");
    let settings = Settings { steps, guidance_scale: GUIDANCE, ..pipeline.settings() };
    let request =
        ImageRequest { prompt: "Big right-sided pleural effusion".to_owned(), negative_prompt: String::new(), seed: SEED };
    bencher.bench_local(|| {
        let requests = black_box(std::slice::from_ref(&request));
        pipeline.generate(requests, &settings, &Start::Noise, &mut |_| ControlFlow::Continue(())).expect("valid settings")
    });
}
