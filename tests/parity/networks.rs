//! 14_networks: ResNet and ConvNeXt, from every file that a folder has.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::Device;
use burn::tensor::activation::sigmoid;
use roentgen_augment::batch::{CxrBatch, InputRange};
use roentgen_augment::image::{GrayImage, Pixels, Xrv};
use roentgen_classifier::loss::{KnownLabels, MaskedBce};
use roentgen_classifier::networks::{
    ConvNeXtConfig, Network, NetworkShape, ResNetConfig, ResNetOutput, ResidualBlock, branch_factors,
};
use roentgen_classifier::predict::op_norm;
use roentgen_classifier::weights::{LoadedWeights, infer_config};
use safetensors::SafeTensors;
use serde_json::Value;

use super::classifier::{array, batch, norms_by_name, ruled, saved, with_changes};
use super::device::chosen_device;
use super::{Array, Case, Outputs};

/// Probability that the last block of a case with stochastic depth is left out.
const DEPTH_RATE: f64 = 0.2;
/// What torchxrayvision's `features` resizes to.
const XRV_FEATURES_SIDE: usize = 512;

pub fn compute(case: &Case) -> Option<Outputs> {
    let says = |key: &str| case.params.get(key).is_some();
    Some(match &case.checkpoint {
        Some(_) if says("optimizer") => training(case),
        Some(folder) => forward(case, &loaded(folder), &config(folder)),
        None if says("salt") => forward(case, &by_rule(case), &Value::Null),
        None => return None,
    })
}

/// The net of a folder; all of its files hold the same one.
fn loaded(folder: &Path) -> Network {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension != "json"));
    let load = |file: &PathBuf| -> LoadedWeights { Network::load(file, &chosen_device()).unwrap() };
    let first = load(&folder.join("model.safetensors"));
    let shape = first.net.shape();
    let values = saved(&first.net, &shape);
    for file in &files {
        let LoadedWeights { net, op_threshs } = load(file);
        assert_eq!(infer_config(file).unwrap(), shape, "{}", file.display());
        assert!(saved(&net, &shape) == values, "{} holds other weights than model.safetensors", file.display());
        assert_eq!(op_threshs.is_some(), file.ends_with("wrapper_state.pt"), "{}", file.display());
    }
    let (block, stem) = match &shape {
        NetworkShape::ResNet(ResNetConfig { block: ResidualBlock::Basic, stem, .. }) => ("BasicBlock", *stem),
        NetworkShape::ResNet(ResNetConfig { stem, .. }) => ("Bottleneck", *stem),
        _ => return first.net,
    };
    let config = config(folder);
    assert_eq!((config["block"].as_str(), config["stem"].as_u64()), (Some(block), Some(stem as u64)));
    first.net
}

fn config(folder: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
}

fn by_rule(case: &Case) -> Network {
    let number = |key: &str| case.params[key].as_u64().unwrap() as usize;
    let list = |value: &Value| value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect::<Vec<_>>();
    let shape = if let Some(stages) = case.params.get("stages") {
        let stages: Vec<Vec<Option<usize>>> = serde_json::from_value(stages.clone()).unwrap();
        let column = |i: usize| stages.iter().map(|stage| stage[i].unwrap()).collect();
        ConvNeXtConfig { channels: column(0), layers: column(2), in_channels: 3, num_classes: number("num_classes") }.into()
    } else {
        ResNetConfig {
            block: if case.params["block"] == "Bottleneck" { ResidualBlock::Bottleneck } else { ResidualBlock::Basic },
            layers: list(&case.params["layers"]),
            planes: list(&case.params["planes"]),
            stem: number("stem"),
            in_channels: number("in_channels"),
            num_classes: number("num_classes"),
        }
        .into()
    };
    ruled(case.params["salt"].as_str().unwrap(), &shape)
}

/// The range of a network's images: one channel is torchxrayvision's.
fn range(net: &Network) -> InputRange {
    if net.shape().in_channels() == 1 { InputRange::Xrv } else { InputRange::Imagenet }
}

fn forward(case: &Case, net: &Network, config: &Value) -> Outputs {
    let images = case.input("images_u8");
    let [_, _, height, width] = images.shape[..] else { panic!("images are [B, 1, H, W]") };
    let pictures = images.u8();
    let mut pictures: Vec<Pixels<Xrv>> =
        pictures.chunks(height * width).map(|image| GrayImage::from_u8(width, height, image).to_pixels()).collect();
    let mut all = Outputs::new();
    // torchxrayvision's wrapper resizes to the side of its weights.
    let outputs: Vec<&str> = case.output_names().collect();
    let side = match config["input_resolution"].as_u64() {
        Some(_) if outputs == ["features"] => Some(XRV_FEATURES_SIDE),
        side => side.map(|side| side as usize),
    };
    if let Some(side) = side.filter(|side| [height, width] != [*side; 2]) {
        pictures = pictures.iter().map(|picture| picture.resize_torch(side, side)).collect();
        let values: Vec<f32> = pictures.iter().flat_map(|picture| picture.values().to_vec()).collect();
        all.push(("resized".into(), Array::new(&[pictures.len(), 1, side, side], &values)));
    }
    let pictures: Vec<_> = pictures.iter().map(Pixels::convert).collect();
    let images = range(net).stack(&pictures, &chosen_device());
    let logits = match net {
        Network::ResNet(net) => {
            let ResNetOutput { stem, stages, features, logits } = net.forward_detailed(images);
            all.push(("stem".into(), array(stem)));
            all.extend(stages.into_iter().enumerate().map(|(i, stage)| (format!("layer{}", i + 1), array(stage))));
            all.push(("features".into(), array(features)));
            logits
        }
        Network::ConvNeXt(net) => {
            let out = net.forward_detailed(images, None);
            all.extend(out.maps.into_iter().enumerate().map(|(i, map)| (format!("features.{i}"), array(map))));
            all.extend([("pooled".into(), array(out.pooled)), ("features".into(), array(out.features))]);
            out.logits
        }
        Network::DenseNet(_) | Network::Vit(_) => panic!("{} is of a {}", case.name, net.family()),
    };
    all.push(("logits".into(), array(logits.clone())));
    let probabilities = array(sigmoid(logits));
    if let Some(thresholds) =
        case.checkpoint.as_ref().map(|folder| folder.join("wrapper_state.pt")).filter(|file| file.is_file())
    {
        let thresholds = Network::load(&thresholds, &chosen_device()).unwrap().op_threshs.unwrap();
        let normed = probabilities
            .f32()
            .iter()
            .enumerate()
            .map(|(i, p)| op_norm(*p, thresholds[i % thresholds.len()]))
            .collect::<Vec<_>>();
        all.push(("output".into(), Array::new(&probabilities.shape, &normed)));
    }
    all.push(("probabilities".into(), probabilities));
    all.retain(|(name, _)| outputs.contains(&name.as_str()));
    all
}

/// Training batches that the file's norms have seen. Nets don't keep the counter, which PyTorch reads only of norms without a momentum.
fn counted(case: &Case) -> f64 {
    let path = case.checkpoint.as_ref().unwrap().join("model.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensor("bn1.num_batches_tracked").map_or(0.0, |counter| Array::read(&counter).unwrap().values[0])
}

fn training(case: &Case) -> Outputs {
    let device = chosen_device().autodiff();
    let start = loaded(case.checkpoint.as_ref().unwrap());
    let (shape, range) = (start.shape(), range(&start));
    let mut net = start.train().unfreeze();
    let before = saved(&net, &shape);
    let (images, targets) = (case.input("images_u8"), case.input("targets"));
    let [steps, count, _, height, width] = images.shape[..] else { panic!("images are [S, B, 1, H, W]") };
    let findings = targets.shape[2];
    let step_batch = |step: usize, device: &Device| {
        let images = images.u8()[step * count * height * width..][..count * height * width].to_vec();
        let targets = targets.f32()[step * count * findings..][..count * findings].to_vec();
        batch(&images, [height, width], range, &targets, findings, device)
    };
    let number = |key: &str| case.params[key].as_f64().unwrap();
    assert_eq!(case.params["optimizer"], "SGD");
    let mut optimizer: ModuleOptimizer = SgdConfig::new()
        .with_momentum(Some(MomentumConfig::new().with_momentum(number("momentum")).with_dampening(0.0)))
        .with_weight_decay(Some(WeightDecayConfig::new(number("weight_decay") as f32)))
        .init();
    let (mut losses, mut logits, mut norms) = (Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let CxrBatch { images, targets, mask, known, .. } = step_batch(step, &device);
        let known = KnownLabels::count([&known[..]], findings);
        let given = case.optional_input("keep").map(|keep| {
            let blocks = keep.shape[1];
            let keep: Vec<bool> =
                keep.values[step * blocks * count..][..blocks * count].iter().map(|keep| *keep > 0.5).collect();
            branch_factors(&keep, count, DEPTH_RATE, &device)
        });
        let out = match (&net, given) {
            (Network::ConvNeXt(net), Some(factors)) => net.forward_detailed(images, Some(factors)).logits,
            (net, _) => net.forward(images),
        };
        logits.extend(out.clone().into_data().try_to_vec::<f32>().unwrap());
        let loss = MaskedBce::default().forward(out, targets, mask, &known);
        losses.push(loss.clone().into_scalar::<f64>());
        let grads = GradientsParams::from_grads(loss.backward(), &net);
        if step == 0 {
            norms = norms_by_name(&net, &grads, &case.params["parameter_names"]);
        }
        net = optimizer.step(number("lr"), net, grads);
    }
    let after = saved(&net, &shape);
    let mut all: Outputs = vec![
        ("losses".into(), Array::new(&[steps], &losses)),
        ("train_logits".into(), Array::new(&[steps, count, findings], &logits)),
        ("first_step_grad_norms".into(), Array::new(&[norms.len()], &norms)),
        ("stats/bn1.num_batches_tracked".into(), Array::scalar(counted(case) + steps as f64)),
    ];
    all.extend(with_changes(case, &before, &after));
    let first = step_batch(0, &chosen_device());
    all.push(("eval_logits_after".into(), array(net.valid().forward(first.images))));
    all
}
