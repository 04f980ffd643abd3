//! 01_tokenizers.

use roentgen::diffusion::text::Tokenizer;

use super::{Array, Case, Outputs};

pub fn compute(case: &Case) -> Option<Outputs> {
    let folder = case.checkpoint.as_ref()?.join("tokenizer");
    let tokenizer = Tokenizer::open(&folder).unwrap();
    let texts: Vec<&str> = case.params["texts"].as_array()?.iter().map(|text| text.as_str().unwrap()).collect();
    let max_length = case.params["max_length"].as_u64()? as usize;
    let encoded = tokenizer.encode(&texts, max_length).unwrap();
    let shape = [texts.len(), max_length];
    let mask: Vec<u32> = encoded.attention_mask.concat().into_iter().map(u32::from).collect();
    let lengths: Vec<u32> = encoded.untruncated_length.iter().map(|length| *length as u32).collect();
    Some(vec![
        ("input_ids".to_owned(), Array::new(&shape, &encoded.input_ids.concat())),
        ("attention_mask".to_owned(), Array::new(&shape, &mask)),
        ("token_type_ids".to_owned(), Array::new(&shape, &encoded.token_type_ids.concat())),
        ("untruncated_length".to_owned(), Array::new(&[texts.len()], &lengths)),
    ])
}
