//! `roentgen data label` as a user types it.

use std::fs;

use crate::cli::{Study, succeeds};

const REPORTS: &str = "study,text,note\n1,\"FINDINGS: Lungs are clear.\nIMPRESSION: Small left effusion. No edema.\",a\n2,,b\n3,\"INDICATION: rule out pneumonia\nTECHNIQUE:\",c\n\
    4,Possible right pneumonia.,\"d, e\"\n";

fn study() -> Study {
    let study = Study::new();
    fs::write(study.path("reports.csv"), REPORTS).unwrap();
    study
}

/// The cells of a column.
fn column(table: &str, name: &str) -> Vec<String> {
    let mut csv = csv::Reader::from_reader(table.as_bytes());
    let at = csv.headers().unwrap().iter().position(|header| header == name).unwrap_or_else(|| panic!("no {name} in {table}"));
    csv.records().map(|row| row.unwrap()[at].to_owned()).collect()
}

#[test]
fn a_table_gains_labels_and_says_what_they_were_read_from() {
    let study = study();
    let label = ["data", "label", "reports.csv", "--report", "text", "--out", "out/labels.csv"];
    let shown = succeeds(&study.roentgen(&label));
    for said in [
        "labels of 4 rows",
        "read from: impression 1, whole text 1",
        "no report 1, nothing left of the report 1",
        "docs/labeler.md",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let table = fs::read_to_string(study.path("out/labels.csv")).unwrap();
    assert_eq!(column(&table, "Effusion"), ["1", "", "", ""]);
    assert_eq!(column(&table, "Edema"), ["0", "", "", ""]);
    assert_eq!(column(&table, "Pneumonia"), ["", "", "", "-1"]);
    assert_eq!(column(&table, "Effusion side"), ["left", "", "", ""]);
    assert_eq!(column(&table, "note"), ["a", "b", "c", "d, e"]);
    assert_eq!(column(&table, "Lung Opacity"), ["", "", "", ""], "the findings are not read where there is an impression");

    let json = succeeds(&study.roentgen(&[&label[..], &["--json", "--section", "whole"]].concat()));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((json["rows"].as_u64(), json["taken"]["whole"].as_u64()), (Some(4), Some(3)));
    let table = fs::read_to_string(study.path("out/labels.csv")).unwrap();
    assert_eq!(column(&table, "Lung Opacity"), ["0", "", "", ""]);
    assert_eq!(fs::read_dir(study.path("out")).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_report_is_explained() {
    let study = study();
    let explain = ["data", "label", "reports.csv", "--report", "text", "--explain", "2"];
    let shown = succeeds(&study.roentgen(&explain));
    for said in [
        "read from: impression",
        "Effusion: positive, left, mild, from \"effusion\"",
        "Edema: negative",
        "by \"No\" (cues.negation_before: no)",
    ] {
        assert!(shown.contains(said), "{said}: {shown}");
    }
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(&study.roentgen(&[&explain[..], &["--json"]].concat()))).unwrap();
    assert_eq!(
        (json["mentions"][0]["finding"].as_str(), json["mentions"][0]["side"].as_str()),
        (Some("Effusion"), Some("left"))
    );
    study.refuses(&["data", "label", "reports.csv", "--report", "text", "--explain", "3"], &["no row starts on line 3"]);
}

#[test]
fn own_rules_are_taken_and_their_faults_named() {
    let study = study();
    let rules = succeeds(&study.roentgen(&["data", "label", "--print-rules"]));
    fs::write(study.path("rules.toml"), &rules).unwrap();
    let label = ["data", "label", "reports.csv", "--report", "text", "--rules", "rules.toml", "--out", "labels.csv"];
    succeeds(&study.roentgen(&label));
    succeeds(&study.roentgen(&[&label[..], &["--parents"]].concat()));
    let table = fs::read_to_string(study.path("labels.csv")).unwrap();
    assert_eq!(column(&table, "Lung Opacity"), ["", "", "", "-1"], "pneumonia is an opacity");
    fs::write(study.path("rules.toml"), rules.replacen("cardiomegal*", "cardiomegal*(", 1)).unwrap();
    study.refuses(&label, &["rules.toml", "finding `Cardiomegaly`, present: `cardiomegal*(`", "brackets don't match"]);
}

#[test]
fn what_cant_be_labelled_is_refused_with_a_remedy() {
    let study = study();
    let label = |more: &[&'static str]| [&["data", "label"], more].concat();
    study.refuses(&label(&["reports.csv", "--out", "o.csv"]), &["name the column of the reports with --report"]);
    study.refuses(&label(&["reports.csv", "--report", "txt", "--out", "o.csv"]), &["no column `txt`", "`text`"]);
    study.refuses(&label(&["nowhere.csv", "--report", "text", "--out", "o.csv"]), &["cannot read nowhere.csv"]);
    study.refuses(&label(&["run.toml", "--report", "text", "--out", "o.csv"]), &["--report text", "`report` of [data]"]);
    study.refuses(&label(&["run.toml", "--out", "o.csv"]), &["no row of", "has a report"]);
    fs::write(study.path("labelled.csv"), "Edema,text\n1,No edema.\n").unwrap();
    let label = label(&["labelled.csv", "--report", "text", "--out", "o.csv"]);
    study.refuses(&label, &["labelled.csv: column `Edema` has labels already", "--replace"]);
    assert!(!study.path("o.csv").exists());
    succeeds(&study.roentgen(&[&label[..], &["--replace"]].concat()));
    assert_eq!(column(&fs::read_to_string(study.path("o.csv")).unwrap(), "Edema"), ["0"]);
}

#[test]
fn the_reports_of_a_data_set_become_its_labels() {
    let study = Study::new();
    fs::write(
        study.path("t.csv"),
        "image,patient_id,split,Edema,report\na.png,p,train,1,No edema. Left effusion.\nb.png,q,test,0,Edema.\n",
    )
    .unwrap();
    study.write_run("[data]\nformat = \"table\"\nlabels = \"t.csv\"\n");
    succeeds(&study.roentgen(&["data", "label", "run.toml", "--out", "o.csv"]));
    let table = fs::read_to_string(study.path("o.csv")).unwrap();
    assert_eq!(column(&table, "image"), ["a.png", "b.png"]);
    assert_eq!(column(&table, "split"), ["train", "test"]);
    assert_eq!(
        (column(&table, "Edema"), column(&table, "Effusion side")),
        (vec!["0".to_owned(), "1".to_owned()], vec!["left".to_owned(), String::new()])
    );
}
