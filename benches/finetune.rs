//! A step of fine-tuning the U-Net: forward, loss, backward, clipping, AdamW. A size reads model, latents per side, images.
//!
//! `tiny` runs always. `sd14`, the shapes of Stable Diffusion 1.4, needs 20 GB of memory, 5 GB of disk and minutes; it runs where the
//! environment has `ROENTGEN_BENCH_SD14`.

use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use roentgen::diffusion::pipeline::{Checkpoint, RandomSize, write_random_pipeline};
use roentgen::finetune::{Denoising, Latents, Strategy, TextCondition, TrainBatch, Trainee, TraineeSettings};
use roentgen_kernels::keep_freed_memory;

const SEED: u64 = 0;
/// Tokens of a text for CLIP.
const TOKENS: usize = 77;

fn main() {
    keep_freed_memory();
    divan::main();
}

#[derive(Clone, Copy)]
struct Size {
    sd14: bool,
    /// Latents per side.
    side: usize,
    samples: usize,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = if self.sd14 { "sd14" } else { "tiny" };
        write!(f, "{model}_{}latents_b{}", self.side, self.samples)
    }
}

impl Size {
    /// The models to measure.
    fn all() -> Vec<Self> {
        let mut sizes = vec![Self { sd14: false, side: 8, samples: 1 }, Self { sd14: false, side: 8, samples: 16 }];
        if std::env::var_os("ROENTGEN_BENCH_SD14").is_some() {
            sizes.extend([32, 64].map(|side| Self { sd14: true, side, samples: 1 }));
        }
        sizes
    }

    /// A folder of such a pipeline, written once.
    fn folder(self) -> PathBuf {
        let (size, name) = if self.sd14 { (RandomSize::Sd14, "sd14_512px") } else { (RandomSize::Tiny, "tiny_64px") };
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("random-pipeline-{name}"));
        if !folder.join("model_index.json").is_file() {
            write_random_pipeline(&folder, size, SEED, FloatDType::F32, |_| ()).expect("the target folder can be written");
        }
        folder
    }

    fn batch(self, device: &Device) -> TrainBatch {
        let latents = [self.samples, 4, self.side, self.side];
        let states = [self.samples, TOKENS, if self.sd14 { 768 } else { 32 }];
        TrainBatch::Denoise(Denoising {
            latents: Latents::Drawn(normal(latents, device)),
            noise: normal(latents, device),
            offset_noise: None,
            timesteps: (0..self.samples).map(|row| (500 + 31 * row) % 1000).collect(),
            text: TextCondition::States(normal(states, device)),
        })
    }
}

fn normal<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    device.seed(SEED);
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Latents and text states are given, as from a cache. Items are images.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn finetune_step(bencher: Bencher, size: Size) {
    step(bencher, size, FloatDType::F32);
}

/// The same in brain floats; weights that train, moments and the optimiser in 32 bits.
#[divan::bench(args = Size::all(), sample_count = 4, sample_size = 1)]
fn finetune_step_bf16(bencher: Bencher, size: Size) {
    step(bencher, size, FloatDType::BF16);
}

fn step(bencher: Bencher, size: Size, dtype: FloatDType) {
    let device = Device::flex();
    let checkpoint = Checkpoint::read(&size.folder()).expect("the folder was just written");
    let settings = TraineeSettings { dtype, ..TraineeSettings::new(Strategy::unet_only()) };
    let mut trainee = Trainee::new(checkpoint, &settings, &device).expect("valid settings");
    let batch = size.batch(&device);
    bencher.counter(ItemsCount::new(size.samples)).bench_local(|| {
        let loss = trainee.accumulate(black_box(&batch), 1.0).expect("the batch fits");
        trainee.step(1.0).expect("gradients are finite");
        loss
    });
}
