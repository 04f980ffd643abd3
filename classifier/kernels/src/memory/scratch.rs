//! Memory that threads keep.

use std::cell::RefCell;

/// Calls `f` with buffers of these lengths. They belong to the thread, and hold anything.
pub(crate) fn with_scratch<const N: usize>(lengths: [usize; N], f: impl FnOnce([&mut [f32]; N])) {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    /// Values of a cache line.
    const LINE: usize = 16;
    let total: usize = lengths.iter().map(|length| length.next_multiple_of(LINE)).sum();
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < total {
            scratch.resize(total, 0.0);
        }
        let mut rest = &mut scratch[..];
        f(lengths.map(|length| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(length.next_multiple_of(LINE));
            rest = after;
            &mut part[..length]
        }))
    });
}
