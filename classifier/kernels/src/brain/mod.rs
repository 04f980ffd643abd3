//! Products of matrices of brain floats (bfloat16: a 32-bit float without its last 16 bits), with sums in 32 bits.
//!
//! Three units make them, of which [`isa::brain`](crate::isa::brain) chooses one: the tiles of AMX, AVX-512's products of pairs, and
//! [`wide`], which is a product of 32-bit floats. The first two read the same order of their factors: panels of 16 rows or
//! columns, in [tiles](pack::Tile) of 32 terms. Factors are packed so a few hundred terms at a time, which stay in a core's caches; the rows of a
//! left factor whose terms lie side by side are read where they are, and a right factor that many parts of a product share is
//! [packed once](Packed).
//!
//! Products of two brain floats are exact in 32 bits. Tiles and pairs round sums to nearest, and take subnormal numbers for 0.

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod block;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod dots;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod finish;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod left;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod pack;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod packed;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[path = "unpacked.rs"]
mod packed;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod panel;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod panels;
#[cfg(test)]
mod tests;
#[cfg(all(target_arch = "x86_64", not(miri)))]
mod tiles;
mod wide;

use burn::tensor::bf16;

use crate::isa::Brain;
use crate::memory::product::Product;

#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use left::Left;
pub(crate) use packed::Packed;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
pub(crate) use packed::{Left, Panels};
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) use panel::Panels;

/// Writes a product's sums, rows and columns `steps` apart, or adds them to what is there.
///
/// # Panics
/// If neither the rows nor the columns of the sums lie side by side.
///
/// # Safety
/// The processor has the unit. The factors hold their sizes `[M, K]` and `[K, N]`, of which none is 0; `out` is the first of places that
/// this thread alone uses, and which hold numbers if `add` is set.
pub(crate) unsafe fn multiply(
    unit: Brain,
    product: Product<bf16>,
    sizes: [usize; 2],
    out: *mut f32,
    steps: [usize; 2],
    add: bool,
) {
    match unit {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: the caller's promise; `Brain::Tiles` is there where AMX is and may be used, and the tiles are configured meanwhile.
        Brain::Tiles => unsafe {
            let _configured = tiles::Configured::new();
            panels::multiply(|block| tiles::add(block), product, sizes, out, steps, add);
        },
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: the caller's promise.
        Brain::Dots => unsafe { panels::multiply(|block| dots::add(block), product, sizes, out, steps, add) },
        // SAFETY: the caller's promise.
        Brain::Wide => unsafe { wide::multiply(product, sizes, out, steps, add) },
    }
}
