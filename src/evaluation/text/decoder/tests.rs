use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_augment::progress::Silent;

use super::*;
use crate::evaluation::text::{TextOptions, report_text};

/// Sentences of the made-up language: feature `i` of an image is high where sentence `i` is said, and low where it is denied.
const SAID: [[&str; 2]; 3] = [
    ["Moderate left pleural effusion.", "No pleural effusion."],
    ["The heart is enlarged.", "Heart size is normal."],
    ["There is a right pneumothorax.", "No pneumothorax."],
];

/// Features, reports and patients: eight features of which three speak.
fn made(images: usize, seed: u64) -> (Vec<f32>, Vec<String>, Vec<String>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut features, mut reports) = (Vec::new(), Vec::new());
    for _ in 0..images {
        let said: [bool; 3] = std::array::from_fn(|_| random.random_range(0..2) == 1);
        let noise = |random: &mut ChaCha8Rng| random.random_range(-0.3f32..0.3);
        features.extend(said.map(|said| f32::from(u8::from(said)) * 5.0 + noise(&mut random)));
        features.extend([(); 5].map(|()| noise(&mut random)));
        reports.push(std::array::from_fn::<_, 3, _>(|i| SAID[i][usize::from(!said[i])]).join(" "));
    }
    // Two images per patient.
    (features, reports, (0..images).map(|image| (image / 2).to_string()).collect())
}

fn small(seed: u64) -> DecoderSettings {
    DecoderSettings {
        word_width: 16,
        state_width: 32,
        epochs: 25,
        batch: 16,
        learning_rate: 1e-2,
        seed,
        ..DecoderSettings::default()
    }
}

fn train(features: &[f32], reports: &[String], patients: &[String], seed: u64) -> Result<ReportDecoder, DecoderError> {
    let patients: Vec<&str> = patients.iter().map(String::as_str).collect();
    let pairs = Pairs { features: Rows::new(features, 8).unwrap(), reports, patients: &patients };
    ReportDecoder::train(pairs, small(seed), &Device::flex(), &Silent)
}

fn micro(references: &[String], generated: &[String]) -> f64 {
    let options = TextOptions { replicates: 0, ..TextOptions::standard() };
    let found = report_text(references, generated, &options).unwrap();
    found.figures.iter().find(|figure| figure.name == "findings F1, micro").unwrap().value
}

#[test]
fn a_decoder_reads_what_features_say_and_nothing_where_they_are_shuffled() {
    let (features, reports, patients) = made(300, 1);
    let (unseen, references, _) = made(100, 2);
    let unseen = Rows::new(&unseen, 8).unwrap();
    let decoder = train(&features, &reports, &patients, 0).unwrap();
    let read = decoder.read(unseen).unwrap();
    assert!(micro(&references, &read) > 0.98, "{read:?}");
    let mut turned = read.clone();
    turned.rotate_left(1);
    let floor = micro(&references, &turned);
    // Trained on the reports of others, it knows the language alone.
    let mut others = reports.clone();
    others.rotate_left(3);
    let blind = micro(&references, &train(&features, &others, &patients, 0).unwrap().read(unseen).unwrap());
    assert!(blind < floor + 0.15 && blind < 0.8, "{blind}, floor {floor}");
    let card = decoder.card();
    assert_eq!((card.trained_on, card.held_out, card.not_used, card.cut), (270, 30, 0, 0));
    assert!(card.known == 1.0 && card.best_epoch <= card.epochs && card.held_out_loss < 0.2, "{card:?}");
}

#[test]
fn one_seed_gives_one_text_whatever_the_batch_that_is_read() {
    let (features, reports, patients) = made(120, 3);
    let decoders = [5, 5, 6].map(|seed| train(&features, &reports, &patients, seed).unwrap());
    let read = |decoder: &ReportDecoder, images: usize| decoder.read(Rows::new(&features[..8 * images], 8).unwrap()).unwrap();
    assert_eq!(read(&decoders[0], 120), read(&decoders[1], 120));
    assert_eq!(decoders[0].card(), decoders[1].card());
    assert_ne!(decoders[0].card().held_out_loss, decoders[2].card().held_out_loss);
    assert_eq!(read(&decoders[0], 7), read(&decoders[0], 120)[..7]);
}

#[test]
fn too_little_and_unequal_lists_are_refused() {
    let (features, reports, patients) = made(60, 4);
    let of = |pairs: usize, patients: &[String]| train(&features[..8 * pairs], &reports[..pairs], patients, 0).unwrap_err();
    assert_eq!(of(48, &patients[..48]), DecoderError::TooFew { reports: 48, patients: 24 });
    let one = vec!["a".to_owned(); 60];
    assert_eq!(of(60, &one), DecoderError::TooFew { reports: 60, patients: 1 });
    assert_eq!(of(60, &patients[..59]), DecoderError::Unequal { images: 60, reports: 60, patients: 59 });
    let single: Vec<String> = (0..60).map(|i| format!("word{i}")).collect();
    assert!(matches!(train(&features, &single, &patients, 0), Err(DecoderError::NoWords { .. })));
    let decoder = train(&features, &reports, &patients, 0).unwrap();
    assert_eq!(decoder.read(Rows::new(&[0.0; 4], 4).unwrap()).unwrap_err(), DecoderError::Width { expected: 8, found: 4 });
}
