//! Faults of single rows: the first ends the reading, unless every one is to be listed.

use super::{FolderError, MissingImages, TableError};
use crate::AugmentError;
use crate::dataset::CxrDataset;

/// More than this many are not listed: the table is another one than was meant.
const MOST: usize = 10_000;

/// Collects the faults of rows where a check asks for all of them.
#[derive(Debug)]
pub(super) struct RowFaults {
    all: bool,
    found: Vec<AugmentError>,
}

impl RowFaults {
    /// Collects where rows are kept whatever is missing, and ends at the first fault elsewhere.
    pub(super) fn new(missing: MissingImages) -> Self {
        Self { all: missing == MissingImages::Keep, found: Vec::new() }
    }

    /// What was read of a row; `None` for a fault of this row alone that was collected.
    ///
    /// # Errors
    /// Any other fault.
    pub(super) fn pass<T>(&mut self, read: Result<T, AugmentError>) -> Result<Option<T>, AugmentError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.all && self.found.len() < MOST && is_of_one_row(&error) => {
                self.found.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The data set that `read` makes of the other rows, with the faults.
    ///
    /// # Errors
    /// The first fault if no row is left; those of `read`.
    pub(super) fn with(self, read: impl FnOnce() -> Result<CxrDataset, AugmentError>) -> Result<CxrDataset, AugmentError> {
        let mut found = self.found.into_iter();
        match read() {
            Ok(data) => Ok(data.with_faults(found.map(|fault| fault.to_string()))),
            Err(error @ AugmentError::EmptyDataset { .. }) => Err(found.next().unwrap_or(error)),
            Err(error) => Err(error),
        }
    }
}

fn is_of_one_row(error: &AugmentError) -> bool {
    matches!(
        error,
        AugmentError::Table(TableError::BadCell { .. })
            | AugmentError::Folder(FolderError::AmbiguousImage { .. })
            | AugmentError::DuplicateImage { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::{DataSource, FORMATS};
    use super::*;
    use crate::record::NIH_14;

    /// Reads `text` in the layout of that name, rows without images kept or refused.
    fn read(format: &str, text: &str, missing: MissingImages) -> Result<CxrDataset, AugmentError> {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x/a", "x/b", "x/c", "one/d", "two/d"] {
            let path = folder.path().join(format!("{name}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let labels = folder.path().join("t.csv");
        fs::write(&labels, text).unwrap();
        let format = FORMATS.iter().find(|known| known.name == format).unwrap();
        format.read(&DataSource { labels: Some(labels), missing, ..DataSource::default() })
    }

    #[test]
    fn a_check_lists_the_faults_of_all_rows_and_training_the_first() {
        let nih = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position\n\
                   a.png,Mass,0,1,58,M,PA\nb.png,Mas,0,2,58,M,PA\nd.png,Mass,0,3,58,M,PA\nc.png,Mass,0,4,x,M,PA\n";
        let subset = format!(
            "image,patient_id,age,{1}\na.png,1,58,{0},0\nb.png,2,58,{0},7\nd.png,3,58,{0},0\nc.png,4,x,{0},0\n",
            ["0"; 13].join(","),
            NIH_14.join(",")
        );
        let own = "image,age,Mass\na.png,58,1\nb.png,58,7\nd.png,58,1\nc.png,x,1\n";
        for (format, text) in [("nih", nih), ("nih-subset", subset.as_str()), ("table", own)] {
            let data = read(format, text, MissingImages::Keep).unwrap();
            let faults = data.faults();
            assert_eq!((data.rows().len(), faults.len()), (1, 3), "{format}: {faults:?}");
            for (fault, said) in faults.iter().zip(["row 3", "row 4", "row 5"]) {
                assert!(fault.contains(said), "{format}: {faults:?}");
            }
            assert!(faults[1].contains("d.png"), "{format}: {faults:?}");
            let refused = read(format, text, MissingImages::Refuse).unwrap_err().to_string();
            let name = |said: &str| said[said.find("t.csv").unwrap()..].to_owned();
            assert_eq!(name(&refused), name(&faults[0]), "{format}");
        }
    }

    #[test]
    fn a_table_of_faults_alone_is_refused_with_the_first() {
        let error = read("table", "image,Mass\na.png,7\nb.png,8\n", MissingImages::Keep).unwrap_err().to_string();
        assert!(error.contains("row 2, column `Mass`: found `7`"), "{error}");
    }
}
