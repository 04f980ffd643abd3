use burn::tensor::{Shape, bf16};
use proptest::prelude::*;
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::{Packed, Panels, multiply};
use crate::isa::Brain;
use crate::memory::float::Float;
use crate::memory::output::Output;
use crate::memory::product::{Matrix, Product};
use crate::memory::values::Values;
use crate::testing::{Draws, assert_nearly_rounded, sum_error};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Lay {
    Rows,
    Columns,
    /// Every second row and column of a larger one.
    Apart,
}

impl Lay {
    /// Steps to the next row and to the next column, with a gap behind each line.
    fn steps(self, [rows, columns]: [usize; 2], gap: usize) -> [usize; 2] {
        match self {
            Self::Rows => [columns + gap, 1],
            Self::Columns => [1, rows + gap],
            Self::Apart => [2 * (2 * columns + gap), 2],
        }
    }
}

/// A matrix of numbers from -1 to 1.
struct Drawn {
    values: Vec<bf16>,
    steps: [usize; 2],
}

impl Drawn {
    fn new(draws: &mut Draws, sizes: [usize; 2], lay: Lay, gap: usize) -> Self {
        let steps = lay.steps(sizes, gap);
        let length = (sizes[0] - 1) * steps[0] + (sizes[1] - 1) * steps[1] + 1;
        let drawn: Vec<f32> = draws.uniform([length]).into_data().try_to_vec().unwrap();
        Self { values: drawn.into_iter().map(<bf16 as Float>::rounded).collect(), steps }
    }

    fn matrix(&self) -> Matrix<'_, bf16> {
        Matrix { values: &self.values, row: self.steps[0], column: self.steps[1] }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        f64::from(self.values[row * self.steps[0] + column * self.steps[1]].wide())
    }
}

/// A product on one unit; sums are added to what is in `out`, or replace it.
fn on(unit: Brain, product: Product<bf16>, out: &mut [f32], sizes: [usize; 2], steps: [usize; 2], add: bool) {
    assert!((sizes[0] - 1) * steps[0] + (sizes[1] - 1) * steps[1] < out.len());
    // SAFETY: this machine has the unit; `out` is long enough, as are the factors, which are drawn.
    unsafe { multiply(unit, product, sizes, out.as_mut_ptr(), steps, add) };
}

/// What a place holds that no product writes.
const UNTOUCHED: f32 = 12.5;

/// Compares the product on every unit with the sums in 64 bits.
fn equals_the_sums([m, n, k]: [usize; 3], lays: [Lay; 2], gap: usize, turned: bool, add: bool, seed: u64) {
    let mut draws = Draws::new(seed);
    let (lhs, rhs) = (Drawn::new(&mut draws, [m, k], lays[0], gap), Drawn::new(&mut draws, [k, n], lays[1], gap));
    let steps = if turned { [1, m + gap] } else { [n + gap, 1] };
    for unit in Brain::available() {
        let mut out = vec![UNTOUCHED; (m + gap) * (n + gap)];
        on(unit, Product { lhs: lhs.matrix(), rhs: rhs.matrix(), depth: k }, &mut out, [m, n], steps, add);
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let terms = (0..k).map(|t| lhs.at(i, t) * rhs.at(t, j)).chain(add.then_some(f64::from(UNTOUCHED)));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            // Products are exact; at most `k` sums are rounded to 24 bits, in any order (Higham 2002, equation 3.5). Inputs have no
            // subnormal numbers, whose products would be flushed.
            let roundings = k as f64 * 2f64.powi(-24);
            let bound = roundings / (1.0 - roundings) * size;
            let got = f64::from(std::mem::replace(&mut out[i * steps[0] + j * steps[1]], UNTOUCHED));
            assert!((got - sum).abs() <= bound, "{unit:?}: [{i}, {j}] of [{m}, {k}] x [{k}, {n}] is {got}, not {sum}");
        }
        assert!(out.iter().all(|value| *value == UNTOUCHED), "{unit:?} writes beside [{m}, {n}]");
    }
}

/// Sides about a register's 16 and a block's 32, and larger ones.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..70, prop::sample::select(vec![1usize, 15, 16, 17, 31, 32, 33, 48, 64])]
}

fn lay() -> impl Strategy<Value = Lay> {
    prop::sample::select(vec![Lay::Rows, Lay::Columns, Lay::Apart])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_unit_gives_the_sums(
        m in side(), n in side(), k in side(), lays in [lay(), lay()], gap in 0usize..3, turned: bool, add: bool, seed: u64,
    ) {
        equals_the_sums([m, n, k], lays, gap, turned, add, seed);
    }
}

#[test]
fn terms_that_are_packed_in_parts_are_all_summed() {
    for k in [511, 512, 513, 545, 1100] {
        equals_the_sums([40, 35, k], [Lay::Rows, Lay::Columns], 1, false, true, 1);
        equals_the_sums([3, 50, k], [Lay::Columns, Lay::Rows], 0, true, false, 2);
    }
}

#[test]
fn miri_small_products_are_the_sums() {
    for lays in [[Lay::Rows, Lay::Columns], [Lay::Columns, Lay::Rows], [Lay::Apart, Lay::Apart]] {
        equals_the_sums([3, 5, 4], lays, 1, false, true, 1);
        equals_the_sums([1, 2, 3], lays, 0, true, false, 2);
    }
}

#[test]
fn what_is_no_number_stays_and_touches_nothing_else() {
    let values = |bad: usize, value: f32| -> Vec<bf16> {
        (0..40 * 40).map(|i| bf16::from_f32(if i == bad { value } else { 1.0 })).collect()
    };
    for unit in Brain::available() {
        for (value, seen) in [(f32::NAN, f32::is_nan as fn(f32) -> bool), (f32::INFINITY, f32::is_infinite)] {
            let (lhs, rhs) = (values(40 * 7 + 39, value), values(0, 1.0));
            let matrix = |values| Matrix { values, row: 40, column: 1 };
            let mut out = vec![0f32; 40 * 40];
            on(unit, Product { lhs: matrix(&lhs), rhs: matrix(&rhs), depth: 40 }, &mut out, [40, 40], [40, 1], false);
            for (row, sums) in out.chunks(40).enumerate() {
                assert!(
                    sums.iter().all(|sum| if row == 7 { seen(*sum) } else { *sum == 40.0 }),
                    "{unit:?}, row {row}: {sums:?}"
                );
            }
        }
    }
}

/// Tasks of many threads take turns on a core, and each thread takes tasks of different units.
#[test]
fn bits_do_not_depend_on_threads() {
    let mut draws = Draws::new(1);
    let (lhs, rhs) = (Drawn::new(&mut draws, [50, 70], Lay::Rows, 0), Drawn::new(&mut draws, [70, 45], Lay::Rows, 0));
    let product = Product { lhs: lhs.matrix(), rhs: rhs.matrix(), depth: 70 };
    let units = Brain::available();
    let sums = |unit: Brain| {
        let mut out = vec![0f32; 50 * 45];
        on(unit, product, &mut out, [50, 45], [45, 1], false);
        out
    };
    let once: Vec<Vec<f32>> = units.iter().map(|unit| sums(*unit)).collect();
    for threads in [1, 2, 7, 64] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            (0..300usize).into_par_iter().for_each(|task| {
                let which = task % units.len();
                assert!(sums(units[which]) == once[which], "{:?} on {threads} threads", units[which]);
            });
        });
    }
}

/// The first rows and columns of a product are the same with others behind them and without, and added to what is there.
#[test]
fn bits_of_a_sum_do_not_depend_on_the_others() {
    let mut draws = Draws::new(1);
    let (lhs, rhs) = (Drawn::new(&mut draws, [64, 90], Lay::Rows, 0), Drawn::new(&mut draws, [90, 64], Lay::Rows, 0));
    let product = Product { lhs: lhs.matrix(), rhs: rhs.matrix(), depth: 90 };
    for unit in Brain::available() {
        // The product of 32-bit floats is the `gemm` crate's, which is as sure of this as it is.
        if unit == Brain::Wide {
            continue;
        }
        let mut whole = vec![1f32 / 3.0; 64 * 64];
        on(unit, product, &mut whole, [64, 64], [64, 1], true);
        for sizes @ [m, n] in [[1, 1], [17, 33], [32, 40], [63, 16]] {
            let mut some = vec![1f32 / 3.0; 64 * 64];
            on(unit, product, &mut some, sizes, [64, 1], true);
            for row in 0..m {
                assert!(some[row * 64..][..n] == whole[row * 64..][..n], "{unit:?}: row {row} of {sizes:?}");
            }
        }
    }
}

/// Units that read packed factors write rows.
#[test]
fn sums_that_lie_apart_are_refused() {
    let ones = vec![bf16::from_f32(1.0); 4];
    let matrix = Matrix { values: &ones, row: 2, column: 1 };
    let product = Product { lhs: matrix, rhs: matrix, depth: 2 };
    for unit in Brain::available() {
        let apart = || on(unit, product, &mut [0.0; 9], [2, 2], [4, 2], false);
        assert_eq!(std::panic::catch_unwind(apart).is_err(), unit != Brain::Wide, "{unit:?}");
    }
}

/// A factor that is packed once gives the rounded sums of every part of a product, whatever the left factor's order.
fn packed_once([m, n, k]: [usize; 3], lays: [Lay; 2], gap: usize, biased: bool, seed: u64) {
    let mut draws = Draws::new(seed);
    let (lhs, rhs) = (Drawn::new(&mut draws, [m, k], lays[0], gap), Drawn::new(&mut draws, [k, n], lays[1], gap));
    let bias: Vec<f32> = draws.uniform([n]).into_data().try_to_vec().unwrap();
    for unit in Brain::available() {
        let Some(packed) = Packed::new(unit, rhs.matrix(), [k, n]) else { continue };
        // Two parts, of which the second begins in a later panel.
        let cut = (n / 2).next_multiple_of(16).min(n);
        let output = Output::<bf16>::new(Shape::new([m, n]));
        for columns in [0..cut, cut..n] {
            if columns.is_empty() {
                continue;
            }
            // SAFETY: the parts have other columns.
            let mut out = unsafe { output.places().claim(columns.start, [m, columns.len()], [n, 1]) };
            packed.multiply_to(lhs.matrix(), columns.clone(), biased.then(|| &bias[columns]), &mut out);
        }
        let got: Vec<f64> =
            Values::<bf16>::of(output.tensor()).as_slice().iter().map(|value| f64::from(value.wide())).collect();
        let (mut expected, mut errors) = (Vec::new(), Vec::new());
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let terms = (0..k).map(|t| lhs.at(i, t) * rhs.at(t, j)).chain(biased.then_some(f64::from(bias[j])));
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            expected.push(sum);
            // Results below the least normal number, 2^-126, are flushed.
            errors.push(sum_error(k + 1) * size + 2f64.powi(-126));
        }
        assert_nearly_rounded(&format!("{unit:?} of [{m}, {k}] x [{k}, {n}]"), &got, &expected, &errors);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_factor_that_is_packed_once_gives_all_sums(
        m in side(), n in side(), k in side(), lays in [lay(), lay()], gap in 0usize..3, biased: bool, seed: u64,
    ) {
        packed_once([m, n, k], lays, gap, biased, seed);
    }

    #[test]
    fn panels_give_the_sums_packed_or_written(
        m in side(), n in side(), k in side(), lays in [lay(), lay()], add: bool, seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let (lhs, rhs) = (Drawn::new(&mut draws, [m, k], lays[0], 1), Drawn::new(&mut draws, [k, n], lays[1], 1));
        let row = n + 3;
        for unit in Brain::available() {
            let Some(mut panels) = Panels::new(unit) else { continue };
            let start = if add { 0.25 } else { UNTOUCHED };
            let mut out = [vec![start; m * row], vec![start; m * row]];
            panels.pack(rhs.matrix(), [k, n]);
            panels.multiply(lhs.matrix(), &mut out[0], [m, n], row, add);
            let bits = |term: usize, column: usize| {
                if term < k && column < n { u32::from(rhs.values[term * rhs.steps[0] + column * rhs.steps[1]].to_bits()) } else { 0 }
            };
            for (panel, pairs) in panels.pairs([k, n]).enumerate() {
                for (pair, to) in pairs.iter_mut().enumerate() {
                    *to = std::array::from_fn(|i| bits(2 * pair, 16 * panel + i) | bits(2 * pair + 1, 16 * panel + i) << 16);
                }
            }
            panels.multiply(lhs.matrix(), &mut out[1], [m, n], row, add);
            prop_assert!(out[0] == out[1], "{unit:?}");
            for (i, j) in (0..m).flat_map(|i| (0..row).map(move |j| (i, j))) {
                let got = f64::from(out[0][i * row + j]);
                if j >= n {
                    prop_assert_eq!(got, f64::from(start));
                    continue;
                }
                let terms = (0..k).map(|t| lhs.at(i, t) * rhs.at(t, j)).chain(add.then_some(0.25));
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
                prop_assert!((got - sum).abs() <= sum_error(k + 1) * size, "{unit:?}: [{i}, {j}] is {got}, not {sum}");
            }
        }
    }
}

#[test]
fn a_packed_factor_of_several_passes_gives_all_sums() {
    for k in [575, 576, 577, 640, 1200] {
        packed_once([40, 50, k], [Lay::Rows, Lay::Rows], 0, true, 1);
        packed_once([33, 20, k], [Lay::Columns, Lay::Columns], 1, false, 2);
    }
    packed_once([70, 600, 64], [Lay::Rows, Lay::Rows], 0, true, 3);
}
