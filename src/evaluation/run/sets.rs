//! What the sets look like before any network sees them, and what is doubtful about it.

use std::collections::{HashMap, HashSet};

use super::report::{SetReport, SizeCount};
use crate::evaluation::images::{ImageSet, Look};
use crate::report::format::{count, fixed};

/// Sizes that a report lists.
const LISTED: usize = 10;

/// Mean channel spread, in gray levels of 255, above which a set has a cast: JPEG's rounding of colours alone stays below 1.
const CAST: f64 = 2.0;

pub(super) fn describe(set: &ImageSet, looks: &[Look]) -> SetReport {
    let mut sizes: HashMap<(usize, usize), usize> = HashMap::new();
    looks.iter().for_each(|look| *sizes.entry((look.width, look.height)).or_default() += 1);
    let mut sizes: Vec<SizeCount> =
        sizes.into_iter().map(|((width, height), images)| SizeCount { width, height, images }).collect();
    sizes.sort_by_key(|size| (std::cmp::Reverse(size.images), size.width, size.height));
    let size_count = sizes.len();
    sizes.truncate(LISTED);
    SetReport {
        name: set.name().to_owned(),
        images: set.len(),
        distinct: looks.iter().map(|look| look.digest).collect::<HashSet<_>>().len(),
        with_patient: set.with_patient(),
        sizes,
        size_count,
        coloured: looks.iter().filter(|look| look.spread > 0.0).count(),
        channel_spread: looks.iter().map(|look| f64::from(look.spread)).sum::<f64>() / looks.len().max(1) as f64,
    }
}

/// Synthetic images whose pixels are those of a real one.
pub(super) fn copies(real: &[Look], synthetic: &[Look]) -> usize {
    let real: HashSet<_> = real.iter().map(|look| look.digest).collect();
    synthetic.iter().filter(|look| real.contains(&look.digest)).count()
}

/// What is doubtful, a sentence each.
pub(super) fn doubts(real: &SetReport, synthetic: &SetReport, copies: usize) -> Vec<String> {
    let mut doubts = Vec::new();
    for (kind, set) in [("real", real), ("synthetic", synthetic)] {
        let repeated = set.images - set.distinct;
        if set.distinct == 1 && set.images > 1 {
            doubts.push(format!("All {} {kind} images are one and the same picture.", count(set.images)));
        } else if repeated > 0 {
            let of = count(set.images);
            doubts.push(format!("{} of {of} {kind} images have the pixels of an earlier one.", count(repeated)));
        }
        if set.size_count > 1 {
            let [SizeCount { width, height, images }, ..] = set.sizes[..] else { continue };
            doubts.push(format!(
                "The {kind} images have {} sizes; {} of {} have {width}x{height}. Each is scaled to the networks' size by itself.",
                count(set.size_count),
                count(images),
                count(set.images)
            ));
        }
        if set.channel_spread > CAST {
            doubts.push(format!(
                "The {kind} images have a colour cast: their channels differ by {} gray levels of 255 on average. Radiographs are gray; \
                 networks that see colours see this too.",
                fixed(set.channel_spread, 1)
            ));
        }
        if set.with_patient < set.images {
            let unnamed = count(set.images - set.with_patient);
            let counts = match kind {
                "real" => "each counts as a patient of its own, so floors and intervals may be too narrow",
                _ => "each counts by itself in intervals",
            };
            doubts.push(format!("{unnamed} of {} {kind} images name no patient: {counts}.", count(set.images)));
        }
    }
    if let ([a, ..], [b, ..]) = (&real.sizes[..], &synthetic.sizes[..])
        && (a.width, a.height) != (b.width, b.height)
    {
        doubts.push(format!(
            "Most real images have {}x{} pixels and most synthetic ones {}x{}: their sharpness differs after scaling, which features show \
             and radiologists may not mean.",
            a.width, a.height, b.width, b.height
        ));
    }
    if copies > 0 {
        let of = count(synthetic.images);
        doubts.push(format!(
            "{} of {of} synthetic images are real images of the reference set, pixel by pixel: every figure here is better for it.",
            count(copies)
        ));
    }
    doubts
}
