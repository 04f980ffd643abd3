//! Attention on the CPU: the kernels for the types that they take, [`super::chunks`] for others.

use burn::tensor::{DType, Shape};
use burn_flex::{Flex, FlexTensor};

use super::backend::{AttentionBackend, Seen, Sizes, TiledAttention};
use super::backward::{Outputs, Pass};
use super::chunks;
use super::forward::{Inputs, forward};
use super::problem::Problem;
use crate::memory::float::{Float, by_float};
use crate::memory::output::Output;
use crate::memory::values::Values;

impl AttentionBackend for Flex {
    fn tiled_attention(query: FlexTensor, key: FlexTensor, value: FlexTensor, seen: Seen<Self>, sizes: Sizes) -> FlexTensor {
        let (results, _) = Self::tiles(query, key, value, seen, sizes);
        results
    }
}

impl TiledAttention for Flex {
    fn tiles(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        seen: Seen<Self>,
        sizes: Sizes,
    ) -> (FlexTensor, FlexTensor) {
        let inputs = [query, key, value];
        if !has_kernel(&inputs[0]) {
            let [results, norms] = chunks::forward::<Self>(inputs, seen, &sizes);
            return (results, norms);
        }
        let problem = problem(sizes, seen);
        by_float!(inputs[0], E => attend::<E>(inputs, &problem))
    }

    fn tiles_backward(
        query: FlexTensor,
        key: FlexTensor,
        value: FlexTensor,
        seen: Seen<Self>,
        results: FlexTensor,
        norms: FlexTensor,
        gradient: FlexTensor,
        sizes: Sizes,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let inputs = [query, key, value];
        let [query, key, value] = if has_kernel(&inputs[0]) {
            let problem = problem(sizes, seen);
            by_float!(gradient, E => pull::<E>(inputs, [results, norms], gradient, &problem))
        } else {
            chunks::backward::<Self>(inputs, seen, [results, norms], gradient, &sizes)
        };
        (query, key, value)
    }
}

fn has_kernel(tensor: &FlexTensor) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::BF16)
}

fn problem(sizes: Sizes, seen: Seen<Flex>) -> Problem {
    let seen = match seen {
        Seen::All => None,
        Seen::Keys(keys) => Some(keys.into_data().iter::<bool>().collect()),
    };
    let Sizes { batch, queries, keys, heads, size, causal } = sizes;
    Problem { batch, queries, keys, heads, size, causal, seen }
}

fn attend<E: Float>(inputs: [FlexTensor; 3], problem: &Problem) -> (FlexTensor, FlexTensor) {
    let inputs = inputs.map(Values::<E>::of);
    let results = Output::<E>::new(inputs[0].shape());
    let norms = Output::<f32>::new(Shape::new([problem.batch, problem.heads, problem.queries]));
    forward(problem, Inputs::of(&inputs), results.places(), norms.places());
    (results.tensor(), norms.tensor())
}

fn pull<E: Float>(
    inputs: [FlexTensor; 3],
    [results, norms]: [FlexTensor; 2],
    gradient: FlexTensor,
    problem: &Problem,
) -> [FlexTensor; 3] {
    let inputs = inputs.map(Values::<E>::of);
    let (results, norms, gradient) = (Values::<E>::of(results), Values::<f32>::of(norms), Values::<E>::of(gradient));
    let outputs = Outputs { results: results.as_slice(), norms: norms.as_slice(), gradient: gradient.as_slice() };
    let [key, value] = [1, 2].map(|i| Output::<E>::new(inputs[i].shape()));
    let (towards_key, towards_value) = (key.places(), value.places());
    let query = Pass { problem, inputs: Inputs::of(&inputs), outputs, towards_key, towards_value }.run(inputs[0].shape());
    [query, key.tensor(), value.tensor()]
}
