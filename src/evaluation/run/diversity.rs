//! How varied images are as pictures, beside how varied real ones of one label set are.

use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::AugmentError;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::image::{Filter, GrayImage, PixelRange, Pixels};
use roentgen_augment::progress::Progress;
use roentgen_augment::record::Label;

use super::report::{DiversityReport, Measured};
use crate::config::EvaluationConfig;
use crate::evaluation::diversity::{IntraPrompt, Prompts, intra_prompt};
use crate::evaluation::images::{ImageSet, Look};

/// Images of a prompt that are compared, as RoentGen's authors do: six pairs.
const IMAGES: usize = 4;

/// Smaller sides than this have too few pixels for MS-SSIM's five scales (pytorch-msssim 1.0).
const LEAST_SIDE: usize = 161;

/// Values from black to white as 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Unit;

impl PixelRange for Unit {
    const LOW: f32 = 0.0;
    const HIGH: f32 = 1.0;
}

/// Measures both sets.
///
/// # Errors
/// If an image can't be read.
pub(super) fn measure(
    [real, synthetic]: [&ImageSet; 2],
    looks: &[Look],
    config: &EvaluationConfig,
    progress: &dyn Progress,
) -> Result<DiversityReport, AugmentError> {
    let prompts: Vec<Vec<usize>> = synthetic.by_prompt().into_iter().filter(|group| group.len() >= IMAGES).collect();
    let prompts: Vec<Vec<usize>> = prompts.into_iter().map(|group| group[..IMAGES].to_vec()).collect();
    let prompts = drawn(prompts, config, "prompts");
    let labels = drawn(of_one_label_set(real), config, "label sets");
    let pairs = drawn(with_source(real, synthetic), config, "pairs");
    // The size of most synthetic images; the others are scaled.
    let size = most_frequent(looks);
    let total = prompts.len() + labels.len() + pairs.len();
    let task = progress.begin("MS-SSIM", total as u64, "groups");
    let compare = |groups: Vec<Vec<(&ImageSet, usize)>>, none: String| -> Result<Measured, AugmentError> {
        if groups.is_empty() {
            return Ok(Measured::undefined(none));
        }
        if size.0.min(size.1) < LEAST_SIDE {
            task.advance(groups.len() as u64);
            let (width, height) = size;
            return Ok(Measured::undefined(format!(
                "MS-SSIM needs {LEAST_SIDE} pixels a side, the images have {width}x{height}"
            )));
        }
        let mut found: Vec<IntraPrompt> = Vec::with_capacity(groups.len());
        for group in &groups {
            let pictures = group.iter().map(|(set, image)| picture(set, *image, size)).collect::<Result<Vec<_>, _>>()?;
            let rows: Vec<&[f32]> = pictures.iter().map(Pixels::values).collect();
            match intra_prompt(&rows, size.0, size.1) {
                Ok(alike) => found.push(alike),
                Err(error) => return Ok(Measured::undefined(error.to_string())),
            }
            task.advance(1);
        }
        let over = Prompts::of(&found);
        Ok(Measured {
            groups: found.len(),
            mean: over.map(|over| over.mean),
            deviation: over.and_then(|over| over.std),
            size: Some([size.0, size.1]),
            undefined: None,
        })
    };
    let of = |set, groups: Vec<Vec<usize>>| {
        groups.into_iter().map(|group| group.into_iter().map(|image| (set, image)).collect()).collect()
    };
    let paired = pairs.into_iter().map(|pair| vec![(synthetic, pair[0]), (real, pair[1])]).collect();
    Ok(DiversityReport {
        intra_prompt: compare(of(synthetic, prompts), format!("no prompt has {IMAGES} synthetic images"))?,
        real_labels: compare(of(real, labels), format!("no {IMAGES} real images of different patients have the same labels"))?,
        paired: compare(paired, "no synthetic image names a real one of this set as its source".to_owned())?,
    })
}

/// At most as many groups as the settings allow, drawn by their seed.
fn drawn(mut groups: Vec<Vec<usize>>, config: &EvaluationConfig, what: &str) -> Vec<Vec<usize>> {
    if groups.len() > config.most_prompts {
        let parts: [&[u8]; 3] = [b"roentgen diversity 1", what.as_bytes(), &config.seed.to_le_bytes()];
        groups.shuffle(&mut ChaCha8Rng::from_seed(Fingerprint::of(&parts).0));
        groups.truncate(config.most_prompts);
    }
    groups
}

/// Images of one label set.
#[derive(Default)]
struct OfOneLabelSet<'a> {
    images: Vec<usize>,
    patients: HashSet<&'a str>,
}

/// Groups of real images of different patients that have the same labels, none of them unknown altogether.
fn of_one_label_set(set: &ImageSet) -> Vec<Vec<usize>> {
    let mut by_labels: HashMap<&[Label], OfOneLabelSet<'_>> = HashMap::new();
    for image in 0..set.len() {
        let labels = &set.record(image).labels[..];
        if labels.iter().all(|label| *label == Label::Missing) {
            continue;
        }
        let found = by_labels.entry(labels).or_default();
        if found.patients.insert(set.patient(image)) {
            found.images.push(image);
        }
    }
    let mut groups: Vec<Vec<usize>> = by_labels.into_values().map(|found| found.images).collect();
    // By their first images, which differ.
    groups.sort();
    groups
        .into_iter()
        .flat_map(|images| images.as_chunks::<IMAGES>().0.iter().map(|group| group.to_vec()).collect::<Vec<_>>())
        .collect()
}

/// Synthetic images with the real image of this set that they were requested from.
fn with_source(real: &ImageSet, synthetic: &ImageSet) -> Vec<Vec<usize>> {
    let places: HashMap<&str, usize> = (0..real.len()).map(|image| (real.id(image), image)).collect();
    let pair = |image: usize| Some(vec![image, *places.get(synthetic.source(image)?.id.as_str())?]);
    (0..synthetic.len()).filter_map(pair).collect()
}

fn most_frequent(looks: &[Look]) -> (usize, usize) {
    let mut counts: HashMap<(usize, usize), usize> = HashMap::new();
    looks.iter().for_each(|look| *counts.entry((look.width, look.height)).or_default() += 1);
    counts.into_iter().max_by_key(|(size, images)| (*images, *size)).map_or((1, 1), |(size, _)| size)
}

/// Gray values from 0 to 1, of this size.
fn picture(set: &ImageSet, image: usize, (width, height): (usize, usize)) -> Result<Pixels<Unit>, AugmentError> {
    let gray: GrayImage = set.rgb(image)?.to_gray();
    let same = (gray.width(), gray.height()) == (width, height);
    Ok(if same { gray } else { gray.resize(width, height, Filter::Bicubic) }.to_pixels())
}
