//! Image files as a user meets them: found by name, in their depth, in bounded memory, or refused by name.

use std::fs;
use std::path::Path;

use roentgen_augment::image::{GrayDepth, GrayImage, encode_png};

use super::cli::{RUN, Study, succeeds};

const CHECK: [&str; 3] = ["data", "check", "run.toml"];

/// The files of the study's images.
fn files(study: &Study) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(study.path("phantoms")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Writes every image of the study anew, of 16 bits.
fn deepen(study: &Study, level: impl Fn(u8) -> u16) {
    for path in files(study) {
        let image = GrayImage::open(&path).unwrap();
        let GrayDepth::U8(samples) = image.depth() else { panic!("phantoms have 8 bits") };
        let samples: Vec<u16> = samples.iter().map(|&sample| level(sample)).collect();
        fs::write(path, encode_png(&GrayImage::from_u16(image.width(), image.height(), samples))).unwrap();
    }
}

fn said(study: &Study, args: &[&str]) -> String {
    let output = study.roentgen(args);
    succeeds(&output);
    String::from_utf8(output.stderr).unwrap()
}

fn image(path: &Path, width: usize, height: usize) {
    fs::write(path, encode_png(&GrayImage::from_u8(width, height, vec![90u8; width * height]))).unwrap();
}

const NIH: &str = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n";

#[test]
fn heatmaps_beside_the_radiographs_are_not_read_for_them() {
    let study = Study::new();
    let mut table = NIH.to_owned();
    for folder in ["nih/images_001/images", "nih/images_002/images"] {
        fs::create_dir_all(study.path(folder)).unwrap();
    }
    for patient in 0..20 {
        let part = patient % 2 + 1;
        image(&study.path(&format!("nih/images_00{part}/images/{patient:08}_000.png")), 40, 40 + patient);
        table.push_str(&format!("{patient:08}_000.png,{},0,{patient},50,M,PA\n", ["No Finding", "Mass"][patient / 2 % 2]));
    }
    fs::write(study.path("nih/t.csv"), table).unwrap();
    let run = "[data]\nformat = \"nih\"\nlabels = \"nih/t.csv\"\nsplit = { by = \"patient\", valid = 0.2, test = 0.2 }\n";
    study.write_run(run);
    assert_eq!(said(&study, &CHECK), "");
    fs::create_dir_all(study.path("nih/heatmaps")).unwrap();
    image(&study.path("nih/heatmaps/00000004_000.png"), 50, 50);
    for command in ["check", "summary"] {
        let both = [
            "t.csv, row 6: image `00000004_000.png` is both ",
            "heatmaps/00000004_000.png and ",
            "images_001/images/00000004_000.png",
        ];
        study.refuses(&["data", command, "run.toml"], &both);
    }
    // The remedies of the message: `images` names a folder without the others, or the table writes the path.
    let table = fs::read_to_string(study.path("nih/t.csv")).unwrap();
    fs::write(study.path("nih/t.csv"), table.replace("00000004_000.png", "images_001/images/00000004_000.png")).unwrap();
    assert_eq!(said(&study, &CHECK), "");
}

#[test]
fn twelve_bits_are_noted_and_read_right_with_the_key() {
    let study = Study::new();
    // As eight bits, and as full sixteen, there is nothing to say.
    assert_eq!(said(&study, &CHECK), "");
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out", "--arm", "real"]));
    let predict = ["predict", "run.toml", "--weights", "out/model.safetensors", "--split", "all", "--out", "p.csv"];
    let scores = || -> Vec<f64> {
        let text = fs::read_to_string(study.path("p.csv")).unwrap();
        let header: Vec<_> = text.lines().next().unwrap().split(',').collect();
        let scores =
            text.lines().skip(1).flat_map(|line| line.split(',').zip(&header).filter(|(_, name)| name.starts_with("score_")));
        scores.map(|(score, _)| score.parse().unwrap()).collect()
    };
    deepen(&study, |level| u16::from(level) * 257);
    assert_eq!(said(&study, &predict), "");
    let full = scores();
    deepen_back(&study);
    deepen(&study, |level| (u16::from(level) * 257) >> 4);
    for args in [&CHECK[..], &["data", "summary", "run.toml"], &predict] {
        let note = said(&study, args);
        assert!(
            note.starts_with("note: the 16-bit images use 0 to ") && note.contains("write bit_depth = 12 under [preprocess]"),
            "{note}"
        );
    }
    let dark = scores();
    study.edit_run("size = 32\n", "size = 32\nbit_depth = 12\n");
    assert_eq!(said(&study, &CHECK), "");
    assert_eq!(said(&study, &predict), "");
    let distance = |other: &[f64]| full.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let (before, after) = (distance(&dark), distance(&scores()));
    assert!(after < 1e-3 && before > 10.0 * after, "scores move by {before} without the key and by {after} with it");
    // A value above white is an error of its file, in the check and in training.
    study.edit_run("size = 32\n", "size = 32\nbit_depth = 11\n");
    let output = study.roentgen(&CHECK);
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        !output.status.success() && listed.contains("above 2047, the white of preprocess.bit_depth = 11; write bit_depth = 12"),
        "{listed}"
    );
    study.refuses(&["train", "run.toml", "--out", "dark", "--arm", "real"], &[".png has a value of ", "above 2047"]);
    for wrong in ["7", "17", "\"auto\"", "true"] {
        study.edit_run("size = 32\n", &format!("size = 32\nbit_depth = {wrong}\n"));
        study.refuses(&CHECK, &["bit_depth", "a number of bits from 8 to 16, \"full\" or \"per-image-range\""]);
    }
}

/// The images of 16 bits as they were with 8.
fn deepen_back(study: &Study) {
    for path in files(study) {
        let image = GrayImage::open(&path).unwrap();
        let GrayDepth::U16(samples) = image.depth() else { panic!("made deep before") };
        let samples: Vec<u8> = samples.iter().map(|&sample| (sample / 257) as u8).collect();
        fs::write(path, encode_png(&GrayImage::from_u8(image.width(), image.height(), samples))).unwrap();
    }
}

#[test]
fn a_long_strip_is_padded_without_its_square() {
    let study = Study::new();
    // Its square would have 3.6 billion pixels.
    image(&study.path("phantoms/0.png"), 60_000, 8);
    study.edit_run("size = 32\n", "size = 32\ngeometry = \"pad\"\n");
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out", "--arm", "real"]));
}

#[test]
fn what_is_no_image_is_named_for_what_it_is() {
    let study = Study::new();
    fs::write(study.path("phantoms/1.png"), b"II*\0\x08\0\0\0").unwrap();
    fs::write(study.path("phantoms/2.png"), b"<html><body>Please sign in").unwrap();
    let mut bomb = Vec::new();
    drop(png::Encoder::new(&mut bomb, 22_000, 22_000).write_header().unwrap());
    fs::write(study.path("phantoms/3.png"), bomb).unwrap();
    let output = study.roentgen(&CHECK);
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success());
    for expected in [
        "1.png: it is a TIFF file; PNG, JPEG, BMP and DICOM are read",
        "2.png: it is a web page or XML, as a failed download leaves it",
        "3.png: 22000x22000 pixels; images of at most 178956970 pixels",
    ] {
        assert!(listed.contains(expected), "{listed}\nexpected {expected}");
    }
}

#[test]
fn a_run_file_may_start_paths_at_home() {
    let study = Study::new();
    study.edit_run("labels = \"table.csv\"", "labels = \"~/table.csv\"");
    let output = study.command(&CHECK).env("HOME", study.path("")).output().unwrap();
    assert!(succeeds(&output).contains("60 images examined"));
    study.refuses(&["data", "check", "run.toml"], &["table.csv"]);
    study.edit_run("labels = \"table.csv\"", "labels = \"table.csv\"\nimages = \"nowhere\"");
    study.refuses(&CHECK, &["no such folder: ", "nowhere; `data.images` is the folder of the images"]);
}

#[test]
fn jpegs_at_a_part_of_their_size_are_an_option() {
    assert!(RUN.contains("size = 32\n"));
    let study = Study::new();
    study.edit_run("size = 32\n", "size = 32\njpeg_scale = true\n");
    succeeds(&study.roentgen(&["train", "run.toml", "--out", "out", "--arm", "real"]));
    assert!(fs::read_to_string(study.path("out/config.toml")).unwrap().contains("jpeg_scale = true"));
    study.edit_run("size = 32\n", "size = 32\n");
    study.refuses(&["train", "run.toml", "--out", "out", "--arm", "real"], &["jpeg_scale"]);
}
