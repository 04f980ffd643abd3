//! Dividing the work: into tiles whose matrices stay in a core's caches, and into enough parts for all threads.

use std::ops::Range;

use super::lattice::Axis;

/// Terms of a sum that one matrix product adds: its operands' panels then fit the first-level cache.
pub(super) const fn depth<E>() -> usize {
    1024 / size_of::<E>()
}
/// Values of the longest vector register.
pub(super) const LANES: usize = 16;
/// Fewest rows of a part for which gathering its patches again is worth it.
const WORTHWHILE: usize = 32;

/// Cuts the points of a batch in tiles of about `usual`: parts of images, or several whole images where they are small.
///
/// Tiles of whole rows, or of equal parts of a row, are preferred: they copy least. Among these, tiles of equal
/// size: threads that take one after the other then end together.
pub(super) fn tiles([y, x]: [&Axis; 2], batch: usize, usual: usize) -> Vec<Range<usize>> {
    let area = y.points * x.points;
    let cut = |first: usize, length: usize, size: usize| {
        (0..length).step_by(size).map(move |at| first + at..first + length.min(at + size))
    };
    let sizes = usual * 2 / 3..=usual * 4 / 3;
    if area < *sizes.start() {
        return cut(0, batch * area, (usual / area).max(1) * area).collect();
    }
    let even = |size: &usize| x.points.is_multiple_of(*size) || size.is_multiple_of(x.points);
    let size = sizes
        .step_by(LANES)
        .filter(even)
        .min_by_key(|size| (area.next_multiple_of(*size) - area, size.abs_diff(usual), usize::MAX - size))
        .unwrap_or_else(|| area.div_ceil(area.div_ceil(usual)).next_multiple_of(LANES));
    (0..batch).flat_map(|image| cut(image * area, area, size)).collect()
}

/// Points of a tile: as many as `usual`, or fewer where not all threads would have one.
pub(super) fn fair(total: usize, usual: usize) -> usize {
    usual.min(total.div_ceil(rayon::current_num_threads()).next_multiple_of(LANES))
}

/// Length of the parts of `length` rows, so that `others` times their number keeps all threads busy and none has over `most`.
pub(super) fn part(length: usize, others: usize, most: usize) -> usize {
    /// Parts per thread: the others then wait less for the last one.
    const EACH: usize = 3;
    let threads = rayon::current_num_threads();
    let wanted = if others >= threads { 1 } else { (EACH * threads).div_ceil(others) };
    let parts = wanted.min(length / WORTHWHILE).max(length.div_ceil(most));
    length.div_ceil(parts.max(1)).next_multiple_of(LANES)
}

/// Values from a row to the next of a matrix of `columns`: whole vectors, and an odd number of cache lines, which spreads a
/// column over all sets of a cache.
pub(super) fn stride(columns: usize) -> usize {
    (columns.div_ceil(LANES) | 1) * LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(side: usize, batch: usize, usual: usize) -> Vec<usize> {
        let axis = Axis { source: side, step: 1, taps: Vec::new(), points: side, target: side, stride: 1, start: 0 };
        let tiles = tiles([&axis, &axis], batch, usual);
        assert!(tiles.windows(2).all(|pair| pair[0].end == pair[1].start), "no gaps: {tiles:?}");
        assert_eq!(tiles.last().unwrap().end, batch * side * side);
        tiles.iter().map(Range::len).collect()
    }

    #[test]
    fn tiles_are_equal_where_an_image_can_be_cut_so() {
        // The levels of Stable Diffusion at 512 px; 192 divides none of them.
        for side in [64, 32, 16] {
            let lengths = lengths(side, 2, 192);
            assert!(lengths.iter().all(|length| *length == lengths[0] && (128..=256).contains(length)), "{side}: {lengths:?}");
        }
        assert_eq!(lengths(8, 6, 192), [192, 192]);
        assert_eq!(lengths(23, 1, 192).iter().sum::<usize>(), 529);
    }
}
