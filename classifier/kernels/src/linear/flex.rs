//! The kernel on the CPU.

use std::ops::Range;

use burn::tensor::Shape;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IntoParallelIterator, ParallelIterator};

use super::LinearBackend;
use super::view::View;
use crate::isa::vectorized;
use crate::memory::float::{Float, by_float};
use crate::memory::output::{Block, Output, Places};
use crate::memory::product::{Matrix, Product};
use crate::memory::scratch::with_scratch;
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
        by_float!(x, E => map::<E>(x, weight, None))
    }

    fn affine_map(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        by_float!(x, E => map::<E>(x, weight, Some(bias)))
    }

    fn linear_by_input(weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => by_input::<E>(weight, gradient))
    }

    fn linear_by_weight(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => by_weight::<E>(x, gradient))
    }

    fn linear_by_bias(gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => by_bias::<E>(gradient))
    }
}

fn map<E: Float>(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let (x, weight, bias) = (View::<E>::of(x), View::<E>::of(weight), bias.map(Values::<E>::of));
    rows_times(&x, weight.matrix(0, 0, 0), weight.columns, bias.as_ref().map(Values::as_slice))
}

fn by_input<E: Float>(weight: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (weight, gradient) = (View::<E>::of(weight), View::<E>::of(gradient));
    rows_times(&gradient, weight.matrix(0, 0, 0).transposed(), weight.rows, None)
}

fn by_weight<E: Float>(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (x, gradient) = (View::<E>::of(x), View::<E>::of(gradient));
    let images = x.images.max(gradient.images);
    let (x, gradient) = (x.in_images(images), gradient.in_images(images));
    let [inputs, outputs] = [x.columns, gradient.columns];
    assert!(x.images == images && gradient.images == images && x.rows == gradient.rows, "a gradient has its output's rows");
    let parts = parts([inputs, outputs], images * x.rows);
    let output = Output::<E>::new(Shape::new([inputs, outputs]));
    parts.run(|[some_inputs, some_outputs]| {
        // SAFETY: parts are other elements of the result.
        let mut out = unsafe { block(output.places(), some_inputs.start, &some_outputs, some_inputs.len(), outputs) };
        let terms = (0..images).map(|image| Product {
            lhs: x.matrix(image, 0, some_inputs.start).transposed(),
            rhs: gradient.matrix(image, 0, some_outputs.start),
            depth: x.rows,
        });
        sum_to_block(terms, None, &mut out);
    });
    output.tensor()
}

fn by_bias<E: Float>(gradient: FlexTensor) -> FlexTensor {
    let gradient = Values::<E>::of(gradient);
    let shape = gradient.shape();
    vector(column_sums(gradient.as_slice(), shape[shape.num_dims() - 1]))
}

/// Every row of `x` times a weight of `outputs` columns, and a bias for each of them.
fn rows_times<E: Float>(x: &View<E>, weight: Matrix<E>, outputs: usize, bias: Option<&[E]>) -> FlexTensor {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = outputs;
    let parts = parts([x.rows, outputs], x.images * x.columns);
    // Of a weight whose columns lie without gaps, as files have it, the few rows that it is multiplied by are packed and not itself.
    let turned = weight.row == 1 && x.images == 1 && x.rows < outputs;
    let packed = match turned {
        true => E::packed(x.matrix(0, 0, 0).transposed(), [x.columns, x.rows]),
        false => E::packed(weight, [x.columns, outputs]),
    };
    let wide_bias: Option<Vec<f32>> = packed.as_ref().and(bias).map(|bias| bias.iter().map(|bias| bias.wide()).collect());
    let output = Output::<E>::new(shape);
    parts.run_images(x.images, |image, [rows, some]: [Range<usize>; 2]| {
        // SAFETY: parts are other elements of the output.
        let mut out = unsafe { block(output.places(), image * x.rows + rows.start, &some, rows.len(), outputs) };
        let of_outputs = Matrix { values: &weight.values[some.start * weight.column..], ..weight };
        if let Some(packed) = &packed {
            let bias = wide_bias.as_ref().map(|bias| &bias[some.clone()]);
            return match turned {
                true => E::multiply_packed_turned(of_outputs.transposed(), packed, rows, bias, &mut out),
                false => E::multiply_packed(x.matrix(image, rows.start, 0), packed, some, bias, &mut out),
            };
        }
        let product = Product { lhs: x.matrix(image, rows.start, 0), rhs: of_outputs, depth: x.columns };
        sum_to_block([product], bias.map(|bias| &bias[some]), &mut out);
    });
    output.tensor()
}

/// Writes a sum of products, and a bias for each column. It grows where it stays if that is of 32 bits, else beside it.
fn sum_to_block<'a, E: Float>(terms: impl IntoIterator<Item = Product<'a, E>>, bias: Option<&[E]>, out: &mut Block<E>) {
    if E::IS_WIDE {
        if let Some(bias) = bias {
            out.fill_rows(|_| bias.iter().map(|bias| bias.wide()));
        }
        for (i, term) in terms.into_iter().enumerate() {
            term.to_block(out, bias.is_some() || i > 0);
        }
        return;
    }
    let sizes @ [_, columns] = out.sizes();
    with_scratch::<E, _, _>([], [out.len()], |[], [sums]| {
        for (i, term) in terms.into_iter().enumerate() {
            term.to_slice(sums, sizes, [columns, 1], i > 0);
        }
        let row = |row: usize| &sums[row * columns..][..columns];
        match bias {
            Some(bias) => vectorized!(out.fill_rows(|i| row(i).iter().zip(bias).map(|(sum, bias)| sum + bias.wide()))),
            None => vectorized!(out.fill_rows(|i| row(i).iter().copied())),
        }
    });
}

/// Some columns of `rows` rows from `first` on, of a result whose rows have `width` values.
///
/// # Safety
/// No other block of the result has any of these.
unsafe fn block<'a, E: Float>(
    result: &'a Places<E>,
    first: usize,
    columns: &Range<usize>,
    rows: usize,
    width: usize,
) -> Block<'a, E> {
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
fn column_sums<E: Float>(values: &[E], columns: usize) -> Vec<E> {
    /// Columns that are summed side by side.
    const SIDE_BY_SIDE: usize = 64;
    /// Rows whose sums are taken in 32 bits, as long as they are few.
    const FEW: usize = 32;
    let mut sums = vec![E::default(); columns];
    let sum = |(part, sums): (usize, &mut [E])| {
        let start = part * SIDE_BY_SIDE;
        let mut wide = [0f64; SIDE_BY_SIDE];
        let mut some = [0f32; SIDE_BY_SIDE];
        for rows in values.chunks(FEW * columns) {
            some.fill(0.0);
            for row in rows.chunks_exact(columns) {
                some.iter_mut().zip(&row[start..start + sums.len()]).for_each(|(sum, value)| *sum += value.wide());
            }
            wide.iter_mut().zip(&some).for_each(|(wide, some)| *wide += f64::from(*some));
        }
        sums.iter_mut().zip(&wide).for_each(|(sum, wide)| *sum = E::rounded(*wide as f32));
    };
    if values.len() > WORTH_A_THREAD {
        let parts: Vec<_> = sums.chunks_mut(SIDE_BY_SIDE).enumerate().collect();
        parts.into_par_iter().for_each(sum);
    } else {
        sums.chunks_mut(SIDE_BY_SIDE).enumerate().for_each(sum);
    }
    sums
}
