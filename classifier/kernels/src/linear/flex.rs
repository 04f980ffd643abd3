//! The kernel on the CPU.

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::LinearBackend;
use super::view::View;
use crate::memory::output::{Scattered, Values, filled, vector};
use crate::memory::product::{Matrix, Product};

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
        rows_times(&gradient, Weight { values: weight.as_slice(), steps: [1, outputs] }, inputs, None)
    }

    fn linear_by_weight(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let (x, gradient) = (View::of(x), View::of(gradient));
        let images = x.images.max(gradient.images);
        let (x, gradient) = (x.in_images(images), gradient.in_images(images));
        let [inputs, outputs] = [x.columns, gradient.columns];
        let parts = parts([inputs, outputs], images * x.rows);
        let write = |out: &mut [MaybeUninit<f32>]| {
            let out = Scattered::new(out);
            parts.run(|[some_inputs, some_outputs]| {
                for image in 0..images {
                    let seen = x.matrix(image, 0, some_inputs.start);
                    let product = Product {
                        sizes: [some_inputs.len(), some_outputs.len(), x.rows],
                        out: block(out, some_inputs.start, &some_outputs, some_inputs.len(), outputs),
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
    rows_times(x, Weight { values: weight.as_slice(), steps: [outputs, 1] }, outputs, bias)
}

/// A weight as a matrix or its transpose, without gaps.
#[derive(Clone, Copy)]
struct Weight<'a> {
    values: &'a [f32],
    /// Values from a row and a column to the next.
    steps: [usize; 2],
}

/// Every row of `x` times a weight of `outputs` columns, and a bias for each of them.
fn rows_times(x: &View, weight: Weight, outputs: usize, bias: Option<&[f32]>) -> FlexTensor {
    assert_eq!(weight.values.len(), x.columns * outputs, "a weight has a row for every column");
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = outputs;
    let parts = parts([x.rows, outputs], x.images * x.columns);
    let write = |out: &mut [MaybeUninit<f32>]| {
        let out = Scattered::new(out);
        let run = |image: usize, [rows, some]: [Range<usize>; 2]| {
            let first_row = image * x.rows + rows.start;
            if let Some(bias) = bias {
                for row in first_row..first_row + rows.len() {
                    let to = out.at(row * outputs + some.start, some.len());
                    // SAFETY: `at` has seen that it is inside the output; it is this part's alone.
                    unsafe { to.copy_from_nonoverlapping(bias[some.clone()].as_ptr(), some.len()) };
                }
            }
            let [row, column] = weight.steps;
            let product = Product {
                sizes: [rows.len(), some.len(), x.columns],
                out: block(out, first_row, &some, rows.len(), outputs),
                add: bias.is_some(),
                lhs: x.matrix(image, rows.start, 0),
                rhs: Matrix { first: weight.values[some.start * column..].as_ptr(), row, column },
                scale: 1.0,
            };
            // SAFETY: the view and the weight have been seen to hold these rows and columns; parts are other elements of the output,
            // which hold the bias if there is one.
            unsafe { product.compute() };
        };
        parts.run_images(x.images, run);
    };
    // SAFETY: the parts of all images are the whole output.
    unsafe { filled(shape, write) }
}

/// Some columns of `rows` rows from `first` on, of a result whose rows have `width` values.
fn block(out: Scattered, first: usize, columns: &Range<usize>, rows: usize, width: usize) -> Matrix<*mut f32> {
    let first = out.at(first * width + columns.start, (rows - 1) * width + columns.len());
    Matrix { first, row: width, column: 1 }
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
