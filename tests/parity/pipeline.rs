//! 06_pipeline: whole runs from given noise, by the product's own code.

use std::ops::ControlFlow;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use roentgen::diffusion::pipeline::{ImageRequest, OpenOptions, Settings, StableDiffusion, Start};
use roentgen::diffusion::samplers::SchedulerConfig;
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    let device = chosen_device();
    let folder = case.checkpoint.as_ref().expect("the case has a checkpoint");
    let pipeline = StableDiffusion::open(folder, &OpenOptions::new(&device), |_| ()).unwrap();
    let prompts = texts(&case.params["prompt"]);
    let mut negatives = texts(&case.params["negative_prompt"]);
    negatives.resize(prompts.len(), negatives.first().cloned().unwrap_or_default());
    let settings = settings(case, &pipeline);

    let each = case.params["num_images_per_prompt"].as_u64().unwrap_or(1) as usize;
    let pairs = prompts.iter().zip(&negatives).flat_map(|pair| std::iter::repeat_n(pair, each));
    let requests: Vec<_> = pairs
        .map(|(prompt, negative)| ImageRequest { prompt: prompt.clone(), negative_prompt: negative.clone(), seed: 0 })
        .collect();
    let mut steps = Vec::new();
    let start = Start::Latents(tensor(case.input("latents"), &device));
    let latents = pipeline
        .latents(&requests, &settings, &start, &mut |step| {
            steps.push(step.latents.clone().unsqueeze::<5>());
            ControlFlow::Continue(())
        })
        .unwrap();
    let image = (pipeline.decode(latents, false) / 2.0 + 0.5).clamp(0.0, 1.0).permute([0, 2, 3, 1]);
    let image = array(image);
    let bytes: Vec<f64> = image.f32().iter().map(|value| f64::from((value * 255.0).round_ties_even())).collect();

    let positive = encoded(&pipeline, &prompts);
    let negative = encoded(&pipeline, &negatives);
    Some(vec![
        ("input_ids".to_owned(), positive.0),
        ("prompt_embeds".to_owned(), positive.1),
        ("negative_input_ids".to_owned(), negative.0),
        ("negative_prompt_embeds".to_owned(), negative.1),
        ("step_latents".to_owned(), array(Tensor::cat(steps, 0))),
        ("image_uint8".to_owned(), Array::new(&image.shape, &bytes)),
        ("image".to_owned(), image),
    ])
}

/// One text or several; null is the empty one.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(texts) => texts.iter().map(|text| text.as_str().unwrap().to_owned()).collect(),
        text => vec![text.as_str().unwrap_or_default().to_owned()],
    }
}

fn settings(case: &Case, pipeline: &StableDiffusion) -> Settings {
    let number = |key: &str| case.params[key].as_u64().unwrap() as usize;
    Settings {
        scheduler: SchedulerConfig::parse(&case.params["scheduler"].to_string(), Path::new("params.scheduler")).unwrap(),
        steps: number("num_inference_steps"),
        guidance_scale: case.params["guidance_scale"].as_f64().unwrap(),
        guidance_rescale: case.params["guidance_rescale"].as_f64().unwrap_or(0.0),
        size: [number("height"), number("width")],
        ..pipeline.settings()
    }
}

fn encoded(pipeline: &StableDiffusion, texts: &[String]) -> (Array, Array) {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let encoded = pipeline.encode(&texts, 0).unwrap();
    let shape = [encoded.input_ids.len(), encoded.input_ids[0].len()];
    (Array::new(&shape, &encoded.input_ids.concat()), array(encoded.states))
}

fn tensor(array: &Array, device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
