//! Names and shapes of a model's parameters, and how a file's tensors differ from them.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use roentgen_classifier::weights::{Difference, WrongShape};

use super::source::Source;
use super::{KeyMap, Place};

/// Names and shapes in files of a model's parameters.
pub(in crate::diffusion) struct Expected<'a> {
    place: Place,
    keys: &'a dyn KeyMap,
    pub(super) tensors: Vec<(String, Vec<usize>)>,
}

impl<'a> Expected<'a> {
    pub(super) fn of<M: Module>(model: &M, keys: &'a dyn KeyMap) -> Self {
        let mut expected = Self { place: Place::default(), keys, tensors: Vec::new() };
        model.visit(&mut expected);
        expected
    }

    /// Number of weights.
    pub(super) fn parameters(&self) -> usize {
        self.tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    }

    pub(super) fn compare(&self, source: &Source) -> Difference {
        let mut difference = Difference::default();
        for (key, shape) in &self.tensors {
            match source.tensors.get(key) {
                None => difference.missing.push((key.clone(), shape.clone())),
                Some((_, name, stored)) if stored.shape() != *shape => {
                    let (name, expected, found) = (name.clone(), shape.clone(), stored.shape());
                    difference.wrong_shape.push(WrongShape { name, expected, found });
                }
                Some(_) => {}
            }
        }
        let known: BTreeSet<&String> = self.tensors.iter().map(|(key, _)| key).collect();
        let unknown = source.tensors.iter().filter(|(key, _)| !known.contains(key));
        difference.unexpected = unknown.map(|(_, (_, name, stored))| (name.clone(), stored.shape())).collect();
        difference.unexpected.extend(source.twice.iter().map(|name| (format!("{name} (twice)"), Vec::new())));
        difference
    }
}

impl ModuleVisitor for Expected<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let key = self.place.key(self.keys);
        let shape = self.place.file_shape(self.keys, &key, param.lazy_shape().to_vec());
        self.tensors.push((key, shape));
    }
}

/// The size of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: usize,
}

/// Counts a model's weights without reading one.
pub fn summarize<M: Module>(model: &M, keys: &dyn KeyMap) -> Summary {
    let expected = Expected::of(model, keys);
    Summary { tensors: expected.tensors.len(), parameters: expected.parameters() }
}
