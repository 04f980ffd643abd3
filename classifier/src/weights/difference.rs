//! Differences between a file's tensors and a net's.

use std::fmt;

/// A tensor of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongShape {
    /// torchvision's name.
    pub name: String,
    /// The net's shape, in PyTorch's layout.
    pub expected: Vec<usize>,
    /// The file's.
    pub found: Vec<usize>,
}

/// Every reason why a file's tensors can't be a net's weights. Names are torchvision's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Tensors that only the net has, with the net's shape.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Tensors that only the file has, by the file's name, with the file's shape.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Tensors of both, in different shapes.
    pub wrong_shape: Vec<WrongShape>,
}

impl Difference {
    /// Whether file and net agree.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.wrong_shape.is_empty()
    }

    /// `(expected, found)` number of findings, if the classifier has another number of them and all else agrees.
    #[must_use]
    pub fn only_the_head(&self) -> Option<(usize, usize)> {
        let classifier =
            |wrong: &WrongShape| wrong.name.starts_with("classifier.") && wrong.expected.get(1) == wrong.found.get(1);
        if !self.missing.is_empty() || !self.unexpected.is_empty() || !self.wrong_shape.iter().all(classifier) {
            return None;
        }
        let weight = self.wrong_shape.iter().find(|wrong| wrong.name == "classifier.weight")?;
        Some((weight.expected[0], *weight.found.first()?))
    }

    /// `(expected, found)` input channels, if the first convolution has another number of them.
    fn input_channels(&self) -> Option<(usize, usize)> {
        let conv = self.wrong_shape.iter().find(|wrong| wrong.name == super::keys::FIRST)?;
        let (expected, found) = (*conv.expected.get(1)?, *conv.found.get(1)?);
        (expected != found).then_some((expected, found))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for wrong in &self.wrong_shape {
            write!(f, "\n  wrong shape: {}, expected {:?}, found {:?}", wrong.name, wrong.expected, wrong.found)?;
        }
        for (name, shape) in &self.missing {
            write!(f, "\n  missing: {name}, expected {shape:?}, found nothing")?;
        }
        for (name, shape) in &self.unexpected {
            write!(f, "\n  unexpected: {name}, expected nothing, found {shape:?}")?;
        }
        if let Some((expected, found)) = self.only_the_head() {
            return write!(
                f,
                "\nthe file classifies {found} findings, the net {expected}: load with `replace_head` to keep the net's new \
                 classifier and then train it, or make the net for {found} findings"
            );
        }
        match self.input_channels() {
            Some((1, found)) if found > 1 => write!(
                f,
                "\nthe file takes {found} channels, the net 1: load with `sum_first_conv_channels` to use the weights on gray images"
            ),
            _ => write!(f, "\nmake the net with the configuration that `infer_config` reads from the file"),
        }
    }
}
