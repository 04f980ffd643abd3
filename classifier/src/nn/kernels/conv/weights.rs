//! Weights as the matrices that products read.

use std::ops::Range;

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

/// The weights of a correlation.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a> {
    /// `[outputs, channels, taps]`, as they lie.
    Straight(&'a [f32]),
    /// Those of a convolution, to give the gradient by its input.
    Turned(Turned<'a>),
}

/// The weights of a convolution with the roles of channels and outputs exchanged, which makes a copy necessary.
#[derive(Clone, Copy)]
pub(super) struct Turned<'a> {
    /// `[channels, outputs, kernel]`
    pub(super) values: &'a [f32],
    pub(super) outputs: usize,
    /// Values of a kernel.
    pub(super) kernel: usize,
    /// The place of each tap in the kernel. If they are all there, the last comes first.
    pub(super) taps: &'a [usize],
}

/// Rows that are written side by side, while the weights are read in their order.
const ROWS: usize = 16;

impl Turned<'_> {
    /// The whole copy, `[outputs, channels, taps]`.
    pub(super) fn all(&self, channels: usize) -> Vec<f32> {
        let row = channels * self.taps.len();
        let mut copy = vec![0.0; self.outputs * row];
        copy.par_chunks_mut(ROWS * row).enumerate().for_each(|(part, rows)| {
            let first = part * ROWS;
            self.fill(first..first + rows.len() / row, 0..channels, rows);
        });
        copy
    }

    /// A part of the copy.
    pub(super) fn some(&self, outputs: &Range<usize>, channels: &Range<usize>, copy: &mut [f32]) {
        let row = channels.len() * self.taps.len();
        for (first, rows) in outputs.clone().step_by(ROWS).zip(copy.chunks_mut(ROWS * row)) {
            self.fill(first..outputs.end.min(first + ROWS), channels.clone(), rows);
        }
    }

    fn fill(&self, outputs: Range<usize>, channels: Range<usize>, rows: &mut [f32]) {
        let row = channels.len() * self.taps.len();
        for (i, channel) in channels.enumerate() {
            let kernels = &self.values[(channel * self.outputs + outputs.start) * self.kernel..][..outputs.len() * self.kernel];
            for (from, row) in kernels.chunks_exact(self.kernel).zip(rows.chunks_exact_mut(row)) {
                self.turn(from, &mut row[i * self.taps.len()..][..self.taps.len()]);
            }
        }
    }

    #[inline(always)]
    fn turn(&self, from: &[f32], to: &mut [f32]) {
        /// By far the usual kernel, whose length the compiler then knows.
        const USUAL: usize = 3 * 3;
        if let (Ok(from), Ok(to)) = (<&[f32; USUAL]>::try_from(from), <&mut [f32; USUAL]>::try_from(&mut *to)) {
            *to = *from;
            to.reverse();
        } else {
            to.iter_mut().zip(self.taps).for_each(|(to, tap)| *to = from[*tap]);
        }
    }
}
