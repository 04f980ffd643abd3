//! Figures of image sets at the sizes in which they are reported.

use burn::module::Module;
use burn::tensor::{Device, Distribution, Tensor};
use divan::{Bencher, black_box};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen::evaluation::Rows;
use roentgen::evaluation::diversity::{intra_prompt, ms_ssim};
use roentgen::evaluation::fidelity::{KidConfig, Moments, frechet, kid, prdc, vendi, whole_kid};
use roentgen_classifier::networks::vit::VitConfig;
use roentgen_kernels::keep_freed_memory;

fn main() {
    keep_freed_memory();
    divan::main();
}

/// Features `[rows, width]` whose columns spread less and less, about means that are not 0.
fn features(rows: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let scales: Vec<f32> = (0..width).map(|column| 1.0 / (1.0 + 0.01 * column as f32)).collect();
    (0..rows).flat_map(|_| scales.iter().map(|scale| scale * generator.random::<f32>()).collect::<Vec<_>>()).collect()
}

fn rows(values: &[f32], width: usize) -> Rows<'_> {
    Rows::new(values, width).expect("finite features")
}

/// Both sets' moments and their distance, from 2,048 features of Inception: rows in each set.
#[divan::bench(args = [5_000, 50_000], sample_count = 3, sample_size = 1)]
fn fid_2048_features(bencher: Bencher, images: usize) {
    let (real, synthetic) = (features(images, 2048, 0), features(images, 2048, 1));
    bencher.bench_local(|| {
        let of = |values| Moments::of(rows(values, 2048)).expect("enough rows");
        frechet(&of(black_box(&real)), &of(black_box(&synthetic)))
    });
}

/// A finding's: fewer images than features, so that a product of both sets stands for the covariances.
#[divan::bench(args = [100, 1_000])]
fn fid_2048_features_of_few(bencher: Bencher, images: usize) {
    let (real, synthetic) = (features(images, 2048, 0), features(images, 2048, 1));
    bencher.bench_local(|| {
        let of = |values| Moments::of(rows(values, 2048)).expect("enough rows");
        frechet(&of(black_box(&real)), &of(black_box(&synthetic)))
    });
}

/// 100 subsets of 1,000.
#[divan::bench(args = [10_000], sample_count = 3, sample_size = 1)]
fn kid_768_features(bencher: Bencher, images: usize) {
    let (real, synthetic) = (features(images, 768, 0), features(images, 768, 1));
    bencher.bench_local(|| kid(rows(black_box(&real), 768), rows(&synthetic, 768), &KidConfig::default()));
}

/// All pairs, with a standard error.
#[divan::bench(args = [10_000], sample_count = 3, sample_size = 1)]
fn whole_kid_768_features(bencher: Bencher, images: usize) {
    let (real, synthetic) = (features(images, 768, 0), features(images, 768, 1));
    bencher.bench_local(|| whole_kid(rows(black_box(&real), 768), rows(&synthetic, 768)));
}

/// Fifth neighbours.
#[divan::bench(args = [10_000], sample_count = 3, sample_size = 1)]
fn prdc_768_features(bencher: Bencher, images: usize) {
    let (real, synthetic) = (features(images, 768, 0), features(images, 768, 1));
    bencher.bench_local(|| prdc(rows(black_box(&real), 768), rows(&synthetic, 768), 5));
}

#[divan::bench(args = [10_000], sample_count = 3, sample_size = 1)]
fn vendi_768_features(bencher: Bencher, images: usize) {
    let real = features(images, 768, 0);
    bencher.bench_local(|| vendi(rows(black_box(&real), 768)));
}

fn pictures(count: usize, side: usize) -> Vec<Vec<f32>> {
    let mut generator = ChaCha8Rng::seed_from_u64(0);
    (0..count).map(|_| (0..side * side).map(|_| generator.random()).collect()).collect()
}

/// One pair, on one core: pixels per side.
#[divan::bench(args = [256, 512], sample_count = 20)]
fn msssim_pair_px(bencher: Bencher, side: usize) {
    let pictures = pictures(2, side);
    bencher.bench_local(|| ms_ssim(black_box(&pictures[0]), &pictures[1], side, side));
}

/// Four images of one prompt, six pairs, on one core: pixels per side.
#[divan::bench(args = [512], sample_count = 20)]
fn msssim_prompt_of_4_px(bencher: Bencher, side: usize) {
    let pictures = pictures(4, side);
    let images: Vec<&[f32]> = pictures.iter().map(Vec::as_slice).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    bencher.bench_local(|| one.install(|| intra_prompt(black_box(&images), side, side)));
}

/// Features of images of 518 px by RAD-DINO's network, ViT-B/14, with weights as drawn.
#[divan::bench(args = [2], sample_count = 3, sample_size = 1)]
fn dino_features_518px(bencher: Bencher, images: usize) {
    let device = Device::flex();
    device.seed(0);
    let network = VitConfig::base14().init(&device);
    // Drawn now, not in the timed part.
    assert!(network.num_params() > 80_000_000, "all weights");
    let pixels = Tensor::<4>::random([images, 3, 518, 518], Distribution::Normal(0.0, 1.0), &device);
    bencher.bench_local(|| network.forward(black_box(pixels.clone())).into_data());
}
