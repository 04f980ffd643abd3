//! Differences between a file's tensors and a model's.

use std::fmt;

use super::families::{is_first, is_head};

/// A tensor of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// The file's name of it.
    pub name: String,
    /// The model's shape, in PyTorch's layout.
    pub expected: Vec<usize>,
    /// The file's.
    pub found: Vec<usize>,
}

/// Every reason why a file's tensors can't be a model's weights. Names are those of files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Tensors that only the model has, with the model's shape.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Tensors that only the file has, with the file's shape.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Tensors of both, in different shapes.
    pub wrong_shape: Vec<WrongShape>,
}

impl Difference {
    /// Whether file and model agree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }

    /// `(expected, found)` number of findings, if a classifier's head has another number of them and all else agrees.
    #[must_use]
    pub fn only_the_head(&self) -> Option<(usize, usize)> {
        let classifier = |wrong: &WrongShape| is_head(&wrong.name) && wrong.expected.get(1) == wrong.found.get(1);
        if !self.missing.is_empty() || !self.unexpected.is_empty() || !self.wrong_shape.iter().all(classifier) {
            return None;
        }
        let weight = self.wrong_shape.iter().find(|wrong| wrong.name.ends_with(".weight"))?;
        Some((weight.expected[0], *weight.found.first()?))
    }

    /// `(expected, found)` input channels, if a classifier's first convolution has another number of them.
    fn input_channels(&self) -> Option<(usize, usize)> {
        let conv = self.wrong_shape.iter().find(|wrong| is_first(&wrong.name))?;
        let (expected, found) = (*conv.expected.get(1)?, *conv.found.get(1)?);
        (expected != found).then_some((expected, found))
    }

    /// What the user of a classifier can do about it.
    pub(crate) fn advice(&self) -> String {
        if let Some((expected, found)) = self.only_the_head() {
            return format!(
                "the file classifies {found} findings, the net {expected}: load with `replace_head` to keep the net's new \
                 classifier and then train it, or make the net for {found} findings"
            );
        }
        match self.input_channels() {
            Some((1, found)) if found > 1 => format!(
                "the file takes {found} channels, the net 1: load with `sum_first_conv_channels` to use the weights on gray images"
            ),
            _ => "make the net with the configuration that `infer_config` reads from the file".to_owned(),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = self.wrong_shape.iter();
        let wrong = wrong.map(|wrong| format!("{}: expected {:?}, found {:?}", wrong.name, wrong.expected, wrong.found));
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
