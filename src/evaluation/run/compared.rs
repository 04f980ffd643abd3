//! The groups of images that are compared as pictures: of one prompt, of one label set, and pairs of an image and its source.

use std::collections::{HashMap, HashSet};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::record::Label;

use super::report::Measured;
use crate::config::EvaluationConfig;
use crate::evaluation::images::{ImageSet, Look};

/// Images of a prompt that are compared, as RoentGen's authors do: six pairs.
pub(super) const IMAGES: usize = 4;

/// Groups of one kind, or why there is none.
#[derive(Debug)]
pub(super) struct PictureGroups<'a> {
    /// Images with their sets.
    pub(super) groups: Vec<Vec<(&'a ImageSet, usize)>>,
    none: String,
}

/// All that are compared.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    /// Synthetic images of one prompt.
    pub(super) prompts: PictureGroups<'a>,
    /// Real images of different patients with one label set.
    pub(super) label_sets: PictureGroups<'a>,
    /// A synthetic image, and the real one that it was requested from.
    pub(super) pairs: PictureGroups<'a>,
    /// Columns and rows of most synthetic images; the others are scaled.
    pub(super) size: (usize, usize),
}

impl PictureGroups<'_> {
    /// What is to be reported where there is no group.
    pub(super) fn none(&self) -> Option<Measured> {
        self.groups.is_empty().then(|| Measured::undefined(self.none.clone()))
    }
}

impl<'a> Compared<'a> {
    /// Groups of both sets, at most as many of a kind as the settings allow.
    pub(super) fn of([real, synthetic]: [&'a ImageSet; 2], looks: &[Look], config: &EvaluationConfig) -> Self {
        let prompts: Vec<Vec<usize>> = synthetic.by_prompt().into_iter().filter(|group| group.len() >= IMAGES).collect();
        let prompts: Vec<Vec<usize>> = prompts.into_iter().map(|group| group[..IMAGES].to_vec()).collect();
        let of = |set: &'a ImageSet, groups: Vec<Vec<usize>>| -> Vec<Vec<(&'a ImageSet, usize)>> {
            groups.into_iter().map(|group| group.into_iter().map(|image| (set, image)).collect()).collect()
        };
        let pairs = drawn(with_source(real, synthetic), config, "pairs");
        Self {
            prompts: PictureGroups {
                groups: of(synthetic, drawn(prompts, config, "prompts")),
                none: format!("no prompt has {IMAGES} synthetic images"),
            },
            label_sets: PictureGroups {
                groups: of(real, drawn(of_one_label_set(real), config, "label sets")),
                none: format!("no {IMAGES} real images of different patients have the same labels"),
            },
            pairs: PictureGroups {
                groups: pairs.into_iter().map(|pair| vec![(synthetic, pair[0]), (real, pair[1])]).collect(),
                none: "no synthetic image names a real one of this set as its source".to_owned(),
            },
            size: most_frequent(looks),
        }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        [&self.prompts, &self.label_sets, &self.pairs].map(|kind| kind.groups.len()).iter().sum()
    }
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
