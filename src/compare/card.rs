//! What a report says of the data, the protocol, and how to read its numbers; and the images that it shows.

use std::collections::BTreeSet;

use burn::data::dataset::{Dataset, DatasetError};
use roentgen_augment::dataset::TrainSet;
use roentgen_augment::image::encode_png;
use roentgen_augment::record::{CxrRecord, CxrSample, Label, Origin, Vocabulary};
use roentgen_augment::supply::SyntheticDataset;

use super::pool::Pools;
use crate::config::RunConfig;
use crate::report::{DataCard, FindingCount, GridColumn, GridImage, Protocol, SampleGrid};
use crate::study::StudyData;

/// Fewer positives than this in the test set cause a warning.
const FEW_POSITIVES: usize = 20;

/// What every arm shares.
pub(super) fn protocol(config: &RunConfig, parameters: usize) -> Protocol {
    let training = &config.training;
    Protocol {
        network: config.network.name(),
        parameters,
        image_size: config.preprocess.size,
        steps: training.steps,
        batch_size: training.batch_size,
        learning_rate: training.learning_rate,
        precision: training.precision,
        seeds: config.seeds.clone(),
        selection: serde_json::to_value(training.select).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default(),
        replicates: config.bootstrap.replicates,
        confidence: 0.95,
    }
}

/// The data set and its splits.
pub(super) fn data_card(config: &RunConfig, study: &StudyData) -> DataCard {
    let StudyData { train, splits, .. } = study;
    let sets = [train.data(), splits.valid().data(), splits.test().data()];
    let patients = sets.map(|data| {
        let ids = data.rows().iter().map(|row| row.record.patient_id.as_ref().map_or(row.record.id.as_str(), |id| id.as_str()));
        ids.collect::<BTreeSet<_>>().len()
    });
    let vocabulary = train.data().vocabulary();
    let policy = config.data.policy_of_rows();
    let count = |column: usize, wanted: fn(Option<f32>) -> bool| {
        let finding = vocabulary.findings()[column];
        sets.map(|data| {
            let targets = data.rows().iter().map(|row| policy.target(finding, row.record.labels[column]));
            targets.filter(|target| wanted(*target)).count()
        })
    };
    let findings = (0..vocabulary.len()).map(|column| FindingCount {
        finding: vocabulary.findings()[column].name().to_owned(),
        positives: count(column, |target| target == Some(1.0)),
        labelled: count(column, |target| target.is_some()),
    });
    DataCard {
        name: config.data.title(),
        nature: if config.data.is_phantom() { "phantom" } else { "real" }.to_owned(),
        images: sets.map(|data| data.rows().len()),
        patients,
        findings: findings.collect(),
    }
}

/// What a reader must know before quoting a number; `notes` are those of the study's images.
pub(super) fn warnings(config: &RunConfig, notes: &[String], data: &DataCard, pools: &Pools) -> Vec<String> {
    let mut warnings = [notes, &pools.notes].concat();
    if pools.arms.iter().any(Option::is_some)
        && let Some(generator) = &config.generator
    {
        warnings.push(generator.caveat());
    }
    let few: Vec<_> = data
        .findings
        .iter()
        .filter(|finding| finding.positives[2] < FEW_POSITIVES)
        .map(|finding| format!("{} ({})", finding.finding, finding.positives[2]))
        .collect();
    if !few.is_empty() {
        warnings.push(format!(
            "Fewer than {FEW_POSITIVES} test positives: {}. Read these AUROCs with their intervals.",
            few.join(", ")
        ));
    }
    if config.seeds.len() < 3 {
        warnings.push(format!(
            "{} classifier seed(s) per arm: the spread between training runs is not shown by the intervals, which hold the runs fixed.",
            config.seeds.len()
        ));
    }
    if config.training.patience > 0 {
        warnings.push(
            "`patience` is on: arms may stop at different steps, which confounds the data with the training length.".to_owned(),
        );
    }
    warnings
}

/// Images per column of the sample grid.
const GRID_ROWS: usize = 6;

/// The first training images with a finding, and the first synthetic images that descend from the same kind of row.
///
/// # Errors
/// If an image can't be read or made.
pub fn sample_grid(
    train: &TrainSet,
    pool: Option<&SyntheticDataset>,
    real_title: &str,
    synthetic_title: &str,
) -> Result<SampleGrid, DatasetError> {
    let vocabulary = train.data().vocabulary();
    let interesting = |record: &CxrRecord| record.labels.contains(&Label::Positive);
    let real: Vec<usize> = (0..train.data().len()).filter(|&i| interesting(train.data().record(i))).take(GRID_ROWS).collect();
    let mut columns = vec![column(real_title, train.data().get_many(real)?, vocabulary)];
    if let Some(pool) = pool {
        let chosen = (0..pool.len()).filter(|&i| interesting(&pool.records()[i])).take(GRID_ROWS).collect();
        columns.push(column(synthetic_title, pool.get_many(chosen)?, vocabulary));
    }
    Ok(SampleGrid { columns })
}

fn column(title: &str, samples: Vec<CxrSample>, vocabulary: &Vocabulary) -> GridColumn {
    let image = |sample: CxrSample| {
        let made = match &sample.record.origin {
            Origin::Synthetic(provenance) => Some(provenance),
            Origin::Real => None,
        };
        GridImage {
            png: encode_png(&sample.image.to_gray8()),
            caption: positives(&sample.record, vocabulary),
            prompt: made.map(|made| made.request.prompt.clone()).filter(|prompt| !prompt.is_empty()),
            gate: made.and_then(|made| made.gate).map(|outcome| outcome.to_string()),
        }
    };
    let images = samples.into_iter().map(image);
    GridColumn { title: title.to_owned(), images: images.collect() }
}

fn positives(record: &CxrRecord, vocabulary: &Vocabulary) -> String {
    let labels = vocabulary.findings().iter().zip(&record.labels);
    let names: Vec<_> = labels.filter(|(_, label)| **label == Label::Positive).map(|(finding, _)| finding.name()).collect();
    names.join(", ")
}
