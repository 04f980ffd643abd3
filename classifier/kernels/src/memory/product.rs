//! Matrix products on parts of buffers, on the calling thread.

use gemm::Parallelism;

/// A matrix in memory: its first element, and the steps to the next row and to the next column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<P> {
    pub(crate) first: P,
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<P> Matrix<P> {
    pub(crate) fn transposed(self) -> Self {
        Self { first: self.first, row: self.column, column: self.row }
    }
}

/// `lhs [M, K] × rhs [K, N] * scale`, written to `out [M, N]` or added to it.
pub(crate) struct Product {
    /// `[M, N, K]`
    pub(crate) sizes: [usize; 3],
    pub(crate) out: Matrix<*mut f32>,
    pub(crate) add: bool,
    pub(crate) lhs: Matrix<*const f32>,
    pub(crate) rhs: Matrix<*const f32>,
    pub(crate) scale: f32,
}

impl Product {
    /// # Safety
    /// All elements that the sizes and steps name must lie in buffers that may be read, and those of `out` written, by this
    /// thread alone while it runs. Those of `out` need not be initialised unless `add` is set.
    pub(crate) unsafe fn compute(self) {
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
