//! What the synthetic images of a study are like, measured beside its arms.

use std::path::PathBuf;

use burn::tensor::Device;
use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::progress::Progress;
use roentgen_augment::supply::{Supply, SupplyMode, SyntheticDataset};

use super::seed::seed_folder;
use crate::config::{ArmConfig, EvaluationConfig, RunConfig};
use crate::evaluation::features::{NetworkChoice, NetworkKind};
use crate::evaluation::images::{ImageSet, Wanted};
use crate::evaluation::run::{Evaluation, EvaluationError, EvaluationJob, check_files, evaluate, write};
use crate::run_folder::RunFolder;
use crate::study::StudyData;

/// Most synthetic images that are measured: more would narrow intervals that are narrow already.
const MOST: usize = 5_000;

/// Refuses an `[evaluation]` table whose networks or files of reports can't be opened: before anything is trained.
///
/// # Errors
/// [`EvaluationError::Features`] and [`EvaluationError::Text`] name the file.
pub fn check_networks(config: &RunConfig, device: &Device) -> Result<(), EvaluationError> {
    let Some(evaluation) = &config.evaluation else { return Ok(()) };
    check_files(&evaluation.reports)?;
    let mut named = evaluation.networks.iter().chain(&evaluation.judges);
    Ok(named.try_for_each(|choice| choice.open(evaluation.resize, device).map(drop))?)
}

/// What is measured, and by which classifiers if the run file names none.
pub(super) struct StudyEvaluation<'a> {
    pub config: &'a RunConfig,
    pub study: &'a StudyData,
    /// The pool of each arm.
    pub pools: &'a [Option<SyntheticDataset>],
    pub device: &'a Device,
    /// Holds the weights of the baseline's classifiers, and what comes out.
    pub folder: &'a RunFolder,
    pub progress: &'a dyn Progress,
}

impl StudyEvaluation<'_> {
    /// Measures the images of the largest pool against the test images, and writes `evaluation.json` and what belongs to it into the run
    /// folder. Features are kept there.
    ///
    /// `None` without an `[evaluation]` table, and where there is nothing to measure, see [`why_not`](Self::why_not).
    pub fn run(&self) -> Result<Option<Evaluation>, EvaluationError> {
        let (Some(settings), Ok((arm, pool))) = (&self.config.evaluation, self.measured()) else { return Ok(None) };
        let StudyData { train, splits, .. } = self.study;
        let name = format!("the synthetic images of {}", arm.name);
        let made = pool.to_data(&name, train.data().vocabulary(), MOST)?;
        let policy = self.config.data.policy_of_rows();
        let set = |data: CxrDataset, wanted| ImageSet::of(data, wanted).map(|set| set.with_policy(policy.clone()));
        let synthetic = set(made, Wanted::Synthetic)?;
        let real = set(splits.test().data().clone(), Wanted::Real(None))?;
        let trained_on = set(train.data().clone(), Wanted::Real(None))?;
        let settings = self.with_own_classifiers(settings);
        let evaluation = evaluate(&EvaluationJob {
            real: &real,
            synthetic: &synthetic,
            train: Some(&trained_on),
            config: &settings,
            benchmark: None,
            device: self.device,
            cache: &self.folder.path().join("features"),
            progress: self.progress,
        })?;
        write(&evaluation, self.folder.path())?;
        Ok(Some(evaluation))
    }

    /// Why nothing is measured although the run file asks for it.
    pub fn why_not(&self) -> Option<String> {
        let why = self.config.evaluation.as_ref().and(self.measured().err())?;
        Some(format!("[evaluation] is in the run file, and nothing was measured: {why}."))
    }

    /// The largest pool, with its arm.
    fn measured(&self) -> Result<(&ArmConfig, &SyntheticDataset), &'static str> {
        let arms = self.config.arms.iter().zip(self.pools);
        let largest = arms.filter_map(|(arm, pool)| Some((arm, pool.as_ref()?))).max_by_key(|(_, pool)| pool.records().len());
        let (arm, pool) = largest.ok_or("no arm has synthetic images")?;
        match pool.supply().map(Supply::mode) {
            Some(SupplyMode::OnDemand) => {
                Err("the synthetic images are made on demand, and all would have to be made once more")
            }
            _ => Ok((arm, pool)),
        }
    }

    /// Where the run file names no network, the features are those of the baseline's classifier; where it names no judge, that classifier
    /// judges, unless it was trained on synthetic images itself.
    fn with_own_classifiers(&self, settings: &EvaluationConfig) -> EvaluationConfig {
        let mut settings = settings.clone();
        let own = || {
            let path: PathBuf = seed_folder(self.folder.path(), &self.config.baseline, self.config.seeds[0]);
            vec![NetworkChoice { kind: NetworkKind::Classifier, place: path.join("model.safetensors").into() }]
        };
        if settings.networks.is_empty() {
            settings.networks = own();
        }
        let mut arms = self.config.arms.iter().zip(self.pools);
        if settings.judges.is_empty() && !arms.any(|(arm, pool)| arm.name == self.config.baseline && pool.is_some()) {
            settings.judges = own();
        }
        settings
    }
}
