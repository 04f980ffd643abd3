//! Loading the tensors of a checkpoint into a model, and saving them.
//!
//! Names and shapes are compared before a value is read: every missing, unexpected and wrongly shaped tensor is listed in one error.
//! Values are read one tensor at a time, so that loading takes little more memory than the model.

mod choice;
mod difference;
mod draw;
mod load;
mod rewrite;
mod save;
mod source;
#[cfg(test)]
mod testing;

pub use choice::{Choice, Stem, WeightsFolder, Why};
pub use difference::{Summary, summarize};
pub use draw::{draw, draw_normal, draw_uniform};
pub(in crate::diffusion) use load::fitting;
pub(crate) use load::load_source;
pub use load::{Facts, Loaded, check, init_with, load};
pub use rewrite::{Slot, digest, each, extract, rewrite};
pub use save::save;
pub(crate) use source::Source;

/// How the tensor names of files correspond to the parameters of a model.
///
/// Models give their fields the names that diffusers or transformers use, so most names agree. Norm parameters are `weight` and
/// `bias`, and linear weights `[out, in]`, on the file's side everywhere: that is done by [`load()`] and [`save()`].
pub trait KeyMap {
    /// The current name of a tensor of a file, whatever its age or wrapper; `None` for one that is not part of the model and
    /// may be skipped (a buffer, the head of another task).
    fn canonical(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    /// The current name in files of the parameter at `path`, where `path` already ends in `weight` or `bias` for norms.
    fn key(&self, path: &str) -> String {
        path.to_owned()
    }

    /// The shape in files of the tensor `key`, where it is another than the parameter's (a 1x1 convolution kept as a matrix).
    fn file_shape(&self, key: &str, shape: Vec<usize>) -> Vec<usize> {
        let _ = key;
        shape
    }
}

/// The path to the parameter that a visitor or mapper is at.
#[derive(Default)]
struct Place {
    /// Field names with the type of what holds them.
    stack: Vec<(String, String)>,
}

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.stack.push((name.to_owned(), container.to_owned()));
    }

    fn exit(&mut self) {
        self.stack.pop();
    }

    /// The current name in files of the parameter here.
    fn key(&self, keys: &dyn KeyMap) -> String {
        // The name of an enum's variant says which kind of layer there is, and is not part of the path.
        let fields = self.stack.iter().filter(|(_, container)| !container.starts_with("Enum:"));
        let mut path = fields.map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let (last, container) = self.stack.last().expect("a parameter is within a module");
        if matches!(container.as_str(), "Struct:GroupNorm" | "Struct:LayerNorm") {
            let name = match last.as_str() {
                "gamma" => "weight",
                "beta" => "bias",
                other => other,
            };
            *path.last_mut().expect("a norm's fields are not enum variants") = name;
        }
        keys.key(&path.join("."))
    }

    /// Whether the parameter here is the matrix of a linear layer: `[in, out]` in memory, `[out, in]` in files.
    fn is_linear_weight(&self) -> bool {
        matches!(self.stack.last(), Some((name, container)) if name == "weight" && container == "Struct:Linear")
    }

    /// The shape in files of the parameter here, by its name in files and its shape in memory.
    fn file_shape(&self, keys: &dyn KeyMap, key: &str, mut shape: Vec<usize>) -> Vec<usize> {
        if self.is_linear_weight() {
            shape.reverse();
        }
        keys.file_shape(key, shape)
    }
}
