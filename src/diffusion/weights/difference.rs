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
        /// A checkpoint of another model differs in hundreds of names; a screenful says as much.
        const SHOWN: usize = 20;
        let missing = self.missing.iter().map(|(name, shape)| format!("missing    {name} {shape:?}"));
        let unexpected = self.unexpected.iter().map(|(name, shape)| format!("unexpected {name} {shape:?}"));
        let wrong = self.wrong_shape.iter();
        let wrong = wrong.map(|(name, expected, found)| format!("wrong shape {name}: expected {expected:?}, found {found:?}"));
        let lines: Vec<String> = wrong.chain(missing).chain(unexpected).collect();
        lines.iter().take(SHOWN).try_for_each(|line| write!(f, "\n  {line}"))?;
        if lines.len() > SHOWN {
            write!(f, "\n  … and {} more", lines.len() - SHOWN)?;
        }
        Ok(())
    }
}
