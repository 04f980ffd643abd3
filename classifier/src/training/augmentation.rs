//! Classical augmentation: small rotations, shifts, scalings and intensity changes.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use roentgen_augment::image::{Pixels, Signed};
use serde::{Deserialize, Serialize};

/// Ranges that each training image is changed within. The default changes nothing.
///
/// There is no horizontal flip unless it is requested: it moves the heart to the right and makes side words in a report wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Rotation in degrees, uniform in ±`rotation`.
    pub rotation: f32,
    /// Shift as a share of the side, uniform in ±`shift` on each axis.
    pub shift: f32,
    /// Zoom, uniform in 1 ± `scale`.
    pub scale: f32,
    /// Gain and offset of the gray values in `[-1, 1]`, uniform in 1 ± and ± `intensity`.
    pub intensity: f32,
    /// Probability of mirroring left and right.
    pub flip: f32,
}

impl Augmentation {
    /// Gentle ranges that keep every finding's meaning: ±10°, ±5 %, ±10 %, ±0.1, no flip.
    #[must_use]
    pub fn gentle() -> Self {
        Self { rotation: 10.0, shift: 0.05, scale: 0.1, intensity: 0.1, flip: 0.0 }
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The image at `position` of the training stream of `seed`, changed: a pure function of its arguments.
    ///
    /// Bilinear; the border pixel continues outside the picture, since black bars are not part of a radiograph.
    #[must_use]
    pub fn apply(&self, image: &Pixels<Signed>, seed: u64, position: u64) -> Pixels<Signed> {
        if self.is_none() {
            return image.clone();
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(position);
        let mut within = |range: f32| if range > 0.0 { rng.random_range(-range..=range) } else { 0.0 };
        let angle = within(self.rotation).to_radians();
        let (dx, dy) = (within(self.shift), within(self.shift));
        let zoom = 1.0 + within(self.scale);
        let (gain, offset) = (1.0 + within(self.intensity), within(self.intensity));
        let mirror = if rng.random::<f32>() < self.flip { -1.0 } else { 1.0 };

        let (width, height) = (image.width(), image.height());
        let (cx, cy) = ((width as f32 - 1.0) / 2.0, (height as f32 - 1.0) / 2.0);
        let (sin, cos) = angle.sin_cos();
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                // From the output back to the input: unshift, unrotate, unzoom, mirror.
                let (u, v) = (x as f32 - cx - dx * width as f32, y as f32 - cy - dy * height as f32);
                let (u, v) = ((cos * u + sin * v) / zoom * mirror, (cos * v - sin * u) / zoom);
                values.push((gain * bilinear(image, u + cx, v + cy) + offset).clamp(-1.0, 1.0));
            }
        }
        Pixels::new(width, height, values)
    }
}

fn bilinear(image: &Pixels<Signed>, x: f32, y: f32) -> f32 {
    let (width, height) = (image.width(), image.height());
    let x = x.clamp(0.0, (width - 1) as f32);
    let y = y.clamp(0.0, (height - 1) as f32);
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let at = |x: usize, y: usize| image.values()[y * width + x];
    let upper = at(left, top) * (1.0 - fx) + at(right, top) * fx;
    let lower = at(left, bottom) * (1.0 - fx) + at(right, bottom) * fx;
    upper * (1.0 - fy) + lower * fy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Pixels<Signed> {
        Pixels::new(8, 6, (0..48).map(|i| (i % 8) as f32 / 8.0 - 0.5).collect::<Vec<_>>())
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        assert_eq!(Augmentation::default().apply(&ramp(), 1, 2), ramp());
    }

    #[test]
    fn a_pure_function_of_seed_and_position() {
        let gentle = Augmentation::gentle();
        assert_eq!(gentle.apply(&ramp(), 1, 2), gentle.apply(&ramp(), 1, 2));
        assert_ne!(gentle.apply(&ramp(), 1, 2), gentle.apply(&ramp(), 1, 3));
        assert_ne!(gentle.apply(&ramp(), 1, 2), gentle.apply(&ramp(), 2, 2));
    }

    #[test]
    fn a_flip_mirrors() {
        let flip = Augmentation { flip: 1.0, ..Augmentation::default() };
        let flipped = flip.apply(&ramp(), 0, 0);
        for (row, expected) in flipped.values().chunks(8).zip(ramp().values().chunks(8)) {
            assert!(row.iter().zip(expected.iter().rev()).all(|(a, b)| (a - b).abs() < 1e-5), "{row:?}");
        }
    }

    #[test]
    fn a_shift_moves_right_and_down() {
        let shifted = (0..200).map(|i| Augmentation { shift: 0.4, ..Augmentation::default() }.apply(&ramp(), 0, i));
        let means: Vec<f32> = shifted.map(|image| image.values().iter().sum::<f32>() / 48.0).collect();
        assert!(means.iter().any(|m| *m > 0.0) && means.iter().any(|m| *m < -0.1), "the ramp is seen further left and right");
    }
}
