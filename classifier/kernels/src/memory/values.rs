//! What kernels read, and tensors that they change in place.

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

/// A new tensor of one axis.
pub(crate) fn vector(values: Vec<f32>) -> FlexTensor {
    let layout = Layout::contiguous(Shape::new([values.len()]));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}
