//! Samplers: from noise to latents, step by step, with the numbers of diffusers.
//!
//! | file | what it holds |
//! |---|---|
//! | `list` | the samplers: names, titles, classes |
//! | `config` | `scheduler_config.json` and the way from it to a sampler |
//! | `noise_schedule` | betas and their products; noising for training |
//! | `steps` | which timesteps are visited, and their noise-to-signal ratios, Karras' among them |
//! | `prediction` | what the network's output means; limits on the clean estimate |
//! | `ddpm`, `ddim`, `pndm`, `euler`, `dpm_solver`, `unipc` | one sampler each |
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_*.py`. It computes its tables in f32; here tables and coefficients are f64 on
//! the host and are applied to tensors as one linear combination per step, so that results differ by the reference's own rounding.
//!
//! Randomness comes from the caller alone.

mod config;
mod ddim;
mod ddpm;
mod dpm_solver;
mod euler;
mod list;
mod noise_schedule;
mod pndm;
mod prediction;
mod steps;
#[cfg(test)]
mod testing;
mod unipc;

use std::fmt::Debug;

use burn::tensor::Tensor;

pub use config::SchedulerConfig;
pub use list::{SAMPLERS, SamplerEntry, SamplerKind};
pub use noise_schedule::NoiseSchedule;
pub use prediction::Prediction;

/// One run from noise to latents.
///
/// The caller starts from unit noise times [`init_noise_sigma`](Self::init_noise_sigma), or from
/// [`add_noise`](Self::add_noise) at a later step (image to image), and then for each step `i`, in order and without gaps, shows
/// [`scale_model_input`](Self::scale_model_input) to the network at `timesteps()[i]` and hands its output to [`step`](Self::step).
/// Multistep samplers remember earlier outputs: a new run needs a new sampler.
///
/// Samples should be f32 even where the network computes in half precision. Steps are named by position, because PNDM visits a
/// timestep twice; a position past the end is a panic.
pub trait Sampler: Debug + Send {
    /// Where the network is evaluated: descending, from `num_train_timesteps - 1` or less, fractional for Euler's samplers. PNDM has
    /// more entries than steps were asked for, and repeats some.
    fn timesteps(&self) -> &[f64];

    /// Noise-to-signal ratio at each timestep and after the last; `None` for samplers that don't step in it.
    fn sigmas(&self) -> Option<&[f64]> {
        None
    }

    /// Standard deviation of the noise to start from.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// What the network sees at step `i`. `[B, C, H, W]`, as the sample.
    fn scale_model_input(&self, sample: Tensor<4>, _i: usize) -> Tensor<4> {
        sample
    }

    /// Whether [`step`](Self::step) `i` adds fresh noise.
    fn needs_noise(&self, _i: usize) -> bool {
        false
    }

    /// The sample after step `i`. All tensors are `[B, C, H, W]`.
    ///
    /// `model_output` is the network's, after guidance; `sample` is the one before [`scale_model_input`](Self::scale_model_input);
    /// `noise` is unit noise, given where [`needs_noise`](Self::needs_noise) says so (elsewhere it is not looked at).
    ///
    /// # Panics
    /// Where the step needs noise and gets none.
    fn step(&mut self, model_output: Tensor<4>, i: usize, sample: Tensor<4>, noise: Option<Tensor<4>>) -> Tensor<4>;

    /// A clean sample noised to the level at which step `i` begins. All tensors are `[B, C, H, W]`.
    fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, i: usize) -> Tensor<4>;
}

/// The sum of `factor * tensor`; tensors with factor 0 are not read.
fn combine(terms: impl IntoIterator<Item = (f64, Tensor<4>)>) -> Tensor<4> {
    terms
        .into_iter()
        .filter(|(factor, _)| *factor != 0.0)
        .map(|(factor, tensor)| tensor.mul_scalar(factor))
        .reduce(|sum, term| sum + term)
        .expect("some factor is not 0")
}

/// The noise of a step that needs it.
fn fresh(noise: Option<Tensor<4>>, i: usize) -> Tensor<4> {
    noise.unwrap_or_else(|| panic!("step {i} needs noise"))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tolerance};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Deterministic samplers, some with every second option.
    fn deterministic() -> impl Strategy<Value = (SamplerKind, serde_json::Value)> {
        let leading = "leading";
        prop::sample::select(vec![
            (SamplerKind::Ddim, json!({"clip_sample": false, "timestep_spacing": leading})),
            (SamplerKind::Pndm, json!({"skip_prk_steps": true, "set_alpha_to_one": true, "timestep_spacing": leading})),
            (SamplerKind::Pndm, json!({"skip_prk_steps": false, "set_alpha_to_one": true, "timestep_spacing": leading})),
            (SamplerKind::Euler, json!({})),
            (SamplerKind::Euler, json!({"use_karras_sigmas": true, "timestep_spacing": "trailing"})),
            (SamplerKind::DpmSolver, json!({"solver_order": 3})),
            (SamplerKind::DpmSolver, json!({"use_karras_sigmas": true, "solver_type": "heun"})),
            (SamplerKind::UniPc, json!({"timestep_spacing": "trailing"})),
            (SamplerKind::UniPc, json!({"solver_order": 3, "use_karras_sigmas": true})),
        ])
    }

    proptest! {
        /// The solution of the sampling equation for a known noise is a straight line, which every solver follows.
        #[test]
        fn the_true_noise_leads_to_the_clean_sample(
            (kind, options) in deterministic(),
            steps in 4usize..40,
            clean in prop::array::uniform4(-3f32..3.0),
            noise in prop::array::uniform4(-3f32..3.0),
        ) {
            let tensor = |v: [f32; 4]| Tensor::<1>::from_floats(v, &Device::flex()).reshape([1, 1, 2, 2]);
            let (clean, noise) = (tensor(clean), tensor(noise));
            let mut sampler = testing::config(kind, &options).sampler(steps).unwrap();
            let mut sample = sampler.add_noise(clean.clone(), noise.clone(), 0);
            for i in 0..sampler.timesteps().len() {
                prop_assert!(!sampler.needs_noise(i));
                sample = sampler.step(noise.clone(), i, sample, None);
            }
            // The ratio at the start is 157, so that f32 leaves 157 * 1e-7 of the noise.
            sample.into_data().assert_approx_eq::<f32>(&clean.into_data(), Tolerance::absolute(5e-4));
        }

        #[test]
        fn timesteps_descend(
            kind in prop::sample::select(SamplerKind::ALL.to_vec()),
            spacing in prop::sample::select(vec!["leading", "trailing", "linspace"]),
            steps in 4usize..=500,
        ) {
            let sampler = testing::config(kind, &json!({"timestep_spacing": spacing, "skip_prk_steps": true})).sampler(steps).unwrap();
            let timesteps = sampler.timesteps();
            let repeats = usize::from(kind == SamplerKind::Pndm);
            prop_assert_eq!(timesteps.len(), steps + repeats);
            prop_assert_eq!(timesteps.windows(2).filter(|pair| pair[0] > pair[1]).count(), steps - 1);
            prop_assert!(timesteps[0] < 1000.0 && timesteps[timesteps.len() - 1] >= 0.0);
            if let Some(sigmas) = sampler.sigmas() {
                prop_assert_eq!(sigmas.len(), steps + 1);
                prop_assert!(sigmas.is_sorted_by(|a, b| a > b));
            }
        }
    }

    #[test]
    #[should_panic(expected = "step 0 needs noise")]
    fn a_stochastic_step_without_noise_is_a_broken_contract() {
        let mut sampler = testing::config(SamplerKind::Ddpm, &json!({})).sampler(5).unwrap();
        let zeros = Tensor::zeros([1, 1, 2, 2], &Device::flex());
        sampler.step(zeros.clone(), 0, zeros, None);
    }
}
