//! Matrix products on parts of buffers, on the calling thread. Sums are of 32 bits, whatever the factors' type.

#[cfg(not(miri))]
use gemm::Parallelism;

use super::float::Float;
use super::output::Block;

/// A matrix in memory: values from its first element on, and the steps to the next row and to the next column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, E = f32> {
    pub(crate) values: &'a [E],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<E> Matrix<'_, E> {
    /// # Panics
    /// If the matrix does not hold `sizes`, or one of them is 0.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn check(&self, sizes: [usize; 2]) {
        assert!(sizes[0] * sizes[1] > 0, "a matrix of {sizes:?}");
        let (reach, length) = (reach(sizes, [self.row, self.column]), self.values.len());
        assert!(reach <= length, "a matrix of {sizes:?} reaches over {reach} of {length} values");
    }

    pub(crate) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

/// `lhs [M, K] × rhs [K, N]`
#[derive(Clone, Copy)]
pub(crate) struct Product<'a, E = f32> {
    pub(crate) lhs: Matrix<'a, E>,
    pub(crate) rhs: Matrix<'a, E>,
    /// `K`
    pub(crate) depth: usize,
}

impl<E: Float> Product<'_, E> {
    /// Writes the product to a block `[M, N]`, or adds it to what is there.
    ///
    /// # Panics
    /// If sums do not grow in places of this type.
    pub(crate) fn to_block(self, out: &mut Block<E>, add: bool) {
        let sizes = out.sizes();
        self.check(sizes);
        let (first, steps) = out.before_product(add);
        // SAFETY: both factors hold their sizes, as seen; the block is of this size and this task's alone. A product writes every
        // element, and reads them only to add.
        unsafe {
            E::multiply(self, sizes, first, steps, add);
            out.after_product();
        }
    }

    /// Writes the product `sizes` to a slice, rows and columns `steps` apart, or adds it to what is there.
    pub(crate) fn to_slice(self, out: &mut [f32], sizes: [usize; 2], steps: [usize; 2], add: bool) {
        self.check(sizes);
        assert!(reach(sizes, steps) <= out.len(), "a product of {sizes:?} in steps of {steps:?} for {} places", out.len());
        // SAFETY: both factors and the slice hold their sizes, as seen.
        unsafe { E::multiply(self, sizes, out.as_mut_ptr(), steps, add) };
    }

    fn check(&self, [m, n]: [usize; 2]) {
        let Self { lhs, rhs, depth } = self;
        assert!(m * n * depth > 0, "a product of [{m}, {depth}] and [{depth}, {n}]");
        let holds = |matrix: &Matrix<E>, sizes| reach(sizes, [matrix.row, matrix.column]) <= matrix.values.len();
        assert!(
            holds(lhs, [m, *depth]) && holds(rhs, [*depth, n]),
            "the factors of a product [{m}, {n}] over {depth} are too short"
        );
    }
}

impl Product<'_> {
    /// # Safety
    /// The factors hold their sizes; `out` is the first element of places that this thread alone uses, and which hold numbers if
    /// `add` is set.
    #[cfg(not(miri))]
    pub(super) unsafe fn compute(self, [m, n]: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool) {
        let Self { lhs, rhs, depth } = self;
        let step = |step: usize| isize::try_from(step).expect("no buffer is larger than the address space");
        // SAFETY: the caller's promise.
        unsafe {
            gemm::gemm(
                m,
                n,
                depth,
                out,
                step(steps[1]),
                step(steps[0]),
                add,
                lhs.values.as_ptr(),
                step(lhs.column),
                step(lhs.row),
                rhs.values.as_ptr(),
                step(rhs.column),
                step(rhs.row),
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::None,
            );
        }
    }

    /// The same reads and writes one by one: `gemm` asks the processor for its caches by assembly, which Miri does not run.
    ///
    /// # Safety
    /// As above.
    #[cfg(miri)]
    pub(super) unsafe fn compute(self, [m, n]: [usize; 2], out: *mut f32, steps: [usize; 2], add: bool) {
        let Self { lhs, rhs, depth } = self;
        for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
            let factors = (0..depth).map(|k| [row * lhs.row + k * lhs.column, k * rhs.row + column * rhs.column]);
            // SAFETY: the caller's promise.
            unsafe {
                let sum: f32 = factors.map(|[l, r]| *lhs.values.as_ptr().add(l) * *rhs.values.as_ptr().add(r)).sum();
                let place = out.add(row * steps[0] + column * steps[1]);
                place.write(if add { place.read() } else { 0.0 } + sum);
            }
        }
    }
}

/// Elements from the first of a matrix to its last.
fn reach([rows, columns]: [usize; 2], [row, column]: [usize; 2]) -> usize {
    (rows - 1) * row + (columns - 1) * column + 1
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use burn::tensor::Shape;
    use rayon::iter::ParallelIterator;

    use super::*;
    use crate::memory::output::Output;
    use crate::memory::values::Values;

    /// `[2, 3]` and `[3, 2]`; the second lies transposed in memory.
    const FACTORS: [[f32; 6]; 2] = [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 2.0, 0.0, 1.0, 1.0]];

    fn product<'a>() -> Product<'a> {
        let lhs = Matrix { values: &FACTORS[0], row: 3, column: 1 };
        let rhs = Matrix { values: &FACTORS[1], row: 3, column: 1 }.transposed();
        Product { lhs, rhs, depth: 3 }
    }

    #[test]
    fn miri_products_are_written_and_added() {
        // [[1, 2, 3], [4, 5, 6]] x [[1, 0], [0, 1], [2, 1]] = [[7, 5], [16, 11]]
        let mut slice = [0f32; 7];
        product().to_slice(&mut slice, [2, 2], [5, 1], false);
        assert_eq!(slice, [7.0, 5.0, 0.0, 0.0, 0.0, 16.0, 11.0]);
        product().to_slice(&mut slice, [2, 2], [5, 1], true);
        assert_eq!(slice, [14.0, 10.0, 0.0, 0.0, 0.0, 32.0, 22.0]);

        let out = Output::new(Shape::new([2, 3]));
        // SAFETY: the first column, and the others.
        let (mut first, mut block) = unsafe { (out.places().claim(0, [2, 1], [3, 1]), out.places().claim(1, [2, 2], [3, 1])) };
        first.fill_rows(|_| [1.0]);
        product().to_block(&mut block, false);
        product().to_block(&mut block, true);
        drop((first, block));
        assert_eq!(Values::<f32>::of(out.tensor()).as_slice(), [1.0, 14.0, 10.0, 1.0, 32.0, 22.0]);
    }

    #[test]
    fn miri_factors_and_places_that_are_too_short_are_refused() {
        let refused = |f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
        refused(&|| product().to_slice(&mut [0.0; 6], [2, 2], [5, 1], false));
        refused(&|| product().to_slice(&mut [0.0; 9], [3, 2], [3, 1], false));
        refused(&|| product().to_slice(&mut [0.0; 9], [2, 3], [3, 1], false));
        refused(&|| Product { depth: 4, ..product() }.to_slice(&mut [0.0; 4], [2, 2], [2, 1], false));
        refused(&|| Product { depth: 0, ..product() }.to_slice(&mut [0.0; 4], [2, 2], [2, 1], false));
        let block = |add: bool, times: usize| {
            let mut out = Output::new(Shape::new([2, 2]));
            let mut block = out.interleaved([2, 1, 2]).collect::<Vec<_>>();
            (0..times).for_each(|_| product().to_block(&mut block[0], add));
        };
        // Nothing to add to, and written twice.
        refused(&|| block(true, 1));
        refused(&|| block(false, 2));
        block(false, 1);
    }
}
