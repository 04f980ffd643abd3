//! The number of parameters that training changes.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// Parameters that training changes; running statistics are not among them.
pub(super) fn num_trainable(net: &impl Module) -> usize {
    let mut count = Count::default();
    net.visit(&mut count);
    count.parameters
}

/// Counts parameters; burn visits running statistics like them.
#[derive(Default)]
struct Count {
    name: String,
    parameters: usize,
}

impl ModuleVisitor for Count {
    fn enter_module(&mut self, name: &str, _: &str) {
        name.clone_into(&mut self.name);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.name.starts_with("running_") {
            self.parameters += param.lazy_shape().num_elements();
        }
    }
}
