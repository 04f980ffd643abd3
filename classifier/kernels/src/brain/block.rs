//! Some rows and columns of a product, as large as a unit sums at once.

use super::pack::Tile;

/// Most rows and columns of a block.
pub(super) const SIDE: usize = 2 * super::pack::SIDE;

/// Up to 32 rows and columns: the sums over the tiles of one or two panels of each factor.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    /// Panels of 16 rows; of a single one, the second is empty.
    pub(super) left: [&'a [Tile]; 2],
    /// Panels of 16 columns, likewise.
    pub(super) right: [&'a [Tile]; 2],
    /// The first sum. All rows and columns of the panels have a place, which this thread alone uses, and which hold numbers if they
    /// are added to.
    pub(super) out: *mut f32,
    /// Numbers from a row of sums to the next.
    pub(super) row: usize,
    /// Whether the sums are added to what is there.
    pub(super) add: bool,
}
