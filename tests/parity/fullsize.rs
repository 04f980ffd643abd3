//! 11_fullsize: the shapes of Stable Diffusion 1.4, with weights by the README's rule. Needs up to 4 GB of memory.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use roentgen::diffusion::autoencoder::{AutoencoderKlConfig, AutoencoderKlKeys};
use roentgen::diffusion::text::{TextEncoder, TextEncoderConfig, TextInput};
use roentgen::diffusion::unet::UNetConfig;
use roentgen::diffusion::weights::{KeyMap, init_with};
use serde_json::{Value, json};

use super::device::chosen_device;
use super::{Array, Case, Outputs, rule};

pub fn compute(case: &Case) -> Option<Outputs> {
    let device = chosen_device();
    let has = |input: &str| case.optional_input(input).is_some();
    Some(match () {
        () if has("input_ids") => text_encoder(case, &device),
        () if has("timestep") => unet(case, &device),
        () if has("image") => vae(case, &device),
        () => return None,
    })
}

fn text_encoder(case: &Case, device: &Device) -> Outputs {
    let config =
        TextEncoderConfig::parse(&config(case, &[("model_type", json!("clip_text_model"))]), Path::new("params")).unwrap();
    let encoder = by_rule(case, config.init(device), config.keys());
    let ids = case.input("input_ids");
    let values: Vec<i32> = ids.values.iter().map(|id| *id as i32).collect();
    let ids: Tensor<2, Int> = Tensor::from_data(TensorData::new(values, ids.shape.clone()), device);
    let states = encoder.encode(TextInput::new(ids));
    vec![
        ("last_hidden_state".to_owned(), array(states.last_hidden_state)),
        ("pooler_output".to_owned(), array(states.pooled.unwrap())),
    ]
}

fn vae(case: &Case, device: &Device) -> Outputs {
    let config = AutoencoderKlConfig::parse(&config(case, &[]), Path::new("params")).unwrap();
    let vae = by_rule(case, config.init(device), &AutoencoderKlKeys);
    let posterior = vae.encode(tensor(case.input("image"), device));
    vec![
        ("mean".to_owned(), array(posterior.mean.clone())),
        ("logvar".to_owned(), array(posterior.logvar.clone())),
        ("decoded".to_owned(), array(vae.decode(tensor(case.input("latents"), device)))),
    ]
}

fn unet(case: &Case, device: &Device) -> Outputs {
    let config = UNetConfig::parse(&config(case, &[]), Path::new("params")).unwrap();
    let unet = by_rule(case, config.init(device), &config.keys());
    let timestep = case.input("timestep").f32();
    let sample = unet.forward(
        tensor(case.input("sample"), device),
        Tensor::from_floats(&timestep[..], device),
        tensor(case.input("encoder_hidden_states"), device),
        None,
    );
    vec![("sample".to_owned(), array(sample))]
}

/// The configuration in the parameters, with what a file would have besides.
fn config(case: &Case, more: &[(&str, Value)]) -> String {
    let mut config = case.params["config"].clone();
    for (key, value) in more {
        config[*key] = value.clone();
    }
    config.to_string()
}

/// `model` with weights by the rule; its names and shapes are exactly those that the case lists.
fn by_rule<M: Module>(case: &Case, model: M, keys: &dyn KeyMap) -> M {
    let salt = case.params["salt"].as_str().unwrap();
    let listed = std::fs::read_to_string(case.folder.join(case.params["tensors"].as_str().unwrap())).unwrap();
    let mut listed: BTreeMap<String, Vec<usize>> = serde_json::from_str(&listed).unwrap();
    let names: BTreeMap<String, String> =
        listed.keys().filter_map(|name| Some((keys.canonical(name)?, name.clone()))).collect();
    let model = init_with(model, keys, FloatDType::F32, |key, shape| {
        let name = names.get(key).unwrap_or_else(|| panic!("the list has no {key}"));
        assert_eq!(listed.remove(name).as_deref(), Some(shape), "{name}");
        Ok(TensorData::new(rule::tensor(salt, name, shape, name.contains("norm")), shape.to_vec()))
    });
    assert!(listed.keys().all(|name| keys.canonical(name).is_none()), "left over: {listed:?}");
    model.unwrap()
}

fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    Array::new(&tensor.dims(), &tensor.into_data().try_to_vec::<f32>().unwrap())
}
