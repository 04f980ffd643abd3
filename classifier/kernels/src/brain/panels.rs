//! The product of packed factors, a block of rows and columns at a time.

use std::cell::RefCell;

use burn::tensor::bf16;

use super::block::{Block, SIDE as BLOCK};
use super::pack::{Hand, Lines, SIDE, TERMS, Tile};
use crate::memory::product::Product;

/// Most terms that are packed at a time: two panels of the right factor then fit the first-level cache, where every panel of the left
/// one finds them.
const DEPTH: usize = 512;

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
    let (most, panels) = (depth.div_ceil(depth.div_ceil(DEPTH)).div_ceil(TERMS), [m, n].map(|lines| lines.div_ceil(SIDE)));
    thread_local! {
        static PACKED: RefCell<Vec<Tile>> = const { RefCell::new(Vec::new()) };
    }
    PACKED.with_borrow_mut(|packed| {
        let room = (panels[0] + panels[1]) * most;
        if packed.len() < room {
            packed.resize(room, Tile::ZERO);
        }
        for first in (0..depth).step_by(most * TERMS) {
            let tiles = most.min((depth - first).div_ceil(TERMS));
            let (of_left, rest) = packed.split_at_mut(panels[0] * tiles);
            let of_right = &mut rest[..panels[1] * tiles];
            // SAFETY: the caller's promises: whoever has a unit has these instructions.
            unsafe {
                left.fill(Hand::Left, first, tiles, of_left);
                right.fill(Hand::Right, first, tiles, of_right);
            }
            let sums = Sums { sizes: [m, n], out, row: steps[0], add: add || first > 0 };
            for (j, right) in of_right.chunks(2 * tiles).enumerate() {
                for (i, left) in of_left.chunks(2 * tiles).enumerate() {
                    let factors = [left, right].map(|panels| panels.split_at(tiles).into());
                    // SAFETY: the caller's promise.
                    unsafe { sums.add(&unit, factors, [i, j].map(|at| BLOCK * at)) };
                }
            }
        }
    });
}

/// Where sums go.
struct Sums {
    sizes: [usize; 2],
    out: *mut f32,
    /// Numbers from a row to the next.
    row: usize,
    add: bool,
}

impl Sums {
    /// Adds the block that begins `at` a row and a column.
    ///
    /// # Safety
    /// As for [`multiply`].
    unsafe fn add(&self, unit: impl Fn(Block), [left, right]: [[&[Tile]; 2]; 2], at: [usize; 2]) {
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
