//! Where a walk over a module is.

use super::KeyMap;

/// The path to the parameter that a visitor or mapper is at.
#[derive(Default)]
pub(super) struct Place {
    /// Field names with the type of what holds them.
    stack: Vec<(String, String)>,
}

impl Place {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.stack.push((name.to_owned(), container.to_owned()));
    }

    pub(super) fn exit(&mut self) {
        self.stack.pop();
    }

    /// The current name in files of the parameter here.
    pub(super) fn key(&self, keys: &dyn KeyMap) -> String {
        // The name of an enum's variant says which kind of layer there is, and is no part of the path.
        let fields = self.stack.iter().filter(|(_, container)| !container.starts_with("Enum:"));
        let mut path = fields.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let (last, container) = self.stack.last().expect("a parameter is within a module");
        if matches!(container.as_str(), "Struct:GroupNorm" | "Struct:LayerNorm") {
            let name = match last.as_str() {
                "gamma" => "weight",
                "beta" => "bias",
                other => other,
            };
            *path.last_mut().expect("a norm's fields are no enum variants") = name;
        }
        keys.key(&path.join("."))
    }

    /// Whether the parameter here is the matrix of a linear layer: `[in, out]` in memory, `[out, in]` in files.
    pub(super) fn is_linear_weight(&self) -> bool {
        matches!(self.stack.last(), Some((name, container)) if name == "weight" && container == "Struct:Linear")
    }

    /// The shape in files of the parameter here, by its name in files and its shape in memory.
    pub(super) fn file_shape(&self, keys: &dyn KeyMap, key: &str, mut shape: Vec<usize>) -> Vec<usize> {
        if self.is_linear_weight() {
            shape.reverse();
        }
        keys.file_shape(key, shape)
    }
}
