//! Precision and recall on figure captions of radiographs, the nearest open text to reports: `$ROENTGEN_DATA_DIR/roco_cxr_captions`. Without the
//! variable the test says so and passes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;

use super::*;

/// A line of `captions.jsonl`. `mentions` and `negated` come from the data's own small regular expressions: a weak reference.
#[derive(Deserialize)]
struct Caption {
    roco_id: String,
    text: String,
    mentions: Vec<String>,
    negated: Vec<String>,
}

impl Caption {
    /// The reference of a finding: present, absent, or not mentioned.
    fn reference(&self, finding: Finding) -> Label {
        let names = |list: &[String]| list.iter().any(|name| standing_for(name) == finding.name());
        match (names(&self.mentions), names(&self.negated)) {
            (true, _) => Label::Positive,
            (_, true) => Label::Negative,
            _ => Label::Missing,
        }
    }
}

/// The finding of CheXpert that a name of the captions stands for.
fn standing_for(name: &str) -> &str {
    match name {
        "Opacity" | "Infiltration" => "Lung Opacity",
        "Mass" | "Nodule" => "Lung Lesion",
        "Pleural_Thickening" => "Pleural Other",
        "Support_Devices" => "Support Devices",
        other => other,
    }
}

#[derive(Default)]
struct Counts {
    both: usize,
    ours: usize,
    theirs: usize,
}

#[test]
fn captions_are_read_as_docs_labeler_says() {
    let Some(root) = std::env::var_os("ROENTGEN_DATA_DIR") else {
        println!("skipped: ROENTGEN_DATA_DIR is not set");
        return;
    };
    let text = std::fs::read_to_string(PathBuf::from(root).join("roco_cxr_captions/captions.jsonl")).unwrap();
    let captions: Vec<Caption> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(captions.len(), 364, "as its README says");
    let labeler = Labeler::standard();
    let mut counts = BTreeMap::<Finding, Counts>::new();
    let started = Instant::now();
    let labels: Vec<_> = captions.iter().map(|caption| labeler.label(&caption.text).labels).collect();
    println!("{:.0} captions per second", captions.len() as f64 / started.elapsed().as_secs_f64());
    for (caption, labels) in captions.iter().zip(&labels) {
        for (finding, label) in
            labeler.vocabulary().findings().iter().zip(labels).filter(|(finding, _)| finding.name() != "No Finding")
        {
            // The reference knows no doubt: what is doubted is mentioned.
            let ours = matches!(label, Label::Positive | Label::Uncertain);
            let theirs = caption.reference(*finding) == Label::Positive;
            let counts = counts.entry(*finding).or_default();
            counts.both += usize::from(ours && theirs);
            counts.ours += usize::from(ours);
            counts.theirs += usize::from(theirs);
            if ours != theirs {
                let word = if ours { "ours alone" } else { "reference alone" };
                println!("{finding} | {word} | {} | {}", caption.roco_id, caption.text);
            }
        }
    }
    println!("| finding | reference | labeler | both | precision | recall |\n|---|---|---|---|---|---|");
    for (finding, counts) in &counts {
        let share = |of: usize| if of == 0 { "–".to_owned() } else { format!("{:.2}", counts.both as f64 / of as f64) };
        println!(
            "| {finding} | {} | {} | {} | {} | {} |",
            counts.theirs,
            counts.ours,
            counts.both,
            share(counts.ours),
            share(counts.theirs)
        );
    }
    // The reference has nothing for `Enlarged Cardiomediastinum`.
    let known = || counts.values().filter(|counts| counts.theirs > 0);
    let total = |count: fn(&Counts) -> usize| known().map(count).sum::<usize>() as f64;
    let (precision, recall) = (total(|c| c.both) / total(|c| c.ours), total(|c| c.both) / total(|c| c.theirs));
    println!("all: precision {precision:.3}, recall {recall:.3}");
    // docs/labeler.md has the numbers; these are well below them.
    assert!(precision > 0.7 && recall > 0.9, "{precision} {recall}");
}
