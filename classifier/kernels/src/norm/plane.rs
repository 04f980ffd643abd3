//! The operations of group and batch norm on one plane, the `H * W` elements of a channel of an image.

use super::moments::sums_beside;
use crate::elementwise::function::Function;
use crate::memory::float::Float;
use crate::memory::output::Block;

/// Elements that are read again from the first-level cache.
const BLOCK: usize = 2048;

/// For these elements in 32 bits, where planes are of other numbers.
pub(crate) type Room = [f32; BLOCK];

/// Of any content.
pub(crate) const ROOM: Room = [0.0; BLOCK];

/// A plane's normalisation and affine map together: `z = scale x + shift`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) scale: f32,
    pub(crate) shift: f32,
}

impl Line {
    /// `gamma (x - mean) rstd + beta`
    #[inline(always)]
    pub(crate) fn normalising([mean, rstd]: [f64; 2], [gamma, beta]: [f32; 2]) -> Self {
        let scale = f64::from(gamma) * rstd;
        Self { scale: scale as f32, shift: (f64::from(beta) - mean * scale) as f32 }
    }

    #[inline(always)]
    pub(crate) fn at(self, x: f32) -> f32 {
        self.scale * x + self.shift
    }

    /// `f(z)`
    #[inline(always)]
    pub(crate) fn write<E: Float, F: Function>(self, x: &[E], out: &mut Block<E>) {
        out.append(x.len(), x.iter().map(|x| F::value(self.at(x.wide()))));
    }

    /// The gradient w.r.t. `z`, from that w.r.t. `f(z)`, of as many elements as there is room for; returns it before it is rounded.
    #[inline(always)]
    pub(crate) fn append_gradient<'s, E: Float, F: Function>(
        self,
        x: &[E],
        gradient: &[E],
        out: &'s mut Block<E>,
        room: &'s mut Room,
    ) -> &'s [f32] {
        let pulls = x.iter().zip(gradient).map(|(x, gradient)| gradient.wide() * F::slope(self.at(x.wide())));
        out.append_exact(pulls, &mut room[..x.len()])
    }

    /// The gradient w.r.t. `z`, from that w.r.t. `f(z)`; returns its sum and that of its products with `x - mean`. `room` is cleared once
    /// for many planes: small ones take less time than that.
    #[inline(always)]
    pub(crate) fn write_gradient<E: Float, F: Function>(
        self,
        plane: Plane<E>,
        out: &mut Block<E>,
        room: &mut Room,
    ) -> [f64; 2] {
        let Plane { x, gradient, mean } = plane;
        let mut totals = [0.0; 2];
        for (x, gradient) in x.chunks(BLOCK).zip(gradient.chunks(BLOCK)) {
            let dz = self.append_gradient::<E, F>(x, gradient, out, room);
            let [sum, product] = sums_beside([dz], [x], |[dz], [x]| [dz, dz * (x - mean)]);
            totals = [totals[0] + sum, totals[1] + product];
        }
        totals
    }
}

/// Of one channel of one image.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a, E> {
    pub(crate) x: &'a [E],
    /// By the output.
    pub(crate) gradient: &'a [E],
    pub(crate) mean: f32,
}

/// The gradient w.r.t. `x`, from that w.r.t. `z`: `of_z dz + (of_x (x - centre) + plus)`. The bracket carries what goes through
/// mean and deviation. Without the centre, the rounding of a large `plus` would be the same in every element, and a gradient
/// whose sum is 0, such as that by a bias before a batch norm, would become noise that Adam treats as a direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pullback {
    of_z: f32,
    of_x: f32,
    centre: f32,
    plus: f32,
}

impl Pullback {
    /// `rstd (gamma dz - first - (x - mean) rstd second)`; `first` and `second` are the means of `gamma dz` and of
    /// `gamma dz (x - mean) rstd` over all that was normalised together (Ioffe and Szegedy 2015, section 3).
    #[inline(always)]
    pub(crate) fn new([mean, rstd]: [f64; 2], gamma: f32, [first, second]: [f64; 2]) -> Self {
        let (of_x, centre) = ((-rstd * rstd * second) as f32, mean as f32);
        let plus = -rstd * first - f64::from(of_x) * (mean - f64::from(centre));
        Self { of_z: (f64::from(gamma) * rstd) as f32, of_x, centre, plus: plus as f32 }
    }

    /// In place of the gradient w.r.t. `z`.
    #[inline(always)]
    pub(crate) fn apply<E: Float>(self, x: &[E], gradient: &mut [E]) {
        for (gradient, x) in gradient.iter_mut().zip(x) {
            let through_moments = self.of_x * (x.wide() - self.centre) + self.plus;
            *gradient = E::rounded(self.of_z * gradient.wide() + through_moments);
        }
    }
}
