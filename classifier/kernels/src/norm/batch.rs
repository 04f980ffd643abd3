//! Batch norm: one pass over memory forward, one backward, where a channel fits the cache.

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator};

use super::moments::Moments;
use super::plane::{Line, Plane, Pullback, ROOM};
use super::problem::{Input, Pulled, Pulls};
use crate::elementwise::function::Function;
use crate::isa;
use crate::memory::float::Float;
use crate::memory::output::{Block, Output};
use crate::memory::values::PIECE;

/// The division of a tensor.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    channels: usize,
    /// Elements of a plane.
    plane: usize,
}

impl Sizes {
    fn of(shape: &Shape) -> Self {
        Self { batch: shape[0], channels: shape[1], plane: shape[2..].iter().product() }
    }

    fn all(self) -> [usize; 3] {
        [self.batch, self.channels, self.plane]
    }

    /// The planes of a channel.
    fn planes<E>(self, values: &[E], channel: usize) -> impl Iterator<Item = &[E]> {
        values.chunks(self.plane).skip(channel).step_by(self.channels)
    }

    /// Channels that a thread takes at a time.
    fn channels_at_a_time(self) -> usize {
        (PIECE / (self.batch * self.plane)).max(1)
    }
}

/// The output, and mean and variance of every channel.
pub(crate) fn forward<E: Float, F: Function>(input: &Input<E>) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(&input.x.shape());
    let x = input.x.as_slice();
    let mut output = Output::<E>::new(input.x.shape());
    let mut statistics = Vec::new();
    let normalise = |(channel, mut out): (usize, Block<E>)| {
        isa::run(|| {
            let moments = sizes.planes(x, channel).map(Moments::of).fold(Moments::default(), Moments::and);
            let line = Line::normalising([moments.mean(), moments.rstd(input.epsilon)], input.affine(channel));
            sizes.planes(x, channel).for_each(|x| line.write::<E, F>(x, &mut out));
            [moments.mean() as f32, moments.variance() as f32]
        })
    };
    let channels = output.interleaved(sizes.all()).enumerate();
    channels.with_min_len(sizes.channels_at_a_time()).map(normalise).collect_into_vec(&mut statistics);
    (output.tensor(), statistics.into_flattened())
}

pub(crate) fn backward<E: Float, F: Function>(pulled: &Pulled<E>) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let sizes = Sizes::of(&input.x.shape());
    let x = input.x.as_slice();
    let mut of_x = Output::<E>::new(input.x.shape());
    let mut sums = Vec::new();
    let pull = |(channel, mut out): (usize, Block<E>)| {
        let statistics = &statistics.as_slice()[2 * channel..];
        let scale = input.scale(statistics);
        let affine = input.affine(channel);
        isa::run(|| {
            let line = Line::normalising(scale, affine);
            let (mut totals, mut room) = ([0f64; 2], ROOM);
            for (x, gradient) in sizes.planes(x, channel).zip(sizes.planes(gradient.as_slice(), channel)) {
                let plane = Plane { x, gradient, mean: statistics[0] };
                let [sum, product] = line.write_gradient::<E, F>(plane, &mut out, &mut room);
                totals = [totals[0] + sum, totals[1] + product * scale[1]];
            }
            let means = totals.map(|sum| f64::from(affine[0]) * sum / (sizes.batch * sizes.plane) as f64);
            let pullback = Pullback::new(scale, affine[0], means);
            sizes.planes(x, channel).enumerate().for_each(|(image, x)| pullback.apply(x, out.row(image)));
            totals
        })
    };
    let channels = of_x.interleaved(sizes.all()).enumerate();
    channels.with_min_len(sizes.channels_at_a_time()).map(pull).collect_into_vec(&mut sums);
    let (of_beta, of_gamma) = sums.into_iter().map(|[sum, product]| (sum, product)).unzip();
    (of_x.tensor(), [of_gamma, of_beta])
}
