//! The body behind an image.

use rand::RngExt;
use rand_distr::{Beta, Distribution};

use super::noise::{Purpose, deviate, rng};
use crate::record::Sex;

/// A body: who it is, and how it differs from the mean, in standard deviations.
///
/// A pure function of its seed. How far a standard deviation goes is up to
/// [`PhantomPhysics::variation`](super::PhantomPhysics::variation).
#[derive(Clone, Debug, PartialEq)]
pub struct PhantomPatient {
    /// The seed it was made of; ribs, vessels and textures follow from it.
    pub seed: u64,
    /// Male thoraces are larger; female ones carry breast shadows.
    pub sex: Sex,
    /// Years, 18 to 95. Bone thins and the aorta unfolds with age.
    pub age: f32,
    /// Body habitus: -2 is very slim, 2 is obese.
    pub habitus: f32,
    /// Size of the frame.
    pub stature: f32,
    /// Width of the thorax relative to its height.
    pub breadth: f32,
    /// Width of the heart, always within normal limits: cardiomegaly is a finding.
    pub heart: f32,
    /// Tilt of the heart, slim and vertical to broad and horizontal.
    pub heart_axis: f32,
    /// Slope of the ribs.
    pub rib_slope: f32,
    /// Height of the left diaphragm relative to the right.
    pub diaphragm: f32,
    /// Curvature of the spine seen from the front.
    pub scoliosis: f32,
    /// Width of the upper mediastinum.
    pub mediastinum: f32,
    /// Breast size.
    pub breast: f32,
    /// Where the shoulder blades come to lie, clear of the lungs or over them.
    pub scapula: f32,
}

impl PhantomPatient {
    /// The patient of that seed.
    #[must_use]
    pub fn sample(seed: u64) -> Self {
        let mut rng = rng(seed, Purpose::Patient);
        // Mean 52 years, as the out-patients and in-patients of a hospital are.
        let age = Beta::new(2.4, 2.0).expect("both shapes are positive").sample(&mut rng);
        let sex = if rng.random_bool(0.5) { Sex::Female } else { Sex::Male };
        let mut z = || deviate(&mut rng);
        Self {
            seed,
            sex,
            age: (18.0_f32 + 62.0 * age).round(),
            habitus: z(),
            stature: z(),
            breadth: z(),
            heart: z(),
            heart_axis: z(),
            rib_slope: z(),
            diaphragm: z(),
            scoliosis: z(),
            mediastinum: z(),
            breast: z(),
            scapula: z(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patient_is_a_function_of_its_seed() {
        assert_eq!(PhantomPatient::sample(7), PhantomPatient::sample(7));
        assert_ne!(PhantomPatient::sample(7), PhantomPatient::sample(8));
    }

    #[test]
    fn ages_are_adult_and_both_sexes_come() {
        let patients: Vec<_> = (0..200).map(PhantomPatient::sample).collect();
        assert!(patients.iter().all(|p| (18.0..=95.0).contains(&p.age)));
        let women = patients.iter().filter(|p| p.sex == Sex::Female).count();
        assert!((60..140).contains(&women), "{women} of 200");
    }
}
