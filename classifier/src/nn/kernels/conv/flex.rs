//! The kernel on the CPU.

use std::mem::MaybeUninit;

use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;
use burn_flex::{Flex, FlexTensor};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSliceMut};

use super::super::buffer::{Values, filled};
use super::correlation::{Correlation, Weights};
use super::lattice::Axis;
use super::memory::Target;
use super::patches::Source;
use super::weight_gradient::{WeightGradient, bias_gradient};
use super::{ConvolutionBackend, windows};

impl ConvolutionBackend for Flex {
    fn convolve(input: FlexTensor, weight: FlexTensor, options: ConvOptions<2>) -> FlexTensor {
        convolved(input, weight, None, &options)
    }

    fn convolve_biased(input: FlexTensor, weight: FlexTensor, bias: FlexTensor, options: ConvOptions<2>) -> FlexTensor {
        convolved(input, weight, Some(bias), &options)
    }

    fn convolve_by_input(weight: FlexTensor, gradient: FlexTensor, input: [usize; 4], options: ConvOptions<2>) -> FlexTensor {
        let (weight, gradient) = (Values::of(weight), Values::of(gradient));
        let [batch, channels, ..] = input;
        let dims = weight.shape().dims::<4>();
        let [ys, xs] = windows(input, dims, &options).map(|window| window.backward());
        let write = |output: &mut [MaybeUninit<f32>]| {
            if ys.iter().chain(&xs).any(|axis| axis.taps.is_empty()) {
                output.fill(MaybeUninit::new(0.0)); // inputs that strides pass over
            }
            let target = Target::new(output);
            for (y, x) in ys.iter().flat_map(|y| xs.iter().map(move |x| (y, x))) {
                if y.taps.is_empty() || x.taps.is_empty() {
                    continue;
                }
                let turned = turned(weight.as_slice(), dims, [y, x]);
                let correlation = Correlation {
                    axes: [y, x],
                    batch,
                    outputs: channels,
                    source: Source { values: gradient.as_slice(), channels: dims[0] },
                    weights: Weights { values: &turned, output: turned.len() / channels, tap: 1 },
                    bias: None,
                };
                // SAFETY: the target has the input's shape, whose channels are the outputs here.
                unsafe { correlation.write(target) };
            }
        };
        // SAFETY: the grids are the whole input, but for those without taps, and these are zero.
        unsafe { filled(Shape::new(input), write) }
    }

    fn convolve_by_weight(input: FlexTensor, gradient: FlexTensor, weight: [usize; 4], options: ConvOptions<2>) -> FlexTensor {
        let (input, gradient) = (Values::of(input), Values::of(gradient));
        let [batch, channels, ..] = input.shape().dims::<4>();
        let [y, x] = windows(input.shape().dims(), weight, &options).map(|window| window.forward());
        let sums = WeightGradient {
            axes: [&y, &x],
            batch,
            outputs: weight[0],
            source: Source { values: input.as_slice(), channels },
            gradient: gradient.as_slice(),
        };
        // SAFETY: the target has the weight's shape, and all of it is written.
        unsafe { filled(Shape::new(weight), |output| sums.write(Target::new(output))) }
    }

    fn convolve_by_bias(gradient: FlexTensor) -> FlexTensor {
        let gradient = Values::of(gradient);
        let [_, outputs, height, width] = gradient.shape().dims::<4>();
        let sums = bias_gradient(gradient.as_slice(), outputs, height * width);
        let write = |output: &mut [MaybeUninit<f32>]| {
            output.iter_mut().zip(&sums).for_each(|(to, sum)| _ = to.write(*sum));
        };
        // SAFETY: there is a sum for each output.
        unsafe { filled(Shape::new([outputs]), write) }
    }
}

fn convolved(input: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>, options: &ConvOptions<2>) -> FlexTensor {
    let (input, weight, bias) = (Values::of(input), Values::of(weight), bias.map(Values::of));
    let [batch, channels, ..] = input.shape().dims::<4>();
    let [y, x] = windows(input.shape().dims(), weight.shape().dims(), options).map(|window| window.forward());
    let [outputs, _, height, width] = weight.shape().dims::<4>();
    let shape = Shape::new([batch, outputs, y.points, x.points]);
    let correlation = Correlation {
        axes: [&y, &x],
        batch,
        outputs,
        source: Source { values: input.as_slice(), channels },
        weights: Weights { values: weight.as_slice(), output: channels * height * width, tap: 1 },
        bias: bias.as_ref().map(Values::as_slice),
    };
    // SAFETY: the grid is the whole output.
    unsafe { filled(shape, |output| correlation.write(Target::new(output))) }
}

/// A weight `[O, C, kernel, kernel]` as `[C, O, taps, taps]`, with the taps of these axes.
fn turned(weight: &[f32], [outputs, channels, height, width]: [usize; 4], [y, x]: [&Axis; 2]) -> Vec<f32> {
    /// Rows that are written side by side, while the weight is read in its order.
    const ROWS: usize = 16;
    let taps: Vec<_> = y.taps.iter().flat_map(|y| x.taps.iter().map(move |x| y.index * width + x.index)).collect();
    let (kernel, row) = (height * width, outputs * taps.len());
    let mut turned = vec![0.0; channels * row];
    turned.par_chunks_mut(ROWS * row).enumerate().for_each(|(part, rows)| {
        for output in 0..outputs {
            for (i, row) in rows.chunks_exact_mut(row).enumerate() {
                let from = &weight[(output * channels + part * ROWS + i) * kernel..][..kernel];
                let to = &mut row[output * taps.len()..][..taps.len()];
                to.iter_mut().zip(&taps).for_each(|(to, tap)| *to = from[*tap]);
            }
        }
    });
    turned
}
