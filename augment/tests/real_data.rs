//! Reads the NIH subset under `$ROENTGEN_DATA_DIR`, and compares with the counts its README states. Without the variable the
//! tests say so and pass.

use std::path::PathBuf;

use roentgen_augment::dataset::{CheckReport, DataSummary, SplitPlan, Splits};
use roentgen_augment::formats::{MissingImages, NihFiles, NihSubset};
use roentgen_augment::record::Label;

fn folder(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("ROENTGEN_DATA_DIR");
    if root.is_none() {
        println!("skipped: ROENTGEN_DATA_DIR is not set");
    }
    root.map(|root| PathBuf::from(root).join(name))
}

fn subset(images: &str) -> Option<NihSubset> {
    let root = folder("nih_cxr14")?;
    Some(NihSubset {
        labels: root.join("labels.csv"),
        images: root.join(images),
        missing: MissingImages::Refuse,
        delimiter: None,
    })
}

#[test]
fn the_subset_counts_as_its_readme_says() {
    let Some(subset) = subset("nih64.npz") else { return };
    let data = subset.read().unwrap();
    let summary = DataSummary::of(&data);
    assert_eq!((summary.images, summary.patients, summary.without_finding), (1618, 882, 439 + 61 + 99));
    assert_eq!((summary.views["PA"], summary.views["AP"]), (1152, 466));
    assert_eq!((summary.sexes["M"], summary.sexes["F"]), (817, 801));
    assert_eq!(["train", "valid", "test"].map(|split| summary.splits[split]), [1156, 153, 309]);
    assert_eq!(summary.ages.unwrap().median, 57.0);
    // README, "Counts (train/val/test)", in the order of the 14 findings.
    let stated = [
        [139, 21, 26],
        [97, 15, 25],
        [174, 13, 64],
        [216, 20, 48],
        [71, 9, 27],
        [87, 17, 24],
        [29, 6, 8],
        [59, 9, 16],
        [81, 9, 33],
        [35, 6, 8],
        [60, 7, 11],
        [62, 11, 15],
        [64, 13, 20],
        [20, 3, 6],
    ];
    for (counts, stated) in summary.findings.iter().zip(stated) {
        let positive = ["train", "valid", "test"].map(|split| counts.by_split[split].positive);
        assert_eq!(positive, stated, "{}", counts.finding);
    }
    let splits = Splits::new(&data, &SplitPlan::column()).unwrap();
    assert_eq!(splits.train().data().rows().len(), 1156);
    assert_eq!(splits.unidentified(), 0);
}

#[test]
fn every_image_of_the_subset_decodes() {
    for (images, count, size) in
        [("nih64.npz", 1618, "64x64, 8 bit"), ("images_256", 631, "256x256, 8 bit"), ("images_512", 631, "512x512, 8 bit")]
    {
        let Some(subset) = subset(images) else { return };
        let report = CheckReport::of(&subset.read().unwrap(), &SplitPlan::column(), |_, _| ());
        println!("{images}: {:?} {:?}", report.duplicates_across_splits, report.duplicates_within_split);
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.sizes[size], count);
    }
}

#[test]
fn the_published_table_counts_as_published() {
    let Some(root) = folder("nih_cxr14_labels") else { return };
    let table = root.join("Data_Entry_2017_v2020.csv.gz");
    let data = NihFiles { table, images: root, lists: None, missing: MissingImages::Keep, delimiter: None }.read().unwrap();
    let summary = DataSummary::of(&data);
    // Wang et al. 2017 and the table of 2020: 112,120 images of 30,805 patients, 60,361 without a finding.
    assert_eq!((summary.images, summary.patients, summary.without_finding), (112_120, 30_805, 60_361));
    assert_eq!((summary.views["PA"], summary.views["AP"]), (67_310, 44_810));
    let positive = |name: &str| summary.findings.iter().find(|counts| counts.finding.name() == name).unwrap().all.positive;
    assert_eq!(["Infiltration", "Effusion", "Hernia"].map(positive), [19_894, 13_317, 227]);
    assert_eq!(data.record(0).labels[1], Label::Positive);
}
