//! The sizes of one attention, and how it is cut into tiles.

use std::ops::Range;

/// Widest vectors: a tile's rows are padded to whole ones, so that no loop has a rest.
const LANES: usize = 16;

/// One attention; buffers of queries and results are `[B, Lq, heads * size]`, of keys and values `[B, Lk, heads * size]`.
///
/// A head of one item of the batch is called a pair.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) batch: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) heads: usize,
    /// Width of a head: numbers per token.
    pub(super) size: usize,
    pub(super) causal: bool,
    /// `[B, Lk]`
    pub(super) seen: Option<Vec<bool>>,
}

/// Some queries of a pair.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) start: usize,
    pub(super) count: usize,
    /// `count`, padded to whole vectors.
    pub(super) padded: usize,
}

impl Rows {
    /// The same queries, at most so many at a time.
    pub(super) fn parts(self, most: usize) -> impl Iterator<Item = Self> {
        (0..self.count).step_by(most).map(move |first| {
            let count = most.min(self.count - first);
            Self { start: self.start + first, count, padded: count.next_multiple_of(LANES) }
        })
    }
}

impl Problem {
    pub(super) fn pairs(&self) -> usize {
        self.batch * self.heads
    }

    /// Multiplications that the scores of a pair take.
    pub(super) fn work(&self) -> usize {
        self.queries * self.keys * self.size
    }

    /// Numbers between a token and the next.
    pub(super) fn width(&self) -> usize {
        self.heads * self.size
    }

    /// `1 / sqrt(size)`
    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// Where a query of a pair begins.
    pub(super) fn query(&self, pair: usize, row: usize) -> usize {
        (pair / self.heads * self.queries + row) * self.width() + pair % self.heads * self.size
    }

    /// Where a key of a pair begins.
    pub(super) fn key(&self, pair: usize, row: usize) -> usize {
        (pair / self.heads * self.keys + row) * self.width() + pair % self.heads * self.size
    }

    /// The part of a `[B, Lk, heads * size]` buffer from the first of some keys of a pair to the last.
    pub(super) fn tokens<'a, E>(&self, values: &'a [E], pair: usize, keys: Range<usize>) -> &'a [E] {
        &values[self.key(pair, keys.start)..][..(keys.len() - 1) * self.width() + self.size]
    }

    /// Whether any query may see a key of a pair.
    pub(super) fn sees(&self, pair: usize, key: usize) -> bool {
        self.seen.as_ref().is_none_or(|seen| seen[pair / self.heads * self.keys + key])
    }

    /// The number of first queries that a key is too late for; the last query sees the last key.
    pub(super) fn hidden(&self, key: usize) -> usize {
        if self.causal { (key + self.queries).saturating_sub(self.keys).min(self.queries) } else { 0 }
    }

    /// The keys, from the first, of which some are seen by these queries.
    pub(super) fn reach(&self, rows: Rows) -> usize {
        let end = rows.start + rows.count;
        if self.causal { (end + self.keys).saturating_sub(self.queries).min(self.keys) } else { self.keys }
    }

    /// The number of query tiles of a pair.
    pub(super) fn query_tiles(&self) -> usize {
        self.queries.div_ceil(self.most_queries())
    }

    /// A tile's queries; all tiles are about as large.
    pub(super) fn rows(&self, tile: usize) -> Rows {
        let tiles = self.query_tiles();
        let start = self.queries * tile / tiles;
        let count = self.queries * (tile + 1) / tiles - start;
        Rows { start, count, padded: count.next_multiple_of(LANES) }
    }

    /// The most queries that a tile has: scores of a tile stay in the second-level cache, beside the queries.
    fn most_queries(&self) -> usize {
        if self.size <= 192 { 192 } else { 96 }
    }

    /// The most keys that a tile has.
    pub(super) fn most_keys(&self) -> usize {
        self.keys.min(256)
    }

    /// Numbers of a query tile's row of scores.
    pub(super) fn most_padded(&self) -> usize {
        self.most_queries().min(self.queries).next_multiple_of(LANES)
    }
}
