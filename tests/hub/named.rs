//! Names wherever a checkpoint, a part of one or an adapter is named, on command lines and in run files.

use std::path::Path;

use roentgen_augment::supply::{AdapterCard, AdapterKind};

use super::commands::{Bench, RUN, STUDY, commit, sample};
use super::server::Model;
use super::{UNET, tiny};
use crate::adapters::files::{Floats, Tensors, kohya, modules, write_safetensors};

const FILE: &str = "chest.safetensors";

/// A hub with a pipeline and what changes it, and the same as files and folders.
fn bench() -> Bench {
    let bench = Bench::new();
    write_safetensors(&bench.path(FILE), &kohya(&modules(), "te", Some(2.0)), &[]);
    write_safetensors(&bench.path("x.safetensors"), &Tensors::from([("<x>".to_owned(), Floats::drawn(&[2, 32], 5))]), &[]);
    let (lora, word) = (std::fs::read(bench.path(FILE)).unwrap(), std::fs::read(bench.path("x.safetensors")).unwrap());
    // Another U-Net: that of the next seed.
    bench.runs(&["dev", "random-pipeline", "--out", "other", "--seed", "4"]);
    let unet = Model::of_folder(&bench.path("other/unet"), 'b').with("README.md", b"x").with("optimizer.bin", b"x");
    let styles = Model::empty('c').with("view.safetensors", b"x").with(FILE, &lora).with("README.md", b"x");
    let diffusers = Model::empty('d').with("pytorch_lora_weights.safetensors", &lora).with("pytorch_lora_weights.bin", b"x");
    let word = Model::empty('e').with("learned_embeds.safetensors", &word).with("learned_embeds.bin", b"x");
    let models = [("me/unet", unet), ("me/styles", styles), ("me/lora", diffusers), ("me/word", word)];
    bench.server.state().models.extend(models.map(|(name, model)| (name.to_owned(), model)));
    bench
}

fn at(name: &str, digit: char) -> String {
    let commit = digit.to_string().repeat(40);
    match name.split_once(':') {
        Some((name, file)) => format!("{name}@{commit}:{file}"),
        None => format!("{name}@{commit}"),
    }
}

#[test]
fn every_part_may_be_a_name_and_gives_the_image_of_its_file() {
    let bench = bench();
    let image = |out: &str, more: &[&str]| {
        let base = ["generate", "--prompt", "film in <x> style", "--steps", "2", "--device", "cpu", "--out", out];
        bench.runs(&[&base[..], more].concat());
        sample(&std::fs::read(bench.path(out).join("000000.png")).unwrap())
    };
    let styles = format!("me/styles:{FILE}");
    let scaled = format!("{styles}:0.8");
    let (file, half) = (format!("{FILE}:0.8"), format!("{FILE}:0.5"));
    let folder = tiny().to_str().unwrap();
    let files = ["--unet", "other/unet", "--lora", &file, "--lora", &half, "--embedding", "x.safetensors"];
    let names = ["--unet", "me/unet", "--lora", &scaled, "--lora", "me/lora:0.5", "--embedding", "me/word"];
    let (expected, origin) = image("files", &[&["--pipeline", folder][..], &files].concat());
    bench.server.requests();
    let names = [&["--pipeline", "me/tiny"][..], &names].concat();
    let (pixels, named) = image("names", &names);
    assert!(pixels == expected && named.fingerprint == origin.fingerprint);
    let requests = bench.server.requests();
    let own_unet = format!("me/tiny/{UNET}");
    for beside in ["README", "optimizer", "view", ".bin", &own_unet] {
        assert!(requests.iter().all(|request| !request.path.contains(beside)), "{beside}: {requests:#?}");
    }
    let of_lora = |card: &AdapterCard| (card.kind == AdapterKind::Lora).then(|| card.name.clone());
    let loras: Vec<_> = named.card.adapters.iter().filter_map(of_lora).collect();
    assert_eq!(loras, [at(&styles, 'c'), at("me/lora", 'd')]);

    // From the cache, with the hub gone; and the plain pipeline needs its own U-Net.
    bench.server.state().models.retain(|name, _| name == "me/tiny");
    assert!(image("again", &names).0 == expected && bench.server.requests().is_empty());
    assert!(image("plain", &["--pipeline", "me/tiny"]).0 != expected);
    assert!(bench.server.requests().iter().any(|request| request.path.contains(&own_unet)));
}

#[test]
fn names_without_what_is_wanted_say_what_to_write() {
    let bench = bench();
    let refuses = |more: &[&str], parts: &[&str]| {
        let base = ["generate", "--pipeline", "me/tiny", "--prompt", "x", "--out", "o"];
        bench.refuses(&[&base[..], more].concat(), parts);
    };
    refuses(
        &["--lora", "me/styles"],
        &["--lora: ", "no LoRA", "chest.safetensors, view.safetensors", "owner/name:chest.safetensors"],
    );
    refuses(&["--lora", "me/styles:spine.safetensors"], &["it has no spine.safetensors", "chest.safetensors"]);
    refuses(&["--embedding", "me/lora"], &["--embedding: ", "no textual inversion", "learned_embeds.safetensors"]);
    refuses(&["--embedding", "<y>=me/nothing"], &["--embedding: ", "no model me/nothing"]);
    refuses(&["--unet", "me/tiny"], &["--unet: ", "whole pipeline", "`:unet`"]);
    refuses(&["--unet", "me/word"], &["--unet: ", "no config.json"]);
    refuses(&["--variant", "fp16"], &["--pipeline: ", "no weights of variant fp16", "leave the variant out"]);
    let file = format!("me/styles:{FILE}");
    bench.refuses(&["inspect", "me/lora:none"], &["folder: ", "no none/model_index.json"]);
    let args = ["generate", "--pipeline", file.as_str(), "--prompt", "x", "--out", "o"];
    bench.refuses(&args, &["--pipeline: ", "no folder of that name", "it is a file", "roentgen convert"]);
}

#[test]
fn inspect_takes_the_name_of_anything() {
    let bench = bench();
    let says = |args: &[&str], parts: &[&str]| {
        let output = bench.command(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        parts.iter().for_each(|part| assert!(said.contains(part), "{args:?}: {said}\n{output:?}\nexpected {part}"));
    };
    let file = format!("me/styles:{FILE}");
    says(&["inspect", &file], &["LoRA of kohya"]);
    says(&["inspect", "me/lora"], &["LoRA of kohya"]);
    says(&["inspect", "me/word"], &["textual inversion, token <x>, 2 x 32"]);
    says(&["inspect", "me/unet"], &["one component of a pipeline"]);
    says(&["inspect", "me/tiny", "--unet", "me/unet"], &["models--me--unet"]);
}

#[test]
fn merge_takes_names_and_records_their_commits() {
    let bench = bench();
    bench.runs(&["merge", "--pipeline", "me/tiny", "--lora", "me/lora:0.5", "--embedding", "me/word", "--out", "merged"]);
    let record = std::fs::read_to_string(bench.path("merged/merged.json")).unwrap();
    assert!(record.contains(&at("me/lora", 'd')) && record.contains(&at("me/word", 'e')), "{record}");
}

#[test]
fn a_single_file_its_configurations_and_its_vocabulary_may_be_names() {
    let bench = Bench::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/16_single_file/sd2");
    let file = std::fs::read(fixture.join("model_fp16.ckpt")).unwrap();
    let single = Model::empty('b').with("model.ckpt", &file).with("model-ema.ckpt", b"x");
    // Configurations alone, which have no weights that could be downloaded.
    let mut config = Model::of_folder(&fixture.join("config"), 'c');
    for (part, stem) in [("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"), ("text_encoder", "model")] {
        config = config.with(&format!("{part}/{stem}.safetensors"), b"x");
    }
    let models = [("me/single", single), ("me/config", config)];
    bench.server.state().models.extend(models.map(|(name, model)| (name.to_owned(), model)));
    bench.runs(&["convert", "me/single:model.ckpt", "--config", "me/config", "--out", "model"]);
    bench.runs(&["inspect", "model"]);
    let weights: Vec<String> =
        bench.server.requests().into_iter().map(|request| request.path).filter(|path| path.starts_with("/cdn")).collect();
    assert_eq!(weights, ["/cdn/me/single/model.ckpt"]);
    let like = ["convert", "me/single:model.ckpt", "--like", "sd2", "--prediction", "epsilon", "--out", "o", "--tokenizer"];
    bench.refuses(&[&like[..], &["me/config"]].concat(), &["--tokenizer: ", "whole pipeline", "`:tokenizer`"]);
    // Its tiny networks are not of that release.
    bench.refuses(&[&like[..], &["me/config:tokenizer"]].concat(), &["do not fit"]);
    bench.refuses(&["convert", "me/single", "--config", "me/config", "--out", "o"], &["file: ", "owner/name:model-ema.ckpt"]);
}

#[test]
fn a_study_names_adapters_and_a_variant_and_pins_them() {
    let bench = bench();
    let half = UNET.replace(".safetensors", ".fp16.safetensors");
    let unet = Model::of_folder(tiny(), 'a').files[UNET].clone();
    let tiny = Model::of_folder(tiny(), 'a').with(&half, &unet);
    bench.server.state().models.insert("me/tiny".to_owned(), tiny);
    let keys = format!("variant = \"fp16\"\nlora = [\"me/styles:{FILE}:0.8\"]\nembedding = [\"me/word\"]\n");
    std::fs::write(bench.path("study.toml"), format!("{STUDY}{keys}")).unwrap();
    let fill = ["fill", "study.toml", "--out", "study", "--device", "cpu"];
    bench.runs(&fill);
    let config = std::fs::read_to_string(bench.path("study/config.toml")).unwrap();
    for name in [format!("{}:0.8\"", at(&format!("me/styles:{FILE}"), 'c')), format!("\"{}\"", at("me/word", 'e'))] {
        assert!(config.contains(&name), "{config}\nexpected {name}");
    }
    let requests = bench.server.requests();
    let asked = |file: &str| requests.iter().any(|request| request.path.ends_with(file));
    assert!(asked(&half) && !asked(UNET) && !asked("view.safetensors"), "{requests:#?}");
    // The run folder's own file is the same study.
    std::fs::copy(bench.path("study/config.toml"), bench.path("again.toml")).unwrap();
    bench.runs(&["fill", "again.toml", "--out", "study", "--device", "cpu"]);
    std::fs::write(bench.path("study.toml"), format!("{STUDY}lora = [\"me/nothing\"]\n")).unwrap();
    bench.refuses(&fill, &["generator.diffusion.lora: ", "no model me/nothing"]);
}

#[test]
fn fine_tuning_downloads_of_its_base_what_no_other_part_replaces() {
    let bench = bench();
    let run = RUN.replace("vae = { folder = \"me/tiny:vae\" }", "unet = { folder = \"me/unet\" }");
    std::fs::write(bench.path("run.toml"), run).unwrap();
    bench.server.requests();
    bench.runs(&["finetune", "run.toml", "--out", "run", "--device", "cpu"]);
    let own_unet = format!("me/tiny/{UNET}");
    let requests = bench.server.requests();
    assert!(requests.iter().all(|request| !request.path.contains(&own_unet)), "{requests:#?}");
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert!(config.contains(&format!("me/tiny@{}", commit())) && config.contains(&at("me/unet", 'b')), "{config}");
}
