//! Matrix products on parts of buffers, on the calling thread.

use gemm::Parallelism;

/// A matrix in memory: its first element, and the steps to the next row and to the next column.
#[derive(Clone, Copy)]
pub(super) struct Matrix<P> {
    pub(super) first: P,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl<P> Matrix<P> {
    pub(super) fn transposed(self) -> Self {
        Self { first: self.first, row: self.column, column: self.row }
    }
}

/// `lhs [M, K] × rhs [K, N] * scale`, written to `out [M, N]` or added to it.
pub(super) struct Product {
    /// `[M, N, K]`
    pub(super) sizes: [usize; 3],
    pub(super) out: Matrix<*mut f32>,
    pub(super) add: bool,
    pub(super) lhs: Matrix<*const f32>,
    pub(super) rhs: Matrix<*const f32>,
    pub(super) scale: f32,
}

impl Product {
    /// # Safety
    /// All elements that the sizes and steps name must lie in buffers that may be read, and those of `out` written, by this
    /// thread alone while it runs. Those of `out` need not be initialised unless `add` is set.
    pub(super) unsafe fn compute(self) {
        let Self { sizes: [m, n, k], out, add, lhs, rhs, scale } = self;
        let step = |step: usize| isize::try_from(step).expect("no buffer is larger than the address space");
        // SAFETY: the caller's promise.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.first,
                step(out.column),
                step(out.row),
                add,
                lhs.first,
                step(lhs.column),
                step(lhs.row),
                rhs.first,
                step(rhs.column),
                step(rhs.row),
                1.0,
                scale,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }
}
