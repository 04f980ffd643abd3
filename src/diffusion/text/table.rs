//! The table of tokens of a text encoder.

use burn::module::Param;
use burn::nn::Embedding;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

/// `table` with `rows` `[n, width]` from row `first` on, where it ends then.
///
/// # Panics
/// If `first` is beyond the table.
pub(super) fn with_rows(mut table: Embedding, first: usize, rows: &TensorData) -> Embedding {
    let weight = table.weight.val();
    let ([known, _], dtype, device) = (weight.dims(), weight.dtype(), weight.device());
    assert!(first <= known, "row {first} of a table of {known}");
    let rows = Tensor::<2>::from_data(rows.clone(), (&device, DType::F32)).cast(FloatDType::from(dtype));
    let kept = weight.slice(0..first);
    table.weight = Param::from_tensor(Tensor::cat(vec![kept, rows], 0));
    table
}
