//! Factors in the order in which the units of [`super`] read them.

use std::arch::x86_64::{
    __m512i, __mmask16, _mm256_maskz_loadu_epi16, _mm512_cvtepu16_epi32, _mm512_load_si512, _mm512_maskz_loadu_epi16,
    _mm512_or_si512, _mm512_setzero_si512, _mm512_shuffle_i32x4, _mm512_slli_epi32, _mm512_store_si512, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

use burn::tensor::bf16;

/// Lines of a tile, and its pairs of terms: the rows of a register of AMX, and the 32-bit lanes of one of AVX-512.
pub(super) const SIDE: usize = 16;
/// Terms of a tile.
pub(super) const TERMS: usize = 2 * SIDE;

/// 16 lines of 32 terms. A pair of terms is one number of 32 bits, the first term in its lower half.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Tile([[u32; SIDE]; SIDE]);

impl Tile {
    pub(super) const ZERO: Self = Self([[0; SIDE]; SIDE]);

    /// All rows of some tiles, one after the other.
    pub(super) fn rows_mut(tiles: &mut [Self]) -> &mut [[u32; SIDE]] {
        // SAFETY: a tile is its rows, and nothing else.
        unsafe { std::slice::from_raw_parts_mut(tiles.as_mut_ptr().cast(), SIDE * tiles.len()) }
    }

    /// A line's pairs in the left factor, a pair's lines in the right one.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[u32; SIDE] {
        &self.0[row]
    }
}

/// The factor on one side of a product: the left one's lines are its rows, `[line][pair]` in a tile; the right one's are its columns,
/// `[pair][line]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hand {
    Left,
    Right,
}

/// `count` lines of `depth` terms in memory, with the steps from a line and from a term to the next.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a> {
    pub(super) values: &'a [bf16],
    pub(super) count: usize,
    pub(super) depth: usize,
    pub(super) line: usize,
    pub(super) term: usize,
}

impl Lines<'_> {
    /// Fills `tiles` with terms from `first` on: for every 16 lines the tiles of `steps` times 32 terms, zero where there are no
    /// more.
    ///
    /// # Safety
    /// The processor has AVX-512F, BW and VL, and `values` hold all lines.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    pub(super) unsafe fn fill(self, hand: Hand, first: usize, steps: usize, tiles: &mut [Tile]) {
        for (panel, tiles) in tiles.chunks_exact_mut(steps).enumerate() {
            let line = panel * SIDE;
            for (step, tile) in tiles.iter_mut().enumerate() {
                let term = first + step * TERMS;
                let lines = SIDE.min(self.count - line);
                let terms = TERMS.min(self.depth.saturating_sub(term));
                // SAFETY: the caller's promise; these lines and terms are some of all.
                let (rows, of_lines) = unsafe {
                    if self.term == 1 {
                        (self.lines(line, lines, term, terms), true)
                    } else if self.line == 1 {
                        (self.pairs(line, lines, term, terms), false)
                    } else {
                        (self.gathered(line, lines, term, terms), true)
                    }
                };
                let rows = if of_lines == (hand == Hand::Left) { rows } else { transposed(rows) };
                for (to, row) in tile.0.iter_mut().zip(rows) {
                    // SAFETY: a row has 64 bytes.
                    unsafe { _mm512_store_si512(to.as_mut_ptr().cast(), row) };
                }
            }
        }
    }

    /// The pairs of every line, where terms lie side by side.
    ///
    /// # Safety
    /// As for [`fill`](Self::fill), of these lines and terms.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn lines(self, line: usize, lines: usize, term: usize, terms: usize) -> [__m512i; SIDE] {
        let mask = mask(terms);
        std::array::from_fn(|i| {
            if i >= lines {
                return _mm512_setzero_si512();
            }
            let from = self.values.as_ptr().wrapping_add((line + i) * self.line + term);
            // SAFETY: the caller's promise; what is masked out is not read.
            unsafe { _mm512_maskz_loadu_epi16(mask, from.cast()) }
        })
    }

    /// The lines of every pair, where lines lie side by side.
    ///
    /// # Safety
    /// As above.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn pairs(self, line: usize, lines: usize, term: usize, terms: usize) -> [__m512i; SIDE] {
        let mask = mask(lines) as __mmask16;
        std::array::from_fn(|pair| {
            let [low, high] = [2 * pair, 2 * pair + 1].map(|i| {
                if i >= terms {
                    return _mm512_setzero_si512();
                }
                let from = self.values.as_ptr().wrapping_add((term + i) * self.term + line);
                // SAFETY: the caller's promise; what is masked out is not read.
                _mm512_cvtepu16_epi32(unsafe { _mm256_maskz_loadu_epi16(mask, from.cast()) })
            });
            _mm512_or_si512(low, _mm512_slli_epi32::<16>(high))
        })
    }

    /// The pairs of every line, one term at a time.
    ///
    /// # Safety
    /// As above.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    unsafe fn gathered(self, line: usize, lines: usize, term: usize, terms: usize) -> [__m512i; SIDE] {
        let mut tile = Tile::ZERO;
        for (i, row) in tile.0.iter_mut().enumerate().take(lines) {
            for j in 0..terms {
                let value = self.values[(line + i) * self.line + (term + j) * self.term];
                row[j / 2] |= u32::from(value.to_bits()) << (16 * (j % 2));
            }
        }
        // SAFETY: a row has 64 bytes.
        tile.0.each_ref().map(|row| unsafe { _mm512_load_si512(row.as_ptr().cast()) })
    }
}

/// The first `count` of 32.
fn mask(count: usize) -> u32 {
    ((1u64 << count) - 1) as u32
}

/// Rows become columns: pairs of rows are interleaved by one number, by two, by four and by eight.
#[target_feature(enable = "avx512f")]
pub(super) fn transposed(rows: [__m512i; SIDE]) -> [__m512i; SIDE] {
    let mut a = rows;
    for i in (0..SIDE).step_by(2) {
        (a[i], a[i + 1]) = (_mm512_unpacklo_epi32(rows[i], rows[i + 1]), _mm512_unpackhi_epi32(rows[i], rows[i + 1]));
    }
    // `b[4 i + j]` has columns `j`, `j + 4`, `j + 8` and `j + 12` of rows `4 i` to `4 i + 3`.
    let mut b = a;
    for i in (0..SIDE).step_by(4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
        b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
        b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    let mut columns = b;
    for j in 0..4 {
        // Even and odd blocks of four columns, of the first and of the last eight rows.
        let even = [0, 8].map(|i| _mm512_shuffle_i32x4::<0b10_00_10_00>(b[i + j], b[i + j + 4]));
        let odd = [0, 8].map(|i| _mm512_shuffle_i32x4::<0b11_01_11_01>(b[i + j], b[i + j + 4]));
        columns[j] = _mm512_shuffle_i32x4::<0b10_00_10_00>(even[0], even[1]);
        columns[j + 8] = _mm512_shuffle_i32x4::<0b11_01_11_01>(even[0], even[1]);
        columns[j + 4] = _mm512_shuffle_i32x4::<0b10_00_10_00>(odd[0], odd[1]);
        columns[j + 12] = _mm512_shuffle_i32x4::<0b11_01_11_01>(odd[0], odd[1]);
    }
    columns
}
