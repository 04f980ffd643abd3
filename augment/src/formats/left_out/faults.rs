//! Faults of single rows: the first ends the reading, unless every one is to be listed.

use std::path::Path;

use crate::AugmentError;
use crate::dataset::CxrDataset;
use crate::formats::sheet::Sheet;
use crate::formats::{FolderError, MissingImages, TableError};

/// More than this many are not listed: the table is another one than was meant.
const MOST: usize = 10_000;

/// Where one fault is that of many rows, so many are listed, and the others counted.
const FEW: usize = 3;

/// Collects the faults of rows where a check asks for all of them.
#[derive(Debug)]
pub(in crate::formats) struct RowFaults {
    all: bool,
    found: Vec<AugmentError>,
    /// Names of images in the folder itself where others are below it.
    scattered: usize,
    /// Faults that are not listed, by number.
    counted: Vec<String>,
}

impl RowFaults {
    /// Collects where rows are kept whatever is missing, and ends at the first fault elsewhere.
    pub(in crate::formats) fn new(missing: MissingImages) -> Self {
        Self { all: missing == MissingImages::Keep, found: Vec::new(), scattered: 0, counted: Vec::new() }
    }

    /// Adds the rows that `sheet` left out.
    pub(in crate::formats) fn of_sheet(&mut self, sheet: &Sheet) {
        let (found, more) = sheet.faults();
        self.found.extend(found);
        self.counted.extend(more.into_iter().map(|(count, kind)| counted(&sheet.path, count, kind)));
    }

    /// What was read of a row; `None` for a fault of this row alone that was collected.
    ///
    /// # Errors
    /// Any other fault.
    pub(in crate::formats) fn pass<T>(&mut self, read: Result<T, AugmentError>) -> Result<Option<T>, AugmentError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(AugmentError::Folder(FolderError::ScatteredImages { .. })) if self.all && self.scattered >= FEW => {
                self.scattered += 1;
                Ok(None)
            }
            Err(error) if self.all && self.found.len() < MOST && is_of_one_row(&error) => {
                self.scattered += usize::from(matches!(error, AugmentError::Folder(FolderError::ScatteredImages { .. })));
                self.found.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The data set that `read` makes of the other rows of `table`, with the faults.
    ///
    /// # Errors
    /// The first fault if no row is left; those of `read`.
    pub(in crate::formats) fn with(
        mut self,
        table: &Path,
        read: impl FnOnce() -> Result<CxrDataset, AugmentError>,
    ) -> Result<CxrDataset, AugmentError> {
        if self.scattered > FEW {
            let kind = "more images are in the folder of the images itself, while others are below it";
            self.counted.push(counted(table, self.scattered - FEW, kind));
        }
        let mut found = self.found.into_iter();
        match read() {
            Ok(data) => Ok(data.with_faults(found.map(|fault| fault.to_string()).chain(self.counted))),
            Err(error @ AugmentError::EmptyDataset { .. }) => Err(found.next().unwrap_or(error)),
            Err(error) => Err(error),
        }
    }
}

/// `t.csv: 7 more rows …`
fn counted(table: &Path, count: usize, kind: &str) -> String {
    let kind =
        if count == 1 { kind.replacen("rows have", "row has", 1).replacen("rows are", "row is", 1) } else { kind.to_owned() };
    format!("{}: {count} {kind}", table.display())
}

fn is_of_one_row(error: &AugmentError) -> bool {
    matches!(
        error,
        AugmentError::Table(TableError::BadCell { .. })
            | AugmentError::Folder(FolderError::AmbiguousImage { .. } | FolderError::ScatteredImages { .. })
            | AugmentError::DuplicateImage { .. }
    )
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::formats::{DataSource, FORMATS, Table};
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

    #[test]
    fn rows_that_cannot_be_read_are_counted_with_examples() {
        let rows = "a.png,58,1\nb.png,5,8,1\nb.png\nd.png,58,7\nb.png,,,\nb.png,,,\nb.png,,,\nc.png,58,0\n";
        let table = format!("image,age,Mass\n{rows}");
        let data = read("table", &table, MissingImages::Keep).unwrap();
        let lines: Vec<_> = data.rows().iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 9]);
        let said = ["row 3: 4 cells, expected 3", "row 4: 1 cells", "row 6: 4 cells", "row 5, column `Mass`: found `7`"];
        let faults = data.faults();
        for (fault, said) in faults.iter().zip(said) {
            assert!(fault.contains(said), "{faults:?}");
        }
        assert!(faults[4].ends_with("t.csv: 2 more rows have another number of cells than the header"), "{faults:?}");
        assert_eq!(faults.len(), 5);
        // Training is refused with the first.
        let refused = read("table", &table, MissingImages::Refuse).unwrap_err().to_string();
        assert!(refused.contains(said[0]), "{refused}");
        let no_row_left = read("table", "image,age,Mass\na.png,1\n", MissingImages::Keep).unwrap_err().to_string();
        assert!(no_row_left.contains("row 2: 2 cells"), "{no_row_left}");
    }

    #[test]
    fn a_header_and_cells_that_are_not_text_leave_the_rest_readable() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("t.csv");
        fs::write(&labels, b"image,Mass,caf\xe9,report,\na.png,1,,caf\xe9,\nb.png,0,\xe9,fine,\nc.png,9,,,\nd.png,1,,,x\n")
            .unwrap();
        let format = FORMATS.iter().find(|known| known.name == "table").unwrap();
        let source = DataSource { labels: Some(labels), missing: MissingImages::Keep, ..DataSource::default() };
        let data = format.read(&source).unwrap();
        assert_eq!(data.rows().iter().map(|row| row.record.id.as_str()).collect::<Vec<_>>(), ["b.png"]);
        let said = [
            "row 1, column `caf\u{fffd}`: not UTF-8",
            "row 2, column `report`: not UTF-8",
            "row 5, column `5`: found `x` in a column that has no name",
            "row 4, column `Mass`: found `9`",
        ];
        assert_eq!(data.faults().len(), said.len());
        for (fault, said) in data.faults().iter().zip(said) {
            assert!(fault.contains(said), "{:?}", data.faults());
        }
    }

    #[test]
    fn scattered_images_are_counted_with_examples() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["masks/0", "1", "2", "3", "4", "5"] {
            let path = folder.path().join(format!("{name}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let labels = folder.path().join("t.csv");
        fs::write(&labels, format!("image,Mass\n{}", (0..6).map(|i| format!("{i}.png,1\n")).collect::<String>())).unwrap();
        let data = Table { missing: MissingImages::Keep, ..Table::new(&labels) }.read().unwrap();
        let faults = data.faults();
        assert_eq!((data.rows().len(), faults.len()), (1, 4), "{faults:?}");
        for (fault, said) in faults.iter().zip(["row 3: image `1.png`", "row 4: image `2.png`", "row 5: image `3.png`"]) {
            assert!(fault.contains(said) && fault.contains("one of the two folders may hold no radiographs"), "{faults:?}");
        }
        assert!(faults[3].ends_with("t.csv: 2 more images are in the folder of the images itself, while others are below it"));
    }
}
