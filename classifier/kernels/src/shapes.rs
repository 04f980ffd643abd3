//! What every kernel asks of the shapes that it is given. A call that does not fit is a mistake of the caller: it panics.

use burn::tensor::{DType, Tensor};

use crate::applies;

/// Vectors of `length` values that belong to `x`, and are of its type or of 32 bits where `x` goes through a kernel.
#[track_caller]
pub(crate) fn check_vectors<const D: usize>(kernel: &str, x: &Tensor<D>, length: usize, vectors: &[(&str, &Tensor<1>)]) {
    for (name, vector) in vectors {
        let [count] = vector.dims();
        assert!(count == length, "{kernel} of {:?}: {name} has {count} values, not {length}", x.dims());
        let dtype = vector.dtype();
        let fits = dtype == x.dtype() || dtype == DType::F32;
        assert!(!applies(x) || fits, "{kernel} of {:?}: {name} is of {dtype:?}", x.dtype());
    }
}

/// An input of which no axis is empty, and that has at least `axes`.
#[track_caller]
pub(crate) fn check_filled<const D: usize>(kernel: &str, x: &Tensor<D>, axes: usize) {
    let dims = x.dims();
    assert!(D >= axes, "{kernel} of {dims:?}: {axes} axes are needed");
    assert!(dims.iter().all(|&size| size > 0), "{kernel} of {dims:?}: no axis may be empty");
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Bool, Device, FloatDType, Tensor};

    use crate::{
        Activation, AdamWNumbers, AdamWStep, BottleneckOptions, DenseFeatures, Norm, Over, Stepped, Visible, attention,
        average_pool, batch_norm, conv2d, fixed_norm, geglu, group_norm, layer_norm, linear, max_pool, relu,
    };

    fn ones<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::ones(shape, &Device::flex())
    }

    fn norm(over: Over) -> Norm {
        Norm { over, epsilon: 1e-5, activation: Activation::Relu }
    }

    /// Scale and shift.
    fn affine(gamma: usize, beta: usize) -> [Tensor<1>; 2] {
        [ones([gamma]), ones([beta])]
    }

    fn options(stride: [usize; 2], dilation: [usize; 2], groups: usize) -> ConvOptions<2> {
        // Its constructor refuses zeros, its fields do not.
        ConvOptions { stride, dilation, groups, ..ConvOptions::new([1, 1], [0, 0], [1, 1], 1) }
    }

    fn convolved(input: [usize; 4], weight: [usize; 4], bias: Option<usize>, options: ConvOptions<2>) {
        conv2d(ones(input), ones(weight), bias.map(|bias| ones([bias])), options);
    }

    /// A layer after 4 channels, of so many values of mean, variance, gamma and beta.
    fn bottleneck([mean, variance, gamma, beta]: [usize; 4], weight: [usize; 4]) {
        let maps = DenseFeatures::start(ones([2, 4, 3, 3]), 8);
        let options = BottleneckOptions { epsilon: 1e-5, of_batch: false };
        let _ = maps.bottleneck([ones([mean]), ones([variance])], affine(gamma, beta), ones(weight), options);
    }

    fn attended(query: [usize; 3], key: [usize; 3], value: [usize; 3], heads: usize, seen: Option<[usize; 2]>) {
        let keys = seen.map(|seen| Tensor::<2, Bool>::full(seen, true, &Device::flex()));
        attention(ones(query), ones(key), ones(value), heads, &Visible { causal: false, keys });
    }

    fn stepped(weight: [usize; 2], first: [usize; 2], second: [usize; 2], gradient: [usize; 2]) {
        let numbers = AdamWNumbers { betas: [0.9, 0.999], epsilon: 1e-8, weight_decay: 0.1 };
        let before = Stepped { weight: ones(weight), moments: [ones(first), ones(second)] };
        AdamWStep::new(&numbers, 1, 1.0, 0.1).take(before, ones(gradient));
    }

    type Call = Box<dyn Fn()>;

    /// Calls that do not fit, of every kernel.
    fn misfits() -> Vec<(&'static str, Call)> {
        let image = [2, 4, 3, 3];
        let [batch, groups, last] = [Over::Batch, Over::Groups(2), Over::Last].map(norm);
        let half = |gamma: Tensor<1>| gamma.cast(FloatDType::F16);
        let plain = || options([1, 1], [1, 1], 1);
        let mut all: Vec<(&'static str, Call)> = Vec::new();
        let mut add = |name, call: Call| all.push((name, call));
        for wrong in [0, 1, 3, 5, 8] {
            add("layer norm, both", Box::new(move || _ = layer_norm(ones([2, 4]), affine(wrong, wrong), last)));
            add("layer norm, gamma", Box::new(move || _ = layer_norm(ones([2, 4]), affine(wrong, 4), last)));
            add("layer norm, beta", Box::new(move || _ = layer_norm(ones([2, 4]), affine(4, wrong), last)));
            add("group norm, gamma", Box::new(move || _ = group_norm(ones(image), affine(wrong, 4), groups)));
            add("group norm, beta", Box::new(move || _ = group_norm(ones(image), affine(4, wrong), groups)));
            add("batch norm, gamma", Box::new(move || _ = batch_norm(ones(image), affine(wrong, 4), batch)));
            add("batch norm, beta", Box::new(move || _ = batch_norm(ones(image), affine(4, wrong), batch)));
            let fixed = move |[mean, variance, gamma, beta]: [usize; 4]| {
                fixed_norm(ones(image), affine(mean, variance), affine(gamma, beta), batch);
            };
            add("fixed norm, all", Box::new(move || fixed([wrong; 4])));
            add("fixed norm, mean", Box::new(move || fixed([wrong, 4, 4, 4])));
            add("fixed norm, variance", Box::new(move || fixed([4, wrong, 4, 4])));
            add("fixed norm, gamma", Box::new(move || fixed([4, 4, wrong, 4])));
            add("fixed norm, beta", Box::new(move || fixed([4, 4, 4, wrong])));
            add("bottleneck, all", Box::new(move || bottleneck([wrong; 4], [3, wrong, 1, 1])));
            add("bottleneck, mean", Box::new(move || bottleneck([wrong, 4, 4, 4], [3, 4, 1, 1])));
            add("bottleneck, variance", Box::new(move || bottleneck([4, wrong, 4, 4], [3, 4, 1, 1])));
            add("bottleneck, gamma", Box::new(move || bottleneck([4, 4, wrong, 4], [3, 4, 1, 1])));
            add("bottleneck, beta", Box::new(move || bottleneck([4, 4, 4, wrong], [3, 4, 1, 1])));
            add("bottleneck, weight", Box::new(move || bottleneck([4; 4], [3, wrong, 1, 1])));
            add("convolution, weight", Box::new(move || convolved(image, [3, wrong, 1, 1], None, plain())));
            add("convolution, bias", Box::new(move || convolved(image, [4, 4, 1, 1], Some(wrong), plain())));
            add("linear, weight", Box::new(move || _ = linear(ones([2, 4]), ones([wrong, 3]), None)));
            add("linear, bias", Box::new(move || _ = linear(ones([2, 4]), ones([4, 4]), Some(ones([wrong])))));
            add("attention, key", Box::new(move || attended([2, 3, 4], [2, 5, wrong], [2, 5, 4], 2, None)));
            add("attention, value", Box::new(move || attended([2, 3, 4], [2, 5, 4], [2, 5, wrong], 2, None)));
            add("attention, values", Box::new(move || attended([2, 3, 4], [2, 4, 4], [2, wrong, 4], 2, None)));
            add("attention, batch", Box::new(move || attended([4, 3, 4], [wrong, 5, 4], [wrong, 5, 4], 2, None)));
            add("attention, seen", Box::new(move || attended([2, 3, 4], [2, 4, 4], [2, 4, 4], 2, Some([2, wrong]))));
            add("AdamW, first moment", Box::new(move || stepped([2, 4], [2, wrong], [2, 4], [2, 4])));
            add("AdamW, second moment", Box::new(move || stepped([2, 4], [2, 4], [2, wrong], [2, 4])));
            add("AdamW, gradient", Box::new(move || stepped([2, 4], [2, 4], [2, 4], [2, wrong])));
        }
        // As many numbers, in other shapes.
        add("AdamW, turned gradient", Box::new(|| stepped([2, 4], [2, 4], [2, 4], [4, 2])));
        add("bottleneck, wide weight", Box::new(|| bottleneck([4; 4], [3, 2, 2, 1])));
        add("bottleneck, no outputs", Box::new(|| bottleneck([4; 4], [0, 4, 1, 1])));
        add(
            "half a bottleneck",
            Box::new(|| {
                let maps = DenseFeatures::start(ones([2, 4, 3, 3]), 8);
                let weight = ones([3, 4, 1, 1]).cast(FloatDType::F16);
                let options = BottleneckOptions { epsilon: 1e-5, of_batch: false };
                let _ = maps.bottleneck(affine(4, 4), affine(4, 4), weight, options);
            }),
        );
        for other in [[2, 4, 3, 4], [2, 4, 9, 1], [1, 4, 3, 3], [4, 2, 3, 3], [2, 5, 3, 3], [2, 0, 3, 3]] {
            add("more maps", Box::new(move || _ = DenseFeatures::start(ones(image), 8).with(ones(other))));
        }
        add("maps with room", Box::new(|| _ = DenseFeatures::start(ones([2, 4, 3, 3]), 5).finish()));
        add("maps without room", Box::new(|| _ = DenseFeatures::start(ones([2, 4, 3, 3]), 3)));
        add("maps in half precision", Box::new(|| _ = DenseFeatures::start(ones([2, 4, 3, 3]).cast(FloatDType::F16), 4)));
        for empty in [[0, 4, 3, 3], [2, 0, 3, 3], [2, 4, 0, 3], [2, 4, 3, 0]] {
            let channels = empty[1];
            add("empty maps", Box::new(move || _ = DenseFeatures::start(ones(empty), 4)));
            add("empty batch norm", Box::new(move || _ = batch_norm(ones(empty), affine(channels, channels), batch)));
            add("empty group norm", Box::new(move || _ = group_norm(ones(empty), affine(channels, channels), groups)));
            add("empty layer norm", Box::new(move || _ = layer_norm(ones(empty), affine(empty[3], empty[3]), last)));
            let [statistics, scale] = [affine(channels, channels), affine(channels, channels)];
            add("empty fixed norm", Box::new(move || _ = fixed_norm(ones(empty), statistics.clone(), scale.clone(), batch)));
        }
        add("norm of one axis", Box::new(move || _ = batch_norm(ones([4]), affine(4, 4), batch)));
        add("groups that do not divide", Box::new(|| _ = group_norm(ones([2, 4, 3]), affine(4, 4), norm(Over::Groups(3)))));
        add("no groups", Box::new(|| _ = group_norm(ones([2, 4, 3]), affine(4, 4), norm(Over::Groups(0)))));
        add("half a scale", Box::new(move || _ = layer_norm(ones([2, 4]), affine(4, 4).map(half), last)));
        add("kernel too large", Box::new(move || convolved(image, [3, 4, 4, 1], None, plain())));
        add("no stride", Box::new(move || convolved(image, [3, 4, 1, 1], None, options([0, 1], [1, 1], 1))));
        add("no dilation", Box::new(move || convolved(image, [3, 4, 1, 1], None, options([1, 1], [1, 0], 1))));
        add("no convolution groups", Box::new(move || convolved(image, [3, 4, 1, 1], None, options([1, 1], [1, 1], 0))));
        add("odd convolution groups", Box::new(move || convolved(image, [3, 2, 1, 1], None, options([1, 1], [1, 1], 2))));
        add("no heads", Box::new(|| attended([2, 3, 4], [2, 3, 4], [2, 3, 4], 0, None)));
        add("heads that do not divide", Box::new(|| attended([2, 3, 4], [2, 3, 4], [2, 3, 4], 3, None)));
        add("seen in another batch", Box::new(|| attended([2, 3, 4], [2, 4, 4], [2, 4, 4], 2, Some([4, 2]))));
        add("seen of an empty query", Box::new(|| attended([2, 0, 4], [2, 4, 4], [2, 4, 4], 2, Some([4, 2]))));
        add("odd geglu", Box::new(|| _ = geglu(ones([2, 3]))));
        add("empty geglu", Box::new(|| _ = geglu(ones([2, 0]))));
        all
    }

    #[test]
    fn no_kernel_takes_shapes_that_do_not_fit() {
        let mut wrong = Vec::new();
        for (i, (name, call)) in misfits().into_iter().enumerate() {
            match catch_unwind(AssertUnwindSafe(call)) {
                Ok(()) => wrong.push(format!("{i}: {name} was taken")),
                Err(panic) => {
                    let message = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    if !message.contains(|c: char| c.is_ascii_digit()) {
                        wrong.push(format!("{i}: {name} says no number: {message:?}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn what_has_no_elements_gives_none() {
        assert_eq!(relu(ones([0, 3])).dims(), [0, 3]);
        assert_eq!(geglu(ones([0, 4])).dims(), [0, 2]);
        assert_eq!(linear(ones([0, 6]), ones([6, 4]), None).dims(), [0, 4]);
        assert_eq!(conv2d(ones([0, 3, 5, 5]), ones([2, 3, 3, 3]), None, options([1, 1], [1, 1], 1)).dims(), [0, 2, 3, 3]);
        assert_eq!(max_pool(ones([0, 3, 4, 4])).dims(), [0, 3, 2, 2]);
        assert_eq!(average_pool(ones([0, 3, 4, 4])).dims(), [0, 3, 2, 2]);
        let empty = attention(ones([2, 0, 4]), ones([2, 3, 4]), ones([2, 3, 4]), 2, &Visible::default());
        assert_eq!(empty.dims(), [2, 0, 4]);
    }
}
