//! A right factor that is packed once, for products of many parts on all threads.

use std::cell::RefCell;
use std::ops::Range;

use burn::tensor::bf16;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::block::{Block, Rows, SIDE as BLOCK};
use super::pack::{Hand, Lines, SIDE, TERMS, Tile};
use super::panels::{blocks, chunks};
use super::{dots, finish, tiles};
use crate::isa::Brain;
use crate::memory::output;
use crate::memory::product::Matrix;

thread_local! {
    /// Room for the factor that a call packs, which the calling thread keeps.
    static ROOM: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
}

/// The right factor of products, as the units read it.
pub(crate) struct Packed {
    unit: Brain,
    /// For each pass over terms the panels of 16 columns, one after the other.
    tiles: Vec<Tile>,
    depth: usize,
    columns: usize,
}

impl Packed {
    /// Packs `[depth, columns]` on all threads; `None` where no unit reads packed factors.
    ///
    /// # Panics
    /// If the matrix is shorter, or a size is 0.
    pub(crate) fn new(unit: Brain, matrix: Matrix<bf16>, [depth, columns]: [usize; 2]) -> Option<Self> {
        /// Panels that a thread packs at a time: neighbours share lines of the caches.
        const TOGETHER: usize = 4;
        /// Tiles below which they are packed before another thread has woken up.
        const WORTH_A_THREAD: usize = 128;
        if unit == Brain::Wide {
            return None;
        }
        matrix.check([depth, columns]);
        let panels = columns.div_ceil(SIDE);
        let mut tiles = ROOM.take();
        let room = chunks(depth).map(|chunk| panels * chunk.tiles).sum();
        if tiles.len() < room {
            tiles.resize(room, Tile::ZERO);
        }
        let mut rest = &mut tiles[..];
        for chunk in chunks(depth) {
            let (these, after) = rest.split_at_mut(panels * chunk.tiles);
            let together = TOGETHER * chunk.tiles;
            these.par_chunks_mut(together).enumerate().with_min_len(WORTH_A_THREAD.div_ceil(together)).for_each(
                |(part, tiles)| {
                    let first = part * TOGETHER * SIDE;
                    let values = &matrix.values[first * matrix.column..];
                    let lines = Lines { values, count: columns - first, depth, line: matrix.column, term: matrix.row };
                    // SAFETY: whoever has a unit has these instructions, and the matrix is as large as it says, as seen.
                    unsafe { lines.fill(Hand::Right, chunk.first, chunk.tiles, tiles) };
                },
            );
            rest = after;
        }
        Some(Self { unit, tiles, depth, columns })
    }

    /// Writes `[M, depth] x [depth, columns]` and a bias to a block `[M, columns]`, for some columns from a multiple of 16 on. The bias has
    /// a number for each of the block's columns.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn multiply_to(
        &self,
        lhs: Matrix<bf16>,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut output::Block<bf16>,
    ) {
        let sizes @ [_, n] = out.sizes();
        assert!(bias.is_none_or(|bias| bias.len() == n), "a bias for each of {n} columns");
        let (first, row) = out.before_rows();
        self.products(lhs, columns, sizes, |at, sizes, sums| {
            let results = (first.wrapping_add(at[0] * row + at[1]), row);
            // SAFETY: whoever has a unit has these instructions; these results have their place in the block.
            unsafe { finish::write(bias, at[1], sizes, sums, results) };
        });
        // SAFETY: the last pass has written all blocks.
        unsafe { out.after_rows() };
    }

    /// The same to a block `[columns, M]`: rows of the product are its columns, which the bias has a number for each of.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn multiply_turned_to(
        &self,
        lhs: Matrix<bf16>,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut output::Block<bf16>,
    ) {
        let [n, m] = out.sizes();
        assert!(bias.is_none_or(|bias| bias.len() == m), "a bias for each of {m} columns");
        let (first, row) = out.before_rows();
        self.products(lhs, columns, [m, n], |at, sizes, sums| {
            let results = (first.wrapping_add(at[1] * row + at[0]), row);
            // SAFETY: as above.
            unsafe { finish::write_turned(bias, at[0], sizes, sums, results) };
        });
        // SAFETY: as above.
        unsafe { out.after_rows() };
    }

    /// Calls `finish` with every block of the product `[M, depth] x [depth, columns]`: the row and the column where it begins, its sizes, and
    /// its sums, a whole block of them with the numbers from a row to the next.
    fn products(
        &self,
        lhs: Matrix<bf16>,
        columns: Range<usize>,
        [m, n]: [usize; 2],
        finish: impl Fn([usize; 2], [usize; 2], (*const f32, usize)),
    ) {
        assert!(columns.start.is_multiple_of(SIDE) && columns.end <= self.columns, "{columns:?} of {}", self.columns);
        assert!(n == columns.len() && m * n > 0, "products of {} columns for a block of [{m}, {n}]", columns.len());
        lhs.check([m, self.depth]);
        let left = Lines { values: lhs.values, count: m, depth: self.depth, line: lhs.row, term: lhs.column };
        let (panels, all) = (columns.start / SIDE..columns.end.div_ceil(SIDE), self.columns.div_ceil(SIDE));
        let passes = |unit: &dyn Fn(Block), sums: &Growing| {
            let mut first_tile = 0;
            for chunk in chunks(self.depth) {
                let right = &self.tiles[first_tile + panels.start * chunk.tiles..][..panels.len() * chunk.tiles];
                let is_last = chunk.first + chunk.tiles * TERMS >= self.depth;
                let block = |left: Rows, right: [&[Tile]; 2], at: [usize; 2]| {
                    let (out, row) = sums.at(at);
                    unit(Block { left, right, out, row, add: chunk.first > 0 });
                    if is_last {
                        finish(at, [(m - at[0]).min(BLOCK), (n - at[1]).min(BLOCK)], (out, row));
                    }
                };
                // SAFETY: whoever has a unit has these instructions; the left factor is as large as it says, as seen.
                unsafe { blocks(left, right, chunk, block) };
                first_tile += all * chunk.tiles;
            }
        };
        with_sums([m, n], self.depth, |sums| match self.unit {
            Brain::Tiles => {
                // SAFETY: the unit is there, and the tiles are configured meanwhile; blocks have room for their sums.
                let (_configured, unit) = unsafe { (tiles::Configured::new(), |block: Block| tiles::add(block)) };
                passes(&unit, sums);
            }
            // SAFETY: as above.
            Brain::Dots => passes(&|block| unsafe { dots::add(block) }, sums),
            Brain::Wide => unreachable!("a unit without packed factors packs none"),
        });
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        ROOM.with_borrow_mut(|room| {
            if room.len() < self.tiles.len() {
                *room = std::mem::take(&mut self.tiles);
            }
        });
    }
}

/// A vector of sums, which is a line of the caches.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; SIDE]);

/// Where sums grow: room for whole blocks.
struct Growing {
    first: *mut f32,
    row: usize,
    /// Whether each block has a place of its own.
    apart: bool,
}

impl Growing {
    /// The place of the block that begins `at` a row and a column, and the numbers from a row of it to the next.
    fn at(&self, at: [usize; 2]) -> (*mut f32, usize) {
        let first = if self.apart { self.first.wrapping_add(at[0] * self.row + at[1]) } else { self.first };
        (first, self.row)
    }
}

/// Calls `f` with room for sums of `depth` terms. Those of one pass are finished at once, and have room for one block.
fn with_sums([m, n]: [usize; 2], depth: usize, f: impl FnOnce(&Growing)) {
    if chunks(depth).nth(1).is_none() {
        let mut block = [Line([0.0; SIDE]); BLOCK * BLOCK / SIDE];
        return f(&Growing { first: block.as_mut_ptr().cast(), row: BLOCK, apart: false });
    }
    thread_local! {
        static SUMS: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    }
    SUMS.with_borrow_mut(|sums| {
        let [m, row] = [m, n].map(|side| side.next_multiple_of(BLOCK));
        if sums.len() < m * row / SIDE {
            sums.resize(m * row / SIDE, Line([0.0; SIDE]));
        }
        f(&Growing { first: sums.as_mut_ptr().cast(), row, apart: true });
    });
}
