//! Layer norm: one pass over memory forward, one backward.

use burn_flex::FlexTensor;
use rayon::prelude::{IndexedParallelIterator, ParallelIterator, ParallelSlice, ParallelSliceMut};

use super::moments::{Moments, sums};
use super::problem::{Input, Pulled, Pulls};
use crate::elementwise::function::Function;
use crate::isa::vectorized;
use crate::memory::float::Float;
use crate::memory::output::{Block, Output};
use crate::memory::values::PIECE;

/// Rows that a thread takes at a time.
fn rows_at_a_time(width: usize) -> usize {
    (PIECE / width).max(1)
}

/// The output, and mean and variance of every row.
pub(crate) fn forward<E: Float, F: Function>(input: &Input<E>) -> (FlexTensor, Vec<f32>) {
    let (gamma, beta) = (&input.gamma[..], &input.beta[..]);
    let width = gamma.len();
    let x = input.x.as_slice();
    let rows = rows_at_a_time(width);
    let mut output = Output::<E>::new(input.x.shape());
    let mut statistics = vec![0f32; 2 * (x.len() / width)];
    let mut whole = output.whole();
    let pieces = whole.par_chunks(rows * width).zip(x.par_chunks(rows * width));
    pieces.zip(statistics.par_chunks_mut(2 * rows)).for_each(|((mut out, x), statistics)| {
        vectorized!({
            for (x, statistics) in x.chunks(width).zip(statistics.chunks_mut(2)) {
                let moments = Moments::of(x);
                let (mean, rstd) = (moments.mean() as f32, moments.rstd(input.epsilon) as f32);
                statistics.copy_from_slice(&[mean, moments.variance() as f32]);
                let each = x.iter().zip(gamma).zip(beta);
                out.append(
                    width,
                    each.map(
                        #[inline(always)]
                        |((x, gamma), beta)| F::value((x.wide() - mean) * rstd * gamma + beta),
                    ),
                );
            }
        });
    });
    drop(whole);
    (output.tensor(), statistics)
}

/// Some rows.
struct Rows<'a, E> {
    x: &'a [E],
    gradient: &'a [E],
    statistics: &'a [f32],
    out: Block<'a, E>,
}

pub(crate) fn backward<E: Float, F: Function>(pulled: &Pulled<E>) -> Pulls {
    let Pulled { input, statistics, gradient } = pulled;
    let width = input.gamma.len();
    let rows = rows_at_a_time(width);
    let mut of_x = Output::<E>::new(input.x.shape());
    let mut partial = Vec::new();
    let mut whole = of_x.whole();
    let inputs = input.x.as_slice().par_chunks(rows * width).zip(gradient.as_slice().par_chunks(rows * width));
    let pieces = whole.par_chunks(rows * width).zip(inputs).zip(statistics.as_slice().par_chunks(2 * rows));
    let pull = |((out, (x, gradient)), statistics)| {
        let rows = Rows { x, gradient, statistics, out };
        vectorized!(pull::<E, F>(input, rows))
    };
    pieces.map(pull).collect_into_vec(&mut partial);
    drop(whole);

    let mut totals = [vec![0f64; width], vec![0f64; width]];
    for partial in &partial {
        for (total, partial) in totals.iter_mut().zip(partial) {
            total.iter_mut().zip(partial).for_each(|(total, partial)| *total += f64::from(*partial));
        }
    }
    (of_x.tensor(), totals)
}

/// Writes every element of `rows.out`; returns these rows' share of the gradients w.r.t. gamma and beta.
#[inline(always)]
fn pull<E: Float, F: Function>(input: &Input<E>, rows: Rows<'_, E>) -> [Vec<f32>; 2] {
    let Rows { x, gradient, statistics, mut out } = rows;
    let (gamma, beta) = (&input.gamma[..], &input.beta[..]);
    let width = gamma.len();
    let [mut of_gamma, mut of_beta] = [vec![0f32; width], vec![0f32; width]];
    // The gradient w.r.t. z, then gamma times that, and the normalised row.
    let [mut pulled, mut normal] = [vec![0f32; width], vec![0f32; width]];
    for ((x, gradient), statistics) in x.chunks(width).zip(gradient.chunks(width)).zip(statistics.chunks(2)) {
        let [mean, rstd] = input.scale(statistics).map(|x| x as f32);
        // One length for all, so that the loop needs no checks.
        let (x, gradient, beta) = (&x[..width], &gradient[..width], &beta[..width]);
        let (of_gamma, of_beta) = (&mut of_gamma[..width], &mut of_beta[..width]);
        let (pulled, normal) = (&mut pulled[..width], &mut normal[..width]);
        for i in 0..width {
            let normal_x = (x[i].wide() - mean) * rstd;
            let dz = gradient[i].wide() * F::slope(normal_x * gamma[i] + beta[i]);
            of_gamma[i] += dz * normal_x;
            of_beta[i] += dz;
            pulled[i] = dz * gamma[i];
            normal[i] = normal_x;
        }
        let [first, second] =
            sums([&*pulled, &*normal], |[dz, normal]| [dz, dz * normal]).map(|sum| (sum / width as f64) as f32);
        let each = pulled.iter().zip(&*normal);
        out.append(width, each.map(|(pulled, normal)| rstd * (pulled - first - normal * second)));
    }
    [of_gamma, of_beta]
}
