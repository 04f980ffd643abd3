//! The types of numbers in memory. Kernels compute in 32 bits, whatever they read and write.

use std::ops::Range;

use burn::tensor::{Element, bf16};

use super::output::Block;
use super::product::{Matrix, Product};
use crate::brain::Packed;
use crate::isa::{self, vectorized};

/// A type that tensors of a kernel may have.
pub(crate) trait Float: Element + bytemuck::Pod {
    /// Whether it is of 32 bits, so that sums grow in places of this type.
    const IS_WIDE: bool;

    /// The same number.
    fn wide(self) -> f32;

    /// The nearest number, of two the one whose last bit is 0; NaN stays NaN.
    fn rounded(wide: f32) -> Self;

    /// The right factor `[K, N]` of products, packed once for all that share it; `None` where they read it as it lies.
    fn packed(matrix: Matrix<Self>, sizes: [usize; 2]) -> Option<Packed>;

    /// See [`Packed::multiply_to`].
    ///
    /// # Panics
    /// If the sizes do not fit, or nothing is [packed](Self::packed) of this type.
    fn multiply_packed(lhs: Matrix<Self>, rhs: &Packed, columns: Range<usize>, bias: Option<&[f32]>, out: &mut Block<Self>);

    /// See [`Packed::multiply_turned_to`].
    ///
    /// # Panics
    /// As [`multiply_packed`](Self::multiply_packed).
    fn multiply_packed_turned(
        lhs: Matrix<Self>,
        rhs: &Packed,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut Block<Self>,
    );

    /// Writes a product's sums, rows and columns `steps` apart, or adds them to what is there.
    ///
    /// # Safety
    /// The factors hold their sizes `[M, K]` and `[K, N]`, of which none is 0; `out` is the first of places that this thread alone uses,
    /// and which hold numbers if `add` is set.
    unsafe fn multiply(product: Product<Self>, sizes: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool);
}

/// The same numbers in 32 bits: themselves, or copied to `room`, which has their length.
#[inline(always)]
pub(crate) fn widened<'a, E: Float>(values: &'a [E], room: &'a mut [f32]) -> &'a [f32] {
    if E::IS_WIDE {
        return bytemuck::cast_slice(values);
    }
    room.iter_mut().zip(values).for_each(|(room, value)| *room = value.wide());
    room
}

/// Numbers as this type has them: themselves, or rounded to `room`, which then has their length.
pub(crate) fn narrowed<'a, E: Float>(values: &'a [f32], room: &'a mut [E]) -> &'a [E] {
    if E::IS_WIDE {
        return bytemuck::cast_slice(values);
    }
    vectorized!(room.iter_mut().zip(values).for_each(|(room, value)| *room = E::rounded(*value)));
    room
}

impl Float for f32 {
    const IS_WIDE: bool = true;

    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rounded(wide: f32) -> Self {
        wide
    }

    fn packed(_: Matrix<Self>, _: [usize; 2]) -> Option<Packed> {
        None
    }

    fn multiply_packed(_: Matrix<Self>, _: &Packed, _: Range<usize>, _: Option<&[f32]>, _: &mut Block<Self>) {
        unreachable!("nothing is packed of 32-bit floats");
    }

    fn multiply_packed_turned(_: Matrix<Self>, _: &Packed, _: Range<usize>, _: Option<&[f32]>, _: &mut Block<Self>) {
        unreachable!("nothing is packed of 32-bit floats");
    }

    unsafe fn multiply(product: Product<Self>, sizes: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool) {
        // SAFETY: the caller's promise.
        unsafe { product.compute(sizes, out, steps, add) };
    }
}

impl Float for bf16 {
    const IS_WIDE: bool = false;

    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// Without branches, unlike the type's own function, so that compilers turn it into vector instructions.
    #[inline(always)]
    fn rounded(wide: f32) -> Self {
        /// Tells quiet NaNs, which may have lost all other bits, from infinity.
        const QUIET: u32 = 0x40;
        let bits = wide.to_bits();
        // Half of the last bit that stays, or just below it where that bit is 0.
        let up = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        Self::from_bits((if wide.is_nan() { bits >> 16 | QUIET } else { up }) as u16)
    }

    fn packed(matrix: Matrix<Self>, sizes: [usize; 2]) -> Option<Packed> {
        Packed::new(isa::brain(), matrix, sizes)
    }

    fn multiply_packed(lhs: Matrix<Self>, rhs: &Packed, columns: Range<usize>, bias: Option<&[f32]>, out: &mut Block<Self>) {
        rhs.multiply_to(lhs, columns, bias, out);
    }

    fn multiply_packed_turned(
        lhs: Matrix<Self>,
        rhs: &Packed,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        out: &mut Block<Self>,
    ) {
        rhs.multiply_turned_to(lhs, columns, bias, out);
    }

    unsafe fn multiply(product: Product<Self>, sizes: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool) {
        // SAFETY: the caller's promise.
        unsafe { crate::brain::multiply(isa::brain(), product, sizes, out, steps, add) };
    }
}

/// Runs a generic function for the type of a tensor's numbers.
macro_rules! by_float {
    ($tensor:expr, $float:ident => $call:expr) => {
        $crate::memory::float::by_dtype!($tensor.dtype(), $float => $call)
    };
}
pub(crate) use by_float;

/// Runs a generic function for a type of numbers.
macro_rules! by_dtype {
    ($dtype:expr, $float:ident => $call:expr) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $float = f32;
                $call
            }
            burn::tensor::DType::BF16 => {
                type $float = burn::tensor::bf16;
                $call
            }
            other => panic!("kernels compute 32-bit floats and brain floats, not {other:?}"),
        }
    };
}
pub(crate) use by_dtype;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `rounded` beside the type's own function, which is another implementation.
    fn rounds_as_the_type_does(bits: u32) {
        let wide = f32::from_bits(bits);
        let (ours, other) = (<bf16 as Float>::rounded(wide), bf16::from_f32(wide));
        assert_eq!(ours.to_bits(), other.to_bits(), "{wide:e}");
        assert_eq!(ours.wide().to_bits(), ours.to_f32().to_bits(), "{wide:e}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn brain_floats_are_rounded_as_their_type_does(bits: u32) {
            rounds_as_the_type_does(bits);
        }
    }

    #[test]
    fn miri_ties_ends_and_nan_are_rounded() {
        for high in [0u32, 1, 0x3f80, 0x3f81, 0x7f7f, 0x7f80, 0x7fc0, 0x7fff, 0x8000, 0xff7f, 0xff80, 0xffff] {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                rounds_as_the_type_does(high << 16 | low);
            }
        }
        // 1 + 2^-8 lies between 1 and 1 + 2^-7.
        assert_eq!(<bf16 as Float>::rounded(1.003_906_25).wide(), 1.0);
        assert!(<bf16 as Float>::rounded(f32::from_bits(0x7f80_0001)).is_nan());
    }
}
