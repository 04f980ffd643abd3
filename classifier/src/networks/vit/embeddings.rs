//! From pixels to tokens.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::nn::Conv2d;
use roentgen_kernels::cast;

/// One token for the image, one per patch, each with its place.
#[derive(Module, Debug)]
pub(super) struct Embeddings {
    /// `[1, 1, D]`
    pub(super) cls_token: Param<Tensor<3>>,
    /// `[1, 1 + patches, D]`: that of the class token, then row by row those of a square of patches.
    pub(super) position_embeddings: Param<Tensor<3>>,
    pub(super) patch_embeddings: PatchEmbeddings,
    pub(super) patch: usize,
}

#[derive(Module, Debug)]
pub(super) struct PatchEmbeddings {
    pub(super) projection: Conv2d,
}

impl Embeddings {
    /// `[B, C, H, W]` to `[B, 1 + patches, D]`.
    pub(super) fn forward(&self, images: Tensor<4>) -> Tensor<3> {
        let [batch, _, height, width] = images.dims();
        let smallest = self.patch;
        assert!(height.min(width) >= smallest, "an image of {width}x{height} has no patch of {smallest}x{smallest}");
        // A remainder at the bottom and right is no whole patch, and has no token.
        let patches = self.patch_embeddings.projection.forward(images).flatten::<3>(2, 3).swap_dims(1, 2);
        let dtype = patches.dtype().into();
        let class = cast(self.cls_token.val(), dtype);
        let class = class.clone().expand([batch, 1, class.dims()[2]]);
        Tensor::cat(vec![class, patches], 1) + cast(self.positions([height, width]), dtype)
    }

    /// The position embeddings of an image of this height and width: as stored for a square of as many patches, else resampled.
    fn positions(&self, [height, width]: [usize; 2]) -> Tensor<3> {
        let stored = self.position_embeddings.val();
        let [_, rows, channels] = stored.dims();
        let (patches, [down, across]) = (rows - 1, [height, width].map(|side| side / self.patch));
        if down * across == patches && height == width {
            return stored;
        }
        let side = patches.isqrt();
        let class = stored.clone().narrow(1, 0, 1);
        let device = stored.device();
        // [side * side, D] along y, then along x: each a product with few numbers per row that are not zero.
        let table = stored.narrow(1, 1, patches).reshape([side, side * channels]);
        let table = bicubic(side, down, &device).matmul(table).reshape([down, side, channels]).swap_dims(0, 1);
        let table = bicubic(side, across, &device).matmul(table.reshape([side, down * channels]));
        let table = table.reshape([across, down, channels]).swap_dims(0, 1).reshape([1, down * across, channels]);
        Tensor::cat(vec![class, table], 1)
    }
}

/// The weights `[to, from]` by which `from` samples become `to`: torch's `interpolate(mode="bicubic", align_corners=False)`, which knows no
/// antialiasing unless it is asked (`upsample_bicubic2d` of torch 2.15.0). Beyond its ends a row is its last sample.
fn bicubic(from: usize, to: usize, device: &Device) -> Tensor<2> {
    let scale = from as f32 / to as f32;
    let mut weights = vec![0f32; to * from];
    for (index, weights) in weights.chunks_exact_mut(from).enumerate() {
        let center = scale * (index as f32 + 0.5) - 0.5;
        let (first, t) = (center.floor(), center - center.floor());
        for (tap, weight) in [(-1, outer(t + 1.0)), (0, inner(t)), (1, inner(1.0 - t)), (2, outer(2.0 - t))] {
            let sample = (first as isize + tap).clamp(0, from as isize - 1);
            weights[sample as usize] += weight;
        }
    }
    Tensor::from_data(TensorData::new(weights, [to, from]), device)
}

/// Of Keys' cubic convolution (1981): OpenCV's, and torch's.
const A: f32 = -0.75;

/// Within one sample of the centre.
fn inner(x: f32) -> f32 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// Between one and two samples from it.
fn outer(x: f32) -> f32 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}

#[cfg(test)]
mod tests {
    use super::*;

    /// torch 2.15.0: `interpolate(torch.tensor([[[[1., 2., 4., 8.]]]]), size=(1, n), mode="bicubic", align_corners=False)`.
    #[test]
    fn rows_are_resampled_as_torch_does() {
        let device = Device::flex();
        let row = Tensor::<2>::from_floats([[1.0], [2.0], [4.0], [8.0]], &device);
        let cases: [(usize, &[f32]); 3] = [
            (4, &[1.0, 2.0, 4.0, 8.0]),
            (3, &[1.108_796_4, 2.718_75, 7.460_649_5]),
            (6, &[0.913_194_66, 1.312_5, 2.304_397_8, 3.383_101_9, 6.187_5, 8.347_222]),
        ];
        for (to, expected) in cases {
            let found: Vec<f32> = bicubic(4, to, &device).matmul(row.clone()).into_data().try_to_vec().unwrap();
            // Sums of four numbers up to 8 in 32 bits.
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 4e-6), "{to}: {found:?}, {expected:?}");
        }
    }
}
