//! AVX-512's products of pairs: `sum + a b + c d` in each of 16 lanes.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::block::{Block, Rows};
use super::pack::{SIDE, Tile};

/// Writes the block's sums, or adds them to what is there.
///
/// # Safety
/// The processor has AVX-512F and AVX-512 for brain floats, and the block's promises hold.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn add(block: Block) {
    for (i, left) in block.left.first.into_iter().enumerate() {
        for (j, right) in block.right.into_iter().enumerate() {
            if left.is_null() || right.is_empty() {
                continue;
            }
            let out = block.out.wrapping_add(i * SIDE * block.row + j * SIDE);
            // SAFETY: the caller's promises, of these 16 rows and columns.
            unsafe { add_tile((left, block.left), right, out, block.row, block.add) };
        }
    }
}

/// # Safety
/// As above.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn add_tile((left, steps): (*const u8, Rows), right: &[Tile], out: *mut f32, row: usize, add: bool) {
    let mut sums: [__m512; SIDE] = std::array::from_fn(|i| {
        // SAFETY: the row has 16 numbers, says the caller.
        if add { unsafe { _mm512_loadu_ps(out.wrapping_add(i * row)) } } else { _mm512_setzero_ps() }
    });
    for (i, right) in right.iter().enumerate() {
        let left = left.wrapping_add(i * steps.tile);
        for pair in 0..SIDE {
            // SAFETY: a row of a tile has 64 bytes.
            let of_columns = pairs(unsafe { _mm512_load_si512(right.row(pair).as_ptr().cast()) });
            for (line, sum) in sums.iter_mut().enumerate() {
                let of_row = left.wrapping_add(line * steps.line).cast::<i32>().wrapping_add(pair);
                // SAFETY: the row has as many terms as the columns, says the caller.
                let of_row = unsafe { of_row.read_unaligned() };
                *sum = _mm512_dpbf16_ps(*sum, pairs(_mm512_set1_epi32(of_row)), of_columns);
            }
        }
    }
    for (i, sum) in sums.into_iter().enumerate() {
        // SAFETY: as above.
        unsafe { _mm512_storeu_ps(out.wrapping_add(i * row), sum) };
    }
}

/// The same bits, as pairs of brain floats.
#[target_feature(enable = "avx512f")]
fn pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are registers of 512 bits, and any bits are a value.
    unsafe { std::mem::transmute(bits) }
}
