use std::fs;

use tar::{Builder, Header};

use super::*;
use crate::dataset::Row;
use crate::formats::MissingImages;
use crate::image::{GrayImage, encode_png};
use crate::record::Vocabulary;

fn png(level: u8) -> Vec<u8> {
    encode_png(&GrayImage::from_u8(2, 1, vec![level, 0]))
}

fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Long names have a header of their own, which the crate writes.
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// A tar with a name that the crate refuses to write.
fn hostile(name: &str, kind: tar::EntryType) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    [header.as_bytes().to_vec(), vec![0; 1024]].concat()
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

fn open(files: &[(&str, Vec<u8>)], change: impl Fn(&mut Table)) -> Result<CxrDataset, String> {
    let folder = folder(files);
    let mut table = Table::new(folder.path());
    change(&mut table);
    let data = read(&table).map_err(|error| error.to_string().replace(&folder.path().display().to_string(), "ROOT"))?;
    // The files go with the folder: what is read of them is read here.
    for index in 0..data.rows().len() {
        let _ = data.decode(index);
    }
    Ok(data)
}

fn rows(data: &CxrDataset) -> Vec<String> {
    let split = |row: &Row| row.record.split.map_or("-".to_owned(), |split| split.to_string());
    let labels = |row: &Row| row.record.labels.iter().map(|label| label.cell()).collect::<Vec<_>>().join(" ");
    data.rows().iter().map(|row| format!("{} {} {}", row.record.id, split(row), labels(row))).collect()
}

#[test]
fn samples_are_files_of_one_stem() {
    let first = shard(&[
        ("a.json", br#"{"Mass": 1, "Effusion": null, "patient_id": "7", "age": 57}"#),
        ("a.png", &png(10)),
        ("a.txt", b"A mass.\n"),
        ("a.seg.png", &png(0)),
        ("deep/b.PNG", &png(20)),
        ("deep/b.json", br#"{"Effusion": 1, "Mass": 0, "image": "elsewhere.png"}"#),
    ]);
    let second = shard(&[("./c.png", &png(30)), ("./c.json", br#"{"Mass": -1}"#)]);
    let folder = folder(&[("train-000000.tar", first), ("test-000000.tar", second)]);
    let data = read(&Table::new(folder.path())).unwrap();
    assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Mass", "Effusion"]);
    assert_eq!(
        rows(&data),
        ["test-000000.tar/c.png test -1 ", "train-000000.tar/a.png train 1 ", "train-000000.tar/deep/b.PNG train 0 1"]
    );
    let a = data.record(1);
    assert_eq!(
        (a.report.as_deref(), a.age, a.patient_id.as_ref().unwrap().to_string()),
        (Some("A mass."), Some(57.0), "7".to_owned())
    );
    let levels = (0..3).map(|index| data.decode(index).unwrap().digest()).collect::<Vec<_>>();
    assert_eq!(levels, [30, 10, 20].map(|level| GrayImage::from_u8(2, 1, vec![level, 0]).digest()));
    assert!(data.describe(2).ends_with("train-000000.tar/deep/b.PNG"));
    let note = data.notes().iter().find(|note| note.contains("are not read")).unwrap();
    assert!(note.contains("`.seg.png` (1, such as a.seg.png in "), "{note}");
    // By a pattern, and a shard alone.
    let pattern = folder.path().join("train-{000000..000000}.tar");
    assert_eq!(read(&Table::new(pattern)).unwrap().rows().len(), 2);
    assert_eq!(read(&Table::new(folder.path().join("test-000000.tar"))).unwrap().rows().len(), 1);
    let error = read(&Table::new(folder.path().join("train-{000000..000001}.tar"))).unwrap_err().to_string();
    assert!(error.contains("train-000001.tar is not there, expected every file that is named"), "{error}");
}

#[test]
fn classes_are_names_or_the_one_finding_that_is_asked_for() {
    let names = shard(&[("a.png", &png(1)), ("a.cls", b"Mass|Effusion"), ("b.png", &png(2)), ("b.cls", b"No Finding")]);
    assert_eq!(rows(&open(&[("s.tar", names)], |_| ()).unwrap()), ["s.tar/a.png - 1 1", "s.tar/b.png - 0 0"]);
    let numbers = shard(&[("a.png", &png(1)), ("a.cls", b"1"), ("b.png", &png(2)), ("b.cls", b"0")]);
    let asked = |names: &[&str]| Some(Vocabulary::parse(names).unwrap());
    let one = open(&[("s.tar", numbers.clone())], |table| table.findings = asked(&["Pneumonia"])).unwrap();
    assert_eq!(rows(&one), ["s.tar/a.png - 1", "s.tar/b.png - 0"]);
    for findings in [None, asked(&["Mass", "Pneumonia"])] {
        let error = open(&[("s.tar", numbers.clone())], |table| table.findings = findings.clone()).unwrap_err();
        assert!(error.contains("s.tar: member `a.cls` is a number, and nothing says what class it is"), "{error}");
    }
}

#[test]
fn what_can_not_be_right_is_refused_by_member() {
    let json: (&str, &[u8]) = ("a.json", br#"{"Mass": 1}"#);
    let image = png(1);
    let a: (&str, &[u8]) = ("a.png", &image);
    for (members, said) in [
        (
            vec![a, json, ("b.png", &image), ("a.txt", b"x")],
            "the files of sample `a.txt` don't follow each other, or it is there twice",
        ),
        (vec![a, a, json], "member `a.png` is there twice"),
        (vec![a, ("a.jpg", &image), json], "members `a.png` and `a.jpg` are two images of one sample"),
        (vec![a, ("a.json", b"[1]")], "member `a.json` is no JSON object (line 1, column "),
        (vec![a, ("a.json", b"{")], "member `a.json` is no JSON object"),
        (vec![a, json, ("b.json", br#"{"Mass": 1}"#)], "image `s.tar/b` is not under ROOT/s.tar: the sample has no image"),
        (vec![a, ("a.txt", b"\xFF\xFE")], "member `a.txt` is not UTF-8"),
        (vec![("readme", b"x")], "ROOT/s.tar: without a sample"),
    ] {
        let error = open(&[("s.tar", shard(&members))], |_| ()).unwrap_err();
        assert!(error.contains("ROOT/s.tar") && error.contains(said), "{error}\n{said}");
    }
    for (tar, said) in [
        (hostile("../a.png", tar::EntryType::Regular), "member `../a.png` has a name that leads elsewhere"),
        (hostile("/a.png", tar::EntryType::Regular), "member `/a.png` has a name that leads elsewhere"),
        (hostile("a.png", tar::EntryType::Symlink), "member `a.png` is no plain file"),
        (b"\x1f\x8b\x08\0".to_vec(), "compressed with gzip, expected a plain tar"),
        (vec![7; 2048], "damaged or cut off at its beginning"),
    ] {
        let error = open(&[("s.tar", tar)], |_| ()).unwrap_err();
        assert!(error.contains("ROOT/s.tar") && error.contains(said), "{error}\n{said}");
    }
    let error = open(&[("s.csv", Vec::new())], |_| ()).unwrap_err();
    assert_eq!(error, "ROOT: no .tar file in it, expected a folder with .tar files");
}

#[test]
fn samples_without_an_image_can_be_left_out() {
    let tar = shard(&[("a.png", &png(1)), ("a.json", br#"{"Mass": 1}"#), ("b.json", br#"{"Mass": 0}"#)]);
    let data = open(&[("s.tar", tar.clone())], |table| table.missing = MissingImages::Skip).unwrap();
    assert_eq!(rows(&data), ["s.tar/a.png - 1"]);
    let data = open(&[("s.tar", tar)], |table| table.missing = MissingImages::Keep).unwrap();
    assert!(data.decode(1).unwrap_err().to_string().contains("member `s.tar/b` is not there, or cut off"));
}

#[test]
fn a_shard_cut_anywhere_is_refused_or_noted() {
    let whole = shard(&[("a.png", &png(1)), ("a.json", br#"{"Mass": 1}"#), ("b.png", &png(2)), ("b.json", br#"{"Mass": 0}"#)]);
    for cut in (1..whole.len() - 1024).step_by(100) {
        match open(&[("s.tar", whole[..cut].to_vec())], |_| ()) {
            Ok(data) => {
                let note =
                    data.notes().iter().any(|note| note.contains("such as ") && note.contains("end without a tar's end mark"));
                assert!(note, "cut at {cut} of {}: {:?}", whole.len(), data.notes());
            }
            Err(error) => assert!(error.contains("ROOT/s.tar"), "{error}"),
        }
    }
}
