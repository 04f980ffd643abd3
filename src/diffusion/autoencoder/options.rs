//! Kinds of options that the autoencoders' configurations share.

use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

impl Options {
    /// Refuses the configuration of another class; one that names none is taken for `class`.
    pub(in crate::diffusion) fn expect_class(&self, class: &str) -> Result<(), DiffusionError> {
        match self.peek("_class_name") {
            None => Ok(()),
            Some(name) if name == class => Ok(()),
            Some(name) => Err(DiffusionError::OtherModel {
                path: self.path().to_owned(),
                found: format!("the configuration of {name}"),
                expected: format!("expected that of \"{class}\""),
            }),
        }
    }

    /// A whole number above 0.
    pub(in crate::diffusion) fn count(&mut self, key: &str, default: usize) -> Result<usize, DiffusionError> {
        match self.take_or(key, default)? {
            0 => Err(self.refuse(key, "0", "1 or more")),
            count => Ok(count),
        }
    }

    /// One or more whole numbers above 0.
    pub(in crate::diffusion) fn counts(&mut self, key: &str, default: Vec<usize>) -> Result<Vec<usize>, DiffusionError> {
        let counts = self.take_or(key, default)?;
        match counts.is_empty() || counts.contains(&0) {
            true => Err(self.refuse(key, &format!("{counts:?}"), "one or more numbers, each 1 or more")),
            false => Ok(counts),
        }
    }

    /// A finite number above 0.
    pub(in crate::diffusion) fn factor(&mut self, key: &str, default: f64) -> Result<f64, DiffusionError> {
        let factor = self.take_or(key, default)?;
        match factor.is_finite() && factor > 0.0 {
            true => Ok(factor),
            false => Err(self.refuse(key, &factor.to_string(), "a number above 0")),
        }
    }
}
