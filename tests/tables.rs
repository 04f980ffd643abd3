//! Tables and folders of other kinds than the project's own, as a user has them.

use std::path::Path;

use crate::cli::{RUN, Study, succeeds};

/// What a command said on standard error.
fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The run file of a study whose `[data]` table is `data`.
fn with_data(data: &str) -> String {
    let (before, rest) = RUN.split_once("[data]\n").unwrap();
    let (_, after) = rest.split_once("[preprocess]").unwrap();
    format!("{before}[data]\n{data}\n[preprocess]{after}")
}

/// The images of the study's table with their patients.
fn images(study: &Study) -> Vec<(String, String)> {
    let table = std::fs::read_to_string(study.path("table.csv")).unwrap();
    let row = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    table.lines().skip(1).map(row).map(|cells| (cells[0].clone(), cells[1].clone())).collect()
}

/// A table of `header` with a row for each image: its number, name and patient.
fn write_table(study: &Study, name: &str, header: &str, row: impl Fn(usize, &str, &str) -> String) {
    let rows = images(study).iter().enumerate().map(|(i, (image, patient))| row(i, image, patient)).collect::<Vec<_>>();
    std::fs::write(study.path(name), format!("{header}\n{}\n", rows.join("\n"))).unwrap();
}

fn summary(study: &Study) -> serde_json::Value {
    serde_json::from_str(&succeeds(&study.roentgen(&["data", "summary", "run.toml", "--json"]))).unwrap()
}

const SPLITS: [&str; 3] = ["train", "valid", "test"];
const LABELS: [&str; 3] = ["No Finding", "Mass|Effusion", "Mass"];

/// Three splits, each with every kind of label, in a table as Kaggle's.
fn kaggle(study: &Study) {
    write_table(study, "kaggle.csv", "Image Index,Finding Labels,Patient ID,Kept In,Notes", |i, image, _| {
        format!("{image},{},{i},{},x", LABELS[i / 3 % 3], SPLITS[i % 3])
    });
}

#[test]
fn a_table_of_lists_is_compared_with_columns_that_the_run_file_names() {
    let study = Study::new();
    kaggle(&study);
    let data = "format = \"table\"\nlabels = \"kaggle.csv\"\nfindings = [\"Mass\", \"Pleural Effusion\"]\n\
                columns = { image = \"image index\", patient_id = \"Patient ID\", labels = \"Finding Labels\", split = \"Kept In\" }";
    study.write_run(&with_data(data));
    let counted = summary(&study);
    assert_eq!(counted["splits"], serde_json::json!({ "test": 20, "train": 20, "valid": 20 }), "{counted}");
    let positive = |finding: usize| counted["findings"][finding]["all"]["positive"].as_u64().unwrap();
    assert_eq!((positive(0), positive(1)), (39, 21), "{counted}");
    let compared = study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]);
    succeeds(&compared);
    let note = "columns that data.columns does not name and that are no findings are ignored: `Notes`";
    assert_eq!(said(&compared).matches(note).count(), 1, "{}", said(&compared));
    let report = std::fs::read_to_string(study.path("out/report.json")).unwrap();
    assert!(report.contains(note), "the report repeats the note");

    // Without the mapping, a split is missing, and the message names what does.
    study.write_run(&with_data("format = \"table\"\nlabels = \"kaggle.csv\""));
    study.refuses(&["data", "check", "run.toml"], &["`Kept In`", "extra_columns = [\"Kept In\", \"Notes\"]"]);
    study.write_run(&with_data(&data.replace("Kept In", "Split")));
    study.refuses(&["train", "run.toml", "--out", "one"], &["data.columns.split is `Split`", "kaggle.csv", "`Kept In`"]);
}

#[test]
fn views_and_one_image_per_patient_are_counted_in_the_report() {
    let study = Study::new();
    let views = ["PA", "AP", "L", ""];
    write_table(&study, "views.csv", "image,patient_id,view,date,split,Mass", |i, image, _| {
        let patient = i / 10;
        let split = SPLITS[patient % 3];
        format!("{image},{patient},{},20{:02}-01-01,{split},{}", views[i % 4], 99 - i, patient / 3)
    });
    let data = "format = \"table\"\nlabels = \"views.csv\"\nviews = [\"PA\", \"AP\"]\n";
    study.write_run(&with_data(&format!("{data}extra_columns = [\"date\"]")));
    assert_eq!(summary(&study)["images"], 30);
    study.write_run(&with_data(&format!("{data}one_image_per_patient = true\ncolumns = {{ order = \"date\" }}")));
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
    let report = std::fs::read_to_string(study.path("out/report.json")).unwrap();
    for note in
        ["30 of 60 images are of other views than data.views = [PA, AP]", "24 of 30 images are not the first of their patient"]
    {
        assert!(report.contains(note), "{note}\n{report}");
    }
    // The last row of each patient has the earliest date.
    let kept = std::fs::read_to_string(study.path("out/data.csv")).unwrap();
    let all = images(&study);
    for patient in 0..6 {
        let last = (patient * 10..patient * 10 + 10).rev().find(|i| i % 4 < 2).unwrap();
        assert!(kept.contains(&format!(",{},", all[last].0)), "{last}\n{kept}");
    }
    study.write_run(&with_data(&format!("{data}columns = {{ order = \"date\" }}")));
    study.refuses(
        &["data", "check", "run.toml"],
        &["run.toml, line", "data.columns.order is date", "one_image_per_patient = true"],
    );
    study
        .write_run(&with_data("format = \"table\"\nlabels = \"views.csv\"\nextra_columns = [\"date\"]\nviews = [\"oblique\"]"));
    study.refuses(&["data", "check", "run.toml"], &["oblique", "`PA`"]);
}

#[test]
fn a_partial_download_trains_with_what_is_there() {
    let study = Study::new();
    kaggle(&study);
    let columns = "columns = { split = \"Kept In\" }\nextra_columns = [\"Notes\"]";
    let data = format!("format = \"table\"\nlabels = \"kaggle.csv\"\n{columns}");
    study.write_run(&with_data(&data));
    let all = images(&study);
    all[..6].iter().for_each(|(image, _)| std::fs::remove_file(study.path(image)).unwrap());
    study.refuses(&["train", "run.toml", "--out", "one"], &["kaggle.csv, row 2", &all[0].0, "missing = \"skip\""]);
    study.write_run(&with_data(&format!("{data}\nmissing = \"skip\"")));
    let note = "6 of 60 images are not under";
    let checked = study.roentgen(&["data", "check", "run.toml"]);
    succeeds(&checked);
    assert!(said(&checked).contains(note), "{}", said(&checked));
    succeeds(&study.roentgen(&["compare", "run.toml", "--out", "out", "--device", "cpu"]));
    assert!(std::fs::read_to_string(study.path("out/report.json")).unwrap().contains(note));
    // All of validation: its tenth must not be drawn from training instead.
    all.iter().skip(1).step_by(3).skip(2).for_each(|(image, _)| std::fs::remove_file(study.path(image)).unwrap());
    for command in [&["data", "check", "run.toml"][..], &["train", "run.toml", "--out", "two"]] {
        study.refuses(command, &["24 of 60 images are not under", "nothing is left of the valid split"]);
    }
    std::fs::remove_dir_all(study.path("phantoms")).unwrap();
    study.refuses(&["train", "run.toml", "--out", "two"], &["60 of 60 images", "nothing is left"]);
}

#[test]
fn images_are_scored_without_labels_and_without_splits() {
    let study = Study::new();
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one", "--device", "cpu"]));
    let findings: serde_json::Value = summary(&study)["findings"].clone();
    let findings = findings.as_array().unwrap().len();
    let all = images(&study);
    let first = &all[0].0;
    for (table, known) in [
        (format!("image\n{first}\n"), 0),
        (format!("Path\n{first}\n"), 0),
        (format!("image,Mass\n{first},\n"), 0),
        (format!("image,Mass,Effusion\n{first},1,0\n"), 2),
        (format!("image,labels\n{first},Mass\n"), 1),
    ] {
        std::fs::write(study.path("new.csv"), &table).unwrap();
        std::fs::write(study.path("new.toml"), "[data]\nformat = \"table\"\nlabels = \"new.csv\"\n").unwrap();
        let scored = study.roentgen(&["predict", "new.toml", "--weights", "one/model.safetensors", "--out", "p.csv"]);
        let shown = succeeds(&scored);
        assert!(shown.contains("1 images, macro AUROC undefined"), "{table}{shown}");
        assert!(said(&scored).contains("names no splits: all of its images are scored"), "{}", said(&scored));
        let written = std::fs::read_to_string(study.path("p.csv")).unwrap();
        let cells: Vec<&str> = written.lines().nth(1).unwrap().split(',').collect();
        let of = |target: bool| cells[3..].iter().skip(usize::from(!target)).step_by(2).filter(|cell| !cell.is_empty()).count();
        assert_eq!((of(true), of(false)), (known, findings), "{table}{written}");
    }
    // The same table has no labels to learn.
    std::fs::write(study.path("new.csv"), format!("image\n{first}\n")).unwrap();
    study.write_run(&with_data("format = \"table\"\nlabels = \"new.csv\""));
    for command in
        [&["train", "run.toml", "--out", "two"][..], &["compare", "run.toml", "--out", "two"], &["data", "check", "run.toml"]]
    {
        study.refuses(command, &["new.csv: no column is a finding", "data.columns.labels"]);
    }
    // A table with splits is scored as before: its test split.
    kaggle(&study);
    let data = "[data]\nformat = \"table\"\nlabels = \"kaggle.csv\"\ncolumns = { split = \"Kept In\" }\n";
    std::fs::write(study.path("new.toml"), data).unwrap();
    let predict = ["predict", "new.toml", "--weights", "one/model.safetensors", "--out", "p.csv"];
    assert!(succeeds(&study.roentgen(&predict)).contains("20 images"));
    // Only of test: nothing else is asked of a table to be scored.
    let table =
        std::fs::read_to_string(study.path("kaggle.csv")).unwrap().replace(",train,", ",test,").replace(",valid,", ",test,");
    std::fs::write(study.path("kaggle.csv"), table).unwrap();
    assert!(succeeds(&study.roentgen(&predict)).contains("60 images"));
    study.refuses(&[&predict[..], &["--split", "train"]].concat(), &["the train split has no real image"]);
}

#[test]
fn a_folder_that_is_not_there_is_named_with_its_key() {
    let study = Study::new();
    study.write_run(&with_data("format = \"table\"\nlabels = \"table.csv\"\nimages = \"nowhere\""));
    for command in
        [&["train", "run.toml", "--out", "one"][..], &["data", "check", "run.toml"], &["data", "summary", "run.toml"]]
    {
        study.refuses(command, &["`data.images`", "nowhere", "no such folder"]);
    }
    study.write_run(&with_data("format = \"class-folders\""));
    study.refuses(&["data", "check", "run.toml"], &["run.toml, line", "data.images is absent"]);
    study.write_run(&with_data("format = \"imagefolder\"\nimages = \"phantoms\"\nlabels = \"table.csv\""));
    study.refuses(&["data", "check", "run.toml"], &["data.labels is", "data.images alone"]);
    study.write_run(&with_data("format = \"nih\"\nlabels = \"table.csv\"\ncolumns = { image = \"Path\" }"));
    study.refuses(&["data", "check", "run.toml"], &["data.columns is a table", "`nih` has no use for it"]);
}

fn copy(study: &Study, image: &str, to: &str) {
    let to = study.path(to);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(study.path(image), to).unwrap();
}

/// `root/SPLIT/CLASS/N.png`; the classes are normal, a finding, and one that no vocabulary has.
fn class_folders(study: &Study, root: &str, class: &str) {
    for (i, (image, _)) in images(study).iter().enumerate() {
        let class = ["NORMAL", "PNEUMONIA", class][i / 3 % 3];
        copy(study, image, &format!("{root}/{}/{class}/{i}.png", ["train", "val", "test"][i % 3]));
    }
}

#[test]
fn a_folder_per_class_is_a_data_set() {
    let study = Study::new();
    class_folders(&study, "chest", "COVID");
    let data = "format = \"class-folders\"\nimages = \"chest\"";
    study.write_run(&with_data(data));
    study.refuses(&["data", "check", "run.toml"], &["`COVID`", "custom_findings = [\"COVID\"]"]);
    study.write_run(&with_data(&format!("{data}\ncustom_findings = [\"COVID\"]")));
    let counted = summary(&study);
    assert_eq!(counted["splits"], serde_json::json!({ "test": 20, "train": 20, "valid": 20 }), "{counted}");
    assert_eq!((&counted["findings"][0]["finding"], &counted["findings"][0]["all"]["positive"]), (&"COVID".into(), &18.into()));
    let trained = study.roentgen(&["train", "run.toml", "--out", "one", "--device", "cpu"]);
    succeeds(&trained);
    assert!(said(&trained).contains("name no patients"), "{}", said(&trained));
}

#[test]
fn an_imagefolder_is_a_data_set() {
    let study = Study::new();
    let mut metadata = [(); 3].map(|()| String::new());
    for (i, (image, patient)) in images(&study).iter().enumerate() {
        let name = Path::new(image).file_name().unwrap().to_str().unwrap();
        let split = ["train", "validation", "test"][i % 3];
        copy(&study, image, &format!("hub/{split}/{name}"));
        let labels = if i / 3 % 2 == 0 { "[]" } else { "[\"Mass\", \"Pneumothorax\"]" };
        metadata[i % 3]
            .push_str(&format!("{{\"file_name\": \"{name}\", \"patient\": \"{patient}-{}\", \"labels\": {labels}}}\n", i % 3));
    }
    for (split, lines) in ["train", "validation", "test"].iter().zip(&metadata) {
        std::fs::write(study.path(&format!("hub/{split}/metadata.jsonl")), lines).unwrap();
    }
    study.write_run(&with_data("format = \"imagefolder\"\nimages = \"hub\""));
    let counted = summary(&study);
    assert_eq!(counted["splits"], serde_json::json!({ "test": 20, "train": 20, "valid": 20 }), "{counted}");
    assert_eq!((&counted["findings"][0]["finding"], &counted["findings"][0]["all"]["positive"]), (&"Mass".into(), &30.into()));
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "one", "--device", "cpu"]));
    // An error is in the file and on the line that the user has.
    let path = study.path("hub/validation/metadata.jsonl");
    let lines = std::fs::read_to_string(&path).unwrap().replacen("Mass", "Masss", 2);
    std::fs::write(path, lines).unwrap();
    study.refuses(&["data", "check", "run.toml"], &["validation/metadata.jsonl, row 2, column `labels`: `Masss`"]);
}

#[test]
fn keys_that_older_run_folders_lack_make_no_difference_at_their_defaults() {
    let study = Study::new();
    let train = ["train", "run.toml", "--out", "one", "--device", "cpu"];
    succeeds(&study.roentgen(&train));
    for file in ["one/run.json", "one/config.toml"] {
        let text = std::fs::read_to_string(study.path(file)).unwrap();
        for key in ["columns", "views", "one_image_per_patient", "missing"] {
            let names =
                |line: &&str| line.trim().trim_start_matches('"').starts_with(&format!("data.{key}")) || line.starts_with(key);
            assert_eq!(text.lines().find(names), None, "{file}");
        }
    }
    // How a table is read may change while its rows do not; which rows are read may not.
    let labels = "labels = \"table.csv\"";
    study.edit_run(labels, &format!("{labels}\ncolumns = {{ image = \"IMAGE\" }}\nmissing = \"skip\"\ndelimiter = \",\""));
    succeeds(&study.roentgen(&train));
    study.edit_run(labels, &format!("{labels}\nviews = [\"PA\"]"));
    study.refuses(&train, &["data.views: absent, now [\"PA\"]"]);
}
