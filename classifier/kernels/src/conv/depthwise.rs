//! Convolution of each channel by itself, with an odd square kernel, a stride of 1 and as much padding as keeps the sides.
//!
//! A plane is padded into rows one behind the other. Every tap is then one shift of the whole plane: a run of products with one weight,
//! of any length, however narrow the image. What comes out beside the image, in the padding of the rows, is dropped.

use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use crate::isa;
use crate::memory::float::Float;
use crate::memory::output::Output;
use crate::memory::scratch::with_scratch;
use crate::memory::values::Values;

/// Values that are summed in registers.
const LANES: usize = 64;

/// Whether these are such a convolution.
pub(super) fn is_depthwise(input: [usize; 4], weight: [usize; 4], options: &ConvOptions<2>) -> bool {
    let [outputs, channels, height, width] = weight;
    channels == 1
        && outputs == input[1]
        && options.groups == outputs
        && height == width
        && height % 2 == 1
        && options.stride == [1, 1]
        && options.dilation == [1, 1]
        && options.padding == [(height / 2, height / 2); 2]
}

/// A plane and its kernel.
#[derive(Clone, Copy)]
struct Plane {
    height: usize,
    width: usize,
    /// Side of the kernel.
    side: usize,
}

impl Plane {
    fn new([_, _, height, width]: [usize; 4], side: usize) -> Self {
        Self { height, width, side }
    }

    fn len(self) -> usize {
        self.height * self.width
    }

    fn border(self) -> usize {
        self.side / 2
    }

    /// Length of a padded row.
    fn row(self) -> usize {
        self.width + 2 * self.border()
    }

    /// What is computed: rows of the image, with what comes out beside it, in whole runs.
    fn computed(self) -> usize {
        (self.height * self.row()).next_multiple_of(LANES)
    }

    /// Length of a padded plane, and what the last run reads behind it.
    fn padded(self) -> usize {
        self.computed() + self.shift(self.side - 1, self.side - 1)
    }

    /// How far a tap of the kernel is from the first one.
    fn shift(self, row: usize, column: usize) -> usize {
        row * self.row() + column
    }

    /// Writes the plane into `padded`, whose other values are 0; its first row is behind `above` rows of padding, its first column behind
    /// `before` columns.
    fn pad<E: Float>(self, plane: &[E], [above, before]: [usize; 2], padded: &mut [f32]) {
        padded.fill(0.0);
        for (row, values) in plane.chunks_exact(self.width).enumerate() {
            let to = &mut padded[(row + above) * self.row() + before..][..self.width];
            to.iter_mut().zip(values).for_each(|(to, value)| *to = value.wide());
        }
    }
}

/// The output, or with `turned` kernels the gradient w.r.t. the input.
pub(super) fn correlated<E: Float>(
    input: &Values<E>,
    weight: &Values<E>,
    bias: Option<&Values<E>>,
    turned: bool,
) -> FlexTensor {
    let (dims, [channels, _, side, _]) = (input.shape().dims::<4>(), weight.shape().dims::<4>());
    let plane = Plane::new(dims, side);
    let mut output = Output::<E>::new(Shape::new(dims));
    let (input, weight, bias) = (input.as_slice(), weight.as_slice(), bias.map(Values::as_slice));
    let mut whole = output.whole();
    whole.par_chunks(plane.len()).enumerate().for_each(|(i, mut out)| {
        let channel = i % channels;
        let kernel = &weight[channel * side * side..][..side * side];
        let mut kernel: Vec<f32> = kernel.iter().map(|weight| weight.wide()).collect();
        if turned {
            kernel.reverse();
        }
        with_scratch::<E, _, _>([], [plane.padded(), plane.computed()], |[], [padded, computed]| {
            plane.pad(&input[i * plane.len()..][..plane.len()], [plane.border(); 2], padded);
            let start = bias.map_or(0.0, |bias| bias[channel].wide());
            isa::run(Correlate { plane, padded, kernel: &kernel, start, out: computed });
            for row in computed.chunks_exact(plane.row()).take(plane.height) {
                out.append(plane.width, row[..plane.width].iter().copied());
            }
        });
    });
    drop(whole);
    output.tensor()
}

struct Correlate<'a> {
    plane: Plane,
    padded: &'a [f32],
    kernel: &'a [f32],
    start: f32,
    out: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { plane, padded, kernel, start, out } = self;
        for (run, out) in out.chunks_exact_mut(LANES).enumerate() {
            let mut sums = [start; LANES];
            for (row, weights) in kernel.chunks_exact(plane.side).enumerate() {
                let values = &padded[run * LANES + plane.shift(row, 0)..][..LANES + plane.side - 1];
                for (column, weight) in weights.iter().enumerate() {
                    let values = &values[column..][..LANES];
                    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}

/// The gradient w.r.t. the weight: for every channel, and of every image in turn.
pub(super) fn by_weight<E: Float>(input: &Values<E>, gradient: &Values<E>, weight: [usize; 4]) -> FlexTensor {
    let dims @ [batch, channels, ..] = input.shape().dims::<4>();
    let plane = Plane::new(dims, weight[2]);
    let taps = plane.side * plane.side;
    let mut sums = vec![0f32; channels * taps];
    let (input, gradient) = (input.as_slice(), gradient.as_slice());
    sums.par_chunks_mut(taps).enumerate().for_each(|(channel, sums)| {
        with_scratch::<E, _, _>([], [plane.padded(), plane.padded()], |[], [padded, pulls]| {
            for image in 0..batch {
                let values = (image * channels + channel) * plane.len()..(image * channels + channel + 1) * plane.len();
                plane.pad(&input[values.clone()], [plane.border(); 2], padded);
                plane.pad(&gradient[values], [0, 0], pulls);
                isa::run(Taps { plane, padded, pulls: &pulls[..plane.computed()], sums });
            }
        });
    });
    let mut output = Output::<E>::new(Shape::new(weight));
    let mut whole = output.whole();
    whole.append(sums.len(), sums);
    drop(whole);
    output.tensor()
}

struct Taps<'a> {
    plane: Plane,
    padded: &'a [f32],
    pulls: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { plane, padded, pulls, sums } = self;
        for (tap, sum) in sums.iter_mut().enumerate() {
            let values = &padded[plane.shift(tap / plane.side, tap % plane.side)..][..pulls.len()];
            let mut lanes = [0f32; LANES];
            for (values, pulls) in values.chunks_exact(LANES).zip(pulls.chunks_exact(LANES)) {
                lanes.iter_mut().zip(values).zip(pulls).for_each(|((lane, value), pull)| *lane += value * pull);
            }
            *sum += lanes.iter().sum::<f32>();
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Tensor, Tolerance, module};
    use proptest::prelude::*;

    use super::*;
    use crate::conv::conv2d;
    use crate::testing::{Draws, with_gradients};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn equals_burns_with_its_gradients(
            batch in 1usize..3,
            channels in 2usize..5,
            height in 1usize..24,
            width in 1usize..24,
            border in 0usize..4,
            seed: u64,
        ) {
            let mut draws = Draws::new(seed);
            let side = 2 * border + 1;
            let inputs = [draws.uniform([batch, channels, height, width]), draws.uniform([channels, 1, side, side])];
            let bias: Tensor<1> = draws.uniform([channels]);
            let options = ConvOptions::new([1, 1], [border; 2], [1, 1], channels);
            prop_assert!(is_depthwise(inputs[0].dims(), inputs[1].dims(), &options));
            let ours = with_gradients(inputs.clone(), |[x, weight]| conv2d(x, weight, Some(bias.clone()), options.clone()));
            let burns = with_gradients(inputs, |[x, weight]| module::conv2d(x, weight, Some(bias.clone()), options.clone()));
            for (ours, burns) in ours.iter().zip(&burns) {
                ours.assert_approx_eq::<f32>(burns, Tolerance::absolute(1e-4));
            }
        }
    }
}
