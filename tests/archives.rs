//! Tar shards and Parquet files as a user meets them: a whole study of each, guessed without a run file, and in little memory.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use roentgen_augment::image::{GrayImage, encode_png};

use super::cli::{RUN, Study, succeeds};
#[cfg(target_os = "linux")]
use super::memory::peak;

/// An image of a table: its bytes, patient, and the labels of `Mass` and `Effusion`.
struct Sample {
    png: Vec<u8>,
    patient: String,
    labels: [i64; 2],
}

fn tar(path: &Path, samples: &[Sample]) {
    let mut tar = tar::Builder::new(File::create(path).unwrap());
    for (at, Sample { png, patient, labels: [mass, effusion] }) in samples.iter().enumerate() {
        let json = format!(r#"{{"patient_id": "{patient}", "Mass": {mass}, "Effusion": {effusion}}}"#);
        for (extension, bytes) in [("json", json.as_bytes()), ("png", png), ("txt", b"Seen.")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("{at:06}.{extension}"), bytes).unwrap();
        }
    }
    tar.finish().unwrap();
}

fn parquet(path: &Path, samples: &[Sample]) {
    let schema = "message m { required group image { optional binary bytes; } required binary patient_id (UTF8); required int64 Mass; \
                  required int64 Effusion; }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for samples in samples.chunks(20) {
        let mut group = writer.next_row_group().unwrap();
        let mut text = |bytes: Vec<ByteArray>, levels: Option<&[i16]>| {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&bytes, levels, None).unwrap();
            column.close().unwrap();
        };
        text(samples.iter().map(|sample| sample.png.clone().into()).collect(), Some(&vec![1; samples.len()]));
        text(samples.iter().map(|sample| sample.patient.as_str().into()).collect(), None);
        for label in [0, 1] {
            let mut column = group.next_column().unwrap().unwrap();
            let labels: Vec<i64> = samples.iter().map(|sample| sample.labels[label]).collect();
            column.typed::<Int64Type>().write_batch(&labels, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

type Write = fn(&Path, &[Sample]);

const LAYOUTS: [(&str, &str, Write); 2] = [("webdataset", "tar", tar), ("parquet", "parquet", parquet)];

/// The images of a study, with labels of its own.
fn samples(study: &Study) -> Vec<Sample> {
    let table = fs::read_to_string(study.path("table.csv")).unwrap();
    let sample = |(at, line): (usize, &str)| {
        let mut cells = line.split(',');
        let png = fs::read(study.path(cells.next().unwrap())).unwrap();
        Sample { png, patient: cells.next().unwrap().to_owned(), labels: [at as i64 % 2, at as i64 / 2 % 2] }
    };
    table.lines().skip(1).enumerate().map(sample).collect()
}

#[test]
fn a_study_of_shards_is_that_of_the_same_table() {
    let study = Study::new();
    let samples = samples(&study);
    let rows = samples.iter().enumerate().map(|(at, sample)| {
        let [mass, effusion] = sample.labels;
        format!("phantoms/{at}.png,{},{mass},{effusion}\n", sample.patient)
    });
    let rows: String = rows.collect();
    fs::write(study.path("table.csv"), format!("image,patient_id,Mass,Effusion\n{rows}")).unwrap();
    let scores = |out: &str| {
        succeeds(&study.roentgen(&["train", "run.toml", "--out", out, "--arm", "real"]));
        let weights = format!("{out}/model.safetensors");
        succeeds(&study.roentgen(&["predict", "run.toml", "--weights", &weights, "--split", "all", "--out", "p.csv"]));
        let text = fs::read_to_string(study.path("p.csv")).unwrap();
        // Without the seed and the names of the images.
        text.lines().map(|line| line.splitn(3, ',').nth(2).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let expected = scores("table");
    for (format, extension, write) in LAYOUTS {
        fs::create_dir(study.path(format)).unwrap();
        for (at, samples) in samples.chunks(25).enumerate() {
            write(&study.path(&format!("{format}/part-{at:03}.{extension}")), samples);
        }
        study.write_run(
            &RUN.replace("format = \"table\"", &format!("format = \"{format}\""))
                // Members of a JSON object have no order.
                .replace(
                    "labels = \"table.csv\"",
                    &format!("images = \"{format}/part-{{000..002}}.{extension}\"\nfindings = [\"Mass\", \"Effusion\"]"),
                ),
        );
        let check = study.roentgen(&["data", "check", "run.toml"]);
        assert!(succeeds(&check).contains("60 images examined"));
        assert_eq!(String::from_utf8_lossy(&check.stderr), "", "{format}");
        assert!(scores(format) == expected, "{format}: other scores than from the table");
        // Without a run file.
        for path in [format.to_owned(), format!("{format}/part-001.{extension}")] {
            let summary = succeeds(&study.roentgen(&["data", "summary", &path]));
            assert!(summary.contains(&format!("format = \"{format}\"")), "{summary}");
        }
        // A file that is cut off names itself.
        let path = study.path(&format!("{format}/part-002.{extension}"));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        study.refuses(&["data", "check", "run.toml"], &[&format!("part-002.{extension}")]);
    }
}

/// Bytes of an image that no codec makes smaller.
#[cfg(target_os = "linux")]
const SIDE: usize = 512;

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_size_of_the_files() {
    for (format, extension, write) in LAYOUTS {
        let peaks = [40, 400].map(|count| {
            let folder = tempfile::tempdir().unwrap();
            let sample = |at: usize| {
                // The finaliser of SplitMix64.
                let noise = |pixel: usize| {
                    let mut bits = (pixel * 400 + at + 1) as u64;
                    for factor in [0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB] {
                        bits = (bits ^ (bits >> 30)).wrapping_mul(factor);
                    }
                    (bits >> 56) as u8
                };
                let image = GrayImage::from_u8(SIDE, SIDE, (0..SIDE * SIDE).map(noise).collect::<Vec<_>>());
                Sample { png: encode_png(&image), patient: at.to_string(), labels: [at as i64 % 2, at as i64 / 2 % 2] }
            };
            let samples: Vec<Sample> = (0..count).map(sample).collect();
            let file = folder.path().join(format!("a.{extension}"));
            write(&file, &samples);
            (peak(folder.path(), &["data", "check", &format!("a.{extension}")]), fs::metadata(file).unwrap().len() as usize)
        });
        let [(few, small), (many, large)] = peaks;
        println!("{format}: {} MiB of {} MiB, {} MiB of {} MiB", few >> 20, small >> 20, many >> 20, large >> 20);
        assert!(few > 0 && large > small + (64 << 20));
        // Pages of 20 images take 5 MB for each thread.
        assert!(many < few + (24 << 20), "{format}: {} MiB after {} MiB", many >> 20, few >> 20);
    }
}
