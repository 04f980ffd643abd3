//! How faithful the renderer is.

use serde::{Deserialize, Serialize};

/// Parameters of the renderer: what stands between an anatomy and its film.
///
/// Two presets exist. [`PhantomPhysics::reference`] plays the hospital; [`PhantomPhysics::shifted`] plays a generator that has
/// learned most but not all of it, so that what a classifier gains from its films is limited by domain shift.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhantomPhysics {
    /// Name for cards and reports (`reference`, `shifted`).
    pub name: String,
    /// Scattered light per square root of the primary light around; 0 is a perfect grid.
    pub scatter_ratio: f32,
    /// Standard deviation of the scatter kernel, cm.
    pub scatter_cm: f32,
    /// Photons on a square millimetre of detector outside the patient.
    pub photons_per_mm2: f32,
    /// Standard deviation of focal spot and detector blur together, cm.
    pub blur_cm: f32,
    /// Exponent of the tone curve after windowing; above 1 darkens the lungs.
    pub gamma: f32,
    /// How far individuals stray from the mean anatomy; 1 is the reference population, 0 is one body for all.
    pub variation: f32,
    /// Attenuation of bone relative to the reference.
    pub bone: f32,
    /// Share of a rib's mineral in its cortex, 0 (a uniform strip) to 1 (two thin lines).
    pub cortex: f32,
    /// Branchings of the lung vessels after the hilum.
    pub vessel_generations: u32,
    /// Amplitude of the fine texture of lung and soft tissue relative to the reference.
    pub texture: f32,
    /// Strength of a finding at a given severity relative to the reference.
    pub finding_strength: f32,
    /// How ragged the borders of lung opacities are; 0 is smooth.
    pub finding_texture: f32,
}

impl PhantomPhysics {
    /// The most faithful film this renderer makes.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            name: "reference".to_owned(),
            scatter_ratio: 0.33,
            scatter_cm: 3.2,
            photons_per_mm2: 60_000.0,
            blur_cm: 0.06,
            gamma: 1.0,
            variation: 1.0,
            bone: 1.0,
            cortex: 0.4,
            vessel_generations: 5,
            texture: 1.0,
            finding_strength: 1.0,
            finding_texture: 1.0,
        }
    }

    /// A deliberately less faithful film: clean, over-drawn findings in nearly identical bodies.
    #[must_use]
    pub fn shifted() -> Self {
        Self {
            name: "shifted".to_owned(),
            scatter_ratio: 0.14,
            scatter_cm: 2.0,
            photons_per_mm2: 2_000_000.0,
            blur_cm: 0.12,
            gamma: 1.25,
            variation: 0.4,
            bone: 0.75,
            cortex: 0.0,
            vessel_generations: 3,
            texture: 0.2,
            finding_strength: 1.35,
            finding_texture: 0.1,
        }
    }
}
