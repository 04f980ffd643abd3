//! The right factor of one pass, which a thread packs, or writes pair by pair.

use std::cell::RefCell;
use std::ops::Range;

use burn::tensor::bf16;

use super::block::{Block, Rows, SIDE as BLOCK};
use super::left::Left;
use super::pack::{Hand, Lines, SIDE, TERMS, Tile};
use super::panels::{Chunk, DEPTH, Sums, blocks};
use super::{dots, tiles};
use crate::isa::Brain;
use crate::memory::product::Matrix;

/// A right factor of few terms, as the units read it: panels of 16 columns, in them a row for each pair of terms.
pub(crate) struct Panels {
    unit: Brain,
    tiles: Vec<Tile>,
    depth: usize,
    columns: usize,
}

thread_local! {
    /// Room that factors of this thread had.
    static ROOM: RefCell<Vec<Vec<Tile>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for Panels {
    fn drop(&mut self) {
        let tiles = std::mem::take(&mut self.tiles);
        ROOM.with_borrow_mut(|room| room.push(tiles));
    }
}

impl Panels {
    /// Most terms.
    pub(crate) const DEPTH: usize = DEPTH;

    /// No factor yet; `None` where no unit reads packed factors.
    pub(crate) fn new(unit: Brain) -> Option<Self> {
        (unit != Brain::Wide).then(|| Self {
            unit,
            tiles: ROOM.with_borrow_mut(Vec::pop).unwrap_or_default(),
            depth: 0,
            columns: 0,
        })
    }

    /// Room for `[depth, columns]`, as tiles.
    fn room(&mut self, [depth, columns]: [usize; 2]) -> &mut [Tile] {
        assert!(depth * columns > 0 && depth <= DEPTH, "{depth} terms of one pass, and {columns} columns");
        (self.depth, self.columns) = (depth, columns);
        let room = columns.div_ceil(SIDE) * depth.div_ceil(TERMS);
        if self.tiles.len() < room {
            self.tiles.resize(room, Tile::ZERO);
        }
        &mut self.tiles[..room]
    }

    /// Packs a matrix `[depth, columns]`.
    pub(crate) fn pack(&mut self, matrix: Matrix<bf16>, sizes: [usize; 2]) {
        matrix.check(sizes);
        let [depth, columns] = sizes;
        let lines = Lines { values: matrix.values, count: columns, depth, line: matrix.column, term: matrix.row };
        // SAFETY: whoever has a unit has these instructions, and the matrix is as large as it says, as seen.
        unsafe { lines.fill(Hand::Right, 0, depth.div_ceil(TERMS), self.room(sizes)) };
    }

    /// The panels of a matrix `[depth, columns]` that is to be written: in each, the 16 columns of every pair of terms, the first term in a
    /// number's lower half, and zeros behind the last term.
    pub(crate) fn pairs(&mut self, sizes: [usize; 2]) -> impl Iterator<Item = &mut [[u32; SIDE]]> {
        let tiles = sizes[0].div_ceil(TERMS);
        self.room(sizes).chunks_exact_mut(tiles).map(Tile::rows_mut)
    }

    /// Writes `[M, depth] x [depth, N]` to rows of `out`, `row` numbers apart, or adds them to what is there. `N` may go as far as the
    /// columns' last panel.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn multiply(&self, lhs: Matrix<bf16>, out: &mut [f32], sizes: [usize; 2], row: usize, add: bool) {
        let ([m, n], &Self { depth, columns, .. }) = (sizes, self);
        lhs.check([m, depth]);
        assert!(n.div_ceil(SIDE) == columns.div_ceil(SIDE) && n <= row, "{columns} columns for sums of {n}, {row} apart");
        assert!((m - 1) * row + n <= out.len(), "sums of {sizes:?} in steps of {row} for {} places", out.len());
        let chunk = Chunk { first: 0, tiles: depth.div_ceil(TERMS) };
        let left = Lines { values: lhs.values, count: m, depth, line: lhs.row, term: lhs.column };
        let right = &self.tiles[..columns.div_ceil(SIDE) * chunk.tiles];
        let sums = Sums { sizes, out: out.as_mut_ptr(), row, add };
        // SAFETY: the unit is there, and with it all instructions; the tiles are configured meanwhile. Left factor and sums have these
        // sizes, as seen.
        unsafe {
            match self.unit {
                Brain::Tiles => {
                    let _configured = tiles::Configured::new();
                    let unit = |block: Block| tiles::add(block);
                    blocks(left, right, chunk, |left: Rows, right: [&[Tile]; 2], at| sums.add(unit, left, right, at));
                }
                Brain::Dots => {
                    let unit = |block: Block| dots::add(block);
                    blocks(left, right, chunk, |left: Rows, right: [&[Tile]; 2], at| sums.add(unit, left, right, at));
                }
                Brain::Wide => unreachable!("a unit without packed factors has no panels"),
            }
        }
    }

    /// The same with some rows of a left factor that is packed, from the first of a panel on; to whole panels of rows and columns, of which
    /// those beyond the factors' end are of no use.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub(crate) fn multiply_packed(&self, left: &Left, rows: Range<usize>, out: &mut [f32], row: usize, add: bool) {
        let columns = self.columns.next_multiple_of(SIDE);
        assert_eq!(left.depth(), self.depth, "both factors have the same terms");
        assert!(columns <= row && rows.len().next_multiple_of(SIDE) * row <= out.len(), "{} places for {rows:?}", out.len());
        let tiles = self.depth.div_ceil(TERMS);
        let right = &self.tiles[..columns / SIDE * tiles];
        let out = out.as_mut_ptr();
        let each = |unit: &dyn Fn(Block)| {
            for (i, left) in left.blocks(rows.start, rows.end).enumerate() {
                for (j, right) in right.chunks(2 * tiles).enumerate() {
                    let out = out.wrapping_add(BLOCK * (i * row + j));
                    unit(Block { left, right: right.split_at(tiles).into(), out, row, add });
                }
            }
        };
        match self.unit {
            Brain::Tiles => {
                // SAFETY: the unit is there, and the tiles are configured meanwhile; all panels have places, as seen.
                let (_configured, unit) = unsafe { (tiles::Configured::new(), |block: Block| tiles::add(block)) };
                each(&unit);
            }
            // SAFETY: as above.
            Brain::Dots => each(&|block| unsafe { dots::add(block) }),
            Brain::Wide => unreachable!("a unit without packed factors has no panels"),
        }
    }
}
