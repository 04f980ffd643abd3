//! 12_dinov2: DINOv2 from folders as the hub has them, and how images reach it.

use burn::tensor::{Tensor, TensorData};
use roentgen::evaluation::features::ResizePath;
use roentgen::evaluation::features::networks::{ImageProcessor, Preparation, load_vit};
use roentgen_augment::image::{Filter, GrayDepth, GrayImage, RgbImage};
use roentgen_classifier::networks::vit::Vit;
use serde_json::{Value, json};

use super::device::chosen_device;
use super::{Array, Case, Outputs};

/// The side that CheXGenBench squashes images to.
const REAL_SQUASH: u64 = 299;

pub fn compute(case: &Case) -> Option<Outputs> {
    let has = |input: &str| case.optional_input(input).is_some();
    match case.checkpoint.is_some() {
        true if has("pixel_values") || has("pixel_values_gray") => Some(forward(case)),
        true if has("image") => Some(feature(case)),
        false if has("image") => Some(prepared(case)),
        _ => None,
    }
}

fn network(case: &Case) -> Vit {
    load_vit(case.checkpoint.as_ref().expect("the case has a checkpoint"), &chosen_device()).unwrap().model
}

fn forward(case: &Case) -> Outputs {
    let input = case.optional_input("pixel_values").unwrap_or_else(|| case.input("pixel_values_gray"));
    let images = Tensor::<4>::from_data(TensorData::new(input.f32(), input.shape.clone()), &chosen_device());
    let [batch, channels, height, width] = images.dims();
    // One channel stands for three equal ones.
    let images = if channels == 1 { images.expand([batch, 3, height, width]) } else { images };
    let network = network(case);
    let feature = network.forward(images.clone());
    // What a classifier's head sees: the class token, then the mean of the patches.
    let pooled = network.pooled(images.clone(), None);
    let [class, mean] = [0, 1].map(|half| pooled.clone().narrow(1, half * network.width(), network.width()));
    assert_eq!(class.into_data(), feature.clone().into_data());
    let states = network.forward_detailed(images);
    let tokens = states.last_hidden_state.dims()[1];
    let patches = states.last_hidden_state.clone().narrow(1, 1, tokens - 1);
    let first = states.layers[0].clone();
    let mut outputs = vec![
        ("last_hidden_state".to_owned(), array(states.last_hidden_state)),
        ("pooler_output".to_owned(), array(feature)),
        ("patch_mean".to_owned(), array(mean)),
        ("patch_tokens".to_owned(), array(patches)),
        ("embeddings".to_owned(), array(states.embeddings.clone())),
        ("layer.0.norm1".to_owned(), array(first.norm1)),
        ("layer.0.attention".to_owned(), array(first.attention)),
        ("layer.0.layer_scale1".to_owned(), array(first.layer_scale1)),
        ("layer.0.norm2".to_owned(), array(first.norm2)),
        ("layer.0.mlp".to_owned(), array(first.mlp)),
        ("layer.0.layer_scale2".to_owned(), array(first.layer_scale2)),
    ];
    let hidden = [states.embeddings].into_iter().chain(states.layers.into_iter().map(|layer| layer.output));
    outputs.extend(hidden.enumerate().map(|(i, states)| (format!("hidden_states.{i}"), array(states))));
    outputs
}

/// Image to feature: by the checkpoint's processor, after squashing where the case says so.
fn feature(case: &Case) -> Outputs {
    let folder = case.checkpoint.as_ref().expect("the case has a checkpoint");
    let processor = ImageProcessor::read(&folder.join("preprocessor_config.json")).unwrap();
    let image = squashed(case).unwrap_or_else(|| image(case));
    let batch = Preparation { processor, path: None }.batch(&[rgb(&image)], &chosen_device());
    vec![("pooler_output".to_owned(), array(network(case).forward(batch)))]
}

/// Image to pixel values, every `stride`-th row and column of the first channel.
fn prepared(case: &Case) -> Outputs {
    let number = |key: &str| case.params[key].as_f64().unwrap_or_else(|| panic!("{} has no {key}", case.name));
    let optional = |key: &str, default: u64| case.params.get(key).and_then(Value::as_u64).unwrap_or(default) as usize;
    let size = number("size") as u64;
    let crop = optional("crop_size", size);
    let stride = optional("stride", 1);
    let config = json!({
        "size": { "shortest_edge": size }, "crop_size": { "height": crop, "width": crop },
        "image_mean": vec![number("image_mean"); 3], "image_std": vec![number("image_std"); 3],
        "resample": 3, "image_processor_type": "BitImageProcessor",
    });
    let processor = ImageProcessor::parse(&config.to_string(), &case.folder).unwrap();
    let small = squashed(case);
    let image = rgb(small.as_ref().unwrap_or(&image(case)));
    let levels = processor.levels(&image);
    let path = (case.params["squash"] == REAL_SQUASH).then_some(ResizePath::Chexgenbench);
    let values: Tensor<4> = match path {
        Some(_) => Preparation { processor, path }.batch(&[rgb(&self::image(case))], &chosen_device()),
        None => Preparation { processor, path }.batch(&[image], &chosen_device()),
    };
    let [_, _, height, width] = values.dims();
    let values: Vec<f32> = values.into_data().iter::<f32>().take(height * width).collect();
    let values = strided(&values, [height, width], stride, &[1, 1]);
    let mut outputs = vec![
        // Both ways of the reference, within a level of each other.
        ("pixel_values".to_owned(), values.clone()),
        ("pixel_values_torchvision".to_owned(), values),
        ("levels".to_owned(), strided(&first_channel(&levels), [levels.height, levels.width], stride, &[1, 1])),
    ];
    outputs.extend(small.map(|small| {
        let size = [small.height(), small.width()];
        ("squashed".to_owned(), strided(samples(&small), size, stride, &[1]))
    }));
    outputs
}

fn image(case: &Case) -> GrayImage {
    let array = case.input("image");
    GrayImage::from_u8(array.shape[1], array.shape[0], array.u8())
}

/// The image in 8 bits at the square size that the case says, whatever its aspect was.
fn squashed(case: &Case) -> Option<GrayImage> {
    let side = case.params["squash"].as_u64()? as usize;
    Some(image(case).resize(side, side, Filter::Bilinear))
}

fn samples(image: &GrayImage) -> &[u8] {
    match image.depth() {
        GrayDepth::U8(samples) => samples,
        GrayDepth::U16(_) => panic!("images here have 8 bits"),
    }
}

fn rgb(image: &GrayImage) -> RgbImage {
    let samples = samples(image).iter().flat_map(|level| [*level; 3]).collect();
    RgbImage { width: image.width(), height: image.height(), samples }
}

fn first_channel(image: &RgbImage) -> Vec<u8> {
    image.samples.iter().step_by(3).copied().collect()
}

/// Every `stride`-th row and column.
fn strided<T: Copy + Into<f64>>(values: &[T], [height, width]: [usize; 2], stride: usize, before: &[usize]) -> Array {
    let row = |y: usize| values[y * width..][..width].iter().step_by(stride).copied();
    let kept: Vec<T> = (0..height).step_by(stride).flat_map(row).collect();
    let shape = [before, &[height.div_ceil(stride), width.div_ceil(stride)]].concat();
    Array::new(&shape, &kept)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
