//! `ChestMNIST` and `PneumoniaMNIST` (Yang et al., `MedMNIST` v2, Scientific Data 2023).

use std::path::PathBuf;
use std::sync::Arc;

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::formats::TableError;
use crate::formats::npz::{Array, Images, Mark, Npz};
use crate::record::{CxrRecord, Label, Split, Vocabulary};

/// The array of an archive that names its label columns.
const FINDINGS: &str = "findings";

/// A `.npz` in the form of `MedMNIST`: `train_images`, `train_labels`, `val_…`, `test_…`, of any image size.
///
/// Its images come without patients. They were split by patient upstream, so the given split is safe to use and a new one is not.
#[derive(Clone, Debug)]
pub struct MedMnist {
    /// The archive.
    pub path: PathBuf,
    /// What the label columns are, for an archive that doesn't say. Names in an array `findings` of the archive come first; files named
    /// `chestmnist…` and `pneumoniamnist…` are known.
    pub vocabulary: Option<Vocabulary>,
}

impl MedMnist {
    /// Reads the labels; images are read into memory, or one by one where they have more than 512 MiB.
    ///
    /// # Errors
    /// [`AugmentError::Archive`], [`AugmentError::BadArray`], [`TableError::UnnamedLabels`] in [`AugmentError::Table`] if nothing names the
    /// label columns, or [`TableError::BadCell`] for a label other than 1, 0, -1 and NaN.
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let mut npz = Npz::open(&self.path)?;
        let Images { counts, source, note, .. } = npz.images(&["train_images", "val_images", "test_images"])?;
        let (mut rows, mut vocabulary) = (Vec::new(), None);
        for ((prefix, split), count) in
            [("train", Split::Train), ("val", Split::Valid), ("test", Split::Test)].into_iter().zip(counts)
        {
            let labels = format!("{prefix}_labels");
            let marks = npz.labels(&labels)?;
            let width = marks.shape.get(1).copied().unwrap_or(1);
            if !matches!(marks.shape.len(), 1 | 2) || marks.shape[0] != count || width == 0 {
                let expected = format!("labels [{count}, findings]");
                return Err(npz.bad_array(&labels, format!("of shape {:?}", marks.shape), &expected));
            }
            let vocabulary = match &mut vocabulary {
                Some(vocabulary) => &*vocabulary,
                unnamed => unnamed.insert(self.findings(&mut npz, width)?),
            };
            if width != vocabulary.len() {
                let expected = format!("labels [{count}, {}]", vocabulary.len());
                return Err(npz.bad_array(&labels, format!("of shape {:?}", marks.shape), &expected));
            }
            for (index, labels) in self.labels(&labels, &marks, vocabulary)?.into_iter().enumerate() {
                let real = CxrRecord::real(format!("{prefix}_{index:06}"), None, labels);
                let record = CxrRecord { split: Some(split), ..real };
                rows.push(Row { record: Arc::new(record), image: rows.len(), line: index as u64 + 1 });
            }
        }
        let vocabulary = Arc::new(vocabulary.expect("three arrays were read"));
        let data = CxrDataset::new(&self.path.display().to_string(), vocabulary, rows, source)?;
        Ok(note.into_iter().fold(data, CxrDataset::with_note))
    }

    /// What the `width` label columns are.
    fn findings(&self, npz: &mut Npz, width: usize) -> Result<Vocabulary, AugmentError> {
        if npz.contains(FINDINGS) {
            let names = npz.names(FINDINGS)?;
            let expected = format!(
                "{width} different names of findings, those outside the public vocabularies declared in `custom_findings`"
            );
            return match Vocabulary::parse(&names) {
                Ok(vocabulary) if vocabulary.len() == width => Ok(vocabulary),
                _ => Err(npz.bad_array(FINDINGS, format!("{names:?}"), &expected)),
            };
        }
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let known = match width {
            14 if stem.starts_with("chestmnist") => Some(Vocabulary::nih()),
            1 if stem.starts_with("pneumoniamnist") => Some(Vocabulary::parse(["Pneumonia"])?),
            _ => None,
        };
        let given = || self.vocabulary.clone().filter(|vocabulary| vocabulary.len() == width);
        let unnamed = || TableError::UnnamedLabels { path: self.path.clone(), columns: width };
        Ok(known.or_else(given).ok_or_else(unnamed)?)
    }

    fn labels(&self, array: &str, marks: &Array<Mark>, vocabulary: &Vocabulary) -> Result<Vec<Vec<Label>>, AugmentError> {
        let label = |(position, mark): (usize, &Mark)| {
            mark.map_err(|number| TableError::BadCell {
                path: self.path.clone(),
                row: (position / vocabulary.len()) as u64 + 1,
                column: format!("{array}/{}", vocabulary.findings()[position % vocabulary.len()]),
                value: number.to_string(),
                expected: "1, 0, -1 (uncertain) or NaN (blank), one column per finding".to_owned(),
            })
        };
        let labels = marks.values.iter().enumerate().map(label).collect::<Result<Vec<_>, _>>()?;
        Ok(labels.chunks(vocabulary.len()).map(<[_]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{SplitPlan, Splits};
    use crate::formats::npz::tests::{add_names, write_npz};

    /// An archive of that name with so many label columns.
    fn archive(name: &str, columns: u64, last_label: u8, findings: Option<&[&str]>) -> (tempfile::TempDir, MedMnist) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let labels = |n: u64, last: u8| (0..n * columns).map(|i| if i + 1 == n * columns { last } else { 0 }).collect();
        let train = (2..4).flat_map(|_| [1, 2]).collect();
        let mut arrays: Vec<(&str, &[u64], Vec<u8>)> = vec![
            ("train_images", &[2, 1, 2], train),
            ("val_images", &[1, 1, 2], vec![5, 6]),
            ("test_images", &[1, 1, 2], vec![7, 8]),
        ];
        let shapes = [[2, columns], [1, columns], [1, columns]];
        arrays.push(("train_labels", &shapes[0], labels(2, 1)));
        arrays.push(("val_labels", &shapes[1], labels(1, 0)));
        arrays.push(("test_labels", &shapes[2], labels(1, last_label)));
        write_npz(&path, &arrays);
        if let Some(findings) = findings {
            add_names(&path, findings);
        }
        (folder, MedMnist { path, vocabulary: None })
    }

    fn read(name: &str, columns: u64, last_label: u8) -> Result<CxrDataset, String> {
        archive(name, columns, last_label, None).1.read().map_err(|error| error.to_string())
    }

    #[test]
    fn chest_and_pneumonia_are_known_by_name_and_shape() {
        let (_folder, chest) = archive("chestmnist_64.npz", 14, 1, None);
        let chest = chest.read().unwrap();
        assert_eq!(**chest.vocabulary(), Vocabulary::nih());
        assert_eq!(chest.record(1).labels[13], Label::Positive);
        assert_eq!(chest.decode(3).unwrap(), crate::image::GrayImage::from_u8(2, 1, vec![7u8, 8]));
        let (_folder, pneumonia) = archive("PneumoniaMNIST.npz", 1, 0, None);
        let pneumonia = pneumonia.read().unwrap();
        assert_eq!(pneumonia.vocabulary().findings()[0].name(), "Pneumonia");
        let splits = Splits::new(&pneumonia, &SplitPlan::column()).unwrap();
        assert_eq!(splits.unidentified(), 4);
    }

    #[test]
    fn columns_without_names_are_refused_and_the_remedies_work() {
        for (name, columns) in
            [("tuberculosis.npz", 1), ("breastmnist.npz", 1), ("m.npz", 14), ("chestmnist.npz", 3), ("pneumoniamnist.npz", 2)]
        {
            let error = read(name, columns, 0).unwrap_err();
            assert!(error.contains(name) && error.contains(&format!("{columns} column")), "{error}");
            assert!(error.contains("key `findings` of [data]") && error.contains("an array `findings`"), "{error}");
        }
        let vocabulary = Vocabulary::parse(["Effusion", "Mass"]).unwrap();
        let (_folder, unnamed) = archive("m.npz", 2, 1, None);
        let named = MedMnist { vocabulary: Some(vocabulary.clone()), ..unnamed.clone() }.read().unwrap();
        assert_eq!(**named.vocabulary(), vocabulary);
        // As many names as columns.
        let fewer = MedMnist { vocabulary: Some(Vocabulary::parse(["Mass"]).unwrap()), ..unnamed };
        assert!(fewer.read().unwrap_err().to_string().contains("2 columns"));
        let (_folder, naming) = archive("m.npz", 2, 1, Some(&["Pleural Effusion", "Mass"]));
        assert_eq!(**naming.read().unwrap().vocabulary(), vocabulary);
        // What the archive says comes before what its name lets one think.
        let (_folder, renamed) = archive("pneumoniamnist.npz", 1, 1, Some(&["Mass"]));
        assert_eq!(renamed.read().unwrap().vocabulary().findings()[0].name(), "Mass");
        for names in [&["Mass"][..], &["Mass", "Mass"], &["Mass", "Mas"]] {
            let error = archive("m.npz", 2, 1, Some(names)).1.read().unwrap_err().to_string();
            assert!(error.contains("array `findings`") && error.contains("custom_findings"), "{error}");
        }
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
        let path = folder.path().join("pneumoniamnist.npz");
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
        let seven = read("chestmnist.npz", 14, 7).unwrap_err();
        assert!(seven.contains("row 1, column `test_labels/Hernia`: found `7`, expected 1, 0, -1"), "{seven}");
    }
}
