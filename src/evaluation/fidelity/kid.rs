//! Kernel distance. Scalar products are made in the precision of the features, as torch-fidelity makes them; all that comes after is f64.

use faer::traits::RealField;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::error::FidelityError;
use super::product::products;
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
pub fn kid<T>(real: Rows<'_, T>, synthetic: Rows<'_, T>, config: &KidConfig) -> Result<Kid, FidelityError>
where
    T: RealField + Copy + Into<f64>,
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
pub fn kid_of_subsets<T>(
    real: Rows<'_, T>,
    synthetic: Rows<'_, T>,
    subsets: &[(Vec<usize>, Vec<usize>)],
) -> Result<Kid, FidelityError>
where
    T: RealField + Copy + Into<f64>,
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

fn over<T>(
    real: Rows<'_, T>,
    synthetic: Rows<'_, T>,
    subsets: usize,
    draw: impl Fn(usize) -> (Vec<usize>, Vec<usize>) + Sync,
) -> Result<Kid, FidelityError>
where
    T: RealField + Copy + Into<f64>,
{
    real.comparable(&synthetic)?;
    let value = |subset: usize| {
        let (first, second) = draw(subset);
        if first.len() < 2 {
            return Err(FidelityError::Setting { setting: "the number of images in a KID subset, less 1,", least: 1 });
        }
        let chosen = |rows: &Rows<'_, T>, of: &[usize]| of.iter().flat_map(|&row| rows.row(row)).copied().collect::<Vec<T>>();
        let sums = Sums::of(&chosen(&real, &first), &chosen(&synthetic, &second), real.width());
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
pub fn whole_kid<T>(real: Rows<'_, T>, synthetic: Rows<'_, T>) -> Result<WholeKid, FidelityError>
where
    T: RealField + Copy + Into<f64>,
{
    real.comparable(&synthetic)?;
    for (set, found) in [("the real set", real.len()), ("the synthetic set", synthetic.len())] {
        if found < 3 {
            return Err(FidelityError::TooFew { what: "KID of whole sets", set, found, needed: 3, remedy: "" });
        }
    }
    let sums = Sums::of(real.values(), synthetic.values(), real.width());
    let value = sums.distance();
    finite(value, &real, &synthetic)?;
    Ok(WholeKid { value, standard_error: sums.standard_error() })
}

fn finite<T: Copy + Into<f64>>(value: f64, real: &Rows<'_, T>, synthetic: &Rows<'_, T>) -> Result<(), FidelityError> {
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
    fn of<T: RealField + Copy + Into<f64>>(first: &[T], second: &[T], width: usize) -> Self {
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
    fn new<T>(a: &[T], b: &[T], (row, column): (usize, usize), width: usize, same: bool) -> Self
    where
        T: RealField + Copy + Into<f64>,
    {
        let (a, b) = (block(a, row, width), block(b, column, width));
        let (height, across) = (a.len() / width, b.len() / width);
        let mut found = vec![T::zero_impl(); height * across];
        products(a, b, width, &mut found);
        let scale = 1.0 / width as f64;
        let (mut by_column, mut kernels) = (vec![0.0; across], vec![0.0; across]);
        let by_row = found.chunks(across).enumerate().map(|(i, line)| {
            for (kernel, &product) in kernels.iter_mut().zip(line) {
                let base = product.into() * scale + 1.0;
                *kernel = base * base * base;
            }
            if same {
                kernels[i] = 0.0;
            }
            by_column.iter_mut().zip(&kernels).for_each(|(sum, kernel)| *sum += kernel);
            kernels.iter().sum()
        });
        Self { by_row: by_row.collect(), by_column }
    }
}

/// At most [`BLOCK`] rows.
fn block<T>(rows: &[T], first: usize, width: usize) -> &[T] {
    &rows[first * width..rows.len().min((first + BLOCK) * width)]
}

/// Where the blocks of rows begin.
fn starts<T>(rows: &[T], width: usize) -> Vec<usize> {
    (0..rows.len() / width).step_by(BLOCK).collect()
}

/// For each row, the sum of its kernels with all others. Every pair is computed once.
fn within<T: RealField + Copy + Into<f64>>(rows: &[T], width: usize) -> Vec<f64> {
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
fn across<T: RealField + Copy + Into<f64>>(first: &[T], second: &[T], width: usize) -> (Vec<f64>, Vec<f64>) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::{BLOCK, Kid, KidConfig, kid, kid_of_subsets, whole_kid};
    use crate::evaluation::Rows;
    use crate::evaluation::fidelity::FidelityError;

    fn random(rows: usize, width: usize, seed: u64) -> Vec<f64> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        (0..rows * width).map(|_| generator.random_range(-1.0..1.0)).collect()
    }

    /// The definition, pair by pair.
    fn direct(a: &[f64], b: &[f64], width: usize) -> f64 {
        let rows = |values: &[f64]| values.chunks(width).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let kernel = |x: &[f64], y: &[f64]| (x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / width as f64 + 1.0).powi(3);
        let mean = |a: &[Vec<f64>], b: &[Vec<f64>], same: bool| {
            let pairs = (0..a.len()).flat_map(|i| (0..b.len()).map(move |j| (i, j))).filter(|(i, j)| !same || i != j);
            let kernels: Vec<f64> = pairs.map(|(i, j)| kernel(&a[i], &b[j])).collect();
            kernels.iter().sum::<f64>() / kernels.len() as f64
        };
        let (a, b) = (rows(a), rows(b));
        mean(&a, &a, true) + mean(&b, &b, true) - 2.0 * mean(&a, &b, false)
    }

    #[test]
    fn whole_sets_over_several_blocks_follow_the_definition() {
        for (n, m) in [(3, 4), (BLOCK + 1, 5), (BLOCK - 1, 2 * BLOCK + 3)] {
            let (a, b) = (random(n, 4, 1), random(m, 4, 2));
            let found = whole_kid(Rows::new(&a, 4).unwrap(), Rows::new(&b, 4).unwrap()).unwrap().value;
            assert!((found - direct(&a, &b, 4)).abs() < 1e-12);
        }
    }

    /// Products of f32 round by up to 2^-24 each of some hundred terms, in no direction, and the sums are over thousands of pairs.
    #[test]
    fn features_of_32_bits_have_the_distance_that_they_have_in_64() {
        let narrow = |seed| random(400, 96, seed).iter().map(|&value| value as f32).collect::<Vec<f32>>();
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        let (a, b) = (narrow(1), narrow(2));
        let found = whole_kid(Rows::new(&a, 96).unwrap(), Rows::new(&b, 96).unwrap()).unwrap();
        let (a, b) = (wide(&a), wide(&b));
        let expected = whole_kid(Rows::new(&a, 96).unwrap(), Rows::new(&b, 96).unwrap()).unwrap();
        assert!((found.value - expected.value).abs() < 1e-3 * expected.standard_error, "{found:?}, {expected:?}");
        assert!((found.standard_error / expected.standard_error - 1.0).abs() < 1e-3, "{found:?}, {expected:?}");
    }

    /// Jackknife by its definition: each row left out, everything computed anew.
    #[test]
    fn the_standard_error_is_that_of_leaving_each_image_out() {
        let (a, b, width) = (random(8, 3, 3), random(11, 3, 4), 3);
        let variance = |estimates: &[f64]| {
            let n = estimates.len() as f64;
            let mean = estimates.iter().sum::<f64>() / n;
            (n - 1.0) / n * estimates.iter().map(|e| (e - mean).powi(2)).sum::<f64>()
        };
        let without = |values: &[f64], row: usize| [&values[..row * width], &values[(row + 1) * width..]].concat();
        let first: Vec<f64> = (0..8).map(|row| direct(&without(&a, row), &b, width)).collect();
        let second: Vec<f64> = (0..11).map(|row| direct(&a, &without(&b, row), width)).collect();
        let found = whole_kid(Rows::new(&a, width).unwrap(), Rows::new(&b, width).unwrap()).unwrap().standard_error;
        assert!((found - (variance(&first) + variance(&second)).sqrt()).abs() < 1e-12);
    }

    /// 200 pairs of sets from one distribution: the estimates vary as the standard errors say. Both are estimates; 20 % covers them.
    #[test]
    fn the_standard_error_is_the_spread_of_repeated_estimates() {
        let repeats: Vec<_> = (0..200)
            .map(|seed| {
                let (a, mut b) = (random(60, 4, 1000 + seed), random(50, 4, 2000 + seed));
                b.iter_mut().for_each(|x| *x += 0.3);
                whole_kid(Rows::new(&a, 4).unwrap(), Rows::new(&b, 4).unwrap()).unwrap()
            })
            .collect();
        let count = repeats.len() as f64;
        let mean = repeats.iter().map(|kid| kid.value).sum::<f64>() / count;
        let spread = (repeats.iter().map(|kid| (kid.value - mean).powi(2)).sum::<f64>() / (count - 1.0)).sqrt();
        let error = repeats.iter().map(|kid| kid.standard_error).sum::<f64>() / count;
        assert!((error / spread - 1.0).abs() < 0.2, "{error} for {spread}");
    }

    #[test]
    fn subsets_depend_on_the_seed_and_on_nothing_else() {
        let (a, b) = (random(40, 3, 5), random(30, 3, 6));
        let (a, b) = (Rows::new(&a, 3).unwrap(), Rows::new(&b, 3).unwrap());
        let of = |seed, subsets| kid(a, b, &KidConfig { subsets, subset_size: 20, seed }).unwrap();
        assert_eq!(of(1, 6), of(1, 6));
        assert_eq!(of(1, 6).values[..3], of(1, 3).values);
        assert_ne!(of(1, 6).values, of(2, 6).values);
        let Kid { mean, std, values } = of(1, 6);
        assert!((values.iter().sum::<f64>() / 6.0 - mean).abs() < 1e-15 && std > 0.0);
    }

    /// The subset is the whole set, only in another order.
    #[test]
    fn whole_sets_as_subsets_have_no_spread() {
        let (a, b) = (random(20, 3, 7), random(20, 3, 8));
        let (a, b) = (Rows::new(&a, 3).unwrap(), Rows::new(&b, 3).unwrap());
        let found = kid(a, b, &KidConfig { subsets: 5, subset_size: 20, seed: 0 }).unwrap();
        assert!(found.std < 1e-14 && (found.mean - whole_kid(a, b).unwrap().value).abs() < 1e-14);
    }

    #[test]
    fn what_can_t_be_drawn_is_refused() {
        let values = random(10, 2, 9);
        let rows = Rows::new(&values, 2).unwrap();
        let refused =
            |subsets, subset_size| kid(rows, rows, &KidConfig { subsets, subset_size, seed: 0 }).unwrap_err().to_string();
        assert!(refused(1, 11).contains("KID needs at least 11 images in each set, the real set has 10"), "{}", refused(1, 11));
        assert!(refused(0, 5).contains("number of KID subsets is 0"));
        assert!(refused(1, 0).contains("subset"), "{}", refused(1, 0));
        assert!(refused(1, 1).contains("subset"), "{}", refused(1, 1));
        let one = kid_of_subsets(rows, rows, &[(vec![1, 2], vec![3])]).unwrap_err();
        assert_eq!(one, FidelityError::SubsetSize { found: 1, expected: 2 });
        let index = kid_of_subsets(rows, rows, &[(vec![1, 2], vec![3, 10])]).unwrap_err();
        assert_eq!(index, FidelityError::Index { index: 10, images: 10 });
        let two = Rows::new(&values[..4], 2).unwrap();
        assert!(whole_kid(rows, two).unwrap_err().to_string().contains("the synthetic set has 2"));
        let huge = [1e200; 20];
        let error = whole_kid(rows, Rows::new(&huge, 2).unwrap()).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
        let wide = Rows::new(&values, 5).unwrap();
        assert!(kid(rows, wide, &KidConfig { subset_size: 2, ..KidConfig::default() }).is_err());
    }

    proptest! {
        #[test]
        fn order_doesn_t_matter(values in prop::collection::vec(-3.0..3.0f64, 3 * 2..3 * 12), shift in 1..10usize) {
            let width = 1;
            let other = random(9, width, 1);
            let mut turned = values.clone();
            let by = shift % values.len();
            turned.rotate_left(by);
            let of = |values: &[f64]| whole_kid(Rows::new(values, width).unwrap(), Rows::new(&other, width).unwrap()).unwrap();
            let (plain, moved) = (of(&values), of(&turned));
            prop_assert!((plain.value - moved.value).abs() < 1e-9);
            prop_assert!((plain.standard_error - moved.standard_error).abs() < 1e-9);
        }
    }
}
