use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{FloatDType, Tensor, module};
use proptest::prelude::*;

use super::{add_to_channels, join_channels, nearest};
use crate::elementwise::add::add;
use crate::testing::{Draws, brain, wide};

/// Equal to burn's operation on the same numbers, bit for bit; brain floats are rounded once.
fn equals<const D: usize, const M: usize>(
    x: [Tensor<D>; M],
    ours: impl Fn([Tensor<D>; M]) -> Tensor<D>,
    burns: impl Fn([Tensor<D>; M]) -> Tensor<D>,
) {
    assert_eq!(ours(x.clone()).into_data(), burns(x.clone()).into_data());
    let x = x.map(|x| brain(&x));
    let expected = burns(x.clone().map(|x| wide(&x))).cast(FloatDType::BF16);
    assert_eq!(ours(x.clone()).into_data(), expected.clone().into_data());
    // Of tensors that nobody else holds.
    let copies = x.map(|x| Tensor::from_data(x.into_data(), (&burn::tensor::Device::flex(), burn::tensor::DType::BF16)));
    assert_eq!(ours(copies).into_data(), expected.into_data());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn maps_are_burns(
        batch in 1usize..4, channels in 1usize..40, others in 1usize..5, height in 1usize..9, width in 1usize..40,
        size in [1usize..20, 1usize..50], seed: u64,
    ) {
        let mut draws = Draws::new(seed);
        let shape = [batch, channels, height, width];
        let x = draws.normal(shape);
        equals([x.clone(), draws.normal(shape)], |[a, b]| add(a, b), |[a, b]| a + b);
        let other = draws.normal([batch, others, height, width]);
        equals([x.clone(), other], |[a, b]| join_channels(a, b), |[a, b]| Tensor::cat(vec![a, b], 1));
        let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(size);
        equals([x.clone()], |[x]| nearest(x, size), |[x]| module::interpolate(x, options.clone()));
        let by = draws.normal([batch, channels, 1, 1]);
        equals(
            [x, by],
            |[x, by]| add_to_channels(x, by.squeeze_dims::<2>(&[2, 3])),
            |[x, by]| x + by,
        );
    }

    #[test]
    fn tokens_are_added_in_place(batch in 1usize..3, channels in 1usize..80, tokens in 1usize..80, seed: u64) {
        let mut draws = Draws::new(seed);
        let x = [draws.normal([batch, channels, tokens]), draws.normal([batch, channels, tokens])];
        // The second is of the same numbers, and lies transposed.
        let turned = |b: Tensor<3>| {
            let data = b.swap_dims(1, 2).into_data();
            let dtype = data.dtype();
            Tensor::<3>::from_data(data, (&burn::tensor::Device::flex(), dtype)).swap_dims(1, 2)
        };
        equals(x.clone(), |[a, b]| add(a, turned(b)), |[a, b]| a + b);
        equals(x, |[a, b]| add(turned(a), b), |[a, b]| a + b);
    }
}

#[test]
fn what_others_hold_is_not_overwritten() {
    let mut draws = Draws::new(1);
    let x = draws.normal([1, 2, 3, 4]);
    let before = x.to_data();
    add(x.clone(), x.clone()).into_data();
    add(x.clone(), draws.normal([1, 2, 3, 4])).into_data();
    add_to_channels(x.clone(), draws.normal([1, 2])).into_data();
    assert_eq!(x.into_data(), before);
}

#[test]
fn gradients_are_burns() {
    let mut draws = Draws::new(1);
    let x = draws.normal([1, 2, 2, 3]).autodiff().require_grad();
    let y = join_channels(nearest(add(x.clone(), x.clone()), [4, 6]), draws.normal([1, 1, 4, 6]).autodiff());
    let mut gradients = y.sum().backward();
    // Twice, at four places each.
    let gradient = x.grad_remove(&mut gradients).unwrap();
    assert_eq!(gradient.into_data().try_to_vec::<f32>().unwrap(), [8.0; 12]);
}
