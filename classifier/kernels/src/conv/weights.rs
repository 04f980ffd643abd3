//! Weights as the matrices that products read.

use std::ops::Range;

use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use crate::memory::float::Float;
use crate::memory::product::Matrix;

/// The weights of a correlation.
#[derive(Clone, Copy)]
pub(super) enum Weights<'a, E> {
    /// `[outputs, channels, taps]`, unchanged.
    Straight { values: &'a [E], channels: usize, taps: usize },
    /// Those of a convolution, to give the gradient w.r.t. its input: its outputs are the channels here, its channels the
    /// outputs.
    Turned(Turned<'a, E>),
}

/// The weights of a convolution with the roles of outputs and channels exchanged, and the taps in the opposite order.
#[derive(Clone, Copy)]
pub(super) struct Turned<'a, E> {
    /// `[channels, outputs, kernel]`
    pub(super) values: &'a [E],
    pub(super) outputs: usize,
    /// Values of a kernel.
    pub(super) kernel: usize,
    /// The place of each tap in the kernel. If they are all there, the last comes first.
    pub(super) taps: &'a [usize],
}

impl<'a, E: Float> Weights<'a, E> {
    /// Scratch that a [`part`](Self::part) needs; none if the weights can be read in place.
    pub(super) fn scratch_len(&self, outputs: usize, channels: usize) -> usize {
        match self {
            Self::Straight { .. } | Self::Turned(Turned { kernel: 1, .. }) => 0,
            Self::Turned(turned) => outputs * channels * turned.taps.len(),
        }
    }

    /// The weights of some outputs, channels and all taps: a column for each output. It reads these weights or `scratch`, which is
    /// of the length above.
    pub(super) fn part<'s>(&self, outputs: &Range<usize>, channels: &Range<usize>, scratch: &'s mut [E]) -> Matrix<'s, E>
    where
        'a: 's,
    {
        match *self {
            Self::Straight { values, channels: all, taps } => {
                let row = all * taps;
                let values = &values[outputs.start * row + channels.start * taps..];
                let values = &values[..(outputs.len() - 1) * row + channels.len() * taps];
                Matrix { values, row: 1, column: row }
            }
            Self::Turned(Turned { values, outputs: all, kernel: 1, .. }) => {
                let values = &values[channels.start * all + outputs.start..];
                let values = &values[..(channels.len() - 1) * all + outputs.len()];
                Matrix { values, row: all, column: 1 }
            }
            Self::Turned(turned) => {
                let row = channels.len() * turned.taps.len();
                let scratch = &mut scratch[..outputs.len() * row];
                for (first, rows) in outputs.clone().step_by(ROWS).zip(scratch.chunks_mut(ROWS * row)) {
                    turned.fill(first..outputs.end.min(first + ROWS), channels.clone(), rows);
                }
                Matrix { values: scratch, row: 1, column: row }
            }
        }
    }
}

/// Rows that are written side by side, while the weights are read in their order.
const ROWS: usize = 16;

impl<E: Float> Turned<'_, E> {
    /// A copy of all, `[outputs, channels, taps]`.
    pub(super) fn all(&self) -> Vec<E> {
        let channels = self.values.len() / (self.outputs * self.kernel);
        let row = channels * self.taps.len();
        let mut copy = vec![E::default(); self.outputs * row];
        copy.par_chunks_mut(ROWS * row).enumerate().for_each(|(part, rows)| {
            let first = part * ROWS;
            self.fill(first..first + rows.len() / row, 0..channels, rows);
        });
        copy
    }

    /// Writes `[outputs, channels, taps]` of these.
    fn fill(&self, outputs: Range<usize>, channels: Range<usize>, rows: &mut [E]) {
        let (taps, row) = (self.taps.len(), channels.len() * self.taps.len());
        for (i, channel) in channels.enumerate() {
            let kernels = &self.values[(channel * self.outputs + outputs.start) * self.kernel..][..outputs.len() * self.kernel];
            for (from, row) in kernels.chunks_exact(self.kernel).zip(rows.chunks_exact_mut(row)) {
                self.turn(from, &mut row[i * taps..][..taps]);
            }
        }
    }

    #[inline(always)]
    fn turn(&self, from: &[E], to: &mut [E]) {
        /// By far the usual kernel, whose length the compiler then knows.
        const USUAL: usize = 3 * 3;
        if let (Ok(from), Ok(to)) = (<&[E; USUAL]>::try_from(from), <&mut [E; USUAL]>::try_from(&mut *to)) {
            *to = *from;
            to.reverse();
        } else {
            to.iter_mut().zip(self.taps).for_each(|(to, tap)| *to = from[*tap]);
        }
    }
}
