//! `roentgen data` as a user types it: what it passes can be trained on, what it guesses can be pasted, and what it doubts is said.

use std::fs;
use std::path::Path;
use std::process::Output;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use roentgen::compare::batcher;
use roentgen::config::RunConfig;
use roentgen::study::{self, StudyData};
use roentgen_augment::image::encode_png;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_classifier::training::check_selection;

use crate::cli::{Study, succeeds};

const RUN: &str = r#"
seeds = [1]
[data]
format = "table"
labels = "table.csv"
[preprocess]
size = 32
[network]
architecture = "small"
[training]
steps = 2
batch_size = 4
eval_every = 2
[[arms]]
name = "real"
"#;

const HEADER: &str = "image,patient_id,age,sex,split,Mass,Effusion";

/// Rows of a table with sound images `0.png` to `8.png` beside it: three of each split, both classes in each.
fn rows() -> Vec<[String; 7]> {
    let split = |i: usize| ["train", "valid", "test"][i % 3];
    let label = |i: usize| ["0", "1", "0"][i / 3];
    let row = |i: usize| {
        [&format!("{i}.png"), &format!("p{i}"), "50", "M", split(i), label(i), label(8 - i)].map(|cell| cell.to_string())
    };
    (0..9).map(row).collect()
}

fn write(folder: &Path, rows: &[[String; 7]], run: &str) {
    let phantoms = PhantomDataset::new(PhantomDatasetConfig::new(9, 32, 7)).unwrap();
    for i in 0..9 {
        fs::write(folder.join(format!("{i}.png")), encode_png(&phantoms.image(i))).unwrap();
    }
    let rows = rows.iter().map(|row| row.join(",") + "\n").collect::<String>();
    fs::write(folder.join("table.csv"), format!("{HEADER}\n{rows}")).unwrap();
    fs::write(folder.join("run.toml"), run).unwrap();
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// One thing that is wrong, and the words of `data check` for it.
struct Fault {
    change: fn(&Path, &mut Vec<[String; 7]>, &mut String),
    said: &'static [&'static str],
}

/// Faults that training refuses.
const FAULTS: &[Fault] = &[
    Fault {
        change: |folder, _, _| fs::remove_file(folder.join("2.png")).unwrap(),
        said: &["1 unreadable image", "row 4", "2.png"],
    },
    Fault {
        change: |folder, _, _| {
            let png = fs::read(folder.join("4.png")).unwrap();
            fs::write(folder.join("4.png"), &png[..png.len() / 2]).unwrap();
            fs::write(folder.join("5.png"), "<html>404 Not Found</html>").unwrap();
        },
        said: &["2 unreadable images", "row 6", "row 7"],
    },
    Fault {
        change: |folder, rows, _| {
            let dicom = [&[0; 128][..], b"DICM", &[0; 64]].concat();
            fs::write(folder.join("x.dcm"), dicom).unwrap();
            rows[1][0] = "x.dcm".to_owned();
        },
        said: &["1 unreadable image", "row 3"],
    },
    Fault {
        change: |_, rows, _| {
            rows[3][4].clear();
            rows[6][4].clear();
        },
        said: &["2 faults", "row 5 (`3.png`): no split", "row 8 (`6.png`): no split"],
    },
    Fault {
        change: |_, rows, _| {
            rows[0][1] = "p1".to_owned();
            rows[3][1] = "p5".to_owned();
        },
        said: &["2 patients in two splits", "patient p1: train (row 2), valid (row 3)", "patient p5"],
    },
    Fault {
        change: |_, rows, _| rows.iter_mut().for_each(|row| row[4] = "train".to_owned()),
        said: &["1 fault", "the test split has no real image", "warning: all images are of the train split"],
    },
    Fault {
        change: |_, rows, _| rows.iter_mut().filter(|row| row[4] == "valid").for_each(|row| row[5..].fill("1".to_owned())),
        said: &["macro AUROC is undefined on the validation set", "warning: 2 findings have no positive or no negative"],
    },
    Fault {
        change: |_, rows, _| {
            rows[2][5] = "7".to_owned();
            rows[4][2] = "old".to_owned();
        },
        said: &["2 faults", "row 4, column `Mass`: found `7`", "row 6, column `age`: found `old`"],
    },
    Fault { change: |_, rows, _| rows[2][0] = "0.png".to_owned(), said: &["image `0.png` is in row 4 and in row 2"] },
    Fault {
        change: |_, _, run| *run = run.replacen("[data]\n", "[data]\nfindings = [\"Mass\", \"Hernia\"]\n", 1),
        said: &["no labels of Hernia"],
    },
    Fault {
        change: |_, _, run| *run = run.replacen("[data]\n", "[data]\ntrain_images = 4\n", 1),
        said: &["a subset of 4 of 3 training images"],
    },
    Fault { change: |folder, _, _| fs::write(folder.join("table.csv"), "").unwrap(), said: &["fault"] },
    Fault {
        // Decimal commas give their rows a cell too many; the others are read.
        change: |_, rows, _| {
            [0, 1, 3, 4].iter().for_each(|row| rows[*row][2] = "50,5".to_owned());
            rows[2][5] = "7".to_owned();
        },
        said: &[
            "row 2: 8 cells, expected 7",
            "row 3: 8 cells",
            "row 5: 8 cells",
            "row 4, column `Mass`: found `7`",
            "table.csv: 1 more row has another number of cells than the header",
        ],
    },
];

#[test]
fn what_check_refuses_train_refuses_and_check_has_said_why() {
    for (number, fault) in FAULTS.iter().enumerate() {
        let (study, mut rows, mut run) = (Study::new(), rows(), RUN.to_owned());
        let folder = study.path("");
        // Images first, so that a change can damage them; the table and the run file then.
        write(&folder, &rows, &run);
        (fault.change)(&folder, &mut rows, &mut run);
        let damaged: Vec<_> = (0..9).map(|i| fs::read(folder.join(format!("{i}.png"))).ok()).collect();
        let emptied = fs::read(folder.join("table.csv")).unwrap().is_empty();
        write(&folder, &rows, &run);
        for (i, image) in damaged.into_iter().enumerate() {
            let path = folder.join(format!("{i}.png"));
            image.map_or_else(|| fs::remove_file(&path), |bytes| fs::write(&path, bytes)).unwrap();
        }
        if emptied {
            fs::write(folder.join("table.csv"), "").unwrap();
        }
        let checked = study.roentgen(&["data", "check", "run.toml"]);
        let said = stdout(&checked);
        assert!(!checked.status.success() && !said.contains("no problems found"), "fault {number}: {said}");
        for part in fault.said {
            assert!(said.contains(part), "fault {number}: no {part} in {said}");
        }
        study.refuses(&["train", "run.toml", "--out", "out"], &[]);
    }
}

#[test]
fn a_column_that_is_not_known_keeps_no_row_from_being_checked() {
    let study = Study::new();
    let mut rows = rows();
    rows[2][5] = "7".to_owned();
    write(&study.path(""), &rows, RUN);
    let table = fs::read_to_string(study.path("table.csv")).unwrap();
    let with = |name: &str| {
        table.lines().enumerate().map(|(i, line)| format!("{line},{}\n", if i == 0 { name } else { "x" })).collect::<String>()
    };
    fs::write(study.path("table.csv"), with("scanner")).unwrap();
    let said = stdout(&study.roentgen(&["data", "check", "run.toml"]));
    let faults: Vec<_> = said.lines().skip_while(|line| *line != "2 faults").collect();
    assert!(
        faults[1].contains("column `scanner` is neither") && faults[2].contains("row 4, column `Mass`: found `7`"),
        "{said}"
    );
    study.refuses(&["train", "run.toml", "--out", "out"], &["column `scanner`"]);
    // Nothing follows from what may be in that column.
    fs::write(study.path("table.csv"), with("scanner").replace(",split,", ",Divided,")).unwrap();
    let said = stdout(&study.roentgen(&["data", "check", "run.toml"]));
    assert!(said.contains("extra_columns = [\"Divided\", \"scanner\"]") && !said.contains("no split"), "{said}");
}

#[test]
fn what_check_passes_can_be_trained_on() {
    let study = Study::new();
    let mut rows = rows();
    // Doubtful, each in its way, and no fault.
    rows[0][2] = "150".to_owned();
    rows[1][1].clear();
    rows[3][1] = "p0".to_owned();
    rows[3][3] = "F".to_owned();
    rows[6][1] = "p0".to_owned();
    rows[6][2] = "90".to_owned();
    rows.push(["copy.png", "p0", "50", "M", "train", "1", "1"].map(str::to_owned));
    write(&study.path(""), &rows, RUN);
    fs::copy(study.path("0.png"), study.path("copy.png")).unwrap();
    let checked = study.roentgen(&["data", "check", "run.toml"]);
    let said = succeeds(&checked);
    for part in [
        "10 images examined: 32x32, 8 bit\n",
        "no problems found",
        "1 image twice in one split (allowed)",
        "warning: 1 age is below 0 or above 120 years (row 2: 150)",
        "warning: 1 patient is of two sexes (patient p0: F in row 5, M in row 2)",
        "warning: the ages of 1 patient lie more than 20 years apart (patient p0: 50 in row 5, 90 in row 8)",
        "warning: 1 image has no patient, and each counts as a patient of its own (row 3: 1.png)",
        "warning: 1 group of images is of equal pixels with different labels (0.png (row 2) and copy.png (row 11) differ in Mass)",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out"]));
    let json = succeeds(&study.roentgen(&["data", "check", "run.toml", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let kinds: Vec<_> = json["warnings"].as_array().unwrap().iter().map(|warning| warning["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["age", "two-sexes", "age-spread", "no-patient", "unequal-labels"]);
    assert_eq!(json["size_range"], "32x32, 8 bit");
}

#[test]
fn paths_in_the_image_column_and_deep_trees_are_found_by_check_and_train_alike() {
    let findings = "Atelectasis,Cardiomegaly,Effusion,Infiltration,Mass,Nodule,Pneumonia,Pneumothorax,Consolidation,Edema,Emphysema,Fibrosis,Pleural_Thickening,Hernia";
    let study = Study::new();
    write(&study.path(""), &rows(), RUN);
    fs::create_dir_all(study.path("img/a/b/part1")).unwrap();
    let mut table = format!("image,patient_id,split,{findings}\n");
    for (i, row) in rows().iter().enumerate() {
        fs::rename(study.path(&row[0]), study.path(&format!("img/a/b/part1/{}", row[0]))).unwrap();
        table.push_str(&format!("part1/{},{},{}{}\n", row[0], row[1], row[4], format!(",{}", i / 3 % 2).repeat(14)));
    }
    fs::write(study.path("table.csv"), table).unwrap();
    let run = RUN.replacen("\"table\"\n", "\"nih-subset\"\nimages = \"img\"\n", 1);
    fs::write(study.path("run.toml"), run).unwrap();
    let said = succeeds(&study.roentgen(&["data", "check", "run.toml"]));
    assert!(said.contains("9 images examined") && said.contains("no problems found"), "{said}");
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out"]));
}

#[test]
fn a_table_or_a_folder_is_read_as_what_it_looks_like_and_the_table_that_is_shown_can_be_pasted() {
    let study = Study::new();
    write(&study.path(""), &rows(), RUN);
    let folder = study.path("set");
    fs::create_dir(&folder).unwrap();
    for row in rows() {
        fs::rename(study.path(&row[0]), folder.join(&row[0])).unwrap();
    }
    let table = fs::read_to_string(study.path("table.csv")).unwrap();
    let table: String = table.lines().enumerate().map(|(i, line)| format!("{line},{}\n", ["scanner", "x"][i.min(1)])).collect();
    fs::write(folder.join("labels.csv"), table).unwrap();
    for path in ["set", "set/labels.csv", "./set/"] {
        for command in ["summary", "check"] {
            let said = succeeds(&study.roentgen(&["data", command, path]));
            assert!(
                said.starts_with(&format!("{path}: read as `table`, since it is a table with the columns `image`, ")),
                "{said}"
            );
            let start = said.find("[data]").unwrap();
            let pasted = &said[start..start + said[start..].find("\n\n").unwrap()];
            assert!(pasted.contains("extra_columns = [\"scanner\"]") && !pasted.contains("split ="), "{pasted}");
            fs::write(study.path("pasted.toml"), pasted).unwrap();
            let [guessed, same] = [path, "pasted.toml"].map(|path| {
                let json = succeeds(&study.roentgen(&["data", command, path, "--json"]));
                serde_json::from_str::<serde_json::Value>(&json).unwrap()
            });
            assert!(guessed["guess"]["format"] == "table" && same.get("guess").is_none());
            assert_eq!(guessed["guess"]["data"].as_str().unwrap().trim_end(), pasted.trim_end());
            let mut guessed = guessed;
            guessed.as_object_mut().unwrap().remove("guess");
            assert_eq!(guessed, same, "{command} {path}");
        }
    }
    // A run file is one by what it holds too.
    fs::copy(study.path("pasted.toml"), study.path("pasted.conf")).unwrap();
    succeeds(&study.roentgen(&["data", "summary", "pasted.conf"]));
}

#[test]
fn what_cannot_be_guessed_is_an_error_with_what_was_tried() {
    let study = Study::new();
    fs::write(study.path("x.csv"), "a,b\n1,2\n").unwrap();
    fs::create_dir(study.path("empty")).unwrap();
    fs::create_dir(study.path("two")).unwrap();
    for name in ["one", "two"] {
        fs::write(study.path(&format!("two/{name}.csv")), "image,Mass\na.png,1\n").unwrap();
    }
    for (path, said) in [
        (
            "x.csv",
            &["x.csv: no layout reads it", "as `table` (it is a table with the columns `a`, `b`): ", "write a run file"][..],
        ),
        ("empty", &["empty: no layout reads it; it holds no table"]),
        ("two", &["two holds several data sets: two/one.csv, two/two.csv; give one of them"]),
        ("gone", &["cannot read gone"]),
        ("gone.toml", &["cannot read the run file gone.toml"]),
    ] {
        for command in ["summary", "check"] {
            study.refuses(&["data", command, path], said);
        }
    }
}

/// A change of one cell, or of one image file.
#[derive(Clone, Debug)]
enum Change {
    Cell(usize, usize, &'static str),
    Gone(usize),
    Cut(usize, usize),
    Bytes(usize, &'static [u8]),
    CopyOf(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let row = 0usize..9;
    let cell = prop_oneof![
        (Just(0usize), prop::sample::select(vec!["0.png", "x/1.png", "../2.png", "", "table.csv", "3", "4.PNG"])),
        (Just(1), prop::sample::select(vec!["p0", "p1", "", "nan"])),
        (Just(2), prop::sample::select(vec!["", "200", "-3", "057Y", "old"])),
        (Just(4), prop::sample::select(vec!["train", "valid", "test", "", "val", "holdout"])),
        (prop_oneof![Just(5), Just(6)], prop::sample::select(vec!["0", "1", "-1", "", "True", "2", "nan"])),
    ];
    prop_oneof![
        4 => (row.clone(), cell).prop_map(|(row, (column, text))| Change::Cell(row, column, text)),
        1 => row.clone().prop_map(Change::Gone),
        1 => (row.clone(), 0usize..400).prop_map(|(row, at)| Change::Cut(row, at)),
        1 => (row.clone(), prop::sample::select(vec![&b""[..], b"GIF89a", b"\xff\xd8\xff\xe0", b"BM"])).prop_map(|(row, bytes)| Change::Bytes(row, bytes)),
        1 => (row.clone(), row).prop_map(|(from, to)| Change::CopyOf(from, to)),
    ]
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 200, ..Default::default() })]

    #[test]
    fn check_finds_data_usable_exactly_if_training_can_use_them(
        changes in prop::collection::vec(change(), 0..4),
        by_patient in any::<bool>(),
        train_images in prop::option::of(1usize..9),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = rows();
        for change in &changes {
            if let Change::Cell(row, column, text) = change {
                rows[*row][*column] = (*text).to_owned();
            }
        }
        let mut keys = String::new();
        if by_patient {
            keys.push_str("split = { by = \"patient\", valid = 0.3, test = 0.3 }\n");
        }
        if let Some(images) = train_images {
            keys.push_str(&format!("train_images = {images}\n"));
        }
        let run = RUN.replacen("[preprocess]", &format!("{keys}[preprocess]"), 1);
        write(folder.path(), &rows, &run);
        for change in &changes {
            let path = |row: &usize| folder.path().join(format!("{row}.png"));
            match change {
                Change::Cell(..) => {}
                Change::Gone(row) => drop(fs::remove_file(path(row))),
                Change::Cut(row, at) => if let Ok(bytes) = fs::read(path(row)) {
                    fs::write(path(row), &bytes[..bytes.len().min(*at)]).unwrap();
                },
                Change::Bytes(row, bytes) => fs::write(path(row), bytes).unwrap(),
                Change::CopyOf(from, to) => drop(fs::read(path(from)).map(|bytes| fs::write(path(to), bytes).unwrap())),
            }
        }
        let config = RunConfig::read(&folder.path().join("run.toml")).unwrap();
        let report = study::check(&config, |_, _| ());
        let trains = StudyData::open(&config).map_err(|error| error.to_string()).and_then(|StudyData { train, splits, .. }| {
            let batcher = batcher(&config, train.data().vocabulary());
            check_selection(config.training.select, splits.valid(), &batcher).map_err(|error| error.to_string())?;
            // All of the data set, as a subset of the training images leaves some out.
            for data in [splits.train().data(), splits.valid().data(), splits.test().data()] {
                for index in 0..data.rows().len() {
                    data.sample(index).map_err(|error| error.to_string())?;
                }
            }
            Ok(())
        });
        prop_assert_eq!(report.is_usable(), trains.is_ok(), "{:?}: {:?}, {:?}", changes, report, trains);
        prop_assert!(report.is_usable() || !report.is_clean());
    }
}
