//! Memory that threads keep, and memory that they share.

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

/// The beginning of an output that threads write different elements of.
#[derive(Clone, Copy)]
pub(crate) struct Target(*mut f32);

// SAFETY: threads write different elements, which is what the unsafe methods ask of their callers.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

impl Target {
    pub(crate) fn new(output: &mut [std::mem::MaybeUninit<f32>]) -> Self {
        Self(output.as_mut_ptr().cast())
    }

    /// # Safety
    /// `at` is inside the output.
    pub(crate) unsafe fn at(self, at: usize) -> *mut f32 {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(at) }
    }

    /// # Safety
    /// `at` is inside the output, and no other thread uses that element.
    pub(crate) unsafe fn write(self, at: usize, value: f32) {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(at).write(value) };
    }
}
