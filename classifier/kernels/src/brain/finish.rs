//! What becomes of a block's sums: a bias is added, and the results are rounded to brain floats.

use std::arch::x86_64::{
    __m256bh, __m256i, __mmask16, _mm256_mask_storeu_epi16, _mm512_add_ps, _mm512_castps_si512, _mm512_castsi512_ps,
    _mm512_cvtneps_pbh, _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_setzero_ps,
};

use burn::tensor::bf16;

use super::pack::{SIDE, transposed};

/// Writes `sizes` results of the sums that begin in a column of the product; sums and results come with the steps from a row to the next.
///
/// # Safety
/// The processor has AVX-512F, BW, VL and AVX-512 for brain floats. The sums are whole vectors; the results' places are of these sizes and
/// this thread's alone.
///
/// # Panics
/// If the bias has fewer columns.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn write(
    bias: Option<&[f32]>,
    column: usize,
    sizes: [usize; 2],
    sums: (*const f32, usize),
    results: (*mut bf16, usize),
) {
    let [rows, columns] = sizes;
    for first in (0..columns).step_by(SIDE) {
        let count = SIDE.min(columns - first);
        let mask = ((1u32 << count) - 1) as __mmask16;
        let bias = match bias {
            // SAFETY: the slice has as many numbers as are read.
            Some(bias) => unsafe { _mm512_maskz_loadu_ps(mask, bias[column + first..][..count].as_ptr()) },
            None => _mm512_setzero_ps(),
        };
        for row in 0..rows {
            // SAFETY: the caller's promise; what is masked out is not written, and any bits are a vector of 16-bit numbers.
            unsafe {
                let sums = _mm512_loadu_ps(sums.0.wrapping_add(row * sums.1 + first));
                let result = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(_mm512_add_ps(sums, bias)));
                _mm256_mask_storeu_epi16(results.0.wrapping_add(row * results.1 + first).cast(), mask, result);
            }
        }
    }
}

/// The same, turned: rows of the sums become columns of the results, and the bias begins at a row of the product.
///
/// # Safety
/// As for [`write()`]; the sums are whole panels of rows, too.
///
/// # Panics
/// If the bias has fewer rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) unsafe fn write_turned(
    bias: Option<&[f32]>,
    row: usize,
    sizes: [usize; 2],
    sums: (*const f32, usize),
    results: (*mut bf16, usize),
) {
    let [rows, columns] = sizes;
    for first in (0..rows).step_by(SIDE) {
        let count = SIDE.min(rows - first);
        let mask = ((1u32 << count) - 1) as __mmask16;
        let bias = match bias {
            // SAFETY: the slice has as many numbers as are read.
            Some(bias) => unsafe { _mm512_maskz_loadu_ps(mask, bias[row + first..][..count].as_ptr()) },
            None => _mm512_setzero_ps(),
        };
        for left in (0..columns).step_by(SIDE) {
            let lines = std::array::from_fn(|line| {
                let sums = sums.0.wrapping_add((first + line) * sums.1 + left);
                // SAFETY: the caller's promise.
                _mm512_castps_si512(unsafe { _mm512_loadu_ps(sums) })
            });
            for (column, line) in (left..columns).zip(transposed(lines)) {
                let sums = _mm512_add_ps(_mm512_castsi512_ps(line), bias);
                // SAFETY: the caller's promise; what is masked out is not written, and any bits are a vector of 16-bit numbers.
                unsafe {
                    let result = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(sums));
                    _mm256_mask_storeu_epi16(results.0.wrapping_add(column * results.1 + first).cast(), mask, result);
                }
            }
        }
    }
}
