//! The kernel on the CPU.

use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;
use burn_flex::{Flex, FlexTensor};

use super::correlation::Correlation;
use super::depthwise;
use super::patches::Source;
use super::weight_gradient::{WeightGradient, bias_gradient};
use super::weights::{Turned, Weights};
use super::{ConvolutionBackend, windows};
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::{Values, vector};

impl ConvolutionBackend for Flex {
    fn convolve(input: FlexTensor, weight: FlexTensor, options: ConvOptions<2>) -> FlexTensor {
        by_float!(input, E => convolved::<E>(input, weight, None, &options))
    }

    fn convolve_biased(input: FlexTensor, weight: FlexTensor, bias: FlexTensor, options: ConvOptions<2>) -> FlexTensor {
        by_float!(input, E => convolved::<E>(input, weight, Some(bias), &options))
    }

    fn convolve_by_input(weight: FlexTensor, gradient: FlexTensor, input: [usize; 4], options: ConvOptions<2>) -> FlexTensor {
        by_float!(gradient, E => by_input::<E>(weight, gradient, input, &options))
    }

    fn convolve_by_weight(input: FlexTensor, gradient: FlexTensor, weight: [usize; 4], options: ConvOptions<2>) -> FlexTensor {
        by_float!(gradient, E => by_weight::<E>(input, gradient, weight, &options))
    }

    fn convolve_by_bias(gradient: FlexTensor) -> FlexTensor {
        by_float!(gradient, E => by_bias::<E>(gradient))
    }
}

fn convolved<E: Float>(
    input: FlexTensor,
    weight: FlexTensor,
    bias: Option<FlexTensor>,
    options: &ConvOptions<2>,
) -> FlexTensor {
    let (input, weight, bias) = (Values::<E>::of(input), Values::<E>::of(weight), bias.map(Values::<E>::of));
    if options.groups > 1 {
        return depthwise::correlated(&input, &weight, bias.as_ref(), false);
    }
    let [batch, channels, ..] = input.shape().dims::<4>();
    let [y, x] = windows(input.shape().dims(), weight.shape().dims(), options).map(|window| window.forward());
    let [outputs, _, height, width] = weight.shape().dims::<4>();
    let output = Output::<E>::new(Shape::new([batch, outputs, y.points, x.points]));
    let correlation = Correlation {
        axes: [&y, &x],
        batch,
        outputs,
        source: Source { values: input.as_slice(), channels },
        weights: Weights::Straight { values: weight.as_slice(), channels, taps: height * width },
        bias: bias.as_ref().map(Values::as_slice),
    };
    // SAFETY: nobody else writes the output, which is the grid.
    unsafe { correlation.write(output.places()) };
    output.tensor()
}

fn by_input<E: Float>(weight: FlexTensor, gradient: FlexTensor, input: [usize; 4], options: &ConvOptions<2>) -> FlexTensor {
    let (weight, gradient) = (Values::<E>::of(weight), Values::<E>::of(gradient));
    if options.groups > 1 {
        return depthwise::correlated(&gradient, &weight, None, true);
    }
    let [batch, channels, ..] = input;
    let dims @ [outputs, _, height, width] = weight.shape().dims::<4>();
    let [ys, xs] = windows(input, dims, options).map(|window| window.backward());
    let output = Output::<E>::new(Shape::new(input));
    for (y, x) in ys.iter().flat_map(|y| xs.iter().map(move |x| (y, x))) {
        let taps: Vec<_> = y.taps.iter().flat_map(|y| x.taps.iter().map(move |x| y.index * width + x.index)).collect();
        let turned = Turned { values: weight.as_slice(), outputs: channels, kernel: height * width, taps: &taps };
        let correlation = Correlation {
            axes: [y, x],
            batch,
            outputs: channels,
            source: Source { values: gradient.as_slice(), channels: outputs },
            weights: Weights::Turned(turned),
            bias: None,
        };
        // SAFETY: the target has the input's shape, whose channels are the outputs here; grids are other points of it.
        unsafe { correlation.write(output.places()) };
    }
    output.tensor()
}

fn by_weight<E: Float>(input: FlexTensor, gradient: FlexTensor, weight: [usize; 4], options: &ConvOptions<2>) -> FlexTensor {
    let (input, gradient) = (Values::<E>::of(input), Values::<E>::of(gradient));
    if options.groups > 1 {
        return depthwise::by_weight(&input, &gradient, weight);
    }
    let [batch, channels, ..] = input.shape().dims::<4>();
    let [y, x] = windows(input.shape().dims(), weight, options).map(|window| window.forward());
    let sums = WeightGradient {
        axes: [&y, &x],
        batch,
        outputs: weight[0],
        source: Source { values: input.as_slice(), channels },
        gradient: gradient.as_slice(),
    };
    let output = Output::<E>::new(Shape::new(weight));
    // SAFETY: nobody else writes the target, which has the weight's shape.
    unsafe { sums.write(output.places()) };
    output.tensor()
}

fn by_bias<E: Float>(gradient: FlexTensor) -> FlexTensor {
    let gradient = Values::<E>::of(gradient);
    let [_, outputs, height, width] = gradient.shape().dims::<4>();
    vector(bias_gradient(gradient.as_slice(), outputs, height * width))
}
