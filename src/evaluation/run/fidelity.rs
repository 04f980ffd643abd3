//! How near synthetic images are to real ones, overall and per finding, beside what real images are among themselves.
//!
//! FID and its like depend on how many images there are, and resampling with repeats moves them, since a repeated image is at distance 0 of
//! itself. So both the floor and the intervals come from halves that are drawn by patient, without repeats: a half against the other half,
//! and a half against as many synthetic images. The deviation of a mean over random halves is its standard error at the whole set's size
//! (McCarthy, "Pseudo-replication: half samples", 1969); it stands for that of the other figures.

use roentgen_augment::progress::Task;
use roentgen_augment::record::{Finding, Label};

use super::halves::Groups;
use super::report::{FidelityRow, Figure, Spread};
use crate::config::EvaluationConfig;
use crate::evaluation::features::Features;
use crate::evaluation::fidelity::{FidelityError, Moments, frechet, prdc, vendi, whole_kid};
use crate::evaluation::images::ImageSet;
use crate::evaluation::{Rows, RowsError};

/// Most images on a side of the figures that compare every image with every other.
pub(super) const MOST_PAIRED: usize = 10_000;

/// Half of a 95 % interval in standard errors.
const NORMAL: f64 = 1.96;

/// Smallest and largest value of each figure, in the order of [`Values`].
const RANGES: [[f64; 2]; 7] = [
    [0.0, f64::INFINITY],
    [f64::NEG_INFINITY, f64::INFINITY],
    [0.0, 1.0],
    [0.0, 1.0],
    [0.0, f64::INFINITY],
    [0.0, 1.0],
    [1.0, f64::INFINITY],
];

/// FID, KID, precision, recall, density, coverage, Vendi score.
type Values = [Option<f64>; 7];

/// A set of images with its features.
#[derive(Clone, Copy, Debug)]
pub(super) struct Side<'a> {
    pub(super) set: &'a ImageSet,
    pub(super) features: &'a Features,
}

/// How often figures are made for one row, for progress.
pub(super) fn steps(config: &EvaluationConfig) -> u64 {
    1 + config.splits as u64
}

/// The figures of the images of a finding, or of all.
///
/// # Errors
/// [`RowsError`] if the features of both sets aren't comparable.
pub(super) fn row(
    real: Side<'_>,
    synthetic: Side<'_>,
    finding: Option<Finding>,
    config: &EvaluationConfig,
    task: &dyn Task,
) -> Result<FidelityRow, RowsError> {
    let all = [real, synthetic].map(|side| showing(side.set, finding));
    let [real_images, synthetic_images] = &all;
    let mut row = FidelityRow {
        finding: finding.map(|finding| finding.name().to_owned()),
        real: real_images.len(),
        synthetic: synthetic_images.len(),
        half: 0,
        drawn: None,
        undefined: Vec::new(),
        fid: None,
        kid: None,
        precision: None,
        recall: None,
        density: None,
        coverage: None,
        vendi: None,
    };
    if real_images.len().min(synthetic_images.len()) < config.least_images {
        let (real, synthetic, least) = (real_images.len(), synthetic_images.len(), config.least_images);
        row.undefined.push(format!("{real} real and {synthetic} synthetic images; at least {least} of each are needed"));
        task.advance(steps(config));
        return Ok(row);
    }
    let groups = [(real, real_images), (synthetic, synthetic_images)]
        .map(|(side, images)| Groups::of(images.iter().map(|&image| side.set.patient(image))));
    let [real_groups, synthetic_groups] = &groups;
    let rows = [real.features.select(real_images), synthetic.features.select(synthetic_images)];
    let [real, synthetic] = &rows;
    real.rows()?.comparable(&synthetic.rows()?)?;
    let drawn = |groups: &Groups, features: &Features| match features.len() {
        0..=MOST_PAIRED => None,
        _ => Some(features.select(&groups.part(MOST_PAIRED, (config.seed, usize::MAX)))),
    };
    let fewer = [drawn(real_groups, real), drawn(synthetic_groups, synthetic)];
    row.drawn = fewer.iter().any(Option::is_some).then_some(MOST_PAIRED);
    let [fewer_real, fewer_synthetic] = &fewer;
    let paired = [fewer_real.as_ref().unwrap_or(real), fewer_synthetic.as_ref().unwrap_or(synthetic)];
    let whole = figures([real, synthetic], paired, config.neighbours, &mut row.undefined)?;
    task.advance(1);

    let halves = real_groups.halves(synthetic.len() / 2, config.seed, config.splits);
    let half = halves.first().map_or(0, |[first, _]| first.len());
    let (mut floors, mut at_half): (Vec<Values>, Vec<Values>) = (Vec::new(), Vec::new());
    if half > config.neighbours {
        row.half = half;
        for (split, halves) in halves.iter().enumerate() {
            let [a, b] = halves.each_ref().map(|half| real.select(half));
            let part = synthetic.select(&synthetic_groups.part(half, (config.seed, split)));
            let mut ignored = Vec::new();
            floors.push(figures([&a, &b], [&a, &b], config.neighbours, &mut ignored)?);
            at_half.push(figures([&a, &part], [&a, &part], config.neighbours, &mut ignored)?);
            task.advance(1);
        }
    } else {
        let people = real_groups.people();
        row.undefined
            .push(format!("no floor and no intervals: the real images are of {people} patients, too few to be halved"));
        task.advance(config.splits as u64);
    }
    let figure = |place: usize| {
        let over = |values: &[Values]| Spread::of(&values.iter().filter_map(|values| values[place]).collect::<Vec<_>>());
        let (at_half, floor) = (over(&at_half), over(&floors));
        let [least, most] = RANGES[place];
        whole[place].map(|value| {
            let interval =
                at_half.map(|spread| [-NORMAL, NORMAL].map(|side| (value + side * spread.deviation).clamp(least, most)));
            Figure { value, interval, at_half, floor }
        })
    };
    let [fid, kid, precision, recall, density, coverage, vendi] = std::array::from_fn(figure);
    Ok(FidelityRow { fid, kid, precision, recall, density, coverage, vendi, ..row })
}

/// The images that show a finding; all for none.
pub(super) fn showing(set: &ImageSet, finding: Option<Finding>) -> Vec<usize> {
    let shows = |&image: &usize| finding.is_none_or(|finding| set.label(image, finding) == Label::Positive);
    (0..set.len()).filter(shows).collect()
}

/// The figures of two sets of features; those that are undefined say why once.
fn figures(
    [real, synthetic]: [&Features; 2],
    [few_real, few_synthetic]: [&Features; 2],
    neighbours: usize,
    undefined: &mut Vec<String>,
) -> Result<Values, RowsError> {
    let (real, synthetic) = (real.rows()?, synthetic.rows()?);
    let (few_real, few_synthetic) = (few_real.rows()?, few_synthetic.rows()?);
    let mut kept = |figure: &str, value: Result<f64, FidelityError>| {
        value.inspect_err(|error| undefined.push(format!("{figure}: {error}"))).ok().filter(|value| value.is_finite())
    };
    let fid = kept("FID", fid(real, synthetic));
    let kid = kept("KID", whole_kid(few_real, few_synthetic).map(|kid| kid.value));
    let near = prdc(few_real, few_synthetic, neighbours);
    let of = |figure: fn(crate::evaluation::fidelity::Prdc) -> f64| near.clone().map(figure);
    let precision = kept("precision, recall, density and coverage", of(|near| near.precision));
    let [recall, density, coverage] =
        [of(|near| near.recall), of(|near| near.density), of(|near| near.coverage)].map(Result::ok);
    let vendi = kept("Vendi score", vendi(few_synthetic));
    Ok([fid, kid, precision, recall, density, coverage, vendi])
}

fn fid(real: Rows<'_>, synthetic: Rows<'_>) -> Result<f64, FidelityError> {
    frechet(&Moments::of(real)?, &Moments::of(synthetic)?)
}
