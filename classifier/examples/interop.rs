//! The half of `tests/interop/classifier.py` that runs here.
//!
//! `interop IN IMAGES OUT` loads the weights `IN`, writes them as `OUT.safetensors` and `OUT.pt`, and writes the logits of
//! `images` `[B, C, H, W]` in the safetensors file `IMAGES` to `OUT.logits.safetensors`.

use std::error::Error;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use roentgen_augment::batch::InputRange;
use roentgen_classifier::networks::Network;
use roentgen_classifier::training::Precision;
use roentgen_classifier::weights::{Card, save_state_dict, save_weights};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [weights, images, out] = arguments.as_slice() else { return Err("usage: interop IN IMAGES OUT".into()) };
    let device = Device::flex();
    let net = Network::load(weights, &device)?.net;

    let config = net.shape();
    let card = Card {
        findings: (0..config.num_classes()).map(|i| format!("finding {i}")).collect(),
        input_range: if config.in_channels() == 1 { InputRange::Xrv } else { InputRange::Imagenet },
        image_size: 64,
        precision: Precision::Fp32,
        preprocess: serde_json::Value::Null,
        config,
    };
    save_weights(&net, &out.with_extension("safetensors"), &card)?;
    save_state_dict(&net, &out.with_extension("pt"))?;

    let logits = net.forward(read_images(images, &device)?);
    let shape = logits.dims().to_vec();
    let bytes: Vec<u8> = logits.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect();
    let view = TensorView::new(Dtype::F32, shape, &bytes)?;
    std::fs::write(out.with_extension("logits.safetensors"), safetensors::serialize([("logits", view)], None)?)?;
    Ok(())
}

fn read_images(path: &Path, device: &Device) -> Result<Tensor<4>, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let images = file.tensor("images")?;
    let values = images.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    let shape = <[usize; 4]>::try_from(images.shape()).map_err(|_| "`images` must have four dimensions")?;
    Ok(Tensor::from_data(TensorData::new::<f32, _>(values, shape), device))
}
