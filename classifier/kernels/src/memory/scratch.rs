//! Memory that threads keep.

use std::cell::RefCell;

use super::float::Float;

/// Calls `f` with buffers of these lengths, and with others for sums. They belong to the thread, and hold anything.
pub(crate) fn with_scratch<E: Float, const N: usize, const M: usize>(
    lengths: [usize; N],
    sums: [usize; M],
    f: impl FnOnce([&mut [E]; N], [&mut [f32]; M]),
) {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    /// Values of 32 bits of a cache line.
    const LINE: usize = 16;
    let places = |length: usize, size: usize| (length * size).div_ceil(size_of::<f32>()).next_multiple_of(LINE);
    let total = lengths.iter().map(|length| places(*length, size_of::<E>())).sum::<usize>()
        + sums.iter().map(|length| places(*length, size_of::<f32>())).sum::<usize>();
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let mut rest = &mut scratch[..];
        let mut cut = |places: usize| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(places);
            rest = after;
            part
        };
        let buffers = lengths.map(|length| &mut bytemuck::cast_slice_mut(cut(places(length, size_of::<E>())))[..length]);
        f(buffers, sums.map(|length| &mut cut(places(length, size_of::<f32>()))[..length]));
    });
}
