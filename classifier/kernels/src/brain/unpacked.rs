//! Where no unit reads packed factors, there are none.

use std::ops::Range;

use burn::tensor::bf16;

use crate::isa::Brain;
use crate::memory::output::Block;
use crate::memory::product::Matrix;

/// A packed factor: none.
pub(crate) enum Packed {}

impl Packed {
    pub(crate) fn new(_: Brain, _: Matrix<bf16>, _: [usize; 2]) -> Option<Self> {
        None
    }

    pub(crate) fn multiply_to(&self, _: Matrix<bf16>, _: Range<usize>, _: Option<&[f32]>, _: &mut Block<bf16>) {
        match *self {}
    }
}
