//! The whole evaluation of a set of synthetic images beside real ones: `roentgen evaluate`.
//!
//! | file | what it holds |
//! |---|---|
//! | `opened` | what is read first: networks, texts, files of reports |
//! | `report` | what comes out: `evaluation.json` |
//! | `sets` | what the images are like before a network sees them |
//! | `halves`, `fidelity` | how near the sets are, beside floors from halves by patient |
//! | `correctness`, `groups` | whether they show what they were asked for, and for every group of patients alike |
//! | `copies` | whether they are copies of what the generator was trained on |
//! | `compared`, `diversity`, `lpips` | how varied the images are as pictures |
//! | `retrieval` | whether images and texts find what they ask for |
//! | `reports` | whether they say what their reports do |
//! | `table`, `page`, `files` | the same for people, and on disk |

mod compared;
mod copies;
mod correctness;
mod diversity;
mod error;
mod fidelity;
mod files;
mod groups;
mod halves;
mod lpips;
mod opened;
mod page;
mod report;
mod reports;
mod retrieval;
mod sets;
mod table;

use std::path::Path;

use burn::tensor::Device;
use roentgen_augment::progress::Progress;
use roentgen_augment::record::Finding;

use self::compared::Compared;
use self::copies::{Found, Sets};
use self::fidelity::Side;
use self::opened::Opened;
use crate::config::EvaluationConfig;
use crate::evaluation::features::{Extraction, FeatureNetwork, NetworkChoice, NetworkKind, extract};
use crate::evaluation::images::{ImageSet, Look};
use crate::evaluation::memorisation::{BLIND, Outcome, SheetPair};
use crate::report::format::count;

pub use error::EvaluationError;
pub use files::{Written, write};
pub use lpips::LpipsReport;
pub use opened::check_measures;
pub use page::{page, sections};
pub use report::{
    CopiesReport, DiversityReport, EvaluationReport, FidelityRow, Figure, JudgeReport, Measured, NetworkFidelity, SetReport,
    SizeCount, Spread,
};
pub use reports::{FindingRow, ReadReport, ReportsReport, SetText, TextRow};
pub use retrieval::{NetworkRetrieval, ProtocolRetrieval, Retrieved, TextRetrieval};
pub use table::terminal_table;

/// The synthetic images to evaluate, and all that they are evaluated with.
#[derive(Clone, Debug)]
pub struct EvaluationJob<'a> {
    /// The real images: the reference.
    pub real: &'a ImageSet,
    /// The images that were made.
    pub synthetic: &'a ImageSet,
    /// What the generator was trained on, if that is known: then copies of it are looked for.
    pub train: Option<&'a ImageSet>,
    /// What to measure, and by which networks.
    pub config: &'a EvaluationConfig,
    /// The benchmark whose conventions hold, for the report.
    pub benchmark: Option<&'a str>,
    /// Where networks run.
    pub device: &'a Device,
    /// The folder that keeps features.
    pub cache: &'a Path,
    /// Who is told how far it is.
    pub progress: &'a dyn Progress,
}

/// What came out, with what only files hold.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// The figures.
    pub report: EvaluationReport,
    /// Every synthetic image with its nearest training image, in pixels and by each network.
    pub outcomes: Vec<Outcome>,
    /// The pairs that are closest in pixels.
    pub closest: Vec<SheetPair>,
    /// Every report that was read off an image, with what it is compared with.
    pub reports: Vec<ReadReport>,
}

/// Measures the synthetic images of `job`.
///
/// # Errors
/// [`EvaluationError`]: no network, an image that can't be read, weights of another network, settings that make no sense. What the images
/// are too few for is `None` in the report, with the reason.
pub fn evaluate(job: &EvaluationJob<'_>) -> Result<Evaluation, EvaluationError> {
    let EvaluationJob { real, synthetic, config, .. } = job;
    config.check()?;
    let findings = findings(job)?;
    // First: a wrong file is found before images are looked at.
    let Opened { networks, judges, lpips, texts } = Opened::of(config, job.device)?;
    let mut reports = Vec::from_iter(reports::from_files(job)?);
    let looks = [real.looks(job.progress)?, synthetic.looks(job.progress)?];
    let [real_looks, synthetic_looks] = &looks;
    let train = job.train.map(|train| Ok::<_, EvaluationError>((train, train.looks(job.progress)?))).transpose()?;
    let (real_report, synthetic_report) = (sets::describe(real, real_looks), sets::describe(synthetic, synthetic_looks));
    let copies = sets::copies(real_looks, synthetic_looks);
    let mut warnings: Vec<String> =
        [real, synthetic].iter().flat_map(|set| set.notes().iter().map(|note| sentence(note))).collect();
    warnings.extend(sets::doubts(&real_report, &synthetic_report, copies));
    if findings.is_empty() {
        warnings.push("No finding has labels in both sets: there are no figures per finding.".to_owned());
    }
    warnings.extend(texts.iter().flat_map(|texts| texts.notes.iter().map(|note| sentence(note))));
    let mut fidelity = Vec::with_capacity(networks.len());
    let mut retrieval = Vec::with_capacity(networks.len());
    let mut copied: Vec<Found> = Vec::new();
    let mut closest = Vec::new();
    if let Some((train, _)) = &train {
        let sets = Sets { train, real, synthetic };
        let found = copies::in_pixels(sets, job.progress)?;
        closest = copies::closest(&found, sets)?;
        copied.push(found);
        warnings.push(BLIND.to_owned());
    }
    for (place, (choice, network)) in config.networks.iter().zip(&networks).enumerate() {
        let extraction = Extraction { batch: config.batch, cache: job.cache, progress: job.progress };
        let network: &dyn FeatureNetwork = network.as_ref();
        let of = |set: &ImageSet, looks: &[Look]| extract(network, set, looks, extraction);
        let features = [of(real, real_looks)?, of(synthetic, synthetic_looks)?];
        let sides = [Side { set: real, features: &features[0] }, Side { set: synthetic, features: &features[1] }];
        let of_train =
            train.as_ref().map(|(train, looks)| Ok::<_, EvaluationError>((*train, of(train, looks)?))).transpose()?;
        if let Some((train, of_train)) = &of_train {
            let sets = Sets { train, real, synthetic };
            copied.push(copies::in_features(sets, [of_train, &features[0], &features[1]])?);
        }
        if config.reports.decoder {
            let of_train = of_train.as_ref().map(|(train, features)| (*train, features));
            reports.push(reports::by_decoder(job, network.name(), of_train, [&features[0], &features[1]])?);
        }
        fidelity.push(of_network(job, choice, sides, &findings)?);
        retrieval.push(retrieval::by(choice, sides, texts.as_ref().filter(|texts| texts.network == place), config));
    }
    warnings.extend(fidelity.iter().filter_map(few));
    if let Some(benchmark) = job.benchmark
        && !config.networks.iter().any(|choice| choice.kind == NetworkKind::RadDino)
    {
        warnings.push(format!("No network is RAD-DINO: no figure here can stand beside the leaderboard of {benchmark}."));
    }
    let compared = Compared::of([real, synthetic], synthetic_looks, config);
    let mut diversity = diversity::measure(&compared, job.progress)?;
    diversity.lpips = match &lpips {
        Some((files, lpips)) => Some(lpips::measure(lpips, files, &compared, job.progress)?),
        None => None,
    };
    let judged = config.judges.iter().zip(&judges);
    let correctness = judged.map(|(choice, scores)| correctness::by(job, choice, scores, [real_looks, synthetic_looks]));
    let correctness = correctness.collect::<Result<Vec<_>, _>>()?;
    let judged = correctness.iter().filter_map(|judge| judge.correctness.as_ref());
    warnings.extend(judged.flat_map(|judged| judged.notes.iter().map(|note| sentence(note))));
    warnings.extend(copied.iter().flat_map(|copied| copied.report.found.notes.iter().map(|note| sentence(note))));
    warnings.extend(reports.iter().flat_map(|found| found.report.notes.iter().map(|note| sentence(note))));
    let (memorisation, outcomes) = copied.into_iter().map(|found| (found.report, found.outcome)).unzip();
    let (reports, read): (_, Vec<_>) = reports.into_iter().map(|found| (found.report, found.read)).unzip();
    let report = EvaluationReport {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        benchmark: job.benchmark.map(str::to_owned),
        settings: EvaluationConfig::clone(config),
        real: real_report,
        synthetic: synthetic_report,
        copies,
        fidelity,
        diversity,
        retrieval,
        correctness,
        memorisation,
        reports,
        warnings,
    };
    Ok(Evaluation { report, outcomes, closest, reports: read.concat() })
}

fn of_network(
    job: &EvaluationJob<'_>,
    choice: &NetworkChoice,
    [real, synthetic]: [Side<'_>; 2],
    findings: &[Finding],
) -> Result<NetworkFidelity, EvaluationError> {
    let rows = 1 + findings.len() as u64;
    let task = job.progress.begin("figures", rows * fidelity::steps(job.config), "comparisons");
    let row = |finding| fidelity::row(real, synthetic, finding, job.config, task.as_ref());
    let overall = row(None)?;
    let findings = findings.iter().map(|finding| row(Some(*finding))).collect::<Result<Vec<_>, _>>()?;
    Ok(NetworkFidelity {
        network: real.features.network.clone(),
        weights: choice.to_string(),
        preparation: real.features.preparation.clone(),
        width: real.features.width,
        fingerprint: real.features.fingerprint.to_string(),
        overall,
        findings,
    })
}

/// The findings with figures of their own.
fn findings(job: &EvaluationJob<'_>) -> Result<Vec<Finding>, EvaluationError> {
    let sets = [job.real, job.synthetic];
    let knows = |set: &ImageSet, finding: Finding| set.vocabulary().position(finding).is_some();
    let Some(asked) = job.config.chosen_findings()? else {
        // An image that isn't labelled shows nothing that is known.
        let is_shown = |set: &ImageSet, finding| !fidelity::showing(set, Some(finding)).is_empty();
        let both = job.real.vocabulary().findings().iter().copied();
        return Ok(both
            .filter(|finding| sets.iter().all(|set| knows(set, *finding)) && sets.iter().any(|set| is_shown(set, *finding)))
            .collect());
    };
    for finding in &asked {
        if let Some(set) = sets.into_iter().find(|set| !knows(set, *finding)) {
            let known = set.vocabulary().findings().iter().map(|finding| finding.name()).collect::<Vec<_>>().join(", ");
            return Err(EvaluationError::NoFinding { finding: finding.name().to_owned(), set: set.name().to_owned(), known });
        }
    }
    Ok(asked)
}

/// What to say where there are fewer images than features.
fn few(network: &NetworkFidelity) -> Option<String> {
    let NetworkFidelity { overall, width, .. } = network;
    let fewest = overall.real.min(overall.synthetic);
    overall.fid?;
    (fewest <= *width).then(|| {
        format!(
            "FID of {} has {} and {} images for {} features: its covariances lack directions, and it says more about the number of images \
             than about them. Read it beside its floor, or read KID.",
            network.network,
            count(overall.real),
            count(overall.synthetic),
            count(*width)
        )
    })
}

/// A note with a capital letter and a full stop.
fn sentence(note: &str) -> String {
    let mut letters = note.chars();
    let first: String = letters.next().map(|first| first.to_uppercase().collect()).unwrap_or_default();
    // A path stays as it is.
    let is_path = note.split_whitespace().next().is_some_and(|word| word.contains(['/', '\\', '.']));
    let text = if is_path { note.to_owned() } else { format!("{first}{}", letters.as_str()) };
    if text.ends_with('.') { text } else { format!("{text}.") }
}
