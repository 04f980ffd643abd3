//! A left factor of one pass, packed once for products with many right ones.

use burn::tensor::bf16;

use super::block::Rows;
use super::pack::{Hand, Lines, SIDE, TERMS, Tile};
use super::panels::DEPTH;
use crate::memory::product::Matrix;

/// Rows of few terms, as the units read them: panels of 16 rows.
#[derive(Default)]
pub(crate) struct Left {
    tiles: Vec<Tile>,
    rows: usize,
    depth: usize,
}

impl Left {
    /// Packs a matrix `[rows, depth]` in place of the one before. The units are there: only [`Panels`](super::Panels) multiply it.
    ///
    /// # Panics
    /// If the matrix is shorter, a size is 0, or the terms are of more than one pass.
    pub(crate) fn pack(&mut self, matrix: Matrix<bf16>, [rows, depth]: [usize; 2], _units: &super::Panels) {
        matrix.check([rows, depth]);
        assert!(depth <= DEPTH, "{depth} terms of one pass");
        (self.rows, self.depth) = (rows, depth);
        let steps = depth.div_ceil(TERMS);
        let room = rows.div_ceil(SIDE) * steps;
        if self.tiles.len() < room {
            self.tiles.resize(room, Tile::ZERO);
        }
        let lines = Lines { values: matrix.values, count: rows, depth, line: matrix.row, term: matrix.column };
        // SAFETY: whoever has panels has these instructions, and the matrix is as large as it says, as seen.
        unsafe { lines.fill(Hand::Left, 0, steps, &mut self.tiles[..room]) };
    }

    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Pairs of the panels from a row, the first of a panel, to another, and the last one alone if they are odd.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub(super) fn blocks(&self, first: usize, end: usize) -> impl Iterator<Item = Rows> {
        assert!(first.is_multiple_of(SIDE) && first < end && end <= self.rows, "rows {first} to {end} of {}", self.rows);
        let steps = self.depth.div_ceil(TERMS);
        let tiles = &self.tiles[first / SIDE * steps..end.div_ceil(SIDE) * steps];
        tiles.chunks(2 * steps).map(move |panels| Rows::packed(panels, steps))
    }
}
