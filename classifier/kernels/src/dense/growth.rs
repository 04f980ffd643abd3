//! The buffers of a dense block: feature maps, and the gradients w.r.t. them.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use burn::tensor::{DType, Shape};
use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use crate::isa::vectorized;
use crate::memory::float::{Float, by_dtype, by_float};
use crate::memory::output::Output;
use crate::memory::values::{PIECE, Values, overwritable, vector};
use crate::norm::moments::Moments;

/// One forward pass's buffers, shared by the operations that write and read them.
///
/// Operations on one block follow each other: forward in the order of calls, backward in the reverse.
#[derive(Clone)]
pub struct Growth(Arc<Mutex<Maps>>);

/// Feature maps, `[B, C, H, W]` with room for all channels, and what belongs to them.
pub(super) struct Maps {
    pub(super) batch: usize,
    /// Capacity in channels.
    pub(super) capacity: usize,
    sides: [usize; 2],
    /// Held here alone until all channels are taken.
    values: FlexTensor,
    taken: bool,
    /// Moments of each channel so far, where the batch's statistics are wanted.
    moments: Option<Vec<Moments>>,
    /// By the maps, `[B, C, H, W]`, without what is pending; empty until there is one.
    gradient: Vec<f32>,
    /// For each channel, `a` and `b` of a part `a x + b` of the gradient.
    pending: Vec<[f64; 2]>,
}

impl Maps {
    /// Elements of a plane.
    pub(super) fn plane(&self) -> usize {
        self.sides[0] * self.sides[1]
    }

    pub(super) fn shape(&self, channels: usize) -> Shape {
        Shape::new([self.batch, channels, self.sides[0], self.sides[1]])
    }

    pub(super) fn dtype(&self) -> DType {
        self.values.dtype()
    }

    pub(super) fn values<E: Float>(&self) -> &[E] {
        self.values.as_slice().expect("the tensor was made contiguous, and layers are of its type")
    }

    /// Maps and the buffer of gradients, which begins with zeros if nothing has come to it yet: a loss may be of layers alone.
    pub(super) fn values_and_gradient<E: Float>(&mut self) -> (&[E], &mut [f32]) {
        self.begin_gradient();
        let values = self.values.as_slice().expect("the tensor was made contiguous, and layers are of its type");
        (values, &mut self.gradient)
    }

    /// The buffer of gradients is there. The allocator gives zeros that nothing has written yet.
    fn begin_gradient(&mut self) {
        if self.gradient.is_empty() {
            self.gradient = vec![0.0; self.batch * self.capacity * self.plane()];
        }
    }

    /// Adds `a x + b` to the gradient w.r.t. a channel.
    pub(super) fn add_pending(&mut self, channel: usize, [a, b]: [f64; 2]) {
        let pending = &mut self.pending[channel];
        *pending = [pending[0] + a, pending[1] + b];
    }

    /// What is pending for a channel as `a (x - centre) + b`: as in [`Pullback`](crate::norm::plane::Pullback), a large `b` would be
    /// rounded alike in every element.
    fn centred(&self, channel: usize) -> [f32; 3] {
        let [a, b] = self.pending[channel];
        let centre = self.moments.as_ref().map_or(0.0, |moments| moments[channel].mean()) as f32;
        [a as f32, centre, (b + a * f64::from(centre)) as f32]
    }
}

impl Growth {
    pub(super) fn new(dims @ [batch, capacity, height, width]: [usize; 4], dtype: DType, with_moments: bool) -> Self {
        let zeros = by_dtype!(dtype, E => vector(vec![E::default(); dims.iter().product()]));
        Self(Arc::new(Mutex::new(Maps {
            batch,
            capacity,
            sides: [height, width],
            values: zeros.reshape(Shape::new(dims)),
            taken: false,
            moments: with_moments.then(Vec::new),
            gradient: Vec::new(),
            pending: vec![[0.0; 2]; capacity],
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        self.0.lock().expect("no operation on these buffers panicked")
    }

    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Maps) -> R) -> R {
        f(&mut self.lock())
    }

    /// Copies `x` to the channels from `at` on, and computes their moments.
    pub(super) fn put(&self, x: FlexTensor, at: usize) {
        by_float!(x, E => self.put_values(&Values::<E>::of(x), at));
    }

    fn put_values<E: Float>(&self, x: &Values<E>, at: usize) {
        let mut maps = self.lock();
        let (plane, batch) = (maps.plane(), maps.batch);
        let new = x.shape()[1];
        assert!(
            x.shape() == maps.shape(new) && at + new <= maps.capacity,
            "maps of {:?} after {at} channels of [{}, {}, {}, {}]",
            x.shape(),
            maps.batch,
            maps.capacity,
            maps.sides[0],
            maps.sides[1],
        );
        let image = maps.capacity * plane;
        assert!(!maps.taken, "channels are put before all are taken");
        assert_eq!(maps.dtype(), E::dtype(), "all maps of a block are of one type");
        let Maps { values, moments, .. } = &mut *maps;
        let values = overwritable::<E>(values).expect("maps that grow are held here alone");
        let mut channels: Vec<_> = (0..new).map(|_| Vec::with_capacity(batch)).collect();
        for image in values.chunks_mut(image) {
            for (channel, to) in channels.iter_mut().zip(image[at * plane..].chunks_mut(plane)) {
                channel.push(to);
            }
        }
        let wanted = moments.is_some();
        let copy = |(channel, to): (usize, Vec<&mut [E]>)| {
            let from = x.as_slice().chunks(plane).skip(channel).step_by(new);
            vectorized!({
                from.zip(to).fold(
                    Moments::default(),
                    #[inline(always)]
                    |so_far, (from, to)| {
                        to.copy_from_slice(from);
                        if wanted { so_far.and(Moments::of(from)) } else { so_far }
                    },
                )
            })
        };
        let mut fresh = Vec::new();
        let at_a_time = (PIECE / (batch * plane)).max(1);
        channels.into_par_iter().enumerate().with_min_len(at_a_time).map(copy).collect_into_vec(&mut fresh);
        if let Some(moments) = moments {
            moments.truncate(at);
            moments.extend(fresh);
        }
    }

    /// Mean and biased variance of the first channels.
    pub(super) fn statistics(&self, channels: usize) -> [Vec<f32>; 2] {
        let maps = self.lock();
        let moments = maps.moments.as_deref().expect("moments are kept where gradients are");
        let moments = &moments[..channels];
        [moments.iter().map(|x| x.mean() as f32).collect(), moments.iter().map(|x| x.variance() as f32).collect()]
    }

    /// The maps as a tensor; nothing can be added after that.
    pub(super) fn take(&self) -> FlexTensor {
        let mut maps = self.lock();
        maps.taken = true;
        maps.values.clone()
    }

    /// Adds the gradient w.r.t. all maps to those of layers.
    pub(super) fn add_gradient(&self, gradient: FlexTensor) {
        by_float!(gradient, E => self.add_values(&Values::<E>::of(gradient)));
    }

    fn add_values<E: Float>(&self, gradient: &Values<E>) {
        let mut maps = self.lock();
        assert_eq!(gradient.shape(), maps.shape(maps.capacity), "a gradient has its output's shape");
        maps.begin_gradient();
        maps.gradient.par_chunks_mut(PIECE).zip(gradient.as_slice().par_chunks(PIECE)).for_each(|(sums, more)| {
            vectorized!(sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more.wide()));
        });
    }

    /// The whole gradient w.r.t. `count` channels from `at` on.
    pub(super) fn gradient_of(&self, at: usize, count: usize) -> FlexTensor {
        let dtype = self.lock().dtype();
        by_dtype!(dtype, E => self.gradient_in::<E>(at, count))
    }

    fn gradient_in<E: Float>(&self, at: usize, count: usize) -> FlexTensor {
        let mut maps = self.lock();
        maps.values_and_gradient::<E>();
        let maps = &*maps;
        let (plane, channels) = (maps.plane(), at..at + count);
        let image = maps.capacity * plane;
        let planes = maps.values::<E>().chunks(image).zip(maps.gradient.chunks(image)).flat_map(|(values, gradient)| {
            let part = at * plane..(at + count) * plane;
            values[part.clone()].chunks(plane).zip(gradient[part].chunks(plane)).zip(channels.clone())
        });
        let planes: Vec<_> = planes.collect();
        let mut output = Output::<E>::new(maps.shape(count));
        let mut whole = output.whole();
        let at_a_time = (PIECE / plane).max(1);
        whole.par_chunks(at_a_time * plane).zip(planes.par_chunks(at_a_time)).for_each(|(mut out, planes)| {
            vectorized!({
                for ((x, gradient), channel) in planes {
                    let [a, centre, b] = maps.centred(*channel);
                    out.append(
                        plane,
                        x.iter().zip(*gradient).map(
                            #[inline(always)]
                            |(x, gradient)| gradient + (a * (x.wide() - centre) + b),
                        ),
                    );
                }
            });
        });
        drop(whole);
        output.tensor()
    }
}

impl fmt::Debug for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Growth").finish_non_exhaustive()
    }
}
