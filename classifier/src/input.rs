//! How gray pixels become a network's input channels.

use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::image::{Pixels, Signed};
use serde::{Deserialize, Serialize};

/// The pixel range and channels that a set of weights was trained with.
///
/// Feeding another range than the weights know is the commonest silent error with pretrained chest X-ray networks, so the range
/// is part of a checkpoint and never a caller's arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputRange {
    /// One channel in `[-1024, 1024]` (torchxrayvision).
    Xrv,
    /// Gray copied to three channels, `[0, 1]` less the ImageNet mean over its deviation (torchvision).
    Imagenet,
    /// One channel in `[-1, 1]`; for networks trained from scratch.
    Signed,
}

/// Per-channel statistics of torchvision's ImageNet weights (`transforms.Normalize` in its reference recipes).
const IMAGENET_MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; 3] = [0.229, 0.224, 0.225];

impl InputRange {
    /// 1 or 3.
    #[must_use]
    pub fn channels(self) -> usize {
        match self {
            Self::Xrv | Self::Signed => 1,
            Self::Imagenet => 3,
        }
    }

    /// Stacks images of one size into `[B, C, H, W]`.
    ///
    /// # Panics
    /// If there is no image or sizes differ: a dataset gives one size.
    #[must_use]
    pub fn stack(self, images: &[Pixels<Signed>], device: &Device) -> Tensor<4> {
        let first = images.first().expect("a batch has at least one image");
        let (height, width) = (first.height(), first.width());
        let mut values = Vec::with_capacity(images.len() * self.channels() * height * width);
        for image in images {
            assert_eq!((image.height(), image.width()), (height, width), "images of one batch have one size");
            match self {
                Self::Xrv => values.extend(image.values().iter().map(|v| v * 1024.0)),
                Self::Signed => values.extend_from_slice(image.values()),
                Self::Imagenet => {
                    for (mean, std) in IMAGENET_MEAN.into_iter().zip(IMAGENET_STD) {
                        values.extend(image.values().iter().map(|v| ((v + 1.0) / 2.0 - mean) / std));
                    }
                }
            }
        }
        Tensor::from_data(TensorData::new(values, [images.len(), self.channels(), height, width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_black_and_white() {
        let device = Device::flex();
        let image = Pixels::<Signed>::new(2, 1, vec![-1.0, 1.0]);
        let values =
            |range: InputRange| range.stack(std::slice::from_ref(&image), &device).into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(values(InputRange::Xrv), [-1024.0, 1024.0]);
        assert_eq!(values(InputRange::Signed), [-1.0, 1.0]);
        let imagenet = values(InputRange::Imagenet);
        assert_eq!(imagenet.len(), 6);
        assert!((imagenet[0] + 0.485 / 0.229).abs() < 1e-6 && (imagenet[5] - (1.0 - 0.406) / 0.225).abs() < 1e-6);
    }
}
