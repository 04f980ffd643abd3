//! The one type that kernels write through: memory that tasks share, each of whose elements is written once.
//!
//! An [`Output`] is a tensor in the making, and [`Shared`] is memory that holds numbers already. Both are cut into [`Block`]s, which
//! threads write side by side. A block that is cut from another one borrows it, so that the two cannot be used together; blocks
//! [claimed](Places::claim) by their place are promised to be disjoint, which debug builds and this crate's tests check element by
//! element. Every block counts what it has written, and an output becomes a tensor only if the sum is the number of its elements.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
#[cfg(any(test, debug_assertions))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Bytes, Shape};
use burn_flex::{FlexTensor, Layout};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

use super::float::Float;
use super::transpose::transpose;

/// A new tensor; its elements are written through blocks.
pub(crate) struct Output<E: 'static = f32> {
    /// Room for all elements; of length 0 until all are written.
    values: Vec<E>,
    shape: Shape,
    places: Places<'static, E>,
    /// Whether the whole was cut by [`whole`](Self::whole) or [`interleaved`](Self::interleaved).
    cut: bool,
}

impl<E: Float> Output<E> {
    pub(crate) fn new(shape: Shape) -> Self {
        let count = shape.num_elements();
        let mut values = room(count);
        let places = Places::new(values.as_mut_ptr(), count);
        Self { values, shape, places, cut: false }
    }

    /// All elements, in their order; once.
    pub(crate) fn whole(&mut self) -> Block<'_, E> {
        assert!(!std::mem::replace(&mut self.cut, true), "an output is cut once");
        let count = self.places.count;
        // SAFETY: nothing else was cut, and whoever claims places promises that they are no other block's.
        unsafe { self.places.claim(0, [1, count], [count, 1]) }
    }

    /// `[outer, parts, inner]` as a block `[outer, inner]` for each part; once.
    pub(crate) fn interleaved(&mut self, sizes: [usize; 3]) -> impl IndexedParallelIterator<Item = Block<'_, E>> {
        let [outer, parts, inner] = sizes;
        assert!(!std::mem::replace(&mut self.cut, true), "an output is cut once");
        let places = &self.places;
        assert_eq!(outer * parts * inner, places.count, "{sizes:?} make up the output");
        // SAFETY: parts have other elements, and nothing else was cut; see `whole`.
        (0..parts).into_par_iter().map(move |part| unsafe { places.claim(part * inner, [outer, inner], [parts * inner, 1]) })
    }

    /// Places that tasks claim for themselves.
    pub(crate) fn places(&self) -> &Places<'static, E> {
        &self.places
    }

    /// The tensor.
    ///
    /// # Panics
    /// If not every element was written.
    pub(crate) fn tensor(mut self) -> FlexTensor {
        let count = self.places.count;
        let written = *self.places.written.get_mut();
        assert_eq!(written, count, "a kernel wrote {written} of the {count} elements of {:?}", self.shape);
        // SAFETY: there is room for `count`, and as many were written by blocks, which are disjoint.
        unsafe { self.values.set_len(count) };
        FlexTensor::new(Bytes::from_elems(self.values), Layout::contiguous(self.shape), E::dtype())
    }
}

/// Numbers that tasks change side by side.
pub(crate) struct Shared<'a>(Places<'a>);

impl<'a> Shared<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self(Places::new(values.as_mut_ptr(), values.len()))
    }

    /// Rows of `sizes[1]` numbers from `start` on, `step` apart.
    ///
    /// # Safety
    /// Rows do not overlap, and no other block of these numbers has any of them.
    pub(crate) unsafe fn rows(&self, start: usize, sizes: [usize; 2], step: usize) -> Block<'_> {
        // SAFETY: the caller's promise.
        let mut block = unsafe { self.0.claim(start, sizes, [step, 1]) };
        *block.done.get_mut() = sizes[0] * sizes[1];
        block
    }
}

/// Memory that blocks are claimed of.
pub(crate) struct Places<'a, E = f32> {
    first: *mut E,
    count: usize,
    /// Elements that blocks have written.
    written: AtomicUsize,
    /// Which elements are claimed.
    #[cfg(any(test, debug_assertions))]
    claimed: Box<[AtomicBool]>,
    borrowed: PhantomData<&'a mut [MaybeUninit<E>]>,
}

// SAFETY: a pointer to numbers, which are reached through blocks alone, and those are disjoint.
unsafe impl<E: Float> Send for Places<'_, E> {}
// SAFETY: as above.
unsafe impl<E: Float> Sync for Places<'_, E> {}

impl<E: Float> Places<'_, E> {
    fn new(first: *mut E, count: usize) -> Self {
        Self {
            first,
            count,
            written: AtomicUsize::new(0),
            #[cfg(any(test, debug_assertions))]
            claimed: (0..count).map(|_| AtomicBool::new(false)).collect(),
            borrowed: PhantomData,
        }
    }

    /// `sizes[0]` rows of `sizes[1]` elements from `start` on; `steps` lead to the next row and to the next element of a row.
    ///
    /// # Safety
    /// These are different elements, and no other block of this memory has any of them.
    pub(crate) unsafe fn claim(&self, start: usize, sizes: [usize; 2], steps: [usize; 2]) -> Block<'_, E> {
        let [rows, columns] = sizes;
        if rows * columns > 0 {
            let last = start + (rows - 1) * steps[0] + (columns - 1) * steps[1];
            assert!(last < self.count, "{sizes:?} elements from {start} on in steps of {steps:?} are not in {}", self.count);
        }
        #[cfg(any(test, debug_assertions))]
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let at = start + row * steps[0] + column * steps[1];
            assert!(!self.claimed[at].swap(true, Ordering::Relaxed), "element {at} is claimed twice");
        }
        Block {
            first: self.first.wrapping_add(start),
            sizes,
            steps,
            done: AtomicUsize::new(0),
            written: &self.written,
            borrowed: PhantomData,
        }
    }
}

/// A part of an output, `[rows, columns]`, which one task writes, row after row or in one matrix product. What it is given in 32 bits is
/// rounded to the output's type.
pub(crate) struct Block<'a, E = f32> {
    first: *mut E,
    sizes: [usize; 2],
    /// To the next row, and to the next element of a row.
    steps: [usize; 2],
    /// Elements written so far.
    done: AtomicUsize,
    /// Of what this is a part; told when the block is dropped.
    written: &'a AtomicUsize,
    borrowed: PhantomData<&'a mut [MaybeUninit<E>]>,
}

// SAFETY: like an exclusive slice of the same elements.
unsafe impl<E: Float> Send for Block<'_, E> {}

impl<E> Drop for Block<'_, E> {
    #[inline(always)]
    fn drop(&mut self) {
        // Relaxed: whoever reads the sum has waited for the tasks before.
        self.written.fetch_add(*self.done.get_mut(), Ordering::Relaxed);
    }
}

impl<'a, E: Float> Block<'a, E> {
    /// Number of elements.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.sizes[0] * self.sizes[1]
    }

    /// Whether all of it is written.
    pub(crate) fn is_written(&mut self) -> bool {
        *self.done.get_mut() == self.len()
    }

    /// Writes the next `count` elements of the current row, and returns them.
    ///
    /// # Panics
    /// If there are not as many left, or fewer values.
    #[inline(always)]
    pub(crate) fn append(&mut self, count: usize, values: impl IntoIterator<Item = f32>) -> &mut [E] {
        let places = self.next(count);
        write_all(places, values);
        // SAFETY: this is reached only where each of them was written.
        let values: *mut [E] = unsafe { places.assume_init_mut() };
        *self.done.get_mut() += count;
        // SAFETY: the elements are this block's, which stays borrowed.
        unsafe { &mut *values }
    }

    /// The same; returns the values as they were given, in place or in `room`.
    #[inline(always)]
    pub(crate) fn append_exact<'s>(&'s mut self, values: impl IntoIterator<Item = f32>, room: &'s mut [f32]) -> &'s [f32] {
        if E::IS_WIDE {
            return bytemuck::cast_slice(self.append(room.len(), values));
        }
        let mut count = 0;
        room.iter_mut().zip(values).for_each(|(room, value)| {
            *room = value;
            count += 1;
        });
        if count != room.len() {
            too_few(count, room.len());
        }
        self.append(room.len(), room.iter().copied());
        room
    }

    /// Writes the next `2 count` elements of the current row: the first of every pair, and behind them the second ones.
    #[inline(always)]
    pub(crate) fn append_pairs(&mut self, count: usize, values: impl IntoIterator<Item = [f32; 2]>) {
        let (first, second) = self.next(2 * count).split_at_mut(count);
        let mut written = 0;
        first.iter_mut().zip(second).zip(values).for_each(|((first, second), [a, b])| {
            first.write(E::rounded(a));
            second.write(E::rounded(b));
            written += 1;
        });
        if written != count {
            too_few(written, count);
        }
        *self.done.get_mut() += 2 * count;
    }

    /// The places of the next `count` elements.
    ///
    /// Not inlined, like all that panics here: what [`isa::run`](crate::isa::run) compiles for an instruction set has to stay so small
    /// that it is inlined there.
    #[inline(never)]
    fn next(&mut self, count: usize) -> &mut [MaybeUninit<E>] {
        let ([rows, columns], done) = (self.sizes, *self.done.get_mut());
        // Blocks of one row are the most, and need no division.
        let (row, column) = if rows == 1 || columns == 0 { (0, done) } else { (done / columns, done % columns) };
        assert!(
            count == 0 || row < rows && column + count <= columns && self.steps[1] == 1,
            "{count} elements after {done} of {rows} rows of {columns}"
        );
        // SAFETY: they are in the block, whose claim has seen that it is inside the memory, and side by side.
        unsafe { std::slice::from_raw_parts_mut(self.first.wrapping_add(row * self.steps[0] + column).cast(), count) }
    }

    /// Writes all elements, the values of a row at a time.
    ///
    /// # Panics
    /// If a row has fewer values.
    #[inline(always)]
    pub(crate) fn fill_rows<V: IntoIterator<Item = f32>>(&mut self, mut values: impl FnMut(usize) -> V) {
        let [rows, columns] = self.sizes;
        assert!(*self.done.get_mut() == 0, "a block is filled once");
        for row in 0..rows {
            let first = self.first.wrapping_add(row * self.steps[0]);
            if self.steps[1] == 1 {
                // SAFETY: the row is in the block, whose claim has seen that it is inside the memory.
                write_all(unsafe { std::slice::from_raw_parts_mut(first.cast::<MaybeUninit<E>>(), columns) }, values(row));
                continue;
            }
            let mut written = 0;
            for (column, value) in (0..columns).zip(values(row)) {
                // SAFETY: as above.
                unsafe { first.add(column * self.steps[1]).write(E::rounded(value)) };
                written += 1;
            }
            if written != columns {
                too_few(written, columns);
            }
        }
        *self.done.get_mut() = rows * columns;
    }

    /// Writes all elements from the columns of `rows`, which are `step` apart.
    pub(crate) fn fill_transposed(&mut self, rows: &[f32], step: usize) {
        let [height, width] = self.sizes;
        assert!(*self.done.get_mut() == 0 && self.steps[1] == 1, "a block is filled once");
        assert!(width > 0 && height <= step && (width - 1) * step + height <= rows.len(), "{width} rows of {height}");
        // SAFETY: `rows` holds that many rows of that many elements, and the block is their transpose.
        unsafe { transpose([width, height], (rows.as_ptr(), step), (self.first, self.steps[0])) };
        *self.done.get_mut() = self.len();
    }

    /// Parts of `length` elements of a block of one row, the last one of fewer.
    pub(crate) fn par_chunks(&mut self, length: usize) -> impl IndexedParallelIterator<Item = Block<'_, E>> {
        let (places, written) = self.parts();
        places.par_chunks_mut(length).map(move |places| Block::of(places, written))
    }

    /// All places, and where their parts count.
    #[inline(always)]
    fn parts(&mut self) -> (&mut [MaybeUninit<E>], &AtomicUsize) {
        let count = self.len();
        assert!(*self.done.get_mut() == 0 && self.sizes[0] == 1 && self.steps[1] == 1, "one row that is not yet written");
        // SAFETY: the elements are this block's and side by side; they are borrowed as long as the parts live.
        (unsafe { std::slice::from_raw_parts_mut(self.first.cast(), count) }, &self.done)
    }

    #[inline(always)]
    fn of(places: &'a mut [MaybeUninit<E>], written: &'a AtomicUsize) -> Self {
        let count = places.len();
        let first = places.as_mut_ptr().cast();
        Self { first, sizes: [1, count], steps: [count, 1], done: AtomicUsize::new(0), written, borrowed: PhantomData }
    }

    /// A row, once everything is written.
    #[inline(never)]
    pub(crate) fn row(&mut self, row: usize) -> &mut [E] {
        let [rows, columns] = self.sizes;
        assert!(self.is_written() && row < rows && self.steps[1] == 1, "row {row} of {rows} that are written");
        // SAFETY: all of it is written, and the row is inside the block.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.steps[0]), columns) }
    }

    /// Rows become columns.
    pub(crate) fn transposed(mut self) -> Self {
        assert!(*self.done.get_mut() == 0 || self.is_written(), "rows are written whole");
        self.sizes.reverse();
        self.steps.reverse();
        self
    }

    /// Rows and columns.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        self.sizes
    }

    /// Where a product goes that adds to what is there or not: first element and steps.
    pub(super) fn before_product(&mut self, add: bool) -> (*mut f32, [usize; 2]) {
        assert!(E::IS_WIDE, "sums of 32 bits do not grow in places of {:?}", E::dtype());
        let done = *self.done.get_mut();
        assert!(if add { self.is_written() } else { done == 0 }, "{done} of {} elements before a product", self.len());
        (self.first.cast(), self.steps)
    }

    /// # Safety
    /// A product has written all elements.
    pub(super) unsafe fn after_product(&mut self) {
        *self.done.get_mut() = self.len();
    }

    /// Where what is not written row by row goes: the first element, and the elements to the next row.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) fn before_rows(&mut self) -> (*mut E, usize) {
        assert!(*self.done.get_mut() == 0 && (self.steps[1] == 1 || self.sizes[1] == 1), "rows that are not yet written");
        (self.first, self.steps[0])
    }

    /// # Safety
    /// All elements are written.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    pub(crate) unsafe fn after_rows(&mut self) {
        *self.done.get_mut() = self.len();
    }
}

/// # Panics
/// If there are fewer values than places.
#[inline(always)]
fn write_all<E: Float>(places: &mut [MaybeUninit<E>], values: impl IntoIterator<Item = f32>) {
    let mut written = 0;
    // `for_each`, which compilers turn into vector instructions where they do not see through `next`.
    places.iter_mut().zip(values).for_each(|(place, value)| {
        place.write(E::rounded(value));
        written += 1;
    });
    if written != places.len() {
        too_few(written, places.len());
    }
}

#[cold]
#[inline(never)]
fn too_few(written: usize, count: usize) -> ! {
    panic!("{written} values for {count} places")
}

/// Room for `count` values. Where it is large, Linux is asked for large pages: fresh memory then costs one fault in 2 MiB, not one
/// in 4 KiB, on which a wide layer spent an eighth of its time.
fn room<E>(count: usize) -> Vec<E> {
    let values = Vec::<E>::with_capacity(count);
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        /// From here on an allocator asks the system for fresh memory each time (glibc: `DEFAULT_MMAP_THRESHOLD_MAX`).
        const LARGE: usize = 32 << 20;
        /// Advice is given for whole pages.
        const PAGE: usize = 1 << 16;
        let (start, end) = (values.as_ptr().addr().next_multiple_of(PAGE), values.as_ptr().addr() + size_of::<E>() * count);
        if end.saturating_sub(start) >= LARGE {
            // SAFETY: the pages are within the allocation, and the advice changes no value. Where it is not taken, nothing is lost.
            unsafe {
                libc::madvise(
                    values.as_ptr().with_addr(start).cast_mut().cast(),
                    (end - start) / PAGE * PAGE,
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::memory::values::{Values, overwritable};

    fn output(shape: &[usize]) -> Output {
        Output::new(Shape::from(shape.to_vec()))
    }

    fn values(output: Output) -> Vec<f32> {
        Values::of(output.tensor()).as_slice().to_vec()
    }

    fn panics(f: impl FnOnce()) -> String {
        let panic = catch_unwind(AssertUnwindSafe(f)).expect_err("this is refused");
        panic.downcast_ref::<String>().cloned().or(panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap()
    }

    #[test]
    fn miri_chunks_of_chunks_make_up_a_tensor() {
        let mut out = output(&[5, 4]);
        let mut whole = out.whole();
        whole.par_chunks(8).enumerate().for_each(|(row, mut chunk)| {
            chunk.par_chunks(4).enumerate().for_each(|(half, mut part)| {
                let first = (8 * row + 4 * half) as f32;
                part.append(3, [first, first + 1.0, first + 2.0]);
                let last = part.append(1, [0.0]);
                last[0] = first + 3.0;
            });
        });
        assert!(whole.is_written());
        whole.row(0)[19] = -1.0;
        drop(whole);
        let expected: Vec<f32> = (0..19).map(|i| i as f32).chain([-1.0]).collect();
        assert_eq!(values(out), expected);
    }

    #[test]
    fn miri_threads_write_side_by_side() {
        let mut out = output(&[3, 4, 2]);
        out.interleaved([3, 4, 2]).enumerate().for_each(|(part, mut block)| {
            for outer in 0..3 {
                block.append(2, [part as f32, outer as f32]);
            }
            block.row(1)[0] += 10.0;
        });
        let at = |outer: usize, part: usize| [part as f32 + if outer == 1 { 10.0 } else { 0.0 }, outer as f32];
        let expected: Vec<f32> = (0..3).flat_map(|outer| (0..4).flat_map(move |part| at(outer, part))).collect();
        assert_eq!(values(out), expected);

        let mut out = output(&[10]);
        let mut whole = out.whole();
        whole.par_chunks(3).enumerate().for_each(|(i, mut chunk)| chunk.append_all(i as f32));
        drop(whole);
        assert_eq!(values(out), [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 3.0]);
    }

    impl Block<'_> {
        fn append_all(&mut self, value: f32) {
            self.append(self.len(), std::iter::repeat(value));
        }
    }

    #[test]
    fn miri_claims_may_lie_in_each_other() {
        let out = output(&[4, 5]);
        let places = out.places();
        // Every other column, and the others as rows.
        // SAFETY: these are different elements.
        let (mut even, mut odd) = unsafe { (places.claim(0, [4, 3], [5, 2]), places.claim(1, [2, 4], [2, 5])) };
        even.fill_rows(|row| (0..3).map(move |column| (10 * row + 2 * column) as f32));
        odd.fill_rows(|column| (0..4).map(move |row| (10 * row + 2 * column + 1) as f32));
        drop((even, odd));
        let expected: Vec<f32> = (0..4).flat_map(|row| (0..5).map(move |column| (10 * row + column) as f32)).collect();
        assert_eq!(values(out), expected);
    }

    #[test]
    fn miri_pairs_and_transposes_are_written() {
        let mut out = output(&[2, 6]);
        let mut whole = out.whole();
        whole.par_chunks(6).for_each(|mut row| row.append_pairs(3, [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]));
        drop(whole);
        assert_eq!(values(out), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        for (height, width) in [(1, 1), (3, 5), (4, 4), (9, 6)] {
            let out = output(&[height, width + 1]);
            let rows: Vec<f32> = (0..width * (height + 2)).map(|i| i as f32).collect();
            // SAFETY: all columns but the last, and the last.
            let (mut most, mut last) = unsafe {
                (out.places().claim(0, [height, width], [width + 1, 1]), out.places().claim(width, [height, 1], [width + 1, 1]))
            };
            most.fill_transposed(&rows, height + 2);
            last.fill_rows(|_| [-1.0]);
            drop((most, last));
            let at = |row: usize, column: usize| if column == width { -1.0 } else { rows[column * (height + 2) + row] };
            let expected: Vec<f32> = (0..height).flat_map(|row| (0..=width).map(move |column| at(row, column))).collect();
            assert_eq!(values(out), expected);
        }
    }

    #[test]
    fn miri_shared_numbers_are_changed_in_rows() {
        let mut numbers = vec![1f32; 12];
        let shared = Shared::new(&mut numbers);
        // SAFETY: these are different columns.
        let (mut left, mut right) = unsafe { (shared.rows(0, [3, 2], 4), shared.rows(2, [3, 2], 4)) };
        left.row(2)[1] += 1.0;
        right.row(0).fill(5.0);
        drop((left, right));
        assert_eq!(numbers, [1.0, 1.0, 5.0, 5.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0, 1.0, 1.0]);
    }

    #[test]
    fn miri_what_is_missing_or_written_twice_is_refused() {
        let mut short = output(&[2, 3]);
        short.whole().append(5, [0.0; 5]);
        assert!(panics(|| drop(short.tensor())).contains("5 of the 6"));

        let mut few = output(&[3]);
        assert!(panics(|| _ = few.whole().append(3, [0.0; 2])).contains("2 values for 3"));
        assert!(panics(|| drop(few.tensor())).contains("0 of the 3"));

        let mut long = output(&[3]);
        assert!(panics(|| _ = long.whole().append(4, [0.0; 4])).contains("4 elements"));

        let mut twice = output(&[3]);
        twice.whole().append_all(0.0);
        assert!(panics(|| drop(twice.whole())).contains("once"));

        let overlapping = output(&[2, 3]);
        // SAFETY: nothing is written through these.
        let claim = |start, sizes| unsafe { overlapping.places().claim(start, sizes, [3, 1]) };
        let first = claim(0, [2, 2]);
        assert!(panics(|| drop(claim(4, [1, 2]))).contains("element 4 is claimed twice"));
        assert!(panics(|| drop(claim(5, [1, 2]))).contains("are not in 6"));
        drop(first);
    }

    #[test]
    fn miri_only_what_nobody_else_holds_is_overwritten() {
        let mut out = output(&[2]);
        out.whole().append_all(1.0);
        let mut tensor = out.tensor();
        let held = tensor.clone();
        assert!(overwritable::<f32>(&mut tensor).is_none());
        drop(held);
        overwritable::<f32>(&mut tensor).expect("there is one holder").fill(2.0);
        assert_eq!(Values::<f32>::of(tensor).as_slice(), [2.0, 2.0]);
    }
}
