//! The half of `tests/interop/diffusion.py` that runs here.
//!
//! `interop_diffusion FOLDER OUT CASES INPUTS OUTPUTS` opens the pipeline `FOLDER`, writes it again as `OUT`, and makes an image for
//! each of `CASES`, a JSON list of `{"name", "prompt", "negative_prompt", "sampler", "steps", "guidance", "size": [height, width]}`;
//! without a `sampler`, by the folder's own.
//!
//! An image starts from `NAME/latents` `[1, C, H/8, W/8]` of the safetensors file `INPUTS`, or, where the case has a `strength`, from
//! `NAME/pixels` `[1, 3, H, W]`. Written to `OUTPUTS`: `NAME/latents` before the decoder, `NAME/pixels` behind it, and the noise
//! `NAME/noise.0`, `NAME/noise.1` that was drawn for a start from pixels.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use roentgen::diffusion::pipeline::{ImageRequest, OpenOptions, Settings, StableDiffusion, Start};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

/// Of every case.
const SEED: u64 = 0;

type Tensors = BTreeMap<String, Tensor<4>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder, out, cases, inputs, outputs] = arguments.as_slice() else {
        return Err("usage: interop_diffusion FOLDER OUT CASES INPUTS OUTPUTS".into());
    };
    let device = Device::flex();
    let pipeline = StableDiffusion::open(folder, &OpenOptions::new(&device), |_| ())?;
    pipeline.save(out)?;

    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(cases)?)?;
    let inputs = read(inputs, &device)?;
    let mut made = Tensors::new();
    for case in &cases {
        run(case, &pipeline, &inputs, &mut made)?;
    }
    write(outputs, made)
}

fn run(case: &Value, pipeline: &StableDiffusion, inputs: &Tensors, made: &mut Tensors) -> Result<(), Box<dyn Error>> {
    let name = case["name"].as_str().ok_or("a case without a name")?;
    let text = |key: &str| case[key].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().map(|value| value as usize).ok_or(format!("{name}: a number is missing"));
    let own = pipeline.settings().scheduler;
    let settings = Settings {
        scheduler: match case["sampler"].as_str() {
            Some(kind) => own.with_kind(kind.parse()?)?,
            None => own,
        },
        steps: number(&case["steps"])?,
        guidance_scale: case["guidance"].as_f64().ok_or("a case without guidance")?,
        size: [number(&case["size"][0])?, number(&case["size"][1])?],
        ..pipeline.settings()
    };
    let input = |kind: &str| inputs.get(&format!("{name}/{kind}")).cloned().ok_or(format!("no input {name}/{kind}"));
    let start = match case["strength"].as_f64() {
        None => Start::Latents(input("latents")?),
        Some(strength) => Start::Picture { pixels: input("pixels")?, strength },
    };
    let request = ImageRequest { prompt: text("prompt"), negative_prompt: text("negative_prompt"), seed: SEED };
    let latents = pipeline.latents(&[request], &settings, &start, &mut |_| ControlFlow::Continue(()))?;
    if let Start::Picture { pixels, .. } = &start {
        for (draw, noise) in noise(latents.dims(), &pixels.device()).into_iter().enumerate() {
            made.insert(format!("{name}/noise.{draw}"), noise);
        }
    }
    made.insert(format!("{name}/pixels"), pipeline.decode(latents.clone(), false));
    made.insert(format!("{name}/latents"), latents);
    Ok(())
}

/// The first two draws of [`SEED`], made once more by the recipe that the pipeline documents: standard normal numbers of ChaCha8.
fn noise(shape: [usize; 4], device: &Device) -> [Tensor<4>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let count = shape.iter().product();
    [(); 2].map(|()| {
        let values: Vec<f32> = StandardNormal.sample_iter(&mut rng).take(count).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    })
}

fn read(path: &Path, device: &Device) -> Result<Tensors, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let mut tensors = Tensors::new();
    for (name, view) in SafeTensors::deserialize(&bytes)?.iter() {
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let shape = <[usize; 4]>::try_from(view.shape()).map_err(|_| format!("{name} must have four dimensions"))?;
        tensors.insert(name.to_owned(), Tensor::from_data(TensorData::new::<f32, _>(values, shape), device));
    }
    Ok(tensors)
}

fn write(path: &Path, tensors: Tensors) -> Result<(), Box<dyn Error>> {
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, tensor)| {
            let shape = tensor.dims().to_vec();
            (name, shape, tensor.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect())
        })
        .collect();
    let views: Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name, view)))
        .collect();
    std::fs::write(path, safetensors::serialize(views?, None)?)?;
    Ok(())
}
