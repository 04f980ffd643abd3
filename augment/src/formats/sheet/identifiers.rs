//! Patient identifiers that a program took for numbers.

/// How a column's cells are written, each way with the first row that has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Identifiers {
    /// `12`
    whole: Option<u64>,
    /// `12.0`: pandas makes numbers of a column with blank cells so.
    float: Option<u64>,
    /// `1.2E+15`: digits are lost.
    rounded: Option<u64>,
    /// Anything else.
    other: Option<u64>,
}

/// How a cell of the column is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    AsWritten,
    /// `12.0` as `12`.
    Whole,
    /// Refused, for the cell in that row.
    Refused(u64, &'static str),
}

const ROUNDED: &str = "an identifier with all of its digits (a spreadsheet has rounded this one, so that different patients may read the \
                       same; export the column as text)";
const MIXED: &str = "identifiers written in one way (others in this column are `12` and text, so that `12.0` may or may not be patient \
                     `12`; write it without `.0` if it is)";

enum Form {
    Whole,
    Float,
    Rounded,
    Other,
}

impl Identifiers {
    pub(super) fn see(&mut self, cell: &str, row: u64) {
        let first = match form(cell) {
            Form::Whole => &mut self.whole,
            Form::Float => &mut self.float,
            Form::Rounded => &mut self.rounded,
            Form::Other => &mut self.other,
        };
        first.get_or_insert(row);
    }

    pub(super) fn reading(&self) -> Reading {
        match self {
            Self { rounded: Some(row), .. } => Reading::Refused(*row, ROUNDED),
            Self { float: None, .. } => Reading::AsWritten,
            Self { other: None, .. } => Reading::Whole,
            Self { float: Some(row), whole: Some(_), .. } => Reading::Refused(*row, MIXED),
            Self { whole: None, .. } => Reading::AsWritten,
        }
    }

    /// What a user is told of a column of patients.
    pub(super) fn note(&self) -> Option<String> {
        let (Reading::Whole, Some(float)) = (self.reading(), self.float) else { return None };
        Some(match self.whole {
            Some(whole) => format!(
                "patients are written as `12.0` (from row {float}) and as `12` (from row {whole}); both are read as `12`, one patient"
            ),
            None => format!("patients are written as `12.0` (from row {float}) and read as `12`"),
        })
    }
}

/// The whole number that `12.0` or `12,0` is.
pub(super) fn whole(cell: &str) -> &str {
    match form(cell) {
        Form::Float => cell.split(['.', ',']).next().unwrap_or(cell),
        _ => cell,
    }
}

fn form(cell: &str) -> Form {
    let (whole, rest) = digits(cell.as_bytes());
    let (decimals, rest) = match (whole, rest) {
        (0, _) => return Form::Other,
        (_, []) => return Form::Whole,
        (_, [b'.' | b',', rest @ ..]) => match digits(rest) {
            (0, _) => return Form::Other,
            (count, after) => (&rest[..count], after),
        },
        (_, rest) => (&[][..], rest),
    };
    match rest {
        [] if decimals.iter().all(|byte| *byte == b'0') => Form::Float,
        [b'E' | b'e', b'+', exponent @ ..] if digits(exponent).0 > 0 && digits(exponent).1.is_empty() => Form::Rounded,
        _ => Form::Other,
    }
}

/// The number of digits at the beginning, and what follows them.
fn digits(text: &[u8]) -> (usize, &[u8]) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count, &text[count..])
}
