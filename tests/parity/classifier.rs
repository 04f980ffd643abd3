//! 08_classifier: networks, losses and training steps, by the product's own code.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn::train::Interrupter;
use roentgen_augment::batch::{CxrBatch, InputRange};
use roentgen_augment::image::{GrayImage, Pixels, Signed};
use roentgen_classifier::loss::{KnownLabels, MaskedBce, Reduction};
use roentgen_classifier::networks::{DenseNetConfig, Family, Network, NetworkShape, StochasticDepth};
use roentgen_classifier::predict::op_norm;
use roentgen_classifier::training::{OptimizerKind, Precision, Recipe, StepBatch, TrainConfig, TrainedPart, Trainee};
use roentgen_classifier::weights::{Card, LoadOptions, infer_config, load_weights, published_name, save_weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs, rule};

pub fn compute(case: &Case) -> Option<Outputs> {
    compute_in(case, Precision::Fp32)
}

/// Networks compute in that precision.
pub(super) fn compute_in(case: &Case, precision: Precision) -> Option<Outputs> {
    let (has, says) = (|input: &str| case.optional_input(input).is_some(), |key: &str| case.params.get(key).is_some());
    Some(match case.name.rsplit('/').next()? {
        _ if says("optimizer") => training(case, precision),
        _ if says("block_config") => by_rule(case, precision),
        _ if says("salt") => uniform(&case.params),
        _ if case.checkpoint.is_some() && has("image") => detailed(case, &load(case, &chosen_device()), precision),
        _ if has("op_threshs") => op_norms(case),
        kind if has("logits") => loss(case, kind),
        _ => return None,
    })
}

fn load(case: &Case, device: &Device) -> Network {
    let file = case.checkpoint.as_ref().expect("the case has a checkpoint").join("model.safetensors");
    let config = infer_config(&file).unwrap();
    load_weights(config.init(device), &file, LoadOptions::default()).unwrap().net
}

fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

pub(super) fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().iter::<f32>().collect::<Vec<_>>())
}

/// Only the outputs of the case.
fn outputs(case: &Case, all: Vec<(&str, Array)>) -> Outputs {
    let wanted: Vec<&str> = case.output_names().collect();
    all.into_iter().filter(|(name, _)| wanted.contains(name)).map(|(name, array)| (name.to_owned(), array)).collect()
}

fn detailed(case: &Case, net: &Network, precision: Precision) -> Outputs {
    let Network::DenseNet(net) = net else { panic!("{} is of DenseNets", case.name) };
    let images: Tensor<4> = tensor(case.input("image"), &chosen_device());
    let out = net.forward_detailed(images.cast(precision.dtype()));
    let all = vec![
        ("logits", array(out.logits)),
        ("features", array(out.features)),
        ("pooled", array(out.pooled)),
        ("conv0", array(out.conv0)),
        ("denseblock1", array(out.denseblock1)),
    ];
    outputs(case, all)
}

fn op_norms(case: &Case) -> Outputs {
    let (probabilities, thresholds) = (case.input("probabilities"), case.input("op_threshs").f32());
    let normed: Vec<f32> =
        probabilities.f32().iter().enumerate().map(|(i, p)| op_norm(*p, thresholds[i % thresholds.len()])).collect();
    vec![("normed".into(), Array::new(&probabilities.shape, &normed))]
}

fn uniform(params: &Value) -> Outputs {
    let (salt, name) = (params["salt"].as_str().unwrap(), params["name"].as_str().unwrap());
    let us = rule::uniform(salt, name, 4);
    let values = rule::tensor(salt, name, &[64, 3, 7, 7], false);
    vec![("u".into(), Array::new(&[4], &us)), ("values".into(), Array::new(&[4], &values[..4]))]
}

fn card(config: &NetworkShape) -> Card {
    Card {
        config: config.clone(),
        findings: (0..config.num_classes()).map(|i| format!("label_{i}")).collect(),
        input_range: if config.in_channels() == 1 { InputRange::Xrv } else { InputRange::Imagenet },
        image_size: 64,
        precision: Precision::Fp32,
        preprocess: Value::Null,
    }
}

/// Tensors of a saved net by torchvision name.
pub(super) fn saved(net: &Network, config: &NetworkShape) -> BTreeMap<String, Array> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    save_weights(net, &path, &card(config)).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter().map(|(name, view)| (name.to_owned(), Array::read(&view).unwrap())).collect()
}

/// A full net with the README's weights, through a file as a user would load one.
fn by_rule(case: &Case, precision: Precision) -> Outputs {
    let number = |key: &str| case.params[key].as_u64().unwrap() as usize;
    let salt = case.params["salt"].as_str().unwrap();
    let config = DenseNetConfig {
        growth_rate: number("growth_rate"),
        block_config: serde_json::from_value(case.params["block_config"].clone()).unwrap(),
        num_init_features: number("num_init_features"),
        bn_size: number("bn_size"),
        in_channels: number("in_channels"),
        num_classes: number("num_classes"),
    };
    detailed(case, &ruled(salt, &config.into()), precision)
}

/// A net whose weights are those of the rule, through a file as a user would load one.
pub(super) fn ruled(salt: &str, shape: &NetworkShape) -> Network {
    let device = chosen_device();
    let names = saved(&shape.init(&device), shape);
    let floats = names.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    let filled: Vec<(String, Vec<usize>, Vec<u8>)> = floats
        .map(|(name, array)| {
            let values = rule::tensor(salt, name, &array.shape, true);
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name.clone(), array.shape.clone(), bytes.collect())
        })
        .collect();
    let views = filled.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rule.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    load_weights(shape.init(&device), &path, LoadOptions::default()).unwrap().net
}

fn bce(kind: &str, case: &Case) -> MaskedBce {
    MaskedBce {
        reduction: if kind.starts_with("xrv") { Reduction::SumOfFindingMeans } else { Reduction::Mean },
        pos_weight: kind.contains("pos_weight").then(|| case.input("pos_weight").f32()),
        task_weights: kind.contains("weighted").then(|| case.input("task_weights").f32()),
    }
}

/// Targets with NaN as 0, and the mask.
fn split_targets(values: &[f32]) -> (Vec<f32>, Vec<f32>) {
    values.iter().map(|v| if v.is_nan() { (0.0, 0.0) } else { (*v, 1.0) }).unzip()
}

fn loss(case: &Case, kind: &str) -> Outputs {
    let device = chosen_device().autodiff();
    let shape = case.input("logits").shape.clone();
    let (targets, mask) = split_targets(&case.input("targets").f32());
    let known = KnownLabels::count([&mask[..]], shape[1]);
    let on_device = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, shape.clone()), &device);
    let logits: Tensor<2> = tensor::<2>(case.input("logits"), &device).require_grad();
    let loss = bce(kind, case).forward(logits.clone(), on_device(targets), on_device(mask), &known);
    let grads = loss.backward();
    let gradient = logits.grad(&grads).expect("logits take part in the loss");
    vec![("loss".into(), Array::scalar(loss.into_scalar::<f64>())), ("grad".into(), array(gradient))]
}

pub(super) fn batch(
    images: &[u8],
    side: [usize; 2],
    range: InputRange,
    targets: &[f32],
    findings: usize,
    device: &Device,
) -> CxrBatch {
    let pixels: Vec<Pixels<Signed>> =
        images.chunks(side[0] * side[1]).map(|image| GrayImage::from_u8(side[1], side[0], image).to_pixels()).collect();
    let (targets, mask) = split_targets(targets);
    let shape = [pixels.len(), findings];
    CxrBatch {
        images: range.stack(&pixels, device),
        targets: Tensor::from_data(TensorData::new(targets, shape), device),
        mask: Tensor::from_data(TensorData::new(mask.clone(), shape), device),
        known: Arc::from(mask),
        records: Vec::new(),
    }
}

fn training(case: &Case, precision: Precision) -> Outputs {
    let device = chosen_device().autodiff();
    let file = case.checkpoint.as_ref().unwrap().join("model.safetensors");
    let config = infer_config(Path::new(&file)).unwrap();
    let range = if config.in_channels() == 1 { InputRange::Xrv } else { InputRange::Imagenet };
    let (images, targets) = (case.input("images_u8"), case.input("targets"));
    let [steps, count, _, height, width] = images.shape[..] else { panic!("images are [S, B, 1, H, W]") };
    let findings = targets.shape[2];
    let images_of = |step: usize| images.u8()[step * count * height * width..][..count * height * width].to_vec();
    let targets_of = |step: usize| targets.f32()[step * count * findings..][..count * findings].to_vec();

    let number = |key: &str| case.params[key].as_f64().unwrap();
    let adam = case.params["optimizer"] == "Adam";
    let settings = TrainConfig {
        optimizer: if adam { OptimizerKind::Amsgrad } else { OptimizerKind::AdamW },
        learning_rate: number("lr"),
        weight_decay: number("weight_decay") as f32,
        ..TrainConfig::default()
    };
    let loss = match case.params["loss"].as_str().unwrap() {
        "xrv" => MaskedBce { reduction: Reduction::SumOfFindingMeans, ..MaskedBce::default() },
        "xrv_taskweights" => bce("xrv_weighted", case),
        _ if case.optional_input("pos_weight").is_some() => bce("mean_pos_weight", case),
        _ => MaskedBce::default(),
    };
    let recipe = Recipe {
        part: TrainedPart::Whole,
        depth: StochasticDepth { rate: 0.0, seed: 0, pass: 0 },
        loss,
        clip_norm: 0.0,
        interrupter: Interrupter::new(),
        non_finite: Arc::default(),
    };
    let mut trainee = Trainee::new(load(case, &chosen_device()).train().unfreeze(), recipe);
    let before = saved(&trainee.net, &config);
    let mut optimizer = settings.optimizer();

    let (mut losses, mut logits, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let micro = batch(&images_of(step), [height, width], range, &targets_of(step), findings, &device);
        let micro = precision.of_images(micro);
        // A copy with statistics of its own: the step's forward pass must be the only one that they see.
        let copy = trainee.net.clone().valid().train();
        logits.extend(copy.forward(micro.images.clone()).into_data().try_to_vec::<f32>().unwrap());
        let (grads, loss, _) = trainee.gradients(StepBatch { step: step + 1, micro: vec![micro] });
        losses.push(loss);
        if step == 0 {
            norms = norms_by_name(&trainee.net, &grads, &case.params["parameter_names"]);
        }
        trainee = optimizer.step(settings.learning_rate, trainee, grads);
    }

    let after = saved(&trainee.net, &config);
    let mut all: Outputs = vec![
        ("losses".into(), Array::new(&[steps], &losses)),
        ("train_logits".into(), Array::new(&[steps, count, findings], &logits)),
        ("first_step_grad_norms".into(), Array::new(&[norms.len()], &norms)),
        ("stats/num_batches_tracked".into(), Array::scalar(steps as f64)),
    ];
    all.extend(with_changes(case, &before, &after));
    let plain = chosen_device();
    let first = batch(&images_of(0), [height, width], range, &targets_of(0), findings, &plain);
    all.push(("eval_logits_after".into(), array(trainee.net.valid().forward(precision.of_images(first).images))));
    all
}

/// The statistics and changes of tensors that the case judges.
pub(super) fn with_changes(case: &Case, before: &BTreeMap<String, Array>, after: &BTreeMap<String, Array>) -> Outputs {
    let mut all = Outputs::new();
    for output in case.output_names() {
        let is_float = |name: &&str| after.contains_key(*name) && !name.ends_with("num_batches_tracked");
        if let Some(name) = output.strip_prefix("stats/").filter(is_float) {
            all.push((output.to_owned(), after[name].clone()));
        }
        if let Some(name) = output.strip_prefix("delta/") {
            let changed = after[name].values.iter().zip(&before[name].values).map(|(a, b)| a - b).collect();
            all.push((output.to_owned(), Array { shape: after[name].shape.clone(), values: changed }));
        }
    }
    all
}

/// Norm of each parameter's gradient, in the order that the fixture lists them.
pub(super) fn norms_by_name(net: &Network, grads: &GradientsParams, order: &Value) -> Vec<f64> {
    struct Norms<'a> {
        family: Family,
        path: Vec<String>,
        grads: &'a GradientsParams,
        norms: BTreeMap<String, f64>,
    }
    impl ModuleVisitor for Norms<'_> {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                let name = published_name(self.family, &self.path.join(".")).expect("every parameter has a published name");
                self.norms.insert(name, grad.square().sum().into_scalar::<f64>().sqrt());
            }
        }
    }
    let mut visitor = Norms { family: net.family(), path: Vec::new(), grads, norms: BTreeMap::new() };
    net.visit(&mut visitor);
    order.as_array().unwrap().iter().map(|name| visitor.norms[name.as_str().unwrap()]).collect()
}
