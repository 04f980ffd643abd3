//! Helpers shared by the tests of this module.

use std::ops::Range;

use proptest::prelude::{Strategy, prop, prop_oneof};
use proptest::strategy::Just;

/// Sums of a few hundred terms of order one in fp64, in another order.
pub(super) fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-12
}

/// Scores on a coarse grid (so that ties are common) in `[0, 1]` and targets 0, 1 or missing.
pub(super) fn cases(rows: Range<usize>) -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let target = prop_oneof![3 => Just(0.0), 2 => Just(1.0), 1 => Just(f64::NAN)];
    let case = ((0_u8..=20).prop_map(|step| f64::from(step) / 20.0), target);
    prop::collection::vec(case, rows).prop_map(|cases| cases.into_iter().unzip())
}
