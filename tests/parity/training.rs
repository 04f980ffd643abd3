//! 07_training: steps of AdamW with given images, tokens, noise and timesteps, by the product's own trainee.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use roentgen::adapters::lora::Lora;
use roentgen::diffusion::pipeline::{Checkpoint, OpenOptions, StableDiffusion};
use roentgen::diffusion::text::Encoded;
use roentgen::finetune::{
    Denoising, ImageCodes, Latents, LearningRates, LoraSettings, Objective, Strategy, TextCondition, TrainBatch, Trainee,
    TraineeSettings, Tuning, Which,
};
use roentgen_classifier::training::{EmaConfig, LearningRateSchedule, Precision};
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    if case.params.get("schedules").is_some() {
        return Some(schedules(case));
    }
    if case.optional_input("sample").is_some() {
        return Some(lora_forward(case));
    }
    case.params.get("steps").map(|_| train(case, Precision::Fp32))
}

fn schedules(case: &Case) -> Outputs {
    let base = case.params["base_lr"].as_f64().unwrap();
    case.params["schedules"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, settings)| {
            let schedule = match name.as_str() {
                "constant_with_warmup" => LearningRateSchedule::Constant,
                "linear" => LearningRateSchedule::Linear,
                "cosine" => LearningRateSchedule::Cosine,
                // The reference's default, to which the parameters refer by naming none.
                "polynomial" => LearningRateSchedule::LinearTo { end: settings["lr_end"].as_f64().unwrap_or(1e-7) },
                other => panic!("unknown schedule {other}"),
            };
            let steps = |key: &str| settings[key].as_u64().unwrap_or(0);
            let (warmup, total) = (steps("num_warmup_steps"), steps("num_training_steps"));
            let count = case.expected_shape(name)[0];
            let rates: Vec<f64> = (0..count as u64).map(|step| base * schedule.factor(step, warmup, total, base)).collect();
            (name.clone(), Array::new(&[count], &rates))
        })
        .collect()
}

/// The U-Net with the adapter of each format that the case has, which must agree to the bit.
fn lora_forward(case: &Case) -> Outputs {
    let device = chosen_device();
    let number = |key: &str| case.params[key].as_f64();
    let formats = ["adapter", "adapter_peft"].into_iter().filter_map(|format| case.params[format].as_str());
    let samples = formats.map(|adapter| {
        let path = case.folder.join(adapter);
        let pipeline = StableDiffusion::open(checkpoint(case), &OpenOptions::new(&device), |_| ()).unwrap();
        let lora = Lora::read(&path).unwrap();
        // The file of diffusers holds the factors alone: the alpha of the parameters counts.
        let lora = number("alpha").map_or_else(|| lora.clone(), |alpha| lora.clone().with_alpha(alpha).unwrap());
        let pipeline = lora.merge(pipeline, number("scale").unwrap(), &path).unwrap();
        let timestep = case.input("timestep").f32();
        let states = tensor(case.input("encoder_hidden_states"), &device);
        let sample = tensor(case.input("sample"), &device);
        array(pipeline.unet().forward(sample, Tensor::from_floats(&timestep[..], &device), states, None))
    });
    let samples: Vec<Array> = samples.collect();
    assert!(samples.windows(2).all(|pair| pair[0] == pair[1]), "the two formats differ");
    vec![("sample".to_owned(), samples.into_iter().next().expect("the case has an adapter"))]
}

/// The steps of a case that trains, computed in that precision.
pub(super) fn train(case: &Case, precision: Precision) -> Outputs {
    let mut settings = settings(case, precision);
    let mut outputs = run(case, &settings, None);
    let averages = case.params.get("ema").and_then(Value::as_object);
    for (name, config) in averages.into_iter().flatten() {
        settings.ema = Some(serde_json::from_value::<EmaConfig>(config.clone()).unwrap());
        outputs.append(&mut run(case, &settings, Some(name)));
    }
    outputs
}

/// A whole training run; with a moving average, only the part that concerns it.
fn run(case: &Case, settings: &TraineeSettings, average: Option<&str>) -> Outputs {
    let device = chosen_device();
    let mut trainee = Trainee::new(Checkpoint::read(checkpoint(case)).unwrap(), settings, &device).unwrap();
    let params = &case.params;
    let micro_batches = params["gradient_accumulation_steps"].as_u64().unwrap_or(1) as usize;
    let steps = params["steps"].as_u64().unwrap() as usize;
    let base = params["lr"].as_f64().unwrap();
    let names = parameter_names(case);

    let start = weights(&trainee, Which::Live);
    let (mut losses, mut norms, mut decays, mut first_norms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for step in 0..steps {
        let mut loss = 0.0;
        for micro in 0..micro_batches {
            let batch = batch(case, &trainee, step * micro_batches + micro, &device);
            loss += trainee.accumulate(&batch, 1.0 / micro_batches as f64).unwrap().mean / micro_batches as f64;
        }
        let rate = params["lr_per_step"].get(step).map_or(base, |rate| rate.as_f64().unwrap());
        let report = trainee.step(rate / base).unwrap();
        losses.push(loss);
        norms.push(report.gradient_norm);
        decays.extend(report.ema_decay);
        if step == 0 {
            let named: Vec<(String, f64)> = trainee.names().map(reference_name).zip(report.gradient_norms).collect();
            first_norms = names.iter().map(|name| find(&named, name)).copied().collect();
        }
    }
    if let Some(average) = average {
        let averaged = weights(&trainee, Which::Ema);
        let mut outputs = vec![(format!("ema_decays/{average}"), Array::new(&[steps], &decays))];
        for (name, value) in &averaged {
            let short = name.strip_prefix("unet.").unwrap_or(name);
            outputs.push((format!("ema/{average}/{short}"), value.clone()));
            outputs.push((format!("ema_delta/{average}/{short}"), difference(value, find(&start, name))));
        }
        return outputs;
    }
    let end = weights(&trainee, Which::Live);
    let deltas: Vec<(String, Array)> =
        end.iter().map(|(name, value)| (name.clone(), difference(value, find(&start, name)))).collect();
    let norm = |array: &Array| array.values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let delta_norms: Vec<f64> = names.iter().map(|name| norm(find(&deltas, name))).collect();
    let mut outputs = vec![
        ("losses".to_owned(), Array::new(&[steps], &losses)),
        ("grad_norms".to_owned(), Array::new(&[steps], &norms)),
        ("first_step_grad_norms".to_owned(), Array::new(&[names.len()], &first_norms)),
        ("delta_norms".to_owned(), Array::new(&[names.len()], &delta_norms)),
    ];
    outputs.extend(end.into_iter().map(|(name, value)| (format!("final/{name}"), value)));
    outputs.extend(deltas.into_iter().map(|(name, value)| (format!("delta/{name}"), value)));
    outputs
}

/// The trained parts, by the reference's names.
fn parameter_names(case: &Case) -> Vec<String> {
    case.params["parameter_names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn settings(case: &Case, precision: Precision) -> TraineeSettings {
    let params = &case.params;
    let number = |key: &str| params[key].as_f64();
    let trains = |key: &str| if params[key].as_bool() == Some(true) { Tuning::Full } else { Tuning::Frozen };
    let strategy = match params["adapter"].as_str() {
        Some(adapter) => Strategy::unet_lora(LoraSettings {
            rank: params["rank"].as_u64().unwrap() as usize,
            alpha: number("alpha").unwrap(),
            targets: parameter_names(case)
                .iter()
                .filter_map(|name| name.strip_suffix(".lora_A.weight"))
                .map(str::to_owned)
                .collect(),
            start: Some(case.folder.join(adapter)),
        }),
        None => {
            Strategy::Denoise { unet: trains("train_unet"), text_encoder: trains("train_text_encoder"), text_projection: false }
        }
    };
    let mut settings = TraineeSettings::new(strategy);
    settings.dtype = precision.dtype();
    settings.objective = Objective { snr_gamma: number("snr_gamma"), noise_offset: number("noise_offset").unwrap_or(0.0) };
    if let Some(betas) = params["betas"].as_array() {
        settings.adamw.betas = [0, 1].map(|i| betas[i].as_f64().unwrap());
    }
    settings.adamw.epsilon = number("eps").unwrap_or(settings.adamw.epsilon);
    settings.adamw.weight_decay = number("weight_decay").unwrap();
    settings.learning_rates = LearningRates::uniform(number("lr").unwrap());
    settings.max_grad_norm = number("max_grad_norm");
    settings
}

/// Row `row` of every input.
fn batch(case: &Case, trainee: &Trainee, row: usize, device: &Device) -> TrainBatch {
    let rows = |name: &str| row_of(case.input(name), row);
    let gray = rows("pixels_u8");
    let [count, height, width] = gray.shape[..] else { panic!("pixels_u8 has shape {:?}", gray.shape) };
    let pixels: Vec<f32> = gray.f32().iter().map(|value| value / 255.0 * 2.0 - 1.0).collect();
    let pixels: Tensor<4> = Tensor::<3>::from_data(TensorData::new(pixels, [count, height, width]), device).unsqueeze_dim(1);
    let latents = match trainee.encode_images(pixels.repeat_dim(1, 3)) {
        ImageCodes::Moments(moments) => Latents::Posterior { moments, noise: tensor(&rows("posterior_noise"), device) },
        ImageCodes::Latents(latents) => Latents::Drawn(latents),
    };
    let ids = rows("input_ids");
    let length = ids.shape[1];
    let input_ids: Vec<Vec<u32>> = ids.values.chunks(length).map(|ids| ids.iter().map(|id| *id as u32).collect()).collect();
    let tokens = Encoded {
        max_length: length,
        attention_mask: vec![vec![true; length]; input_ids.len()],
        token_type_ids: vec![vec![0; length]; input_ids.len()],
        untruncated_length: vec![length; input_ids.len()],
        input_ids,
    };
    TrainBatch::Denoise(Denoising {
        latents,
        noise: tensor(&rows("noise"), device),
        offset_noise: case.optional_input("offset_noise").map(|noise| tensor(&row_of(noise, row), device)),
        timesteps: rows("timesteps").values.iter().map(|timestep| *timestep as usize).collect(),
        text: TextCondition::Tokens(tokens),
    })
}

fn row_of(array: &Array, row: usize) -> Array {
    let shape = &array.shape[1..];
    let count: usize = shape.iter().product();
    Array { shape: shape.to_vec(), values: array.values[row * count..(row + 1) * count].to_vec() }
}

/// The reference names adapters within the U-Net, and text encoders as transformers 5 does.
fn reference_name(name: &str) -> String {
    match name.strip_prefix("unet.") {
        Some(rest) if rest.contains(".lora_") => rest.to_owned(),
        _ => name.replace("text_encoder.text_model.", "text_encoder."),
    }
}

fn weights(trainee: &Trainee, which: Which) -> Vec<(String, Array)> {
    let array = |data: TensorData| Array::new(&data.shape().to_vec(), &data.iter::<f32>().collect::<Vec<_>>());
    trainee.weights(which).map(|(name, data)| (reference_name(name), array(data))).collect()
}

fn find<'a, T>(list: &'a [(String, T)], name: &str) -> &'a T {
    &list.iter().find(|(other, _)| other == name).unwrap_or_else(|| panic!("{name} does not train")).1
}

fn difference(a: &Array, b: &Array) -> Array {
    Array { shape: a.shape.clone(), values: a.values.iter().zip(&b.values).map(|(a, b)| a - b).collect() }
}

fn checkpoint(case: &Case) -> &Path {
    case.checkpoint.as_deref().expect("the case has a checkpoint")
}

fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
