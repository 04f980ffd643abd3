//! From patient coordinates to pixels and back.

use super::{PhantomPhysics, PhantomStudy};
use crate::View;

/// Side of the film, cm.
const FIELD_CM: f32 = 36.0;
/// Height that lies at the centre of the film for an upright patient of mean size, cm below the lung apices.
const CENTRE_CM: f32 = 12.2;

/// The pose of one study on a film of one size.
#[derive(Clone, Debug)]
pub(super) struct Projection {
    /// Pixels a centimetre.
    pub(super) pixels_per_cm: f32,
    half: f32,
    sin: f32,
    cos: f32,
    centre: [f32; 2],
    yaw: f32,
    pitch: f32,
}

impl Projection {
    /// `lungs_cm` is the height of the lungs: the technician centres on them.
    pub(super) fn new(study: &PhantomStudy, physics: &PhantomPhysics, size: usize, lungs_cm: f32) -> Self {
        let pose = &study.pose;
        let v = physics.variation;
        // Bedside films magnify: the tube is close and the heart lies far from the plate.
        let magnification = (1.0 + v * (pose.magnification - 1.0)) * if study.view == View::Ap { 1.05 } else { 1.0 };
        let (sin, cos) = (v * pose.roll).sin_cos();
        Self {
            pixels_per_cm: size as f32 / FIELD_CM * magnification,
            half: 0.5 * size as f32,
            sin,
            cos,
            centre: [v * pose.shift_cm[0], CENTRE_CM + 0.5 * (lungs_cm - 24.4) + v * pose.shift_cm[1]],
            yaw: v * pose.yaw,
            pitch: v * pose.pitch,
        }
    }

    /// Pixel coordinates of a point of the patient; the centre of pixel `(i, j)` is `(i + 0.5, j + 0.5)`.
    pub(super) fn to_film(&self, [x, y, z]: [f32; 3]) -> [f32; 2] {
        let (x, y) = (x + z * self.yaw - self.centre[0], y + z * self.pitch - self.centre[1]);
        [
            self.half + self.pixels_per_cm * (x * self.cos - y * self.sin),
            self.half + self.pixels_per_cm * (x * self.sin + y * self.cos),
        ]
    }

    /// The point of the plane `z = 0` that projects to the centre of pixel `(column, row)`.
    #[inline]
    pub(super) fn to_patient(&self, column: usize, row: usize) -> [f32; 2] {
        let u = (column as f32 + 0.5 - self.half) / self.pixels_per_cm;
        let v = (row as f32 + 0.5 - self.half) / self.pixels_per_cm;
        [u * self.cos + v * self.sin + self.centre[0], v * self.cos - u * self.sin + self.centre[1]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Prevalence;
    use super::*;

    proptest! {
        #[test]
        fn pixels_map_back_onto_themselves(seed: u64, column in 0..64usize, row in 0..64usize) {
            let study = PhantomStudy::sample(seed, &Prevalence::healthy());
            let projection = Projection::new(&study, &PhantomPhysics::reference(), 64, 25.0);
            let [x, y] = projection.to_patient(column, row);
            let [u, v] = projection.to_film([x, y, 0.0]);
            prop_assert!((u - column as f32 - 0.5).abs() < 1e-3 && (v - row as f32 - 0.5).abs() < 1e-3);
        }
    }
}
