//! The kernel on the CPU.

use std::ops::Range;

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::LinearBackend;
use super::view::View;
use crate::memory::output::{Block, Output, Places};
use crate::memory::product::{Matrix, Product};
use crate::memory::values::{Values, vector};

/// Rows and columns of a result that a thread takes at a time: they fit the second-level cache.
const PART: [usize; 2] = [256, 512];
/// Smallest side of a part for which packing its operands again is worth it.
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
        assert!(x.images == images && gradient.images == images && x.rows == gradient.rows, "a gradient has its output's rows");
        let parts = parts([inputs, outputs], images * x.rows);
        let output = Output::new(Shape::new([inputs, outputs]));
        parts.run(|[some_inputs, some_outputs]| {
            // SAFETY: parts are other elements of the result.
            let mut out = unsafe { block(output.places(), some_inputs.start, &some_outputs, some_inputs.len(), outputs) };
            for image in 0..images {
                let product = Product {
                    lhs: x.matrix(image, 0, some_inputs.start).transposed(),
                    rhs: gradient.matrix(image, 0, some_outputs.start),
                    depth: x.rows,
                };
                product.to_block(&mut out, image > 0);
            }
        });
        output.tensor()
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
    let output = Output::new(shape);
    parts.run_images(x.images, |image, [rows, some]: [Range<usize>; 2]| {
        // SAFETY: parts are other elements of the output.
        let mut out = unsafe { block(output.places(), image * x.rows + rows.start, &some, rows.len(), outputs) };
        if let Some(bias) = bias {
            out.fill_rows(|_| bias[some.clone()].iter().copied());
        }
        let [row, column] = weight.steps;
        let product = Product {
            lhs: x.matrix(image, rows.start, 0),
            rhs: Matrix { values: &weight.values[some.start * column..], row, column },
            depth: x.columns,
        };
        product.to_block(&mut out, bias.is_some());
    });
    output.tensor()
}

/// Some columns of `rows` rows from `first` on, of a result whose rows have `width` values.
///
/// # Safety
/// No other block of the result has any of these.
unsafe fn block<'a>(result: &'a Places, first: usize, columns: &Range<usize>, rows: usize, width: usize) -> Block<'a> {
    // SAFETY: the caller's promise.
    unsafe { result.claim(first * width + columns.start, [rows, columns.len()], [width, 1]) }
}

/// The division of a matrix.
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
    /// Calls `f` for every part, on all threads if that is worth it.
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
