use crate::dataset::CxrDataset;
use crate::formats::published::testing::{Tree, messages};
use crate::formats::registry::DataSource;
use crate::record::{CHEXPERT_14, Finding, Label, Split, View};

const LABELS: &str = "mimic-cxr-2.0.0-chexpert.csv";
const METADATA: &str = "mimic-cxr-2.0.0-metadata.csv";
const SPLIT: &str = "mimic-cxr-2.0.0-split.csv";

/// Subject, study, image, view, date, time and split of each image.
const IMAGES: [[&str; 7]; 5] = [
    ["10000032", "50414267", "02aa804e-bde0afdd", "PA", "21800506", "213014.531", "train"],
    ["10000032", "50414267", "174413ec-4ec4c1f7", "LATERAL", "21800506", "213014.531", "train"],
    // Earlier, by the time of day alone.
    ["10000032", "53189527", "2a2277a9-b0ded155", "AP", "21800506", "90501.0", "train"],
    ["10000764", "57375967", "096052b7-d256dc40", "AP AXIAL", "21321015", "", "validate"],
    ["19999987", "50000198", "13f1f8e7-46ab5e4f", "", "21451122", "7", "test"],
];

fn header() -> String {
    "subject_id,study_id,Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,\
     Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices"
        .to_owned()
}

/// The published layout, its tables packed as they are on PhysioNet.
fn tree() -> Tree {
    let tree = unpacked();
    for name in [LABELS, METADATA, SPLIT] {
        let text = std::fs::read_to_string(tree.path(name)).unwrap();
        tree.pack(&format!("{name}.gz"), &text);
        std::fs::remove_file(tree.path(name)).unwrap();
    }
    tree
}

fn unpacked() -> Tree {
    let tree = Tree::new();
    // The study 50000198 has no labels.
    let labels = format!(
        "{}\n10000032,50414267,1.0,0.0,,-1.0,,,,,,1.0,,,,\n10000032,53189527,,,,,,,,,1.0,,,,,\n10000764,57375967,,,1.0,,,,,-1.0,,,,,,\n",
        header()
    );
    tree.write(LABELS, &labels);
    let (mut metadata, mut split) = (
        "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime\n"
            .to_owned(),
        "dicom_id,study_id,subject_id,split\n".to_owned(),
    );
    for [subject, study, dicom, view, date, time, part] in IMAGES {
        metadata += &format!("{dicom},{subject},{study},\"CHEST (PA AND LAT)\",{view},3056,2544,{date},{time}\n");
        split += &format!("{dicom},{study},{subject},{part}\n");
        tree.image(&format!("files/p{}/p{subject}/s{study}/{dicom}.jpg", &subject[..2]));
    }
    tree.write(METADATA, &metadata);
    tree.write(SPLIT, &split);
    tree
}

fn label(data: &CxrDataset, index: usize, name: &str) -> Label {
    data.record(index).labels[data.vocabulary().position(Finding::parse(name).unwrap()).unwrap()]
}

#[test]
fn four_tables_are_joined() {
    let tree = tree();
    for place in ["", "mimic-cxr-2.0.0-chexpert.csv.gz"] {
        let data = tree.read("mimic", place).unwrap();
        assert_eq!(data.rows().len(), IMAGES.len());
        assert_eq!(data.vocabulary().findings().iter().map(|finding| finding.name()).collect::<Vec<_>>(), CHEXPERT_14);
        let first = data.record(0);
        assert_eq!(first.id, "files/p10/p10000032/s50414267/02aa804e-bde0afdd.jpg");
        assert_eq!(first.patient_id.as_ref().unwrap().as_str(), "10000032");
        let labels =
            ["Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "No Finding"].map(|name| label(&data, 1, name));
        assert_eq!(labels, [Label::Positive, Label::Negative, Label::Uncertain, Label::Positive, Label::Missing]);
        let views: Vec<_> = data.rows().iter().map(|row| row.record.view).collect();
        assert_eq!(views, [Some(View::Pa), Some(View::Lateral), Some(View::Ap), None, None]);
        let splits: Vec<_> = data.rows().iter().filter_map(|row| row.record.split).collect();
        assert_eq!(splits, [Split::Train, Split::Train, Split::Train, Split::Valid, Split::Test]);
        assert!(data.sample(4).is_ok());
        let notes = data.notes().join("\n");
        assert!(
            notes.contains("1 images of 1 studies have no labels in") && notes.contains("unknown: 1 `AP AXIAL`"),
            "{notes}"
        );
        assert!((0..14).all(|at| data.record(4).labels[at] == Label::Missing));
        let first = data.with_one_per_patient().unwrap();
        let ids: Vec<_> = first.rows().iter().map(|row| row.record.id.rsplit('/').next().unwrap()).collect();
        assert_eq!(ids, ["2a2277a9-b0ded155.jpg", "096052b7-d256dc40.jpg", "13f1f8e7-46ab5e4f.jpg"]);
    }
    for place in ["", "mimic-cxr-2.0.0-chexpert.csv.gz"] {
        assert_eq!(tree.guess(place), "mimic");
    }
}

#[test]
fn tables_in_any_order_are_joined_alike() {
    let tree = unpacked();
    let report =
        "study,impression,findings,last_paragraph,comparison\ns57375967,c,,,\ns50000198,d,,,\ns53189527,b,,,\ns50414267,a,,,\n";
    tree.write("mimic_cxr_sectioned.csv", report);
    let joined = || {
        let data = tree.read("mimic", "").unwrap();
        let row = |row: &crate::dataset::Row| {
            let labels: String = row.record.labels.iter().map(|label| format!("{},", label.cell())).collect();
            format!("{} {:?} {:?} {labels}", row.record.id, row.record.split, row.record.report)
        };
        (data.rows().iter().map(row).collect::<Vec<_>>(), data.notes().to_vec())
    };
    let expected = joined();
    // Numbers of studies don't grow with those of subjects.
    assert!(expected.0[4].contains("Some(\"d\")"), "{expected:?}");
    for name in [LABELS, SPLIT] {
        let sound = std::fs::read_to_string(tree.path(name)).unwrap();
        let mut lines: Vec<&str> = sound.lines().collect();
        // Every order in which one row stands elsewhere, and the reverse.
        let mut orders = Vec::new();
        for from in 1..lines.len() {
            for to in 1..lines.len() {
                let mut moved = lines.clone();
                let line = moved.remove(from);
                moved.insert(to, line);
                orders.push(moved.join("\n"));
            }
        }
        lines[1..].reverse();
        orders.push(lines.join("\n"));
        for order in orders {
            tree.write(name, &order);
            assert_eq!(joined(), expected, "{order}");
        }
        tree.write(name, &sound);
    }
    // Rows of the split that no image asks for, and an image that it doesn't have.
    let split = std::fs::read_to_string(tree.path(SPLIT)).unwrap();
    tree.write(SPLIT, &format!("{split}unseen,1,1,train\n"));
    assert_eq!(joined(), expected);
    tree.write(SPLIT, &split.replace("096052b7-d256dc40,57375967,10000764,validate\n", ""));
    let (rows, notes) = joined();
    assert_eq!(rows[4], expected.0[4]);
    assert!(rows[3].contains(" None ") && notes.join("\n").contains("1 images are not in the table of the split"), "{notes:?}");
    // A contradiction is refused wherever it stands, and so is a split that is none.
    for more in ["02aa804e-bde0afdd,1,1,test", "unseen,1,1,dev"] {
        tree.write(SPLIT, &format!("{split}{more}\n"));
        let error = tree.read("mimic", "").unwrap_err();
        assert!(error.contains("split.csv, row 7, column `split`: found"), "{error}");
        let keep = DataSource { missing: crate::formats::MissingImages::Keep, ..tree.source("") };
        assert_eq!(tree.read_with("mimic", keep).unwrap_err(), error, "no fault of one image");
    }
}

#[test]
fn the_labeler_is_the_table_that_is_named() {
    let tree = unpacked();
    let negbio = std::fs::read_to_string(tree.path(LABELS)).unwrap().replace("50414267,1.0", "50414267,0.0");
    tree.write("mimic-cxr-2.0.0-negbio.csv", &negbio);
    let read = |place: &str| label(&tree.read("mimic", place).unwrap(), 0, "Atelectasis");
    assert_eq!(
        [read(""), read(LABELS), read("mimic-cxr-2.0.0-negbio.csv")],
        [Label::Positive, Label::Positive, Label::Negative]
    );
    std::fs::remove_file(tree.path(LABELS)).unwrap();
    assert_eq!(read(""), Label::Negative);
    let gone = |name: &str| {
        std::fs::remove_file(tree.path(name)).unwrap();
        tree.read("mimic", "mimic-cxr-2.0.0-negbio.csv")
    };
    let data = gone(SPLIT).unwrap();
    assert!(data.record(0).split.is_none() && data.notes().iter().any(|note| note.contains("the official split is not known")));
    assert!(gone(METADATA).unwrap_err().contains("there is no mimic-cxr-2.0.0-metadata.csv (nor"));
}

#[test]
fn reports_are_sections_or_texts() {
    let tree = unpacked();
    assert!(tree.read("mimic", "").unwrap().rows().iter().all(|row| row.record.report.is_none()));
    let table = "study,impression,findings,last_paragraph,comparison\n\
                 s50414267,\"No acute process.\n Stable.\",Clear.,,\ns53189527,,Clear lungs.,,\ns57375967,,,A small effusion.,None.\ns1,x,,,\n";
    tree.pack("mimic_cxr_sectioned.csv.gz", table);
    let reports = |report: Option<&str>| {
        let source = DataSource { report: report.map(str::to_owned), ..tree.source("") };
        tree.read_with("mimic", source).map(|data| {
            let texts = data.rows().iter().map(|row| row.record.report.clone().unwrap_or_default()).collect::<Vec<_>>();
            (texts, data.notes().join("\n"))
        })
    };
    let (texts, notes) = reports(None).unwrap();
    assert_eq!(texts, ["No acute process.\n Stable.", "No acute process.\n Stable.", "Clear lungs.", "A small effusion.", ""]);
    assert!(
        notes.contains("reports of 4 of 5 images, 2 from `impression`, 1 from `findings`, 1 from `last_paragraph`"),
        "{notes}"
    );
    assert_eq!(reports(Some("findings")).unwrap().0, ["Clear.", "Clear.", "Clear lungs.", "", ""]);
    assert!(reports(Some("poem")).unwrap_err().contains("no column `poem`"));
    assert!(reports(Some("txt")).unwrap_err().contains("data.report is `txt`; write nothing: there is no report such as"));
    tree.write("files/p10/p10000032/s50414267.txt", "FINAL REPORT\n IMPRESSION: Clear.\n");
    assert_eq!(
        reports(Some("txt")).unwrap().0,
        ["FINAL REPORT\n IMPRESSION: Clear.\n", "FINAL REPORT\n IMPRESSION: Clear.\n", "", "", ""]
    );
    // A report that is no text is named, not taken for none.
    std::fs::write(tree.path("files/p10/p10000032/s50414267.txt"), b"caf\xe9").unwrap();
    assert!(reports(Some("txt")).unwrap_err().contains("s50414267.txt"));
}

#[test]
fn faults_are_named() {
    let tree = unpacked();
    messages(
        &tree,
        "mimic",
        LABELS,
        &[
            (
                "50414267,1.0",
                "50414267,7",
                "chexpert.csv, row 2, column `Atelectasis`: found `7`, expected 1, 0, -1 (uncertain) or blank",
            ),
            (
                "53189527",
                "50414267",
                "chexpert.csv, row 3, column `study_id`: found `50414267`, expected a study that is not in row 2",
            ),
            ("Pleural Effusion", "Fluid", "no column `Effusion`"),
        ],
    );
    let faults = [
        (
            METADATA,
            "10000764,57375967",
            "10000765,57375967",
            "metadata.csv, row 5, column `subject_id`: found `10000765`, expected 10000764, as row 4 of",
        ),
        (METADATA, "21800506,90501.0", "May,90501.0", "metadata.csv, row 4, column `StudyDate`: found `May`"),
        (METADATA, ",90501.0", ",906101", "row 4, column `StudyTime`: found `906101`, expected a time such as 213014.531"),
        (
            METADATA,
            "2a2277a9",
            "deadbeef",
            "metadata.csv, row 4: image `files/p10/p10000032/s53189527/deadbeef-b0ded155.jpg` is not under",
        ),
        (SPLIT, "validate", "dev", "split.csv, row 5, column `split`: found `dev`, expected train, valid or test"),
    ];
    for (name, from, to, said) in faults {
        let sound = std::fs::read_to_string(tree.path(name)).unwrap();
        tree.write(name, &sound.replacen(from, to, 1));
        let error = tree.read("mimic", "").unwrap_err();
        assert!(error.contains(said), "{error}\n  lacks: {said}");
        tree.write(name, &sound);
    }
}
