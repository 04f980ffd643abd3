//! Properties for all values of the weights; the values themselves are checked in the parity tests.

use std::path::Path;

use burn::tensor::{Device, FloatDType, TensorData, Tolerance};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::diffusion::DiffusionError;
use crate::diffusion::weights::{Stem, save};

fn config(changes: Value) -> Result<TextEncoderConfig, DiffusionError> {
    let mut config = json!({
        "vocab_size": 11, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2,
        "max_position_embeddings": 9, "transformers_version": "4.30.0", "_name_or_path": "x"
    });
    let config: &mut Map<String, Value> = config.as_object_mut().unwrap();
    config.extend(changes.as_object().unwrap().clone());
    TextEncoderConfig::parse(&serde_json::to_string(&config).unwrap(), Path::new("text_encoder/config.json"))
}

fn encoder(changes: Value) -> TextEncoderModel {
    config(changes).unwrap().init(&Device::flex())
}

fn clip(end: i32) -> TextEncoderModel {
    encoder(json!({"model_type": "clip_text_model", "eos_token_id": end}))
}

fn bert() -> TextEncoderModel {
    encoder(json!({"model_type": "bert"}))
}

fn ids<const B: usize, const L: usize>(ids: [[i32; L]; B]) -> Tensor<2, Int> {
    Tensor::from_data(ids, &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The state at `[0, place]`.
fn at(states: &Tensor<3>, place: usize) -> Vec<f32> {
    values(states.clone().slice([0..1, place..place + 1]))
}

fn refusal(changes: Value) -> String {
    config(changes).unwrap_err().to_string()
}

#[test]
fn configurations_of_the_hub_are_read() {
    // CompVis/stable-diffusion-v1-4, text_encoder/config.json, and cambridgeltl/SapBERT-from-PubMedBERT-fulltext, config.json.
    let clip = r#"{"_name_or_path": "openai/clip-vit-large-patch14", "architectures": ["CLIPTextModel"], "attention_dropout": 0.0,
        "bos_token_id": 0, "dropout": 0.0, "eos_token_id": 2, "hidden_act": "quick_gelu", "hidden_size": 768,
        "initializer_factor": 1.0, "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77, "model_type": "clip_text_model", "num_attention_heads": 12, "num_hidden_layers": 12,
        "pad_token_id": 1, "torch_dtype": "float32", "transformers_version": "4.21.0.dev0", "vocab_size": 49408}"#;
    let bert = r#"{"architectures": ["BertModel"], "attention_probs_dropout_prob": 0.1, "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 30522}"#;
    // StanfordAIMI/RadBERT and microsoft/BiomedVLP-CXR-BERT-specialized, config.json.
    let radbert = r#"{"architectures": ["BertForMaskedLM"], "attention_probs_dropout_prob": 0.1, "gradient_checkpointing": false,
        "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072,
        "layer_norm_eps": 1e-12, "max_position_embeddings": 512, "model_type": "bert", "num_attention_heads": 12,
        "num_hidden_layers": 12, "pad_token_id": 0, "type_vocab_size": 2, "vocab_size": 28996}"#;
    let cxr_bert = r#"{"architectures": ["CXRBertModel"], "attention_probs_dropout_prob": 0.25,
        "auto_map": {"AutoConfig": "configuration_cxrbert.CXRBertConfig", "AutoModel": "modeling_cxrbert.CXRBertModel"},
        "classifier_dropout": null, "gradient_checkpointing": false, "hidden_act": "gelu", "hidden_dropout_prob": 0.25,
        "hidden_size": 768, "initializer_range": 0.02, "intermediate_size": 3072, "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512, "model_type": "cxr-bert", "num_attention_heads": 12, "num_hidden_layers": 12,
        "pad_token_id": 0, "position_embedding_type": "absolute", "projection_size": 128, "torch_dtype": "float32",
        "transformers_version": "4.17.0", "type_vocab_size": 2, "use_cache": true, "vocab_size": 30522}"#;
    for (text, positions, vocabulary) in [(clip, 77, 49408), (bert, 512, 30522), (radbert, 512, 28996), (cxr_bert, 512, 30522)]
    {
        let model = TextEncoderConfig::parse(text, Path::new("config.json")).unwrap().init(&Device::flex());
        let sizes = (model.width(), model.layers(), model.max_positions(), model.vocabulary_size());
        assert_eq!(sizes, (768, 12, positions, vocabulary));
        assert!(!model.uses_attention_mask());
    }
    assert!(encoder(json!({"model_type": "roberta", "use_attention_mask": true})).uses_attention_mask());
}

#[test]
fn the_network_is_seen_from_the_architecture_where_no_type_is_named() {
    assert!(matches!(config(json!({"architectures": ["CLIPTextModel"]})).unwrap(), TextEncoderConfig::Clip(_)));
    let roberta = encoder(json!({"architectures": ["RobertaForMaskedLM"]}));
    // Places count from the padding's id, 1 by default.
    assert_eq!(roberta.max_positions(), 9 - 2);
    assert_eq!(encoder(json!({"architectures": ["BertModel"]})).max_positions(), 9);
}

#[test]
fn what_is_not_computed_is_refused_by_name() {
    assert!(refusal(json!({})).contains("`model_type` is nothing"));
    assert!(refusal(json!({"model_type": "t5"})).contains("`t5`"));
    let message = refusal(json!({"model_type": "distilbert", "architectures": ["DistilBertModel"]}));
    assert!(message.contains("`distilbert`") && message.contains("StanfordAIMI/RadBERT"), "{message}");
    assert!(refusal(json!({"model_type": "clip", "text_config": {}})).contains("CLIPTextModel.from_pretrained"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("open_clip_config.json"), "{}").unwrap();
    let message = TextEncoderConfig::read(&folder.path().join("config.json")).unwrap_err().to_string();
    assert!(message.contains("a model of open_clip") && message.contains("save_pretrained"), "{message}");
    let of = |kind: &str, key: &str, value: Value| refusal(json!({"model_type": kind, key: value}));
    assert!(of("clip_text_model", "hidden_act", json!("mish")).contains("`hidden_act` is mish"));
    assert!(of("clip_text_model", "new_trick", json!(1)).contains("`new_trick` (= 1)"));
    assert!(of("clip_text_model", "num_attention_heads", json!(3)).contains("`num_attention_heads` is 3, expected a divisor"));
    assert!(of("bert", "num_hidden_layers", json!(0)).contains("`num_hidden_layers` is 0"));
    assert!(of("bert", "layer_norm_eps", json!(-1.0)).contains("`layer_norm_eps` is -1"));
    assert!(of("bert", "position_embedding_type", json!("relative_key")).contains("relative_key"));
    assert!(of("bert", "is_decoder", json!(true)).contains("`is_decoder` is true"));
    assert!(of("roberta", "type_vocab_size", json!(0)).contains("`type_vocab_size` is 0"));
    assert!(of("roberta", "pad_token_id", json!(8)).contains("`pad_token_id` is 8"));
}

#[test]
fn clip_pools_the_first_end_token() {
    for (end, row, place) in [
        // An id of 2 stands for the highest.
        (2, [5, 2, 10, 3, 10], 2),
        (2, [9, 2, 4, 3, 1], 0),
        (7, [5, 7, 10, 7, 2], 1),
        // Without an end token the first is taken, as by torch's argmax over zeros.
        (7, [5, 1, 10, 3, 2], 0),
    ] {
        let states = clip(end).encode(TextInput::new(ids([row])));
        assert_eq!(values(states.pooled.unwrap()), at(&states.last_hidden_state, place), "{end} in {row:?}");
    }
}

#[test]
fn clip_sees_no_later_token_and_bert_sees_all() {
    let first =
        |model: &TextEncoderModel, last: i32| at(&model.encode(TextInput::new(ids([[5, 3, last]]))).last_hidden_state, 1);
    let (clip, bert) = (clip(10), bert());
    assert_eq!(first(&clip, 4), first(&clip, 8));
    assert_ne!(first(&bert, 4), first(&bert, 8));
}

#[test]
fn masked_tokens_are_not_seen() {
    for model in [clip(10), bert(), encoder(json!({"model_type": "roberta"}))] {
        let first = |row: [i32; 3], mask: Option<[[bool; 3]; 1]>| {
            let mask = mask.map(|mask| Tensor::from_data(mask, &Device::flex()));
            at(&model.encode(TextInput { mask, ..TextInput::new(ids([row])) }).last_hidden_state, 2)
        };
        let mask = Some([[true, false, true]]);
        assert_eq!(first([5, 3, 4], mask), first([5, 8, 4], mask));
        assert_ne!(first([5, 3, 4], None), first([5, 8, 4], None));
    }
}

#[test]
fn token_types_are_zero_unless_given() {
    let model = bert();
    let states = |types: Option<[[i32; 3]; 1]>| {
        let token_types = types.map(ids);
        values(model.encode(TextInput { token_types, ..TextInput::new(ids([[5, 3, 4]])) }).last_hidden_state)
    };
    assert_eq!(states(None), states(Some([[0, 0, 0]])));
    assert_ne!(states(None), states(Some([[0, 0, 1]])));
}

#[test]
fn roberta_gives_padding_its_own_place() {
    let model = encoder(json!({"model_type": "roberta"}));
    let embedded = |row: [i32; 4]| {
        model.encode(TextInput { keep_hidden_states: true, ..TextInput::new(ids([row])) }).hidden_states.swap_remove(0)
    };
    // Padding (id 1) before or inside a text moves no place: 2 for the first token, 3 for the second.
    let (plain, padded) = (embedded([5, 6, 7, 1]), embedded([1, 5, 1, 6]));
    assert_eq!(at(&plain, 0), at(&padded, 1));
    assert_eq!(at(&plain, 1), at(&padded, 3));
    assert_eq!(at(&plain, 3), at(&padded, 0));
}

#[test]
fn skipped_layers_are_those_at_the_end() {
    let input = |skip| TextInput { skip, keep_hidden_states: true, ..TextInput::new(ids([[5, 3, 10]])) };
    let (clip, bert) = (clip(10), bert());
    let whole = clip.encode(input(0));
    assert_eq!(whole.hidden_states.len(), 4);
    for skip in 1..=3 {
        let states = clip.encode(input(skip));
        assert!(states.pooled.is_none());
        // diffusers 0.42.1, pipeline_stable_diffusion.py, encode_prompt: the final norm of hidden_states[-(clip_skip + 1)].
        // The norm of this model has weights 1 and biases 0.
        let [mean, square] = {
            let state = values(states.last_hidden_state.clone());
            [1, 2].map(|power| state[..8].iter().map(|x| x.powi(power)).sum::<f32>() / 8.0)
        };
        assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3, "{mean} {square}");
        let kept = states.hidden_states.last().unwrap().clone();
        kept.into_data().assert_eq(&whole.hidden_states[3 - skip].clone().into_data(), true);
        // A BERT has no norm of its own at the end.
        let states = bert.encode(input(skip));
        let kept = bert.encode(input(0)).hidden_states.swap_remove(3 - skip);
        states.last_hidden_state.into_data().assert_eq(&kept.into_data(), true);
    }
}

#[test]
#[should_panic(expected = "a text of 10 tokens for an encoder of 9 positions")]
fn too_long_a_text_is_a_broken_contract() {
    clip(10).encode(TextInput::new(ids([[0; 10]])));
}

#[test]
#[should_panic(expected = "4 layers to skip of an encoder of 3")]
fn too_many_skipped_layers_are_a_broken_contract() {
    clip(10).encode(TextInput { skip: 4, ..TextInput::new(ids([[0; 3]])) });
}

#[test]
fn names_of_all_ages_are_one() {
    let clip = config(json!({"model_type": "clip_text_model"})).unwrap();
    let canonical = |name: &str| clip.keys().canonical(name);
    assert_eq!(canonical("text_model.final_layer_norm.bias").unwrap(), "text_model.final_layer_norm.bias");
    assert_eq!(canonical("final_layer_norm.bias").unwrap(), "text_model.final_layer_norm.bias");
    assert_eq!(canonical("text_model.embeddings.position_ids"), None);
    assert_eq!(canonical("embeddings.position_ids"), None);
    let bert = config(json!({"model_type": "bert"})).unwrap();
    let canonical = |name: &str| bert.keys().canonical(name);
    for name in ["bert.embeddings.LayerNorm.gamma", "roberta.embeddings.LayerNorm.weight", "embeddings.LayerNorm.weight"] {
        assert_eq!(canonical(name).unwrap(), "embeddings.LayerNorm.weight");
    }
    assert_eq!(canonical("bert.embeddings.LayerNorm.beta").unwrap(), "embeddings.LayerNorm.bias");
    let heads = ["cls.predictions.bias", "cls_projection_head.LayerNorm.weight", "lm_head.dense.weight", "classifier.bias"];
    for name in heads.into_iter().chain(["bert.embeddings.position_ids"]) {
        assert_eq!(canonical(name), None);
    }
}

/// Saved, then loaded into a model with other values: the same states, and these names in the file.
fn round_trip(config: &TextEncoderConfig, model: &TextEncoderModel, names: &[&str]) -> TextEncoderModel {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Stem::Transformers.file_name());
    save(model, &path, config.keys(), FloatDType::F32).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    names.iter().for_each(|name| assert!(file.names().contains(name), "{name} in {:?}", file.names()));
    let loaded = config.load(folder.path(), FloatDType::F32, &Device::flex()).unwrap().model;
    let states = |model: &TextEncoderModel| model.encode(TextInput::new(ids([[5, 3, 10, 1]]))).last_hidden_state.into_data();
    states(&loaded).assert_eq(&states(model), true);
    loaded
}

#[test]
fn files_have_the_names_of_transformers() {
    let clip = config(json!({"model_type": "clip_text_model"})).unwrap();
    let name = "text_model.encoder.layers.2.self_attn.q_proj.weight";
    round_trip(&clip, &clip.init(&Device::flex()), &[name, "text_model.final_layer_norm.weight"]);
    let bert = config(json!({"model_type": "bert"})).unwrap();
    let names =
        ["encoder.layer.1.attention.self.query.weight", "encoder.layer.1.attention.output.LayerNorm.bias", "pooler.dense.bias"];
    let loaded = round_trip(&bert, &bert.init(&Device::flex()), &names);
    assert!(loaded.encode(TextInput::new(ids([[5]]))).pooled.is_some());
}

#[test]
fn a_bert_without_a_pooling_layer_has_no_pooled_output() {
    let config = config(json!({"model_type": "roberta"})).unwrap();
    let loaded = round_trip(&config, &config.init(&Device::flex()).without_pooler(), &[]);
    assert!(loaded.encode(TextInput::new(ids([[5]]))).pooled.is_none());
    // A file of another model is still refused, with its pooling layer among the names.
    let folder = tempfile::tempdir().unwrap();
    let other = self::config(json!({"model_type": "roberta", "num_hidden_layers": 2})).unwrap();
    let path = folder.path().join(Stem::Transformers.file_name());
    save(&other.init(&Device::flex()).without_pooler(), &path, other.keys(), FloatDType::F32).unwrap();
    let message = config.load(folder.path(), FloatDType::F32, &Device::flex()).unwrap_err().to_string();
    assert!(message.contains("encoder.layer.2."), "{message}");
}

/// CXR-BERT's file is a masked language model's with another head, and its states are those of the BERT in it.
#[test]
fn cxr_bert_is_a_bert() {
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};

    let bert = config(json!({"model_type": "bert"})).unwrap();
    let cxr = config(json!({"model_type": "cxr-bert", "projection_size": 4, "auto_map": {"AutoModel": "x.Y"}})).unwrap();
    assert_eq!((&cxr, cxr.class_name()), (&bert, "BertModel"));
    assert_eq!(config(json!({"architectures": ["CXRBertModel"]})).unwrap(), bert);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(Stem::Transformers.file_name());
    let model = bert.init(&Device::flex()).without_pooler();
    save(&model, &path, bert.keys(), FloatDType::F32).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Vec<_> = file.iter().map(|(name, view)| (format!("bert.{name}"), view)).collect();
    let head = [0; 16];
    for name in ["cls_projection_head.dense_to_hidden.bias", "cls.predictions.bias"] {
        tensors.push((name.to_owned(), TensorView::new(Dtype::F32, vec![4], &head).unwrap()));
    }
    std::fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    let loaded = cxr.load(folder.path(), FloatDType::F32, &Device::flex()).unwrap().model;
    let states = |model: &TextEncoderModel| model.encode(TextInput::new(ids([[5, 3, 10, 1]]))).last_hidden_state.into_data();
    states(&loaded).assert_eq(&states(&model), true);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_text_has_the_same_states_alone_and_among_others(rows in prop::collection::vec(prop::collection::vec(0i32..11, 5), 1..5)) {
        for model in [clip(2), bert(), encoder(json!({"model_type": "roberta"}))] {
            let tensor = |rows: &[Vec<i32>]| Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), 5]), &Device::flex());
            let together = model.encode(TextInput::new(tensor(&rows)));
            for (i, row) in rows.iter().enumerate() {
                let alone = model.encode(TextInput::new(tensor(std::slice::from_ref(row))));
                let states = together.last_hidden_state.clone().narrow(0, i, 1).into_data();
                // Sums of another blocking differ in the last bits.
                states.assert_approx_eq::<f32>(&alone.last_hidden_state.into_data(), Tolerance::absolute(1e-5));
                let pooled = together.pooled.clone().unwrap().narrow(0, i, 1).into_data();
                pooled.assert_approx_eq::<f32>(&alone.pooled.unwrap().into_data(), Tolerance::absolute(1e-5));
            }
        }
    }
}
