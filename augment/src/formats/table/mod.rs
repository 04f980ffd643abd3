//! The project's own table: a CSV with one row per image.

pub(super) mod columns;
mod error;
mod field;
mod header;
pub(super) mod labels;
mod lists;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::columns::{Columns, Wanted, split_of};
use self::header::Declared;
use super::MissingImages;
use super::folder::absent;
use super::sheet::{Rows, Sheet};
use super::skipped::Skipped;
use crate::AugmentError;
use crate::dataset::{CxrDataset, Row};
use crate::image::ImageFiles;
use crate::record::{Finding, Split, Vocabulary};

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
/// Names of columns are taken in any case. Well-known names of other tables (`Path`, `PatientID`, `Finding Labels`) are read where they are
/// unambiguous, with a note; [`columns`](Self::columns) states them. Any other column is an error unless it is declared.
#[derive(Clone, Debug)]
pub struct Table {
    /// The CSV, or a `.csv.gz`.
    pub path: PathBuf,
    /// Folder that image paths are relative to; `None` for the table's own.
    pub images: Option<PathBuf>,
    /// Column of a field or a finding, by the name of either. `labels` is a column of lists of findings (`Effusion|Mass`), `order` one
    /// of dates or numbers by which rows are sorted. If there is any entry, columns that nothing explains are ignored, with a note.
    pub columns: BTreeMap<String, String>,
    /// Columns that are labels outside the public vocabularies.
    pub custom_findings: Vec<String>,
    /// Columns to ignore.
    pub extra_columns: Vec<String>,
    /// The column of reports; `None` for `report`, if there is one.
    pub report: Option<String>,
    /// What becomes of a row without its image.
    pub missing: MissingImages,
    /// Findings that are asked of the table: lists that name none of them are negative.
    pub findings: Option<Vocabulary>,
    /// Whether a table without labels is read, with unknown labels of `findings`.
    pub unlabelled: bool,
    /// Whether rows without an `origin` are synthetic; these may lack `seed`, `prompt` and `model`.
    pub synthetic: bool,
}

/// One file of a table that may have several.
pub(super) struct Part {
    pub(super) sheet: Sheet,
    /// What its image names lack in front.
    pub(super) prefix: String,
    /// The split of its rows.
    pub(super) split: Option<Split>,
    /// Whether the first folders of its image names are splits, where all are and no column says otherwise.
    pub(super) split_of_path: bool,
}

impl Table {
    /// The table at `path`, images beside it, no column declared.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            images: None,
            columns: BTreeMap::new(),
            custom_findings: Vec::new(),
            extra_columns: Vec::new(),
            report: None,
            missing: MissingImages::Refuse,
            findings: None,
            unlabelled: false,
            synthetic: false,
        }
    }

    /// Reads the table and checks that its images exist; none is opened.
    ///
    /// # Errors
    /// Faults of the table, with row and column; [`AugmentError::BadSetting`] for a column that the run file names and the table lacks;
    /// [`AugmentError::MissingImage`]; as [`CxrDataset::new`].
    pub fn read(&self) -> Result<CxrDataset, AugmentError> {
        let sheet = Sheet::read(&self.path, Rows::Equal)?;
        let root = self.images.clone().or_else(|| self.path.parent().map(Path::to_owned)).unwrap_or_default();
        self.read_parts(&[Part { sheet, prefix: String::new(), split: None, split_of_path: false }], &root)
    }

    /// Reads the rows of all `parts`, whose images are under `root`.
    pub(super) fn read_parts(&self, parts: &[Part], root: &Path) -> Result<CxrDataset, AugmentError> {
        let (columns, notes, vocabulary) = self.columns(parts)?;
        let (mut rows, mut paths, mut order, mut skipped) = (Vec::new(), Vec::new(), Vec::new(), Skipped::default());
        for (part, columns) in parts.iter().zip(&columns) {
            let sheet = &part.sheet;
            let split_of_path = part.split_of_path && columns.all_in_splits(sheet);
            for line in &sheet.lines {
                let mut record = columns.record(sheet, line)?;
                record.id.insert_str(0, &part.prefix);
                record.split = record.split.or(part.split);
                if split_of_path {
                    record.split = record.split.or_else(|| split_of(&record.id));
                }
                let mut path = Some(root.join(&record.id));
                if !path.as_ref().is_some_and(|path| path.is_file()) {
                    path = absent(&record.id, root, (sheet, line), self.missing)?;
                }
                skipped.count(record.split, path.is_some());
                let Some(path) = path else { continue };
                if columns.has_order() {
                    order.push(columns.order(sheet, line)?.unwrap_or(f64::INFINITY));
                }
                rows.push(Row { record: Arc::new(record), image: paths.len(), line: line.number });
                paths.push(path);
            }
        }
        if order.len() == rows.len() {
            // `image` is the place of the row before it is moved.
            rows.sort_by(|a: &Row, b: &Row| order[a.image].total_cmp(&order[b.image]));
        }
        let name = self.path.display().to_string();
        let source = Arc::new(ImageFiles::new(paths));
        let data = skipped.with(root, &name, || CxrDataset::new(&name, Arc::new(vocabulary), rows, source))?;
        Ok(notes.into_iter().fold(data, CxrDataset::with_note))
    }

    /// The columns of every part, what is doubtful in them, and the findings of all.
    fn columns(&self, parts: &[Part]) -> Result<(Vec<Columns>, Vec<String>, Vocabulary), AugmentError> {
        let custom: Vec<_> = self.custom_findings.iter().map(|name| Finding::custom(name)).collect();
        let declared = Declared {
            columns: &self.columns,
            report: self.report.as_deref(),
            custom: &custom,
            extra: &self.extra_columns,
            guess: true,
        };
        let read = |wanted| parts.iter().map(|part| Columns::of(&part.sheet, declared, wanted)).collect::<Result<Vec<_>, _>>();
        let Self { findings, unlabelled, synthetic, .. } = self;
        let wanted = Wanted { findings: findings.as_ref(), unlabelled: *unlabelled, synthetic: *synthetic };
        let mut columns = read(wanted)?;
        let notes = columns.iter().flat_map(|columns| columns.notes()).cloned().collect();
        if columns.len() > 1 && columns.iter().all(Columns::has_lists) {
            // A finding of one file is negative in another that doesn't name it.
            let mut findings = BTreeMap::new();
            for vocabulary in columns.iter().map(Columns::vocabulary) {
                findings.extend(vocabulary?.findings().iter().map(|finding| (finding.name(), *finding)));
            }
            let all = Vocabulary::new(findings.into_values())?;
            columns = read(Wanted { findings: Some(&all), ..wanted })?;
        }
        let vocabulary = columns.first().map_or_else(|| Vocabulary::new([]), Columns::vocabulary)?;
        for (part, columns) in parts.iter().zip(&columns).skip(1) {
            if columns.vocabulary()? != vocabulary {
                let (path, first) = (part.sheet.path.clone(), parts[0].sheet.path.clone());
                return Err(TableError::OtherFindings { path, first }.into());
            }
        }
        Ok((columns, notes, vocabulary))
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
    fn rows_of_a_pool_need_not_say_that_they_are_synthetic() {
        let text = "image,source_id,origin,Mass\na.png,9.png,,1\nb.png,,,0\nc.png,,real,0\n";
        let pool = read(text, |table| table.synthetic = true).unwrap();
        let origins: Vec<bool> = pool.rows().iter().map(|row| row.record.origin.is_synthetic()).collect();
        assert_eq!(origins, [true, true, false]);
        let crate::record::Origin::Synthetic(provenance) = &pool.record(0).origin else { panic!("a real row") };
        assert_eq!((provenance.request.source.as_ref().unwrap().id.as_str(), provenance.request.seed), ("9.png", 0));
        assert!(!read(text, |_| ()).unwrap().rows().iter().any(|row| row.record.origin.is_synthetic()));
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
