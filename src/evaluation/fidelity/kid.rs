//! Kernel distance.

use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::error::FidelityError;
use super::product::{products, widened};
use crate::evaluation::rows::Rows;

/// Rows of one side of the blocks in which kernels are computed.
const BLOCK: usize = 256;

/// How subsets are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KidConfig {
    /// Subsets.
    pub subsets: usize,
    /// Images of each set in a subset, without replacement.
    pub subset_size: usize,
    /// Seed of the draws. Subset i is a function of the seed, i and the sizes.
    pub seed: u64,
}

/// 100 subsets of 1,000, as torch-fidelity and clean-fid.
impl Default for KidConfig {
    fn default() -> Self {
        Self { subsets: 100, subset_size: 1000, seed: 0 }
    }
}

/// Kernel distance over subsets.
#[derive(Clone, Debug, PartialEq)]
pub struct Kid {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets, with their number as divisor. It tells how a subset of this size varies, not how well the
    /// mean is known: subsets share images, and of subsets that are the whole sets it is 0 whatever the images are.
    pub std: f64,
    /// Each subset's.
    pub values: Vec<f64>,
}

/// Kernel distance of all images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WholeKid {
    /// The unbiased estimate; slightly negative for sets of one distribution.
    pub value: f64,
    /// Its standard error, from leaving out each image in turn (jackknife over both sets).
    pub standard_error: f64,
}

/// Kernel Inception distance (Binkowski et al. 2018): the unbiased squared maximum mean discrepancy with the kernel (x·y / width + 1)³, over
/// random subsets. As torch-fidelity 0.4.0's; not multiplied by 1000.
///
/// # Errors
/// [`FidelityError::Rows`] if the widths differ, [`FidelityError::TooFew`] if a set is smaller than a subset, [`FidelityError::Setting`]
/// for no subset or subsets of less than two images, [`FidelityError::Overflow`].
pub fn kid<T, U>(real: Rows<'_, T>, synthetic: Rows<'_, U>, config: &KidConfig) -> Result<Kid, FidelityError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    if config.subsets == 0 {
        return Err(FidelityError::Setting { setting: "the number of KID subsets", least: 1 });
    }
    for (set, found) in [("the real set", real.len()), ("the synthetic set", synthetic.len())] {
        if found < config.subset_size {
            let (what, needed, remedy) = ("KID", config.subset_size, ", or set a smaller subset size");
            return Err(FidelityError::TooFew { what, set, found, needed, remedy });
        }
    }
    let draw = |subset: usize| {
        let mut generator = ChaCha8Rng::seed_from_u64(config.seed);
        generator.set_stream(subset as u64);
        let mut of = |images| sample(&mut generator, images, config.subset_size).into_vec();
        (of(real.len()), of(synthetic.len()))
    };
    over(real, synthetic, config.subsets, draw)
}

/// Kernel distance over given subsets: rows of the real set and rows of the synthetic set, equally many.
///
/// # Errors
/// As [`kid`]; [`FidelityError::Index`], [`FidelityError::SubsetSize`].
pub fn kid_of_subsets<T, U>(
    real: Rows<'_, T>,
    synthetic: Rows<'_, U>,
    subsets: &[(Vec<usize>, Vec<usize>)],
) -> Result<Kid, FidelityError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    if subsets.is_empty() {
        return Err(FidelityError::Setting { setting: "the number of KID subsets", least: 1 });
    }
    for (first, second) in subsets {
        if first.len() != second.len() {
            return Err(FidelityError::SubsetSize { found: second.len(), expected: first.len() });
        }
        for (rows, images) in [(first, real.len()), (second, synthetic.len())] {
            if let Some(&index) = rows.iter().find(|&&row| row >= images) {
                return Err(FidelityError::Index { index, images });
            }
        }
    }
    over(real, synthetic, subsets.len(), |subset| subsets[subset].clone())
}

fn over<T, U>(
    real: Rows<'_, T>,
    synthetic: Rows<'_, U>,
    subsets: usize,
    draw: impl Fn(usize) -> (Vec<usize>, Vec<usize>) + Sync,
) -> Result<Kid, FidelityError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    real.comparable(&synthetic)?;
    let value = |subset: usize| {
        let (first, second) = draw(subset);
        if first.len() < 2 {
            return Err(FidelityError::Setting { setting: "the number of images in a KID subset, less 1,", least: 1 });
        }
        let first_rows = widened(&real, |i| first[i], first.len(), None);
        let second_rows = widened(&synthetic, |i| second[i], second.len(), None);
        let sums = Sums::of(&first_rows, &second_rows, real.width());
        Ok(sums.distance())
    };
    let values = (0..subsets).into_par_iter().map(value).collect::<Result<Vec<f64>, _>>()?;
    finite(values.iter().sum(), &real, &synthetic)?;
    let mean = values.iter().sum::<f64>() / subsets as f64;
    let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / subsets as f64;
    Ok(Kid { mean, std: variance.sqrt(), values })
}

/// Kernel distance of all images at once, with a standard error: every pair of images takes part, and there is no subset size to choose.
///
/// # Errors
/// [`FidelityError::Rows`] if the widths differ, [`FidelityError::TooFew`] for fewer than three images in a set, [`FidelityError::Overflow`].
pub fn whole_kid<T, U>(real: Rows<'_, T>, synthetic: Rows<'_, U>) -> Result<WholeKid, FidelityError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    real.comparable(&synthetic)?;
    for (set, found) in [("the real set", real.len()), ("the synthetic set", synthetic.len())] {
        if found < 3 {
            return Err(FidelityError::TooFew { what: "KID of whole sets", set, found, needed: 3, remedy: "" });
        }
    }
    let first = widened(&real, |row| row, real.len(), None);
    let second = widened(&synthetic, |row| row, synthetic.len(), None);
    let sums = Sums::of(&first, &second, real.width());
    let value = sums.distance();
    finite(value, &real, &synthetic)?;
    Ok(WholeKid { value, standard_error: sums.standard_error() })
}

fn finite<T, U>(value: f64, real: &Rows<'_, T>, synthetic: &Rows<'_, U>) -> Result<(), FidelityError>
where
    T: Copy + Into<f64>,
    U: Copy + Into<f64>,
{
    if value.is_finite() {
        return Ok(());
    }
    let values = real.values().iter().map(|&value| value.into()).chain(synthetic.values().iter().map(|&value| value.into()));
    let largest = values.map(f64::abs).fold(0.0, f64::max);
    Err(FidelityError::Overflow { what: "KID", largest })
}

/// Sums of kernels.
struct Sums {
    /// For each row of the first set: over the others of its set.
    first: Vec<f64>,
    /// For each row of the second set: over the others of its set.
    second: Vec<f64>,
    /// For each row of the first set: over the second set.
    across_first: Vec<f64>,
    /// For each row of the second set: over the first set.
    across_second: Vec<f64>,
}

impl Sums {
    fn of(first: &[f64], second: &[f64], width: usize) -> Self {
        let (across_first, across_second) = across(first, second, width);
        Self { first: within(first, width), second: within(second, width), across_first, across_second }
    }

    /// The unbiased estimate (Gretton et al. 2012, equation 3).
    fn distance(&self) -> f64 {
        let (n, m) = (self.first.len() as f64, self.second.len() as f64);
        let (first, second, across) = self.totals();
        first / (n * (n - 1.0)) + second / (m * (m - 1.0)) - 2.0 * across / (n * m)
    }

    fn totals(&self) -> (f64, f64, f64) {
        (self.first.iter().sum(), self.second.iter().sum(), self.across_first.iter().sum())
    }

    /// Jackknife of two samples: each left out in turn, (n - 1) / n times the sum of squares about the mean of these estimates.
    fn standard_error(&self) -> f64 {
        let (first, second, across) = self.totals();
        let one = |own: &[f64], over: &[f64], (own_total, other_total): (f64, f64), other: f64| {
            let n = own.len() as f64;
            let rest = other_total / (other * (other - 1.0));
            let without = |(own, over): (&f64, &f64)| {
                (own_total - 2.0 * own) / ((n - 1.0) * (n - 2.0)) + rest - 2.0 * (across - over) / ((n - 1.0) * other)
            };
            let estimates: Vec<f64> = own.iter().zip(over).map(without).collect();
            let mean = estimates.iter().sum::<f64>() / n;
            (n - 1.0) / n * estimates.iter().map(|estimate| (estimate - mean) * (estimate - mean)).sum::<f64>()
        };
        let (n, m) = (self.first.len() as f64, self.second.len() as f64);
        let from_first = one(&self.first, &self.across_first, (first, second), m);
        let from_second = one(&self.second, &self.across_second, (second, first), n);
        (from_first + from_second).sqrt()
    }
}

/// Kernels of a pair of blocks, summed along both sides.
struct Part {
    by_row: Vec<f64>,
    by_column: Vec<f64>,
}

impl Part {
    /// Kernels of the rows of `a` from `row` on with those of `b` from `column` on; without those of a row with itself if both blocks are
    /// the `same`.
    fn new(a: &[f64], b: &[f64], (row, column): (usize, usize), width: usize, same: bool) -> Self {
        let (a, b) = (block(a, row, width), block(b, column, width));
        let (height, across) = (a.len() / width, b.len() / width);
        let mut kernels = vec![0.0; height * across];
        products(a, b, width, &mut kernels);
        let scale = 1.0 / width as f64;
        let mut by_column = vec![0.0; across];
        let by_row = kernels.chunks_mut(across).enumerate().map(|(i, line)| {
            for kernel in &mut *line {
                let base = *kernel * scale + 1.0;
                *kernel = base * base * base;
            }
            if same {
                line[i] = 0.0;
            }
            by_column.iter_mut().zip(&*line).for_each(|(sum, kernel)| *sum += kernel);
            line.iter().sum()
        });
        Self { by_row: by_row.collect(), by_column }
    }
}

/// At most [`BLOCK`] rows.
fn block(rows: &[f64], first: usize, width: usize) -> &[f64] {
    &rows[first * width..rows.len().min((first + BLOCK) * width)]
}

/// Where the blocks of rows begin.
fn starts(rows: &[f64], width: usize) -> Vec<usize> {
    (0..rows.len() / width).step_by(BLOCK).collect()
}

/// For each row, the sum of its kernels with all others. Every pair is computed once.
fn within(rows: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; rows.len() / width];
    let starts = starts(rows, width);
    for (i, &row) in starts.iter().enumerate() {
        let part = |&column: &usize| (column, Part::new(rows, rows, (row, column), width, row == column));
        let parts: Vec<(usize, Part)> = starts[..=i].par_iter().map(part).collect();
        for (column, part) in parts {
            add(&mut sums[row..], &part.by_row);
            if row != column {
                add(&mut sums[column..], &part.by_column);
            }
        }
    }
    sums
}

/// For each row of both sets, the sum of its kernels with those of the other.
fn across(first: &[f64], second: &[f64], width: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut by_first, mut by_second) = (vec![0.0; first.len() / width], vec![0.0; second.len() / width]);
    let columns = starts(second, width);
    for row in starts(first, width) {
        let part = |&column: &usize| (column, Part::new(first, second, (row, column), width, false));
        let parts: Vec<(usize, Part)> = columns.par_iter().map(part).collect();
        for (column, part) in parts {
            add(&mut by_first[row..], &part.by_row);
            add(&mut by_second[column..], &part.by_column);
        }
    }
    (by_first, by_second)
}

fn add(sums: &mut [f64], part: &[f64]) {
    sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
}
