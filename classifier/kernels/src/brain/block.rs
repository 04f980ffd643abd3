//! Some rows and columns of a product, as large as a unit sums at once.

use super::pack::{SIDE as LINES, TERMS, Tile};

/// Most rows and columns of a block.
pub(super) const SIDE: usize = 2 * LINES;

/// One or two panels of 16 rows of the left factor, packed or as they lie in memory: a row's terms side by side.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// The first pair of terms of each panel; null for a second one that is not there.
    pub(super) first: [*const u8; 2],
    /// Bytes from a row to the next.
    pub(super) line: usize,
    /// Bytes from 32 terms to the next.
    pub(super) tile: usize,
}

impl Rows {
    /// Panels that are packed, of `tiles` each.
    pub(super) fn packed(panels: &[Tile], tiles: usize) -> Self {
        let second = panels.get(tiles..).filter(|second| !second.is_empty());
        assert!(panels.len() >= tiles && second.is_none_or(|second| second.len() == tiles), "all panels have the same terms");
        let first = [panels.as_ptr().cast(), second.map_or(std::ptr::null(), |second| second.as_ptr().cast())];
        Self { first, line: size_of::<Tile>() / LINES, tile: size_of::<Tile>() }
    }

    /// `count` rows in memory, 16 or 32, from `first` on; `line` numbers from a row to the next.
    pub(super) fn in_place(first: *const burn::tensor::bf16, count: usize, line: usize) -> Self {
        let second = if count == SIDE { first.wrapping_add(LINES * line).cast() } else { std::ptr::null() };
        Self { first: [first.cast(), second], line: 2 * line, tile: 2 * TERMS }
    }
}

/// Up to 32 rows and columns: the sums over the tiles of one or two panels of each factor.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// The rows, which hold as many terms as the panels of columns.
    pub(super) left: Rows,
    /// Panels of 16 columns; of a single one, the second is empty.
    pub(super) right: [&'a [Tile]; 2],
    /// The first sum. All rows and columns of the panels have a place, which this thread alone uses, and which hold numbers if they
    /// are added to.
    pub(super) out: *mut f32,
    /// Numbers from a row of sums to the next.
    pub(super) row: usize,
    /// Whether the sums are added to what is there.
    pub(super) add: bool,
}
