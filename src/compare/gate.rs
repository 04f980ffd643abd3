//! The gate of a study: its judges are made once, from the training and validation rows alone.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roentgen_augment::AugmentError;
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::gate::{
    Attempt, Gate, GateJob, GateReport, Judge, JudgeError, NearestTraining, Settled, Sifted, VerdictLedger,
};
use roentgen_augment::request::SampleRequest;
use roentgen_augment::supply::{ImagePool, Supply};
use roentgen_classifier::ClassifierError;
use roentgen_classifier::networks::Network;
use roentgen_classifier::weights::read_card;

use super::agreement::{ClassifierJudge, JudgeParts, fits};
use super::seed::{SeedRun, batcher};
use super::supply::{PoolError, PoolJob, cache_folder};
use crate::config::{ArmConfig, JudgeKind};
use crate::run_folder::FolderLock;

/// Name of the ledger, in the folder of the sample cache.
const LEDGER: &str = "verdicts.sqlite";

/// The gate of all arms that have one.
pub(super) struct ArmGate<'a> {
    job: &'a PoolJob<'a>,
    /// Made for the first arm that needs them.
    made: Option<(Gate, VerdictLedger)>,
}

impl<'a> ArmGate<'a> {
    pub fn new(job: &'a PoolJob<'a>) -> Self {
        Self { job, made: None }
    }

    /// Sends the requests of an arm through the gate, and records every verdict in the arm's `gate.csv`.
    pub fn settle(&mut self, arm: &ArmConfig, requests: &[SampleRequest], supply: &Supply) -> Result<Settled, PoolError> {
        let job = self.job;
        let (gate, ledger) = self.made()?;
        let task = job.progress.begin(&arm.name, requests.len() as u64, "samples passed the gate");
        let gate_job = GateJob { requests, supply, ledger: Some(ledger), batch: batch(job) };
        let settled = gate.settle(&gate_job, |progress| {
            task.set(progress.settled as u64);
            task.message(&format!("attempt {}", progress.attempt));
        });
        drop(task);
        let settled = settled?;
        let rows = settled.attempts.iter().map(|attempt| row(attempt, &requests[attempt.request]));
        self.record(arm, &HEADER, rows, &settled.report)?;
        Ok(settled)
    }

    /// Sends the images of an arm through the gate, and records every verdict in the arm's `gate.csv`, which names them.
    pub fn sift(&mut self, arm: &ArmConfig, images: &ImagePool) -> Result<Sifted, PoolError> {
        let job = self.job;
        let (gate, ledger) = self.made()?;
        let task = job.progress.begin(&arm.name, images.data().rows().len() as u64, "images judged");
        let sifted = gate.sift(images, Some(ledger), batch(job), |judged| task.set(judged as u64));
        drop(task);
        let sifted = sifted?;
        let rows = sifted.attempts.iter().map(|attempt| {
            let mut cells = row(attempt, images.request(attempt.request));
            cells.push(images.data().record(attempt.request).id.clone());
            cells
        });
        self.record(arm, &[&HEADER[..], &["image"]].concat(), rows, &sifted.report)?;
        Ok(sifted)
    }

    /// The gate and its ledger.
    fn made(&mut self) -> Result<&(Gate, VerdictLedger), PoolError> {
        let made = match self.made.take() {
            Some(made) => made,
            None => (self.gate()?, self.ledger()?),
        };
        Ok(self.made.insert(made))
    }

    /// Writes an arm's `gate.csv`, and refuses an arm of which nothing passed.
    fn record(
        &self,
        arm: &ArmConfig,
        header: &[&str],
        rows: impl Iterator<Item = Vec<String>>,
        report: &GateReport,
    ) -> Result<(), PoolError> {
        let table = self.job.folder.join("arms").join(&arm.name).join("gate.csv");
        write_attempts(&table, header, rows)?;
        if report.accepted() == 0 {
            return Err(PoolError::NothingPassed { arm: arm.name.clone(), report: Box::new(report.clone()), table });
        }
        Ok(())
    }

    fn ledger(&self) -> Result<VerdictLedger, PoolError> {
        let default = self.job.folder.join("cache");
        let folder =
            self.job.config.generator.as_ref().map_or(default.as_path(), |generator| cache_folder(generator, &default));
        Ok(VerdictLedger::open(&folder.join(LEDGER))?)
    }

    fn gate(&self) -> Result<Gate, PoolError> {
        let (config, study) = (&self.job.config.gate, self.job.study);
        let judges = config.judges.iter().map(|kind| {
            Ok(match kind {
                JudgeKind::Sanity => Arc::new(config.sanity) as Arc<dyn Judge>,
                JudgeKind::Agreement => Arc::new(self.classifier()?),
                JudgeKind::Copies => {
                    Arc::new(NearestTraining::new(&study.train, study.splits.valid(), config.copies.quantile)?)
                }
            })
        });
        Ok(Gate::new(judges.collect::<Result<_, PoolError>>()?, config.attempts))
    }

    fn classifier(&self) -> Result<ClassifierJudge, PoolError> {
        let job = self.job;
        let failed = |error: ClassifierError| PoolError::Judge(Box::new(error));
        let agreement = &job.config.gate.agreement;
        let path = match &agreement.weights {
            Some(path) => path.clone(),
            None => self.trained()?,
        };
        let vocabulary = job.study.train.data().vocabulary();
        let card = read_card(&path).map_err(failed)?;
        let refuse = |message: String| JudgeError { message: format!("{}: {message}", path.display()), source: None };
        if !fits(&card.findings, vocabulary) {
            let wanted: Vec<_> = vocabulary.findings().iter().map(|finding| finding.name()).collect();
            return Err(
                refuse(format!("its findings are {}, the study's {}", card.findings.join(", "), wanted.join(", "))).into()
            );
        }
        let preprocess = serde_json::from_value(card.preprocess)
            .map_err(|error| refuse(format!("it does not say how its images were prepared ({error})")))?;
        let bytes = std::fs::read(&path)
            .map_err(|source| failed(ClassifierError::Io { action: "read", path: path.clone(), source }))?;
        let mut batcher = batcher(job.config, vocabulary);
        batcher.input = card.input_range;
        let parts = JudgeParts {
            net: Network::load(&path, job.device).map_err(failed)?.net,
            weights: Fingerprint::of(&[&bytes]),
            batcher,
            preprocess,
            device: job.device,
            valid: job.study.splits.valid(),
        };
        ClassifierJudge::new(agreement, parts).map_err(failed)
    }

    /// The classifier of the run folder, trained on the real training rows. Of several processes that need it one trains it, and the
    /// others wait.
    fn trained(&self) -> Result<PathBuf, PoolError> {
        let job = self.job;
        let folder = job.folder.join("judge");
        let weights = folder.join("model.safetensors");
        let failed = |error: ClassifierError| PoolError::Judge(Box::new(error));
        let _alone = FolderLock::wait(&folder, "lock")?;
        if weights.is_file() {
            return Ok(weights);
        }
        let arm = ArmConfig::real_only("judge");
        let seed = job.config.gate.agreement.seed;
        let task = job.progress.begin("classifier of the gate", 0, "steps");
        let (config, study, device) = (job.config, job.study, job.device);
        let run = SeedRun { config, arm: &arm, seed, study, pool: None, device };
        run.train(&folder, &batcher(config, study.train.data().vocabulary()), task).map_err(failed)?;
        // Only the weights are needed further; the optimiser's state is not.
        let _ = std::fs::remove_dir_all(folder.join("checkpoints"));
        Ok(weights)
    }
}

/// Images judged at a time.
fn batch(job: &PoolJob<'_>) -> NonZeroUsize {
    job.config.generator.as_ref().map_or(NonZeroUsize::MIN, |generator| generator.batch())
}

/// Columns of `gate.csv`.
const HEADER: [&str; 10] =
    ["request", "source_id", "patient_id", "replica", "attempt", "seed", "passed", "faults", "nearest_real", "nearest_real_id"];

/// Writes `gate.csv`: one row per judged image, in the order of judging.
fn write_attempts(path: &Path, header: &[&str], mut rows: impl Iterator<Item = Vec<String>>) -> Result<(), AugmentError> {
    let written = write_atomic(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(header)?;
        rows.try_for_each(|row| csv.write_record(row))?;
        csv.flush()
    });
    written.map_err(|source| AugmentError::Io { action: "write", path: path.to_owned(), source })
}

fn row(attempt: &Attempt, request: &SampleRequest) -> Vec<String> {
    let source = request.source.as_ref();
    let nearest = attempt.verdict.nearest_real.as_ref();
    let faults: Vec<_> = attempt.verdict.faults.iter().map(ToString::to_string).collect();
    vec![
        attempt.request.to_string(),
        source.map_or_else(String::new, |source| source.id.clone()),
        source.map_or_else(String::new, |source| source.patient_id.to_string()),
        request.replica.to_string(),
        attempt.attempt.to_string(),
        attempt.seed.to_string(),
        u8::from(attempt.verdict.passed()).to_string(),
        faults.join("; "),
        nearest.map_or_else(String::new, |nearest| nearest.distance.to_string()),
        nearest.map_or_else(String::new, |nearest| nearest.id.clone()),
    ]
}
