//! The tuberculosis sets of the National Library of Medicine, Montgomery County and Shenzhen (Jaeger et al., Quantitative Imaging in Medicine and
//! Surgery 2014).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use super::rows::{ANY_SEX, Gathered};
use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::cells::AGE;
use crate::formats::guess::Sighting;
use crate::formats::registry::{self, DataSource};
use crate::record::{CxrRecord, Finding, Label, PatientId, Sex, View, Vocabulary};

const IMAGES: &str = "CXR_png";
const READINGS: &str = "ClinicalReadings";
/// Most bytes of a reading.
const MAX_READING: u64 = 1 << 16;

/// Why a folder is one of them.
pub(in crate::formats) fn looks_like(seen: &Sighting) -> Option<String> {
    let is_of = |name: &String| ["CHNCXR_", "MCUCXR_"].iter().any(|prefix| name.starts_with(prefix));
    let here = seen.folders().iter().any(|(name, files)| name == IMAGES && files.iter().any(is_of));
    let sets = [
        "ChinaSet_AllFiles",
        "Shenzhen-Hospital-CXR-Set",
        "MontgomerySet",
        "Montgomery-County-CXR-Set",
        "NLM-MontgomeryCXRSet",
    ];
    let below = seen.folders().iter().find(|(name, _)| sets.contains(&name.as_str()));
    let name = if here { Some(IMAGES) } else { below.map(|(name, _)| name.as_str()) };
    name.map(|name| format!("it holds {name} of the tuberculosis sets of Montgomery County and Shenzhen"))
}

/// Reads the images in `CXR_png` of the folder or of the folders in it, so that both sets can be read as one.
///
/// The last digit of a file's name is 1 if the image shows tuberculosis, else 0. Sex, age and the reading are those of `ClinicalReadings`; an image
/// is that of a patient of its own unless its reading names another image of the same one. All views are PA.
pub(in crate::formats) fn read(source: &DataSource) -> Result<CxrDataset, AugmentError> {
    let root = registry::folder(source)?;
    let sets = sets(&root)?;
    let mut rows = Gathered::new(&root, source.missing)?;
    let (mut unread, mut images) = (0, 0u64);
    for set in &sets {
        for (name, path) in entries(&set.join(IMAGES), "png")? {
            images += 1;
            let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
            let label = match stem.rsplit('_').next() {
                Some("0") if stem.contains('_') => Label::Negative,
                Some("1") if stem.contains('_') => Label::Positive,
                _ => {
                    let expected = "a name that ends in _0 (normal) or _1 (tuberculosis)".to_owned();
                    return Err(AugmentError::BadLayout { path, found: format!("an image called {name}"), expected });
                }
            };
            let reading = Reading::of(&set.join(READINGS).join(format!("{stem}.txt")))?;
            unread += usize::from(reading.sex.is_none() && reading.age.is_none());
            let patient = reading.same_as.as_deref().unwrap_or(stem);
            let below = path.strip_prefix(&root).unwrap_or(&path);
            let id = below.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
            let mut record = CxrRecord::real(id.clone(), Some(PatientId::new(without_label(patient))), vec![label]);
            (record.sex, record.age, record.report, record.view) = (reading.sex, reading.age, reading.text, Some(View::Pa));
            rows.add((&root, images), &id, record)?;
        }
    }
    let path = root.display();
    rows.note(
        (unread > 0)
            .then(|| format!("{path}: {unread} of {images} images have no reading in {READINGS} that tells sex or age")),
    );
    rows.dataset(&root, Vocabulary::new([Finding::custom("Tuberculosis")])?)
}

/// The folder itself, or those in it, that have images.
fn sets(root: &Path) -> Result<Vec<PathBuf>, AugmentError> {
    let has_images = |folder: &Path| folder.join(IMAGES).is_dir();
    if has_images(root) {
        return Ok(vec![root.to_owned()]);
    }
    let failed = |source| AugmentError::Io { action: "list", path: root.to_owned(), source };
    let mut sets = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if has_images(&path) {
            sets.push(path);
        }
    }
    sets.sort();
    let found = format!("there is no folder {IMAGES}, neither in it nor in a folder in it");
    let expected = format!("{IMAGES} and {READINGS} of ChinaSet_AllFiles or MontgomerySet");
    let none = || AugmentError::BadLayout { path: root.to_owned(), found, expected };
    if sets.is_empty() { Err(none()) } else { Ok(sets) }
}

/// `CHNCXR_0001` of `CHNCXR_0001_0`.
fn without_label(stem: &str) -> &str {
    stem.rsplit_once('_').map_or(stem, |(image, _)| image)
}

/// Files in `folder` of that ending by name, in order.
fn entries(folder: &Path, extension: &str) -> Result<BTreeMap<String, PathBuf>, AugmentError> {
    let failed = |source| AugmentError::Io { action: "list", path: folder.to_owned(), source };
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)) && !name.starts_with('.') {
            found.insert(name, path);
        }
    }
    Ok(found)
}

/// What a reading tells.
#[derive(Debug, Default, PartialEq)]
struct Reading {
    sex: Option<Sex>,
    age: Option<f32>,
    text: Option<String>,
    /// Another image of the same patient.
    same_as: Option<String>,
}

/// `male 45yrs`, `Female, 28yrs`, `femal 32yrs`, `male 16month`, `female 64days`: how the first lines of Shenzhen's readings are written.
static FIRST: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)^\s*(male|femal\w*)\b[\s,]*(?:(\d{1,3})\s*(y|mo|w|d)\w*)?[\s,.]*$").expect("the pattern is well-formed")
});
/// `NO REPORT (same pt as MCUCXR_0162_1)`
static SAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?i)same p\w* as (\w+)").expect("the pattern is well-formed"));

impl Reading {
    /// The reading in that file; nothing if there is none.
    fn of(path: &Path) -> Result<Self, AugmentError> {
        let mut bytes = Vec::new();
        match File::open(path).and_then(|file| file.take(MAX_READING).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Self::parse(&String::from_utf8_lossy(&bytes))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(AugmentError::Io { action: "read", path: path.to_owned(), source }),
        }
    }

    /// A reading of either set. What is not written so is text.
    fn parse(text: &str) -> Self {
        let mut reading = Self::default();
        let mut rest = Vec::new();
        for line in text
            .lines()
            .map(|line| line.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}'))
            .filter(|line| !line.is_empty())
        {
            let named = line.split_once(':').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()));
            match &named {
                Some((name, value)) if name == "patient's sex" => reading.sex = ANY_SEX.1(value).flatten(),
                Some((name, value)) if name == "patient's age" => reading.age = AGE.1(value),
                _ => match FIRST.captures(line).filter(|_| rest.is_empty() && reading.sex.is_none()) {
                    Some(first) => {
                        reading.sex = Some(if first[1].eq_ignore_ascii_case("male") { Sex::Male } else { Sex::Female });
                        let age = first.get(2).zip(first.get(3));
                        let age = age.map(|(number, unit)| format!("{}{}", number.as_str(), unit.as_str()[..1].to_uppercase()));
                        reading.age = age.and_then(|age| AGE.1(&age));
                    }
                    None => rest.push(line),
                },
            }
        }
        let text = rest.join("\n");
        reading.same_as = SAME.captures(&text).map(|same| same[1].to_owned());
        reading.text = Some(text).filter(|text| !text.is_empty() && reading.same_as.is_none());
        reading
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::published::testing::Tree;

    fn tree() -> Tree {
        let tree = Tree::new();
        for (set, name, reading) in [
            ("ChinaSet_AllFiles", "CHNCXR_0001_0", Some("male 45yrs\r\nnormal\r\n")),
            ("ChinaSet_AllFiles", "CHNCXR_0330_1", Some("Female, 28yrs\nSTB\nright upper")),
            ("MontgomerySet", "MCUCXR_0001_0", Some("Patient's Sex: F \nPatient's Age: 027Y\nnormal\n")),
            ("MontgomerySet", "MCUCXR_0162_1", Some("Patient's Sex: M\nPatient's Age: 049Y\nCavity.")),
            (
                "MontgomerySet",
                "MCUCXR_0166_1",
                Some("Patient's Sex: M\nPatient's Age: 049Y\nNO REPORT (same pt as MCUCXR_0162_1)"),
            ),
            ("MontgomerySet", "MCUCXR_0170_1", None),
        ] {
            tree.image(&format!("sets/{set}/CXR_png/{name}.png"));
            if let Some(reading) = reading {
                tree.write(&format!("sets/{set}/ClinicalReadings/{name}.txt"), reading);
            }
            tree.write(&format!("sets/{set}/CXR_png/Thumbs.db"), "");
        }
        // No radiographs.
        tree.image("sets/MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png");
        tree
    }

    #[test]
    fn names_are_labels_and_readings_are_read() {
        let tree = tree();
        let data = tree.read("tuberculosis", "sets").unwrap();
        let labels: Vec<_> = data.rows().iter().map(|row| row.record.labels[0]).collect();
        use Label::{Negative as N, Positive as P};
        assert_eq!(labels, [N, P, N, P, P, P]);
        let of = |at: usize| (data.record(at).sex, data.record(at).age, data.record(at).report.as_deref());
        assert_eq!(of(0), (Some(Sex::Male), Some(45.0), Some("normal")));
        assert_eq!(of(1), (Some(Sex::Female), Some(28.0), Some("STB\nright upper")));
        assert_eq!(of(2), (Some(Sex::Female), Some(27.0), Some("normal")));
        assert_eq!((of(4).2, of(5)), (None, (None, None, None)));
        let patients: Vec<_> = data.rows().iter().map(|row| row.record.patient_id.as_ref().unwrap().as_str()).collect();
        assert_eq!(patients, ["CHNCXR_0001", "CHNCXR_0330", "MCUCXR_0001", "MCUCXR_0162", "MCUCXR_0162", "MCUCXR_0170"]);
        assert!(data.notes().iter().any(|note| note.contains("1 of 6 images have no reading")), "{:?}", data.notes());
        assert_eq!(data.record(3).id, "MontgomerySet/CXR_png/MCUCXR_0162_1.png");
        assert_eq!(tree.read("tuberculosis", "sets/MontgomerySet").unwrap().rows().len(), 4);
        assert_eq!([tree.guess("sets"), tree.guess("sets/ChinaSet_AllFiles")], ["tuberculosis"; 2]);
    }

    #[test]
    fn readings_are_read_as_they_are_written() {
        let read = |text: &str| (Reading::parse(text).sex, Reading::parse(text).age);
        let (male, female) = (Some(Sex::Male), Some(Sex::Female));
        for (text, sex, age) in [
            ("male 45yrs\nnormal", male, Some(45.0)),
            ("femal 32yrs", female, Some(32.0)),
            ("male 16month\nnormal", male, Some(16.0 / 12.0)),
            ("female 64days\nnormal", female, Some(64.0 / 365.25)),
            ("\u{feff}Male , 31 yrs.", male, Some(31.0)),
            ("female\nnormal", female, None),
            ("Patient's Sex: O \nPatient's Age: 005Y\nnormal", None, Some(5.0)),
            // A sentence is no first line.
            ("male nurse, 45 yrs of smoke", None, None),
            ("normal\nmale 45yrs", None, None),
            ("", None, None),
        ] {
            assert_eq!(read(text), (sex, age), "{text}");
        }
    }

    #[test]
    fn faults_are_named() {
        let tree = tree();
        assert!(tree.read("tuberculosis", "").unwrap_err().contains("there is no folder CXR_png"));
        tree.image("sets/MontgomerySet/CXR_png/MCUCXR_0400.png");
        let error = tree.read("tuberculosis", "sets").unwrap_err();
        assert!(error.contains("an image called MCUCXR_0400.png, expected a name that ends in _0"), "{error}");
    }
}
