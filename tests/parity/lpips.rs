//! 17_quality, `lpips/*`: AlexNet and the distance made of its maps.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{Tensor, TensorData};
use roentgen::evaluation::features::networks::{Looks, Lpips, LpipsDistance};
use safetensors::tensor::{Dtype, TensorView};

use super::device::chosen_device;
use super::{Array, Case, Outputs, rule};

pub fn compute(case: &Case) -> Option<Outputs> {
    let has = |input: &str| case.optional_input(input).is_some();
    match () {
        () if case.params.get("layers").is_some() && has("a0") && has("w0") => Some(stacks(case)),
        () if case.params.get("tensors").is_some() && has("image_a") => Some(by_rule(case)),
        () => None,
    }
}

fn stacks(case: &Case) -> Outputs {
    let layers = case.params["layers"].as_u64().expect("a number of layers");
    let all = |letter: &str| -> Vec<Tensor<4>> { (0..layers).map(|i| tensor(case.input(&format!("{letter}{i}")))).collect() };
    let weights: Vec<Tensor<4>> = all("w").into_iter().map(|weight| weight.reshape([1, -1, 1, 1])).collect();
    outputs(Looks::of(all("a")).distance(&Looks::of(all("b")), &weights))
}

/// The files that a user has, with weights by the rule.
fn by_rule(case: &Case) -> Outputs {
    let listed: Vec<(String, Vec<usize>)> = serde_json::from_value(case.params["tensors"].clone()).unwrap();
    let salt = case.params["salt"].as_str().unwrap();
    let tensors: BTreeMap<&str, (&[usize], Vec<f32>)> = listed
        .iter()
        .map(|(name, shape)| {
            let mut values = rule::tensor(salt, name, shape, false);
            if name.starts_with("lin") {
                values.iter_mut().for_each(|value| *value = value.abs());
            }
            (name.as_str(), (shape.as_slice(), values))
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let [alexnet, channels] = ["alexnet", "lin"].map(|name| folder.path().join(name));
    write(&alexnet, tensors.iter().filter(|(name, _)| !name.starts_with("lin")));
    write(&channels, tensors.iter().filter(|(name, _)| name.starts_with("lin")));
    let lpips = Lpips::open(&alexnet, &channels, &chosen_device()).unwrap();
    let [a, b] = ["image_a", "image_b"].map(|image| lpips.look(tensor(case.input(image))));
    outputs(lpips.distance(&a, &b))
}

/// torchvision's and lpips's files with weights by the rule.
pub fn write_files(alexnet: &Path, channels: &Path) {
    let kernels = [(0, 64, 3, 11), (3, 192, 64, 5), (6, 384, 192, 3), (8, 256, 384, 3), (10, 256, 256, 3)];
    let mut network: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (layer, outputs, inputs, side) in kernels {
        network.insert(format!("features.{layer}.weight"), vec![outputs, inputs, side, side]);
        network.insert(format!("features.{layer}.bias"), vec![outputs]);
    }
    let lins =
        kernels.iter().enumerate().map(|(at, (_, outputs, ..))| (format!("lin{at}.model.1.weight"), vec![1, *outputs, 1, 1]));
    let lins: BTreeMap<String, Vec<usize>> = lins.collect();
    for (path, shapes, positive) in [(alexnet, &network, false), (channels, &lins, true)] {
        let value = |value: f32| if positive { value.abs() } else { value };
        let values = |name: &str, shape: &[usize]| rule::tensor("lpips", name, shape, false).into_iter().map(value).collect();
        let tensors = shapes.iter().map(|(name, shape)| (name.as_str(), (shape.as_slice(), values(name, shape))));
        let tensors: BTreeMap<&str, (&[usize], Vec<f32>)> = tensors.collect();
        write(path, tensors.iter());
    }
}

fn write<'a>(path: &Path, tensors: impl Iterator<Item = (&'a &'a str, &'a (&'a [usize], Vec<f32>))>) {
    let bytes: Vec<(&str, &[usize], Vec<u8>)> = tensors
        .map(|(name, (shape, values))| (*name, *shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn outputs(LpipsDistance { layers, distance }: LpipsDistance) -> Outputs {
    vec![("layers".to_owned(), array(layers)), ("distance".to_owned(), array(distance))]
}

fn tensor(array: &Array) -> Tensor<4> {
    let [first, rest @ ..] = array.shape.as_slice() else { panic!("a tensor of no dimension") };
    // A weight per channel may come as a vector.
    let shape = if rest.is_empty() { [1, *first, 1, 1] } else { array.shape.as_slice().try_into().unwrap() };
    Tensor::from_data(TensorData::new(array.f32(), shape), &chosen_device())
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
