//! Intermediate results of a forward pass.

use burn::tensor::{Tensor, TensorData};

/// What a forward pass computed on its way, by the name of the module in diffusers; nothing is kept unless asked for.
///
/// Used to compare activations with a reference implementation's, module by module.
#[derive(Debug)]
pub struct Trace {
    scope: String,
    kept: Option<Vec<(String, TensorData)>>,
}

impl Trace {
    /// Keeps nothing and costs nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { scope: String::new(), kept: None }
    }

    /// Keeps a copy of every result on the host.
    #[must_use]
    pub fn on() -> Self {
        Self { scope: String::new(), kept: Some(Vec::new()) }
    }

    /// Records a result of the module `name` within the current scope.
    pub(super) fn record<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        if let Some(kept) = &mut self.kept {
            let data = tensor.to_data();
            // burn copies from a GPU when the bytes are first looked at; by then the network may have overwritten the tensor in place.
            let _ = data.as_bytes();
            kept.push((format!("{}{name}", self.scope), data));
        }
    }

    /// Runs `inside` with `name.` before every name.
    pub(super) fn within<T>(&mut self, name: impl std::fmt::Display, inside: impl FnOnce(&mut Self) -> T) -> T {
        if self.kept.is_none() {
            return inside(self);
        }
        let outer = self.scope.len();
        self.scope.push_str(&format!("{name}."));
        let result = inside(self);
        self.scope.truncate(outer);
        result
    }

    /// Everything kept, in the order of computation.
    #[must_use]
    pub fn into_kept(self) -> Vec<(String, TensorData)> {
        self.kept.unwrap_or_default()
    }
}
