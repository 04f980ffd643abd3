//! The amount of noise at each training timestep.
//!
//! Reference: diffusers 0.42.1, `schedulers/scheduling_ddpm.py`.

use std::f64::consts::FRAC_PI_2;

use burn::tensor::{Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;
use serde::Deserialize;

use super::combine;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Far above any schedule: Stable Diffusion has 1000.
pub(super) const MOST_TIMESTEPS: usize = 1_000_000;

/// Betas of the diffusion chain and the products of their complements, in f64 on the host.
///
/// `x_t = sqrt(alphas_cumprod[t]) x_0 + sqrt(1 - alphas_cumprod[t]) noise`: Ho et al. 2020, "Denoising Diffusion Probabilistic
/// Models", equation (4). The reference rounds both tables to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    betas: Vec<f64>,
    alphas_cumprod: Vec<f64>,
}

/// Amplitudes of signal and noise; their squares sum to one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Level {
    pub(super) alpha: f64,
    pub(super) sigma: f64,
}

impl Level {
    pub(super) fn of_alpha_cumprod(alpha_cumprod: f64) -> Self {
        Self { alpha: alpha_cumprod.sqrt(), sigma: (1.0 - alpha_cumprod).sqrt() }
    }

    /// From the noise-to-signal ratio.
    pub(super) fn of_ratio(ratio: f64) -> Self {
        let alpha = 1.0 / ratio.hypot(1.0);
        Self { alpha, sigma: ratio * alpha }
    }

    /// Half the logarithm of the signal-to-noise ratio: infinite without noise.
    pub(super) fn lambda(self) -> f64 {
        self.alpha.ln() - self.sigma.ln()
    }

    pub(super) fn mix(self, original: Tensor<4>, noise: Tensor<4>) -> Tensor<4> {
        combine([(self.alpha, original), (self.sigma, noise)])
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredCosine,
}

impl NoiseSchedule {
    /// From the products' factors: each beta in `(0, 1]`.
    fn from_betas(betas: Vec<f64>) -> Self {
        let alphas_cumprod = betas
            .iter()
            .scan(1.0, |product, beta| {
                *product *= 1.0 - beta;
                Some(*product)
            })
            .collect();
        Self { betas, alphas_cumprod }
    }

    /// Digest of the betas, bit for bit.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        // Everything else follows from them.
        let Self { betas, alphas_cumprod: _ } = self;
        let bytes: Vec<u8> = betas.iter().flat_map(|beta| beta.to_le_bytes()).collect();
        Fingerprint::of(&[&bytes])
    }

    /// Consumes the options of the betas. `rescales`: whether the scheduler class knows `rescale_betas_zero_snr` (PNDM
    /// doesn't).
    pub(super) fn take(options: &mut Options, rescales: bool) -> Result<Self, DiffusionError> {
        let count = options.within("num_train_timesteps", 1000, 1..=MOST_TIMESTEPS)?;
        let mut ends = [0.0; 2];
        for (end, (key, default)) in ends.iter_mut().zip([("beta_start", 0.0001), ("beta_end", 0.02)]) {
            *end = options.take_or(key, default)?;
            if *end <= 0.0 || *end >= 1.0 {
                return Err(options.refuse(key, &end.to_string(), "a number between 0 and 1, both excluded"));
            }
        }
        let kind = options.take_or("beta_schedule", BetaSchedule::Linear)?;
        let betas = match options.take::<Vec<f64>>("trained_betas")? {
            Some(betas) if betas.len() != count => {
                let (found, expected) = (format!("{} numbers", betas.len()), format!("{count}, the num_train_timesteps"));
                return Err(options.refuse("trained_betas", &found, &expected));
            }
            Some(betas) => {
                if let Some(beta) = betas.iter().find(|beta| **beta <= 0.0 || **beta > 1.0) {
                    return Err(options.refuse("trained_betas", &beta.to_string(), "numbers above 0 and at most 1"));
                }
                betas
            }
            None => kind.betas(ends, count),
        };
        let schedule = Self::from_betas(betas);
        if !rescales || !options.take_or("rescale_betas_zero_snr", false)? {
            return Ok(schedule);
        }
        if count < 2 {
            return Err(options.refuse("rescale_betas_zero_snr", "true", "false with a single training timestep"));
        }
        Ok(schedule.with_zero_terminal_snr())
    }

    /// Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", algorithm 1: the last product becomes 0, the
    /// first stays.
    fn with_zero_terminal_snr(&self) -> Self {
        let roots: Vec<f64> = self.alphas_cumprod.iter().map(|a| a.sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let products: Vec<f64> = roots.iter().map(|root| ((root - last) * (first / (first - last))).powi(2)).collect();
        let previous = std::iter::once(1.0).chain(products.iter().copied());
        Self::from_betas(products.iter().zip(previous).map(|(product, previous)| 1.0 - product / previous).collect())
    }

    /// Whether there is nothing but noise at a timestep, rounded if it is fractional: zero terminal SNR.
    pub(super) fn has_no_signal_at(&self, timestep: f64) -> bool {
        self.alphas_cumprod.get(timestep.round() as usize) == Some(&0.0)
    }

    /// Number of training timesteps.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always a timestep")]
    pub fn len(&self) -> usize {
        self.betas.len()
    }

    /// Variance added at each training timestep, in `(0, 1]`.
    #[must_use]
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// Share of the signal in the variance at each training timestep: decreasing, in `[0, 1)`, 0 only for the last and only with zero
    /// terminal SNR.
    #[must_use]
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// Noises clean samples, each to its own timestep.
    ///
    /// # Shapes
    /// - original, noise, result: `[B, C, H, W]`
    /// - timesteps: `B` numbers below [`len`](Self::len)
    #[must_use]
    pub fn add_noise(&self, original: Tensor<4>, noise: Tensor<4>, timesteps: &[usize]) -> Tensor<4> {
        let [alpha, sigma] = self.amplitudes(timesteps, &original);
        original * alpha + noise * sigma
    }

    /// The target of v-prediction, `alpha noise - sigma original`: Salimans and Ho 2022, "Progressive Distillation", section 4.
    /// Shapes as in [`add_noise`](Self::add_noise).
    #[must_use]
    pub fn velocity(&self, original: Tensor<4>, noise: Tensor<4>, timesteps: &[usize]) -> Tensor<4> {
        let [alpha, sigma] = self.amplitudes(timesteps, &original);
        noise * alpha - original * sigma
    }

    /// Signal-to-noise ratio (of variances) at a timestep below [`len`](Self::len); 0 is all noise.
    #[must_use]
    pub fn snr(&self, timestep: usize) -> f64 {
        let alpha_cumprod = self.alphas_cumprod[timestep];
        alpha_cumprod / (1.0 - alpha_cumprod)
    }

    /// `[B, 1, 1, 1]` on the device and in the type of `like`.
    fn amplitudes(&self, timesteps: &[usize], like: &Tensor<4>) -> [Tensor<4>; 2] {
        let [batch, ..] = like.dims();
        assert_eq!(batch, timesteps.len(), "{} timesteps for {batch} samples", timesteps.len());
        let levels: Vec<_> = timesteps.iter().map(|t| Level::of_alpha_cumprod(self.alphas_cumprod[*t])).collect();
        let tensor =
            |values: Vec<f64>| Tensor::from_data(TensorData::new(values, [batch, 1, 1, 1]), (&like.device(), like.dtype()));
        [tensor(levels.iter().map(|l| l.alpha).collect()), tensor(levels.iter().map(|l| l.sigma).collect())]
    }

    /// The level at a timestep; before the first one it is given by `end`, a product.
    pub(super) fn level(&self, timestep: i64, end: f64) -> Level {
        let product = usize::try_from(timestep).map_or(end, |t| self.alphas_cumprod[t]);
        Level::of_alpha_cumprod(product)
    }

    /// Noise-to-signal ratio at each timestep, increasing. A last product of 0 counts as 2^-24, as in the reference.
    pub(super) fn ratios(&self) -> Vec<f64> {
        let ratio = |product: &f64| {
            let product = if *product == 0.0 { 2f64.powi(-24) } else { *product };
            ((1.0 - product) / product).sqrt()
        };
        self.alphas_cumprod.iter().map(ratio).collect()
    }
}

impl BetaSchedule {
    fn betas(self, [start, end]: [f64; 2], count: usize) -> Vec<f64> {
        let linear = |start: f64, end: f64| {
            let step = (end - start) / (count.max(2) - 1) as f64;
            (0..count).map(move |i| start + step * i as f64)
        };
        match self {
            Self::Linear => linear(start, end).collect(),
            Self::ScaledLinear => linear(start.sqrt(), end.sqrt()).map(|root| root * root).collect(),
            // Nichol and Dhariwal 2021, "Improved DDPM", equation (17), capped as described below it.
            Self::SquaredCosine => {
                let product = |i: usize| ((i as f64 / count as f64 + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2);
                (0..count).map(|i| (1.0 - product(i + 1) / product(i)).min(0.999)).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn schedule(options: Value) -> Result<NoiseSchedule, DiffusionError> {
        NoiseSchedule::take(&mut Options::parse(&options.to_string(), Path::new("scheduler_config.json")).unwrap(), true)
    }

    /// Betas and products at three timesteps in diffusers 0.42.1, which computes them in f32: 1e-6 of their size is its rounding.
    #[test]
    fn tables_are_those_of_the_reference() {
        let sd = json!({"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"});
        let mut zero = sd.clone();
        zero["rescale_betas_zero_snr"] = json!(true);
        let cases = [
            (sd, 1e-6, [0.00084999995, 0.0048149535, 0.012], [0.999149978, 0.276332468, 0.004660095]),
            (
                json!({"beta_schedule": "squaredcos_cap_v2"}),
                2e-6,
                [4.12842e-5, 0.00315569, 0.999],
                [0.99995869, 0.49228504, 2.43e-9],
            ),
            (zero, 1e-6, [0.00085002, 0.00553048, 1.0], [0.99914998, 0.24101864, 0.0]),
        ];
        for (options, tolerance, betas, products) in cases {
            let schedule = schedule(options.clone()).unwrap();
            for (i, t) in [0, 500, 999].into_iter().enumerate() {
                let (beta, product) = (schedule.betas()[t], schedule.alphas_cumprod()[t]);
                assert!((beta - betas[i]).abs() < tolerance, "{options} at {t}: beta {beta}");
                assert!((product - products[i]).abs() < tolerance, "{options} at {t}: product {product}");
            }
        }
    }

    #[test]
    fn zero_terminal_snr_is_exact_and_kept_finite_where_it_is_divided_by() {
        let schedule = schedule(json!({"rescale_betas_zero_snr": true})).unwrap();
        assert_eq!(schedule.alphas_cumprod()[999], 0.0);
        assert_eq!(schedule.snr(999), 0.0);
        // sqrt(2^24 - 1), the reference's `alphas_cumprod[-1] = 2**-24`.
        assert!((schedule.ratios()[999] - (2f64.powi(24) - 1.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn given_betas_are_taken_as_they_are() {
        let schedule = schedule(json!({"num_train_timesteps": 3, "trained_betas": [0.1, 0.2, 0.5]})).unwrap();
        assert_eq!(schedule.betas(), [0.1, 0.2, 0.5]);
        // 0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.5
        assert!((schedule.alphas_cumprod()[2] - 0.36).abs() < 1e-15);
    }

    #[test]
    fn impossible_betas_are_refused_by_name() {
        for (options, key) in [
            (json!({"num_train_timesteps": 0}), "num_train_timesteps"),
            (json!({"beta_start": 0.0}), "beta_start"),
            (json!({"beta_end": 1.5}), "beta_end"),
            (json!({"beta_schedule": "sigmoid"}), "beta_schedule"),
            (json!({"trained_betas": [0.1]}), "trained_betas"),
            (json!({"trained_betas": [-0.1], "num_train_timesteps": 1}), "trained_betas"),
            (json!({"rescale_betas_zero_snr": true, "num_train_timesteps": 1}), "rescale_betas_zero_snr"),
        ] {
            let message = schedule(options).unwrap_err().to_string();
            assert!(message.contains(&format!("`{key}` is")), "{message}");
        }
    }

    #[test]
    #[should_panic(expected = "2 timesteps for 1 samples")]
    fn one_timestep_a_sample() {
        let zeros = Tensor::zeros([1, 1, 1, 1], &Device::flex());
        let _ = schedule(json!({})).unwrap().add_noise(zeros.clone(), zeros, &[1, 2]);
    }

    proptest! {
        /// Also that signal and noise keep the variance at one, in every row, and that velocity is at a right angle to both.
        #[test]
        fn products_decrease_and_variance_is_kept(
            kind in prop::sample::select(vec!["linear", "scaled_linear", "squaredcos_cap_v2"]),
            rescale in any::<bool>(),
            count in 10usize..1200,
            start in 1e-5f64..1e-2,
            end in 1e-2f64..0.05,
            at in prop::array::uniform2(0f64..1.0),
        ) {
            let options = json!({"beta_schedule": kind, "rescale_betas_zero_snr": rescale, "num_train_timesteps": count,
                "beta_start": start, "beta_end": end});
            let schedule = schedule(options).unwrap();
            prop_assert!(schedule.alphas_cumprod().is_sorted_by(|a, b| a > b));
            let timesteps = at.map(|share| (share * count as f64) as usize);
            let (one, zero) = (Tensor::ones([2, 1, 1, 1], &Device::flex()), Tensor::zeros([2, 1, 1, 1], &Device::flex()));
            let values = |tensor: Tensor<4>| tensor.into_data().try_to_vec::<f32>().unwrap();
            let signal = values(schedule.add_noise(one.clone(), zero.clone(), &timesteps));
            let noise = values(schedule.add_noise(zero.clone(), one.clone(), &timesteps));
            let velocity = [
                values(schedule.velocity(one.clone(), zero.clone(), &timesteps)),
                values(schedule.velocity(zero, one, &timesteps)),
            ];
            for row in 0..2 {
                let (signal, noise) = (f64::from(signal[row]), f64::from(noise[row]));
                prop_assert!((signal.powi(2) + noise.powi(2) - 1.0).abs() < 1e-6);
                let snr = schedule.snr(timesteps[row]);
                prop_assert!((signal.powi(2) - snr * noise.powi(2)).abs() < 1e-6);
                prop_assert_eq!([velocity[0][row], velocity[1][row]].map(f64::from), [-noise, signal]);
            }
        }
    }
}
