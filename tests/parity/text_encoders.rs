//! 02_text_encoders.

use std::path::PathBuf;

use burn::tensor::{Device, FloatDType, Int, Tensor, TensorData};
use roentgen::diffusion::text::{TextEncoder, TextEncoderConfig, TextInput, Tokenizer};
use serde_json::Value;

use super::device::chosen_device;
use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    compute_in(case, FloatDType::F32)
}

/// With weights and results of a type.
pub fn compute_in(case: &Case, dtype: FloatDType) -> Option<Outputs> {
    let device = chosen_device();
    let folder = case.checkpoint.as_ref()?.join("text_encoder");
    let config = TextEncoderConfig::read(&folder.join("config.json")).unwrap();
    let encoder = config.load(&folder, dtype, &device).unwrap().model;
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
    Array::new(data.shape(), &data.iter::<f32>().collect::<Vec<_>>())
}

/// A real BERT (sentence-transformers/all-MiniLM-L6-v2, 22.7 million weights) against values of transformers in 32 bits.
///
/// The folder has config.json, the tokenizer's files, `model_fp16.safetensors` (the weights in half precision) and
/// `reference.json`: for some sentences their ids, the start of their embedding (mean of the states, normalised) and of the state
/// of the first token, and the cosines between the sentences.
#[test]
#[ignore = "needs 46 MB of weights: ROENTGEN_MINILM_DIR=FOLDER cargo test --test tests minilm -- --ignored --nocapture"]
fn minilm_gives_the_sentences_of_its_reference() {
    // Half-precision weights in transformers 5.23.0 are off by 1.1e-4, 8.4e-4 and 2.0e-4 from the reference.
    const EMBEDDING: f64 = 2e-4;
    const STATE: f64 = 1.5e-3;
    const COSINE: f64 = 4e-4;

    let device = chosen_device();
    let folder = PathBuf::from(std::env::var_os("ROENTGEN_MINILM_DIR").expect("ROENTGEN_MINILM_DIR is the folder"));
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let config = TextEncoderConfig::read(&folder.join("config.json")).unwrap();
    let weights = tempfile::tempdir().unwrap();
    std::fs::copy(folder.join("model_fp16.safetensors"), weights.path().join("model.safetensors")).unwrap();
    let encoder = config.load(weights.path(), FloatDType::F32, &device).unwrap().model;
    let reference: Value = serde_json::from_slice(&std::fs::read(folder.join("reference.json")).unwrap()).unwrap();
    let numbers = |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect() };
    let sentences = reference["sentences"].as_array().unwrap();
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence["text"].as_str().unwrap()).collect();

    let encoded = tokenizer.encode(&texts, 32).unwrap();
    let states = encoder.encode(TextInput { mask: Some(encoded.mask(&device)), ..TextInput::new(encoded.ids(&device)) });
    let mask = encoded.mask(&device).float().unsqueeze_dim::<3>(2);
    let mean = (states.last_hidden_state.clone() * mask.clone()).sum_dim(1) / mask.sum_dim(1);
    let embeddings = mean.clone() / mean.square().sum_dim(2).sqrt();
    let embeddings = embeddings.squeeze_dim::<2>(1);
    let cosines = array(embeddings.clone().matmul(embeddings.clone().transpose()));
    let (embeddings, states) = (array(embeddings), array(states.last_hidden_state));

    let worst = |got: &[f64], want: &[f64]| got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max);
    let (mut embedding, mut state, mut cosine) = (0f64, 0f64, 0f64);
    for (i, sentence) in sentences.iter().enumerate() {
        let length = encoded.untruncated_length[i];
        let ids: Vec<f64> = encoded.input_ids[i][..length].iter().map(|id| f64::from(*id)).collect();
        assert_eq!(ids, numbers(&sentence["ids"]), "{}", texts[i]);
        let width = encoder.width();
        embedding = embedding.max(worst(&embeddings.values[i * width..], &numbers(&sentence["embedding_fp32_first16"])));
        state = state.max(worst(&states.values[i * 32 * width..], &numbers(&sentence["cls_hidden_first8"])));
        cosine = cosine.max(worst(&cosines.values[i * texts.len()..], &numbers(&reference["cosine_matrix"][i])));
    }
    println!("largest differences: embeddings {embedding:.2e}, states {state:.2e}, cosines {cosine:.2e}");
    assert!(embedding < EMBEDDING && state < STATE && cosine < COSINE, "{embedding:e} {state:e} {cosine:e}");
}
