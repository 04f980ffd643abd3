//! `scheduler_config.json`, and the way from it to a sampler.
//!
//! Reference: diffusers 0.42.1, `configuration_utils.py` (`extract_init_dict`): a file of one class serves every other one. The
//! target takes the options it has, the rest of its options take its own defaults, and options that only other classes have are
//! without influence.

use std::path::{Path, PathBuf};

use super::ddim::DdimConfig;
use super::ddpm::DdpmConfig;
use super::dpm_solver::DpmSolverConfig;
use super::euler::EulerConfig;
use super::euler_ancestral::EulerAncestralConfig;
use super::pndm::PndmConfig;
use super::spacing::{Timesteps, refuse_steps};
use super::unipc::UniPcConfig;
use super::{NoiseSchedule, Prediction, Sampler, SamplerKind};
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

/// Options of the classes that Stable Diffusion's schedulers can be turned into; a file may have those of any of them.
const KNOWN: [&str; 44] = [
    "algorithm_type",
    "beta_end",
    "beta_schedule",
    "beta_start",
    "clip_sample",
    "clip_sample_range",
    "disable_corrector",
    "dynamic_thresholding_ratio",
    "euler_at_final",
    "final_sigmas_type",
    "flow_shift",
    "interpolation_type",
    "lambda_min_clipped",
    "lower_order_final",
    "num_train_timesteps",
    "predict_x0",
    "prediction_type",
    "rescale_betas_zero_snr",
    "rho",
    "sample_max_value",
    "set_alpha_to_one",
    "shift_terminal",
    "sigma_data",
    "sigma_max",
    "sigma_min",
    "sigma_schedule",
    "skip_prk_steps",
    "solver_order",
    "solver_p",
    "solver_type",
    "steps_offset",
    "thresholding",
    "time_shift_type",
    "timestep_spacing",
    "timestep_type",
    "trained_betas",
    "use_beta_sigmas",
    "use_dynamic_shifting",
    "use_exponential_sigmas",
    "use_flow_sigmas",
    "use_karras_sigmas",
    "use_lu_lambdas",
    "variance_type",
    "noise_sampler_seed",
];

/// The scheduler of Stable Diffusion 1.4 as published, from which RoentGen was fine-tuned.
const ROENTGEN: &str = r#"{
  "_class_name": "PNDMScheduler",
  "_diffusers_version": "0.7.0.dev0",
  "beta_end": 0.012,
  "beta_schedule": "scaled_linear",
  "beta_start": 0.00085,
  "num_train_timesteps": 1000,
  "set_alpha_to_one": false,
  "skip_prk_steps": true,
  "steps_offset": 1,
  "trained_betas": null,
  "clip_sample": false
}
"#;

/// A scheduler's settings, checked: what [`sampler`](Self::sampler) needs, and the file it came from.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    options: Options,
    text: String,
    schedule: NoiseSchedule,
    class: Class,
    eta: f64,
}

#[derive(Clone, Debug)]
enum Class {
    Ddpm(DdpmConfig),
    Ddim(DdimConfig),
    Pndm(PndmConfig),
    Euler(EulerConfig),
    EulerAncestral(EulerAncestralConfig),
    DpmSolver(DpmSolverConfig),
    UniPc(UniPcConfig),
}

impl SchedulerConfig {
    /// Steps of RoentGen's published setting (Chambon et al. 2022, model card).
    pub const ROENTGEN_STEPS: usize = 75;
    /// Guidance scale of RoentGen's published setting.
    pub const ROENTGEN_GUIDANCE: f64 = 4.0;

    /// RoentGen's published sampler: PNDM without Runge-Kutta warm-up, scaled-linear betas from 0.00085 to 0.012 over 1000 timesteps.
    #[must_use]
    pub fn roentgen() -> Self {
        Self::parse(ROENTGEN, Path::new("roentgen")).expect("the preset is valid")
    }

    /// Reads a `scheduler_config.json`, or the one in a folder.
    ///
    /// # Errors
    /// [`DiffusionError::Io`] or [`DiffusionError::MissingFile`] where there is none; else as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self, DiffusionError> {
        let (text, path) = read(path)?;
        Self::parse(&text, &path)
    }

    /// As [`read`](Self::read), for a sampler other than the file's: the only way for files of classes that this program doesn't have.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_as(path: &Path, kind: SamplerKind) -> Result<Self, DiffusionError> {
        let (text, path) = read(path)?;
        Self::of_kind(Options::parse(&text, &path)?, text, kind)
    }

    /// Reads the text of a `scheduler_config.json`; `path` is for messages.
    ///
    /// # Errors
    /// [`DiffusionError::NotJson`]; [`DiffusionError::UnknownOption`] for an option that no scheduler has;
    /// [`DiffusionError::Option`] for a value that this program doesn't compute, the class name included.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        let mut options = Options::parse(text, path)?;
        let name: String = options.clone().require("_class_name")?;
        let kind = SamplerKind::of_class(&name).ok_or_else(|| {
            let known = SamplerKind::ALL.map(SamplerKind::class_name).join(", ");
            options.refuse(
                "_class_name",
                &format!("\"{name}\""),
                &format!("{known}; or ask for one of this program's samplers"),
            )
        })?;
        options.without_influence(&["_class_name"]);
        Self::of_kind(options, text.to_owned(), kind)
    }

    /// The same file for another sampler, as diffusers' `from_config` makes it: options that the file names are kept, others take the
    /// defaults of the new sampler. Other settings made here (Karras, eta) are gone.
    ///
    /// # Errors
    /// [`DiffusionError::Option`] where the file's values don't suit the sampler.
    pub fn with_kind(self, kind: SamplerKind) -> Result<Self, DiffusionError> {
        Self::of_kind(self.options, self.text, kind)
    }

    /// Spaces the noise levels by Karras' rule, or not.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for samplers that have no such choice.
    pub fn with_karras_sigmas(mut self, on: bool) -> Result<Self, DiffusionError> {
        match &mut self.class {
            Class::Euler(config) => config.sigmas.karras = on,
            Class::DpmSolver(config) => config.sigmas.karras = on,
            Class::UniPc(config) => config.sigmas.karras = on,
            _ if !on => {}
            _ => {
                let value = format!("on with the sampler {}", self.kind());
                let expected = "off, or one of the samplers euler, dpm++2m, unipc".to_owned();
                return Err(DiffusionError::Setting { key: "karras", value, expected });
            }
        }
        Ok(self)
    }

    /// Share of fresh noise in DDIM's steps, in `[0, 1]`: 0 is deterministic (the default), 1 is DDPM's share.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] outside the range, and above 0 for samplers other than DDIM.
    pub fn with_eta(mut self, eta: f64) -> Result<Self, DiffusionError> {
        let range = if matches!(self.class, Class::Ddim(_)) { 0.0..=1.0 } else { 0.0..=0.0 };
        if !range.contains(&eta) {
            let expected = "0 to 1 for the sampler ddim, 0 for others".to_owned();
            return Err(DiffusionError::Setting { key: "eta", value: eta.to_string(), expected });
        }
        self.eta = eta;
        Ok(self)
    }

    fn of_kind(options: Options, text: String, kind: SamplerKind) -> Result<Self, DiffusionError> {
        let mut left = options.clone();
        let timesteps = Timesteps::take(&mut left, kind.default_spacing())?;
        let class = match kind {
            SamplerKind::Ddpm => Class::Ddpm(DdpmConfig::take(&mut left, timesteps)?),
            SamplerKind::Ddim => Class::Ddim(DdimConfig::take(&mut left, timesteps)?),
            SamplerKind::Pndm => Class::Pndm(PndmConfig::take(&mut left, timesteps)?),
            SamplerKind::Euler => Class::Euler(EulerConfig::take(&mut left, timesteps)?),
            SamplerKind::EulerAncestral => Class::EulerAncestral(EulerAncestralConfig::take(&mut left, timesteps)?),
            SamplerKind::DpmSolver => Class::DpmSolver(DpmSolverConfig::take(&mut left, timesteps)?),
            SamplerKind::UniPc => Class::UniPc(UniPcConfig::take(&mut left, timesteps)?),
        };
        let schedule = NoiseSchedule::take(&mut left, kind != SamplerKind::Pndm)?;
        left.without_influence(&KNOWN);
        left.finish()?;
        Ok(Self { options, text, schedule, class, eta: 0.0 })
    }

    /// Which sampler this is.
    #[must_use]
    pub fn kind(&self) -> SamplerKind {
        match self.class {
            Class::Ddpm(_) => SamplerKind::Ddpm,
            Class::Ddim(_) => SamplerKind::Ddim,
            Class::Pndm(_) => SamplerKind::Pndm,
            Class::Euler(_) => SamplerKind::Euler,
            Class::EulerAncestral(_) => SamplerKind::EulerAncestral,
            Class::DpmSolver(_) => SamplerKind::DpmSolver,
            Class::UniPc(_) => SamplerKind::UniPc,
        }
    }

    /// What the network is taken to predict.
    #[must_use]
    pub fn prediction(&self) -> Prediction {
        match &self.class {
            Class::Ddpm(config) => config.prediction(),
            Class::Ddim(config) => config.prediction(),
            Class::Pndm(config) => config.prediction(),
            Class::Euler(config) => config.prediction(),
            Class::EulerAncestral(config) => config.prediction(),
            Class::DpmSolver(config) => config.prediction(),
            Class::UniPc(config) => config.prediction(),
        }
    }

    /// The training timesteps' noise levels.
    #[must_use]
    pub fn noise_schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// The file as it was read, to be written again; [`with_kind`](Self::with_kind) and the like don't change it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// A sampler for one run.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for a number of steps that isn't from 1 to the number of training timesteps, or that the spacing
    /// can't serve.
    pub fn sampler(&self, steps: usize) -> Result<Box<dyn Sampler>, DiffusionError> {
        let train = self.schedule.len();
        if !(1..=train).contains(&steps) {
            return Err(refuse_steps(steps, &format!("1 to {train}, the number of training timesteps")));
        }
        let schedule = &self.schedule;
        Ok(match &self.class {
            Class::Ddpm(config) => Box::new(config.init(schedule, steps)?),
            Class::Ddim(config) => Box::new(config.init(schedule, steps, self.eta)?),
            Class::Pndm(config) => Box::new(config.init(schedule, steps)?),
            Class::Euler(config) => Box::new(config.init(schedule, steps)),
            Class::EulerAncestral(config) => Box::new(config.init(schedule, steps)),
            Class::DpmSolver(config) => Box::new(config.init(schedule, steps)?),
            Class::UniPc(config) => Box::new(config.init(schedule, steps)?),
        })
    }
}

/// The text of the file or of the one in the folder, and its path.
fn read(path: &Path) -> Result<(String, PathBuf), DiffusionError> {
    const NAME: &str = "scheduler_config.json";
    let file = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
    if path.is_dir() && !file.exists() {
        let hint = "it is the `scheduler` folder of a diffusers pipeline that has one".to_owned();
        return Err(DiffusionError::MissingFile { folder: path.to_owned(), expected: NAME.to_owned(), hint });
    }
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok((text, file)),
        Err(source) => Err(DiffusionError::Io { action: "read", path: file, source }),
    }
}
