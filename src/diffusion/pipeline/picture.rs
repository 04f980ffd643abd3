//! From the decoder's pixels to gray images.

use burn::tensor::{Tensor, TensorData};
use roentgen_augment::image::GrayImage;

/// Bit depth of a written image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// 256 levels.
    #[default]
    Eight,
    /// 65,536 levels.
    Sixteen,
}

/// A generated image.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The mean of the decoder's three channels.
    pub image: GrayImage,
    /// Mean over pixels of the largest difference between two channels, in [0, 1]. The decoder makes colour images: a model that
    /// has learnt radiographs keeps this near 0, and a large value means that the image is not gray.
    pub channel_spread: f32,
}

/// Pictures of decoded pixels `[B, 3, H, W]` in [-1, 1], as diffusers' `VaeImageProcessor` clips and rounds them: `x/2 + 0.5`,
/// clipped to [0, 1], to the nearest level, halves to even.
pub(super) fn pictures(decoded: Tensor<4>, depth: Depth) -> Vec<Picture> {
    let [_, channels, height, width] = decoded.dims();
    let data: TensorData = decoded.into_data().convert::<f32>();
    let values = data.as_slice::<f32>().expect("the data was converted");
    let plane = height * width;
    values.chunks_exact(channels * plane).map(|image| picture(image, plane, [height, width], depth)).collect()
}

fn picture(values: &[f32], plane: usize, [height, width]: [usize; 2], depth: Depth) -> Picture {
    let mut gray = Vec::with_capacity(plane);
    let mut spread = 0f64;
    for pixel in 0..plane {
        let channels = values[pixel..].iter().step_by(plane).map(|value| (value / 2.0 + 0.5).clamp(0.0, 1.0));
        let (mut sum, mut count, mut low, mut high) = (0f32, 0f32, f32::MAX, f32::MIN);
        for value in channels {
            (sum, count, low, high) = (sum + value, count + 1.0, low.min(value), high.max(value));
        }
        gray.push(sum / count);
        spread += f64::from(high - low);
    }
    let level = |value: &f32, highest: f32| (value * highest).round_ties_even();
    let image = match depth {
        Depth::Eight => {
            let samples: Vec<u8> = gray.iter().map(|value| level(value, 255.0) as u8).collect();
            GrayImage::from_u8(width, height, samples)
        }
        Depth::Sixteen => {
            let samples: Vec<u16> = gray.iter().map(|value| level(value, 65535.0) as u16).collect();
            GrayImage::from_u16(width, height, samples)
        }
    };
    Picture { image, channel_spread: (spread / plane as f64) as f32 }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use roentgen_augment::image::GrayDepth;

    use super::*;

    /// Two pixels of three channels: gray black, and red.
    fn decoded() -> Tensor<4> {
        let values = vec![-1.5f32, 1.0, -1.0, -1.0, -1.0, -1.0];
        Tensor::from_data(TensorData::new(values, [1, 3, 1, 2]), &Device::flex())
    }

    #[test]
    fn gray_is_the_mean_and_colour_is_reported() {
        let pictures = pictures(decoded(), Depth::Eight);
        let GrayDepth::U8(samples) = pictures[0].image.depth() else { panic!("8 bits were requested") };
        assert_eq!(samples.as_ref(), [0, 85]);
        assert_eq!(pictures[0].channel_spread, 0.5);
    }

    #[test]
    fn sixteen_bits_have_the_whole_range() {
        let white = Tensor::<4>::ones([2, 3, 1, 1], &Device::flex());
        for picture in pictures(white, Depth::Sixteen) {
            let GrayDepth::U16(samples) = picture.image.depth() else { panic!("16 bits were requested") };
            assert_eq!(samples.as_ref(), [65535]);
            assert_eq!(picture.channel_spread, 0.0);
        }
    }
}
