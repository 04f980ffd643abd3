//! Whole runs with a formula in place of the network, as diffusers tests its schedulers.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::{Value, json};

use super::config::SchedulerConfig;
use super::list::SamplerKind;

/// Largest distance from the reference: of the sum of 768 absolute values, and of one value. The reference computes in f32.
const TOLERANCES: [f64; 2] = [1e-3, 3e-6];

/// A run and its result in diffusers 0.42.1.
pub(super) struct Run {
    /// Beside 1000 linear betas from 0.0001 to 0.02.
    pub(super) options: Value,
    pub(super) steps: usize,
    /// First step; above 0 the run starts from a noised sample (image to image).
    pub(super) begin: usize,
    pub(super) eta: f64,
    /// Sum of absolute values, and the value at `[1, 1, 1, 1]`.
    pub(super) want: [f64; 2],
}

impl Run {
    /// Ten steps from the start.
    pub(super) fn of(options: Value, want: [f64; 2]) -> Self {
        Self { options, steps: 10, begin: 0, eta: 0.0, want }
    }
}

/// A configuration with 1000 linear betas.
pub(super) fn config(kind: SamplerKind, options: &Value) -> SchedulerConfig {
    let mut all = json!({"_class_name": kind.class_name(), "beta_start": 0.0001, "beta_end": 0.02});
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    SchedulerConfig::parse(&all.to_string(), Path::new("scheduler_config.json")).unwrap()
}

/// `dummy_sample_deter` of diffusers' `tests/schedulers/test_schedulers.py`, `[4, 3, 8, 8]`; reversed, its `dummy_noise_deter`.
fn ramp(reversed: bool) -> Tensor<4> {
    let count = 4 * 3 * 8 * 8;
    let value = |i| if reversed { count - 1 - i } else { i };
    let values: Vec<f32> = (0..count).map(|i| value(i) as f32 / count as f32).collect();
    Tensor::<4>::from_data(TensorData::new(values, [3, 8, 8, 4]), &Device::flex()).permute([3, 0, 1, 2])
}

/// Each run, with `sample * t / (t + 1)` in place of the network (`dummy_model` there).
pub(super) fn check(kind: SamplerKind, runs: &[Run]) {
    for run in runs {
        let mut sampler = config(kind, &run.options).with_eta(run.eta).unwrap().sampler(run.steps).unwrap();
        let mut sample = match run.begin {
            0 => ramp(false).mul_scalar(sampler.init_noise_sigma()),
            begin => sampler.add_noise(ramp(false), ramp(true), begin),
        };
        for i in run.begin..sampler.timesteps().len() {
            let t = sampler.timesteps()[i];
            let output = sampler.scale_model_input(sample.clone(), i).mul_scalar(t / (t + 1.0));
            let noise = sampler.needs_noise(i).then(|| ramp(true));
            sample = sampler.step(output, i, sample, noise);
        }
        let values: Vec<f32> = sample.clone().into_data().try_to_vec().unwrap();
        let at: f32 = sample.slice([1..2, 1..2, 1..2, 1..2]).into_scalar();
        let got = [values.iter().map(|v| f64::from(v.abs())).sum(), f64::from(at)];
        for ((got, want), tolerance) in got.iter().zip(run.want).zip(TOLERANCES) {
            let Run { options, steps, begin, eta, .. } = run;
            let run = format!("{kind} {options}, {steps} steps from {begin}, eta {eta}");
            assert!((got - want).abs() <= tolerance, "{run}: {got}, expected {want}");
        }
    }
}
