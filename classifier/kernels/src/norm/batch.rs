//! Batch norm: one pass over memory forward, one backward, where a channel fits the cache.

use std::marker::PhantomData;

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator};

use super::moments::{Moments, sums};
use super::plane::{Line, Plane, Pullback, ROOM};
use super::problem::{Input, Pulled, Pulls};
use crate::elementwise::function::Function;
use crate::isa;
use crate::memory::float::Float;
use crate::memory::output::{Block, Output};
use crate::memory::values::PIECE;

/// Elements of a plane below which a channel's planes are copied together for their sums.
const SMALL: usize = 256;

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

    /// A channel of an image.
    #[inline(always)]
    fn plane_of<E>(self, values: &[E], image: usize, channel: usize) -> &[E] {
        &values[(image * self.channels + channel) * self.plane..][..self.plane]
    }

    /// Whether the sums of a channel are those of all its planes at once: every sum has a cost of its own.
    #[inline(always)]
    fn sums_planes_together(self) -> bool {
        self.plane < SMALL && self.batch * self.plane <= PIECE
    }

    /// Of a channel.
    #[inline(always)]
    fn moments<E: Float>(self, x: &[E], channel: usize) -> Moments {
        if self.sums_planes_together() {
            let mut all = Vec::with_capacity(self.batch * self.plane);
            (0..self.batch).for_each(|image| all.extend_from_slice(self.plane_of(x, image, channel)));
            return Moments::of(&all);
        }
        let mut moments = Moments::default();
        for image in 0..self.batch {
            moments = moments.and(Moments::of(self.plane_of(x, image, channel)));
        }
        moments
    }

    /// Channels that a thread takes at a time.
    fn channels_at_a_time(self) -> usize {
        (PIECE / (self.batch * self.plane)).max(1)
    }
}

/// The output, and mean and variance of every channel.
pub(crate) fn forward<E: Float, F: Function>(input: &Input<E>) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(&input.x.shape());
    let mut output = Output::<E>::new(input.x.shape());
    let mut statistics = Vec::new();
    let normalise = |(channel, mut out): (usize, Block<E>)| {
        isa::run(Normalise { input, sizes, channel, out: &mut out, function: PhantomData::<F> })
    };
    let channels = output.interleaved(sizes.all()).enumerate();
    channels.with_min_len(sizes.channels_at_a_time()).map(normalise).collect_into_vec(&mut statistics);
    (output.tensor(), statistics.into_flattened())
}

/// Writes a channel; gives its mean and variance.
struct Normalise<'a, 'b, E, F> {
    input: &'a Input<E>,
    sizes: Sizes,
    channel: usize,
    out: &'a mut Block<'b, E>,
    function: PhantomData<F>,
}

impl<E: Float, F: Function> WithSimd for Normalise<'_, '_, E, F> {
    type Output = [f32; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f32; 2] {
        let Self { input, sizes, channel, out, .. } = self;
        let x = input.x.as_slice();
        let moments = sizes.moments(x, channel);
        let line = Line::normalising([moments.mean(), moments.rstd(input.epsilon)], input.affine(channel));
        for image in 0..sizes.batch {
            line.write::<E, F>(sizes.plane_of(x, image, channel), out);
        }
        [moments.mean() as f32, moments.variance() as f32]
    }
}

pub(crate) fn backward<E: Float, F: Function>(pulled: &Pulled<E>) -> Pulls {
    let sizes = Sizes::of(&pulled.input.x.shape());
    let mut of_x = Output::<E>::new(pulled.input.x.shape());
    let mut totals = Vec::new();
    let pull = |(channel, mut out): (usize, Block<E>)| {
        isa::run(Pull { pulled, sizes, channel, out: &mut out, function: PhantomData::<F> })
    };
    let channels = of_x.interleaved(sizes.all()).enumerate();
    channels.with_min_len(sizes.channels_at_a_time()).map(pull).collect_into_vec(&mut totals);
    let (of_beta, of_gamma) = totals.into_iter().map(|[sum, product]| (sum, product)).unzip();
    (of_x.tensor(), [of_gamma, of_beta])
}

/// Writes the gradient w.r.t. a channel; gives those w.r.t. its shift and its scale.
struct Pull<'a, 'b, E, F> {
    pulled: &'a Pulled<E>,
    sizes: Sizes,
    channel: usize,
    out: &'a mut Block<'b, E>,
    function: PhantomData<F>,
}

impl<E: Float, F: Function> WithSimd for Pull<'_, '_, E, F> {
    type Output = [f64; 2];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; 2] {
        let Self { pulled: Pulled { input, statistics, gradient }, sizes, channel, out, .. } = self;
        let (x, gradient) = (input.x.as_slice(), gradient.as_slice());
        let statistics = &statistics.as_slice()[2 * channel..];
        let (scale, affine, mean) = (input.scale(statistics), input.affine(channel), statistics[0]);
        let line = Line::normalising(scale, affine);
        let (mut totals, mut room) = ([0f64; 2], ROOM);
        if sizes.sums_planes_together() {
            let [mut dz, mut all] = [0; 2].map(|_| Vec::with_capacity(sizes.batch * sizes.plane));
            for image in 0..sizes.batch {
                let x = sizes.plane_of(x, image, channel);
                let gradient = sizes.plane_of(gradient, image, channel);
                dz.extend_from_slice(line.append_gradient::<E, F>(x, gradient, out, &mut room));
                all.extend(x.iter().map(|x| x.wide()));
            }
            totals = sums([&dz[..], &all[..]], |[dz, x]: [f32; 2]| [dz, dz * (x - mean)]);
        } else {
            for image in 0..sizes.batch {
                let plane =
                    Plane { x: sizes.plane_of(x, image, channel), gradient: sizes.plane_of(gradient, image, channel), mean };
                let [sum, product] = line.write_gradient::<E, F>(plane, out, &mut room);
                totals = [totals[0] + sum, totals[1] + product];
            }
        }
        totals[1] *= scale[1];
        let means = totals.map(|sum| f64::from(affine[0]) * sum / (sizes.batch * sizes.plane) as f64);
        let pullback = Pullback::new(scale, affine[0], means);
        for image in 0..sizes.batch {
            pullback.apply(sizes.plane_of(x, image, channel), out.row(image));
        }
        totals
    }
}
