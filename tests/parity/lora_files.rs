//! 15_lora_files: adapters of every tool, what is refused, and textual inversion.

use std::path::PathBuf;

use burn::tensor::{Int, Tensor, TensorData};
use roentgen::adapters::embedding::Embedding;
use roentgen::adapters::lora::Lora;
use roentgen::diffusion::pipeline::{OpenOptions, StableDiffusion};
use roentgen::diffusion::text::{TextEncoder, TextInput};
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    if case.params["must_be_refused"] == true {
        return Some(vec![("refused".to_owned(), refused(case))]);
    }
    if case.params["prompts"].is_array() {
        return Some(inverted(case));
    }
    Some(adapted(case))
}

fn pipeline(case: &Case) -> StableDiffusion {
    let folder = case.checkpoint.as_ref().expect("the case has a checkpoint");
    StableDiffusion::open(folder, &OpenOptions::new(&chosen_device()), |_| ()).unwrap()
}

fn path(case: &Case, file: &Value) -> PathBuf {
    case.folder.join(file.as_str().expect("a file has a name"))
}

/// Whether the file is refused in words of its kind.
fn refused(case: &Case) -> Array {
    let path = path(case, &case.params["file"]);
    let message = Lora::read(&path).unwrap_err().to_string();
    let kind = ["DoRA", "LoHa", "LoKr"].into_iter().find(|kind| message.contains(kind)).unwrap_or_else(|| panic!("{message}"));
    let because = case.params["because"].as_str().unwrap().to_lowercase();
    let marks = [("DoRA", "dora"), ("LoHa", "hada"), ("LoKr", "lokr")];
    assert!(marks.iter().any(|(name, mark)| *name == kind && because.contains(mark)), "{message}");
    Array::new(&[1], &[1.0f64])
}

/// The networks with one file or several.
fn adapted(case: &Case) -> Outputs {
    let device = chosen_device();
    let files: Vec<(PathBuf, f64)> = match &case.params["files"] {
        Value::Array(files) => {
            let scales = case.params["scales"].as_array().unwrap();
            files.iter().zip(scales).map(|(file, scale)| (path(case, file), scale.as_f64().unwrap())).collect()
        }
        _ => vec![(path(case, &case.params["file"]), case.params["scale"].as_f64().unwrap())],
    };
    let adapted = files
        .iter()
        .fold(pipeline(case), |pipeline, (path, scale)| Lora::read(path).unwrap().merge(pipeline, *scale, path).unwrap());
    let floats = |name: &str| case.input(name).f32();
    let timestep = Tensor::from_floats(&floats("timestep")[..], &device);
    let sample = TensorData::new(floats("sample"), case.input("sample").shape.clone());
    let states = TensorData::new(floats("encoder_hidden_states"), case.input("encoder_hidden_states").shape.clone());
    let denoised =
        adapted.unet().forward(Tensor::from_data(sample, &device), timestep, Tensor::from_data(states, &device), None);
    let mut outputs = vec![("sample".to_owned(), array(denoised))];
    if let Some(ids) = case.optional_input("input_ids") {
        let values: Vec<i32> = ids.values.iter().map(|id| *id as i32).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(values, ids.shape.clone()), &device);
        let states = adapted.text_encoder().encode(TextInput::new(ids)).last_hidden_state;
        outputs.push(("text_last_hidden_state".to_owned(), array(states)));
    }
    outputs
}

/// Prompts with new tokens in them.
fn inverted(case: &Case) -> Outputs {
    let mut pipeline = pipeline(case);
    let before = pipeline.tokenizer().vocabulary_size();
    assert_eq!(case.params["vocabulary_before"].as_u64(), Some(before as u64));
    for file in case.params["files"].as_array().unwrap() {
        let embedding = Embedding::read(&path(case, &file["file"]), file["token"].as_str()).unwrap();
        pipeline = embedding.add(pipeline).unwrap();
    }
    let after = pipeline.tokenizer().vocabulary_size();
    let new: Vec<f64> = (before..after).map(|id| id as f64).collect();
    let prompts: Vec<&str> = case.params["prompts"].as_array().unwrap().iter().map(|prompt| prompt.as_str().unwrap()).collect();
    let encoded = pipeline.encode(&prompts, 0).unwrap();
    let shape = [prompts.len(), encoded.input_ids[0].len()];
    vec![
        ("input_ids".to_owned(), Array::new(&shape, &encoded.input_ids.concat())),
        ("new_token_ids".to_owned(), Array::new(&[new.len()], &new)),
        ("last_hidden_state".to_owned(), array(encoded.states)),
    ]
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
