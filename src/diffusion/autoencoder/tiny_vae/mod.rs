//! A small autoencoder distilled from a large one.
//!
//! Reference: diffusers 0.42.1, `models/autoencoders/autoencoder_tiny.py` and `vae.py`; TAESD by O. Boer Bohan, commit 5cccb12.

mod config;
mod layers;
mod taesd;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use roentgen_classifier::nn::{Conv2d, Conv2dConfig};

use crate::diffusion::autoencoder::tiles::{Slices, by_slices, computed_in};
use crate::diffusion::resnet::conv3x3;
use layers::{Block, Layer, Plain, PlainKind};

pub use config::{AutoencoderTinyConfig, AutoencoderTinyKeys};
pub use layers::TinyActivation;
pub use taesd::{is_taesd, write_taesd};

/// Soft bound of latents before they are decoded.
const SOFT_LIMIT: f64 = 3.0;

/// A small convolutional autoencoder without noise (`diffusers.AutoencoderTiny`).
///
/// Pixels are in `[-1, 1]`; its layers compute in `[0, 1]`.
///
/// Should be created using [`AutoencoderTinyConfig`].
#[derive(Module, Debug)]
pub struct AutoencoderTiny {
    encoder: Sequence,
    decoder: Sequence,
    #[module(skip)]
    config: AutoencoderTinyConfig,
}

/// Layers, one after the other.
#[derive(Module, Debug)]
struct Sequence {
    layers: Vec<Layer>,
}

impl AutoencoderTiny {
    fn new(config: &AutoencoderTinyConfig, device: &Device) -> Self {
        Self { encoder: Sequence::encoder(config, device), decoder: Sequence::decoder(config, device), config: config.clone() }
    }

    /// Its architecture.
    #[must_use]
    pub fn config(&self) -> &AutoencoderTinyConfig {
        &self.config
    }

    /// What its layers compute in.
    fn dtype(&self) -> DType {
        self.decoder.dtype()
    }

    /// The latents of `images`, which are of the type of the weights.
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]` in `[-1, 1]`
    /// - output: `[B, latent_channels, H / factor, W / factor]`, rounded up
    pub fn encode(&self, images: Tensor<4>) -> Tensor<4> {
        self.encoder.forward((images + 1.0) / 2.0)
    }

    /// [`encode`](Self::encode) in parts that take less memory. Images and latents are of one type, whatever that of the weights.
    pub fn encode_sliced(&self, images: Tensor<4>, slices: &Slices) -> Tensor<4> {
        let grid = slices.tile.map(|tile| tile.encoding(self.config.factor()));
        by_slices(images, slices.one_by_one, grid, computed_in(self.dtype(), |part| self.encode(part)))
    }

    /// The images of `latents`, which are of the type of the weights.
    ///
    /// # Shapes
    /// - latents: `[B, latent_channels, H, W]`, unscaled
    /// - output: `[B, C, factor * H, factor * W]`, about `[-1, 1]`; not clamped
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = (latents / SOFT_LIMIT).tanh() * SOFT_LIMIT;
        self.decoder.forward(latents) * 2.0 - 1.0
    }

    /// [`decode`](Self::decode) in parts that take less memory. Latents and images are of one type, whatever that of the weights.
    pub fn decode_sliced(&self, latents: Tensor<4>, slices: &Slices) -> Tensor<4> {
        let grid = slices.tile.map(|tile| tile.decoding(self.config.factor()));
        by_slices(latents, slices.one_by_one, grid, computed_in(self.dtype(), |part| self.decode(part)))
    }

    /// Latents as an image in `[0, 1]` that 8 bits a channel hold well; those out of range are clamped.
    pub fn scale_latents(&self, latents: Tensor<4>) -> Tensor<4> {
        (latents / (2.0 * self.config.latent_magnitude) + self.config.latent_shift).clamp(0.0, 1.0)
    }

    /// The inverse of [`scale_latents`](Self::scale_latents) within its range.
    pub fn unscale_latents(&self, image: Tensor<4>) -> Tensor<4> {
        (image - self.config.latent_shift) * (2.0 * self.config.latent_magnitude)
    }
}

impl Sequence {
    fn encoder(config: &AutoencoderTinyConfig, device: &Device) -> Self {
        let stages = &config.num_encoder_blocks;
        let mut layers = vec![Layer::Conv(conv3x3([config.in_channels, config.width], device))];
        for (stage, &blocks) in stages.iter().enumerate() {
            if stage > 0 {
                layers.push(Layer::Conv(unbiased(config.width, 2, device)));
            }
            layers.extend(config.blocks(blocks, stage + 1 == stages.len(), device));
        }
        layers.push(Layer::Conv(conv3x3([config.width, config.latent_channels], device)));
        Self { layers }
    }

    fn decoder(config: &AutoencoderTinyConfig, device: &Device) -> Self {
        let mut layers = vec![
            Layer::Conv(conv3x3([config.latent_channels, config.width], device)),
            Layer::Plain(Plain::new(PlainKind::Activation(config.act_fn))),
        ];
        for (stage, &blocks) in config.num_decoder_blocks.iter().enumerate() {
            if stage > 0 {
                layers.push(Layer::Plain(Plain::new(PlainKind::Upsample)));
                layers.push(Layer::Conv(unbiased(config.width, 1, device)));
            }
            layers.extend(config.blocks(blocks, stage == 0, device));
        }
        layers.push(Layer::Conv(conv3x3([config.width, config.out_channels], device)));
        Self { layers }
    }

    /// The type of its weights; its first layer is a convolution.
    fn dtype(&self) -> DType {
        let convolution = self.layers.iter().find_map(|layer| match layer {
            Layer::Conv(conv) => Some(conv.weight.val().dtype()),
            _ => None,
        });
        convolution.expect("every sequence begins with a convolution")
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        self.layers.iter().fold(input, |x, layer| layer.forward(x))
    }
}

impl AutoencoderTinyConfig {
    /// The blocks of one resolution; `lowest` where that is the latents'.
    fn blocks(&self, count: usize, lowest: bool, device: &Device) -> impl Iterator<Item = Layer> {
        (0..count).map(move |_| Layer::Block(Block::new(self.width, self.act_fn, lowest && self.use_midblock_gn, device)))
    }
}

/// The convolution at a change of resolution.
fn unbiased(width: usize, stride: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([width, width], [3, 3]).with_stride([stride, stride]).with_padding_around(1).with_bias(false).init(device)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::optim::GradientsParams;
    use burn::tensor::{FloatDType, TensorData, Tolerance};
    use safetensors::SafeTensors;

    use super::*;
    use crate::diffusion::autoencoder::testing::{assert_shown, assert_slope, draw, fill};
    use crate::diffusion::autoencoder::tiles::Tile;
    use crate::diffusion::weights::{Stem, load, summarize};

    fn config() -> AutoencoderTinyConfig {
        AutoencoderTinyConfig::new()
            .with_width(8)
            .with_num_encoder_blocks(vec![1, 2, 1])
            .with_num_decoder_blocks(vec![1, 1, 2])
            .with_latent_channels(5)
    }

    fn filled(config: &AutoencoderTinyConfig) -> AutoencoderTiny {
        fill(config.init(&Device::flex()), &AutoencoderTinyKeys)
    }

    fn latents() -> Tensor<4> {
        draw("latents", [2, 5, 5, 6], 6.0)
    }

    /// Expected numbers: tests/parity/autoencoders.py (diffusers 0.42.1); latents, decoded.
    fn assert_equals_diffusers(config: &AutoencoderTinyConfig, expected: [[f32; 6]; 2]) {
        let vae = filled(config);
        let [encoded, decoded] = expected;
        assert_shown(vae.encode(draw("image", [2, 3, 22, 19], 1.0)), [2, 5, 6, 5], encoded);
        assert_shown(vae.decode(latents()), [2, 3, 20, 24], decoded);
    }

    #[test]
    fn equals_diffusers_with_every_activation() {
        for (activation, expected) in [
            (
                TinyActivation::Relu,
                [
                    [0.0969887, -0.1201328, 0.0843300, 0.0931289, 0.1163923, 0.1003902],
                    [1.0855042, -0.4555684, -1.8740284, 0.1690561, -1.6401498, 0.1491743],
                ],
            ),
            (
                TinyActivation::Silu,
                [
                    [0.0884833, -0.0795184, 0.0452658, 0.0977935, 0.0356354, 0.1190714],
                    [1.0687494, -0.5077639, -1.6682261, -0.0701530, -1.3194985, -0.2103844],
                ],
            ),
            (
                TinyActivation::Gelu,
                [
                    [0.0883724, -0.0871469, 0.0465377, 0.0972458, 0.0390323, 0.1231127],
                    [1.0860393, -0.4931691, -1.6845508, 0.0946298, -1.3839030, 0.0047673],
                ],
            ),
            (
                TinyActivation::Mish,
                [
                    [0.0872571, -0.0670598, 0.0557246, 0.0759737, 0.0620252, 0.0876259],
                    [1.1726392, -0.4522994, -1.7505941, 0.0812657, -1.4879018, -0.0621859],
                ],
            ),
        ] {
            assert_equals_diffusers(&config().with_act_fn(activation), expected);
        }
    }

    #[test]
    fn equals_taesd_with_group_norms() {
        assert_equals_diffusers(
            &config().with_use_midblock_gn(true),
            [
                [0.5310301, -0.6018810, 0.1307935, 0.0240939, 0.4915738, -0.4086912],
                [0.9160497, -0.4887610, -1.5722042, 0.0427932, -1.5518931, -0.1198252],
            ],
        );
    }

    #[test]
    fn latents_fit_an_image_and_come_back() {
        let vae = filled(&config());
        let image = vae.scale_latents(latents());
        assert_shown(image.clone(), [2, 5, 5, 6], [0.4958446, 0.0, 0.0, 0.0, 0.1731724, 1.0]);
        let back = vae.unscale_latents(image).into_data();
        back.assert_approx_eq::<f32>(&latents().clamp(-3.0, 3.0).into_data(), Tolerance::absolute(1e-5));
    }

    #[test]
    fn tiles_change_nothing_far_from_their_borders() {
        // Convolutions see 1 + 3 + 1 + 2 * 6 + 2 + 4 * 3 + 4 = 35 pixels, 9 latents, to each side; the first tile has 32.
        let vae = filled(&config());
        let images = draw("image", [1, 3, 128, 256], 1.0);
        let slices = Slices { tile: Some(Tile::new(128, 4).unwrap()), one_by_one: false };
        let middle = |x: Tensor<4>| x.narrow(2, 0, 32 - 9).narrow(3, 0, 32 - 9).into_data();
        let (whole, tiled) = (vae.encode(images.clone()), vae.encode_sliced(images, &slices));
        assert_eq!(tiled.dims(), whole.dims());
        middle(tiled).assert_approx_eq::<f32>(&middle(whole), Tolerance::absolute(1e-5));
    }

    #[test]
    fn every_weight_gets_a_gradient_and_the_images_theirs() {
        let vae = filled(&config().with_use_midblock_gn(true).with_act_fn(TinyActivation::Silu)).train();
        // Latents of this network are small: without a factor they hardly move the image.
        let loss = |images: Tensor<4>| vae.decode(vae.encode(images) * 4.0).square().mean();
        let gradients = assert_slope(loss, draw("image", [1, 3, 8, 12], 1.0), -0.0299108);
        assert_eq!(GradientsParams::from_grads(gradients, &vae).len(), summarize(&vae, &AutoencoderTinyKeys).tensors);
    }

    /// The real network of 2 x 1.3 million weights: <https://github.com/madebyollin/taesd> at 5cccb12, as safetensors, and its own
    /// results for a radiograph of 64 x 64 pixels in `[0, 1]`.
    #[test]
    #[ignore = "needs the weights of TAEF2: ROENTGEN_TAEF2_DIR=DIR cargo test --lib taef2 -- --ignored"]
    fn taef2_equals_its_reference() {
        /// The reference is of 32-bit floats too; values are about 1.
        const TOLERANCE: f64 = 2e-5;
        let from = PathBuf::from(std::env::var_os("ROENTGEN_TAEF2_DIR").expect("ROENTGEN_TAEF2_DIR is set"));
        let folder = tempfile::tempdir().unwrap();
        write_taesd(&from, folder.path()).unwrap();
        let model = AutoencoderTinyConfig::read(&folder.path().join("config.json")).unwrap().init(&Device::flex());
        let loaded = load(model, folder.path(), Stem::Diffusers, &AutoencoderTinyKeys, FloatDType::F32).unwrap();
        let (vae, reference) = (loaded.model, std::fs::read(from.join("reference_64.safetensors")).unwrap());
        let reference = SafeTensors::deserialize(&reference).unwrap();
        let tensor = |name: &str| {
            let view = reference.tensor(name).unwrap();
            let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            Tensor::<4>::from_data(TensorData::new(values.collect::<Vec<_>>(), view.shape().to_vec()), &Device::flex())
        };
        let close = |got: Tensor<4>, expected: Tensor<4>| {
            let error = (got - expected).abs().max().into_scalar::<f32>();
            println!("largest error {error:e}");
            assert!(f64::from(error) < TOLERANCE, "{error}");
        };
        close(vae.encode(tensor("input") * 2.0 - 1.0), tensor("latent"));
        close((vae.decode(tensor("latent")) + 1.0) / 2.0, tensor("decoded"));
    }
}
