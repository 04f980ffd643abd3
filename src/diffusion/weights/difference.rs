//! How a file's tensors differ from a model's.

use std::fmt;

/// Tensors that keep a file from fitting a model, by name; never empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// In the model, not in the file: name and shape expected.
    pub missing: Vec<(String, Vec<usize>)>,
    /// In the file, not in the model: name and shape found.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// In both, of other shapes: name, shape expected, shape found.
    pub wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl Difference {
    pub(super) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = self.wrong_shape.iter();
        let wrong = wrong.map(|(name, expected, found)| format!("{name}: expected {expected:?}, found {found:?}"));
        let named = |(name, shape): &(String, Vec<usize>)| format!("{name} {shape:?}");
        list(f, "wrong shape", wrong)?;
        list(f, "missing", self.missing.iter().map(named))?;
        list(f, "unexpected", self.unexpected.iter().map(named))
    }
}

/// A checkpoint of another model differs in hundreds of names; a few of each kind say as much.
fn list(f: &mut fmt::Formatter<'_>, kind: &str, lines: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    const SHOWN: usize = 8;
    let more = lines.len().saturating_sub(SHOWN);
    for line in lines.take(SHOWN) {
        write!(f, "\n  {kind} {line}")?;
    }
    if more > 0 {
        write!(f, "\n  … and {more} more {kind}")?;
    }
    Ok(())
}
