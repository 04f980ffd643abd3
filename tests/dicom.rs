//! DICOM files in a study: what is read of them, and that nothing else of them is ever written.

use std::fs;
use std::process::Output;

use roentgen_augment::image::{GrayDepth, GrayImage};

use self::writer::{BIG_ENDIAN, Dicom, EXPLICIT, IMPLICIT, Value, text};
use super::cli::{Study, succeeds};

#[path = "../augment/src/image/dicom/testing.rs"]
mod writer;

const CHECK: [&str; 3] = ["data", "check", "run.toml"];

/// Elements that identify people and places, with types and strings that occur nowhere else.
const IDENTIFYING: [(u32, &[u8; 2], &str); 22] = [
    (0x0008_0018, b"UI", "1.2.826.777001"),
    (0x0008_0020, b"DA", "19770701"),
    (0x0008_0050, b"SH", "PLANTED-ACCESSION"),
    (0x0008_0080, b"LO", "PLANTED-HOSPITAL"),
    (0x0008_0081, b"ST", "PLANTED-STREET"),
    (0x0008_0090, b"PN", "PLANTED^REFERRER"),
    (0x0008_1010, b"SH", "PLANTED-STATION"),
    (0x0008_1030, b"LO", "PLANTED-STUDY"),
    (0x0008_1050, b"PN", "PLANTED^PERFORMER"),
    (0x0008_1070, b"PN", "PLANTED^OPERATOR"),
    (0x0008_4000, b"LT", "PLANTED-COMMENT"),
    (0x0010_0010, b"PN", "PLANTED^PATIENT"),
    (0x0010_0020, b"LO", "PLANTED-PATIENT-ID"),
    (0x0010_0030, b"DA", "19770702"),
    (0x0010_1000, b"LO", "PLANTED-OTHER-ID"),
    (0x0010_1040, b"LO", "PLANTED-ADDRESS"),
    (0x0010_4000, b"LT", "PLANTED-PATIENT-COMMENT"),
    (0x0018_1000, b"LO", "PLANTED-SERIAL"),
    (0x0020_000D, b"UI", "1.2.826.777002"),
    (0x0020_0010, b"SH", "PLANTED-STUDY-ID"),
    (0x0020_4000, b"LT", "PLANTED-BURNT-IN"),
    (0x0028_1055, b"LO", "PLANTED-WINDOW"),
];

/// Writes every image of the study as DICOM of 12 bits with all of these elements, and changes it.
fn to_dicom(study: &Study, change: impl Fn(usize, Dicom) -> Dicom) {
    let table = fs::read_to_string(study.path("table.csv")).unwrap();
    fs::write(study.path("table.csv"), table.replace(".png", ".dcm")).unwrap();
    for at in 0..60 {
        let png = study.path(&format!("phantoms/{at}.png"));
        let image = GrayImage::open(&png).unwrap();
        let GrayDepth::U8(samples) = image.depth() else { panic!("phantoms have 8 bits") };
        let samples: Vec<u16> = samples.iter().map(|&sample| ((u32::from(sample) * 4095 + 127) / 255) as u16).collect();
        let syntax = [EXPLICIT, IMPLICIT, BIG_ENDIAN][at % 3];
        let mut file = Dicom::gray(syntax, (32, 32), 12, &samples);
        for (tag, vr, value) in IDENTIFYING {
            file.put(tag, text(vr, value));
        }
        let nested = vec![(0x0010_0010, text(b"PN", "PLANTED^NESTED"))];
        file.put(0x0008_1120, Value::Items { items: vec![nested], with_length: at % 2 == 0 });
        fs::write(study.path(&format!("phantoms/{at}.dcm")), change(at, file).bytes()).unwrap();
        fs::remove_file(png).unwrap();
    }
}

/// That nothing planted is in what was printed, or in any file but the radiographs.
fn nothing_planted(study: &Study, outputs: &[&Output]) {
    let planted: Vec<&[u8]> = [&b"PLANTED"[..], b"777001", b"777002", b"19770701", b"19770702"].to_vec();
    let check = |what: &str, bytes: &[u8]| {
        for planted in &planted {
            let found = bytes.windows(planted.len()).any(|window| window == *planted);
            assert!(!found, "{} is in {what}", String::from_utf8_lossy(planted));
        }
    };
    for output in outputs {
        check("what was printed", &output.stdout);
        check("what was said", &output.stderr);
    }
    let mut folders = vec![study.path("")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().is_some_and(|extension| extension == "dcm") {
                _ if path.is_dir() => folders.push(path),
                true => {}
                false => {
                    check(&path.display().to_string(), &fs::read(&path).unwrap());
                    files += 1;
                }
            }
        }
    }
    assert!(files > 2);
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_study_of_dicom_files_repeats_nothing_that_identifies_anybody() {
    let study = Study::new();
    to_dicom(&study, |_, file| file);
    let check = study.roentgen(&CHECK);
    assert!(succeeds(&check).contains("60 images examined"), "{}", said(&check));
    assert_eq!(said(&check), "");
    let summary = study.roentgen(&["data", "summary", "run.toml", "--json"]);
    succeeds(&summary);
    let compare = study.roentgen(&["compare", "run.toml", "--out", "out"]);
    succeeds(&compare);
    let predict = study.roentgen(&[
        "predict",
        "run.toml",
        "--weights",
        "out/arms/real/seed-1/model.safetensors",
        "--split",
        "all",
        "--out",
        "p.csv",
    ]);
    succeeds(&predict);
    nothing_planted(&study, &[&check, &summary, &compare, &predict]);
}

#[test]
fn faults_of_dicom_files_repeat_nothing_that_identifies_anybody() {
    let study = Study::new();
    to_dicom(&study, |at, file| match at {
        0 => Dicom { syntax: "1.2.840.10008.1.2.4.80", ..file }.with(0x7FE0_0010, Value::Fragments(vec![vec![0; 4]])),
        1 => file.with(0x0028_0004, text(b"CS", "RGB")),
        2 => file.with(0x0028_0004, text(b"CS", "PLANTED")),
        3 => file.with(0x0028_0008, text(b"IS", "PLANTED")),
        // Only explicit files say of what type a value is.
        4 => Dicom { syntax: EXPLICIT, ..file }.with(0x0028_0010, text(b"LO", "PLANTED")),
        5 => Dicom { syntax: "1.2.826.777001", ..file },
        6 => file
            .with(0x0010_0010, Value::Items { items: vec![vec![(0x0010_0010, text(b"PN", "PLANTED"))]], with_length: false }),
        _ => file,
    });
    // Cut off within the name of the patient, and behind it.
    for (at, cut) in [(7, 700), (8, 900), (9, 300)] {
        let path = study.path(&format!("phantoms/{at}.dcm"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..cut]).unwrap();
    }
    let check = study.roentgen(&CHECK);
    assert!(!check.status.success());
    let listed = String::from_utf8_lossy(&check.stdout).into_owned();
    for expected in [
        "0.dcm: it is a DICOM file compressed as JPEG-LS, which is not read; decompress it first",
        "1.dcm: it is a DICOM file in colour (RGB), which is not read",
        "2.dcm: PhotometricInterpretation (0028,0004) is another, expected MONOCHROME1 or MONOCHROME2",
        "3.dcm: NumberOfFrames (0028,0008) is no whole number",
        "4.dcm: Rows (0028,0010) is no whole number",
        "5.dcm: it is a DICOM file in a private or unknown transfer syntax",
        "7.dcm: the DICOM file is cut off or damaged in element (",
    ] {
        assert!(listed.contains(expected), "{listed}\nexpected {expected}");
    }
    let json = study.roentgen(&["data", "check", "run.toml", "--json"]);
    let train = study.roentgen(&["train", "run.toml", "--out", "out", "--arm", "real"]);
    assert!(!train.status.success());
    nothing_planted(&study, &[&check, &json, &train]);
}

#[test]
fn a_window_is_noted_and_applied_with_the_key() {
    let study = Study::new();
    let window = |file: Dicom| file.with(0x0028_1050, text(b"DS", "1000")).with(0x0028_1051, text(b"DS", "1200"));
    to_dicom(&study, |_, file| window(file));
    let note = said(&study.roentgen(&CHECK));
    assert!(
        note.starts_with("note: DICOM files such as ") && note.contains("write dicom = \"window\" under [preprocess]"),
        "{note}"
    );
    let scores = |out: &str| {
        succeeds(&study.roentgen(&["train", "run.toml", "--out", out, "--arm", "real"]));
        let weights = format!("{out}/model.safetensors");
        succeeds(&study.roentgen(&["predict", "run.toml", "--weights", &weights, "--split", "all", "--out", "p.csv"]));
        fs::read_to_string(study.path("p.csv")).unwrap()
    };
    let mut seen = Vec::new();
    for value in ["stored", "window"] {
        study.edit_run("size = 32\n", &format!("size = 32\ndicom = \"{value}\"\n"));
        assert_eq!(said(&study.roentgen(&CHECK)), "");
        seen.push(scores(value));
    }
    assert_ne!(seen[0], seen[1]);
    study.edit_run("size = 32\n", "size = 32\ndicom = \"raw\"\n");
    study.refuses(&CHECK, &["dicom", "`stored`", "`window`"]);
}
