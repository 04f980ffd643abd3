//! What kernels read, and tensors that they change in place.

use std::marker::PhantomData;

use burn::tensor::{Bytes, DType, Shape, bf16};
use burn_flex::{FlexTensor, Layout};

use super::float::{Float, by_float};

/// Values that a thread takes at a time: enough to pay for handing them out, few enough for the second-level cache.
pub(crate) const PIECE: usize = 1 << 14;

/// A tensor whose elements lie in row-major order, without gaps; copied only if they don't.
pub(crate) struct Values<E = f32>(FlexTensor, PhantomData<E>);

impl<E: Float> Values<E> {
    /// # Panics
    /// If the tensor is of another type.
    pub(crate) fn of(tensor: FlexTensor) -> Self {
        assert_eq!(tensor.dtype(), E::dtype(), "all tensors of a kernel are of one type");
        Self(tensor.to_contiguous(), PhantomData)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.0.layout().shape().clone()
    }

    pub(crate) fn as_slice(&self) -> &[E] {
        self.0.as_slice().expect("the tensor is of this type, and contiguous")
    }
}

/// The elements of a tensor that nobody else holds: an output may take their place.
pub(crate) fn overwritable<E: Float>(tensor: &mut FlexTensor) -> Option<&mut [E]> {
    let (start, end) = tensor.layout().contiguous_offsets()?;
    tensor.try_storage_mut().map(|storage| &mut storage[start..end])
}

/// The elements of a tensor, to be changed: copied before only if somebody else holds them, or they lie apart.
pub(crate) fn overwrite<E: Float>(tensor: &mut FlexTensor) -> &mut [E] {
    if !tensor.is_contiguous() {
        *tensor = tensor.to_contiguous();
    }
    let (start, end) = tensor.layout().contiguous_offsets().expect("the tensor is contiguous");
    &mut tensor.storage_mut()[start..end]
}

/// The numbers of a tensor of any type, in 32 bits.
pub(crate) fn wide_vector(tensor: FlexTensor) -> Vec<f32> {
    by_float!(tensor, E => Values::<E>::of(tensor).as_slice().iter().map(|value| value.wide()).collect())
}

/// A new tensor of one axis, of the type of another one.
pub(crate) fn vector_like(other: DType, values: impl Iterator<Item = f64>) -> FlexTensor {
    let values = values.map(|value| value as f32);
    match other {
        DType::BF16 => vector(values.map(<bf16 as Float>::rounded).collect()),
        _ => vector(values.collect::<Vec<f32>>()),
    }
}

/// A new tensor of one axis.
pub(crate) fn vector<E: Float>(values: Vec<E>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, E::dtype())
}
