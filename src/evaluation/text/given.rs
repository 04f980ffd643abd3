//! Reports that another program wrote, as a table.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;

use super::TextError;

/// Largest file, in bytes.
const LARGEST: u64 = 1 << 30;

/// A report that was given for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenReport {
    /// The image's name in its set.
    pub id: String,
    /// What was written for it; may be empty.
    pub generated: String,
    /// What it is to be compared with, if the table says so.
    pub reference: Option<String>,
    /// The line that it begins on, from 1.
    pub line: u64,
}

/// Reads a CSV with the columns `id`, `generated` and, where wanted, `reference`.
///
/// # Errors
/// [`TextError::Io`]; [`TextError::Reports`] names the line: another column, a missing one, a row of another length, an id twice, no row.
pub fn read_reports(path: &Path) -> Result<Vec<GivenReport>, TextError> {
    let io = |source| TextError::Io { path: path.to_owned(), source };
    let wrong = |line: u64, message: String| TextError::Reports { path: path.to_owned(), line, message };
    let file = File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() > LARGEST {
        return Err(wrong(1, format!("the file is larger than {} MiB", LARGEST >> 20)));
    }
    let broken = |error: csv::Error| {
        let line = error.position().map_or(1, csv::Position::line);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => io(source),
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
                wrong(line, format!("it has {len} cells, the header {expected_len}"))
            }
            other => wrong(line, format!("it can't be read: {other:?}")),
        }
    };
    let mut table = csv::Reader::from_reader(file);
    let header = table.headers().map_err(broken)?.clone();
    if let Some(other) = header.iter().find(|name| !["id", "generated", "reference"].contains(name)) {
        return Err(wrong(1, format!("column `{other}` is not known")));
    }
    let column = |name: &str| header.iter().position(|found| found == name);
    let missing = |name: &str| wrong(1, format!("column `{name}` is missing"));
    let id = column("id").ok_or_else(|| missing("id"))?;
    let generated = column("generated").ok_or_else(|| missing("generated"))?;
    let reference = column("reference");
    let (mut reports, mut seen) = (Vec::new(), HashSet::new());
    for row in table.records() {
        let row = row.map_err(broken)?;
        let line = row.position().map_or(1, csv::Position::line);
        let cell = |column: usize| row.get(column).unwrap_or_default().to_owned();
        let report = GivenReport { id: cell(id), generated: cell(generated), reference: reference.map(cell), line };
        if !seen.insert(report.id.clone()) {
            return Err(wrong(line, format!("image `{}` is there twice", report.id)));
        }
        reports.push(report);
    }
    if reports.is_empty() { Err(wrong(1, "there is no row".to_owned())) } else { Ok(reports) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<GivenReport>, TextError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reports.csv");
        std::fs::write(&path, bytes).unwrap();
        read_reports(&path)
    }

    #[test]
    fn tables_are_read_and_bad_ones_refused_by_line() {
        let found = read("generated,id,reference\n\"Clear,\nno edema.\",a,Edema.\n,b,\n".as_bytes()).unwrap();
        let texts: Vec<_> = found.iter().map(|report| (report.id.as_str(), report.generated.as_str(), report.line)).collect();
        assert_eq!(texts, [("a", "Clear,\nno edema.", 2), ("b", "", 4)]);
        assert_eq!(found[0].reference.as_deref(), Some("Edema."));
        assert_eq!(read(b"id,generated\na,x\n").unwrap()[0].reference, None);
        for (bytes, said) in [
            (&b"id,generated,text\na,x,y\n"[..], "line 1: column `text` is not known"),
            (b"id\na\n", "column `generated` is missing"),
            (b"id,generated\na,x\na,y\n", "line 3: image `a` is there twice"),
            (b"id,generated\na,x,y\n", "line 2: it has 3 cells, the header 2"),
            (b"id,generated\n", "there is no row"),
            (b"", "column `id` is missing"),
            (b"id,generated\na,\xff\n", "line 2: it can't be read"),
        ] {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("reports.csv"), "{error}");
        }
        assert!(matches!(read_reports(Path::new("/nowhere/at/all")), Err(TextError::Io { .. })));
    }
}
