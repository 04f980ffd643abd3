//! `ChestMNIST` and `PneumoniaMNIST` (Yang et al., `MedMNIST` v2, Scientific Data 2023).

use std::path::PathBuf;
use std::sync::Arc;

use super::npz::{Array, Npz};
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::TableError;
use crate::image::ImageArray;
use crate::record::{CxrRecord, Details, Label, Origin, Split, Vocabulary};

/// A `MedMNIST` `.npz`: `train_images`, `train_labels`, `val_…`, `test_…`, of any image size.
///
/// Its images come without patients. They were split by patient upstream, so the given split is safe to use and a new one is not.
#[derive(Clone, Debug)]
pub struct MedMnist {
    /// The archive.
    pub path: PathBuf,
    /// What the label columns are. `None` takes 14 columns for NIH's findings in order (`ChestMNIST`) and one for pneumonia
    /// (`PneumoniaMNIST`).
    pub vocabulary: Option<Vocabulary>,
}

impl MedMnist {
    /// Reads the whole archive into memory.
    ///
    /// # Errors
    /// [`AugmentError::Archive`], [`AugmentError::BadArray`], or [`TableError::BadCell`] in [`AugmentError::Table`] for a label other than 0 and 1.
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let mut npz = Npz::open(&self.path)?;
        let mut size = None;
        let (mut samples, mut rows) = (Vec::new(), Vec::new());
        let mut vocabulary = self.vocabulary.clone();
        for (prefix, split) in [("train", Split::Train), ("val", Split::Valid), ("test", Split::Test)] {
            let (images, labels) = (format!("{prefix}_images"), format!("{prefix}_labels"));
            let pictures = npz.images(&images)?;
            let size = *size.get_or_insert((pictures.shape[2], pictures.shape[1]));
            if (pictures.shape[2], pictures.shape[1]) != size {
                let expected = format!("images of {}x{} as in train_images", size.0, size.1);
                return Err(npz.bad_array(&images, format!("of shape {:?}", pictures.shape), &expected));
            }
            let marks = npz.integers(&labels)?;
            let width = marks.shape.get(1).copied().unwrap_or(1);
            let vocabulary = vocabulary.get_or_insert_with(|| match width {
                14 => Vocabulary::nih(),
                _ => Vocabulary::parse(["Pneumonia"]).expect("a known finding"),
            });
            if !matches!(marks.shape.len(), 1 | 2) || marks.shape[0] != pictures.shape[0] || width != vocabulary.len() {
                let expected = format!("labels [{}, {}]", pictures.shape[0], vocabulary.len());
                return Err(npz.bad_array(&labels, format!("of shape {:?}", marks.shape), &expected));
            }
            for (index, labels) in self.labels(&labels, &marks, vocabulary)?.into_iter().enumerate() {
                let record = record(format!("{prefix}_{index:06}"), labels, split);
                rows.push(Row { record: Arc::new(record), image: rows.len(), line: index as u64 + 1 });
            }
            samples.extend_from_slice(&pictures.values);
        }
        let (width, height) = size.expect("three arrays were read");
        let vocabulary = Arc::new(vocabulary.expect("three arrays were read"));
        let name = self.path.display().to_string();
        CxrDataset::new(&name, vocabulary, rows, Arc::new(ImageArray::new(&name, width, height, samples)))
    }

    fn labels(&self, array: &str, marks: &Array<i64>, vocabulary: &Vocabulary) -> Result<Vec<Vec<Label>>, AugmentError> {
        let label = |(position, mark): (usize, &i64)| match mark {
            0 => Ok(Label::Negative),
            1 => Ok(Label::Positive),
            _ => Err(TableError::BadCell {
                path: self.path.clone(),
                row: (position / vocabulary.len()) as u64 + 1,
                column: format!("{array}/{}", vocabulary.findings()[position % vocabulary.len()]),
                value: mark.to_string(),
                expected: "1 or 0".to_owned(),
            }),
        };
        let labels = marks.values.iter().enumerate().map(label).collect::<Result<Vec<_>, _>>()?;
        Ok(labels.chunks(vocabulary.len()).map(<[_]>::to_vec).collect())
    }
}

fn record(id: String, labels: Vec<Label>, split: Split) -> CxrRecord {
    CxrRecord {
        id,
        patient_id: None,
        labels,
        age: None,
        sex: None,
        view: None,
        report: None,
        split: Some(split),
        origin: Origin::Real,
        details: Details::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::npz::tests::write_npz;
    use super::*;
    use crate::dataset::{SplitPlan, Splits};

    fn read(columns: u64, last_label: u8) -> Result<CxrDataset, AugmentError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npz");
        let labels = |n: u64, last: u8| (0..n * columns).map(|i| if i + 1 == n * columns { last } else { 0 }).collect();
        write_npz(
            &path,
            &[
                ("train_images", &[2, 1, 2], vec![1, 2, 3, 4]),
                ("train_labels", &[2, columns], labels(2, 1)),
                ("val_images", &[1, 1, 2], vec![5, 6]),
                ("val_labels", &[1, columns], labels(1, 0)),
                ("test_images", &[1, 1, 2], vec![7, 8]),
                ("test_labels", &[1, columns], labels(1, last_label)),
            ],
        );
        MedMnist { path, vocabulary: None }.read()
    }

    #[test]
    fn chest_and_pneumonia_are_told_apart() {
        let chest = read(14, 1).unwrap();
        assert_eq!(**chest.vocabulary(), Vocabulary::nih());
        assert_eq!(chest.record(1).labels[13], Label::Positive);
        assert_eq!(chest.decode(3).unwrap(), crate::image::GrayImage::from_u8(2, 1, vec![7u8, 8]));
        let pneumonia = read(1, 0).unwrap();
        assert_eq!(pneumonia.vocabulary().findings()[0].name(), "Pneumonia");
        let splits = Splits::new(&pneumonia, &SplitPlan::column()).unwrap();
        assert_eq!(splits.unidentified(), 4);
    }

    #[test]
    fn arrays_of_other_shapes_are_named() {
        let sound: [(&str, &[u64], Vec<u8>); 6] = [
            ("train_images", &[1, 1, 2], vec![1, 2]),
            ("train_labels", &[1, 1], vec![1]),
            ("val_images", &[1, 1, 2], vec![5, 6]),
            ("val_labels", &[1, 1], vec![0]),
            ("test_images", &[1, 1, 2], vec![7, 8]),
            ("test_labels", &[1, 1], vec![0]),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.npz");
        let read = |name: &str, shape: &[u64], values: &[u8]| {
            let changed = sound.iter().map(|entry| match entry.0 == name {
                true => (entry.0, shape, values.to_vec()),
                false => entry.clone(),
            });
            write_npz(&path, &changed.collect::<Vec<_>>());
            MedMnist { path: path.clone(), vocabulary: None }.read().map(|_| ())
        };
        read("", &[], &[]).unwrap();
        // A single number has no dimension; an empty array has one of length 0.
        for (name, shape, values) in [
            ("train_labels", &[][..], &[1][..]),
            ("train_labels", &[1, 0], &[]),
            ("train_labels", &[1, 1, 1], &[1]),
            ("test_labels", &[2, 1], &[0, 1]),
            ("train_images", &[], &[1]),
            ("train_images", &[0, 1, 2], &[]),
            ("train_images", &[1, 0, 2], &[]),
            ("train_images", &[0, 1 << 33, 1], &[]),
            ("val_images", &[1, 2, 1], &[5, 6]),
        ] {
            let error = read(name, shape, values).unwrap_err().to_string();
            assert!(error.contains(&format!("array `{name}` is of shape {shape:?}, expected")), "{error}");
        }
    }

    #[test]
    fn faults_are_named() {
        let seven = read(14, 7).unwrap_err().to_string();
        assert!(seven.contains("row 1, column `test_labels/Hernia`: found `7`, expected 1 or 0"), "{seven}");
        let columns = read(3, 0).unwrap_err().to_string();
        assert!(columns.contains("array `train_labels` is of shape [2, 3], expected labels [2, 1]"), "{columns}");
    }
}
