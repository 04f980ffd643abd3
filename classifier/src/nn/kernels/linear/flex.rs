//! The kernel on the CPU.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::super::buffer::{Values, filled, vector};
use super::super::product::{Matrix, Product};
use super::LinearBackend;
use super::view::View;

/// Rows and columns of a result that a thread takes at a time: they fit the second-level cache.
const PART: [usize; 2] = [256, 512];
/// Least side of a part that pays for packing its operands once more.
const LEAST: usize = 64;
/// Values of the longest vector register.
const LANES: usize = 16;
/// Multiplications below which a product is done before another thread has woken up.
const WORTH_A_THREAD: usize = 1 << 18;

impl LinearBackend for Flex {
    fn linear_map(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        map(&View::of(x), &Values::of(weight), None)
    }

    fn affine_map(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        map(&View::of(x), &Values::of(weight), Some(Values::of(bias).as_slice()))
    }

    fn linear_by_input(weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (weight, gradient) = (Values::of(weight), View::of(gradient));
        let [inputs, outputs] = weight.shape().dims();
        let transposed = Matrix { first: weight.as_slice().as_ptr(), row: 1, column: outputs };
        // SAFETY: the weight is [inputs, outputs], and the gradient has as many columns.
        unsafe { rows_times(&gradient, transposed, inputs, None) }
    }

    fn linear_by_weight(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (x, gradient) = (View::of(x), View::of(gradient));
        let images = x.images.max(gradient.images);
        let (x, gradient) = (x.in_images(images), gradient.in_images(images));
        let [inputs, outputs] = [x.columns, gradient.columns];
        let parts = parts([inputs, outputs], images * x.rows);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Target(out.as_mut_ptr().cast());
            parts.run(|[some_inputs, some_outputs]| {
                for image in 0..images {
                    let seen = x.matrix(image, 0, some_inputs.start);
                    let product = Product {
                        sizes: [some_inputs.len(), some_outputs.len(), x.rows],
                        out: out.matrix(some_inputs.start, some_outputs.start, outputs),
                        add: image > 0,
                        lhs: Matrix { first: seen.first, row: seen.column, column: seen.row },
                        rhs: gradient.matrix(image, 0, some_outputs.start),
                        scale: 1.0,
                    };
                    // SAFETY: both views hold as many rows; parts are other elements of the result.
                    unsafe { product.compute() };
                }
            });
        };
        // SAFETY: the parts are the whole result, and there is an image at least.
        unsafe { filled(Shape::new([inputs, outputs]), write) }
    }

    fn linear_by_bias(gradient: FlexTensor) -> FlexTensor {
        let gradient = Values::of(gradient);
        let shape = gradient.shape();
        vector(column_sums(gradient.as_slice(), shape[shape.num_dims() - 1]))
    }
}

fn map(x: &View, weight: &Values, bias: Option<&[f32]>) -> FlexTensor {
    let [_, outputs] = weight.shape().dims();
    let matrix = Matrix { first: weight.as_slice().as_ptr(), row: outputs, column: 1 };
    // SAFETY: the weight has a row for every column of `x`.
    unsafe { rows_times(x, matrix, outputs, bias) }
}

/// Every row of `x` times a matrix of `outputs` columns, and a bias for each of them.
///
/// # Safety
/// The matrix may be read, and has a row for every column of `x`.
unsafe fn rows_times(x: &View, matrix: Matrix<*const f32>, outputs: usize, bias: Option<&[f32]>) -> FlexTensor {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = outputs;
    let parts = parts([x.rows, outputs], x.images * x.columns);
    let matrix = Shared(matrix);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let out = Target(out.as_mut_ptr().cast());
        let run = |image: usize, [rows, some]: [Range<usize>; 2]| {
            let first_row = image * x.rows + rows.start;
            if let Some(bias) = bias {
                for row in 0..rows.len() {
                    let to = out.matrix(first_row + row, some.start, outputs).first;
                    // SAFETY: the row is inside the output, and this part's alone.
                    unsafe { to.copy_from_nonoverlapping(bias[some.clone()].as_ptr(), some.len()) };
                }
            }
            let Matrix { first, row, column } = matrix.get();
            let product = Product {
                sizes: [rows.len(), some.len(), x.columns],
                out: out.matrix(first_row, some.start, outputs),
                add: bias.is_some(),
                lhs: x.matrix(image, rows.start, 0),
                rhs: Matrix { first: first.wrapping_add(some.start * column), row, column },
                scale: 1.0,
            };
            // SAFETY: the caller's promise; parts are other elements of the output, which hold the bias if there is one.
            unsafe { product.compute() };
        };
        parts.run_images(x.images, run);
    };
    // SAFETY: the parts of all images are the whole output.
    unsafe { filled(shape, write) }
}

/// How a matrix is cut.
struct Parts {
    sizes: [usize; 2],
    part: [usize; 2],
    threads: bool,
}

/// Parts of a matrix whose elements take `depth` multiplications each.
fn parts(sizes: [usize; 2], depth: usize) -> Parts {
    let threads = rayon::current_num_threads();
    let count = |i: usize| sizes[i].div_ceil(PART[i]);
    let mut cuts = [count(0), count(1)];
    // The longer side is cut so that all threads have equally many parts.
    let longer = usize::from(sizes[1] > sizes[0]);
    if !(cuts[0] * cuts[1]).is_multiple_of(threads) {
        let most = (sizes[longer] / LEAST).max(1);
        cuts[longer] = cuts[longer].next_multiple_of(threads).min(most);
    }
    let part = [0, 1].map(|i| sizes[i].div_ceil(cuts[i]).next_multiple_of(LANES));
    Parts { sizes, part, threads: sizes[0] * sizes[1] * depth > WORTH_A_THREAD }
}

impl Parts {
    /// Calls `f` for every part, on all threads if it is worth it.
    fn run(&self, f: impl Fn([Range<usize>; 2]) + Sync) {
        self.run_images(1, |_, part| f(part));
    }

    /// The same for every image of a batch.
    fn run_images(&self, images: usize, f: impl Fn(usize, [Range<usize>; 2]) + Sync) {
        let counts = [0, 1].map(|i| self.sizes[i].div_ceil(self.part[i]));
        let cut = |i: usize, part: usize| part * self.part[i]..self.sizes[i].min((part + 1) * self.part[i]);
        let each = counts[0] * counts[1];
        let task = |task: usize| {
            let part = task % each;
            // Neighbours share their rows.
            f(task / each, [cut(0, part / counts[1]), cut(1, part % counts[1])]);
        };
        if self.threads {
            (0..images * each).into_par_iter().for_each(task);
        } else {
            (0..images * each).for_each(task);
        }
    }
}

/// For each column, the sum over the rows, in 64 bits.
fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    /// Columns that are summed side by side.
    const SIDE_BY_SIDE: usize = 64;
    /// Rows whose sums are taken in 32 bits, as long as they are few.
    const FEW: usize = 32;
    let mut sums = vec![0f32; columns];
    let sum = |(part, sums): (usize, &mut [f32])| {
        let start = part * SIDE_BY_SIDE;
        let mut wide = [0f64; SIDE_BY_SIDE];
        let mut some = [0f32; SIDE_BY_SIDE];
        for rows in values.chunks(FEW * columns) {
            some.fill(0.0);
            for row in rows.chunks_exact(columns) {
                some.iter_mut().zip(&row[start..start + sums.len()]).for_each(|(sum, value)| *sum += value);
            }
            wide.iter_mut().zip(&some).for_each(|(wide, some)| *wide += f64::from(*some));
        }
        sums.iter_mut().zip(&wide).for_each(|(sum, wide)| *sum = *wide as f32);
    };
    if values.len() > WORTH_A_THREAD {
        let parts: Vec<_> = sums.chunks_mut(SIDE_BY_SIDE).enumerate().collect();
        parts.into_par_iter().for_each(sum);
    } else {
        sums.chunks_mut(SIDE_BY_SIDE).enumerate().for_each(sum);
    }
    sums
}

/// The beginning of a result that threads write different elements of.
#[derive(Clone, Copy)]
struct Target(*mut f32);

// SAFETY: threads write different elements.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    /// The matrix from an element on, with rows of `columns` values.
    fn matrix(self, row: usize, column: usize, columns: usize) -> Matrix<*mut f32> {
        Matrix { first: self.0.wrapping_add(row * columns + column), row: columns, column: 1 }
    }
}

/// A matrix that threads read.
#[derive(Clone, Copy)]
struct Shared(Matrix<*const f32>);

// SAFETY: nobody writes it while it is read.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn get(&self) -> Matrix<*const f32> {
        self.0
    }
}
