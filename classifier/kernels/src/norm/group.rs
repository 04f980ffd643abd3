//! Group norm: one pass over memory forward, one backward.

use std::marker::PhantomData;

use burn::tensor::Shape;
use burn_flex::FlexTensor;
use pulp::{Simd, WithSimd};
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::moments::Moments;
use super::plane::{Line, Plane, Pullback, ROOM};
use super::problem::{Input, Pulled, Pulls};
use crate::elementwise::function::Function;
use crate::isa::{self, vectorized};
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
    /// Channels of a group.
    width: usize,
}

impl Sizes {
    fn of(shape: &Shape, groups: usize) -> Self {
        Self { batch: shape[0], channels: shape[1], plane: shape[2..].iter().product(), width: shape[1] / groups }
    }

    /// Elements of a group.
    fn group(self) -> usize {
        self.width * self.plane
    }

    /// The channel that a group, counted through the batch, begins with.
    fn first_channel(self, group: usize) -> usize {
        group * self.width % self.channels
    }

    /// Groups that a thread takes at a time.
    fn groups_at_a_time(self) -> usize {
        (PIECE / self.group()).max(1)
    }

    /// Planes that a thread takes at a time.
    fn planes_at_a_time(self) -> usize {
        (PIECE / self.plane).max(1)
    }

    /// Elements of these.
    fn piece(self) -> usize {
        self.planes_at_a_time() * self.plane
    }
}

/// The output, and mean and variance of every group.
pub(crate) fn forward<E: Float, F: Function>(input: &Input<E>, groups: usize) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(&input.x.shape(), groups);
    let mut output = Output::<E>::new(input.x.shape());
    let mut statistics = vec![0f32; 2 * sizes.batch * groups];
    let mut whole = output.whole();
    let groups = whole.par_chunks(sizes.group()).zip(input.x.as_slice().par_chunks(sizes.group()));
    let groups = groups.zip(statistics.par_chunks_mut(2)).enumerate().with_min_len(sizes.groups_at_a_time());
    groups.for_each(|(group, ((mut out, x), statistics))| {
        let moments = Moments::of_many(x);
        let scale = [moments.mean(), moments.rstd(input.epsilon)];
        statistics.copy_from_slice(&[moments.mean() as f32, moments.variance() as f32]);
        let first = sizes.first_channel(group);
        let pieces = out.par_chunks(sizes.piece()).zip(x.par_chunks(sizes.piece())).enumerate();
        pieces.for_each(|(piece, (mut out, x))| {
            let first = first + piece * sizes.planes_at_a_time();
            let function = PhantomData::<F>;
            isa::run(Planes { input, scale, first, plane: sizes.plane, x, out: &mut out, function });
        });
    });
    drop(whole);
    (output.tensor(), statistics)
}

/// Some planes of a group.
struct Planes<'a, 'b, E, F> {
    input: &'a Input<E>,
    /// Mean and reciprocal deviation.
    scale: [f64; 2],
    /// The channel of the first plane.
    first: usize,
    /// Elements of a plane.
    plane: usize,
    x: &'a [E],
    out: &'a mut Block<'b, E>,
    function: PhantomData<F>,
}

impl<E: Float, F: Function> WithSimd for Planes<'_, '_, E, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (channel, x) in (self.first..).zip(self.x.chunks(self.plane)) {
            Line::normalising(self.scale, self.input.affine(channel)).write::<E, F>(x, self.out);
        }
    }
}

/// One group's share of the gradient w.r.t. `x`, and its inputs.
struct Group<'a, E> {
    x: &'a [E],
    gradient: &'a [E],
    statistics: &'a [f32],
    out: Block<'a, E>,
    /// For each plane: sums of the gradient w.r.t. z, and of its products with `x - mean`.
    sums: &'a mut [[f64; 2]],
}

pub(crate) fn backward<E: Float, F: Function>(pulled: &Pulled<E>, groups: usize) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let sizes = Sizes::of(&input.x.shape(), groups);
    let mut of_x = Output::<E>::new(input.x.shape());
    let mut sums = vec![[0f64; 2]; sizes.batch * sizes.channels];
    let mut whole = of_x.whole();
    let inputs = input.x.as_slice().par_chunks(sizes.group()).zip(gradient.as_slice().par_chunks(sizes.group()));
    let outputs = whole.par_chunks(sizes.group()).zip(sums.par_chunks_mut(sizes.width));
    let groups = inputs.zip(statistics.as_slice().par_chunks(2)).zip(outputs).enumerate();
    groups.with_min_len(sizes.groups_at_a_time()).for_each(|(i, (((x, gradient), statistics), (out, sums)))| {
        pull::<E, F>(input, sizes, sizes.first_channel(i), Group { x, gradient, statistics, out, sums });
    });
    drop(whole);

    let [mut of_gamma, mut of_beta] = [vec![0f64; sizes.channels], vec![0f64; sizes.channels]];
    for (i, [sum, product]) in sums.iter().enumerate() {
        let [_, rstd] = input.scale(&statistics.as_slice()[i / sizes.width * 2..]);
        of_gamma[i % sizes.channels] += product * rstd;
        of_beta[i % sizes.channels] += sum;
    }
    (of_x.tensor(), [of_gamma, of_beta])
}

/// Writes every element of `group.out` and of `group.sums`.
fn pull<E: Float, F: Function>(input: &Input<E>, sizes: Sizes, first: usize, group: Group<'_, E>) {
    let Group { x, gradient, statistics, mut out, sums } = group;
    let scale = input.scale(statistics);
    let inputs = x.par_chunks(sizes.piece()).zip(gradient.par_chunks(sizes.piece()));
    let pieces = sums.par_chunks_mut(sizes.planes_at_a_time()).zip(out.par_chunks(sizes.piece())).zip(inputs).enumerate();
    pieces.for_each(|(piece, ((sums, mut out), (x, gradient)))| {
        vectorized!({
            let mut room = ROOM;
            let planes = x.chunks(sizes.plane).zip(gradient.chunks(sizes.plane)).zip(sums);
            for (channel, ((x, gradient), sums)) in (first + piece * sizes.planes_at_a_time()..).zip(planes) {
                let line = Line::normalising(scale, input.affine(channel));
                *sums = line.write_gradient::<E, F>(Plane { x, gradient, mean: statistics[0] }, &mut out, &mut room);
            }
        });
    });

    let mut means = [0f64; 2];
    for (i, [sum, product]) in sums.iter().enumerate() {
        let gamma = f64::from(input.affine(first + i)[0]);
        means = [means[0] + gamma * sum, means[1] + gamma * product * scale[1]];
    }
    let means = means.map(|sum| sum / sizes.group() as f64);
    let planes = out.row(0).par_chunks_mut(sizes.plane).zip(x.par_chunks(sizes.plane)).enumerate();
    planes.with_min_len(sizes.planes_at_a_time()).for_each(|(i, (out, x))| {
        let pullback = Pullback::new(scale, input.affine(first + i)[0], means);
        vectorized!(pullback.apply(x, out));
    });
}
