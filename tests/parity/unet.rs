//! 04_unet.

use burn::tensor::{Bool, Device, FloatDType, Tensor, TensorData};
use roentgen::diffusion::Trace;
use roentgen::diffusion::unet::UNetConfig;
use roentgen::diffusion::weights::{Stem, load};

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    compute_in(case, FloatDType::F32)
}

/// With weights, inputs and results of a type.
pub fn compute_in(case: &Case, dtype: FloatDType) -> Option<Outputs> {
    let device = chosen_device();
    let folder = case.checkpoint.as_ref()?.join("unet");
    let config = UNetConfig::read(&folder.join("config.json")).unwrap();
    let unet = load(config.init(&device), &folder, Stem::Diffusers, &config.keys(), dtype).unwrap().model;

    let timesteps = case.input("timestep").f32();
    let mask = case.optional_input("encoder_attention_mask").map(|mask| {
        let seen: Vec<bool> = mask.values.iter().map(|value| *value != 0.0).collect();
        Tensor::<2, Bool>::from_data(TensorData::new(seen, mask.shape.clone()), &device)
    });
    let mut trace = Trace::on();
    let _ = unet.forward_traced(
        tensor(case.input("sample"), &device).cast(dtype),
        Tensor::from_floats(&timesteps[..], &device),
        tensor(case.input("encoder_hidden_states"), &device).cast(dtype),
        mask,
        &mut trace,
    );
    Some(trace.into_kept().into_iter().map(|(name, data)| (name, array(&data))).collect())
}

fn tensor<const D: usize>(array: &Array, device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(array.f32(), array.shape.clone()), device)
}

fn array(data: &TensorData) -> Array {
    Array::new(&data.shape().to_vec(), &data.iter::<f32>().collect::<Vec<_>>())
}
