//! Tensor names of U-Net files.

use super::super::weights::KeyMap;

/// Names and shapes that diffusers gives the tensors of a `UNet2DConditionModel`.
///
/// They have been the same since its first release.
#[derive(Clone, Copy, Debug)]
pub struct UNetKeys {
    /// Whether files have the projections around a transformer as matrices (`use_linear_projection`) or as 1x1 convolutions.
    pub(super) linear_projection: bool,
}

impl KeyMap for UNetKeys {
    fn key(&self, path: &str) -> String {
        // Layers of a `Sequential`, whose others have no weights.
        for (field, sequential) in [(".to_out.", ".to_out.0."), (".ff.proj.", ".ff.net.0.proj."), (".ff.out.", ".ff.net.2.")] {
            if path.contains(field) {
                return path.replace(field, sequential);
            }
        }
        path.to_owned()
    }

    fn file_shape(&self, key: &str, mut shape: Vec<usize>) -> Vec<usize> {
        if !self.linear_projection && (key.ends_with(".proj_in.weight") || key.ends_with(".proj_out.weight")) {
            shape.extend([1, 1]);
        }
        shape
    }
}
