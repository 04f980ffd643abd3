//! Opening label tables: from bytes on disk to rows and splits. No image is there, so each row's file is looked for in vain.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use divan::Bencher;
use roentgen_augment::formats::{MissingImages, NihFiles, Table};

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
