//! 02_text_encoders.

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use roentgen::diffusion::{TextEncoder, TextEncoderConfig, TextInput};

use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    let device = Device::flex();
    let folder = case.checkpoint.as_ref()?.join("text_encoder");
    let config = TextEncoderConfig::read(&folder.join("config.json")).unwrap();
    let encoder = config.load(&folder, FloatDType::F32, &device).unwrap().model;
    let states = encoder.encode(TextInput {
        mask: case.optional_input("attention_mask").map(|mask| integers(mask, &device).bool()),
        token_types: case.optional_input("token_type_ids").map(|types| integers(types, &device)),
        keep_hidden_states: true,
        ..TextInput::new(integers(case.input("input_ids"), &device))
    });
    let mut outputs = vec![("last_hidden_state".to_owned(), array(states.last_hidden_state))];
    outputs.extend(states.pooled.map(|pooled| ("pooler_output".to_owned(), array(pooled))));
    let hidden = states.hidden_states.into_iter().enumerate();
    outputs.extend(hidden.map(|(i, states)| (format!("hidden_states.{i}"), array(states))));
    Some(outputs)
}

fn integers(array: &Array, device: &Device) -> Tensor<2, Int> {
    let values: Vec<i32> = array.values.iter().map(|value| *value as i32).collect();
    Tensor::from_data(TensorData::new(values, array.shape.clone()), device)
}

fn array<const D: usize>(tensor: Tensor<D>) -> Array {
    let data = tensor.into_data();
    Array::new(data.shape(), data.as_slice::<f32>().unwrap())
}
