//! The inputs of a tile of points, as a matrix: a row for each channel and tap, a column for each point.

use std::ops::Range;

use super::lattice::Axis;
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
        let x = self.axes[1];
        if self.are_pointwise() {
            for (channel, to) in channels.zip(matrix.chunks_mut(stride)) {
                for run in &self.runs {
                    let line = source.line([run.image, channel, run.point[0]], self.axes);
                    copy_values(&mut to[run.column..][..run.length], &line[run.point[1]..]);
                }
            }
            return;
        }
        let [height, width] = self.size;
        for (channel, copy) in channels.clone().zip(copy.chunks_mut(height * width)) {
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
