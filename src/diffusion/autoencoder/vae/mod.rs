//! The autoencoder of Stable Diffusion: images to a Gaussian over latents, and latents to images.
//!
//! Reference: diffusers 0.42.1, `models/autoencoders/autoencoder_kl.py` and `vae.py`; Rombach et al. 2022, arXiv 2112.10752.

mod coder;
mod config;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use roentgen_classifier::nn::{Conv2d, Conv2dConfig};

use crate::diffusion::Trace;
use crate::diffusion::autoencoder::tiles::{Slices, by_slices, computed_in};
use coder::{Decoder, Encoder};

pub use config::{AutoencoderKlConfig, AutoencoderKlKeys};

/// Epsilon of every norm in the autoencoder.
const EPSILON: f64 = 1e-6;

/// The autoencoder of Stable Diffusion (`diffusers.AutoencoderKL`).
///
/// Pixels are in `[-1, 1]`. Latents are as the encoder gives them: the denoiser's are
/// [`scaling_factor`](AutoencoderKlConfig::scaling_factor) times that.
///
/// Should be created using [`AutoencoderKlConfig`].
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    encoder: Encoder,
    /// 1x1, mixes means and log-variances.
    quant_conv: Option<Conv2d>,
    /// 1x1.
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    #[module(skip)]
    config: AutoencoderKlConfig,
}

impl AutoencoderKl {
    fn new(config: &AutoencoderKlConfig, device: &Device) -> Self {
        let pointwise = |channels: usize| Conv2dConfig::new([channels, channels], [1, 1]).init(device);
        Self {
            encoder: Encoder::new(config, device),
            quant_conv: config.use_quant_conv.then(|| pointwise(2 * config.latent_channels)),
            post_quant_conv: config.use_post_quant_conv.then(|| pointwise(config.latent_channels)),
            decoder: Decoder::new(config, device),
            config: config.clone(),
        }
    }

    /// Its architecture.
    #[must_use]
    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// What its layers compute in.
    fn dtype(&self) -> DType {
        self.decoder.dtype()
    }

    /// The distribution of latents of `images`, which are of the type of the weights.
    ///
    /// # Shapes
    /// - images: `[B, C, H, W]` in `[-1, 1]`, each side at least [`factor`](AutoencoderKlConfig::factor)
    /// - mean, logvar: `[B, latent_channels, H / factor, W / factor]`, rounded down
    pub fn encode(&self, images: Tensor<4>) -> Posterior {
        self.encode_traced(images, &mut Trace::off())
    }

    /// [`encode`](Self::encode), showing `encoder.down_blocks.N`, `encoder.mid_block` and `encoder.conv_out`.
    pub fn encode_traced(&self, images: Tensor<4>, trace: &mut Trace) -> Posterior {
        Posterior::new(self.moments(images, trace))
    }

    /// [`encode`](Self::encode) in parts that take less memory; with tiles, equal to diffusers' `enable_tiling`. Images and distribution are
    /// of one type, whatever that of the weights.
    pub fn encode_sliced(&self, images: Tensor<4>, slices: &Slices) -> Posterior {
        let factor = self.config.factor();
        let grid = slices.tile.map(|tile| tile.encoding(factor));
        Posterior::new(by_slices(
            images,
            slices.one_by_one,
            grid,
            computed_in(self.dtype(), |part| self.moments(part, &mut Trace::off())),
        ))
    }

    /// The images of `latents`, which are of the type of the weights.
    ///
    /// # Shapes
    /// - latents: `[B, latent_channels, H, W]`, unscaled
    /// - output: `[B, C, factor * H, factor * W]`, about `[-1, 1]`; not clamped
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        self.decode_traced(latents, &mut Trace::off())
    }

    /// [`decode`](Self::decode), showing `decoder.mid_block` and `decoder.up_blocks.N`.
    pub fn decode_traced(&self, latents: Tensor<4>, trace: &mut Trace) -> Tensor<4> {
        let latents = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        };
        trace.within("decoder", |trace| self.decoder.forward(latents, trace))
    }

    /// [`decode`](Self::decode) in parts that take less memory; with tiles, equal to diffusers' `enable_tiling`. Latents and images are of
    /// one type, whatever that of the weights.
    pub fn decode_sliced(&self, latents: Tensor<4>, slices: &Slices) -> Tensor<4> {
        let grid = slices.tile.map(|tile| tile.decoding(self.config.factor()));
        by_slices(latents, slices.one_by_one, grid, computed_in(self.dtype(), |part| self.decode(part)))
    }

    /// Means and log-variances, `[B, 2 * latent_channels, h, w]`.
    fn moments(&self, images: Tensor<4>, trace: &mut Trace) -> Tensor<4> {
        let [_, _, height, width] = images.dims();
        let factor = self.config.factor();
        assert!(
            height.min(width) >= factor,
            "an image of {height}x{width} is smaller than a latent of {factor}x{factor} pixels"
        );
        let moments = trace.within("encoder", |trace| self.encoder.forward(images, trace));
        match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        }
    }
}

/// Bounds of the log-variance (diffusers 0.42.1, `DiagonalGaussianDistribution`); beyond them its exponential leaves 32 bits.
const LOGVAR: [f64; 2] = [-30.0, 20.0];

/// A Gaussian with a diagonal covariance over the latents of each image.
#[derive(Clone, Debug)]
pub struct Posterior {
    /// `[B, C, H, W]`
    pub mean: Tensor<4>,
    /// Natural logarithm of the variance, within `[-30, 20]`; `[B, C, H, W]`.
    pub logvar: Tensor<4>,
}

impl Posterior {
    /// From `[B, 2 * C, H, W]`: means, then log-variances.
    pub(super) fn new(moments: Tensor<4>) -> Self {
        let [mean, logvar]: [Tensor<4>; 2] = moments.chunk(2, 1).try_into().expect("an even number of channels has two halves");
        let [low, high] = LOGVAR;
        Self { mean, logvar: logvar.clamp(low, high) }
    }

    /// Standard deviation, `[B, C, H, W]`.
    #[must_use]
    pub fn std(&self) -> Tensor<4> {
        (self.logvar.clone() * 0.5).exp()
    }

    /// The most probable latents.
    #[must_use]
    pub fn mode(&self) -> Tensor<4> {
        self.mean.clone()
    }

    /// `mean + std * noise`: latents drawn at random, where `noise` is standard normal and of their shape.
    ///
    /// # Panics
    /// If `noise` has another shape.
    #[must_use]
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        assert_eq!(noise.dims(), self.mean.dims(), "noise of the latents' shape");
        self.mean.clone() + self.std() * noise
    }

    /// Kullback-Leibler divergence from the standard normal distribution, nats: `[B]`, summed over channels and positions
    /// (Kingma & Welling 2014, arXiv 1312.6114, appendix B).
    #[must_use]
    pub fn kl(&self) -> Tensor<1> {
        let terms = self.mean.clone().square() + self.logvar.clone().exp() - self.logvar.clone() - 1.0;
        terms.flatten::<2>(1, 3).sum_dim(1).squeeze_dim(1) * 0.5
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use burn::tensor::{FloatDType, TensorData, Tolerance};

    use super::*;
    use crate::diffusion::autoencoder::testing::{assert_shown, assert_slope, draw, fill};
    use crate::diffusion::autoencoder::tiles::Tile;
    use crate::diffusion::weights::{Stem, load, save, summarize};

    fn config() -> AutoencoderKlConfig {
        AutoencoderKlConfig::new()
            .with_block_out_channels(vec![4, 8, 8])
            .with_norm_num_groups(2)
            .with_latent_channels(3)
            .with_sample_size(16)
    }

    fn filled(config: &AutoencoderKlConfig) -> AutoencoderKl {
        fill(config.init(&Device::flex()), &AutoencoderKlKeys)
    }

    /// Expected numbers: tests/parity/autoencoders.py (diffusers 0.42.1); mean, logvar, kl, decoded.
    fn assert_equals_diffusers(config: &AutoencoderKlConfig, expected: [[f32; 6]; 4]) {
        let vae = filled(config);
        let [mean, logvar, kl, decoded] = expected;
        let images = draw("image", [2, 3, 22, 19], 1.0).narrow(1, 0, config.in_channels);
        let posterior = vae.encode(images);
        assert_shown(posterior.mean.clone(), [2, 3, 5, 4], mean);
        assert_shown(posterior.logvar.clone(), [2, 3, 5, 4], logvar);
        assert_shown(posterior.kl(), [2], kl);
        assert_shown(vae.decode(draw("latents", [2, 3, 5, 6], 1.0)), [2, config.out_channels, 20, 24], decoded);
    }

    #[test]
    fn equals_diffusers() {
        assert_equals_diffusers(
            &config(),
            [
                [0.3353915, -0.0981985, 0.3831514, -0.3649450, -0.3542903, -0.4021328],
                [0.3128781, -0.6444488, 0.0841496, -0.1106494, 0.6448466, -0.3816595],
                [7.3745456, 7.7814960, 7.7814960, 7.7814960, 7.7814960, 6.9675951],
                [0.4178633, -0.0414425, -0.2866858, 0.1803588, -0.1283992, -0.0518693],
            ],
        );
    }

    #[test]
    fn equals_diffusers_with_two_layers_and_other_image_channels() {
        assert_equals_diffusers(
            &config().with_layers_per_block(2).with_in_channels(1).with_out_channels(2),
            [
                [0.3197810, -0.2503311, -0.0046640, 0.2206400, -0.3729822, -0.0123497],
                [0.3178348, 0.0981262, 0.0728216, -0.3160081, 0.2685757, -0.3569388],
                [7.4789383, 7.0955172, 7.0955172, 7.0955172, 7.0955172, 7.8623595],
                [0.3988492, 0.0158442, -0.0531153, -0.0440482, -0.2019767, -0.0695275],
            ],
        );
    }

    #[test]
    fn equals_diffusers_without_attention_and_quantisation() {
        assert_equals_diffusers(
            &config().with_mid_block_add_attention(false).with_use_quant_conv(false).with_use_post_quant_conv(false),
            [
                [0.3972216, 0.0409934, -0.0345755, 0.4975628, -0.4162022, 0.0818321],
                [0.3131807, 0.1302229, -0.1269460, -0.3427512, 0.0693138, -0.1251014],
                [10.2679634, 10.9926195, 10.9926195, 10.9926195, 10.9926195, 9.5433073],
                [0.4431727, -0.0623812, 0.0549706, 0.1529480, -0.1781877, 0.1268499],
            ],
        );
    }

    #[test]
    fn tiles_equal_diffusers() {
        let vae = filled(&config());
        let slices = Slices { tile: Some(vae.config().default_tile()), ..Slices::default() };
        let posterior = vae.encode_sliced(draw("image", [1, 3, 41, 29], 1.0), &slices);
        let moments = Tensor::cat(vec![posterior.mean, posterior.logvar], 1);
        assert_shown(moments, [1, 6, 10, 7], [0.3450500, 0.2366082, -0.1828718, -0.2467993, 0.5549574, -0.0378899]);
        assert_shown(
            vae.decode_sliced(draw("latents", [1, 3, 11, 6], 1.0), &slices),
            [1, 3, 44, 24],
            [0.4615068, 0.0367901, -0.2747384, 0.0635544, -0.0526290, 0.0896905],
        );
    }

    #[test]
    fn one_image_at_a_time_and_large_tiles_change_nothing() {
        let vae = filled(&config());
        let (images, latents) = (draw("image", [3, 3, 17, 16], 1.0), draw("latents", [3, 3, 4, 5], 1.0));
        let (posterior, decoded) = (vae.encode(images.clone()), vae.decode(latents.clone()));
        let slices = Slices { one_by_one: true, tile: Some(Tile::new(32, 4).unwrap()) };
        let close =
            |a: Tensor<4>, b: Tensor<4>| a.into_data().assert_approx_eq::<f32>(&b.into_data(), Tolerance::absolute(1e-5));
        close(vae.encode_sliced(images, &slices).mean, posterior.mean);
        close(vae.decode_sliced(latents, &slices), decoded);
    }

    #[test]
    #[should_panic(expected = "an image of 3x8 is smaller than a latent of 4x4 pixels")]
    fn images_without_a_latent_are_refused() {
        filled(&config()).encode(draw("image", [1, 3, 3, 8], 1.0));
    }

    #[test]
    fn every_weight_gets_a_gradient_and_the_images_theirs() {
        let (vae, noise) = (filled(&config()).train(), draw("noise", [1, 3, 2, 2], 1.0).autodiff());
        let loss = |images: Tensor<4>| {
            let posterior = vae.encode(images);
            vae.decode(posterior.sample(noise.clone())).square().mean() + posterior.kl().mean()
        };
        let gradients = assert_slope(loss, draw("image", [1, 3, 9, 8], 1.0), -1.2553107);
        assert_eq!(GradientsParams::from_grads(gradients, &vae).len(), summarize(&vae, &AutoencoderKlKeys).tensors);
    }

    #[test]
    fn is_saved_under_current_names_and_loads_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(Stem::Diffusers.file_name());
        let vae = filled(&config());
        save(&vae, &path, &AutoencoderKlKeys, FloatDType::F32).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        // Names and shapes of diffusers' own files.
        for (name, shape) in [
            ("encoder.conv_in.weight", &[4, 3, 3, 3][..]),
            ("encoder.down_blocks.0.resnets.0.norm1.weight", &[4]),
            ("encoder.down_blocks.1.resnets.0.conv_shortcut.weight", &[8, 4, 1, 1]),
            ("encoder.down_blocks.1.downsamplers.0.conv.bias", &[8]),
            ("encoder.mid_block.attentions.0.to_out.0.weight", &[8, 8]),
            ("encoder.mid_block.attentions.0.group_norm.bias", &[8]),
            ("decoder.up_blocks.0.upsamplers.0.conv.weight", &[8, 8, 3, 3]),
            ("decoder.up_blocks.2.resnets.1.conv2.weight", &[4, 4, 3, 3]),
            ("decoder.conv_norm_out.weight", &[4]),
            ("quant_conv.weight", &[6, 6, 1, 1]),
            ("post_quant_conv.bias", &[3]),
        ] {
            assert_eq!(file.tensor(name).unwrap().shape(), shape, "{name}");
        }
        let loaded = load(config().init(&Device::flex()), folder.path(), Stem::Diffusers, &AutoencoderKlKeys, FloatDType::F32);
        save(&loaded.unwrap().model, &path, &AutoencoderKlKeys, FloatDType::F32).unwrap();
        assert!(std::fs::read(&path).unwrap() == bytes);
    }

    fn posterior(moments: [f32; 2]) -> Posterior {
        Posterior::new(Tensor::from_data(TensorData::new(moments.to_vec(), [1, 2, 1, 1]), &Device::flex()))
    }

    fn value<const D: usize>(x: Tensor<D>) -> f32 {
        x.into_scalar::<f32>()
    }

    #[test]
    fn log_variance_is_clamped() {
        assert_eq!(value(posterior([0.0, -31.0]).logvar), -30.0);
        assert_eq!(value(posterior([0.0, 1e30]).logvar), 20.0);
        assert!(value(posterior([0.0, f32::MAX]).kl()).is_finite());
    }

    #[test]
    fn a_sample_is_the_mean_and_noise() {
        // By hand: variance 4.
        let posterior = posterior([0.5, 4f32.ln()]);
        let noise = Tensor::from_data(TensorData::new(vec![-1.5f32], [1, 1, 1, 1]), &Device::flex());
        assert_eq!(value(posterior.std()), 2.0);
        assert_eq!(value(posterior.sample(noise)), -2.5);
        assert_eq!(value(posterior.mode()), 0.5);
        // By hand: (0.25 + 4 - 1 - ln 4) / 2.
        assert!((value(posterior.kl()) - 0.931_853).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "noise of the latents' shape")]
    fn noise_is_not_broadcast() {
        let _ = posterior([0.0, 0.0]).sample(Tensor::zeros([2, 1, 1, 1], &Device::flex()));
    }
}
