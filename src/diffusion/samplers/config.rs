//! `scheduler_config.json`, and making a sampler from it.
//!
//! Reference: diffusers 0.42.1, `configuration_utils.py` (`extract_init_dict`): a file of one class serves every other one. The
//! target uses the options it knows, its other options have its own defaults, and options that only other classes have
//! are ignored.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::Sampler;
use super::ddim::DdimConfig;
use super::ddpm::DdpmConfig;
use super::dpm_solver::DpmSolverConfig;
use super::euler::{EulerAncestralConfig, EulerConfig};
use super::list::SamplerKind;
use super::noise_schedule::NoiseSchedule;
use super::pndm::PndmConfig;
use super::prediction::Prediction;
use super::steps::{Timesteps, refuse_steps};
use super::unipc::UniPcConfig;
use crate::diffusion::DiffusionError;
use crate::diffusion::options::Options;

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
    kind: SamplerKind,
    prediction: Prediction,
    schedule: NoiseSchedule,
    class: Class,
    eta: f64,
    /// The class of the file where it is one that this program doesn't compute: another sampler has to be chosen before sampling.
    foreign: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
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

    /// Reads the text of a `scheduler_config.json`; `path` is for messages.
    ///
    /// The file of a Stable Diffusion scheduler that this program doesn't compute is read for its noise schedule and prediction, with
    /// which a model is trained; to sample, [`with_kind`](Self::with_kind) has to choose another one.
    ///
    /// # Errors
    /// [`DiffusionError::NotJson`]; [`DiffusionError::UnknownOption`] for an option that no scheduler has;
    /// [`DiffusionError::Option`] for a value that this program doesn't compute, and for classes of other models.
    pub fn parse(text: &str, path: &Path) -> Result<Self, DiffusionError> {
        let options = Options::parse(text, path)?;
        let name: String = options.clone().require("_class_name")?;
        if let Some(kind) = SamplerKind::of_class(&name) {
            return Self::of_kind(options, text.to_owned(), kind);
        }
        if !FOREIGN.contains(&name.as_str()) {
            let known = SamplerKind::ALL.map(SamplerKind::class_name).join(", ");
            let expected = format!("{known}, or another scheduler of Stable Diffusion: this one is for other models");
            return Err(options.refuse("_class_name", &format!("\"{name}\""), &expected));
        }
        // The plainest sampler stands in: it takes any prediction, and its noise schedule is everybody's.
        let read = Self::of_kind(options, text.to_owned(), SamplerKind::Ddim)?;
        Ok(Self { foreign: Some(name), ..read })
    }

    /// The same file for another sampler, as diffusers' `from_config` makes it: options that the file names are kept, others take the
    /// defaults of the new sampler. Other settings made here (Karras, eta) are gone.
    ///
    /// # Errors
    /// [`DiffusionError::Option`] where the file's values don't suit the sampler.
    pub fn with_kind(self, kind: SamplerKind) -> Result<Self, DiffusionError> {
        Self::of_kind(self.options, self.text, kind)
    }

    /// The file as diffusers' Stable Diffusion pipelines use the scheduler of their folder: `steps_offset` is 1 and nothing is
    /// clipped, whatever it says. Files from before these options existed mean this.
    ///
    /// Reference: diffusers 0.42.1, `StableDiffusionPipeline.__init__`. What the file leaves out stays out for
    /// [`with_kind`](Self::with_kind).
    pub(in crate::diffusion) fn for_pipeline(self) -> Result<Self, DiffusionError> {
        let mut named = self.options.clone();
        let mut options = self.options;
        for (key, value) in [("steps_offset", json!(1)), ("clip_sample", json!(false))] {
            if named.peek(key).is_some() {
                named.set(key, value.clone());
            }
            options.set(key, value);
        }
        Ok(Self { options: named, foreign: self.foreign, ..Self::of_kind(options, self.text, self.kind)? })
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
                let value = format!("on with the sampler {}", self.kind);
                let expected = format!("off, or the sampler {}", SamplerKind::names_with_karras());
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
        let range = if self.kind == SamplerKind::Ddim { 0.0..=1.0 } else { 0.0..=0.0 };
        if !range.contains(&eta) {
            let expected = "0 to 1 for the sampler ddim, 0 for others".to_owned();
            return Err(DiffusionError::Setting { key: "eta", value: eta.to_string(), expected });
        }
        self.eta = eta;
        Ok(self)
    }

    fn of_kind(options: Options, text: String, kind: SamplerKind) -> Result<Self, DiffusionError> {
        let mut left = options.clone();
        let timesteps = Timesteps::take(&mut left, kind.entry().spacing)?;
        let prediction = Prediction::take(&mut left, kind)?;
        let class = match kind {
            SamplerKind::Ddpm => Class::Ddpm(DdpmConfig::take(&mut left, timesteps, prediction)?),
            SamplerKind::Ddim => Class::Ddim(DdimConfig::take(&mut left, timesteps, prediction)?),
            SamplerKind::Pndm => Class::Pndm(PndmConfig::take(&mut left, timesteps, prediction)?),
            SamplerKind::Euler => Class::Euler(EulerConfig::take(&mut left, timesteps, prediction)?),
            SamplerKind::EulerAncestral => Class::EulerAncestral(EulerAncestralConfig { timesteps, prediction }),
            SamplerKind::DpmSolver => Class::DpmSolver(DpmSolverConfig::take(&mut left, timesteps, prediction)?),
            SamplerKind::UniPc => Class::UniPc(UniPcConfig::take(&mut left, timesteps, prediction)?),
        };
        let schedule = NoiseSchedule::take(&mut left, kind != SamplerKind::Pndm)?;
        left.without_influence(&KNOWN);
        left.finish()?;
        Ok(Self { options, text, kind, prediction, schedule, class, eta: 0.0, foreign: None })
    }

    /// Which sampler this is.
    #[must_use]
    pub const fn kind(&self) -> SamplerKind {
        self.kind
    }

    /// The class of the file, if this program doesn't compute it and no other sampler was chosen yet.
    #[must_use]
    pub fn foreign(&self) -> Option<&str> {
        self.foreign.as_deref()
    }

    /// `_class_name` of the file, or of the sampler that was chosen instead.
    #[must_use]
    pub fn class_name(&self) -> &str {
        self.foreign.as_deref().unwrap_or(self.kind.class_name())
    }

    /// What the network predicts.
    #[must_use]
    pub const fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// The training timesteps' noise levels.
    #[must_use]
    pub fn noise_schedule(&self) -> &NoiseSchedule {
        &self.schedule
    }

    /// The original file, for writing it again; [`with_kind`](Self::with_kind) and the like don't change it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Everything in it that a run depends on, and nothing else: equal for files that differ in notes, in the order of their options or in
    /// options that this sampler hasn't.
    pub(in crate::diffusion) fn canonical(&self) -> Value {
        let Self { options: _, text: _, foreign: _, kind, prediction, schedule, class, eta } = self;
        json!({
            "sampler": kind.entry().name,
            "prediction": prediction.to_string(),
            "noise_schedule": schedule.fingerprint().to_string(),
            "options": class,
            "eta": eta,
        })
    }

    /// A sampler for one run.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] for a number of steps that isn't from 1 to the number of training timesteps, or that the spacing
    /// can't serve; for the file of a class that this program doesn't compute; and for a prediction of noise that would start where the
    /// schedule leaves no signal.
    pub fn sampler(&self, steps: usize) -> Result<Box<dyn Sampler>, DiffusionError> {
        if let Some(class) = &self.foreign {
            let expected = format!("another one, chosen by --sampler or by `sampler` in a run file: {}", SamplerKind::names());
            return Err(DiffusionError::Setting { key: "sampler", value: format!("the checkpoint's {class}"), expected });
        }
        let train = self.schedule.len();
        if !(1..=train).contains(&steps) {
            return Err(refuse_steps(steps, &format!("1 to {train}, the number of training timesteps")));
        }
        let schedule = &self.schedule;
        let sampler: Box<dyn Sampler> = match &self.class {
            Class::Ddpm(config) => Box::new(config.init(schedule, steps)?),
            Class::Ddim(config) => Box::new(config.init(schedule, steps, self.eta)?),
            Class::Pndm(config) => Box::new(config.init(schedule, steps)?),
            Class::Euler(config) => Box::new(config.init(schedule, steps)),
            Class::EulerAncestral(config) => Box::new(config.init(schedule, steps)),
            Class::DpmSolver(config) => Box::new(config.init(schedule, steps)?),
            Class::UniPc(config) => Box::new(config.init(schedule, steps)?),
        };
        self.check_start(sampler.as_ref())?;
        Ok(sampler)
    }

    /// Refuses a noise prediction where the first timestep has no signal: the clean image is then noise divided by zero. Lin et al. 2023,
    /// "Common Diffusion Noise Schedules and Sample Steps are Flawed", section 3.1. diffusers 0.42.1 makes NaN of it, or limits the
    /// division so that rounding errors are enlarged thousandfold.
    fn check_start(&self, sampler: &dyn Sampler) -> Result<(), DiffusionError> {
        let unlimited = match &self.class {
            Class::Ddpm(config) => config.is_unlimited(),
            Class::Ddim(config) => config.is_unlimited(),
            _ => true,
        };
        let first = sampler.timesteps()[0];
        if !(unlimited && self.prediction == Prediction::Epsilon && self.schedule.has_no_signal_at(first)) {
            return Ok(());
        }
        let expected = "v_prediction with `rescale_betas_zero_snr`: at its last timestep there is no signal from which the image could be \
                        computed. Correct the checkpoint's scheduler_config.json: `prediction_type` if the model predicts the velocity, \
                        else `rescale_betas_zero_snr` to false";
        Err(DiffusionError::Setting { key: "prediction_type", value: "epsilon".to_owned(), expected: expected.to_owned() })
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

/// Schedulers of Stable Diffusion in diffusers 0.42.1 that this program doesn't compute.
const FOREIGN: [&str; 13] = [
    "CMStochasticIterativeScheduler",
    "DEISMultistepScheduler",
    "DPMSolverSDEScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "SASolverScheduler",
    "TCDScheduler",
];

/// Options of the classes that Stable Diffusion's schedulers can be turned into, in diffusers 0.42.1 (`KarrasDiffusionSchedulers`, and LCM). A file
/// of one of them may have those of any other, as traces of where it came from.
const KNOWN: [&str; 46] = [
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
    "original_inference_steps",
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
    "timestep_scaling",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &Value) -> Result<SchedulerConfig, DiffusionError> {
        SchedulerConfig::parse(&options.to_string(), Path::new("scheduler_config.json"))
    }

    /// The error of a class with options.
    fn refusal(kind: SamplerKind, mut options: Value) -> String {
        options["_class_name"] = json!(kind.class_name());
        parse(&options).unwrap_err().to_string()
    }

    #[test]
    fn the_preset_is_roentgens() {
        let config = SchedulerConfig::roentgen();
        assert_eq!((config.kind(), config.prediction()), (SamplerKind::Pndm, Prediction::Epsilon));
        let sampler = config.sampler(SchedulerConfig::ROENTGEN_STEPS).unwrap();
        // 74 strides of 1000 / 75 and the offset; diffusers 0.42.1.
        assert_eq!((sampler.timesteps().len(), &sampler.timesteps()[..3]), (76, &[963.0, 950.0, 950.0][..]));
        assert_eq!(config.text(), ROENTGEN);
    }

    /// Defaults of the target, not of the file's class; checked with diffusers 0.42.1, `from_config`.
    #[test]
    fn another_kind_takes_its_own_defaults() {
        let first = |config: &SchedulerConfig| config.sampler(20).unwrap().timesteps()[0];
        let solver = SchedulerConfig::roentgen().with_kind(SamplerKind::DpmSolver).unwrap();
        assert_eq!(first(&solver), 999.0);
        // What save_pretrained writes for the same scheduler names the spacing.
        let saved = json!({"_class_name": "PNDMScheduler", "timestep_spacing": "leading", "steps_offset": 1});
        assert_eq!(first(&parse(&saved).unwrap().with_kind(SamplerKind::DpmSolver).unwrap()), 941.0);
    }

    /// diffusers 0.42.1: a `StableDiffusionPipeline` of the file, and `from_config` of its scheduler's configuration.
    #[test]
    fn pipelines_correct_old_files() {
        let old = parse(&json!({"_class_name": "DDIMScheduler", "steps_offset": 0})).unwrap().for_pipeline().unwrap();
        assert_eq!(old.sampler(20).unwrap().timesteps()[0], 951.0);
        let limit = |config: &SchedulerConfig| format!("{:?}", config.class).contains("limit: Unlimited");
        assert!(limit(&old) && !limit(&old.with_kind(SamplerKind::Ddim).unwrap()));
    }

    #[test]
    fn options_of_other_classes_are_known_and_others_are_not() {
        let mut all: Value = KNOWN.map(|key| (key, Value::Null)).into_iter().collect();
        for kind in SamplerKind::ALL {
            all["_class_name"] = json!(kind.class_name());
            assert_eq!(parse(&all).unwrap().kind(), kind);
        }
        all["time_travel"] = json!(true);
        assert!(parse(&all).unwrap_err().to_string().contains("unknown option `time_travel`"));
        // A PNDM file may say how DPM-Solver would do it.
        parse(&json!({"_class_name": "PNDMScheduler", "use_flow_sigmas": true, "variance_type": "learned", "rho": 7.0}))
            .unwrap();
    }

    #[test]
    fn minus_infinity_is_read() {
        let text = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity}"#;
        let config = SchedulerConfig::parse(text, Path::new("x")).unwrap();
        assert_eq!(config.text(), text);
    }

    #[test]
    fn values_that_are_not_computed_are_refused_by_name() {
        use SamplerKind::{Ddim, Ddpm, DpmSolver, Euler, EulerAncestral, Pndm, UniPc};
        for (kind, options, key) in [
            (Ddpm, json!({"variance_type": "learned_range"}), "variance_type"),
            (Ddpm, json!({"variance_type": "fixed_large_log"}), "variance_type"),
            (Ddim, json!({"timestep_spacing": "karras"}), "timestep_spacing"),
            (Ddim, json!({"steps_offset": -1}), "steps_offset"),
            (Ddim, json!({"clip_sample_range": 0}), "clip_sample_range"),
            (Ddim, json!({"dynamic_thresholding_ratio": 2}), "dynamic_thresholding_ratio"),
            (Ddim, json!({"sample_max_value": -1}), "sample_max_value"),
            (Ddim, json!({"prediction_type": "flow_prediction"}), "prediction_type"),
            (Pndm, json!({"prediction_type": "sample"}), "prediction_type"),
            (EulerAncestral, json!({"prediction_type": "sample"}), "prediction_type"),
            (Euler, json!({"interpolation_type": "log_linear"}), "interpolation_type"),
            (Euler, json!({"timestep_type": "continuous"}), "timestep_type"),
            (Euler, json!({"use_beta_sigmas": true}), "use_beta_sigmas"),
            (Euler, json!({"sigma_min": 0}), "sigma_min"),
            (DpmSolver, json!({"variance_type": "learned"}), "variance_type"),
            (DpmSolver, json!({"solver_order": 4}), "solver_order"),
            (DpmSolver, json!({"algorithm_type": "dpmsolver"}), "final_sigmas_type"),
            (DpmSolver, json!({"lambda_min_clipped": "Infinity"}), "lambda_min_clipped"),
            (UniPc, json!({"solver_p": {}}), "solver_p"),
            (UniPc, json!({"solver_order": 0}), "solver_order"),
            (UniPc, json!({"shift_terminal": 0.1}), "shift_terminal"),
            (UniPc, json!({"lower_order_final": false}), "lower_order_final"),
            (UniPc, json!({"predict_x0": false}), "predict_x0"),
        ] {
            let message = refusal(kind, options);
            assert!(message.contains(&format!("`{key}` is")), "{kind}: {message}");
        }
    }

    #[test]
    fn files_of_other_schedulers_are_read_and_sample_once_a_sampler_is_chosen() {
        for class in FOREIGN {
            // diffusers 0.42.1 writes these two for `LCMScheduler`.
            let file = json!({"_class_name": class, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012,
                "prediction_type": "v_prediction", "original_inference_steps": 50, "timestep_scaling": 10.0});
            let config = parse(&file).unwrap().for_pipeline().unwrap();
            assert_eq!((config.foreign(), config.prediction()), (Some(class), Prediction::Velocity));
            assert_eq!(config.noise_schedule(), SchedulerConfig::roentgen().noise_schedule());
            let message = config.sampler(20).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("sampler is the checkpoint's {class}, expected another one, chosen by --sampler")),
                "{message}"
            );
            let chosen = config.with_kind(SamplerKind::Euler).unwrap();
            assert_eq!(chosen.foreign(), None);
            chosen.sampler(20).unwrap();
        }
    }

    #[test]
    fn schedulers_of_other_models_are_refused_by_name() {
        assert!(parse(&json!({})).unwrap_err().to_string().contains("`_class_name` is nothing"));
        let message = parse(&json!({"_class_name": "FlowMatchEulerDiscreteScheduler"})).unwrap_err().to_string();
        assert!(message.contains("is \"FlowMatchEulerDiscreteScheduler\", expected DDPMScheduler, "), "{message}");
        assert!(message.contains("this one is for other models"), "{message}");
        let folder = tempfile::tempdir().unwrap();
        let message = SchedulerConfig::read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("has no scheduler_config.json"), "{message}");
        let missing = SchedulerConfig::read(&folder.path().join("x.json")).unwrap_err();
        assert!(matches!(missing, DiffusionError::Io { action: "read", .. }));
    }

    #[test]
    fn noise_is_not_predicted_where_there_is_no_signal() {
        for kind in SamplerKind::ALL.into_iter().filter(|kind| *kind != SamplerKind::Pndm) {
            let with = |options: Value| {
                let mut file = json!({"_class_name": kind.class_name(), "rescale_betas_zero_snr": true, "clip_sample": false,
                    "timestep_spacing": "trailing"});
                file.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
                parse(&file).unwrap().sampler(20)
            };
            let message = with(json!({})).unwrap_err().to_string();
            assert!(message.starts_with("prediction_type is epsilon, expected v_prediction with"), "{kind}: {message}");
            with(json!({"prediction_type": "v_prediction"})).unwrap();
            with(json!({"rescale_betas_zero_snr": false})).unwrap();
            // The last timestep is not visited.
            with(json!({"timestep_spacing": "leading"})).unwrap();
        }
        // A limit keeps the estimate finite.
        let limited = json!({"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing"});
        parse(&limited).unwrap().sampler(20).unwrap();
    }

    #[test]
    fn steps_are_within_the_schedule() {
        for kind in SamplerKind::ALL {
            let config = parse(&json!({"_class_name": kind.class_name(), "num_train_timesteps": 100})).unwrap();
            for steps in [0, 101] {
                let message = config.sampler(steps).unwrap_err().to_string();
                assert_eq!(message, format!("steps is {steps}, expected 1 to 100, the number of training timesteps"));
            }
        }
        let reason = |options: Value, steps| parse(&options).unwrap().sampler(steps).unwrap_err().to_string();
        let message = reason(json!({"_class_name": "DDIMScheduler", "steps_offset": 1}), 1000);
        assert!(message.contains("steps_offset 1 makes the first timestep 1000, which is not below 1000"), "{message}");
        assert!(reason(json!({"_class_name": "PNDMScheduler"}), 3).contains("expected 4 or more"));
        let message = reason(json!({"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "leading"}), 1000);
        assert!(message.contains("expected fewer than 1000"), "{message}");
        let message = reason(json!({"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": 50}), 10);
        assert!(message.starts_with("lambda_min_clipped is 50, expected at most "), "{message}");
    }

    #[test]
    fn karras_and_eta_are_refused_where_they_would_be_ignored() {
        let config = SchedulerConfig::roentgen();
        assert!(
            config.clone().with_karras_sigmas(true).unwrap_err().to_string().contains("karras is on with the sampler pndm")
        );
        config.clone().with_karras_sigmas(false).unwrap();
        assert!(config.clone().with_eta(0.5).unwrap_err().to_string().contains("eta is 0.5, expected 0 to 1"));
        let ddim = config.clone().with_kind(SamplerKind::Ddim).unwrap();
        ddim.clone().with_eta(f64::NAN).unwrap_err();
        assert!(ddim.with_eta(1.0).unwrap().sampler(10).unwrap().needs_noise(9));
        // diffusers 0.42.1: 20 steps of DPM-Solver++ with Karras' ratios.
        let karras = config.with_kind(SamplerKind::DpmSolver).unwrap().with_karras_sigmas(true).unwrap();
        assert_eq!(karras.sampler(20).unwrap().timesteps()[..4], [999.0, 962.0, 921.0, 876.0]);
    }
}
