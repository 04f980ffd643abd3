//! From a run file to a run.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use roentgen_augment::progress::Progress;
use roentgen_augment::text::PromptSummary;
use serde_json::json;

use super::cache::CodeCache;
use super::checkpoints::Checkpoints;
use super::error::RunError;
use super::evaluation::{SampleSheet, Validation};
use super::interrupt::Interrupt;
use super::log::RunLog;
use super::outlook::outlook;
use super::pairs::{PairSet, Pairing};
use super::random::{Order, Randomness};
use super::replicas::{Exchange, Replicas};
use super::samples::{SampleMaker, SampleShape};
use super::start::StartingPoint;
use super::steps::Run;
use crate::config::ConfigError;
use crate::data;
use crate::diffusion::pipeline::{Checkpoint, Depth};
use crate::finetune::{FinetuneConfig, Strategy, Trainee};
use crate::run_folder::{DataRecord, FinetuneFound, FinetuneStart, order_digest};

/// Where a run trains.
#[derive(Clone, Debug)]
pub struct Devices {
    /// At least one.
    pub list: Vec<Device>,
    /// As `--device` names them.
    pub names: Vec<String>,
    /// Whether they have collective operations (CUDA).
    pub have_collectives: bool,
}

/// The state of an opened run, for people.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// Texts of the training split.
    pub train: PromptSummary,
    /// Texts of the validation split, if there is validation.
    pub valid: Option<PromptSummary>,
    /// Weights under training.
    pub parameters: usize,
    /// Steps taken before.
    pub steps: u64,
    /// Checkpoints that could not be read.
    pub damaged: Vec<String>,
    /// What is doubtful in how the data were read.
    pub notes: Vec<String>,
}

/// Prompts on a sample sheet if none are named.
const SHEET_ROWS: usize = 4;

impl Run {
    /// Opens a run in `out`: a new one, or one to go on with. `devices` are one or more that train together; their names are written
    /// down.
    ///
    /// # Errors
    /// [`RunError::Folder`] if settings, data or weights are not those that the folder was started with, and whatever is wrong with them.
    pub fn open(
        config: &FinetuneConfig,
        out: &Path,
        devices: &Devices,
        progress: &dyn Progress,
    ) -> Result<(Self, Opened), RunError> {
        let interrupt = Interrupt::listen();
        let folder = FinetuneStart::open(out, config)?;
        let (train, splits) = data::open(&config.data, config.preprocess)?;
        let mut notes = train.data().notes().to_vec();
        let synthetic = config.include_synthetic.then_some(&splits);
        if synthetic.is_none() {
            let remedy = "the generator learns from radiographs alone unless `include_synthetic = true`";
            notes.extend(data::synthetic_left_out(&splits, remedy));
        }
        let opening = progress.begin("opening the run", 0, "images");
        opening.message("reading the pipeline");
        let mut start = StartingPoint::open(&config.model, out)?;
        check_size(config, &start.checkpoint)?;
        notes.extend(take_size(config, &mut start.checkpoint));

        // 1. Pairs
        opening.message("reading images");
        // No rule keeps a text without tokens.
        let count = |text: &str| start.checkpoint.count_tokens(text).unwrap_or(0);
        let looked = || opening.advance(1);
        let pairing = Pairing { prompts: &config.prompts, count: &count, known: folder.known(), progress: &looked };
        let (train, train_summary) = PairSet::training(&train, synthetic, &pairing)?;
        let valid = match config.validation.every {
            0 => None,
            _ => Some(PairSet::held_out(splits.valid(), config.validation.images, &pairing)?),
        };

        // 2. What is learnt
        opening.message("loading weights");
        let shape = shape(config, &start);
        let prompts = sheet_prompts(config, valid.as_ref().map_or(&train, |(set, _)| set));
        let settings = start.checkpoint.settings();
        let (device, others) = devices.list.split_first().expect("a run has a device");
        let pipeline = start.checkpoint.clone();
        notes.extend(pipeline.notes()?);
        let trainee = Trainee::new(start.checkpoint, &config.trainee(), device)?;
        let replica = |device: &Device| Ok::<_, RunError>(Trainee::new(pipeline.clone(), &config.trainee(), device)?);
        let others = others.iter().map(replica).collect::<Result<Vec<_>, _>>()?;
        let valid_record = valid.iter().flat_map(|(set, _)| set.record());
        let rows: Vec<_> = train.record().into_iter().chain(valid_record).collect();
        let order = order_digest(rows.iter().map(|row| row.id.as_str()));
        let record = DataRecord::new(rows);
        let pairs = [train.pairs().len(), valid.as_ref().map_or(0, |(set, _)| set.pairs().len())];
        let facts = BTreeMap::from([
            ("devices".to_owned(), json!(devices.names)),
            ("pairs trained on and validated on".to_owned(), json!(pairs)),
            ("weights under training".to_owned(), json!(trainee.parameters())),
        ]);
        let folder = folder.begin(FinetuneFound { model: start.digest, data: &record, order, facts })?;

        // 3. Where it continues
        let checkpoints = Checkpoints::open(out)?;
        let (newest, damaged) = checkpoints.newest()?;
        let memory = newest.as_ref().map(|checkpoint| checkpoint.memory).unwrap_or_default();
        let cache = Arc::new(CodeCache::open(&config.cache_folder(out), config.cache.mib << 20)?);
        let exchange = Exchange::new(config.exchange, &devices.list, devices.have_collectives);
        let mut replicas = Replicas::new(trainee, others, exchange, Arc::clone(&cache));
        if let Some(checkpoint) = newest {
            replicas.restore(checkpoint.state)?;
        }
        let trainee = replicas.trainee();
        drop(opening);

        // 4. Evaluation and logs
        let order =
            Order::new(Randomness::training(config.seed), train.pairs().len(), config.batch_size, config.schedule.steps)?;
        let maker =
            |pairs, random, dropout| SampleMaker::new(Arc::new(pairs), shape.clone(), random, dropout, Arc::clone(&cache));
        let (valid, valid_summary) = valid.unzip();
        let reconstructs = matches!(config.strategy, Strategy::Reconstruct { .. });
        let validation = valid.map(|pairs| {
            // Images have no timesteps.
            let bins = if reconstructs { 1 } else { config.validation.bins };
            let batch = (config.batch_size / config.accumulation).max(1);
            Validation::new(maker(pairs, Randomness::validation(config.seed), 0.0), bins, shape.timesteps, batch)
        });
        let sheet = match config.samples.every {
            0 => None,
            _ => {
                let settings =
                    crate::diffusion::pipeline::Settings { size: [config.preprocess.size; 2], depth: Depth::Eight, ..settings };
                Some(SampleSheet::new(&out.join("samples"), &config.samples, prompts, settings)?)
            }
        };
        let steps = trainee.steps();
        let valid_images = validation.as_ref().map_or(0, Validation::images);
        let task = outlook(config, valid_images, sheet.as_ref().map_or(0, SampleSheet::rows));
        let task = task.watch(progress.begin("", config.schedule.steps, "steps"));
        task.resume_at(steps);
        let log = RunLog::open(&folder, steps, memory.pending, config.log_every, task)?;
        let opened =
            Opened { train: train_summary, valid: valid_summary, parameters: trainee.parameters(), steps, damaged, notes };
        let samples = maker(train, Randomness::training(config.seed), config.caption_dropout);
        let run = Self {
            config: config.clone(),
            folder,
            replicas,
            memory,
            checkpoints,
            order,
            samples,
            validation,
            sheet,
            log,
            saved: steps,
            interrupt,
        };
        Ok((run, opened))
    }
}

/// Sides have to be whole numbers of latents.
fn check_size(config: &FinetuneConfig, checkpoint: &Checkpoint) -> Result<(), ConfigError> {
    let (size, factor) = (config.preprocess.size, checkpoint.factor());
    if size.is_multiple_of(factor) {
        return Ok(());
    }
    let near = size.div_ceil(factor) * factor;
    Err(ConfigError::value(
        "preprocess.size",
        size,
        format!("a multiple of {factor}, the autoencoder's factor, such as {near}"),
    ))
}

/// A denoiser that trains at another size than its base paints at that size from now on; the sentence about it.
fn take_size(config: &FinetuneConfig, checkpoint: &mut Checkpoint) -> Option<String> {
    let (side, before) = (config.preprocess.size, checkpoint.settings().size);
    if before == [side, side] || matches!(config.strategy, Strategy::Reconstruct { .. }) {
        return None;
    }
    checkpoint.train_at(side);
    let [height, width] = before;
    let adapters = if config.strategy.has_lora() { "; adapters alone do not say so: give `generate` --size" } else { "" };
    Some(format!(
        "the base paints {width} x {height} pixels and trains at {side} x {side}, which its exported folder records as `sample_size`{adapters}"
    ))
}

fn shape(config: &FinetuneConfig, start: &StartingPoint) -> SampleShape {
    use roentgen_augment::digest::Fingerprint;
    let checkpoint = &start.checkpoint;
    let side = config.preprocess.size / checkpoint.factor();
    let reconstructs = matches!(config.strategy, Strategy::Reconstruct { .. });
    let image_key = Fingerprint::of(&[&start.vae.0, &config.preprocess.digest().0]);
    // A 16-bit encoder gives other codes.
    let text_key = Fingerprint::of(&[&start.text.0, format!("{:?}", config.precision).as_bytes()]);
    SampleShape {
        latents: [checkpoint.latent_channels(), side, side],
        timesteps: checkpoint.timesteps(),
        posterior: checkpoint.draws_latents(),
        offset: config.objective.noise_offset != 0.0,
        image_key: (!reconstructs).then_some(image_key),
        text_key: (!config.strategy.trains_text_encoder()).then_some(text_key),
    }
}

/// The prompts of the run file, or the first distinct ones of a set.
fn sheet_prompts(config: &FinetuneConfig, set: &PairSet) -> Vec<String> {
    if !config.samples.prompts.is_empty() {
        return config.samples.prompts.clone();
    }
    let mut prompts: Vec<String> = Vec::new();
    for pair in set.pairs() {
        if prompts.len() < SHEET_ROWS && !prompts.iter().any(|prompt| **prompt == *pair.prompt) {
            prompts.push(pair.prompt.to_string());
        }
    }
    prompts
}
