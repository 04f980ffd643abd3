//! From an image file to a network's input, and phantom images.

use std::fs;
use std::path::{Path, PathBuf};

use divan::{Bencher, black_box};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use roentgen_augment::image::{GrayDepth, GrayImage, Preprocess, encode_png};
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig, PhantomPhysics, PhantomStudy, Prevalence};

/// Pixels per side of an NIH ChestX-ray14 file.
const SIDE: usize = 1024;
/// What the JPEG of a picture archive usually has.
const JPEG_QUALITY: u8 = 90;

fn main() {
    divan::main();
}

/// The image as a file of that format, written once to the folder that `peers/torch_peers.py` reads too.
fn phantom(extension: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("phantom-{SIDE}.{extension}"));
    if path.is_file() {
        return path;
    }
    let phantom = PhantomDataset::new(PhantomDatasetConfig::new(1, SIDE, 0)).expect("one phantom").image(0);
    let bytes = if extension == "png" { encode_png(&phantom) } else { jpeg(&phantom) };
    fs::write(&path, bytes).expect("the target folder can be written");
    path
}

fn jpeg(phantom: &GrayImage) -> Vec<u8> {
    let GrayDepth::U8(samples) = phantom.depth() else { panic!("phantom images have 8 bits") };
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    encoder.write_image(samples, SIDE as u32, SIDE as u32, ExtendedColorType::L8).expect("memory takes every byte");
    bytes
}

/// File of 1024 x 1024 to samples.
#[divan::bench(args = ["png", "jpeg"])]
fn decode_1024px(bencher: Bencher, extension: &str) {
    let path = phantom(extension);
    bencher.bench_local(|| GrayImage::open(black_box(&path)).expect("a sound file"));
}

/// The same file to a picture of 64 x 64.
#[divan::bench(args = ["png", "jpeg"])]
fn decode_1024px_to_64px(bencher: Bencher, extension: &str) {
    decode_to(bencher, extension, 64);
}

/// The same file to a picture of 224 x 224.
#[divan::bench(args = ["png", "jpeg"])]
fn decode_1024px_to_224px(bencher: Bencher, extension: &str) {
    decode_to(bencher, extension, 224);
}

/// The same file to a picture of 512 x 512.
#[divan::bench(args = ["png", "jpeg"])]
fn decode_1024px_to_512px(bencher: Bencher, extension: &str) {
    decode_to(bencher, extension, 512);
}

/// As `decode_1024px_to_224px`, by several workers at once: the time of one picture by one of them.
#[divan::bench(args = ["png", "jpeg"], threads = [1, 2])]
fn workers_1024px_to_224px(bencher: Bencher, extension: &str) {
    let (path, preprocess) = (phantom(extension), Preprocess::new(224));
    bencher.bench(|| preprocess.apply(&GrayImage::open(black_box(&path)).expect("a sound file")));
}

/// The JPEG at the part of its size that is enough for the picture.
#[divan::bench(args = [64, 224, 512])]
fn scaled_jpeg_1024px_to_px(bencher: Bencher, size: usize) {
    let (path, preprocess) = (phantom("jpeg"), Preprocess::new(size));
    let enough = |width: usize, height: usize| preprocess.shrinks(width, height);
    bencher.bench_local(|| preprocess.apply(&GrayImage::open_scaled(black_box(&path), &enough).expect("a sound file")));
}

fn decode_to(bencher: Bencher, extension: &str, size: usize) {
    let (path, preprocess) = (phantom(extension), Preprocess::new(size));
    bencher.bench_local(|| preprocess.apply(&GrayImage::open(black_box(&path)).expect("a sound file")));
}

/// One phantom image of that many pixels per side.
#[divan::bench(args = [64, 256])]
fn phantom_phantom_px(bencher: Bencher, size: usize) {
    let (study, physics) = (PhantomStudy::sample(0, &Prevalence::enriched()), PhantomPhysics::reference());
    bencher.bench_local(|| black_box(&study).render(size, &physics));
}
