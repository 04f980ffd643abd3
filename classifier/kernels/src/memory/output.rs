//! Memory of the kernels: contiguous inputs, and outputs that are written once.

use std::mem::MaybeUninit;

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

/// Values that a thread takes at a time: enough to pay for handing them out, few enough for the second-level cache.
pub(crate) const PIECE: usize = 1 << 14;

/// A tensor whose elements lie in row-major order, without gaps; copied only if they don't.
pub(crate) struct Values(FlexTensor);

impl Values {
    pub(crate) fn of(tensor: FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    pub(crate) fn shape(&self) -> Shape {
        self.0.layout().shape().clone()
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        self.0.as_slice().expect("kernels are given 32-bit floats, and the tensor is contiguous")
    }
}

/// The elements of a tensor that nobody else holds: an output may take their place.
pub(crate) fn overwritable(tensor: &mut FlexTensor) -> Option<&mut [f32]> {
    let (start, end) = tensor.layout().contiguous_offsets()?;
    tensor.try_storage_mut().map(|storage| &mut storage[start..end])
}

/// The elements of a tensor, to be changed: copied before only if somebody else holds them, or they lie apart.
pub(crate) fn overwrite(tensor: &mut FlexTensor) -> &mut [f32] {
    if !tensor.is_contiguous() {
        *tensor = tensor.to_contiguous();
    }
    let (start, end) = tensor.layout().contiguous_offsets().expect("the tensor is contiguous");
    &mut tensor.storage_mut()[start..end]
}

/// Room for `count` values. Where it is large, Linux is asked for large pages: fresh memory then costs one fault in 2 MiB, not one
/// in 4 KiB, on which a wide layer spent an eighth of its time.
fn room(count: usize) -> Vec<f32> {
    let values = Vec::<f32>::with_capacity(count);
    #[cfg(target_os = "linux")]
    {
        /// From here on an allocator asks the system for fresh memory each time (glibc: `DEFAULT_MMAP_THRESHOLD_MAX`).
        const LARGE: usize = 32 << 20;
        /// Advice is given for whole pages.
        const PAGE: usize = 1 << 16;
        let (start, end) = (values.as_ptr().addr().next_multiple_of(PAGE), values.as_ptr().addr() + size_of::<f32>() * count);
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

/// A new tensor; `write` fills every element.
///
/// # Safety
/// `write` must have written every element when it returns.
pub(crate) unsafe fn filled(shape: Shape, write: impl FnOnce(&mut [MaybeUninit<f32>])) -> FlexTensor {
    let count = shape.num_elements();
    let mut values = room(count);
    write(&mut values.spare_capacity_mut()[..count]);
    // SAFETY: the capacity is at least `count`, and the caller promises that `write` wrote all of it.
    unsafe { values.set_len(count) };
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// A new tensor whose elements are not yet written.
pub(crate) struct Unwritten {
    values: Vec<f32>,
    shape: Shape,
}

impl Unwritten {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { values: room(shape.num_elements()), shape }
    }

    pub(crate) fn places(&mut self) -> &mut [MaybeUninit<f32>] {
        &mut self.values.spare_capacity_mut()[..self.shape.num_elements()]
    }

    /// The tensor.
    ///
    /// # Safety
    /// Every one of the [`places`](Self::places) must have been written.
    pub(crate) unsafe fn written(mut self) -> FlexTensor {
        // SAFETY: the capacity is at least the number of elements, and the caller promises that all are written.
        unsafe { self.values.set_len(self.shape.num_elements()) };
        FlexTensor::new(Bytes::from_elems(self.values), Layout::contiguous(self.shape), DType::F32)
    }
}

/// A buffer that tasks write in places of their own.
#[derive(Clone, Copy)]
pub(crate) struct Scattered {
    first: *mut f32,
    length: usize,
}

// SAFETY: it is a pointer to numbers; whoever goes through it promises that no place is used by two tasks.
unsafe impl Send for Scattered {}
// SAFETY: as above.
unsafe impl Sync for Scattered {}

impl Scattered {
    pub(crate) fn new(values: &mut [MaybeUninit<f32>]) -> Self {
        Self { first: values.as_mut_ptr().cast(), length: values.len() }
    }

    /// The address of `count` numbers.
    pub(crate) fn at(self, start: usize, count: usize) -> *mut f32 {
        assert!(start + count <= self.length, "{count} numbers at {start} of {}", self.length);
        self.first.wrapping_add(start)
    }
}

/// A new tensor of one axis.
pub(crate) fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}
