//! Precision, recall, density and coverage.

use rayon::prelude::*;

use super::error::FidelityError;
use super::product::{products, widen};
use crate::evaluation::rows::Rows;

/// Rows on one side of the blocks in which distances are computed, and on the other: 1 MiB of distances.
const BLOCK: usize = 256;
const ACROSS: usize = 512;

/// How two sets lie among each other. All are shares of images but the density.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prdc {
    /// Synthetic images that lie in the ball of a real one.
    pub precision: f64,
    /// Real images that lie in the ball of a synthetic one.
    pub recall: f64,
    /// Real balls that a synthetic image lies in, over k: 1 where both sets are alike, and above 1 where synthetic images crowd.
    pub density: f64,
    /// Real images whose ball has a synthetic image in it.
    pub coverage: f64,
}

/// Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020, equations 3 and 5). The ball of an image
/// reaches to its `k`-th nearest neighbour in its own set, itself left out, and does not include its surface: of an image with `k` copies
/// it is empty. As `prdc` 0.2 does.
///
/// What is within the surface by no more than rounding is decided by distances computed afresh from differences, so equal images are
/// equally far from everything, wherever they stand.
///
/// # Errors
/// [`FidelityError::Rows`] if the widths differ, [`FidelityError::TooFew`] if a set has no `k`-th neighbour, [`FidelityError::Setting`] for
/// `k` = 0, [`FidelityError::Overflow`].
pub fn prdc<T, U>(real: Rows<'_, T>, synthetic: Rows<'_, U>, k: usize) -> Result<Prdc, FidelityError>
where
    T: Copy + Into<f64> + Sync,
    U: Copy + Into<f64> + Sync,
{
    real.comparable(&synthetic)?;
    if k == 0 {
        return Err(FidelityError::Setting { setting: "the number of nearest neighbours k", least: 1 });
    }
    for (set, found) in [("the real set", real.len()), ("the synthetic set", synthetic.len())] {
        if found <= k {
            let (what, needed) = ("the k-th nearest neighbour", k.saturating_add(1));
            return Err(FidelityError::TooFew { what, set, found, needed, remedy: ", or set a smaller k" });
        }
    }
    let centre = centre(&real);
    let (real, synthetic) = (Points::new(real, &centre)?, Points::new(synthetic, &centre)?);
    let (real_radii, synthetic_radii) = (real.radii(k), synthetic.radii(k));
    let blocks: Vec<Inside> = (0..real.len())
        .into_par_iter()
        .step_by(BLOCK)
        .map(|first| Inside::of(&real, &synthetic, first, &real_radii, &synthetic_radii))
        .collect();
    let mut precise = vec![false; synthetic.len()];
    let (mut pairs, mut recalled, mut covered) = (0, 0, 0);
    for block in blocks {
        precise.iter_mut().zip(&block.precise).for_each(|(any, this)| *any |= this);
        pairs += block.pairs;
        recalled += block.recalled;
        covered += block.covered;
    }
    let (n, m) = (real.len() as f64, synthetic.len() as f64);
    Ok(Prdc {
        precision: precise.iter().filter(|&&inside| inside).count() as f64 / m,
        recall: recalled as f64 / n,
        density: pairs as f64 / (k as f64 * m),
        coverage: covered as f64 / n,
    })
}

/// Mean of the rows; a shift of both sets, that changes no distance and saves digits.
fn centre<T: Copy + Into<f64>>(rows: &Rows<'_, T>) -> Vec<f64> {
    let mut mean = vec![0.0; rows.width()];
    for row in 0..rows.len() {
        mean.iter_mut().zip(rows.row(row)).for_each(|(sum, &value)| *sum += value.into() / rows.len() as f64);
    }
    mean
}

/// Rows, and how far they are from the centre.
struct Points<'a, T> {
    rows: Rows<'a, T>,
    centre: &'a [f64],
    /// Squared distances from the centre.
    norms: Vec<f64>,
}

/// A squared distance from a product, which rounding has moved by no more than this allows.
#[derive(Clone, Copy)]
struct Bounds {
    least: f64,
    most: f64,
}

impl Bounds {
    /// Of points at squared distances `norm` and `other` from the centre with a scalar product. A sum of `width` products is off by at most
    /// `width` roundings of the sum of their magnitudes (Higham 2002, section 3.1), which the norms bound; so are the norms themselves, and
    /// taking the centre away costs a few more.
    fn new(norm: f64, other: f64, product: f64, rounding: f64) -> Self {
        let (both, twice) = (norm + other, 2.0 * product);
        Self { least: (1.0 - rounding) * both - twice, most: (1.0 + rounding) * both - twice }
    }

    fn rounding(width: usize) -> f64 {
        (2 * width + 16) as f64 * f64::EPSILON
    }
}

impl<'a, T: Copy + Into<f64> + Sync> Points<'a, T> {
    fn new(rows: Rows<'a, T>, centre: &'a [f64]) -> Result<Self, FidelityError> {
        let norm = |row| rows.row(row).iter().zip(centre).map(|(&x, c): (&T, &f64)| (x.into() - c) * (x.into() - c)).sum();
        let norms: Vec<f64> = (0..rows.len()).into_par_iter().map(norm).collect();
        // So that sums of two, and twice a product, stay finite.
        if norms.iter().all(|norm| *norm < f64::MAX / 8.0) {
            return Ok(Self { rows, centre, norms });
        }
        let largest = rows.values().iter().map(|&value| value.into().abs()).fold(0.0, f64::max);
        Err(FidelityError::Overflow { what: "a distance", largest })
    }

    fn len(&self) -> usize {
        self.rows.len()
    }

    /// At most `count` rows from `first` on, about the centre.
    fn block(&self, first: usize, count: usize) -> Vec<f64> {
        let count = count.min(self.len() - first);
        let mut block = vec![0.0; count * self.rows.width()];
        for (i, to) in block.chunks_mut(self.rows.width()).enumerate() {
            widen(self.rows.row(first + i), Some(self.centre), to);
        }
        block
    }

    /// Calls `visit` with (row of the block that begins at `first`, first of several rows of `other`, scalar products with those).
    fn products<U>(&self, other: &Points<'_, U>, first: usize, mut visit: impl FnMut(usize, usize, &[f64]))
    where
        U: Copy + Into<f64> + Sync,
    {
        let width = self.rows.width();
        let block = self.block(first, BLOCK);
        let mut between = vec![0.0; block.len() / width * ACROSS.min(other.len())];
        for column in (0..other.len()).step_by(ACROSS) {
            let across = other.block(column, ACROSS);
            let between = &mut between[..(block.len() / width) * (across.len() / width)];
            products(&block, &across, width, between);
            for (i, line) in between.chunks(across.len() / width).enumerate() {
                visit(first + i, column, line);
            }
        }
    }

    /// Squared distance of a row from one of `other`, from differences.
    fn exact<U: Copy + Into<f64>>(&self, row: usize, other: &Points<'_, U>, column: usize) -> f64 {
        self.rows
            .row(row)
            .iter()
            .zip(other.rows.row(column))
            .map(|(&a, &b)| (a.into() - b.into()) * (a.into() - b.into()))
            .sum()
    }

    /// Squared distance of each row from its `k`-th neighbour.
    fn radii(&self, k: usize) -> Vec<f64> {
        let blocks: Vec<Vec<f64>> = (0..self.len())
            .into_par_iter()
            .step_by(BLOCK)
            .map(|first| {
                let mut nearest: Vec<Nearest> = (first..self.len().min(first + BLOCK)).map(|_| Nearest::new(k)).collect();
                let rounding = Bounds::rounding(self.rows.width());
                self.products(self, first, |row, column, products| {
                    let nearest = &mut nearest[row - first];
                    for (j, &product) in (column..).zip(products) {
                        let bounds = Bounds::new(self.norms[row], self.norms[j], product, rounding);
                        if bounds.least <= nearest.most && j != row {
                            nearest.take(j, bounds);
                        }
                    }
                });
                let radius = |(row, nearest): (usize, Nearest)| nearest.radius(k, |neighbour| self.exact(row, self, neighbour));
                (first..).zip(nearest).map(radius).collect()
            })
            .collect();
        blocks.concat()
    }
}

/// The rows that may be among the `k` nearest of one.
struct Nearest {
    /// The `k` smallest upper bounds so far, ascending; infinite where there were fewer.
    smallest: Vec<f64>,
    /// The last of these: the `k`-th neighbour is no farther.
    most: f64,
    /// Rows that may be as near, with their lower bounds.
    rows: Vec<(usize, f64)>,
}

impl Nearest {
    fn new(k: usize) -> Self {
        Self { smallest: vec![f64::INFINITY; k], most: f64::INFINITY, rows: Vec::new() }
    }

    fn take(&mut self, row: usize, bounds: Bounds) {
        self.rows.push((row, bounds.least));
        let place = self.smallest.partition_point(|&other| other <= bounds.most);
        if place < self.smallest.len() {
            self.smallest[place..].rotate_right(1);
            self.smallest[place] = bounds.most;
            self.most = self.smallest[self.smallest.len() - 1];
        }
    }

    fn radius(self, k: usize, exact: impl Fn(usize) -> f64) -> f64 {
        let mut distances = Vec::new();
        let mut copies = 0;
        for (row, _) in self.rows.into_iter().filter(|&(_, least)| least <= self.most) {
            let distance = exact(row);
            copies += usize::from(distance == 0.0);
            if copies == k {
                return 0.0;
            }
            distances.push(distance);
        }
        *distances.select_nth_unstable_by(k - 1, f64::total_cmp).1
    }
}

/// What lies inside what, of a block of real images and all synthetic ones.
struct Inside {
    /// For each synthetic image, whether it lies in a ball of the block.
    precise: Vec<bool>,
    /// Pairs of a ball of the block and a synthetic image in it.
    pairs: usize,
    /// Images of the block that lie in a synthetic ball.
    recalled: usize,
    /// Images of the block whose ball has a synthetic image in it.
    covered: usize,
}

impl Inside {
    fn of<T, U>(
        real: &Points<'_, T>,
        synthetic: &Points<'_, U>,
        first: usize,
        real_radii: &[f64],
        synthetic_radii: &[f64],
    ) -> Self
    where
        T: Copy + Into<f64> + Sync,
        U: Copy + Into<f64> + Sync,
    {
        let rows = BLOCK.min(real.len() - first);
        let (mut recalled, mut covered) = (vec![false; rows], vec![false; rows]);
        let mut precise = vec![false; synthetic.len()];
        let mut pairs = 0;
        let rounding = Bounds::rounding(real.rows.width());
        real.products(synthetic, first, |row, column, products| {
            let own = real_radii[row];
            for (j, &product) in (column..).zip(products) {
                let bounds = Bounds::new(real.norms[row], synthetic.norms[j], product, rounding);
                let other = synthetic_radii[j];
                // Most pairs are in no ball.
                if bounds.least >= own.max(other) {
                    continue;
                }
                let inside = |radius: f64| {
                    let decided = bounds.most < radius;
                    decided || (radius > 0.0 && bounds.least < radius && real.exact(row, synthetic, j) < radius)
                };
                if inside(own) {
                    pairs += 1;
                    covered[row - first] = true;
                    precise[j] = true;
                }
                if !recalled[row - first] && inside(other) {
                    recalled[row - first] = true;
                }
            }
        });
        let count = |flags: &[bool]| flags.iter().filter(|&&flag| flag).count();
        Self { precise, pairs, recalled: count(&recalled), covered: count(&covered) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{ACROSS, BLOCK, Prdc, prdc};
    use crate::evaluation::Rows;

    fn of(real: &[f64], synthetic: &[f64], width: usize, k: usize) -> Prdc {
        prdc(Rows::new(real, width).unwrap(), Rows::new(synthetic, width).unwrap(), k).unwrap()
    }

    /// The definition, with every distance from differences.
    fn direct(real: &[f64], synthetic: &[f64], width: usize, k: usize) -> Prdc {
        let rows = |values: &[f64]| values.chunks(width).map(<[f64]>::to_vec).collect::<Vec<_>>();
        let distance = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
        let radii = |set: &[Vec<f64>]| {
            let of_row = |i: usize| {
                let others = set.iter().enumerate().filter(|(j, _)| *j != i);
                let mut all: Vec<f64> = others.map(|(_, other)| distance(&set[i], other)).collect();
                all.sort_by(f64::total_cmp);
                all[k - 1]
            };
            (0..set.len()).map(of_row).collect::<Vec<_>>()
        };
        let (real, synthetic) = (rows(real), rows(synthetic));
        let (own, other) = (radii(&real), radii(&synthetic));
        let inside_real = |i: usize, j: usize| distance(&real[i], &synthetic[j]) < own[i];
        let share = |of: usize, count: usize| count as f64 / of as f64;
        let (n, m) = (real.len(), synthetic.len());
        let pairs = (0..n).map(|i| (0..m).filter(|&j| inside_real(i, j)).count()).sum::<usize>();
        Prdc {
            precision: share(m, (0..m).filter(|&j| (0..n).any(|i| inside_real(i, j))).count()),
            recall: share(n, (0..n).filter(|&i| (0..m).any(|j| distance(&real[i], &synthetic[j]) < other[j])).count()),
            density: pairs as f64 / (k * m) as f64,
            coverage: share(n, (0..n).filter(|&i| (0..m).any(|j| inside_real(i, j))).count()),
        }
    }

    fn grid(width: usize, least: usize) -> impl Strategy<Value = Vec<f64>> {
        (least..30usize).prop_flat_map(move |rows| prop::collection::vec((-3..4i32).prop_map(f64::from), rows * width))
    }

    proptest! {
        /// Whole numbers: most distances occur several times, and all of them are exact. A mean far off and a scale that is no power of 2 leave
        /// equal distances equal.
        #[test]
        fn it_follows_the_definition_where_distances_are_equal(real in grid(3, 5), synthetic in grid(3, 5), k in 1..5usize) {
            prop_assert_eq!(of(&real, &synthetic, 3, k), direct(&real, &synthetic, 3, k));
            let far = |values: &[f64]| values.iter().map(|x| x + 1e9).collect::<Vec<_>>();
            prop_assert_eq!(of(&far(&real), &far(&synthetic), 3, k), direct(&real, &synthetic, 3, k));
        }

        #[test]
        fn order_doesn_t_matter(real in grid(2, 5), synthetic in grid(2, 5), k in 1..5usize) {
            let turned = |values: &[f64]| values.chunks(2).rev().flatten().copied().collect::<Vec<_>>();
            prop_assert_eq!(of(&turned(&real), &turned(&synthetic), 2, k), of(&real, &synthetic, 2, k));
        }
    }

    /// Different images, more than a block of them, in features that are no round numbers: copies at the other end of the set are copies.
    #[test]
    fn equal_sets_agree_in_everything() {
        let (rows, width, k) = (BLOCK + ACROSS + 9, 5, 5);
        let real: Vec<f64> = (0..rows * width).map(|at| ((at * at % 7919) as f64 * 0.1).sin() + 1e3).collect();
        let turned: Vec<f64> = real.chunks(width).rev().flatten().copied().collect();
        let all = Prdc { precision: 1.0, recall: 1.0, density: 1.0, coverage: 1.0 };
        assert_eq!(of(&real, &turned, width, k), all);
        assert_eq!(direct(&real, &turned, width, k), all);
    }

    #[test]
    fn copies_have_empty_balls() {
        let none = Prdc { precision: 0.0, recall: 0.0, density: 0.0, coverage: 0.0 };
        assert_eq!(of(&[0.1; 30], &[0.1; 24], 3, 5), none);
        // Far more copies than a block, so that they would take long if each were looked at.
        assert_eq!(of(&vec![0.3; 4 * ACROSS], &vec![0.3; 4 * ACROSS], 1, 3), none);
    }

    #[test]
    fn what_has_no_neighbour_is_refused() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];
        let rows = Rows::new(&values, 1).unwrap();
        assert!(prdc(rows, rows, 5).is_ok());
        let error = prdc(rows, rows, 6).unwrap_err().to_string();
        assert!(error.contains("needs at least 7 images") && error.contains("smaller k"), "{error}");
        assert!(prdc(rows, rows, 0).unwrap_err().to_string().contains("k is 0"));
        assert!(prdc(rows, rows, usize::MAX).is_err());
        let none: &[f64] = &[];
        assert!(prdc(rows, Rows::new(none, 1).unwrap(), 1).unwrap_err().to_string().contains("the synthetic set has 0"));
        assert!(prdc(rows, Rows::new(&values, 2).unwrap(), 1).unwrap_err().to_string().contains("different networks"));
        let huge = [1e200, -1e200, 1.0];
        let error = prdc(Rows::new(&huge, 1).unwrap(), Rows::new(&huge, 1).unwrap(), 1).unwrap_err().to_string();
        assert!(error.contains("not finite"), "{error}");
    }
}
