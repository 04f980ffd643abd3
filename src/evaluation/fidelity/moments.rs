//! Mean and covariance of features.

use std::sync::OnceLock;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::error::FidelityError;
use super::product::widened;
use crate::evaluation::rows::{Rows, RowsError};

/// Rows that are widened and multiplied at once.
const BLOCK: usize = 1024;

/// Columns on one side of the tiles in which products are summed.
const TILE: usize = 256;

/// Number, mean and covariance (over n - 1) of rows of features.
///
/// The mean comes first and the products are of what is left, so that a large mean does no harm. Of at most as many rows as columns,
/// the rows are kept instead of their covariance: they say the same in less space, and more exactly.
#[derive(Clone, Debug)]
pub struct Moments {
    rows: usize,
    mean: Vec<f64>,
    spread: Spread,
    /// Made when a distance is first asked for.
    factor: OnceLock<Mat<f64>>,
}

/// Sums of squares and products about the mean.
#[derive(Clone, Debug)]
enum Spread {
    /// Row-major numbers F of which F^T F are the sums.
    Rows(Vec<f64>),
    /// The sums: `width x width`, both triangles.
    Sums(Vec<f64>),
}

impl Moments {
    /// Of all rows.
    ///
    /// # Errors
    /// [`FidelityError::TooFew`] for fewer than two rows, which have no covariance; [`FidelityError::Overflow`].
    pub fn of<T: Copy + Into<f64> + Sync>(rows: Rows<'_, T>) -> Result<Self, FidelityError> {
        Self::numbered(rows, |row| row, rows.len())
    }

    /// Of some of the rows, each as often as it is named: a finding's, or a bootstrap's.
    ///
    /// # Errors
    /// As [`Moments::of`]; [`FidelityError::Index`].
    pub fn of_chosen<T: Copy + Into<f64> + Sync>(rows: Rows<'_, T>, chosen: &[usize]) -> Result<Self, FidelityError> {
        match chosen.iter().find(|&&row| row >= rows.len()) {
            Some(&index) => Err(FidelityError::Index { index, images: rows.len() }),
            None => Self::numbered(rows, |row| chosen[row], chosen.len()),
        }
    }

    fn numbered<T: Copy + Into<f64> + Sync>(
        rows: Rows<'_, T>,
        row: impl Fn(usize) -> usize + Sync,
        count: usize,
    ) -> Result<Self, FidelityError> {
        if count < 2 {
            let needed = 2;
            return Err(FidelityError::TooFew { what: "a covariance", set: "one", found: count, needed, remedy: "" });
        }
        let width = rows.width();
        let mean = mean(&rows, &row, count);
        let spread = if count <= width {
            Spread::Rows(widened(&rows, &row, count, Some(&mean)))
        } else {
            Spread::Sums(sums_of_products(&rows, &row, count, &mean))
        };
        let moments = Self { rows: count, mean, spread, factor: OnceLock::new() };
        if moments.variance().is_finite() {
            Ok(moments)
        } else {
            let largest = rows.values().iter().map(|&value| value.into().abs()).fold(0.0, f64::max);
            Err(FidelityError::Overflow { what: "a covariance", largest })
        }
    }

    /// Of both sets together, as if they had been one (Chan, Golub and LeVeque 1979, equation 1.5).
    ///
    /// # Errors
    /// [`FidelityError::Rows`] if the widths differ.
    pub fn merged(&self, other: &Self) -> Result<Self, FidelityError> {
        self.comparable(other)?;
        let (n, m) = (self.rows as f64, other.rows as f64);
        let apart: Vec<f64> = self.mean.iter().zip(&other.mean).map(|(a, b)| b - a).collect();
        let mean = self.mean.iter().zip(&apart).map(|(a, d)| a + d * (m / (n + m))).collect();
        let between = (n * m / (n + m)).sqrt();
        let apart: Vec<f64> = apart.iter().map(|d| d * between).collect();
        let spread = match (&self.spread, &other.spread) {
            (Spread::Rows(a), Spread::Rows(b)) if a.len() + b.len() < self.width() * self.width() => {
                Spread::Rows([&a[..], b, &apart].concat())
            }
            _ => {
                let mut sums = self.sums();
                let apart = MatRef::from_row_major_slice(&apart, 1, self.width());
                add_products(&mut sums, apart);
                sums.iter_mut().zip(other.sums()).for_each(|(a, b)| *a += b);
                Spread::Sums(sums)
            }
        };
        Ok(Self { rows: self.rows + other.rows, mean, spread, factor: OnceLock::new() })
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Mean of each column.
    #[must_use]
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Whether the rows are too few to spread in every direction: at most as many as columns. Distances are then defined, but depend
    /// more on the number of rows than on what they are; say so, and compare only sets of equal sizes.
    #[must_use]
    pub fn rank_deficient(&self) -> bool {
        self.rows <= self.width()
    }

    /// Covariance over n - 1: `width x width`.
    #[must_use]
    pub fn covariance(&self) -> Vec<f64> {
        let mut sums = self.sums();
        sums.iter_mut().for_each(|sum| *sum /= self.freedom());
        sums
    }

    /// Trace of the covariance.
    #[must_use]
    pub fn variance(&self) -> f64 {
        let squares: f64 = match &self.spread {
            Spread::Rows(rows) => rows.iter().map(|x| x * x).sum(),
            Spread::Sums(sums) => sums.iter().step_by(self.width() + 1).sum(),
        };
        squares / self.freedom()
    }

    /// Refuses moments of another width.
    pub(super) fn comparable(&self, other: &Self) -> Result<(), FidelityError> {
        if self.width() == other.width() {
            Ok(())
        } else {
            Err(RowsError::Width { found: other.width(), expected: self.width() }.into())
        }
    }

    /// A matrix F of `width` columns with F^T F = covariance: the rows about their mean, or a Cholesky factor, or the square root from
    /// the eigenvalues where rounding leaves the covariance without a Cholesky factor.
    pub(super) fn factor(&self) -> Result<MatRef<'_, f64>, FidelityError> {
        if self.factor.get().is_none() {
            // Of two threads that come here at once, both make the same.
            let _ = self.factor.set(self.make_factor()?);
        }
        Ok(self.factor.get().expect("just made").as_ref())
    }

    fn make_factor(&self) -> Result<Mat<f64>, FidelityError> {
        let width = self.width();
        let (values, height) = match &self.spread {
            Spread::Rows(rows) => (rows, rows.len() / width),
            Spread::Sums(sums) => (sums, width),
        };
        let scale = self.freedom().sqrt().recip();
        let matrix = MatRef::from_row_major_slice(values, height, width);
        if let Spread::Rows(_) = self.spread {
            return Ok(faer::Scale(scale) * matrix);
        }
        if let Ok(cholesky) = matrix.llt(Side::Lower) {
            return Ok(faer::Scale(scale) * cholesky.L().transpose());
        }
        let failed = |_| FidelityError::Decomposition { what: "eigenvalues", size: width };
        let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(failed)?;
        let roots = eigen.S().column_vector();
        let vectors = eigen.U();
        // Eigenvalues that can't be told from rounding are 0, and so are those that rounding took below it.
        let least = width as f64 * f64::EPSILON * roots[width - 1];
        let root = |i| if roots[i] > least { roots[i].sqrt() * scale } else { 0.0 };
        Ok(Mat::from_fn(width, width, |i, j| root(i) * vectors[(j, i)]))
    }

    fn sums(&self) -> Vec<f64> {
        match &self.spread {
            Spread::Sums(sums) => sums.clone(),
            Spread::Rows(rows) => {
                let mut sums = vec![0.0; self.width() * self.width()];
                add_products(&mut sums, MatRef::from_row_major_slice(rows, rows.len() / self.width(), self.width()));
                sums
            }
        }
    }

    fn freedom(&self) -> f64 {
        (self.rows - 1) as f64
    }
}

/// Mean of each column, from blocks in their order: the same whatever the number of threads.
fn mean<T: Copy + Into<f64> + Sync>(rows: &Rows<'_, T>, row: impl Fn(usize) -> usize + Sync, count: usize) -> Vec<f64> {
    let blocks: Vec<Vec<f64>> = (0..count.div_ceil(BLOCK))
        .into_par_iter()
        .map(|block| {
            let mut sums = vec![0.0; rows.width()];
            for i in block * BLOCK..count.min((block + 1) * BLOCK) {
                sums.iter_mut().zip(rows.row(row(i))).for_each(|(sum, &value)| *sum += value.into());
            }
            sums
        })
        .collect();
    let mut mean = vec![0.0; rows.width()];
    for block in blocks {
        mean.iter_mut().zip(block).for_each(|(sum, part)| *sum += part);
    }
    mean.iter_mut().for_each(|sum| *sum /= count as f64);
    mean
}

/// A square of the lower triangle: where it begins, and its sums so far.
struct Tile {
    row: usize,
    column: usize,
    height: usize,
    width: usize,
    sums: Vec<f64>,
}

/// Sums of products of the columns about their mean: `width x width`, from tiles of the lower triangle, each on one thread.
fn sums_of_products<T: Copy + Into<f64> + Sync>(
    rows: &Rows<'_, T>,
    row: impl Fn(usize) -> usize + Sync,
    count: usize,
    mean: &[f64],
) -> Vec<f64> {
    let width = rows.width();
    let mut tiles = tiles(width);
    for first in (0..count).step_by(BLOCK) {
        let height = BLOCK.min(count - first);
        let block = widened(rows, |i| row(first + i), height, Some(mean));
        let block = MatRef::from_row_major_slice(&block, height, width);
        tiles.par_iter_mut().for_each(|tile| tile.add(block));
    }
    let mut sums = vec![0.0; width * width];
    for tile in tiles {
        for (i, line) in tile.sums.chunks(tile.width).enumerate() {
            for (j, &sum) in line.iter().enumerate() {
                sums[(tile.row + i) * width + tile.column + j] = sum;
                sums[(tile.column + j) * width + tile.row + i] = sum;
            }
        }
    }
    sums
}

fn tiles(width: usize) -> Vec<Tile> {
    let starts = || (0..width).step_by(TILE);
    let pairs = starts().flat_map(|row| starts().take_while(move |&column| column <= row).map(move |column| (row, column)));
    let tile = |(row, column): (usize, usize)| {
        let (height, across) = (TILE.min(width - row), TILE.min(width - column));
        Tile { row, column, height, width: across, sums: vec![0.0; height * across] }
    };
    pairs.map(tile).collect()
}

impl Tile {
    fn add(&mut self, block: MatRef<'_, f64>) {
        let (left, right) = (block.subcols(self.row, self.height), block.subcols(self.column, self.width));
        // Row-major, which is column-major of the transpose.
        let sums = MatMut::from_column_major_slice_mut(&mut self.sums, self.width, self.height);
        matmul(sums, Accum::Add, right.transpose(), left, 1.0, Par::Seq);
    }
}

/// Adds the products of all columns of `rows`.
fn add_products(sums: &mut [f64], rows: MatRef<'_, f64>) {
    let width = rows.ncols();
    let sums = MatMut::from_column_major_slice_mut(sums, width, width);
    matmul(sums, Accum::Add, rows.transpose(), rows, 1.0, Par::rayon(0));
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::{BLOCK, Moments, TILE};
    use crate::evaluation::Rows;
    use crate::evaluation::fidelity::FidelityError;

    fn random(rows: usize, width: usize, seed: u64) -> Vec<f64> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        (0..rows * width).map(|_| generator.random_range(-1.0..1.0)).collect()
    }

    fn of(values: &[f64], width: usize) -> Moments {
        Moments::of(Rows::new(values, width).unwrap()).unwrap()
    }

    fn near(found: &[f64], expected: &[f64], bound: f64) {
        assert_eq!(found.len(), expected.len());
        let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= bound, "off by {worst:e}");
    }

    /// The definition, column by column.
    fn covariance(values: &[f64], width: usize) -> Vec<f64> {
        let rows = values.len() / width;
        let column = |j: usize| values.iter().skip(j).step_by(width);
        let mean: Vec<f64> = (0..width).map(|j| column(j).sum::<f64>() / rows as f64).collect();
        let sum = |a: usize, b: usize| column(a).zip(column(b)).map(|(x, y)| (x - mean[a]) * (y - mean[b])).sum::<f64>();
        (0..width * width).map(|at| sum(at / width, at % width) / (rows - 1) as f64).collect()
    }

    #[test]
    fn covariance_is_its_definition_over_blocks_and_tiles() {
        for (rows, width) in [(2, 1), (3, 5), (5, 5), (6, 5), (BLOCK + 7, 3), (TILE + 60, TILE + 5)] {
            let values = random(rows, width, 1);
            let moments = of(&values, width);
            near(&moments.covariance(), &covariance(&values, width), 1e-13);
            assert_eq!((moments.rows(), moments.width(), moments.rank_deficient()), (rows, width, rows <= width));
            let trace = moments.covariance().iter().step_by(width + 1).sum::<f64>();
            near(&[moments.variance()], &[trace], 1e-12);
        }
    }

    /// Sums of squares about 0 would have 16 - 2 x 8 digits left.
    #[test]
    fn a_large_mean_does_no_harm() {
        for rows in [4, 50] {
            let plain: Vec<f64> = random(rows, 6, 2).iter().map(|x| (x * 1024.0).round() / 1024.0).collect();
            let shifted: Vec<f64> = plain.iter().map(|x| x + 1e8).collect();
            near(&of(&shifted, 6).covariance(), &of(&plain, 6).covariance(), 1e-12);
        }
    }

    #[test]
    fn merged_moments_are_those_of_all_rows() {
        let width = 7;
        // Both kept as rows, one of them, neither; and two that are kept as rows but together have too many.
        for (first, second) in [(2, 3), (4, 20), (20, 4), (30, 40), (7, 6)] {
            let values: Vec<f64> = random(first + second, width, 3).iter().map(|x| x + 5.0).collect();
            let (a, b) = values.split_at(first * width);
            let merged = of(a, width).merged(&of(b, width)).unwrap();
            let whole = of(&values, width);
            assert_eq!(merged.rows(), whole.rows());
            near(merged.mean(), whole.mean(), 1e-14);
            near(&merged.covariance(), &whole.covariance(), 1e-14);
        }
        let error = of(&[1.0, 2.0], 1).merged(&of(&[1.0; 4], 2)).unwrap_err().to_string();
        assert!(error.contains("rows of 2 numbers"), "{error}");
    }

    #[test]
    fn chosen_rows_count_as_often_as_they_are_named() {
        let (values, width) = (random(9, 3, 4), 3);
        let rows = Rows::new(&values, width).unwrap();
        let chosen = [8, 0, 0, 5, 2, 0, 5];
        let copied: Vec<f64> = chosen.iter().flat_map(|&row| rows.row(row).to_vec()).collect();
        assert_eq!(Moments::of_chosen(rows, &chosen).unwrap().covariance(), of(&copied, width).covariance());
        assert_eq!(Moments::of_chosen(rows, &[0, 9]).unwrap_err(), FidelityError::Index { index: 9, images: 9 });
    }

    #[test]
    fn what_has_no_covariance_is_refused() {
        for values in [&[][..], &[1.0, 2.0]] {
            let error = Moments::of(Rows::new(values, 2).unwrap()).unwrap_err().to_string();
            assert!(error.contains("needs at least 2 images"), "{error}");
        }
        let error = Moments::of(Rows::new(&[1e200, -1e200, 3.0], 1).unwrap()).unwrap_err().to_string();
        assert!(error.contains("not finite") && error.contains("1e200"), "{error}");
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (values, width) = (random(3 * BLOCK, TILE + 30, 5), TILE + 30);
        let threads = |count| rayon::ThreadPoolBuilder::new().num_threads(count).build().unwrap();
        let [one, three] = [1, 3].map(|count| threads(count).install(|| of(&values, width).covariance()));
        assert_eq!(one, three);
    }
}
