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

    pub(crate) fn multiply_turned_to(&self, _: Matrix<bf16>, _: Range<usize>, _: Option<&[f32]>, _: &mut Block<bf16>) {
        match *self {}
    }
}

/// A packed factor of one pass: none.
pub(crate) enum Panels {}

impl Panels {
    pub(crate) const DEPTH: usize = 0;

    pub(crate) fn new(_: Brain) -> Option<Self> {
        None
    }

    pub(crate) fn pack(&mut self, _: Matrix<bf16>, _: [usize; 2]) {
        match *self {}
    }

    pub(crate) fn pairs(&mut self, _: [usize; 2]) -> impl Iterator<Item = &mut [[u32; 16]]> {
        match *self {}
        #[expect(unreachable_code, reason = "says the type of what is never returned")]
        std::iter::empty()
    }

    pub(crate) fn multiply(&self, _: Matrix<bf16>, _: &mut [f32], _: [usize; 2], _: usize, _: bool) {
        match *self {}
    }

    pub(crate) fn multiply_packed(&self, _: &Left, _: Range<usize>, _: &mut [f32], _: usize, _: bool) {
        match *self {}
    }
}

/// A packed left factor: none.
#[derive(Default)]
pub(crate) struct Left(());

impl Left {
    pub(crate) fn pack(&mut self, _: Matrix<bf16>, _: [usize; 2], units: &Panels) {
        match *units {}
    }
}
