//! The inputs of a tile of points, as a matrix: a row for each channel and tap, a column for each point.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::lattice::Axis;
use crate::brain::Panels;
use crate::memory::float::Float;

/// Values that are copied at once.
///
/// Copies run over the end of a run of points. The values they overwrite are written later or never read, and both buffers are
/// that much longer than their contents.
const CHUNK: usize = 8;

/// Points of one row of one image that follow each other in a tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Image in the batch.
    pub(super) image: usize,
    /// Row and column of the first point.
    pub(super) point: [usize; 2],
    /// Column of the matrix.
    pub(super) column: usize,
    pub(super) length: usize,
    /// Place of the first point's first tap in the copy of a channel.
    copied: usize,
}

impl Run {
    /// Whether `next` is of the same columns one row below.
    pub(super) fn is_above(&self, next: &Self) -> bool {
        self.image == next.image
            && self.point[0] + 1 == next.point[0]
            && self.point[1] == next.point[1]
            && self.length == next.length
    }
}

/// A row of the source that a tile reads.
#[derive(Clone, Copy, Debug)]
struct Line {
    image: usize,
    row: usize,
    /// Row of the copy.
    copied: usize,
}

/// Columns of the source with one remainder by the step: they lie side by side in the copy, so that strides leave no gaps.
#[derive(Clone, Copy, Debug)]
struct Comb {
    /// First column of the source, and of the copy.
    source: usize,
    copied: usize,
    count: usize,
}

/// The geometry of a tile, the same for all channels.
///
/// Each channel is copied first, with the zeros of the padding around it; then every row of the matrix is a few straight copies.
pub(super) struct Patches<'a> {
    axes: [&'a Axis; 2],
    runs: Vec<Run>,
    /// Distance of each tap from the first, in the copy.
    taps: Vec<usize>,
    lines: Vec<Line>,
    combs: Vec<Comb>,
    /// Height and width of the copy.
    size: [usize; 2],
}

impl<'a> Patches<'a> {
    /// Of the points `tile`, counted through the rows of all images.
    pub(super) fn new(axes: [&'a Axis; 2], tile: &Range<usize>) -> Self {
        let [y, x] = axes;
        let ([low_y, high_y], [low_x, high_x]) = (y.reach(), x.reach());
        let area = y.points * x.points;

        let in_one_row = tile.start / x.points == (tile.end - 1) / x.points;
        let columns = if in_one_row { tile.start % x.points..(tile.end - 1) % x.points + 1 } else { 0..x.points };
        let across = (high_x - low_x) as usize;
        let comb = columns.len() + across / x.step;
        let combs: Vec<_> = (0..x.step.min(across + 1))
            .map(|remainder| {
                let first = (columns.start * x.step + remainder) as isize + low_x;
                let outside = if first < 0 { first.unsigned_abs().div_ceil(x.step) } else { 0 };
                let source = ((first + (outside * x.step) as isize) as usize).min(x.source);
                let count = (x.source - source).div_ceil(x.step).min(comb.saturating_sub(outside));
                Comb { source, copied: remainder * comb + outside, count }
            })
            .collect();
        let width = combs.len() * comb;

        let (mut runs, mut lines, mut height) = (Vec::new(), Vec::new(), 0);
        let mut at = tile.start;
        while at < tile.end {
            let image = at / area;
            let end = tile.end.min((image + 1) * area);
            let row = |point: usize| point / x.points % y.points;
            let (first, last) = (row(at), row(end - 1));
            let rows = (last - first) * y.step + (high_y - low_y) as usize + 1;
            lines.extend((0..rows).filter_map(|below| {
                let row = (first * y.step + below) as isize + low_y;
                (0..y.source as isize).contains(&row).then(|| Line { image, row: row as usize, copied: height + below })
            }));
            while at < end {
                let point = [row(at), at % x.points];
                let length = (x.points - point[1]).min(end - at);
                let copied = (height + (point[0] - first) * y.step) * width + point[1] - columns.start;
                runs.push(Run { image, point, column: at - tile.start, length, copied });
                at += length;
            }
            height += rows;
        }

        let tap = |offset_y: isize, offset_x: isize| {
            let across = (offset_x - low_x) as usize;
            (offset_y - low_y) as usize * width + across % x.step * comb + across / x.step
        };
        let taps = y.taps.iter().flat_map(|y| x.taps.iter().map(move |x| tap(y.offset, x.offset))).collect();
        Self { axes, runs, taps, lines, combs, size: [height, width] }
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// Whether every point reads only its own place.
    pub(super) fn are_pointwise(&self) -> bool {
        self.axes.iter().all(|axis| axis.is_identity())
    }

    /// Values of the copy of `channels` channels.
    pub(super) fn copy_len(&self, channels: usize) -> usize {
        channels * self.size[0] * self.size[1] + CHUNK
    }

    /// Values of the matrix of `channels` channels, with `stride` values from a row to the next.
    pub(super) fn matrix_len(&self, channels: usize, stride: usize) -> usize {
        channels * self.taps.len() * stride + CHUNK
    }

    /// Fills `matrix` with `channels` of `source`.
    ///
    /// `copy` is of zeros for the first channels of a tile, and what this left of it for the others.
    #[inline(always)]
    pub(super) fn fill<E: Float>(
        &self,
        source: Source<E>,
        channels: Range<usize>,
        [copy, matrix]: [&mut [E]; 2],
        stride: usize,
    ) {
        if self.are_pointwise() {
            for (channel, to) in channels.zip(matrix.chunks_mut(stride)) {
                for run in &self.runs {
                    let line = source.line([run.image, channel, run.point[0]], self.axes);
                    copy_values(&mut to[run.column..][..run.length], &line[run.point[1]..]);
                }
            }
            return;
        }
        self.copy(source, channels.clone(), copy);
        let [height, width] = self.size;
        let mut row = 0;
        for channel in 0..channels.len() {
            for tap in &self.taps {
                for run in &self.runs {
                    let (to, from) = (row + run.column, channel * height * width + tap + run.copied);
                    let length = run.length.next_multiple_of(CHUNK);
                    let to = matrix[to..][..length].as_chunks_mut::<CHUNK>().0;
                    let from = copy[from..][..length].as_chunks::<CHUNK>().0;
                    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                }
                row += stride;
            }
        }
    }

    /// Copies `channels` of `source` with the zeros around them, which are there already.
    #[inline(always)]
    fn copy<E: Float>(&self, source: Source<E>, channels: Range<usize>, copy: &mut [E]) {
        let x = self.axes[1];
        let [height, width] = self.size;
        for (channel, copy) in channels.zip(copy.chunks_mut(height * width)) {
            for line in &self.lines {
                let to = &mut copy[line.copied * width..][..width];
                let from = source.line([line.image, channel, line.row], self.axes);
                for comb in &self.combs {
                    let to = &mut to[comb.copied..][..comb.count];
                    let from = &from[comb.source..];
                    if x.step == 1 {
                        copy_values(to, from);
                    } else {
                        to.iter_mut().zip(from.iter().step_by(x.step)).for_each(|(to, from)| *to = *from);
                    }
                }
            }
        }
    }

    /// The points of a tile in panels of 16.
    pub(super) fn lanes(&self) -> Vec<Lanes> {
        /// Points of a panel.
        const SIDE: usize = 16;
        let points: Vec<usize> = self.runs.iter().flat_map(|run| run.copied..run.copied + run.length).collect();
        let follow = |points: &[usize]| points.windows(2).all(|pair| pair[0] + 1 == pair[1]);
        let lanes = |points: &[usize]| match points.split_at_checked(SIDE / 2) {
            Some((first, second)) if points.len() == SIDE && follow(first) && follow(second) => {
                Lanes::Halves([first[0], second[0]])
            }
            // Behind the last point it does not matter what is computed.
            _ => Lanes::Apart(Box::new(std::array::from_fn(|i| points[i.min(points.len() - 1)]))),
        };
        points.chunks(SIDE).map(lanes).collect()
    }
}

/// Where 16 points have their first tap in the copy of a channel.
pub(super) enum Lanes {
    /// Two times 8 that follow each other.
    Halves([usize; 2]),
    /// Anywhere.
    Apart(Box<[usize; 16]>),
}

/// Writes the matrix of a tile of brain floats as the units read it: columns for points, rows for channels and taps.
pub(super) struct Fill<'a, E> {
    pub(super) patches: &'a Patches<'a>,
    pub(super) lanes: &'a [Lanes],
    pub(super) source: Source<'a, E>,
    pub(super) channels: Range<usize>,
    /// As for [`Patches::fill`].
    pub(super) copy: &'a mut [E],
    pub(super) panels: &'a mut Panels,
}

impl<E: Float> WithSimd for Fill<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { patches, lanes, source, channels, copy, panels } = self;
        patches.copy(source, channels.clone(), &mut *copy);
        let copy: &[u16] = bytemuck::cast_slice(copy);
        let plane = patches.size[0] * patches.size[1];
        let mut terms = Vec::with_capacity(channels.len() * patches.taps.len());
        for channel in 0..channels.len() {
            terms.extend(patches.taps.iter().map(|tap| channel * plane + tap));
        }
        let points = lanes.len() * 16;
        for (lanes, pairs) in lanes.iter().zip(panels.pairs([terms.len(), points])) {
            let (pairs, rest) = pairs.split_at_mut(terms.len().div_ceil(2));
            rest.fill([0; 16]);
            match lanes {
                Lanes::Halves(at) => write_halves(*at, copy, &terms, pairs),
                Lanes::Apart(at) => write_apart(at, copy, &terms, pairs),
            }
        }
    }
}

/// Two times 8 points of every pair of terms.
#[inline(always)]
fn write_halves(at: [usize; 2], copy: &[u16], terms: &[usize], pairs: &mut [[u32; 16]]) {
    let (both, last) = terms.as_chunks::<2>();
    for (terms, to) in both.iter().zip(pairs.iter_mut()) {
        for half in 0..2 {
            let (low, high) = (&copy[terms[0] + at[half]..][..8], &copy[terms[1] + at[half]..][..8]);
            let to = &mut to[8 * half..][..8];
            for i in 0..8 {
                to[i] = paired(low[i], high[i]);
            }
        }
    }
    for (term, to) in last.iter().zip(&mut pairs[both.len()..]) {
        for half in 0..2 {
            for (to, low) in to[8 * half..][..8].iter_mut().zip(&copy[term + at[half]..]) {
                *to = paired(*low, 0);
            }
        }
    }
}

/// 16 points anywhere of every pair of terms.
fn write_apart(at: &[usize; 16], copy: &[u16], terms: &[usize], pairs: &mut [[u32; 16]]) {
    for (terms, to) in terms.chunks(2).zip(pairs) {
        for (to, at) in to.iter_mut().zip(at) {
            *to = paired(copy[terms[0] + at], terms.get(1).map_or(0, |term| copy[term + at]));
        }
    }
}

/// Two terms as one number, the first in its lower half.
#[inline(always)]
fn paired(low: u16, high: u16) -> u32 {
    u32::from(low) | u32::from(high) << 16
}

/// Images, `[B, channels, H, W]`.
#[derive(Clone, Copy)]
pub(super) struct Source<'a, E> {
    pub(super) values: &'a [E],
    pub(super) channels: usize,
}

impl<'a, E> Source<'a, E> {
    /// The row at `[image, channel, row]`.
    #[inline(always)]
    fn line(self, [image, channel, row]: [usize; 3], [y, x]: [&Axis; 2]) -> &'a [E] {
        &self.values[((image * self.channels + channel) * y.source + row) * x.source..][..x.source]
    }
}

/// Fills `to` with the first values of `from`. Runs are too short to pay for a call of `memcpy`.
#[inline(always)]
fn copy_values<E: Copy>(to: &mut [E], from: &[E]) {
    let (to, last) = to.as_chunks_mut::<CHUNK>();
    let (from, rest) = from[..to.len() * CHUNK + last.len()].as_chunks::<CHUNK>();
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
}
