//! Linear layers: parts of rows and outputs, each one matrix product on one thread.
//!
//! burn-flex shares the whole product between all threads, whose shares of a wide matrix are uneven, and adds the bias in a
//! separate pass on one thread.

mod autodiff;
mod flex;
mod view;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Tensor, module};

use crate::applies;

/// `x weight + bias`: burn's [`linear`](module::linear) in one pass, with a backward pass of matrix products, too. A
/// transposed view, such as planes seen as tokens, is read in place.
///
/// # Shapes
/// - x: `[.., I]`
/// - weight: `[I, O]`
/// - bias: `[O]`
/// - output: `[.., O]`
///
/// # Panics
/// If the shapes do not fit.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let [inputs, outputs] = weight.dims();
    let dims = x.dims();
    assert!(dims[D - 1] == inputs, "linear layer of {dims:?}: the weight is [{inputs}, {outputs}]");
    if let Some(bias) = &bias {
        assert!(bias.dims() == [outputs], "linear layer [{inputs}, {outputs}]: the bias has {:?} values", bias.dims());
    }
    let filled = D > 1 && dims.iter().all(|&size| size > 0) && outputs > 0;
    let alike = weight.dtype() == x.dtype() && bias.as_ref().is_none_or(|bias| bias.dtype() == x.dtype());
    if !filled || !alike || !applies(&x) {
        return module::linear(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::affine_map(x, weight, bias.into_dispatch()),
        None => Dispatch::linear_map(x, weight),
    })
}

/// Backends with the kernel; shapes as for [`linear`], and all of them fit.
#[backend_extension(Flex, Autodiff)]
pub trait LinearBackend: Backend {
    /// The output without a bias.
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The output.
    fn affine_map(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient w.r.t. `x`.
    fn linear_by_input(weight: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient w.r.t. the weight.
    fn linear_by_weight(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradient w.r.t. the bias.
    fn linear_by_bias(gradient: FloatTensor<Self>) -> FloatTensor<Self>;
}

#[cfg(test)]
mod tests;
