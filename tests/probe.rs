//! `probe` as a user types it, on tiny text encoders with random weights and made-up reports.

use std::fs;
use std::process::Output;

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::generate::{Bench, roentgen};

/// Two tiny pipelines, `tiny` and `other`, and `reports.csv`: 60 patients, 75 texts.
struct Probing {
    bench: Bench,
}

/// A sentence as a report has it; one in three patients has an effusion, one in four an edema.
fn report(patient: usize, again: bool) -> String {
    let heart = ["The heart is not enlarged.", "Heart size within normal limits.", "Borderline heart size."][patient % 3];
    let effusion = match patient.is_multiple_of(3) {
        true => "Blunted costophrenic angle in keeping with layering fluid.",
        false => "Costophrenic angles stay sharp.",
    };
    let edema = if patient.is_multiple_of(4) { "There is interstitial edema." } else { "Vessels are crisp." };
    let when = if again { "Follow up." } else { "First visit." };
    format!("{when} {heart} {effusion} {edema} Case {patient}.")
}

fn table(labels: bool) -> String {
    let mut text = format!("source_id,patient_id,report{}\n", if labels { ",Effusion,Edema,Fracture" } else { "" });
    for patient in 0..60_usize {
        for again in [false, true].into_iter().take(1 + usize::from(patient.is_multiple_of(4))) {
            text.push_str(&format!("r{patient}{},p{patient},\"{}\"", if again { "b" } else { "" }, report(patient, again)));
            if labels {
                let [effusion, edema, fracture] =
                    [patient.is_multiple_of(3), patient.is_multiple_of(4), patient < 3].map(u8::from);
                text.push_str(&format!(",{effusion},{edema},{fracture}"));
            }
            text.push('\n');
        }
    }
    text
}

impl Probing {
    fn new() -> Self {
        let bench = Bench::new();
        let made = roentgen(bench.folder.path(), &["dev", "random-pipeline", "--out", "other", "--seed", "4"]);
        assert!(made.status.success());
        bench.write("reports.csv", &table(true));
        Self { bench }
    }

    fn probe(&self, more: &[&str]) -> Output {
        let given = |flag: &str| more.contains(&flag);
        let defaults =
            [("--texts", "reports.csv"), ("--before", "tiny"), ("--after", "other"), ("--out", "out"), ("--bootstrap", "50")];
        let mut args = vec!["probe", "--device", "cpu"];
        defaults.iter().filter(|(flag, _)| !given(flag)).for_each(|(flag, value)| args.extend([*flag, *value]));
        args.extend(more);
        roentgen(self.bench.folder.path(), &args)
    }

    fn finds(&self, more: &[&str]) -> Value {
        let output = self.probe(&[more, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn refuses(&self, more: &[&str], said: &[&str]) {
        let output = self.probe(more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{more:?} succeeded");
        assert!(message.contains("error: ") && !message.contains("panicked"), "{more:?} said {message}");
        for part in said {
            assert!(message.contains(part), "{more:?} said {message}\nexpected {part}");
        }
    }
}

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["findings"].as_array().unwrap().iter().find(|one| one["finding"] == name).unwrap()
}

#[test]
fn a_probe_writes_its_figures_scores_and_embeddings() {
    let probing = Probing::new();
    let report = probing.finds(&[]);
    assert_eq!((&report["is_result"], &report["settings"]["labels"]), (&json!(true), &json!("table")));
    assert_eq!((&report["texts"]["texts"], &report["texts"]["patients"]), (&json!(75), &json!(60)));
    for side in ["before", "after"] {
        let encoder = &report[side];
        assert_eq!((&encoder["pooling"], &encoder["width"]), (&json!("eos"), &json!(32)));
        assert_eq!((&encoder["computed"], &encoder["found"]), (&json!(75), &json!(0)));
    }
    for name in ["Effusion", "Edema"] {
        for probe in ["linear", "mlp"] {
            let figures = &finding(&report, name)["probes"][probe];
            for metric in ["auroc", "average_precision", "f1", "macro_f1"] {
                let value = |part: &str| figures[metric][part]["value"].as_f64().unwrap();
                let [before, after] = [value("before"), value("after")];
                assert!((0.0..=1.0).contains(&before) && (0.0..=1.0).contains(&after));
                assert!((value("absolute") - (after - before)).abs() < 1e-12);
                assert!((value("relative") - (after - before) / before).abs() < 1e-12);
                let interval = &figures[metric]["absolute"]["interval"];
                assert!(interval["lower"].as_f64().unwrap() <= interval["upper"].as_f64().unwrap());
            }
        }
    }
    // Three patients of sixty.
    let fracture = finding(&report, "Fracture");
    let reason = fracture["undefined"].as_str().unwrap();
    assert_eq!(reason, "3 patient(s) with it, 10 needed: 2 in each of 5 folds");
    assert_eq!(fracture["probes"], json!({}));

    let predictions = fs::read_to_string(probing.bench.path("out/predictions.csv")).unwrap();
    let mut lines = predictions.lines();
    assert_eq!(lines.next().unwrap(), "id,patient_id,fold,finding,target,linear_before,linear_after,mlp_before,mlp_after");
    let mut fold_of = std::collections::HashMap::new();
    for line in lines.clone() {
        let cells: Vec<_> = line.split(',').collect();
        assert_eq!(*fold_of.entry(cells[1]).or_insert(cells[2]), cells[2], "a patient is in one fold");
    }
    assert_eq!(lines.count(), 2 * 75);
    let page = fs::read_to_string(probing.bench.path("out/probe.html")).unwrap();
    assert!(
        page.contains("3 patient(s) with it") && page.contains("Effusion") && !page.contains("http"),
        "no request to elsewhere"
    );

    let files: Vec<_> =
        fs::read_dir(probing.bench.path("out/embeddings")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let bytes = fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("embeddings").unwrap().shape(), [75, 32]);
        let digest = blake3_of(&report_text(0));
        assert_eq!(&tensors.tensor("texts").unwrap().data()[..32], digest);
    }

    // The same again: nothing is embedded twice, and the figures are the same.
    let again = probing.finds(&[]);
    assert_eq!((&again["before"]["computed"], &again["before"]["found"]), (&json!(0), &json!(75)));
    assert_eq!((&again["findings"], &again["mean"]), (&report["findings"], &report["mean"]));
    assert_eq!(fs::read_to_string(probing.bench.path("out/predictions.csv")).unwrap(), predictions);

    // Another probe is not written over it, and may share its embeddings.
    probing.refuses(&["--c", "0.1"], &["out/probe.json has the result of another probe (fit differ)", "another --out"]);
    let shared = probing.finds(&["--c", "0.1", "--probe", "linear", "--out", "second", "--embeddings", "out/embeddings"]);
    assert_eq!((&shared["after"]["computed"], &shared["settings"]["probes"]), (&json!(0), &json!(["linear"])));
    assert!(!probing.bench.path("second/embeddings").exists());

    // A damaged file is said to be one, and made again.
    for entry in fs::read_dir(probing.bench.path("out/embeddings")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let mended = probing.finds(&[]);
    assert_eq!((&mended["before"]["computed"], &mended["findings"]), (&json!(75), &report["findings"]));
    assert!(mended["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("is damaged")));
}

fn report_text(patient: usize) -> String {
    report(patient, false)
}

fn blake3_of(text: &str) -> [u8; 32] {
    // What Python's `blake3.blake3(text.encode()).digest()` gives.
    *blake3::hash(text.as_bytes()).as_bytes()
}

#[test]
fn the_same_encoder_twice_differs_by_nothing_and_says_so() {
    let probing = Probing::new();
    let report = probing.finds(&["--after", "tiny", "--probe", "linear"]);
    assert_eq!(report["identical"], json!("weights"));
    let auroc = &finding(&report, "Effusion")["probes"]["linear"]["auroc"];
    for part in ["absolute", "relative"] {
        assert_eq!((&auroc[part]["value"], &auroc[part]["interval"]), (&json!(0.0), &json!({ "lower": 0.0, "upper": 0.0 })));
    }
    let shown = String::from_utf8(probing.probe(&["--after", "tiny", "--probe", "linear"]).stdout).unwrap();
    assert!(
        shown.contains("every difference is exactly 0") && shown.contains("+0.000") || shown.contains("0.000 [0.000, 0.000]"),
        "{shown}"
    );
}

#[test]
fn template_text_is_not_a_result() {
    let probing = Probing::new();
    let mut text = "patient_id,prompt,Effusion\n".to_owned();
    for patient in 0..40_usize {
        let has = patient.is_multiple_of(2);
        let findings = if has { "moderate left effusion" } else { "no finding" };
        text.push_str(&format!(
            "p{patient},\"Chest radiograph (PA): {findings}. {} year old male.\",{}\n",
            30 + patient,
            u8::from(has)
        ));
    }
    probing.bench.write("templates.csv", &text);
    let ask = ["--texts", "templates.csv", "--probe", "linear"];
    probing.refuses(&ask, &["40 of 40 texts are template text", "not a result", "--allow-template"]);
    assert!(!probing.bench.path("out").exists(), "refused before anything is written");
    let report = probing.finds(&[&ask[..], &["--allow-template"]].concat());
    assert_eq!(report["is_result"], json!(false));
    // The rule that needs no encoder knows every label.
    assert_eq!(finding(&report, "Effusion")["name_in_text"], json!(1.0));
    let page = fs::read_to_string(probing.bench.path("out/probe.html")).unwrap();
    assert!(page.contains("Text encoder probe: not a result"));
    let shown = String::from_utf8(probing.probe(&[&ask[..], &["--allow-template"]].concat()).stdout).unwrap();
    assert!(shown.starts_with("NOT A RESULT."), "{shown}");
}

#[test]
fn labels_read_from_the_texts_are_called_weak() {
    let probing = Probing::new();
    probing.bench.write("bare.csv", &table(false));
    let report = probing.finds(&["--texts", "bare.csv", "--probe", "linear"]);
    assert_eq!((&report["settings"]["labels"], &report["settings"]["blank"]), (&json!("text"), &json!("zero")));
    assert!(report["notes"].as_array().unwrap().iter().any(|note| note.as_str().unwrap().contains("weak labels")));
    assert!(finding(&report, "Edema")["undefined"].is_null());
    // The table's own labels, of texts that have some.
    probing.refuses(&["--texts", "bare.csv", "--labels", "table"], &["bare.csv has no labels", "--labels text"]);
}

#[test]
fn what_cant_be_probed_is_refused_with_a_remedy() {
    let probing = Probing::new();
    probing.refuses(&["--pooling", "cls"], &["--before", "the same for every text", "eos or mean"]);
    probing.refuses(&["--folds", "1"], &["folds is 1, expected at least 2"]);
    probing.refuses(&["--folds", "61"], &["60 patients can't be divided into 61 folds"]);
    probing.refuses(&["--folds", "30"], &["no finding can be probed:", "Effusion: 20 patient(s) with it, 60 needed"]);
    probing.refuses(&["--c", "0"], &["c is 0, expected above 0"]);
    probing.refuses(&["--before", "nowhere"], &["--before", "nowhere"]);
    probing.refuses(&["--texts", "nowhere.csv"], &["cannot read nowhere.csv"]);
    probing.bench.write("numbers.csv", "a,b\n1,2\n");
    probing.refuses(&["--texts", "numbers.csv"], &["numbers.csv", "`prompt`"]);
    probing.bench.write("empty.csv", "report,patient_id\nINDICATION: cough,a\n");
    probing.refuses(&["--texts", "empty.csv"], &["no row has a text to probe", "nothing left of the report 1"]);
    // Positives alone: blank cells are unknown.
    let positives = table(true).replace(",0", ",");
    probing.bench.write("positives.csv", &positives);
    probing.refuses(&["--texts", "positives.csv"], &["Effusion: no text without it", "--blank negative"]);
    let report = probing.finds(&["--texts", "positives.csv", "--blank", "negative", "--probe", "linear"]);
    assert!(finding(&report, "Effusion")["undefined"].is_null());
    fs::remove_dir_all(probing.bench.path("other/tokenizer")).unwrap();
    probing.refuses(&["--out", "third"], &["--after", "tokenizer"]);
}
