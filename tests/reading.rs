//! `evaluate` with reports: phantoms with sentences that are made up from their labels, read off by a decoder and by files.

use std::fmt::Write as _;

use roentgen::evaluation::run::SetText;
use roentgen_augment::phantom::PhantomPhysics;

use crate::cli::{Study, succeeds};
use crate::evaluate::{of, report, set, study};

/// Sentences of a finding that is there and of one that isn't; no template has their words.
const SENTENCES: [(&str, [&str; 2]); 3] = [
    ("Effusion", ["A pleural effusion is seen today.", "No pleural effusion can be made out."]),
    ("Cardiomegaly", ["The heart looks enlarged.", "Heart size stays normal."]),
    ("Pneumothorax", ["There is a pneumothorax to be drained.", "No pneumothorax either."]),
];

/// Writes the table `name`.csv anew with what `report` says of a row's number and labels.
fn write_reports(study: &Study, name: &str, report: impl Fn(usize, &dyn Fn(&str) -> bool) -> String) {
    let path = study.path(&format!("{name}.csv"));
    let table = std::fs::read_to_string(&path).unwrap();
    let mut lines = table.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let mut written = format!("{}\n", header.join(","));
    for (row, line) in lines.enumerate() {
        let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
        let has = |finding: &str| header.iter().position(|name| *name == finding).is_some_and(|at| cells[at] == "1");
        let text = report(row, &has);
        cells[2] = text;
        writeln!(written, "{}", cells.join(",")).unwrap();
    }
    std::fs::write(path, written).unwrap();
}

fn sentences(has: &dyn Fn(&str) -> bool) -> String {
    SENTENCES.map(|(finding, [said, denied])| if has(finding) { said } else { denied }).join(" ")
}

/// The study of `evaluate`, with reports.
fn reported() -> Study {
    let study = study();
    for name in ["real", "made"] {
        write_reports(&study, name, |_, has| sentences(has));
    }
    study
}

fn undefined(set: &SetText) -> &str {
    assert!(set.figures.is_empty() && set.findings.is_empty());
    set.undefined.as_deref().unwrap()
}

fn value(set: &SetText, name: &str) -> f64 {
    set.figure(name).unwrap_or_else(|| panic!("no {name} in {set:?}")).value
}

#[test]
fn a_decoder_on_a_trained_classifier_reads_both_sets() {
    let study = reported();
    set(&study, "train", 150, 7, &PhantomPhysics::reference());
    write_reports(&study, "train", |_, has| sentences(has));
    study.write_run(
        r#"
seeds = [1]
[data]
format = "table"
labels = "train.csv"
split = { by = "patient", valid = 0.2, test = 0.1, seed = 5 }
[preprocess]
size = 48
[network]
architecture = "small"
[training]
steps = 40
batch_size = 8
eval_every = 20
warmup_steps = 1
[[arms]]
name = "real"
"#,
    );
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "trained", "--device", "cpu"]));
    let mut args = of("real.csv", "made.csv");
    args[6] = "classifier:trained/model.safetensors";
    let found = report(&study.roentgen(&[&args[..], &["--train", "train.csv", "--report-decoder"]].concat()));
    let [reports] = &found.reports[..] else { panic!("one network: {:?}", found.reports) };
    assert_eq!(reports.by, "a small decoder on classifier");
    let decoder = reports.decoder.as_ref().unwrap();
    assert!(decoder.trained_on + decoder.held_out == 150 && decoder.held_out > 0, "{decoder:?}");
    assert!(decoder.known > 0.9 && decoder.words >= 20, "{decoder:?}");
    for (set, images) in [(&reports.synthetic, 60), (&reports.real, 80)] {
        assert_eq!((set.reports, set.undefined.as_ref()), (images, None));
        for name in ["findings F1, micro", "five findings F1, macro", "ROUGE-L F1", "BLEU-4, sacrebleu 13a"] {
            let row = set.figure(name).unwrap();
            let [low, high] = row.interval.unwrap();
            assert!(low <= row.value && row.value <= high && row.shuffled.is_some() && row.most_frequent.is_some(), "{row:?}");
        }
        // It writes the language that it was taught.
        assert!(value(set, "ROUGE-1 F1") > 0.4 && set.blank == 0, "{set:?}");
        let effusion = set.findings.iter().find(|finding| finding.finding == "Effusion").unwrap();
        assert!(effusion.references > 0);
    }
    let said = found.warnings.join("\n");
    assert!(said.contains("60 of 60 synthetic images were made from texts that the report decoder learnt from"), "{said}");
    let rows = std::fs::read_to_string(study.path("out/reports.csv")).unwrap();
    assert_eq!(rows.lines().count(), 1 + 140);
    let page = std::fs::read_to_string(study.path("out/evaluation.html")).unwrap();
    assert!(page.contains("Reports by a small decoder on classifier") && page.contains("the upper row"));
}

#[test]
fn files_of_reports_are_compared_by_image() {
    let study = reported();
    // Perfect reports of real images, and what is said of each synthetic image is what is true of the next.
    let found = |by: &str, synthetic: &[&str]| {
        report(&study.roentgen(&[&of("real.csv", "made.csv")[..], synthetic].concat()))
            .reports
            .into_iter()
            .find(|reports| reports.by == by)
            .unwrap()
    };
    let own = |name: &str| -> Vec<(String, String)> {
        let table = std::fs::read_to_string(study.path(&format!("{name}.csv"))).unwrap();
        let cells = table.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        cells.map(|cells| (cells[0].clone(), cells[2].clone())).collect()
    };
    let write = |name: &str, rows: &[(String, String)]| {
        let rows: String = rows.iter().rev().map(|(id, text)| format!("{id},{text}\n")).collect();
        std::fs::write(study.path(name), format!("id,generated\n{rows}")).unwrap();
    };
    let real = own("real");
    write("real-reports.csv", &real);
    let made = own("made");
    let mut next: Vec<String> = made.iter().map(|(_, text)| text.clone()).collect();
    next.rotate_left(1);
    let turned: Vec<_> = made.iter().map(|(id, _)| id.clone()).zip(next).collect();
    write("made-reports.csv", &turned[..50]);
    let reports = found("files", &["--real-reports", "real-reports.csv", "--synthetic-reports", "made-reports.csv"]);
    assert_eq!((reports.real.reports, reports.synthetic.reports, reports.decoder.is_none()), (80, 50, true));
    let (upper, own) = (value(&reports.real, "findings F1, micro"), value(&reports.synthetic, "findings F1, micro"));
    assert!(upper == 1.0 && own < 0.9, "{upper} {own}");
    assert!((value(&reports.real, "BLEU-4, sacrebleu 13a") - 100.0).abs() < 1e-9);
    let shuffled = reports.real.figure("findings F1, micro").unwrap().shuffled.unwrap();
    assert!(shuffled < 0.9 && reports.real.figure("findings F1, micro").unwrap().most_frequent.is_none());
    // A read report stands beside its own reference.
    let rows = std::fs::read(study.path("out/reports.csv")).unwrap();
    let mut rows = csv::Reader::from_reader(&rows[..]);
    for row in rows.records().map(Result::unwrap).filter(|row| &row[1] == "real") {
        assert_eq!(row[3], row[4]);
        assert!(real.iter().any(|(id, text)| *id == row[2] && *text == row[4]), "{row:?}");
    }
    // Entities: of each image one that both have.
    let line = |id: &str| {
        format!("{{\"id\": \"{id}\", \"entities\": {{\"1\": {{\"tokens\": \"heart\", \"label\": \"ANAT-DP\"}}}}}}\n")
    };
    let entities: String = real.iter().map(|(id, _)| line(id)).collect();
    std::fs::write(study.path("entities.jsonl"), &entities).unwrap();
    std::fs::write(study.path("fewer.jsonl"), line(&real[0].0)).unwrap();
    let with = ["--real-reports", "real-reports.csv", "--real-entities", "entities.jsonl", "entities.jsonl"];
    let reports = found("files", &with);
    assert_eq!(value(&reports.real, "entities F1, partial"), 1.0);
    assert!(undefined(&reports.synthetic).contains("no file of reports was given for the synthetic images"));
    let refuses = |more: &[&str], said: &[&str]| study.refuses(&[&of("real.csv", "made.csv")[..], more].concat(), said);
    let fewer = ["--real-reports", "real-reports.csv", "--real-entities", "fewer.jsonl", "fewer.jsonl"];
    refuses(&fewer, &["is in real-reports.csv and not in fewer.jsonl"]);
    refuses(
        &["--real-entities", "entities.jsonl", "entities.jsonl"],
        &["evaluation.reports.real_entities", "evaluation.reports.real"],
    );
    refuses(&["--real-reports", "made-reports.csv"], &["made-reports.csv, line 2: no image of", "is called `made/049.png`"]);
    refuses(&["--real-reports", "nowhere.csv"], &["nowhere.csv"]);
    refuses(&["--real-reports", "real.csv"], &["real.csv, line 1: column `image` is not known"]);
}

#[test]
fn texts_that_are_no_reports_are_not_called_so() {
    let study = reported();
    let decoded = |real: &str, synthetic: &str, train: Option<&str>| {
        let train: Vec<&str> = train.iter().flat_map(|train| ["--train", train]).collect();
        let output = study.roentgen(&[&of(real, synthetic)[..], &train, &["--report-decoder"]].concat());
        report(&output).reports.remove(0)
    };
    let without = decoded("real.csv", "made.csv", None);
    assert!(undefined(&without.real).contains("--train") && undefined(&without.synthetic).contains("--train"));
    // Lists of labels, by their words alone; and real images whose patients the decoder would learn from.
    write_reports(
        &study,
        "made",
        |_, has| if has("Effusion") { "Chest radiograph: effusion.".into() } else { "No effusion.".into() },
    );
    let lists = decoded("real.csv", "made.csv", Some("real.csv"));
    assert!(undefined(&lists.synthetic).contains("60 of 60 texts of made.csv are lists of labels"), "{lists:?}");
    assert!(undefined(&lists.real).starts_with("0 images with a report to compare are too few"), "{lists:?}");
    // Template text that says so.
    let table = std::fs::read_to_string(study.path("made.csv")).unwrap();
    std::fs::write(study.path("template.csv"), table.replacen(",report,", ",template,", 1)).unwrap();
    std::fs::write(
        study.path("blank.csv"),
        table.replacen("report,", "", 1).replace("Chest radiograph: effusion.,", "").replace("No effusion.,", ""),
    )
    .unwrap();
    let template = decoded("real.csv", "template.csv", Some("real.csv"));
    assert!(undefined(&template.synthetic).contains("all 60 texts of template.csv are template text"), "{template:?}");
    let blank = decoded("real.csv", "blank.csv", Some("real.csv"));
    assert!(undefined(&blank.synthetic).contains("no image of blank.csv has a report"), "{blank:?}");
}
