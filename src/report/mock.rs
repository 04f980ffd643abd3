//! Invented comparison reports for the tests of this folder, and the rules of their markup. No number here was measured.

use roentgen_augment::gate::GateReport;
use roentgen_augment::text::{Dropped, PromptSummary};
use roentgen_classifier::training::Precision;

use super::{
    AdherenceFinding, AdherenceReport, ArmReport, CalibrationPoint, ComparisonReport, DataCard, Difference, Estimate,
    FairnessArm, FairnessAttribute, FairnessGap, FairnessGroup, FairnessReport, FindingCount, FindingReport, GridColumn,
    GridImage, Protocol, RunReport, SampleGrid,
};

const FINDINGS: [&str; 18] = [
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
];

const ARMS: [(&str, &str, usize, usize); 9] = [
    ("real-only", "the real training images, nothing else", 1133, 0),
    ("real+synth-1", "all real images and one synthetic image for each", 1133, 1133),
    ("real+synth-3", "all real images and three synthetic images for each", 1133, 3399),
    ("replace-half", "as many images as real-only, half of them synthetic", 567, 566),
    ("synth-only", "synthetic images alone", 0, 1133),
    ("synth-then-real", "synthetic for the first half of the epochs, then real", 0, 1133),
    ("balanced", "synthetic images for rare findings only", 1133, 702),
    ("duplicated-real", "control: every real image twice", 2266, 0),
    ("classical-augmentation", "control: stronger rotation, shift, scale and intensity changes", 1133, 0),
];

/// A repeatable number in `-1..1`.
fn noise(a: usize, b: usize) -> f64 {
    // Vigna's splitmix64, for numbers without a pattern.
    let mut mixed = ((a as u64) << 32 | b as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((mixed ^ (mixed >> 31)) >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
}

/// A report with this many arms and findings; the first arm is the baseline, the 14th finding has no test positives.
pub(crate) fn report(arms: usize, findings: usize) -> ComparisonReport {
    let counts: Vec<FindingCount> = (0..findings).map(count).collect();
    let arms: Vec<ArmReport> = (0..arms).map(|index| arm(index, &counts)).collect();
    let names: Vec<String> = arms.iter().map(|arm| arm.name.clone()).collect();
    ComparisonReport {
        version: "0.1.0".to_owned(),
        title: "Synthetic radiographs for rare findings".to_owned(),
        device: "cpu".to_owned(),
        baseline: ARMS[0].0.to_owned(),
        data: DataCard {
            name: "NIH ChestX-ray14 (subset)".to_owned(),
            nature: "real".to_owned(),
            images: [1133, 162, 323],
            patients: [981, 140, 281],
            findings: counts,
        },
        protocol: Protocol {
            network: "DenseNet-121".to_owned(),
            parameters: 6_966_926,
            image_size: 64,
            steps: 1500,
            batch_size: 32,
            learning_rate: 3e-4,
            precision: Precision::Bf16,
            seeds: vec![1, 2, 3],
            selection: "highest macro AUROC on real validation images".to_owned(),
            replicates: 2000,
            confidence: 0.95,
        },
        arms,
        prompts: Some(PromptSummary {
            kept: 1100,
            reports: 1000,
            templates: 100,
            dropped: [(Dropped::TooShort, 33)].into_iter().collect(),
        }),
        adherence: Some(AdherenceReport {
            judge: ARMS[0].0.to_owned(),
            arm: ARMS[2].0.to_owned(),
            images: 2000,
            macro_auroc: Some(Estimate { value: 0.641, low: 0.62, high: 0.662 }),
            findings: FINDINGS.into_iter().take(findings).enumerate().map(adherence).collect(),
        }),
        fairness: Some(fairness(&names)),
        evaluation: None,
        warnings: vec![
            "Hernia has no positives in the test set: its AUROC is undefined and left out of every mean.".to_owned(),
        ],
    }
}

/// Five arms, 14 findings.
pub(crate) fn typical() -> ComparisonReport {
    report(5, 14)
}

/// Real beside synthetic: two columns of one pixel each, a few rows.
pub(crate) fn grid() -> SampleGrid {
    let column = |title: &str| GridColumn { title: title.to_owned(), images: (0..4).map(|row| image(title, row)).collect() };
    SampleGrid { columns: vec![column("Real"), column("Synthetic")] }
}

fn image(title: &str, row: u8) -> GridImage {
    GridImage { png: vec![137, 80, 78, 71, row], caption: format!("{title} {row}"), prompt: None, gate: None }
}

fn count(index: usize) -> FindingCount {
    let name = FINDINGS.get(index).map_or_else(|| format!("Finding {index}"), |name| (*name).to_owned());
    let train = 40 + (120.0 * (1.0 + noise(index, 3))) as usize;
    let positives = if index == 13 { [3, 1, 0] } else { [train, train / 7, train / 4] };
    FindingCount { finding: name, positives, labelled: [1133, 162, 323] }
}

fn arm(index: usize, counts: &[FindingCount]) -> ArmReport {
    let (name, description, real, synthetic) = ARMS[index % ARMS.len()];
    let lift = [0.0, 0.021, 0.006, -0.011, -0.072, 0.002, 0.012, -0.003, 0.009][index % ARMS.len()];
    let judged: Vec<FindingReport> =
        counts.iter().enumerate().map(|(place, count)| finding(index, place, count, lift)).collect();
    let undefined = judged.iter().filter(|finding| finding.auroc.is_none()).count();
    let value = 0.658 + lift;
    ArmReport {
        name: if index < ARMS.len() { name.to_owned() } else { format!("{name}-{index}") },
        description: description.to_owned(),
        real_per_epoch: real,
        synthetic_per_epoch: synthetic,
        runs: (0..3).map(|run| training_run(index, run, value)).collect(),
        macro_auroc: (undefined < judged.len()).then_some(Estimate { value, low: value - 0.024, high: value + 0.023 }),
        weighted_auroc: Some(value + 0.004),
        micro_auroc: Some(value + 0.051),
        undefined,
        findings: judged,
        difference: (index > 0).then(|| difference_of(lift, 0.017, value - lift, None)),
        gate: (name == "balanced").then(gate),
    }
}

fn adherence((place, finding): (usize, &str)) -> AdherenceFinding {
    let value = 0.64 + 0.1 * noise(place, 2);
    let auroc = (place != 1).then_some(Estimate { value, low: value - 0.05, high: value + 0.05 });
    AdherenceFinding { finding: finding.to_owned(), asked_for: if place == 1 { 4 } else { 180 }, auroc }
}

fn fairness(arms: &[String]) -> FairnessReport {
    let near = |value: f64| Some(Estimate { value, low: value - 0.03, high: value + 0.03 });
    let gap = |worst: &str, best: &str| FairnessGap {
        size: Estimate { value: 0.041, low: 0.006, high: 0.083 },
        worst: worst.to_owned(),
        best: best.to_owned(),
    };
    let arm = |name: &String| FairnessArm {
        arm: name.clone(),
        auroc: vec![near(0.64), near(0.681), None],
        auroc_gap: Some(gap("female", "male")),
        underdiagnosis: vec![near(0.31), near(0.269), None],
        underdiagnosis_gap: Some(gap("female", "male")),
    };
    let group = |(name, images): (&str, usize)| FairnessGroup {
        name: name.to_owned(),
        images,
        patients: images - images / 8,
        ill: images / 2,
        is_small: images < 20,
    };
    FairnessReport {
        operating_point: Some("per finding and run, the threshold of Youden on the validation images".to_owned()),
        without_operating_point: vec!["Hernia".to_owned()],
        fewest: 10,
        fewest_patients: 20,
        attributes: vec![FairnessAttribute {
            name: "sex".to_owned(),
            unknown: 7,
            groups: [("female", 150), ("male", 160), ("other", 6)].into_iter().map(group).collect(),
            findings: vec!["Effusion".to_owned(), "Mass".to_owned()],
            arms: arms.iter().map(arm).collect(),
        }],
    }
}

fn gate() -> GateReport {
    GateReport {
        requests: 702,
        passed: vec![500, 150, 12],
        rejected: 40,
        judged: 1124,
        faults: [("blank".to_owned(), 22), ("disagrees".to_owned(), 440)].into_iter().collect(),
        limits: vec!["standard deviation at least 0.02".to_owned()],
    }
}

fn training_run(arm: usize, run: usize, value: f64) -> RunReport {
    RunReport {
        seed: run as u64 + 1,
        best_step: 600 + 100 * run,
        valid_macro_auroc: Some(value + 0.01 + 0.01 * noise(arm, run)),
        test_macro_auroc: Some(value + 0.012 * noise(arm + 3, run)),
        seconds: 312.4 + 20.0 * noise(arm, run),
        wait_share: 0.004 + 0.003 * noise(arm, run + 9),
    }
}

fn finding(arm: usize, place: usize, count: &FindingCount, lift: f64) -> FindingReport {
    let base = 0.68 + 0.12 * noise(place, 1);
    let change = if arm == 0 { 0.0 } else { lift + 0.03 * noise(arm, place + 20) };
    let value = base + change;
    let half = 0.5 / (count.positives[2] as f64).sqrt();
    let defined = count.positives[2] > 0;
    FindingReport {
        finding: count.finding.clone(),
        auroc: defined.then_some(Estimate { value, low: value - half, high: (value + half).min(1.0) }),
        average_precision: defined.then_some(0.1 + value / 5.0),
        ece: defined.then_some(0.02 + 0.01 * value),
        roc: if defined { curve(value) } else { Vec::new() },
        calibration: if defined { reliability(value) } else { Vec::new() },
        difference: (defined && arm > 0).then(|| difference_of(change, half * 0.7, base, Some(0.2))),
    }
}

fn difference_of(value: f64, half: f64, baseline: f64, p_delong: Option<f64>) -> Difference {
    let absolute = Estimate { value, low: value - half, high: value + half };
    let share = |number: f64| number / baseline;
    // About what a normal distribution of this width would give.
    let deviations = 1.96 * value.abs() / half;
    let p_bootstrap = (-0.717 * deviations - 0.416 * deviations.powi(2)).exp().max(0.0005);
    Difference {
        absolute,
        relative: Estimate { value: share(value), low: share(value - half), high: share(value + half) },
        p_bootstrap,
        p_delong,
        p_holm: p_delong.map(|_| (p_bootstrap * 4.0).min(1.0)),
    }
}

/// The power curve with this area.
fn curve(auroc: f64) -> Vec<[f64; 2]> {
    let power = 1.0 / auroc - 1.0;
    (0..=40).map(|point| f64::from(point) / 40.0).map(|rate: f64| [rate, rate.powf(power)]).collect()
}

/// Probabilities that are too high by a tenth.
fn reliability(auroc: f64) -> Vec<CalibrationPoint> {
    let point = |bin: u8| {
        let predicted = 0.05 + 0.1 * f64::from(bin);
        CalibrationPoint { predicted, observed: predicted * 0.9 * auroc, count: 80 - 10 * usize::from(bin) }
    };
    (0..8).map(point).collect()
}

/// Elements that HTML never closes.
const VOID: [&str; 4] = ["meta", "br", "img", "!doctype"];

/// Panics where an element isn't closed by its own end tag.
pub(crate) fn assert_well_formed(html: &str) {
    let mut open: Vec<String> = Vec::new();
    for tag in html.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').expect("every tag ends");
        let name = tag.trim_start_matches('/').split([' ', '\n']).next().unwrap().to_lowercase();
        if VOID.contains(&name.as_str()) {
            continue;
        }
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "{tag} closes another element");
        } else {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<String>::new());
}
