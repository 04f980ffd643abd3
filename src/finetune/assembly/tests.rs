//! Pipelines of several origins.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde_json::json;

use super::super::testing::{batch, fixture, pipeline};
use super::super::{Strategy, Trainee, TraineeSettings, Which};
use super::*;

/// Widths 24 for a U-Net of 32.
const BERT: &str = r#"{"architectures": ["BertForMaskedLM"], "model_type": "bert", "vocab_size": 400, "hidden_size": 24,
    "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64}"#;

fn file(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn trains(checkpoint: Checkpoint, strategy: Strategy) -> Trainee {
    let mut trainee = Trainee::new(checkpoint, &TraineeSettings::new(strategy), &Device::flex()).unwrap();
    let batch = batch(&trainee, 1, 2);
    let before = trainee.losses(&batch, Which::Live).unwrap();
    trainee.accumulate(&batch, 1.0).unwrap();
    trainee.step(1.0).unwrap();
    assert_ne!(trainee.losses(&batch, Which::Live).unwrap(), before);
    trainee
}

#[test]
fn a_base_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let assembly = Assembly::of_base(pipeline());
    assert!(assembly.is_base());
    assembly.write(folder.path()).unwrap();
    for file in [
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "vae/config.json",
        "tokenizer/vocab.json",
    ] {
        assert!(std::fs::read(folder.path().join(file)).unwrap() == std::fs::read(pipeline().join(file)).unwrap(), "{file}");
    }
}

#[test]
fn a_u_net_from_scratch_is_the_seeds() {
    let folder = tempfile::tempdir().unwrap();
    let config = pipeline().join("unet/config.json");
    let write = |name: &str, seed| {
        let assembly = Assembly { unet: Origin::Scratch(config.clone()), seed, ..Assembly::of_base(pipeline()) };
        assert!(!assembly.is_base());
        let checkpoint = assembly.write(&folder.path().join(name)).unwrap();
        (checkpoint, std::fs::read(folder.path().join(name).join("unet/diffusion_pytorch_model.safetensors")).unwrap())
    };
    let ((checkpoint, a), (_, b), (_, c)) = (write("a", 1), write("b", 1), write("c", 2));
    assert!(a == b && a != c);
    trains(checkpoint, Strategy::unet_only());
}

/// RadBERT and SapBERT at a small size: an encoder of another kind and width, frozen and trained.
#[test]
fn a_domain_encoder_takes_the_place_of_clip() {
    let folder = tempfile::tempdir().unwrap();
    let bert = file(folder.path(), "bert.json", BERT);
    let assembly = Assembly {
        text_encoder: Origin::Scratch(bert),
        tokenizer: Some(fixture("01_tokenizers/bert_uncased/tokenizer").into()),
        text_length: Some(16),
        ..Assembly::of_base(pipeline())
    };
    let message = assembly.write(&folder.path().join("refused")).unwrap_err().to_string();
    assert!(message.contains("24 wide") && message.contains("takes 32"), "{message}");
    assert!(message.contains("`text_projection = true` in [model]"), "{message}");
    let written = |file: &str| folder.path().join("refused").join(file).exists();
    assert!(
        written("unet/config.json") && !written("unet/diffusion_pytorch_model.safetensors"),
        "refused before weights are written"
    );

    let target = folder.path().join("joined");
    let checkpoint = Assembly { text_projection: true, ..assembly }.write(&target).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(target.join("model_index.json")).unwrap()).unwrap();
    // Not the class in `architectures`, whose output are scores of tokens.
    assert_eq!(index["text_encoder"], json!(["transformers", "BertModel"]));
    assert_eq!(index["tokenizer"], json!(["transformers", "BertTokenizer"]));
    for strategy in [Strategy::unet_only(), Strategy::both(), Strategy::text_encoder_only()] {
        let trainee = trains(checkpoint.clone(), strategy);
        assert!(trainee.names().any(|name| name == "text_projection.linear.weight"));
        assert_eq!(trainee.tokenize(&["effusion"]).unwrap().max_length, 16);
        let out = folder.path().join("out");
        trainee.export(&out, Which::Live).unwrap();
        Checkpoint::read(&out).unwrap();
    }
}

/// CXR-BERT's type and tokenizer are in no library: the pipeline has those that they are made of, which transformers loads.
#[test]
fn an_encoder_of_its_own_type_is_written_as_a_bert() {
    let folder = tempfile::tempdir().unwrap();
    let config = BERT
        .replace("BertForMaskedLM", "CXRBertModel")
        .replace("\"model_type\": \"bert\"", "\"model_type\": \"cxr-bert\", \"projection_size\": 8");
    let tokenizer = folder.path().join("tokenizer");
    std::fs::create_dir(&tokenizer).unwrap();
    std::fs::copy(fixture("01_tokenizers/bert_uncased/tokenizer").join("vocab.txt"), tokenizer.join("vocab.txt")).unwrap();
    file(
        &tokenizer,
        "tokenizer_config.json",
        r#"{"tokenizer_class": "CXRBertTokenizer", "model_max_length": 16, "auto_map": {"AutoTokenizer": ["a.B", null]}}"#,
    );
    let assembly = Assembly {
        text_encoder: Origin::Scratch(file(folder.path(), "cxr.json", &config)),
        tokenizer: Some(tokenizer.into()),
        text_projection: true,
        ..Assembly::of_base(pipeline())
    };
    let target = folder.path().join("joined");
    let checkpoint = assembly.write(&target).unwrap();
    let read =
        |name: &str| -> serde_json::Value { serde_json::from_slice(&std::fs::read(target.join(name)).unwrap()).unwrap() };
    let written = read("text_encoder/config.json");
    assert_eq!((&written["model_type"], &written["architectures"]), (&json!("bert"), &json!(["BertModel"])));
    assert!(written.get("projection_size").is_none());
    assert_eq!(read("tokenizer/tokenizer_config.json"), json!({"tokenizer_class": "BertTokenizer", "model_max_length": 16}));
    assert_eq!(read("model_index.json")["tokenizer"], json!(["transformers", "BertTokenizer"]));
    trains(checkpoint, Strategy::unet_only());
}

#[test]
fn every_component_from_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = |component: &str| Origin::Scratch(pipeline().join(component).join("config.json"));
    let assembly = Assembly {
        unet: config("unet"),
        text_encoder: config("text_encoder"),
        vae: config("vae"),
        tokenizer: Some(pipeline().join("tokenizer").into()),
        ..Assembly::default()
    };
    let checkpoint = assembly.write(folder.path()).unwrap();
    assert_eq!(checkpoint.settings().scheduler.text(), SchedulerConfig::roentgen().text());
    trains(checkpoint, Strategy::both());
    let message = Assembly { vae: Origin::Base, ..assembly }.write(&folder.path().join("x")).unwrap_err().to_string();
    assert!(message.starts_with("vae is not given") && message.contains("base pipeline"), "{message}");
}
