//! A tiny pipeline and batches for it, for the tests of this folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::store::bridge;
use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use tempfile::TempDir;

use super::{Denoising, Latents, Reconstruction, TextCondition, TrainBatch, Trainee, TraineeSettings, TraineeState};
use crate::diffusion::pipeline::{Checkpoint, RandomSize, write_random_pipeline};

/// Latents a side; the U-Net halves them three times.
const SIDE: usize = 8;

pub(super) const TEXTS: [&str; 4] = ["Normal chest.", "Large left effusion", "", "no pneumothorax"];

/// A pipeline's folder, written once for all tests.
pub(super) fn pipeline() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_random_pipeline(folder.path(), RandomSize::Tiny, 5, FloatDType::F32, |_| ()).unwrap();
        folder
    });
    folder.path()
}

pub(super) fn trainee(settings: &TraineeSettings) -> Trainee {
    Trainee::new(Checkpoint::read(pipeline()).unwrap(), settings, &Device::flex()).unwrap()
}

/// All that a state holds, read.
pub(super) fn contents(state: &TraineeState) -> (u64, u64, &BTreeMap<String, u64>, BTreeMap<&str, TensorData>) {
    let tensors = state.tensors.iter().map(|(name, tensor)| (name.as_str(), bridge::to_data(tensor).unwrap()));
    (state.steps, state.ema_updates, &state.behind, tensors.collect())
}

pub(super) fn noise<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = StandardNormal.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// A batch for a trainee of any strategy: texts as states where the encoder is frozen.
pub(super) fn batch(trainee: &Trainee, seed: u64, rows: usize) -> TrainBatch {
    let channels = trainee.checkpoint().unet.in_channels;
    let shape = [rows, channels, SIDE, SIDE];
    let texts: Vec<&str> = (0..rows).map(|row| TEXTS[(row + seed as usize) % TEXTS.len()]).collect();
    let text = match trainee.settings().strategy.trains_text_encoder() {
        true => TextCondition::Tokens(trainee.tokenize(&texts).unwrap()),
        false => TextCondition::States(trainee.encode_texts(&texts).unwrap()),
    };
    TrainBatch::Denoise(Denoising {
        latents: Latents::Drawn(noise(3 * seed, shape)),
        noise: noise(3 * seed + 1, shape),
        offset_noise: Some(noise(3 * seed + 2, [rows, channels, 1, 1])),
        timesteps: (0..rows).map(|row| (137 * (seed as usize + 1) + 311 * row) % 1000).collect(),
        text,
    })
}

pub(super) fn pixels(seed: u64, rows: usize) -> TrainBatch {
    // Three downsamplings: latents of 4 by 4.
    let pixels = noise::<4>(seed, [rows, 3, 32, 32]).tanh();
    TrainBatch::Reconstruct(Reconstruction { pixels, posterior_noise: Some(noise(seed + 1, [rows, 4, 4, 4])) })
}

/// A file of the fixtures that come with the repository.
pub(super) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures").join(path)
}
