//! Conversions of small data sets.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::dataset::tests::record;
use crate::formats::Table;
use crate::image::{ImageFiles, Preprocess};
use crate::progress::Silent;
use crate::record::{CxrRecord, Label, Split, Vocabulary};

/// Six 12 x 10 images in files, of which number 2 is damaged and number 4 is absent.
fn data(folder: &Path) -> CxrDataset {
    let paths: Vec<_> = (0..6).map(|at| folder.join(format!("source/{at}.png"))).collect();
    fs::create_dir_all(folder.join("source")).unwrap();
    for (at, path) in paths.iter().enumerate().filter(|(at, _)| *at != 4) {
        let samples: Vec<u8> = (0..120).map(|i| (i * (at + 3) % 251) as u8).collect();
        let bytes = encode_png(&GrayImage::from_u8(12, 10, samples));
        fs::write(path, if at == 2 { &bytes[..40] } else { &bytes[..] }).unwrap();
    }
    let splits = [Split::Train, Split::Train, Split::Train, Split::Valid, Split::Test, Split::Test];
    let record = |(at, split): (usize, Split)| {
        let labels = vec![[Label::Positive, Label::Negative, Label::Uncertain, Label::Missing][at % 4], Label::Negative];
        CxrRecord { labels, age: Some(40.5), ..record(&format!("{at}.png"), &format!("p{at}"), Some(split)) }
    };
    let records = splits.into_iter().enumerate().map(record).collect();
    let vocabulary = Arc::new(Vocabulary::parse(["Effusion", "Mass"]).unwrap());
    let data = CxrDataset::from_records("six", vocabulary, records, Arc::new(ImageFiles::new(paths))).unwrap();
    data.with_preprocess(Preprocess::new(8))
}

fn convert(data: &CxrDataset, out: &Path, pixels: Pixels, shards: Option<usize>) -> Result<Converted, AugmentError> {
    let storage = shards.map_or(Storage::Table, |samples| Storage::Shards(NonZeroUsize::new(samples).unwrap()));
    Conversion { pixels, storage }.run(data, out, &Silent)
}

/// Every file in a folder, by its path.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn the_table_reads_as_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    let converted = convert(&source, &out, Pixels::Whole, None).unwrap();
    assert_eq!((converted.images, converted.resumed), (4, 0));
    let dropped: Vec<_> = converted.dropped.iter().map(|row| (row.row, row.image.as_str())).collect();
    assert_eq!(dropped, [(Some(3), "2.png"), (Some(5), "4.png")]);
    assert!(converted.dropped.iter().all(|row| !row.reason.is_empty()));
    let read = Table::new(out.join(TABLE)).read().unwrap();
    for (at, index) in [0, 1, 3, 5].into_iter().enumerate() {
        let (ours, theirs) = (read.record(at), source.record(index));
        let renamed = CxrRecord { id: format!("images/{}", theirs.id), ..theirs.as_ref().clone() };
        assert_eq!(**ours, renamed);
        assert_eq!(read.decode(at).unwrap(), source.decode(index).unwrap());
    }
    let list = fs::read_to_string(out.join(DROPPED)).unwrap();
    assert!(list.starts_with("row,image,reason\n3,2.png,") && list.lines().count() == 3, "{list}");
}

/// A PNG has no place for a white of its own: pictures are the same without any setting.
#[test]
fn twelve_bits_become_sixteen() {
    let twelve = GrayImage::from_u16(3, 1, vec![0, 2047, 4095]);
    for (image, depth) in [(twelve.clone(), BitDepth::Bits(12)), (twelve.clone().with_white(4095), BitDepth::Full)] {
        assert_eq!(spread(image, depth), GrayImage::from_u16(3, 1, vec![0, 32_759, u16::MAX]));
    }
    assert_eq!(spread(twelve.clone(), BitDepth::Full), twelve);
    assert_eq!(spread(twelve.clone(), BitDepth::PerImageRange), twelve);
}

#[test]
fn resized_images_are_those_of_training_to_8_bits() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    convert(&source, &out, Pixels::Resized, None).unwrap();
    let read = Table::new(out.join(TABLE)).read().unwrap().with_preprocess(Preprocess::new(8));
    for (at, index) in [0, 1, 3, 5].into_iter().enumerate() {
        let (ours, theirs) = (read.sample(at).unwrap().image, source.sample(index).unwrap().image);
        // Half a step of 255 in a range of 2.
        assert!(ours.values().iter().zip(theirs.values()).all(|(a, b)| (a - b).abs() <= 1.0 / 255.0 + 1e-6));
    }
}

#[test]
fn images_can_stay_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    let converted = convert(&source, &out, Pixels::InPlace, None).unwrap();
    // Nothing is decoded: only what isn't there is left out.
    assert_eq!((converted.images, converted.dropped.len()), (5, 1));
    let read = Table::new(out.join(TABLE)).read().unwrap();
    assert_eq!(read.file(0).unwrap(), folder.path().join("source/0.png"));
    let array = crate::dataset::tests::dataset(vec![record("a", "1", None)]).unwrap();
    let message = convert(&array, &folder.path().join("other"), Pixels::InPlace, None).unwrap_err().to_string();
    assert!(message.contains("--size") && message.contains("--full-size"), "{message}");
}

#[test]
fn shards_hold_images_and_columns() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    let converted = convert(&source, &out, Pixels::Whole, Some(2)).unwrap();
    assert_eq!((converted.images, converted.dropped.len()), (4, 2));
    let members = |name: &str| -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(fs::File::open(out.join(name)).unwrap());
        let member = |entry: io::Result<tar::Entry<'_, fs::File>>| {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (entry.path().unwrap().display().to_string(), bytes)
        };
        archive.entries().unwrap().map(member).collect()
    };
    let first = members("train-000000.tar");
    let names: Vec<_> = first.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["0.png", "0.json", "1.png", "1.json"]);
    assert_eq!(GrayImage::decode(&first[0].1, Path::new("0.png")).unwrap(), source.decode(0).unwrap());
    let json: serde_json::Value = serde_json::from_slice(&first[1].1).unwrap();
    let expected = serde_json::json!({ "patient_id": "p0", "age": 40.5, "split": "train", "Effusion": 1, "Mass": 0 });
    assert_eq!(json, expected);
    // The damaged image was alone in the second.
    assert!(members("train-000001.tar").is_empty());
    assert_eq!(members("test-000000.tar").len(), 2);
}

#[test]
fn another_folder_is_not_written_to() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    convert(&source, &out, Pixels::Resized, None).unwrap();
    let before = files(&out);
    for (pixels, shards, size) in [(Pixels::Whole, None, 8), (Pixels::Resized, None, 9), (Pixels::Resized, Some(2), 8)] {
        let other = source.clone().with_preprocess(Preprocess::new(size));
        let message = convert(&other, &out, pixels, shards).unwrap_err().to_string();
        assert!(message.contains("other data, or by other settings"), "{message}");
    }
    // Other gray levels of the same files.
    let whole = folder.path().join("whole");
    convert(&source, &whole, Pixels::Whole, None).unwrap();
    let other = Preprocess { bit_depth: Some(BitDepth::Bits(12)), ..Preprocess::new(8) };
    let message = convert(&source.clone().with_preprocess(other), &whole, Pixels::Whole, None).unwrap_err().to_string();
    assert!(message.contains("by other settings"), "{message}");
    let message = convert(&source.select(&[0, 1]), &out, Pixels::Resized, None).unwrap_err().to_string();
    assert!(message.contains("another folder"), "{message}");
    assert_eq!(files(&out), before);
    let message = convert(&source, &folder.path().join("source"), Pixels::Resized, None).unwrap_err().to_string();
    assert!(message.contains("holds other files"), "{message}");
}

#[test]
fn one_process_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let (source, out) = (data(folder.path()), folder.path().join("out"));
    let conversion = Conversion { pixels: Pixels::Whole, storage: Storage::Table };
    let claim = Claim::take(&out, &conversion.describe(&source, &names::of(&source))).unwrap();
    let message = conversion.run(&source, &out, &Silent).unwrap_err().to_string();
    assert!(message.contains("another process is writing"), "{message}");
    drop(claim);
    conversion.run(&source, &out, &Silent).unwrap();
}

#[test]
fn what_can_be_read_later_is_added() {
    for shards in [None, Some(2)] {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (data(folder.path()), folder.path().join("out"));
        convert(&source, &out, Pixels::Whole, shards).unwrap();
        for at in [2, 4] {
            let bytes = encode_png(&GrayImage::from_u8(1, 1, vec![at]));
            fs::write(folder.path().join(format!("source/{at}.png")), bytes).unwrap();
        }
        let again = convert(&source, &out, Pixels::Whole, shards).unwrap();
        assert_eq!((again.images, again.dropped.len()), (6, 0), "{shards:?}");
        let fresh = folder.path().join("fresh");
        convert(&source, &fresh, Pixels::Whole, shards).unwrap();
        assert_eq!(files(&out), files(&fresh), "{shards:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A process that is killed leaves whole files, each of them or not, and temporary ones.
    #[test]
    fn an_interrupted_conversion_ends_as_an_undisturbed_one(gone in any::<u64>(), shards in prop::option::of(1usize..4)) {
        let folder = tempfile::tempdir().unwrap();
        let (source, out) = (data(folder.path()), folder.path().join("out"));
        convert(&source, &out, Pixels::Resized, shards).unwrap();
        let whole = files(&out);
        // The record is written first, so that it is there if anything is.
        for (at, path) in whole.keys().filter(|path| !path.ends_with("conversion.txt")).enumerate() {
            if gone >> at & 1 == 1 {
                fs::remove_file(out.join(path)).unwrap();
            }
        }
        fs::write(out.join(".tmp-x1y2"), "half").unwrap();
        let again = convert(&source, &out, Pixels::Resized, shards).unwrap();
        prop_assert_eq!((again.images, again.dropped.len()), (4, 2));
        prop_assert_eq!(files(&out), whole);
    }
}
