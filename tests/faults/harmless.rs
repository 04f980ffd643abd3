//! Changes that no measure may see.

use image::codecs::jpeg::JpegEncoder;
use roentgen::evaluation::memorisation::{SheetPair, contact_sheet};
use roentgen_augment::image::{GrayDepth, GrayImage, encode_png};

use super::measures::{Measures, measured, measures, memorised};
use super::world::{MADE, Set, world};

/// Shares of images: one image may lie so near a bound that noise, or another processor's rounding, moves it across.
const SHARES: [&str; 3] = ["precision", "recall", "coverage"];

/// Every measure of `set` differs from that of the faithful one by at most `share` of the range of faithful sets, or by rounding, or by one image.
fn same(change: &str, found: &Measures, share: f64) {
    let world = world();
    for (name, expected) in &measures(world, &world.faithful) {
        let (low, high) = world.range(name);
        let one_image = if SHARES.contains(name) { 1.0 / MADE as f64 } else { 0.0 };
        let (value, allowed) = (found[name], one_image.max(share * (high - low)) + 1e-9 * expected.abs().max(1.0));
        assert!((value - expected).abs() <= allowed, "{change}: {name} is {value}, was {expected}, {allowed} allowed");
    }
}

#[test]
fn the_order_of_images_is_not_seen() {
    let faithful = &world().faithful;
    let turned =
        Set { images: faithful.images.iter().rev().cloned().collect(), asked: faithful.asked.iter().rev().cloned().collect() };
    // The sums of the network are over other neighbours in a batch.
    same("order", &measures(world(), &turned), 1e-3);
}

#[test]
fn the_size_of_batches_is_not_seen() {
    let (world, faithful) = (world(), &world().faithful);
    for batch in [1, 7, 120] {
        same("batch size", &measured(world, faithful, &world.judge.look(&faithful.images, batch)), 1e-3);
    }
}

#[test]
fn png_is_not_seen_and_jpeg_within_its_noise() {
    let (world, faithful) = (world(), &world().faithful);
    let folder = tempfile::tempdir().unwrap();
    let written = |ending: &str, encode: &dyn Fn(&GrayImage) -> Vec<u8>| {
        let image = |(row, image): (usize, &GrayImage)| {
            let path = folder.path().join(format!("{row}.{ending}"));
            std::fs::write(&path, encode(image)).unwrap();
            GrayImage::open(&path).unwrap()
        };
        Set { images: faithful.images.iter().enumerate().map(image).collect(), asked: faithful.asked.clone() }
    };
    let png = written("png", &encode_png);
    assert_eq!(png.images, faithful.images);
    let jpeg = written("jpg", &|image| {
        let GrayDepth::U8(levels) = image.depth() else { panic!("phantoms have 8 bits") };
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
        encoder.encode(levels, image.width() as u32, image.height() as u32, image::ExtendedColorType::L8).unwrap();
        bytes
    });
    assert_ne!(jpeg.images, faithful.images);
    // Its noise on black ground is what SSIM sees most: half of what sets differ by, a quarter of what counts as a move.
    same("JPEG", &measures(world, &jpeg), 0.5);
}

/// `ROENTGEN_PICTURES=DIR` writes the closest pairs of a set with copies, as the documentation shows them.
#[test]
fn the_closest_pairs_are_the_copies() {
    let world = world();
    let copied = super::plant::copied(world, &world.faithful);
    let found = memorised(world, &copied, None);
    for pair in &found.pairs[..40] {
        assert_eq!((pair.synthetic % 3, pair.train), (0, pair.synthetic), "{pair:?}");
    }
    let pairs = found.pairs.iter().enumerate().step_by(8).take(9).map(|(place, pair)| SheetPair {
        rank: place + 1,
        pair: pair.clone(),
        synthetic: copied.images[pair.synthetic].clone(),
        nearest: world.train.images[pair.train].clone(),
    });
    let sheet = contact_sheet(&pairs.collect::<Vec<_>>()).unwrap();
    if let Some(folder) = super::pictures::folder() {
        std::fs::write(folder.join("closest_pairs.png"), sheet).unwrap();
    }
}
