//! Images that can't be radiographs: blank, saturated or coloured.

use serde::{Deserialize, Serialize};

use super::{Candidate, Fault, Judge, JudgeError, Verdict};
use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::image::{GrayImage, Pixels, Signed};

/// Part of the range next to black and to white that counts as saturated: one level of 8 bits.
const EDGE: f32 = 1.0 / 255.0;

/// Limits on what an image can be. The defaults are ours: real images, black borders included, keep well within them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImageSanity {
    /// Least standard deviation of the gray values, of a range of 1.
    pub min_deviation: f32,
    /// Largest share of pixels that are fully black or fully white.
    pub max_saturated: f32,
    /// Largest [channel spread](crate::supply::Synthesized::channel_spread); a sample whose generator does not report it passes.
    pub max_channel_spread: f32,
}

impl Default for ImageSanity {
    fn default() -> Self {
        Self { min_deviation: 0.02, max_saturated: 0.6, max_channel_spread: 0.05 }
    }
}

impl ImageSanity {
    /// Refuses limits outside `[0, 1]`.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`].
    pub fn validate(&self) -> Result<(), AugmentError> {
        let limits = [
            ("min_deviation", self.min_deviation),
            ("max_saturated", self.max_saturated),
            ("max_channel_spread", self.max_channel_spread),
        ];
        // NaN is in no range.
        match limits.into_iter().find(|(_, limit)| !(0.0..=1.0).contains(limit)) {
            None => Ok(()),
            Some((key, limit)) => {
                let (key, expected) = (format!("gate.sanity.{key}"), "a number from 0 to 1".to_owned());
                Err(AugmentError::BadSetting { key, found: limit.to_string(), expected })
            }
        }
    }

    fn verdict(&self, candidate: &Candidate<'_>) -> Verdict {
        let (deviation, saturated) = statistics(candidate.image);
        let spread = candidate.channel_spread.unwrap_or(0.0);
        let faults = [
            (deviation < self.min_deviation).then_some(Fault::Blank { deviation }),
            (saturated > self.max_saturated).then_some(Fault::Saturated { share: saturated }),
            (spread > self.max_channel_spread).then_some(Fault::Coloured { spread }),
        ];
        Verdict { faults: faults.into_iter().flatten().collect(), nearest_real: None }
    }
}

impl Judge for ImageSanity {
    fn fingerprint(&self) -> Fingerprint {
        let limits = [self.min_deviation, self.max_saturated, self.max_channel_spread].map(f32::to_le_bytes);
        Fingerprint::of(&[b"image sanity 1", &limits.concat()])
    }

    fn limits(&self) -> Vec<String> {
        vec![format!(
            "standard deviation at least {}, saturated share at most {}, channel spread at most {}",
            self.min_deviation, self.max_saturated, self.max_channel_spread
        )]
    }

    fn judge(&self, candidates: &[Candidate<'_>]) -> Result<Vec<Verdict>, JudgeError> {
        Ok(candidates.iter().map(|candidate| self.verdict(candidate)).collect())
    }
}

/// Standard deviation of the gray values, and the share of saturated ones; range 1.
fn statistics(image: &GrayImage) -> (f32, f32) {
    let pixels: Pixels<Signed> = image.to_pixels();
    let unit = || pixels.values().iter().map(|value| f64::from(value + 1.0) / 2.0);
    let count = pixels.values().len() as f64;
    let mean = unit().sum::<f64>() / count;
    let variance = unit().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    let edge = f64::from(EDGE);
    let saturated = unit().filter(|value| *value <= edge || *value >= 1.0 - edge).count() as f64 / count;
    (variance.sqrt() as f32, saturated as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::phantom::{PhantomDataset, PhantomDatasetConfig};
    use crate::supply::fake::request;

    fn kinds(image: &GrayImage, channel_spread: Option<f32>) -> Vec<&'static str> {
        let request = request(0);
        let candidate = Candidate { request: &request, image, channel_spread };
        let verdicts = ImageSanity::default().judge(&[candidate]).unwrap();
        verdicts[0].faults.iter().map(Fault::kind).collect()
    }

    #[test]
    fn faults_are_told_apart() {
        let gray = GrayImage::from_u8(4, 4, [128; 16]);
        let black = GrayImage::from_u16(4, 4, [0; 16]);
        let checkered: Vec<u8> = (0..16).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect();
        let ramp: Vec<u8> = (0..16).map(|i| 60 + 8 * i).collect();
        assert_eq!(kinds(&gray, None), ["blank"]);
        assert_eq!(kinds(&black, None), ["blank", "saturated"]);
        assert_eq!(kinds(&GrayImage::from_u8(4, 4, checkered), None), ["saturated"]);
        assert_eq!(kinds(&GrayImage::from_u8(4, 4, ramp.clone()), Some(0.2)), ["coloured"]);
        assert!(kinds(&GrayImage::from_u8(4, 4, ramp), Some(0.01)).is_empty());
    }

    #[test]
    fn images_of_the_phantom_pass() {
        let images = PhantomDataset::new(PhantomDatasetConfig::new(12, 64, 3)).unwrap();
        for index in 0..12 {
            assert!(kinds(&images.image(index), None).is_empty(), "image {index}");
        }
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        let limits = ImageSanity { max_saturated: 1.5, ..ImageSanity::default() };
        assert_eq!(limits.validate().unwrap_err().to_string(), "gate.sanity.max_saturated is 1.5; write a number from 0 to 1");
        assert!(ImageSanity { min_deviation: f32::NAN, ..limits }.validate().is_err());
    }
}
