//! Tables whose reports are read into labels.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::sheet::{Delimiter, Line, Rows, Sheet};
use super::table::columns::{DETAIL_COLUMNS, LOCATION_COLUMN, SEVERITY_COLUMN, SIDE_COLUMN};
use crate::AugmentError;
use crate::atomic::write_atomic;
use crate::formats::TableError;
use crate::record::{Finding, FindingDetail, Label, Laterality, Location, Severity};
use crate::text::{Dropped, Labeler, Labelling, Section, TakenFrom};

/// Reports that are labelled at once.
const BATCH: usize = 4096;

/// A table of any kind with a column of reports.
#[derive(Debug)]
pub struct ReportTable {
    sheet: Sheet,
    column: usize,
}

/// What is read in a report, and how.
#[derive(Clone, Copy, Debug)]
pub struct Reading<'a> {
    /// The rules.
    pub labeler: &'a Labeler,
    /// The part of the report.
    pub section: Section,
}

/// The labels of many reports, in order, and what they were read from.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ReadLabels {
    /// One per row.
    #[serde(skip)]
    pub rows: Vec<Labelling>,
    /// How many rows were read from which part of their report.
    pub taken: BTreeMap<TakenFrom, usize>,
    /// How many rows have no label at all, by the reason.
    pub unread: BTreeMap<Dropped, usize>,
}

impl Reading<'_> {
    /// Adds the labels of these reports to `read`. A row without a report, or without that part of it, has no label.
    pub fn add<S: AsRef<str> + Sync>(&self, reports: &[S], read: &mut ReadLabels) {
        let blank = || self.labeler.label("");
        let label = |report: &S| {
            let report = report.as_ref();
            if report.trim().is_empty() {
                return Err(Dropped::NoReport);
            }
            self.section.take(report).map(|(from, text)| (from, self.labeler.label(text)))
        };
        let labelled: Vec<_> = reports.par_iter().map(label).collect();
        for row in labelled {
            match row {
                Ok((from, labels)) => {
                    *read.taken.entry(from).or_default() += 1;
                    read.rows.push(labels);
                }
                Err(why) => {
                    *read.unread.entry(why).or_default() += 1;
                    read.rows.push(blank());
                }
            }
        }
    }
}

impl ReportTable {
    /// Opens a CSV, packed with gzip or not, whose delimiter is guessed if none is given, and goes through it once.
    ///
    /// # Errors
    /// [`AugmentError::Io`], or [`AugmentError::Table`] if it can't be read as a table or has no column of that name.
    pub fn open(path: &Path, column: &str, delimiter: Option<Delimiter>) -> Result<Self, AugmentError> {
        let sheet = Sheet::read(path, Rows::Equal, delimiter)?;
        let column = sheet.column(column)?;
        Ok(Self { sheet, column })
    }

    /// What is doubtful in how the table is read.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.sheet.notes(None)
    }

    /// Reads the labels of every row. `done` is told of the rows so far.
    ///
    /// # Errors
    /// [`AugmentError::Io`] or [`AugmentError::Table`].
    pub fn read(&self, reading: Reading<'_>, done: &dyn Fn(u64)) -> Result<ReadLabels, AugmentError> {
        let (mut read, mut batch) = (ReadLabels::default(), Vec::with_capacity(BATCH));
        let (mut lines, mut line) = (self.sheet.lines()?, Line::default());
        loop {
            let more = lines.read(&mut line)?;
            if more {
                batch.push(line.cell(self.column).to_owned());
            }
            if batch.len() == BATCH || !more {
                reading.add(&batch, &mut read);
                batch.clear();
                done(read.rows.len() as u64);
            }
            if !more {
                return Ok(read);
            }
        }
    }

    /// The report of a row, by its number as errors give it: the line of the file that it starts on.
    ///
    /// # Errors
    /// As [`ReportTable::read`], and [`TableError::NoRow`].
    pub fn report(&self, row: u64) -> Result<String, AugmentError> {
        let (mut lines, mut line) = (self.sheet.lines()?, Line::default());
        while lines.read(&mut line)? {
            if line.number == row {
                return Ok(line.cell(self.column).to_owned());
            }
        }
        Err(TableError::NoRow { path: self.sheet.path.clone(), row }.into())
    }

    /// Writes the table with a column of labels per finding, and columns of sides, severities and locations where any row has one. Columns of these
    /// names that are there already are an error, or left out with `replace`.
    ///
    /// # Errors
    /// As [`ReportTable::read`], and [`TableError::LabelsThere`].
    pub fn write(&self, path: &Path, labeler: &Labeler, read: &ReadLabels, replace: bool) -> Result<(), AugmentError> {
        let findings = labeler.vocabulary().findings();
        let kept: Vec<usize> = (0..self.sheet.columns.len()).filter(|column| !self.is_label(*column, findings)).collect();
        if let Some(there) = (0..self.sheet.columns.len()).find(|column| !kept.contains(column) && !replace) {
            let (path, column) = (self.sheet.path.clone(), self.sheet.columns[there].clone());
            return Err(TableError::LabelsThere { path, column }.into());
        }
        let details: Vec<_> = details(findings, read).collect();
        let names = kept.iter().map(|column| self.sheet.columns[*column].clone());
        let names =
            names.chain(findings.iter().map(|finding| finding.name().to_owned())).chain(details.iter().map(Detail::name));
        let header: Vec<String> = names.collect();
        // An error of the table that is read is not one of the file that is written.
        let mut stopped = None;
        let written = write_atomic(path, |file| {
            let mut csv = csv::Writer::from_writer(file);
            csv.write_record(&header).map_err(io_error)?;
            let mut lines = self.sheet.lines().map_err(|error| stop(&mut stopped, error))?;
            let (mut line, mut rows) = (Line::default(), read.rows.iter());
            while lines.read(&mut line).map_err(|error| stop(&mut stopped, error))? {
                let Some(row) = rows.next() else { return Err(changed()) };
                let cells = kept.iter().map(|column| line.text(*column));
                let labels = row.labels.iter().map(|label| label.cell());
                csv.write_record(cells.chain(labels).chain(details.iter().map(|detail| detail.cell(row)))).map_err(io_error)?;
            }
            if rows.next().is_some() {
                return Err(changed());
            }
            csv.flush()
        });
        match stopped {
            Some(error) => Err(error),
            None => written.map_err(|source| AugmentError::Io { action: "write", path: path.to_owned(), source }),
        }
    }

    /// Whether a column is a label, a side, a severity or a location of one of these findings.
    fn is_label(&self, column: usize, findings: &[Finding]) -> bool {
        let name = &self.sheet.columns[column];
        let bare = DETAIL_COLUMNS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
        column != self.column && Finding::parse(bare).is_ok_and(|finding| findings.contains(&finding))
    }
}

fn stop(stopped: &mut Option<AugmentError>, error: AugmentError) -> io::Error {
    *stopped = Some(error);
    io::Error::other("the table can't be read")
}

fn changed() -> io::Error {
    io::Error::other("the table has changed while it was read; start again")
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// A column of sides, severities or locations, by its ending.
struct Detail {
    finding: Finding,
    ending: &'static str,
}

/// The columns that any row has something for.
fn details<'a>(findings: &'a [Finding], read: &'a ReadLabels) -> impl Iterator<Item = Detail> + 'a {
    let columns = findings.iter().flat_map(|finding| DETAIL_COLUMNS.map(|ending| Detail { finding: *finding, ending }));
    columns.filter(|column| read.rows.iter().any(|row| !column.cell(row).is_empty()))
}

impl Detail {
    fn name(&self) -> String {
        format!("{}{}", self.finding.name(), self.ending)
    }

    /// The cell that [`Table`](super::Table) reads back.
    fn cell(&self, row: &Labelling) -> &'static str {
        let Some(FindingDetail { side, severity, location, .. }) =
            row.details.iter().find(|detail| detail.finding == self.finding)
        else {
            return "";
        };
        let cell = match self.ending {
            SIDE_COLUMN => side.map(|side| match side {
                Laterality::Left => "left",
                Laterality::Right => "right",
                Laterality::Both => "both",
            }),
            SEVERITY_COLUMN => severity.map(Severity::name),
            LOCATION_COLUMN => location.map(Location::name),
            _ => None,
        };
        cell.unwrap_or_default()
    }
}

/// How often a finding has which label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelCount {
    /// The finding.
    pub finding: Finding,
    /// Rows of each label.
    pub positive: usize,
    /// Rows on which it is denied.
    pub negative: usize,
    /// Rows on which it is doubted.
    pub uncertain: usize,
    /// Rows that don't mention it.
    pub blank: usize,
}

impl ReadLabels {
    /// The counts of every finding, in order.
    #[must_use]
    pub fn counts(&self, labeler: &Labeler) -> Vec<LabelCount> {
        let count = |(at, finding): (usize, &Finding)| {
            let of = |label: Label| self.rows.iter().filter(|row| row.labels[at] == label).count();
            LabelCount {
                finding: *finding,
                positive: of(Label::Positive),
                negative: of(Label::Negative),
                uncertain: of(Label::Uncertain),
                blank: of(Label::Missing),
            }
        };
        labeler.vocabulary().findings().iter().enumerate().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::formats::{MissingImages, Table};

    fn reading(section: Section) -> Reading<'static> {
        Reading { labeler: Labeler::standard(), section }
    }

    fn table(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports.csv");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn the_table_keeps_its_cells_and_gains_labels() {
        let text = "image,patient_id,Path note,report\na.png,007,\"x, \"\"y\"\"\",\"Small left effusion at the base.\nNo edema.\"\nb.png,nan,,\nc.png,1,,Fine.\n";
        let (folder, path) = table(text);
        let reports = ReportTable::open(&path, "report", None).unwrap();
        let read = reports.read(reading(Section::ImpressionOrNext), &|_| ()).unwrap();
        assert_eq!(read.unread, BTreeMap::from([(Dropped::NoReport, 1)]));
        let out = folder.path().join("out/labels.csv");
        reports.write(&out, Labeler::standard(), &read, false).unwrap();
        let written = fs::read_to_string(&out).unwrap();
        let lines: Vec<_> = written.lines().collect();
        assert!(
            lines[0].starts_with("image,patient_id,Path note,report,No Finding,Enlarged Cardiomediastinum,"),
            "{}",
            lines[0]
        );
        assert!(lines[0].ends_with(",Support Devices,Effusion side,Effusion severity,Effusion location"), "{}", lines[0]);
        assert!(lines[1].starts_with("a.png,007,\"x, \"\"y\"\"\",\"Small left effusion at the base."), "{}", lines[1]);
        assert_eq!(lines[2], "No edema.\",,,,,,0,,,,,1,,,,left,mild,base");
        assert_eq!(lines[3], "b.png,nan,,,,,,,,,,,,,,,,,,,");
        assert_eq!(lines[4], "c.png,1,,Fine.,1,,,,,,,,,,,,,,,,");
        // What was written is the project's own table.
        let own = Table { missing: MissingImages::Keep, extra_columns: vec!["Path note".to_owned()], ..Table::new(&out) };
        let data = own.read().unwrap();
        assert_eq!(data.record(0).labels, read.rows[0].labels);
        assert_eq!(data.record(0).details.findings, read.rows[0].details);
    }

    #[test]
    fn labels_that_are_there_are_replaced_on_request() {
        let (folder, path) =
            table("image,Pleural Effusion,Effusion side,Effusion location,Hernia,text\na.png,1,left,base,1,No effusion.\n");
        let reports = ReportTable::open(&path, "text", None).unwrap();
        let read = reports.read(reading(Section::Whole), &|_| ()).unwrap();
        let out = folder.path().join("labels.csv");
        let error = reports.write(&out, Labeler::standard(), &read, false).unwrap_err().to_string();
        assert!(error.contains("reports.csv: column `Pleural Effusion`") && error.contains("--replace"), "{error}");
        assert!(!out.exists());
        reports.write(&out, Labeler::standard(), &read, true).unwrap();
        let written = fs::read_to_string(&out).unwrap();
        assert!(written.starts_with("image,Hernia,text,No Finding,"), "{written}");
        assert!(written.contains("a.png,1,No effusion.,1,"), "{written}");
    }

    #[test]
    fn rows_say_what_they_were_read_from() {
        let (_folder, path) = table(
            "text\n\"INDICATION: pneumonia\nFINDINGS: Edema.\nIMPRESSION: Mass.\"\nFINDINGS: Edema.\n\"View.\n\nMass.\"\nEdema.\n \
             TECHNIQUE:\n",
        );
        let reports = ReportTable::open(&path, "text", None).unwrap();
        let read = reports.read(reading(Section::ImpressionOrNext), &|_| ()).unwrap();
        let taken =
            [(TakenFrom::Impression, 1), (TakenFrom::Findings, 1), (TakenFrom::LastParagraph, 1), (TakenFrom::Whole, 1)];
        assert_eq!((read.taken.clone(), read.unread.clone()), (BTreeMap::from(taken), BTreeMap::from([(Dropped::Empty, 1)])));
        let counts = read.counts(Labeler::standard());
        let of = |name: &str| counts.iter().find(|count| count.finding.name() == name).unwrap();
        assert_eq!((of("Edema").positive, of("Lung Lesion").positive, of("Pneumonia").blank), (2, 2, 5));
        assert_eq!(reports.report(6).unwrap(), "View.\n\nMass.");
        let error = reports.report(7).unwrap_err().to_string();
        assert!(error.contains("no row starts on line 7"), "{error}");
        assert!(ReportTable::open(&path, "txt", None).unwrap_err().to_string().contains("the columns are `text`"));
    }
}
