//! Networks that make features, with weights by the README's rule, against numbers of the reference implementations
//! (`tests/interop/feature_networks.py` prints them); and files that are no such network's.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{FloatDType, Tensor, TensorData};
use roentgen::diffusion::text::{EncoderFolder, TextEncoder, TextInput};
use roentgen::diffusion::weights::{KeyMap, init_with};
use roentgen::evaluation::features::networks::{
    Clip, ClipImageConfig, ClipImageKeys, ClipTexts, Inception, InceptionKeys, InceptionV3, Lpips, RadDino, VitKeys, load_vit,
};
use roentgen::evaluation::features::{FeatureNetwork, ResizePath};
use roentgen_augment::image::RgbImage;
use roentgen_classifier::networks::vit::VitConfig;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::device::chosen_device;
use super::rule;

const SALT: &str = "features";

/// Shape and values by name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Every tensor of a model's file, by the rule.
fn tensors<M: Module>(model: M, keys: &dyn KeyMap) -> Tensors {
    let mut tensors = Tensors::new();
    let value = |name: &str, shape: &[usize]| {
        let values = rule::tensor(SALT, name, shape, true);
        tensors.insert(name.to_owned(), (shape.to_vec(), values.clone()));
        Ok(TensorData::new(values, shape.to_vec()))
    };
    init_with(model, keys, FloatDType::F32, value).unwrap();
    tensors
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn image(height: usize, width: usize) -> RgbImage {
    let level = |c: usize, y: usize, x: usize| ((x * 7 + y * 13 + c * 29 + (x * y) / 5) % 256) as u8;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (y, x)));
    RgbImage { width, height, samples: pixels.flat_map(|(y, x)| [0, 1, 2].map(|c| level(c, y, x))).collect() }
}

/// Some features, and the length of all.
fn assert_features(found: &[f32], some: &[(usize, f64)], norm: f64, close: f64) {
    let length = found.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    assert!((length - norm).abs() < close * norm, "{length}, {norm}");
    for &(index, expected) in some {
        assert!((f64::from(found[index]) - expected).abs() < close * norm.max(1.0), "{index}: {}, {expected}", found[index]);
    }
}

fn folder(config: &Value, processor: &Value, tensors: &Tensors) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.path().join("preprocessor_config.json"), processor.to_string()).unwrap();
    write(&folder.path().join("model.safetensors"), tensors);
    folder
}

#[test]
fn inception_has_pytorch_fids_features() {
    let device = chosen_device();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pt_inception");
    let mut all = tensors(InceptionV3::new(&device), &InceptionKeys);
    all.insert("fc.bias".to_owned(), (vec![1008], vec![0.0; 1008]));
    write(&file, &all);
    let inception = Inception::open(&file, None, &device).unwrap();
    let found = inception.features(&[image(120, 90), image(310, 402)]).unwrap();
    // Six digits are printed; sums of a hundred layers in another order.
    const CLOSE: f64 = 2e-5;
    let [first, second] = [&found[..2048], &found[2048..]];
    assert_features(first, &[(0, 1.31822), (1, 4.23567), (1000, 0.235056), (2047, 8.80137)], 110.966, CLOSE);
    assert_features(second, &[(0, 1.2235), (1, 4.19168), (1000, 0.225334), (2047, 8.60569)], 105.559, CLOSE);
    let clean = Inception::open(&file, Some(ResizePath::CleanFid), &device).unwrap();
    assert_ne!(clean.fingerprint(), inception.fingerprint());

    let refusal = |spoil: &dyn Fn(&mut Tensors)| {
        let mut all = all.clone();
        spoil(&mut all);
        write(&file, &all);
        Inception::open(&file, None, &device).map(drop).unwrap_err().to_string()
    };
    let imagenet = refusal(&|all| drop(all.insert("fc.bias".to_owned(), (vec![1000], vec![0.0; 1000]))));
    assert!(imagenet.contains("torchvision's Inception-v3 for ImageNet"), "{imagenet}");
    let missing = refusal(&|all| drop(all.remove("Mixed_6c.branch7x7_2.bn.running_var")));
    assert!(missing.contains("missing Mixed_6c.branch7x7_2.bn.running_var [160]"), "{missing}");
    let more = refusal(&|all| drop(all.insert("head.weight".to_owned(), (vec![1], vec![0.0]))));
    assert!(more.contains("unexpected head.weight [1]"), "{more}");
    std::fs::write(&file, "<html>").unwrap();
    let page = Inception::open(&file, None, &device).map(drop).unwrap_err().to_string();
    assert!(page.contains("is no file of pytorch-fid's Inception-v3") && page.contains("a web page"), "{page}");
}

fn clip_config() -> Value {
    json!({
        "model_type": "clip_vision_model", "architectures": ["CLIPVisionModelWithProjection"], "hidden_size": 32,
        "intermediate_size": 64, "projection_dim": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 28,
        "patch_size": 7, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "transformers_version": "5.23.0",
    })
}

fn processor(kind: &str, side: usize) -> Value {
    json!({
        "image_processor_type": kind, "size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side},
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 3,
    })
}

#[test]
fn clip_has_transformers_features() {
    let device = chosen_device();
    let config = tempfile::tempdir().unwrap();
    std::fs::write(config.path().join("config.json"), clip_config().to_string()).unwrap();
    let mut all = tensors(ClipImageConfig::read(config.path()).unwrap().init(&device), &ClipImageKeys);
    let processor = processor("CLIPImageProcessor", 28);
    let expected = [(0, -1.08741), (1, 0.89503), (2, 0.664881), (15, 0.220935)];

    let alone = folder(&clip_config(), &processor, &all);
    let clip = Clip::open(alone.path(), None, &device).unwrap();
    assert_features(&clip.features(&[image(28, 28)]).unwrap(), &expected, 3.88223, 2e-5);

    // A whole CLIP: the same tower, with a text tower beside it.
    all.insert("text_model.final_layer_norm.weight".to_owned(), (vec![4], vec![1.0; 4]));
    all.insert("logit_scale".to_owned(), (Vec::new(), vec![2.6]));
    let mut tower = clip_config();
    tower["projection_dim"] = json!(512);
    let whole = json!({"model_type": "clip", "projection_dim": 16, "vision_config": tower, "text_config": {"hidden_size": 4}});
    let both = folder(&whole, &processor, &all);
    let clip = Clip::open(both.path(), None, &device).unwrap();
    assert_features(&clip.features(&[image(28, 28)]).unwrap(), &expected, 3.88223, 2e-5);

    let other = folder(&whole, &self::processor("CLIPImageProcessor", 56), &all);
    let message = Clip::open(other.path(), None, &device).map(drop).unwrap_err().to_string();
    assert!(message.contains("images of 56x56, and image_size is 28"), "{message}");
    let message = RadDino::open(both.path(), None, &device).map(drop).unwrap_err().to_string();
    assert!(message.contains("a model of type `clip`") && message.contains("expected a DINOv2"), "{message}");
}

/// A whole CLIP with the rule's image tower, and the text tower and tokenizer of the small pipeline, in `folder`.
pub fn write_whole_clip(folder: &Path) {
    let pipeline = super::fixtures().join("06_pipeline/sd1");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("config.json"), clip_config().to_string()).unwrap();
    let mut all = tensors(ClipImageConfig::read(folder).unwrap().init(&chosen_device()), &ClipImageKeys);
    let bytes = std::fs::read(pipeline.join("text_encoder/model.safetensors")).unwrap();
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        // Positions as whole numbers, which old files have.
        if tensor.dtype() != Dtype::F32 {
            continue;
        }
        let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let name = if name.starts_with("text_model.") { name } else { format!("text_model.{name}") };
        all.insert(name, (tensor.shape().to_vec(), values));
    }
    all.insert("text_projection.weight".to_owned(), (vec![16, 32], projection()));
    all.insert("logit_scale".to_owned(), (Vec::new(), vec![2.6]));
    write(&folder.join("model.safetensors"), &all);
    let text = std::fs::read_to_string(pipeline.join("text_encoder/config.json")).unwrap();
    let text: Value = serde_json::from_str(&text).unwrap();
    let whole = json!({"model_type": "clip", "projection_dim": 16, "vision_config": clip_config(), "text_config": text});
    std::fs::write(folder.join("config.json"), whole.to_string()).unwrap();
    let processor = processor("CLIPImageProcessor", 28);
    std::fs::write(folder.join("preprocessor_config.json"), processor.to_string()).unwrap();
    for file in std::fs::read_dir(pipeline.join("tokenizer")).unwrap().flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
}

fn projection() -> Vec<f32> {
    rule::tensor(SALT, "text_projection.weight", &[16, 32], false)
}

/// The pooled state of the text tower, which other cases compare with transformers', times the projection.
#[test]
fn clips_texts_are_projected_beside_its_images() {
    let device = chosen_device();
    let folder = tempfile::tempdir().unwrap();
    write_whole_clip(folder.path());
    let texts = ClipTexts::open(folder.path(), &device).unwrap();
    let tower = EncoderFolder::read(&super::fixtures().join("06_pipeline/sd1"), &device).unwrap();
    for text in ["Small right pleural effusion.", ""] {
        let (found, cut) = texts.embed(text).unwrap();
        let encoded = tower.tokenizer.encode(&[text], tower.text_length()).unwrap();
        let pooled = tower.model.encode(TextInput::new(encoded.ids(&device))).pooled.unwrap();
        let pooled: Vec<f32> = pooled.into_data().try_to_vec().unwrap();
        let rows = projection();
        let expected = rows.chunks_exact(32).map(|row| row.iter().zip(&pooled).map(|(a, b)| a * b).sum::<f32>());
        // Sums of 32 numbers in another order, behind padding or none.
        assert!(found.len() == 16 && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?}");
        assert_eq!(cut, 0);
    }
    assert!(texts.embed(&"effusion ".repeat(200)).unwrap().1 > 0);
    let refusal = || ClipTexts::open(folder.path(), &device).map(drop).unwrap_err().to_string();
    std::fs::remove_file(folder.path().join("merges.txt")).unwrap();
    assert!(refusal().contains("merges.txt"), "{}", refusal());
    std::fs::write(folder.path().join("config.json"), clip_config().to_string()).unwrap();
    assert!(refusal().contains("image tower alone"), "{}", refusal());
}

fn rad_dino_config() -> Value {
    let mut config = serde_json::to_value(VitConfig::small()).unwrap();
    config["model_type"] = json!("dinov2");
    config["hidden_act"] = json!("gelu");
    config
}

/// Levels in the range that [`processor`] says, without resizing: `[1, 3, H, W]`.
fn normalised(image: &RgbImage) -> Tensor<4> {
    let level = |at: usize| image.samples.iter().skip(at).step_by(3).map(|&level| (f32::from(level) / 255.0 - 0.5) / 0.25);
    let values: Vec<f32> = (0..3).flat_map(level).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, image.height, image.width]), &chosen_device())
}

#[test]
fn dinov2_has_transformers_features() {
    let device = chosen_device();
    let expected = [
        (false, [56, 56], [(0, 1.18348), (1, -0.356474), (2, -0.901977), (31, 0.846191)], 5.57988),
        (false, [45, 88], [(0, 1.17199), (1, -0.278268), (2, -0.89517), (31, 0.869423)], 5.61265),
        (true, [56, 56], [(0, 0.753478), (1, -0.526861), (2, -0.663771), (31, 1.62191)], 5.55582),
        (true, [45, 88], [(0, 0.726614), (1, -0.476561), (2, -0.675866), (31, 1.73215)], 5.57284),
    ];
    for (use_swiglu_ffn, [height, width], some, norm) in expected {
        let config = VitConfig { use_swiglu_ffn, ..VitConfig::small() };
        let mut options = rad_dino_config();
        options["use_swiglu_ffn"] = json!(use_swiglu_ffn);
        let folder = folder(&options, &Value::Null, &tensors(config.init(&device), &VitKeys));
        let network = load_vit(folder.path(), &device).unwrap().model;
        let feature: Vec<f32> = network.forward(normalised(&image(height, width))).into_data().try_to_vec().unwrap();
        assert_features(&feature, &some, norm, 2e-5);
    }
}

#[test]
fn rad_dino_reads_folders_and_refuses_others() {
    let device = chosen_device();
    let all = tensors(VitConfig::small().init(&device), &VitKeys);
    let bit = processor("BitImageProcessor", 56);
    let right = folder(&rad_dino_config(), &bit, &all);
    let network = RadDino::open(right.path(), None, &device).unwrap();
    let images = [image(56, 56), image(80, 61), image(30, 90)];
    let together = network.features(&images).unwrap();
    assert_eq!((network.width(), together.len()), (32, 96));
    for (image, row) in images.iter().zip(together.chunks_exact(32)) {
        let alone = network.features(std::slice::from_ref(image)).unwrap();
        assert!(alone.iter().zip(row).all(|(a, b)| (a - b).abs() < 1e-5), "{alone:?} {row:?}");
    }
    assert!(network.features(&[]).unwrap().is_empty());

    let path = Some(ResizePath::Chexgenbench);
    let squashed = RadDino::open(right.path(), path, &device).unwrap();
    assert_ne!(squashed.fingerprint(), network.fingerprint());
    assert_ne!(squashed.features(&images).unwrap(), together);
    let mut heads = rad_dino_config();
    heads["num_attention_heads"] = json!(4);
    let other = folder(&heads, &bit, &all);
    assert_ne!(RadDino::open(other.path(), None, &device).unwrap().fingerprint(), network.fingerprint());

    let refusal = |folder: &Path| RadDino::open(folder, None, &device).map(drop).unwrap_err().to_string();
    for (key, value) in [("num_attention_heads", json!(5)), ("hidden_act", json!("silu")), ("num_register_tokens", json!(4))] {
        let mut config = rad_dino_config();
        config[key] = value;
        let message = refusal(folder(&config, &bit, &all).path());
        assert!(message.contains(&format!("`{key}`")), "{message}");
    }
    let mut few = all.clone();
    few.remove("encoder.layer.1.layer_scale2.lambda1");
    let message = refusal(folder(&rad_dino_config(), &bit, &few).path());
    assert!(message.contains("missing encoder.layer.1.layer_scale2.lambda1 [32]"), "{message}");
    let pipeline = tempfile::tempdir().unwrap();
    std::fs::write(pipeline.path().join("model_index.json"), "{}").unwrap();
    assert!(refusal(pipeline.path()).contains("is a Stable Diffusion pipeline"), "{}", refusal(pipeline.path()));
    assert!(refusal(Path::new("nowhere")).contains("nowhere has no config.json"), "{}", refusal(Path::new("nowhere")));
}

#[test]
fn lpips_refuses_files_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights");
    write(&file, &Tensors::from([("lin0.model.1.weight".to_owned(), (vec![1, 64, 1, 1], vec![1.0; 64]))]));
    let message = Lpips::open(&file, &file, &chosen_device()).map(drop).unwrap_err().to_string();
    assert!(
        message.contains("is no file of torchvision's AlexNet") && message.contains("missing features.0.weight"),
        "{message}"
    );
}
