//! The product of factors in panels, a block of rows and columns at a time.

use std::cell::RefCell;

use burn::tensor::bf16;

use super::block::{Block, Rows, SIDE as BLOCK};
use super::pack::{Hand, Lines, SIDE, TERMS, Tile};
use crate::memory::product::Product;

/// Most terms of a pass: two panels of the left factor then stay in the first-level cache while those of the right one pass by.
pub(super) const DEPTH: usize = 576;

/// The terms of one pass.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    /// The first of them.
    pub(super) first: usize,
    /// How many times 32 there are, the last ones perhaps beyond the end.
    pub(super) tiles: usize,
}

/// The passes over `depth` terms.
pub(super) fn chunks(depth: usize) -> impl Iterator<Item = Chunk> {
    let most = depth.div_ceil(depth.div_ceil(DEPTH)).div_ceil(TERMS);
    (0..depth).step_by(most * TERMS).map(move |first| Chunk { first, tiles: most.min((depth - first).div_ceil(TERMS)) })
}

/// `unit` adds a block.
///
/// # Safety
/// As for [`multiply`](super::multiply), with a unit that does what it says.
pub(super) unsafe fn multiply(
    unit: impl Fn(Block),
    product: Product<bf16>,
    [m, n]: [usize; 2],
    out: *mut f32,
    steps: [usize; 2],
    add: bool,
) {
    let Product { lhs, rhs, depth } = product;
    if steps[1] != 1 && n > 1 {
        assert!(steps[0] == 1 || m == 1, "sums of [{m}, {n}] in steps of {steps:?}: rows or columns lie side by side");
        let turned = Product { lhs: rhs.transposed(), rhs: lhs.transposed(), depth };
        // SAFETY: the caller's promise, of the transposed sums.
        return unsafe { multiply(unit, turned, [n, m], out, [steps[1], 1], add) };
    }
    let left = Lines { values: lhs.values, count: m, depth, line: lhs.row, term: lhs.column };
    let right = Lines { values: rhs.values, count: n, depth, line: rhs.column, term: rhs.row };
    thread_local! {
        static PACKED: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
    }
    PACKED.with_borrow_mut(|packed| {
        for chunk in chunks(depth) {
            let room = n.div_ceil(SIDE) * chunk.tiles;
            if packed.len() < room {
                packed.resize(room, Tile::ZERO);
            }
            // SAFETY: the caller's promises: whoever has a unit has these instructions.
            unsafe { right.fill(Hand::Right, chunk.first, chunk.tiles, &mut packed[..room]) };
            let sums = Sums { sizes: [m, n], out, row: steps[0], add: add || chunk.first > 0 };
            // SAFETY: as above; `sums` are of this size.
            unsafe { blocks(left, &packed[..room], chunk, |left, right, at| sums.add(&unit, left, right, at)) };
        }
    });
}

/// Calls `f` with two panels of each factor at a time, or the last one, and with the row and the column where they begin. Rows of the left
/// factor are read where they lie if their terms are side by side.
///
/// # Safety
/// As for [`Lines::fill`].
pub(super) unsafe fn blocks(left: Lines, right: &[Tile], chunk: Chunk, mut f: impl FnMut(Rows, [&[Tile]; 2], [usize; 2])) {
    let Chunk { first, tiles } = chunk;
    let is_whole = left.term == 1 && first + tiles * TERMS <= left.depth;
    let in_place = if is_whole { left.count / SIDE * SIDE } else { 0 };
    // A pair of panels is of one kind.
    let in_place = if in_place == left.count { in_place } else { in_place / BLOCK * BLOCK };
    let mut row = |left: Rows, at: usize| {
        for (j, right) in right.chunks(2 * tiles).enumerate() {
            f(left, right.split_at(tiles).into(), [at, BLOCK * j]);
        }
    };
    for at in (0..in_place).step_by(BLOCK) {
        let values = left.values.as_ptr().wrapping_add(at * left.line + first);
        row(Rows::in_place(values, BLOCK.min(in_place - at), left.line), at);
    }
    if in_place == left.count {
        return;
    }
    thread_local! {
        static PACKED: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
    }
    PACKED.with_borrow_mut(|packed| {
        let room = (left.count - in_place).div_ceil(SIDE) * tiles;
        if packed.len() < room {
            packed.resize(room, Tile::ZERO);
        }
        let rest = Lines { values: &left.values[in_place * left.line..], count: left.count - in_place, ..left };
        // SAFETY: the caller's promise.
        unsafe { rest.fill(Hand::Left, first, tiles, &mut packed[..room]) };
        for (i, panels) in packed[..room].chunks(2 * tiles).enumerate() {
            row(Rows::packed(panels, tiles), in_place + BLOCK * i);
        }
    });
}

/// Where sums go.
pub(super) struct Sums {
    pub(super) sizes: [usize; 2],
    pub(super) out: *mut f32,
    /// Numbers from a row to the next.
    pub(super) row: usize,
    pub(super) add: bool,
}

impl Sums {
    /// Adds the block that begins `at` a row and a column.
    pub(super) fn add(&self, unit: impl Fn(Block), left: Rows, right: [&[Tile]; 2], at: [usize; 2]) {
        let [rows, columns] = [0, 1].map(|i| (self.sizes[i] - at[i]).min(BLOCK));
        let out = self.out.wrapping_add(at[0] * self.row + at[1]);
        if rows.is_multiple_of(SIDE) && columns.is_multiple_of(SIDE) {
            return unit(Block { left, right, out, row: self.row, add: self.add });
        }
        // Panels have more rows or columns than the sums, which grow beside their place then, in the same order: what a sum is must not
        // depend on how many others there are.
        let mut whole = [0f32; BLOCK * BLOCK];
        let place = |row: usize, column: usize| out.wrapping_add(row * self.row + column);
        if self.add {
            for (row, sums) in whole.chunks_exact_mut(BLOCK).take(rows).enumerate() {
                for (column, sum) in sums[..columns].iter_mut().enumerate() {
                    // SAFETY: this row and column are some of the sums', which hold numbers if they are added to.
                    *sum = unsafe { place(row, column).read() };
                }
            }
        }
        unit(Block { left, right, out: whole.as_mut_ptr(), row: BLOCK, add: self.add });
        for (row, sums) in whole.chunks_exact(BLOCK).take(rows).enumerate() {
            for (column, sum) in sums[..columns].iter().enumerate() {
                // SAFETY: as above.
                unsafe { place(row, column).write(*sum) };
            }
        }
    }
}
