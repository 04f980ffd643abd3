//! The project's own table: a CSV with one row per image.

pub(super) mod columns;
mod error;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::columns::Columns;
use super::MissingImages;
use super::folder::ImageFolder;
use super::sheet::{Delimiter, Rows, Sheet};
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::image::ImageFiles;
use crate::record::Finding;

pub use error::TableError;
pub use writer::{TableRow, table_bytes, write_table};

/// A CSV with one row per image.
///
/// | column | holds |
/// |---|---|
/// | `image` | path of the image, relative to the table's folder; the only required column |
/// | `patient_id`, `age`, `sex`, `view`, `split`, `report` | 57 or 057Y; M or F; PA, AP or L; train, valid or test; blank where unknown |
/// | one per finding | 1, 0, -1 (uncertain) or blank (not mentioned) |
/// | `F side`, `F severity` of a finding `F` | left, right or both; mild, moderate or severe; blank where unknown |
/// | `race`, `template` | in the data set's own words; text made by rule, which is not a report |
/// | `origin` | blank or `real`; `synthetic` where the rest tells how the image was made: |
/// | `seed`, `prompt`, `model` | required of synthetic rows |
/// | `source_id`, `fold`, `replica`, `prompt_kind`, `sampler`, `steps`, `guidance`, `gate`, `nearest_real`, `nearest_real_id` | as far as known |
///
/// Any other column is an error unless it is declared.
#[derive(Clone, Debug)]
pub struct Table {
    /// The CSV, or a `.csv.gz`.
    pub path: PathBuf,
    /// Folder that image paths are relative to; `None` for the table's own.
    pub images: Option<PathBuf>,
    /// Columns that are labels outside the public vocabularies.
    pub custom_findings: Vec<String>,
    /// Columns to ignore.
    pub extra_columns: Vec<String>,
    /// The column of reports; `None` for `report`, if there is one.
    pub report: Option<String>,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// What separates the cells; guessed if `None`.
    pub delimiter: Option<Delimiter>,
}

impl Table {
    /// The table at `path`, images beside it, no column declared.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            images: None,
            custom_findings: Vec::new(),
            extra_columns: Vec::new(),
            report: None,
            missing: MissingImages::Refuse,
            delimiter: None,
        }
    }

    /// Reads the table and checks that its images exist; none is opened.
    ///
    /// # Errors
    /// Faults of the table, with row and column; [`AugmentError::MissingImage`]; as [`CxrDataset::new`].
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let mut sheet = Sheet::read(&self.path, Rows::Equal, self.delimiter)?;
        if let Some(report) = &self.report {
            // A `report` column beside it is then found twice, and refused.
            let column = sheet.column(report)?;
            sheet.columns[column] = "report".to_owned();
        }
        let custom: Vec<_> = self.custom_findings.iter().map(|name| Finding::custom(name)).collect();
        let columns = Columns::of(&sheet, &custom, &self.extra_columns)?;
        let root = self.images.clone().or_else(|| self.path.parent().map(Path::to_owned)).unwrap_or_default();
        let mut folder = ImageFolder::open(&root)?;
        let (mut rows, mut paths) = (Vec::new(), Vec::new());
        for line in sheet.lines()? {
            let line = line?;
            let record = columns.record(&sheet, &line)?;
            let Some(path) = folder.locate(&record.id, (&sheet.path, line.number), self.missing)? else { continue };
            rows.push(Row { record: Arc::new(record), image: paths.len(), line: line.number });
            paths.push(path);
        }
        let name = self.path.display().to_string();
        let data = CxrDataset::new(&name, Arc::new(columns.vocabulary()?), rows, Arc::new(ImageFiles::new(paths)))?;
        let notes = sheet.notes(sheet.find("patient_id")).into_iter().chain(folder.notes());
        Ok(notes.fold(data, CxrDataset::with_note))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::dataset::{SplitPlan, Splits};
    use crate::record::Label;

    /// Writes a table and, beside it, the images `a.png` to `d.png`; returns the result of reading it.
    fn read(text: &str, change: impl FnOnce(&mut Table)) -> Result<CxrDataset, String> {
        let folder = tempfile::tempdir().unwrap();
        for (level, name) in ["a", "b", "c", "d"].iter().enumerate() {
            let path = folder.path().join(format!("{name}.png"));
            image::save_buffer(path, &[level as u8], 1, 1, image::ExtendedColorType::L8).unwrap();
        }
        let mut table = Table::new(folder.path().join("t.csv"));
        fs::write(&table.path, text).unwrap();
        change(&mut table);
        table.read().map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    fn message(text: &str) -> String {
        read(text, |_| ()).unwrap_err()
    }

    #[test]
    fn findings_are_columns_under_any_alias() {
        let data = read("image,Pleural Effusion,split,Mass\na.png,1,train,-1\nb.png,0,test,\n", |_| ()).unwrap();
        assert_eq!(data.vocabulary().findings().iter().map(|f| f.name()).collect::<Vec<_>>(), ["Effusion", "Mass"]);
        assert_eq!(data.record(0).labels, [Label::Positive, Label::Uncertain]);
        assert_eq!(data.record(1).labels, [Label::Negative, Label::Missing]);
    }

    #[test]
    fn every_fault_names_file_row_and_cell() {
        assert_eq!(
            message("image,Mass\na.png,1\nb.png,7\n"),
            "t.csv, row 3, column `Mass`: found `7`, expected 1, 0, -1 (uncertain) or blank"
        );
        assert_eq!(
            message("image,Mass\na.png,1\na.png,0\n"),
            "t.csv: image `a.png` is in row 3 and in row 2; keep one of them"
        );
        assert_eq!(message("picture,Mass\na.png,1\n"), "t.csv: no column `image`; the columns are `picture`, `Mass`");
        assert!(message("image,Mass\nx.png,1\n").starts_with("t.csv, row 2: image `x.png` is not under"));
        assert!(
            message("image,Mas\na.png,1\n")
                .contains("column `Mas` is neither a field of the table nor a known finding (nearest: `Mass`)")
        );
        assert_eq!(
            message("image,Effusion,Pleural Effusion\na.png,1,1\n"),
            "t.csv: column `Pleural Effusion` means the same as column `Effusion`; keep one of them"
        );
        assert!(message("image,age\na.png,1\n").starts_with("t.csv: no column is a finding"));
        assert_eq!(message("image,Mass\n"), "t.csv has no rows; check the path and the filters");
    }

    #[test]
    fn declared_columns_are_taken() {
        let text = "image,Scoliosis of Mine,scanner\na.png,1,left room\n";
        let declared = read(text, |table| {
            table.custom_findings = vec!["Scoliosis of Mine".to_owned()];
            table.extra_columns = vec!["scanner".to_owned()];
        });
        assert_eq!(declared.unwrap().vocabulary().findings()[0].name(), "Scoliosis of Mine");
    }

    #[test]
    fn another_column_can_hold_the_reports() {
        let impression = |table: &mut Table| table.report = Some("impression".to_owned());
        let data = read("image,Mass,impression\na.png,1,A mass.\n", impression).unwrap();
        assert_eq!(data.record(0).report.as_deref(), Some("A mass."));
        assert!(read("image,Mass,text\na.png,1,x\n", impression).unwrap_err().contains("no column `impression`"));
        assert!(read("image,Mass,report,impression\na.png,1,x,y\n", impression).unwrap_err().contains("`report`"));
    }

    #[test]
    fn sides_and_severities_are_columns() {
        let data = read("image,Effusion,Pleural Effusion side,Effusion severity\na.png,1,bilateral,Mild\nb.png,0,,\n", |_| ())
            .unwrap();
        let detail = data.record(0).details.findings[0];
        assert_eq!(
            (detail.side, detail.severity),
            (Some(crate::record::Laterality::Both), Some(crate::record::Severity::Mild))
        );
        assert!(data.record(1).details.findings.is_empty());
        assert!(message("image,Mass,Mass side\na.png,1,upper\n").contains("left, right or both"));
        assert!(message("image,Mass,Mas side\na.png,1,left\n").contains("`Mas"));
    }

    #[test]
    fn synthetic_rows_never_judge() {
        let header =
            "image,patient_id,split,origin,source_id,seed,prompt,model,Mass\na.png,1,train,,,,,,1\nb.png,2,valid,real,,,,,0";
        let with = |split| format!("{header}\nc.png,1,{split},synthetic,a.png,5,A mass.,phantom,1\nd.png,3,test,,,,,,0\n");
        let data = read(&with("train"), |_| ()).unwrap();
        assert!(data.record(2).origin.is_synthetic());
        assert!(Splits::new(&data, &SplitPlan::column()).is_ok());
        let judged = Splits::new(&read(&with("test"), |_| ()).unwrap(), &SplitPlan::column()).unwrap_err().to_string();
        assert!(judged.contains("row 4 (`c.png`): a synthetic image can't be in the test split"), "{judged}");
        let unmade = message("image,origin,seed,prompt,model,Mass\na.png,synthetic,,p,m,1\n");
        assert_eq!(unmade, "t.csv, row 2, column `seed`: found ``, expected a whole number of at least 0");
    }
}
