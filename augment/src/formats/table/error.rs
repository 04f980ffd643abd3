//! What can be wrong with a label table.

use std::path::PathBuf;

use crate::formats::sheet::{Delimiter, TextFault};

/// A label table that can't be read as one: its text, its columns or a cell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A row that can't be read as one.
    #[error("{}, row {row}, column `{column}`: {fault}", path.display())]
    Text {
        /// The table.
        path: PathBuf,
        /// Line in the file, counted from 1 with the header; where a quote is at fault, the line it opens on.
        row: u64,
        /// The column, or its number from 1 where it has no name.
        column: String,
        /// What is wrong.
        fault: TextFault,
    },
    /// A first line `sep=` that names no delimiter.
    #[error("{}: its first line says `sep={found}`, and cells can be separated by `,`, `;`, tabs or `|`; correct that line", path.display())]
    UnknownDelimiter {
        /// The table.
        path: PathBuf,
        /// What follows `sep=`.
        found: String,
    },
    /// A table that two delimiters divide into equal rows.
    #[error(
        "{}: cells may be separated by {one} or by {other}, as every row has equally many of both; write `sep=` and the right one as a line of its own before the header, or set the key `delimiter` of [data]",
        path.display()
    )]
    AmbiguousDelimiter {
        /// The table.
        path: PathBuf,
        /// One of them.
        one: Delimiter,
        /// The other.
        other: Delimiter,
    },
    /// A row with more or fewer cells than the header.
    #[error(
        "{}, row {row}: {found} cells, expected {expected} as in the header; cells are separated by {delimiter}, and one that holds it must be in quotes",
        path.display()
    )]
    RowLength {
        /// The table.
        path: PathBuf,
        /// Line in the file, counted from 1 with the header.
        row: u64,
        /// Cells of the row.
        found: usize,
        /// Cells of the header.
        expected: usize,
        /// What separates them.
        delimiter: Delimiter,
    },
    /// A table that lacks a column.
    #[error("{}: no column `{column}`; the columns are {found}", path.display())]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The column looked for.
        column: String,
        /// The columns there are.
        found: String,
    },
    /// A table of images that doesn't say which they are.
    #[error("{}: no column `image`; the columns are {found}; say which it is with `columns = {{ image = \"…\" }}` in [data]", path.display())]
    NoImageColumn {
        /// The table.
        path: PathBuf,
        /// The columns there are.
        found: String,
    },
    /// A column that is neither a field nor a finding.
    #[error(
        "{}: column `{}` is neither a field of the table nor a known finding (nearest: `{suggestion}`); {remedy}",
        path.display(), columns[0]
    )]
    UnknownColumn {
        /// The table.
        path: PathBuf,
        /// Such columns, as written, all of them in order.
        columns: Vec<String>,
        /// The finding that the first is nearest to.
        suggestion: String,
        /// What to do.
        remedy: String,
    },
    /// A line that should be a JSON object.
    #[error("{}, row {row}: not a JSON object; write one per line, as in {{\"file_name\": \"1.png\", \"Mass\": 1}}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line in the file, counted from 1.
        row: u64,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A file of a table in several whose findings are not those of the first.
    #[error("{}: the columns of findings are not those of {}; give both the same, in the same order", path.display(), first.display())]
    OtherFindings {
        /// The file.
        path: PathBuf,
        /// The first file.
        first: PathBuf,
    },
    /// A column of lists of findings beside the column of a finding.
    #[error(
        "{}: column `{lists}` lists findings, and column `{column}` is one; keep one of them and name the others in data.extra_columns",
        path.display()
    )]
    LabelsTwice {
        /// The table.
        path: PathBuf,
        /// The column of lists.
        lists: String,
        /// The first column of a finding.
        column: String,
    },
    /// A column of labels where labels are to be written.
    #[error(
        "{}: column `{column}` has labels already; `--replace` leaves out all columns of the findings that are read from reports",
        path.display()
    )]
    LabelsThere {
        /// The table.
        path: PathBuf,
        /// The first such column.
        column: String,
    },
    /// A row that isn't there.
    #[error("{}: no row starts on line {row}; lines are counted from 1 with the header, and a report may have many", path.display())]
    NoRow {
        /// The table.
        path: PathBuf,
        /// The number that was asked for.
        row: u64,
    },
    /// NIH's boxes, where labels were meant.
    #[error(
        "{}: {boxes} boxes in {images} images, which say where some findings are and not what each image shows; give the table of labels, `Data_Entry_2017_v2020.csv`",
        path.display()
    )]
    Boxes {
        /// The table.
        path: PathBuf,
        /// Its rows.
        boxes: usize,
        /// Different images in them.
        images: usize,
    },
    /// Names in lists that are no findings.
    #[error(
        "{}, row {row}, column `{column}`: `{}` is no known finding; to take such names as labels, write `custom_findings = {names:?}` in [data]; if the column does not list findings, name it in data.extra_columns",
        path.display(), names[0]
    )]
    UnknownNames {
        /// The table.
        path: PathBuf,
        /// Line in the file of the first of them, counted from 1 with the header.
        row: u64,
        /// The column.
        column: String,
        /// All of them, the first first.
        names: Vec<String>,
    },
    /// A table of prompts with negative prompts of its own.
    #[error(
        "{}: a column `negative_prompt`, and a negative prompt is the same for all images; give it as `generate --negative-prompt` or as `negative_prompt` of [generator.diffusion], and take the column out or ignore it (`generate --extra-column negative_prompt`, `extra_columns` of [data])",
        path.display()
    )]
    NegativePrompts {
        /// The table.
        path: PathBuf,
    },
    /// Two columns with the same meaning.
    #[error("{}: column `{column}` means the same as column `{first}`; keep one of them", path.display())]
    DuplicateColumn {
        /// The table.
        path: PathBuf,
        /// The later column.
        column: String,
        /// The earlier column.
        first: String,
    },
    /// A table without a label.
    #[error(
        "{}: no column is a finding; add one column per finding, with 1, 0, -1 or blank, or name a column of lists as data.columns.labels. Only `predict` needs no labels",
        path.display()
    )]
    NoFindingColumn {
        /// The table.
        path: PathBuf,
    },
    /// An archive whose label columns nothing names.
    #[error(
        "{}: nothing says what the {columns} column{} of its labels {}; name all of them in order, in the key `findings` of [data] or in an array `findings` of the archive (only `chestmnist*.npz` with 14 columns and `pneumoniamnist*.npz` with one are known by name)",
        path.display(),
        if *columns == 1 { "" } else { "s" },
        if *columns == 1 { "is" } else { "are" }
    )]
    UnnamedLabels {
        /// The archive.
        path: PathBuf,
        /// Label columns.
        columns: usize,
    },
    /// A cell whose value its column doesn't allow.
    #[error("{}, row {row}, column `{column}`: found `{value}`, expected {expected}", path.display())]
    BadCell {
        /// The table or archive.
        path: PathBuf,
        /// Line in the file, counted from 1 with the header.
        row: u64,
        /// The column.
        column: String,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: String,
    },
}
