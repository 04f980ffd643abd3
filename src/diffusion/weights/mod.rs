//! Tensors of a checkpoint into a model, and back.
//!
//! Names and shapes are compared before a value is read: every missing, unexpected and wrongly shaped tensor is listed in one error.
//! Values are read a tensor at a time, so that loading takes little more memory than the model.

mod difference;
mod draw;
mod expected;
mod export;
mod files;
mod fill;
mod place;
mod rewrite;
mod safetensors;
mod source;
#[cfg(test)]
mod testing;

pub use difference::Difference;
pub use draw::{draw, draw_normal, draw_uniform};
pub use expected::{Summary, summarize};
pub use export::save;
pub use files::Stem;
pub use fill::{Facts, Loaded, check, init_with, load};
pub use rewrite::{Slot, digest, each, extract, rewrite};
pub(crate) use safetensors::{open_f32, write_f32};

/// How the tensor names of files correspond to the parameters of a model.
///
/// Models give their fields the names that diffusers or transformers use, so most names agree. Norm parameters are `weight` and
/// `bias`, and linear weights `[out, in]`, on the file's side everywhere: that is done by [`load`] and [`save`].
pub trait KeyMap {
    /// The current name of a tensor of a file, whatever its age or wrapper; `None` for one that is no part of the model and may be
    /// left (a buffer, the head of another task).
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
