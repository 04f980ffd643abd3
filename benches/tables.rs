//! Opening label tables: from bytes on disk to rows and splits. No image is there, so each row's file is looked for in vain.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use divan::Bencher;
use roentgen_augment::formats::{DataSource, Format, MissingImages, NihFiles, Table};

/// Images of MIMIC-CXR-JPG.
const MIMIC_ROWS: usize = 377_110;
/// Images of NIH ChestX-ray14.
const NIH_ROWS: usize = 112_120;

fn main() {
    divan::main();
}

/// The table of that name, written once by `write`.
fn table(name: &str, write: impl FnOnce(&mut dyn Write)) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !path.is_file() {
        let mut bytes = Vec::new();
        write(&mut bytes);
        fs::create_dir_all(path.parent().expect("it is in the target folder")).expect("the target folder can be written");
        fs::write(&path, bytes).expect("the target folder can be written");
    }
    path
}

/// A number that looks random, for row `row` and column `column`.
fn mixed(row: usize, column: usize) -> usize {
    let mixed =
        (row as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(column as u32 + 7).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (mixed >> 40) as usize
}

/// The project's own table in the size of MIMIC-CXR-JPG, with its long paths and 14 labels.
#[divan::bench(sample_count = 10)]
fn own_table_377110_rows(bencher: Bencher) {
    let path = table("tables-mimic.csv", |file| {
        let findings = "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,\
                        Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices";
        let mut line = |text: String| writeln!(file, "{text}").expect("memory takes every byte");
        line(format!("image,patient_id,view,split,{findings}"));
        for row in 0..MIMIC_ROWS {
            let (patient, study) = (10_000_032 + row / 6, 50_000_000 + row / 2);
            let image = format!(
                "files/p{}/p{patient}/s{study}/{:08x}-{:08x}-{:08x}-{:08x}.jpg",
                patient / 1_000_000,
                row,
                mixed(row, 1),
                mixed(row, 2),
                mixed(row, 3)
            );
            let labels: Vec<_> = (0..14).map(|column| ["", "", "", "1.0", "0.0", "-1.0"][mixed(row, column) % 6]).collect();
            line(format!(
                "{image},{patient},{},{},{}",
                ["PA", "AP", "L"][row % 3],
                ["train", "validate", "test"][patient % 3],
                labels.join(",")
            ));
        }
    });
    let table = Table { missing: MissingImages::Keep, ..Table::new(path) };
    bencher.bench_local(|| table.read().expect("a sound table"));
}

/// MIMIC-CXR-JPG as published: labels of studies, metadata, split and report sections, joined.
#[divan::bench(sample_count = 10)]
fn mimic_four_tables_377110_images(bencher: Bencher) {
    // Five images are of three studies, as in the data set.
    let of = |row: usize| (10_000_032 + row * 3 / 5 * 3 / 10, 50_000_000 + row * 3 / 5);
    let dicom = |row: usize| format!("{row:08x}-{:08x}-{:08x}-{:08x}", mixed(row, 1), mixed(row, 2), mixed(row, 3));
    let findings = "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,Lung Lesion,Lung Opacity,No Finding,\
                    Pleural Effusion,Pleural Other,Pneumonia,Pneumothorax,Support Devices";
    let first_of_study = |row: &usize| *row == 0 || of(*row).1 != of(*row - 1).1;
    let labels = table("mimic/mimic-cxr-2.0.0-chexpert.csv", |file| {
        writeln!(file, "subject_id,study_id,{findings}").expect("memory takes every byte");
        for row in (0..MIMIC_ROWS).filter(first_of_study) {
            let labels: Vec<_> = (0..14).map(|column| ["", "", "", "1.0", "0.0", "-1.0"][mixed(row, column) % 6]).collect();
            writeln!(file, "{},{},{}", of(row).0, of(row).1, labels.join(",")).expect("memory takes every byte");
        }
    });
    table("mimic/mimic-cxr-2.0.0-metadata.csv", |file| {
        let header = "dicom_id,subject_id,study_id,PerformedProcedureStepDescription,ViewPosition,Rows,Columns,StudyDate,StudyTime,\
                      ProcedureCodeSequence_CodeMeaning,ViewCodeSequence_CodeMeaning,PatientOrientationCodeSequence_CodeMeaning";
        writeln!(file, "{header}").expect("memory takes every byte");
        for row in 0..MIMIC_ROWS {
            let ((subject, study), view) = (of(row), ["PA", "AP", "LATERAL"][row % 3]);
            writeln!(
                file,
                "{},{subject},{study},CHEST (PA AND LAT),{view},3056,2544,21800506,213014.531,CHEST (PA AND LAT),postero-anterior,Erect",
                dicom(row)
            )
            .expect("memory takes every byte");
        }
    });
    table("mimic/mimic-cxr-2.0.0-split.csv", |file| {
        writeln!(file, "dicom_id,study_id,subject_id,split").expect("memory takes every byte");
        for row in 0..MIMIC_ROWS {
            let ((subject, study), split) = (of(row), ["train", "validate", "test"][of(row).0 % 3]);
            writeln!(file, "{},{study},{subject},{split}", dicom(row)).expect("memory takes every byte");
        }
    });
    table("mimic/mimic_cxr_sectioned.csv", |file| {
        writeln!(file, "study,impression,findings,last_paragraph,comparison").expect("memory takes every byte");
        for row in (0..MIMIC_ROWS).filter(first_of_study) {
            let sentence = "No focal consolidation, pleural effusion or pneumothorax is seen. ";
            let (impression, findings) = (sentence.repeat(1 + mixed(row, 1) % 4), sentence.repeat(2 + mixed(row, 2) % 6));
            writeln!(file, "s{},\"{impression}\",\"{findings}\",,None.", of(row).1).expect("memory takes every byte");
        }
    });
    let mimic = Format::named("mimic").expect("a layout");
    let source = DataSource { labels: Some(labels), missing: MissingImages::Keep, ..DataSource::default() };
    bencher.bench_local(|| mimic.read(&source).expect("sound tables"));
}

/// A table as NIH publishes it.
#[divan::bench(sample_count = 10)]
fn nih_table_112120_rows(bencher: Bencher) {
    let path = table("tables-nih.csv", |file| {
        let mut line = |text: String| writeln!(file, "{text}").expect("memory takes every byte");
        line("Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]".to_owned());
        for row in 0..NIH_ROWS {
            let labels = ["No Finding", "Effusion|Infiltration", "Atelectasis", "Mass|Nodule|Pneumothorax"][mixed(row, 0) % 4];
            line(format!(
                "{:08}_{:03}.png,{labels},{},{},{},{},PA,2682,2749,0.14300000000000002,0.14300000000000002",
                row / 4 + 1,
                row % 4,
                row % 4,
                row / 4 + 1,
                mixed(row, 1) % 90,
                ["M", "F"][row % 2]
            ));
        }
    });
    let images = tempfile::tempdir().expect("a temporary folder");
    let nih =
        NihFiles { table: path, images: images.path().to_owned(), lists: None, missing: MissingImages::Keep, delimiter: None };
    bencher.bench_local(|| nih.read().expect("a sound table"));
}
