//! The rules that come with the program, on sentences and on phantom reports.

use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::phantom::{PhantomStudy, Prevalence};
use crate::record::Label::{Missing, Negative, Positive, Uncertain};

fn finding(name: &str) -> Finding {
    Finding::parse(name).unwrap()
}

fn labelled(text: &str) -> Vec<(&'static str, Label)> {
    let labels = Labeler::standard().label(text).labels;
    let known = Labeler::standard().vocabulary().findings().iter().zip(labels).filter(|(_, label)| *label != Missing);
    known.map(|(finding, label)| (finding.name(), label)).collect()
}

/// The label of one finding, in words.
fn label(text: &str, name: &str) -> Label {
    let labeler = Labeler::standard();
    labeler.label(text).labels[labeler.vocabulary().position(finding(name)).unwrap()]
}

/// Sentences, and every label but `No Finding` that they have.
const SENTENCES: &[(&str, &[(&str, Label)])] = &[
    ("Small left pleural effusion.", &[("Effusion", Positive)]),
    ("No pleural effusion.", &[("Effusion", Negative)]),
    ("There is no pneumothorax or pleural effusion.", &[("Pneumothorax", Negative), ("Effusion", Negative)]),
    (
        "No effusion, pneumothorax or consolidation.",
        &[("Consolidation", Negative), ("Pneumothorax", Negative), ("Effusion", Negative)],
    ),
    (
        "No focal consolidation, pleural effusion, or pneumothorax is seen.",
        &[("Consolidation", Negative), ("Pneumothorax", Negative), ("Effusion", Negative)],
    ),
    ("No effusion, pneumothorax.", &[("Pneumothorax", Negative), ("Effusion", Negative)]),
    ("No pneumothorax, small left pleural effusion.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("No pneumothorax, and there is a small effusion.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("No pneumothorax but a large effusion.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("No pneumothorax; effusion is stable.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("Effusion without pneumothorax.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("Consolidation with effusion.", &[("Consolidation", Positive), ("Effusion", Positive)]),
    ("Possible pneumonia with effusion.", &[("Pneumonia", Uncertain), ("Effusion", Positive)]),
    ("No evidence of pneumonia, although atelectasis is present.", &[("Pneumonia", Negative), ("Atelectasis", Positive)]),
    // Denied and doubted from behind.
    ("A pneumothorax is not seen.", &[("Pneumothorax", Negative)]),
    ("Effusion and pneumothorax are not identified.", &[("Pneumothorax", Negative), ("Effusion", Negative)]),
    ("The heart is enlarged and pneumothorax is not seen.", &[("Cardiomegaly", Positive), ("Pneumothorax", Negative)]),
    ("There is an effusion and pneumothorax is not seen.", &[("Pneumothorax", Negative), ("Effusion", Positive)]),
    ("The left effusion has resolved.", &[("Effusion", Negative)]),
    ("Resolved pneumothorax.", &[("Pneumothorax", Negative)]),
    ("Interval resolution of the edema.", &[("Edema", Negative)]),
    ("Pneumothorax: none.", &[("Pneumothorax", Negative)]),
    ("Pneumonia cannot be excluded.", &[("Pneumonia", Uncertain)]),
    ("Pneumonia is possible.", &[("Pneumonia", Uncertain)]),
    ("No effusion and pneumonia cannot be excluded.", &[("Pneumonia", Uncertain), ("Effusion", Negative)]),
    ("A small effusion cannot be entirely excluded.", &[("Effusion", Uncertain)]),
    // Doubt.
    ("Opacity may represent pneumonia.", &[("Lung Opacity", Positive), ("Pneumonia", Uncertain)]),
    ("Left basilar opacity, likely atelectasis.", &[("Lung Opacity", Positive), ("Atelectasis", Uncertain)]),
    ("Bibasilar opacities are likely atelectasis.", &[("Lung Opacity", Positive), ("Atelectasis", Uncertain)]),
    ("Atelectasis versus pneumonia at the right base.", &[("Pneumonia", Uncertain), ("Atelectasis", Uncertain)]),
    ("Atelectasis or consolidation at the left base.", &[("Consolidation", Uncertain), ("Atelectasis", Uncertain)]),
    ("Findings suggest mild edema.", &[("Edema", Uncertain)]),
    ("Findings consistent with edema.", &[("Edema", Positive)]),
    ("Cannot exclude a small pneumothorax.", &[("Pneumothorax", Uncertain)]),
    ("Suspicious for pneumonia.", &[("Pneumonia", Uncertain)]),
    ("No opacity suspicious for pneumonia.", &[("Lung Opacity", Negative), ("Pneumonia", Negative)]),
    ("No findings to suggest pneumonia.", &[("Pneumonia", Negative)]),
    ("Heart size is at the upper limits of normal.", &[("Cardiomegaly", Uncertain)]),
    ("The heart may be enlarged.", &[("Cardiomegaly", Uncertain)]),
    // Words of denial that deny nothing.
    ("No change in effusion.", &[("Effusion", Positive)]),
    ("No significant interval change in the left effusion.", &[("Effusion", Positive)]),
    ("Edema has not resolved.", &[("Edema", Positive)]),
    ("A nodule not seen on the prior study.", &[("Lung Lesion", Positive)]),
    ("Without change in cardiomegaly.", &[("Cardiomegaly", Positive)]),
    // Spoken of, not seen.
    ("History of pneumonia.", &[]),
    ("Evaluate for pneumothorax.", &[]),
    ("Rule out pneumonia.", &[]),
    ("Follow up to document resolution of pneumonia is advised.", &[]),
    ("Pericardial effusion.", &[]),
    ("Thyroid nodule.", &[]),
    ("Fractured sternal wires.", &[("Support Devices", Positive)]),
    // Statements.
    ("Heart size is normal.", &[("Cardiomegaly", Negative)]),
    ("The heart is not enlarged.", &[("Cardiomegaly", Negative)]),
    ("The heart is moderately enlarged.", &[("Cardiomegaly", Positive)]),
    ("The cardiac silhouette remains enlarged, without edema.", &[("Cardiomegaly", Positive), ("Edema", Negative)]),
    ("The lungs are clear.", &[("Lung Opacity", Negative)]),
    ("Lungs are clear of consolidation.", &[("Consolidation", Negative)]),
    ("Unremarkable cardiomediastinal silhouette.", &[("Enlarged Cardiomediastinum", Negative)]),
    ("Widened mediastinum.", &[("Enlarged Cardiomediastinum", Positive)]),
    ("Blunting of the left costophrenic angle.", &[("Effusion", Positive)]),
    ("The costophrenic angles are sharp.", &[("Effusion", Negative)]),
    ("Bony structures are intact.", &[("Fracture", Negative)]),
    ("Pleural thickening and old rib fractures.", &[("Pleural Other", Positive), ("Fracture", Positive)]),
    ("The endotracheal tube ends above the carina.", &[("Support Devices", Positive)]),
    ("The endotracheal tube has been removed.", &[("Support Devices", Negative)]),
    ("Right lower lobe collapse.", &[("Atelectasis", Positive)]),
    ("Cardiac silhouette is top normal in size.", &[("Cardiomegaly", Uncertain)]),
    ("Lungs: No consolidation.", &[("Consolidation", Negative)]),
    ("Heart: Enlarged.", &[("Cardiomegaly", Positive)]),
    ("Nasogastric tube, tip not visualized.", &[("Support Devices", Positive)]),
    ("Trace left pleural effusion, if any.", &[("Effusion", Uncertain)]),
    ("The left lung is clear.", &[]),
];

#[test]
fn sentences_have_their_labels() {
    let mut wrong = Vec::new();
    for (sentence, expected) in SENTENCES {
        let found: Vec<_> = labelled(sentence).into_iter().filter(|(name, _)| *name != "No Finding").collect();
        let mut expected = expected.to_vec();
        expected.sort_by_key(|(name, _)| Labeler::standard().vocabulary().position(finding(name)));
        if found != expected {
            wrong.push(format!("{sentence}\n  found {found:?}\n  expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn mentions_become_one_label() {
    assert_eq!(label("No effusion. Possible effusion.", "Effusion"), Uncertain);
    assert_eq!(label("Possible effusion. Left effusion. No effusion.", "Effusion"), Positive);
    // The reading of the example of CheXpert's figure 2, in other words.
    let report = "1. Unremarkable cardiomediastinal contours. 2. Diffuse reticular pattern, which may represent atypical infection. No \
        focal consolidation. 3. No pleural effusion or pneumothorax. 4. Degenerative changes, old fractures of right ribs.";
    let expected = [
        ("Enlarged Cardiomediastinum", Negative),
        ("Lung Opacity", Positive),
        ("Consolidation", Negative),
        ("Pneumonia", Uncertain),
        ("Pneumothorax", Negative),
        ("Effusion", Negative),
        ("Fracture", Positive),
    ];
    assert_eq!(labelled(report), expected);
}

#[test]
fn no_finding_follows_the_rule_of_chexpert() {
    for (text, expected) in [
        ("No acute cardiopulmonary process.", Positive),
        ("No effusion or edema. Chest tube in place.", Positive),
        ("Possible effusion.", Missing),
        ("Cardiomegaly.", Missing),
        ("Hiatal hernia.", Missing),
        ("No emphysema.", Positive),
        ("Degenerative changes of the spine.", Positive),
        (" . ", Missing),
        ("", Missing),
    ] {
        assert_eq!(label(text, "No Finding"), expected, "{text}");
    }
}

#[test]
fn sides_and_severities_are_read() {
    let detail = |text: &str, name: &str| {
        let found = Labeler::standard().label(text).details.into_iter().find(|detail| detail.finding == finding(name));
        found.map(|detail| (detail.side, detail.severity))
    };
    use Laterality::{Both, Left, Right};
    use Severity::{Mild, Moderate, Severe};
    for (text, name, expected) in [
        ("Small left pleural effusion.", "Effusion", Some((Some(Left), Some(Mild)))),
        ("Moderate-sized right effusion and atelectasis.", "Effusion", Some((Some(Right), Some(Moderate)))),
        ("Moderate-sized right effusion and atelectasis.", "Atelectasis", None),
        ("Large effusion in the left hemithorax.", "Effusion", Some((Some(Left), Some(Severe)))),
        ("Bilateral pleural effusions.", "Effusion", Some((Some(Both), None))),
        ("Small left and moderate right effusions.", "Effusion", Some((Some(Both), Some(Moderate)))),
        ("Left effusion. Massive right effusion.", "Effusion", Some((Some(Both), Some(Severe)))),
        ("The effusion is small.", "Effusion", Some((None, Some(Mild)))),
        ("Left effusion and right pneumothorax.", "Pneumothorax", Some((Some(Right), None))),
        ("Left effusion and right pneumothorax.", "Effusion", Some((Some(Left), None))),
        ("Left-sided effusion, right lung is clear.", "Effusion", Some((Some(Left), None))),
        ("Moderate cardiomegaly.", "Cardiomegaly", Some((None, Some(Moderate)))),
        // Neither of a finding that is denied or doubted, nor of one without sides.
        ("No left effusion.", "Effusion", None),
        ("Possible left effusion.", "Effusion", None),
        ("Left ventricular enlargement.", "Cardiomegaly", None),
    ] {
        assert_eq!(detail(text, name), expected, "{text}");
    }
}

#[test]
fn locations_are_read_and_never_guessed() {
    let detail = |text: &str, name: &str| {
        let found = Labeler::standard().label(text).details.into_iter().find(|detail| detail.finding == finding(name));
        found.map(|detail| (detail.side, detail.location))
    };
    use Laterality::{Both, Left, Right};
    use Location::{
        Apex, Base, Lingula, LowerLobe, LowerZone, MiddleLobe, MiddleZone, Perihilar, Retrocardiac, UpperLobe, UpperZone,
    };
    for (text, name, expected) in [
        ("Left lower lobe consolidation.", "Consolidation", Some((Some(Left), Some(LowerLobe)))),
        ("Consolidation in the right middle lobe.", "Consolidation", Some((Some(Right), Some(MiddleLobe)))),
        ("RUL opacity.", "Lung Opacity", Some((Some(Right), Some(UpperLobe)))),
        ("Patchy opacity in the lingula.", "Lung Opacity", Some((None, Some(Lingula)))),
        ("Bibasilar atelectasis.", "Atelectasis", Some((Some(Both), Some(Base)))),
        ("Atelectasis at the left lung base.", "Atelectasis", Some((Some(Left), Some(Base)))),
        ("Small right apical pneumothorax.", "Pneumothorax", Some((Some(Right), Some(Apex)))),
        ("Nodule in the left mid lung zone.", "Lung Lesion", Some((Some(Left), Some(MiddleZone)))),
        ("Right upper zone opacity.", "Lung Opacity", Some((Some(Right), Some(UpperZone)))),
        ("Left lower lung opacity.", "Lung Opacity", Some((Some(Left), Some(LowerZone)))),
        ("Perihilar opacities.", "Lung Opacity", Some((None, Some(Perihilar)))),
        ("Retrocardiac consolidation.", "Consolidation", Some((None, Some(Retrocardiac)))),
        ("Opacity in the left lower lobe and right effusion.", "Lung Opacity", Some((Some(Left), Some(LowerLobe)))),
        ("Opacity in the left lower lobe and right effusion.", "Effusion", Some((Some(Right), None))),
        ("Effusion and left lower lobe atelectasis.", "Effusion", None),
        ("Effusion at the bases and consolidation.", "Effusion", Some((Some(Both), Some(Base)))),
        ("Effusion at the bases and consolidation.", "Consolidation", None),
        // Of two places none is kept.
        ("Right upper and lower lobe consolidation.", "Consolidation", Some((Some(Right), None))),
        ("Consolidation in the left upper and lower lobes.", "Consolidation", Some((Some(Left), None))),
        ("Consolidation in the right upper lobe and left lower lobe.", "Consolidation", Some((Some(Both), None))),
        ("Right upper lobe opacity. Left lower lobe opacity.", "Lung Opacity", Some((Some(Both), None))),
        ("Atelectasis at the bases. Left lower lobe atelectasis.", "Atelectasis", Some((Some(Both), None))),
        ("Right and left effusions.", "Effusion", Some((Some(Both), None))),
        ("Effusions on the right and left.", "Effusion", Some((Some(Both), None))),
        // Neither of a finding that is denied or doubted, nor of one without sides.
        ("No consolidation in the left lower lobe.", "Consolidation", None),
        ("Possible lower lobe pneumonia.", "Pneumonia", None),
        ("Cardiomegaly, bases clear.", "Cardiomegaly", None),
        ("Chest tube at the left base.", "Support Devices", None),
    ] {
        assert_eq!(detail(text, name), expected, "{text}");
    }
    let evidence = Labeler::standard().explain("Left lower lobe consolidation.");
    assert_eq!((evidence[0].side, evidence[0].location), (Some(Left), Some(LowerLobe)));
}

#[test]
fn every_mention_explains_itself() {
    let text = "1. No left effusion.\n2. History of\npneumonia. Hernia.";
    let evidence = Labeler::standard().explain(text);
    let lines: Vec<_> = evidence
        .iter()
        .map(|one| {
            (one.finding.map(Finding::name), one.label, one.sentence, one.words, one.cue.map(|(words, rule)| (words, rule.key)))
        })
        .collect();
    assert_eq!(
        lines,
        [
            (Some("Effusion"), Negative, "No left effusion.", "effusion", Some(("No", "cues.negation_before"))),
            (Some("Pneumonia"), Missing, "History of\npneumonia.", "pneumonia", Some(("History of", "cues.unmention_before"))),
            (None, Positive, "Hernia.", "Hernia", None),
        ]
    );
    assert!(evidence[0].rule.key.contains("Effusion") && evidence[0].rule.phrase.contains("effusion*"));
}

#[test]
fn parents_follow_their_children_on_request() {
    let labeler = Labeler::of_rules(Labeler::standard_rules()).unwrap().with_parents();
    let labels = |text: &str| {
        let labels = labeler.label(text).labels;
        let of = |name| labels[labeler.vocabulary().position(finding(name)).unwrap()];
        (of("Lung Opacity"), of("Consolidation"), of("Enlarged Cardiomediastinum"))
    };
    assert_eq!(labels("Right lower lobe pneumonia."), (Positive, Positive, Missing));
    assert_eq!(labels("No consolidation. Possible pneumonia."), (Uncertain, Uncertain, Missing));
    assert_eq!(labels("No pneumonia. Cardiomegaly."), (Missing, Missing, Positive));
    assert_eq!(label("Right lower lobe pneumonia.", "Lung Opacity"), Missing);
}

#[test]
fn a_users_rules_replace_those_of_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rules.toml");
    let rules = "[[finding]]\nname = \"Scoliosis\"\ncustom = true\npresent = [\"scolio*\"]\n[cues]\nnegation_before = [\"sin\"]\n[words]\n";
    std::fs::write(&path, rules).unwrap();
    let labeler = Labeler::open(&path).unwrap();
    assert_eq!(labeler.label("Scoliosis.").labels, [Positive]);
    assert_eq!(labeler.label("sin scoliosis, effusion").labels, [Negative]);
    assert_eq!(labeler.label("Effusion.").labels, [Missing]);
    std::fs::write(&path, rules.replace("present", "presnt")).unwrap();
    let error = Labeler::open(&path).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains("rules.toml") && cause.contains("presnt"), "{error}: {cause}");
    std::fs::write(&path, " ".repeat((1 << 20) + 1)).unwrap();
    let large = Labeler::open(&path).unwrap_err();
    assert!(std::error::Error::source(&large).unwrap().to_string().contains("1 MiB"));
}

#[test]
fn text_without_sentences_is_read_in_pieces() {
    // Were each of them one sentence, this would take hours.
    for words in ["effusion and ", "no effusion not seen ", "é", "heart is enlarged or ", "effusion, "] {
        let text = words.repeat(200_000 / words.len());
        let labels = Labeler::standard().label(&text);
        assert_eq!(labels.labels.len(), 14);
    }
    let long = format!("{} No effusion.", "word ".repeat(1000));
    assert_eq!(label(&long, "Effusion"), Negative);
}

/// Names of findings as a reader would write them.
const NAMES: &[(&str, &str)] = &[
    ("Cardiomegaly", "cardiomegaly"),
    ("Lung Opacity", "airspace opacity"),
    ("Lung Lesion", "pulmonary nodule"),
    ("Edema", "pulmonary edema"),
    ("Consolidation", "focal consolidation"),
    ("Pneumonia", "pneumonia"),
    ("Atelectasis", "atelectasis"),
    ("Pneumothorax", "pneumothorax"),
    ("Effusion", "pleural effusion"),
    ("Pleural Other", "pleural thickening"),
    ("Fracture", "rib fracture"),
    ("Support Devices", "chest tube"),
    ("Enlarged Cardiomediastinum", "mediastinal widening"),
];

const DENIALS: &[&str] =
    &["No {}.", "There is no {}.", "No evidence of {}.", "The lungs are without {}.", "{} is not seen.", "Negative for {}."];
const DOUBTS: &[&str] = &[
    "Possible {}.",
    "{} cannot be excluded.",
    "Questionable {}.",
    "Findings may represent {}.",
    "This is suspicious for {}.",
    "{} is possible.",
];

/// A report of what the phantom shows: its template text, what it has not, and what is doubted, in one of many wordings and orders.
fn phantom_report(seed: u64) -> (PhantomStudy, String, Vec<(&'static str, Label)>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let study = PhantomStudy::sample(seed, &Prevalence::enriched());
    let truth = study.labels(Labeler::standard().vocabulary());
    let mut sentences: Vec<String> = Vec::new();
    if !study.findings.is_empty() {
        sentences.extend(study.template_text().split_inclusive(". ").map(|sentence| sentence.trim().to_owned()));
    }
    let (mut expected, mut denied) = (Vec::new(), Vec::new());
    for (name, words) in NAMES {
        let at = Labeler::standard().vocabulary().position(finding(name)).unwrap();
        let drawn = truth[at] == Positive;
        let kind = if drawn { 0 } else { rng.random_range(1..5) };
        expected.push((*name, [Positive, Missing, Negative, Negative, Uncertain][kind]));
        match kind {
            2 => sentences.push(DENIALS[rng.random_range(0..DENIALS.len())].replace("{}", words)),
            3 => denied.push(*words),
            4 => sentences.push(DOUBTS[rng.random_range(0..DOUBTS.len())].replace("{}", words)),
            _ => (),
        }
    }
    if let Some((last, first)) = denied.split_last() {
        let list = if first.is_empty() { (*last).to_owned() } else { format!("{} or {last}", first.join(", ")) };
        sentences.push(format!("No {list}."));
    }
    sentences.shuffle(&mut rng);
    (study, sentences.join(" "), expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn phantom_reports_are_read_without_an_error(seed: u64) {
        let (study, report, expected) = phantom_report(seed);
        for (name, expected) in expected {
            prop_assert_eq!(label(&report, name), expected, "{}: {}", name, report);
        }
        let found = Labeler::standard().label(&report);
        let truths = study.details().findings;
        for truth in &truths {
            let wanted = match truth.finding.name() {
                "Mass" | "Nodule" => "Lung Lesion",
                "Emphysema" => continue,
                name => name,
            };
            let same = truths.iter().filter(|other| {
                other.finding == truth.finding || wanted == "Lung Lesion" && ["Mass", "Nodule"].contains(&other.finding.name())
            });
            let (mut side, mut severity, mut place) = (None, None, None);
            same.for_each(|other| {
                side = joined(side, other.side);
                severity = largest(severity, other.severity);
                place = together(place, other.location.map(Place::One));
            });
            let detail = found.details.iter().find(|detail| detail.finding == finding(wanted));
            prop_assert_eq!(detail.and_then(|detail| detail.side), side, "{}: {}", wanted, report);
            let location = place.and_then(Place::single);
            prop_assert_eq!(detail.and_then(|detail| detail.location), location, "{}: {}", wanted, report);
            // The phantom's words for consolidations and sizes of nodules in centimetres are no severities.
            if !["Lung Lesion", "Consolidation"].contains(&wanted) {
                prop_assert_eq!(detail.and_then(|detail| detail.severity), severity, "{}: {}", wanted, report);
            }
        }
    }

    #[test]
    fn the_order_of_sentences_changes_nothing(seed: u64, order: u64) {
        let (_, report, _) = phantom_report(seed);
        let mut sentences = sentences(&report);
        sentences.shuffle(&mut ChaCha8Rng::seed_from_u64(order));
        prop_assert_eq!(Labeler::standard().label(&sentences.join("\n")), Labeler::standard().label(&report));
    }

    #[test]
    fn denying_a_sentence_flips_its_labels(
        first in 0..NAMES.len(),
        step in 1..NAMES.len(),
        side in prop::sample::select(vec!["", "left ", "right ", "bilateral "]),
        joined in prop::sample::select(vec![" or ", ", ", " and ", ", or "]),
        denial in 0..4usize,
    ) {
        let [(a, first), (b, second)] = [NAMES[first], NAMES[(first + step) % NAMES.len()]];
        let list = format!("{side}{first}{joined}{second}");
        let asserted = format!("There is {side}{first}. There is {second}.");
        let denied = DENIALS[denial].replace("{}", &list);
        for name in [a, b] {
            prop_assert_eq!(label(&asserted, name), Positive, "{}", asserted);
            prop_assert_eq!(label(&denied, name), Negative, "{}", denied);
        }
    }

    #[test]
    fn any_text_is_read(parts in prop::collection::vec(prop::sample::select(vec![
        "no", "effusion", "or", ",", ". ", " ", "and", "heart", "is", "not", "enlarged", "possible", "cannot", "be", "excluded", "(", "é", "\n", "1.", "left",
        "versus", "pneumonia", "with", "no change in", ":", "resolved", "the", "\u{0}", "İ",
    ]), 0..40), glue in prop::sample::select(vec![" ", ""])) {
        let text = parts.join(glue);
        let labelling = Labeler::standard().label(&text);
        let mut labels = vec![Missing; labelling.labels.len()];
        for one in Labeler::standard().explain(&text) {
            prop_assert!(text.contains(one.words) && text.contains(one.sentence));
            if let Some(at) = one.finding.and_then(|finding| Labeler::standard().vocabulary().position(finding)) {
                labels[at] = stronger(labels[at], one.label);
            }
        }
        prop_assert_eq!(&labels[1..], &labelling.labels[1..], "what is explained is what is labelled");
    }
}
