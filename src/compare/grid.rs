//! Real beside synthetic images, for the report.

use roentgen_augment::dataset::TrainSet;
use roentgen_augment::record::{CxrRecord, CxrSample, Label, Vocabulary};
use roentgen_augment::supply::SyntheticDataset;

use crate::report::{GridColumn, GridImage, SampleGrid};

/// Images a column.
const ROWS: usize = 6;

/// The first training images with a finding, and the first synthetic images that descend from the same kind of row.
///
/// # Errors
/// If an image can't be read or made.
pub fn sample_grid(
    train: &TrainSet,
    pool: Option<&SyntheticDataset>,
    real_title: &str,
    synthetic_title: &str,
) -> Result<SampleGrid, burn::data::dataset::DatasetError> {
    use burn::data::dataset::Dataset;
    let vocabulary = train.data().vocabulary();
    let interesting = |record: &CxrRecord| record.labels.contains(&Label::Positive);
    let real: Vec<usize> = (0..train.data().len()).filter(|&i| interesting(train.data().record(i))).take(ROWS).collect();
    let mut columns = vec![column(real_title, train.data().get_many(real)?, vocabulary)];
    if let Some(pool) = pool {
        let chosen = (0..pool.len()).filter(|&i| interesting(&pool.records()[i])).take(ROWS).collect();
        columns.push(column(synthetic_title, pool.get_many(chosen)?, vocabulary));
    }
    Ok(SampleGrid { columns })
}

fn column(title: &str, samples: Vec<CxrSample>, vocabulary: &Vocabulary) -> GridColumn {
    let images = samples.into_iter().map(|sample| GridImage {
        png: roentgen_augment::image::encode_png(&sample.image.to_gray8()),
        caption: positives(&sample.record, vocabulary),
    });
    GridColumn { title: title.to_owned(), images: images.collect() }
}

fn positives(record: &CxrRecord, vocabulary: &Vocabulary) -> String {
    let labels = vocabulary.findings().iter().zip(&record.labels);
    let names: Vec<_> = labels.filter(|(_, label)| **label == Label::Positive).map(|(finding, _)| finding.name()).collect();
    names.join(", ")
}
