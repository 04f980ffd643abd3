//! A whole small study from every layout as it is downloaded: recognised, checked, compared with a phantom generator, and reported.
//!
//! The trees are look-alikes after the published descriptions, see `docs/formats.md`; their images are phantoms.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use roentgen_augment::formats::FORMATS;
use roentgen_augment::image::encode_png;
use roentgen_augment::phantom::{PhantomDataset, PhantomDatasetConfig};
use roentgen_augment::record::{CHEXPERT_14, NIH_14};

use crate::cli::{Study, succeeds};

/// Images of a tree. Every other one shows an effusion.
const IMAGES: usize = 120;

/// A look-alike tree.
struct Layout {
    /// The format's name.
    name: &'static str,
    /// What a user gives, below the tree's folder.
    place: &'static str,
    write: fn(&Tree),
}

/// Layouts that no study can be made of alone.
const NO_STUDY: [(&str, &str); 4] = [
    ("phantom", "there are no files, and the demo is its study"),
    ("nih-google", "its split has no training images"),
    ("roentgen-v2", "every row is synthetic"),
    ("synthchex-75k", "every row is synthetic"),
];

const LAYOUTS: &[Layout] = &[
    Layout { name: "mimic", place: "", write: mimic },
    Layout { name: "chexpert", place: "CheXpert-v1.0-small", write: chexpert },
    Layout { name: "chexpert-plus", place: "df_chexpert_plus_240401.csv", write: chexpert_plus },
    Layout { name: "padchest", place: "", write: padchest },
    Layout { name: "openi", place: "", write: openi },
    Layout { name: "tuberculosis", place: "", write: tuberculosis },
    Layout { name: "vindr", place: "train.csv", write: vindr },
    Layout { name: "rsna", place: "", write: rsna },
    Layout { name: "siim", place: "", write: siim },
    Layout { name: "brax", place: "", write: brax },
    Layout { name: "nih", place: "Data_Entry_2017_v2020.csv", write: nih },
    Layout { name: "nih-subset", place: "labels.csv", write: nih_subset },
    Layout { name: "medmnist", place: "pneumoniamnist.npz", write: medmnist },
    Layout { name: "table", place: "labels.csv", write: table },
    Layout { name: "class-folders", place: "", write: class_folders },
    Layout { name: "imagefolder", place: "", write: imagefolder },
    Layout { name: "webdataset", place: "", write: webdataset },
    Layout { name: "parquet", place: "", write: parquet_files },
];

/// Where a tree is written, and its images.
struct Tree {
    root: std::path::PathBuf,
    phantoms: PhantomDataset,
}

impl Tree {
    fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), phantoms: PhantomDataset::new(PhantomDatasetConfig::new(IMAGES, 32, 7)).unwrap() }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn png(&self, at: usize) -> Vec<u8> {
        encode_png(&self.phantoms.image(at))
    }

    fn samples(&self, at: usize) -> Vec<u8> {
        match self.phantoms.image(at).depth() {
            roentgen_augment::image::GrayDepth::U8(samples) => samples.to_vec(),
            roentgen_augment::image::GrayDepth::U16(samples) => samples.iter().map(|sample| (sample >> 8) as u8).collect(),
        }
    }

    fn jpeg(&self, at: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.encode(&self.samples(at), 32, 32, image::ExtendedColorType::L8).unwrap();
        bytes
    }

    /// An uncompressed DICOM file, in explicit little endian.
    fn dicom(&self, at: usize) -> Vec<u8> {
        let short = |group: u16, element: u16, kind: &str, value: &[u8]| {
            let mut bytes = [group.to_le_bytes(), element.to_le_bytes()].concat();
            bytes.extend(kind.as_bytes());
            bytes.extend((value.len() as u16).to_le_bytes());
            bytes.extend(value);
            bytes
        };
        let number = |element: u16, value: u16| short(0x0028, element, "US", &value.to_le_bytes());
        let uid = |text: &str| format!("{text}{}", if text.len() % 2 == 1 { "\0" } else { "" }).into_bytes();
        let meta = [
            short(2, 2, "UI", &uid("1.2.840.10008.5.1.4.1.1.1.1")),
            short(2, 3, "UI", &uid(&format!("1.2.3.{at}"))),
            short(2, 0x10, "UI", &uid("1.2.840.10008.1.2.1")),
        ]
        .concat();
        let samples = self.samples(at);
        let mut pixels = [0x7FE0u16.to_le_bytes(), 0x0010u16.to_le_bytes()].concat();
        pixels.extend(b"OB\0\0");
        pixels.extend((samples.len() as u32).to_le_bytes());
        pixels.extend(&samples);
        [
            vec![0; 128],
            b"DICM".to_vec(),
            short(2, 0, "UL", &(meta.len() as u32).to_le_bytes()),
            meta,
            short(8, 0x16, "UI", &uid("1.2.840.10008.5.1.4.1.1.1.1")),
            number(0x0002, 1),
            short(0x0028, 0x0004, "CS", b"MONOCHROME2 "),
            number(0x0010, 32),
            number(0x0011, 32),
            number(0x0100, 8),
            number(0x0101, 8),
            number(0x0102, 7),
            number(0x0103, 0),
            pixels,
        ]
        .concat()
    }
}

/// Whether an image shows an effusion.
fn has_effusion(at: usize) -> bool {
    at % 2 == 1
}

/// The official split of an image, in the words of most sets.
fn split(at: usize) -> &'static str {
    ["train", "train", "valid", "valid", "test", "test"][at % 6]
}

/// Lines of a table, the header first.
fn lines(header: &str, row: impl Fn(usize) -> String) -> String {
    (0..IMAGES).fold(format!("{header}\n"), |table, at| table + &row(at) + "\n")
}

/// CheXpert's label columns with only the effusion known.
fn chexpert_labels(at: usize, order: &[&str]) -> String {
    let cell = |name: &&str| if *name == "Pleural Effusion" { ["0.0", "1.0"][at % 2] } else { "" };
    order.iter().map(cell).collect::<Vec<_>>().join(",")
}

fn chexpert_names() -> [&'static str; 14] {
    CHEXPERT_14.map(|name| if name == "Effusion" { "Pleural Effusion" } else { name })
}

fn mimic(tree: &Tree) {
    let mut names = chexpert_names();
    names.sort_unstable();
    let study = |at: usize| (10_000_000 + at, 50_000_000 + at, format!("{at:08x}-{at:08x}"));
    let labels = lines(&format!("subject_id,study_id,{}", names.join(",")), |at| {
        format!("{},{},{}", study(at).0, study(at).1, chexpert_labels(at, &names))
    });
    let metadata = lines("dicom_id,subject_id,study_id,ViewPosition,Rows,Columns,StudyDate,StudyTime", |at| {
        format!("{},{},{},PA,32,32,21800506,90501.0", study(at).2, study(at).0, study(at).1)
    });
    let splits = lines("dicom_id,study_id,subject_id,split", |at| {
        let part = split(at).replace("valid", "validate");
        format!("{},{},{},{part}", study(at).2, study(at).1, study(at).0)
    });
    for (name, table) in [("chexpert", labels), ("metadata", metadata), ("split", splits)] {
        tree.write(&format!("mimic-cxr-2.0.0-{name}.csv"), table);
    }
    for at in 0..IMAGES {
        let (subject, study, dicom) = study(at);
        tree.write(&format!("files/p10/p{subject}/s{study}/{dicom}.jpg"), tree.jpeg(at));
    }
}

fn chexpert(tree: &Tree) {
    let names = chexpert_names();
    let path = |at: usize, part: &str| format!("CheXpert-v1.0-small/{part}/patient{at:05}/study1/view1_frontal.jpg");
    let header = format!("Path,Sex,Age,Frontal/Lateral,AP/PA,{}", names.join(","));
    for (table, part) in [("train.csv", "train"), ("valid.csv", "valid")] {
        let rows = (0..IMAGES).filter(|at| (at % 4 < 2) == (part == "train"));
        let rows = rows.map(|at| {
            tree.write(&path(at, part), tree.jpeg(at));
            format!("{},Female,{},Frontal,AP,{}\n", path(at, part), 30 + at, chexpert_labels(at, &names))
        });
        let rows: String = rows.collect();
        tree.write(&format!("CheXpert-v1.0-small/{table}"), format!("{header}\n{rows}"));
    }
}

fn chexpert_plus(tree: &Tree) {
    let names = chexpert_names();
    let path = |at: usize| format!("train/patient{at:05}/study1/view1_frontal");
    let header = "path_to_image,frontal_lateral,ap_pa,deid_patient_id,patient_report_date_order,age,sex,race,split,section_findings,\
                  section_impression";
    let plus = lines(header, |at| {
        let said = ["No effusion.", "Small effusion."][at % 2];
        format!("{}.jpg,Frontal,PA,patient{at:05},1,60,Male,White,train,Lungs.,{said}", path(at))
    });
    tree.write("df_chexpert_plus_240401.csv", plus);
    let labels = lines(&format!("Path,Sex,Age,Frontal/Lateral,AP/PA,{}", names.join(",")), |at| {
        tree.write(&format!("PNG/{}.png", path(at)), tree.png(at));
        format!("CheXpert-v1.0/{}.jpg,Male,60,Frontal,PA,{}", path(at), chexpert_labels(at, &names))
    });
    tree.write("train.csv", labels);
}

fn padchest(tree: &Tree) {
    let header = ",ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Labels,Report";
    let table = lines(header, |at| {
        tree.write(&format!("0/{at:06}.png"), tree.png(at));
        let labels = ["['normal']", "['pleural effusion']"][at % 2];
        format!("{at},{at:06}.png,0,20140915,{at},1950.0,F,PA,{labels},texto")
    });
    tree.write("PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", table);
}

fn openi(tree: &Tree) {
    for at in 0..IMAGES {
        let (id, term) = (at + 1, ["normal", "Pleural Effusion/left"][at % 2]);
        tree.write(
            &format!("ecgen-radiology/{id}.xml"),
            format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<eCitation><uId id=\"CXR{id}\"/><Abstract><AbstractText \
                 Label=\"IMPRESSION\">XXXX.</AbstractText></Abstract><MeSH><major>{term}</major></MeSH><parentImage \
                 id=\"CXR{id}_IM-0001-1001\"/></eCitation>"
            ),
        );
        tree.write(&format!("NLMCXR_png/CXR{id}_IM-0001-1001.png"), tree.png(at));
    }
}

fn tuberculosis(tree: &Tree) {
    for at in 0..IMAGES {
        let name = format!("MCUCXR_{at:04}_{}", at % 2);
        tree.write(&format!("MontgomerySet/CXR_png/{name}.png"), tree.png(at));
        let reading = format!("Patient's Sex: F \nPatient's Age: 0{}Y\nnormal\n", 30 + at);
        tree.write(&format!("MontgomerySet/ClinicalReadings/{name}.txt"), reading);
    }
}

fn vindr(tree: &Tree) {
    let header = "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max";
    let table = lines(header, |at| {
        tree.write(&format!("train/{at:032x}.dicom"), tree.dicom(at));
        let row = |reader: usize| match has_effusion(at) {
            true => format!("{at:032x},Pleural effusion,10,R{reader},1.0,1.0,9.0,9.0"),
            false => format!("{at:032x},No finding,14,R{reader},,,,"),
        };
        [8, 9, 10].map(row).join("\n")
    });
    tree.write("train.csv", table);
}

fn rsna(tree: &Tree) {
    let table = lines("patientId,x,y,width,height,Target", |at| {
        tree.write(&format!("stage_2_train_images/{at:08x}.dcm"), tree.dicom(at));
        if has_effusion(at) { format!("{at:08x},2.0,2.0,9.0,9.0,1") } else { format!("{at:08x},,,,,0") }
    });
    tree.write("stage_2_train_labels.csv", table);
}

fn siim(tree: &Tree) {
    let table = lines("ImageId, EncodedPixels", |at| {
        tree.write(&format!("dicom-images-train/1.{at}/2.{at}/1.2.276.{at}.dcm"), tree.dicom(at));
        format!("1.2.276.{at},{}", ["-1", "100 2 30 8"][at % 2])
    });
    tree.write("train-rle.csv", table);
}

fn brax(tree: &Tree) {
    let names = chexpert_names();
    let header = format!(
        ",DicomPath,PngPath,PatientID,PatientSex,PatientAge,AccessionNumber,StudyDate,{},ViewPosition,Rows,Columns,Manufacturer",
        names.join(",")
    );
    let table = lines(&header, |at| {
        let path = format!("images/id_{at}/Study_1/Series_1/image-1.png");
        tree.write(&path, tree.png(at));
        let labels = chexpert_labels(at, &names);
        format!("{at},Anonymized_DICOMs/x{at}.dcm,{path},{at},M,65,7,20200102,{labels},PA,32,32,2")
    });
    tree.write("master_spreadsheet_update.csv", table);
}

fn nih(tree: &Tree) {
    let header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,\
                  OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]";
    let table = lines(header, |at| {
        tree.write(&format!("images_001/images/{at:08}_000.png"), tree.png(at));
        format!("{at:08}_000.png,{},0,{at},57,M,PA,32,32,0.143,0.143", ["No Finding", "Effusion"][at % 2])
    });
    tree.write("Data_Entry_2017_v2020.csv", table);
}

fn nih_subset(tree: &Tree) {
    let table = lines(&format!("image,patient_id,{},split", NIH_14.join(",")), |at| {
        tree.write(&format!("{at}.png"), tree.png(at));
        let labels = NIH_14.map(|name| if name == "Effusion" && has_effusion(at) { "1" } else { "0" }).join(",");
        format!("{at}.png,{at},{labels},{}", split(at))
    });
    tree.write("labels.csv", table);
}

/// PneumoniaMNIST's arrays in a zip file without compression.
fn medmnist(tree: &Tree) {
    let array = |shape: &str, bytes: &[u8]| {
        let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({shape}), }}");
        let header = format!("{header:<117}\n");
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
    };
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (prefix, word) in [("train", "train"), ("val", "valid"), ("test", "test")] {
        let of_split: Vec<usize> = (0..IMAGES).filter(|&at| split(at) == word).collect();
        let images: Vec<u8> = of_split.iter().flat_map(|&at| tree.samples(at)).collect();
        let labels: Vec<u8> = of_split.iter().map(|&at| u8::from(has_effusion(at))).collect();
        for (name, shape, bytes) in
            [("images", format!("{}, 32, 32", of_split.len()), images), ("labels", format!("{}, 1", of_split.len()), labels)]
        {
            archive.start_file(format!("{prefix}_{name}.npy"), options).unwrap();
            archive.write_all(&array(&shape, &bytes)).unwrap();
        }
    }
    tree.write("pneumoniamnist.npz", archive.finish().unwrap().into_inner());
}

fn table(tree: &Tree) {
    let table = lines("image,patient_id,Effusion,Mass", |at| {
        tree.write(&format!("{at}.png"), tree.png(at));
        format!("{at}.png,{at},{},{}", at % 2, at / 2 % 2)
    });
    tree.write("labels.csv", table);
}

fn class_folders(tree: &Tree) {
    for at in 0..IMAGES {
        let folder = split(at).replace("valid", "val");
        tree.write(&format!("{folder}/{}/{at}.png", ["NORMAL", "Effusion"][at % 2]), tree.png(at));
    }
}

fn imagefolder(tree: &Tree) {
    let table = lines("file_name,patient_id,Effusion", |at| {
        tree.write(&format!("{at}.png"), tree.png(at));
        format!("{at}.png,{at},{}", at % 2)
    });
    tree.write("metadata.csv", table);
}

fn webdataset(tree: &Tree) {
    for word in ["train", "valid", "test"] {
        let mut archive = tar::Builder::new(Vec::new());
        for at in (0..IMAGES).filter(|&at| split(at) == word) {
            let json = serde_json::json!({ "patient_id": at.to_string(), "Effusion": at % 2 }).to_string();
            for (extension, bytes) in [("png", tree.png(at)), ("json", json.into_bytes())] {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                archive.append_data(&mut header, format!("{at:06}.{extension}"), bytes.as_slice()).unwrap();
            }
        }
        tree.write(&format!("{word}-000000.tar"), archive.into_inner().unwrap());
    }
}

fn parquet_files(tree: &Tree) {
    let schema = "message m { optional group image { optional binary bytes; optional binary path (UTF8); } \
                  optional binary patient_id (UTF8); optional int64 Effusion; }";
    for (word, part) in [("train", "train"), ("valid", "validation"), ("test", "test")] {
        let rows: Vec<usize> = (0..IMAGES).filter(|&at| split(at) == word).collect();
        let path = tree.root.join(format!("{part}-00000-of-00001.parquet"));
        fs::create_dir_all(&tree.root).unwrap();
        let file = fs::File::create(path).unwrap();
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(file, Arc::new(parse_message_type(schema).unwrap()), properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let texts = [
            rows.iter().map(|&at| ByteArray::from(tree.png(at))).collect::<Vec<_>>(),
            rows.iter().map(|&at| ByteArray::from(format!("{at}.png").as_str())).collect(),
            rows.iter().map(|&at| ByteArray::from(at.to_string().as_str())).collect(),
        ];
        for (values, level) in texts.iter().zip([2, 2, 1]) {
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(values, Some(&vec![level; rows.len()]), None).unwrap();
            column.close().unwrap();
        }
        let labels: Vec<i64> = rows.iter().map(|&at| (at % 2) as i64).collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
    }
}

/// What follows `[data]`.
const STUDY: &str = r#"
[preprocess]
size = 32
[network]
architecture = "small"
[training]
steps = 2
batch_size = 4
eval_every = 2
[generator]
kind = "phantom"
[[arms]]
name = "real"
[[arms]]
name = "mixed"
mode = { add = { synthetic_per_real = 0.5 } }
"#;

#[test]
fn every_layout_becomes_a_study() {
    for Layout { name, place, write } in LAYOUTS {
        let study = Study::new();
        write(&Tree::new(&study.path("tree")));
        let place = format!("tree/{place}");
        let place = place.trim_end_matches('/');
        let output = study.roentgen(&["data", "summary", place, "--json"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{name}: {said}");
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(summary["guess"]["format"], *name, "{name}");
        assert_eq!(summary["images"], IMAGES, "{name}: {said}");
        let data = summary["guess"]["data"].as_str().unwrap();
        fs::write(study.path("study.toml"), format!("seeds = [1]\n{data}{STUDY}")).unwrap();
        let output = study.roentgen(&["data", "check", "study.toml"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let report = succeeds(&study.roentgen(&["compare", "study.toml", "--out", "run", "--device", "cpu", "--json"]));
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert!(report.to_string().contains("mixed"), "{name}");
        assert!(study.path("run/report.html").is_file(), "{name}");
    }
}

#[test]
fn no_layout_is_left_out() {
    for format in FORMATS.iter() {
        let is_listed = LAYOUTS.iter().any(|layout| layout.name == format.name);
        let is_excused = NO_STUDY.iter().any(|(name, _)| *name == format.name);
        assert!(is_listed != is_excused, "{}", format.name);
    }
}
