use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::*;
use crate::dataset::Row;
use crate::formats::DataSource;
use crate::image::{GrayImage, encode_png};

fn png(level: u8) -> Vec<u8> {
    encode_png(&GrayImage::from_u8(2, 1, vec![level, 0]))
}

/// A column to be: optional values.
enum Column {
    Bytes(Vec<Option<Vec<u8>>>),
    Whole(Vec<Option<i64>>),
    Real(Vec<Option<f64>>),
    /// Lists, or none at all.
    Lists(Vec<Option<Vec<&'static str>>>),
}

fn text(values: &[&str]) -> Column {
    Column::Bytes(values.iter().map(|value| (!value.is_empty()).then(|| value.as_bytes().to_vec())).collect())
}

fn images(levels: &[u8]) -> Column {
    Column::Bytes(levels.iter().map(|level| Some(png(*level))).collect())
}

/// Writes columns in the order of the schema's leaves, in row groups of two rows.
fn write(path: &Path, schema: &str, columns: &[Column], classes: Option<&str>, compression: Compression) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let pairs = classes.map(|text| vec![KeyValue::new("huggingface".to_owned(), text.to_owned())]);
    let properties = WriterProperties::builder().set_compression(compression).set_key_value_metadata(pairs).build();
    let mut writer = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::new(properties)).unwrap();
    let rows = match &columns[0] {
        Column::Bytes(values) => values.len(),
        _ => panic!("the first column is of bytes"),
    };
    for start in (0..rows).step_by(2) {
        let range = start..rows.min(start + 2);
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut leaf = group.next_column().unwrap().unwrap();
            fn levels<T>(values: &[Option<T>], most: i16) -> Vec<i16> {
                values.iter().map(|value| if value.is_some() { most } else { 0 }).collect()
            }
            match column {
                Column::Bytes(values) => {
                    let values = &values[range.clone()];
                    let some: Vec<ByteArray> = values.iter().flatten().map(|value| value.clone().into()).collect();
                    let typed = leaf.typed::<ByteArrayType>();
                    // Within a struct there is a level more.
                    let most = typed.get_descriptor().max_def_level();
                    typed.write_batch(&some, Some(&levels(values, most)), None).unwrap();
                }
                Column::Whole(values) => {
                    let values = &values[range.clone()];
                    let some: Vec<i64> = values.iter().flatten().copied().collect();
                    leaf.typed::<Int64Type>().write_batch(&some, Some(&levels(values, 1)), None).unwrap();
                }
                Column::Real(values) => {
                    let values = &values[range.clone()];
                    let some: Vec<f64> = values.iter().flatten().copied().collect();
                    leaf.typed::<DoubleType>().write_batch(&some, Some(&levels(values, 1)), None).unwrap();
                }
                Column::Lists(values) => {
                    let (mut some, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
                    for list in &values[range.clone()] {
                        match list.as_deref() {
                            None | Some([]) => {
                                defined.push(i16::from(list.is_some()));
                                repeated.push(0);
                            }
                            Some(names) => {
                                some.extend(names.iter().map(|name| ByteArray::from(*name)));
                                defined.extend(names.iter().map(|_| 3));
                                repeated.extend(names.iter().enumerate().map(|(at, _)| i16::from(at > 0)));
                            }
                        }
                    }
                    leaf.typed::<ByteArrayType>().write_batch(&some, Some(&defined), Some(&repeated)).unwrap();
                }
            }
            leaf.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

const IMAGE: &str = "optional group image { optional binary bytes; optional binary path (UTF8); }";

fn rows(data: &CxrDataset) -> Vec<String> {
    let split = |row: &Row| row.record.split.map_or("-".to_owned(), |split| split.to_string());
    let labels = |row: &Row| row.record.labels.iter().map(|label| label.cell()).collect::<Vec<_>>().join(" ");
    data.rows().iter().map(|row| format!("{} {} {}", row.record.id, split(row), labels(row))).collect()
}

fn levels(data: &CxrDataset) -> Vec<u8> {
    let level = |index| match data.decode(index).unwrap().depth() {
        crate::image::GrayDepth::U8(samples) => samples[0],
        crate::image::GrayDepth::U16(_) => panic!("8 bits were written"),
    };
    (0..data.rows().len()).map(level).collect()
}

#[test]
fn embedded_images_and_columns_of_every_type_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let schema = format!(
        "message m {{ {IMAGE} optional int64 Mass; optional double Effusion; optional binary report (UTF8); optional binary patient_id (UTF8); }}"
    );
    for (at, compression) in
        [Compression::SNAPPY, Compression::UNCOMPRESSED, Compression::ZSTD(Default::default())].into_iter().enumerate()
    {
        let split = ["train", "validation", "test"][at];
        let names: Vec<String> = (0..5).map(|row| format!("{split}-{row}.png")).collect();
        let columns = [
            images(&[1, 2, 3, 4, 5].map(|level| level + 10 * at as u8)),
            text(&names.iter().map(String::as_str).collect::<Vec<_>>()),
            Column::Whole(vec![Some(1), Some(0), None, Some(-1), Some(1)]),
            Column::Real(vec![Some(0.0), Some(1.0), Some(f64::NAN), None, Some(0.0)]),
            text(&["Two\nlines, \"quoted\".", "", "x", "y", "z"]),
            text(&["7", "8", "9", "10", "11"]),
        ];
        write(&folder.path().join(format!("data-{split}.parquet")), &schema, &columns, None, compression);
        let named = folder.path().join(format!("{split}-00000-of-00001.parquet"));
        fs::rename(folder.path().join(format!("data-{split}.parquet")), named).unwrap();
    }
    let data = read(&Table::new(folder.path())).unwrap();
    assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Mass", "Effusion"]);
    assert_eq!(
        rows(&data)[..5],
        ["test-0.png test 1 0", "test-1.png test 0 1", "test-2.png test  ", "test-3.png test -1 ", "test-4.png test 1 0"]
    );
    assert_eq!(levels(&data), [21, 22, 23, 24, 25, 1, 2, 3, 4, 5, 11, 12, 13, 14, 15]);
    assert_eq!(data.record(0).report.as_deref(), Some("Two\nlines, \"quoted\"."));
    assert_eq!(data.record(5).split, Some(crate::record::Split::Train));
    assert!(data.describe(6).ends_with("train-00000-of-00001.parquet, row 2"));
}

#[test]
fn names_of_classes_and_lists_are_labels() {
    let folder = tempfile::tempdir().unwrap();
    let classes = r#"{"info": {"features": {"label": {"names": ["NORMAL", "Pneumonia"], "_type": "ClassLabel"}}}}"#;
    let schema = format!("message m {{ {IMAGE} optional int64 label; }}");
    let columns = [images(&[1, 2, 3]), text(&["", "", ""]), Column::Whole(vec![Some(1), Some(0), Some(-1)])];
    let path = folder.path().join("a.parquet");
    write(&path, &schema, &columns, Some(classes), Compression::SNAPPY);
    assert_eq!(rows(&read(&Table::new(&path)).unwrap()), ["a.parquet/1 - 1", "a.parquet/2 - 0", "a.parquet/3 - "]);
    let schema = format!(
        "message m {{ {IMAGE} optional group labels (LIST) {{ repeated group list {{ optional binary element (UTF8); }} }} }}"
    );
    let lists = vec![Some(vec!["Mass", "Hernia"]), Some(vec![]), None, Some(vec!["Mass"])];
    let columns = [images(&[1, 2, 3, 4]), text(&["a.png", "b.png", "c.png", "d.png"]), Column::Lists(lists)];
    write(&path, &schema, &columns, None, Compression::SNAPPY);
    let table = Table { columns: [("labels".to_owned(), "labels".to_owned())].into(), ..Table::new(&path) };
    assert_eq!(rows(&read(&table).unwrap()), ["a.png - 1 1", "b.png - 0 0", "c.png -  ", "d.png - 0 1"]);
}

/// RoentGen-v2's columns as its card has them, the labels by name.
#[test]
fn roentgens_parquet_files_are_synthetic_whoever_guesses() {
    let folder = tempfile::tempdir().unwrap();
    let mut names = crate::record::CHEXPERT_14.map(|name| if name == "Effusion" { "Pleural Effusion" } else { name });
    names.sort_unstable();
    let words = ["text", "gender"].map(|name| format!("optional binary {name} (UTF8);")).concat();
    let rest = ["race", "view", "impression"].map(|name| format!("optional binary {name} (UTF8);")).concat();
    // The parser of schemas takes no blank in a name.
    let labels: String = names.iter().map(|name| format!("optional int64 {};", name.replace(' ', "_"))).collect();
    let schema =
        format!("message m {{ optional binary image_id (UTF8); {IMAGE} {words} optional int64 age; {rest} {labels} }}");
    let mut columns = vec![
        text(&["i0", "i1"]),
        images(&[5, 6]),
        text(&["i0.png", "i1.png"]),
        text(&["57 year old WHITE male. Mass.", "61 year old ASIAN female. Normal."]),
        text(&["Male", "Female"]),
        Column::Whole(vec![Some(57), Some(61)]),
        text(&["WHITE", "ASIAN"]),
        text(&["PA", "AP"]),
        text(&["Mass.", "Normal."]),
    ];
    columns.extend(names.map(|name| Column::Whole(vec![Some(i64::from(name == "Lung Lesion")), Some(0)])));
    fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data/train-00000-of-00001.parquet");
    write(&path, &schema, &columns, None, Compression::SNAPPY);
    for place in [folder.path(), &folder.path().join("data"), &path] {
        let guess = crate::formats::guess(place).unwrap();
        assert_eq!(guess.format.name, "roentgen-v2", "{}", guess.why);
        let data = guess.format.read(&guess.source).unwrap();
        assert_eq!(data.vocabulary().len(), 14);
        let at = data.vocabulary().position(crate::record::Finding::parse("Lung Lesion").unwrap()).unwrap();
        let record = data.record(0);
        assert_eq!((record.id.as_str(), record.age, record.view), ("i0.png", Some(57.0), Some(crate::record::View::Pa)));
        assert_eq!((record.details.race.as_deref(), record.report.as_deref()), (Some("WHITE"), Some("Mass.")));
        assert_eq!([record.labels[at], data.record(1).labels[at]].map(crate::record::Label::cell), ["1", "0"]);
        for index in 0..2 {
            let crate::record::Origin::Synthetic(made) = &data.record(index).origin else { panic!("taken for real") };
            assert_eq!(made.model, "RoentGen-v2");
            assert!(made.request.prompt.contains("year old"), "{}", made.request.prompt);
        }
        assert_eq!(levels(&data), [5, 6]);
    }
    let source = DataSource { labels: Some(path), images: Some(folder.path().into()), ..DataSource::default() };
    let error = crate::formats::Format::named("roentgen-v2").unwrap().read(&source).unwrap_err().to_string();
    assert!(error.contains("data.images") && error.contains("data.labels alone"), "{error}");
}

#[test]
fn the_index_of_a_data_frame_is_no_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = format!("message m {{ {IMAGE} optional int64 Mass; optional int64 __index_level_0__; }}");
    let whole = |values: [i64; 2]| Column::Whole(values.map(Some).to_vec());
    write(&path, &schema, &[images(&[1, 2]), text(&["a", "b"]), whole([1, 0]), whole([3, 9])], None, Compression::SNAPPY);
    let data = read(&Table::new(&path)).unwrap();
    assert_eq!(rows(&data), ["a - 1", "b - 0"]);
    assert!(data.notes()[0].contains("column `__index_level_0__` is an index and is ignored"), "{:?}", data.notes());
}

#[test]
fn paths_in_place_of_bytes_are_files_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    for (name, level) in [("x.png", 7), ("y.png", 8)] {
        fs::create_dir_all(folder.path().join("images")).unwrap();
        fs::write(folder.path().join("images").join(name), png(level)).unwrap();
    }
    let mass = || Column::Whole(vec![Some(1), Some(0)]);
    let plain = "message m { optional binary image (UTF8); optional int64 Mass; }";
    write(&folder.path().join("a.parquet"), plain, &[text(&["images/y.png", "x.png"]), mass()], None, Compression::SNAPPY);
    assert_eq!(levels(&read(&Table::new(folder.path())).unwrap()), [8, 7]);
    // A column of images without any bytes.
    let schema = format!("message m {{ {IMAGE} optional int64 Mass; }}");
    let columns = [Column::Bytes(vec![None, None]), text(&["images/y.png", "x.png"]), mass()];
    write(&folder.path().join("a.parquet"), &schema, &columns, None, Compression::SNAPPY);
    assert_eq!(levels(&read(&Table::new(folder.path())).unwrap()), [8, 7]);
    // Bytes without a struct, in a column of another name.
    let bare = "message m { optional binary xray; optional int64 Mass; }";
    write(&folder.path().join("a.parquet"), bare, &[images(&[3, 4]), mass()], None, Compression::SNAPPY);
    let named = Table { columns: [("image".to_owned(), "xray".to_owned())].into(), ..Table::new(folder.path()) };
    assert_eq!(levels(&read(&named).unwrap()), [3, 4]);
    let error = read(&Table::new(folder.path())).unwrap_err().to_string();
    assert!(error.contains("a.parquet: no column `image` of images (there are `xray`, `Mass`)"), "{error}");
}

fn sound() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let schema = format!("message m {{ {IMAGE} optional int64 Mass; }}");
    let columns = [
        Column::Bytes(vec![Some(png(1)), None, Some(b"no image".to_vec())]),
        text(&["a", "b", "c"]),
        Column::Whole(vec![Some(1), Some(0), Some(1)]),
    ];
    write(&path, &schema, &columns, None, Compression::SNAPPY);
    (folder, path)
}

#[test]
fn images_that_are_not_there_are_named_by_row() {
    let (_folder, path) = sound();
    let data = read(&Table::new(&path)).unwrap();
    assert!(data.decode(0).is_ok());
    let error = data.decode(1).unwrap_err().to_string();
    assert!(error.contains("a.parquet: the image of row 2 is empty"), "{error}");
    let error = data.decode(2).unwrap_err().to_string();
    assert!(error.contains("a.parquet, row 3: it is of a kind that is not known"), "{error}");
}

#[test]
fn damage_is_named_and_never_a_panic() {
    let (_folder, path) = sound();
    let whole = fs::read(&path).unwrap();
    let look = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match read(&Table::new(&path)) {
            Ok(data) => (0..data.rows().len()).for_each(|index| drop(data.decode(index))),
            Err(error) => {
                assert!(error.to_string().contains("a.parquet") || matches!(error, AugmentError::Table(_)), "{error}")
            }
        }
    };
    for cut in 0..whole.len() {
        look(&whole[..cut]);
    }
    for at in 0..whole.len() {
        for change in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[at] ^= change;
            look(&bytes);
        }
    }
}
