//! Checkpoints as people have them: which of several weights is read, folders of training scripts, single files, and every broken one
//! with what to do about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use roentgen_augment::image::GrayDepth;
use roentgen_augment::supply::decode_sample;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

use super::generate::{Bench, copy, roentgen};

const UNET: &str = "tiny/unet/diffusion_pytorch_model";

fn run(bench: &Bench, args: &[&str]) -> Output {
    roentgen(bench.folder.path(), args)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that must fail with an explanation.
fn fails(bench: &Bench, args: &[&str], said: &[&str]) {
    let output = run(bench, args);
    let message = stderr(&output);
    assert!(!output.status.success(), "{args:?} succeeded");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{args:?} said {message}");
    for part in said {
        assert!(message.contains(part), "{args:?} said {message}\nexpected {part}");
    }
}

/// Tensors of a file: shape and values.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let values =
        |view: &TensorView<'_>| view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.iter().map(|(name, view)| (name.to_owned(), (view.shape().to_vec(), values(&view)))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let bytes: Vec<Vec<u8>> =
        tensors.values().map(|(_, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, (shape, _)), bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// The samples of an image made anew.
fn image(bench: &Bench, more: &[&str]) -> Vec<u8> {
    std::fs::remove_dir_all(bench.path("out")).ok();
    bench.makes(&[&["--prompt", "effusion"], more].concat());
    let image = decode_sample(&bench.sample("out/000000.png").0).unwrap().0;
    let GrayDepth::U8(samples) = image.depth() else { panic!("8 bits") };
    samples.to_vec()
}

/// The tiny pipeline, and the same with each weight of the U-Net halved as its variant `half`.
fn with_variant() -> Bench {
    let bench = Bench::new();
    let mut tensors = read(&bench.path(&format!("{UNET}.safetensors")));
    tensors.values_mut().for_each(|(_, values)| values.iter_mut().for_each(|value| *value /= 2.0));
    write(&bench.path(&format!("{UNET}.half.safetensors")), &tensors);
    bench
}

#[test]
fn the_plain_weights_are_read_unless_a_variant_is_named() {
    let bench = with_variant();
    let plain = image(&bench, &[]);
    // The digest of what was read tells them apart.
    let mixed = stderr(&bench.generate(&["--prompt", "effusion", "--variant", "half"]));
    assert!(mixed.contains("out holds another run"), "{mixed}");
    let half = image(&bench, &["--variant", "half"]);
    assert!(plain != half);
    // What one component lacks is said; the weights of the others are plain.
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    let summary = bench.makes(&["--prompt", "effusion", "--variant", "half"]);
    let notes = summary["notes"].to_string();
    assert!(notes.contains("weights of text_encoder, vae: the plain weights") && notes.contains("no variant half"), "{notes}");

    let shown = stdout(&run(&bench, &["inspect", "tiny"]));
    let unet = shown.split("\n\n").find(|part| part.starts_with("unet")).unwrap();
    assert!(unet.contains("reads tiny/unet/diffusion_pytorch_model.safetensors: the plain weights"), "{unet}");
    assert!(unet.contains("not read: diffusion_pytorch_model.half.safetensors"), "{unet}");
    assert!(shown.contains("prediction_type epsilon") && shown.contains("tiny/scheduler/scheduler_config.json"), "{shown}");
    let shown: Value =
        serde_json::from_slice(&run(&bench, &["inspect", "tiny", "--variant", "half", "--json"]).stdout).unwrap();
    let unet = &shown["components"][2]["weights"];
    assert_eq!(unet["file"], json!("tiny/unet/diffusion_pytorch_model.half.safetensors"));
    assert_eq!(unet["not_read"], json!(["tiny/unet/diffusion_pytorch_model.safetensors"]));

    // The only weights there are read, with a note.
    std::fs::remove_file(bench.path(&format!("{UNET}.safetensors"))).unwrap();
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    let notes = bench.makes(&["--prompt", "effusion"])["notes"].to_string();
    assert!(notes.contains("variant half, the only weights here"), "{notes}");
    assert!(image(&bench, &[]) == half);
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.refuses(&["--prompt", "x", "--variant", "fp16"], &["variant is fp16", "half"]);
    std::fs::copy(bench.path(&format!("{UNET}.half.safetensors")), bench.path(&format!("{UNET}.ema.safetensors"))).unwrap();
    bench.refuses(&["--prompt", "x"], &["tiny/unet", "variants ema, half", "--variant ema"]);
}

#[test]
fn shards_of_a_variant_are_read_and_broken_ones_named() {
    let bench = with_variant();
    let expected = image(&bench, &["--variant", "half"]);
    for (folder, name) in [("text_encoder", "model"), ("vae", "diffusion_pytorch_model")] {
        let file = |variant: &str| bench.path(&format!("tiny/{folder}/{name}{variant}.safetensors"));
        std::fs::copy(file(""), file(".half")).unwrap();
    }
    let whole = read(&bench.path(&format!("{UNET}.half.safetensors")));
    std::fs::remove_file(bench.path(&format!("{UNET}.half.safetensors"))).unwrap();
    let mut map = BTreeMap::new();
    for (i, part) in ["00001-of-00002", "00002-of-00002"].into_iter().enumerate() {
        let tensors: Tensors =
            whole.clone().into_iter().enumerate().filter(|(n, _)| n % 2 == i).map(|(_, entry)| entry).collect();
        let name = format!("diffusion_pytorch_model.half-{part}.safetensors");
        map.extend(tensors.keys().map(|tensor| (tensor.clone(), name.clone())));
        write(&bench.path(&format!("tiny/unet/{name}")), &tensors);
    }
    let index = "tiny/unet/diffusion_pytorch_model.safetensors.index.half.json";
    bench.write(index, &json!({ "metadata": {}, "weight_map": map }).to_string());
    assert!(image(&bench, &["--variant", "half"]) == expected);
    std::fs::remove_dir_all(bench.path("out")).unwrap();

    let asked = ["--prompt", "x", "--variant", "half"];
    let mut absent = map.clone();
    absent.insert("no.such.weight".to_owned(), "diffusion_pytorch_model.half-00001-of-00002.safetensors".to_owned());
    bench.write(index, &json!({ "weight_map": absent }).to_string());
    bench.refuses(&asked, &["half-00001-of-00002.safetensors", "no `no.such.weight`", "download or save it again"]);
    bench.write(index, &json!({ "weight_map": map }).to_string());
    std::fs::remove_file(bench.path(&format!("{UNET}.half-00002-of-00002.safetensors"))).unwrap();
    bench.refuses(&asked, &["has no diffusion_pytorch_model.half-00002-of-00002.safetensors", "download that shard too"]);
}

#[test]
fn folders_of_training_scripts_lend_their_unet() {
    let bench = with_variant();
    let expected = image(&bench, &["--variant", "half"]);
    // diffusers' script with --use_ema, whose configuration carries the average's state.
    for name in ["unet", "unet_ema"] {
        copy(&bench.path("tiny/unet"), &bench.path(&format!("checkpoint-500/{name}")));
    }
    let averaged = bench.path("checkpoint-500/unet_ema");
    std::fs::rename(
        averaged.join("diffusion_pytorch_model.half.safetensors"),
        averaged.join("diffusion_pytorch_model.safetensors"),
    )
    .unwrap();
    bench.edit_json("checkpoint-500/unet_ema/config.json", |config| {
        for (key, value) in [("decay", json!(0.9999)), ("optimization_step", json!(500)), ("use_ema_warmup", json!(false))] {
            config[key] = value;
        }
    });
    assert!(image(&bench, &["--unet", "checkpoint-500/unet_ema"]) == expected);
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.refuses(&["--prompt", "x", "--unet", "checkpoint-500"], &["two U-Nets", "--unet checkpoint-500/unet_ema"]);
    fails(
        &bench,
        &["generate", "--pipeline", "checkpoint-500", "--prompt", "x", "--out", "o"],
        &["checkpoint-500 is the state of a training run", "--pipeline", "--unet checkpoint-500"],
    );
    for (folder, said) in [
        ("checkpoint-500", "--unet checkpoint-500/unet_ema"),
        (
            "checkpoint-500/unet_ema",
            "one component of a pipeline: `roentgen generate --pipeline BASE --unet checkpoint-500/unet_ema`",
        ),
    ] {
        let shown = run(&bench, &["inspect", folder]);
        assert!(!shown.status.success() && stdout(&shown).contains(said), "{}", stdout(&shown));
    }
    // accelerate, without the script's hooks: one file, and no configuration.
    std::fs::create_dir(bench.path("checkpoint-7")).unwrap();
    std::fs::copy(averaged.join("diffusion_pytorch_model.safetensors"), bench.path("checkpoint-7/model.safetensors")).unwrap();
    assert!(image(&bench, &["--unet", "checkpoint-7"]) == expected);
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.refuses(&["--prompt", "x", "--unet", "tiny/tokenizer"], &["tiny/tokenizer has no config.json"]);
}

/// The parity fixtures' Stable Diffusion 2 in one file of PyTorch before 1.6, with its configurations.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures/16_single_file")
}

#[test]
fn a_single_file_becomes_a_folder_that_generates() {
    let bench = Bench::new();
    std::fs::copy(fixture().join("sd2/model_fp16.ckpt"), bench.path("model.ckpt")).unwrap();
    let config = fixture().join("sd2/config");
    let config = config.to_str().unwrap();
    let command = "roentgen convert model.ckpt --like sd2 --prediction v_prediction|epsilon";
    fails(&bench, &["generate", "--pipeline", "model.ckpt", "--prompt", "x", "--out", "o"], &["model.ckpt", command]);
    let shown = stdout(&run(&bench, &["inspect", "model.ckpt"]));
    assert!(shown.contains("Stable Diffusion 2 checkpoint in one file") && shown.contains(command), "{shown}");

    let output = run(&bench, &["convert", "model.ckpt", "--config", config, "--out", "model"]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("assumed to predict v_prediction"), "{}", stderr(&output));
    let shown: Value = serde_json::from_slice(&run(&bench, &["inspect", "model", "--json"]).stdout).unwrap();
    assert_eq!((&shown["runs"], &shown["components"][2]["weights"]["stored"]), (&json!(true), &json!("F16")));
    let made =
        ["generate", "--pipeline", "model", "--prompt", "x", "--steps", "2", "--size", "64", "--device", "cpu", "--out", "o"];
    let output = run(&bench, &made);
    assert!(output.status.success(), "{}", stderr(&output));
    fails(&bench, &["convert", "model.ckpt", "--config", config, "--out", "model"], &["already holds a model"]);

    let output = run(&bench, &["convert", "model.ckpt", "--config", config, "--prediction", "epsilon", "--out", "other"]);
    assert!(output.status.success());
    let scheduler = std::fs::read_to_string(bench.path("other/scheduler/scheduler_config.json")).unwrap();
    assert!(scheduler.contains(r#""prediction_type": "epsilon""#), "{scheduler}");
    for (args, said) in [
        (&["--config", config, "--ema"][..], &["ema", "no moving average"][..]),
        (&["--like", "sd1", "--tokenizer", "tiny/tokenizer"], &["text encoder of Stable Diffusion 2", "--like sd2"]),
        (&["--like", "sd2", "--tokenizer", "tiny/tokenizer"], &["prediction", "v_prediction", "paints noise"]),
        (&["--like", "sd2", "--prediction", "epsilon"], &["tokenizer", "holds no vocabulary"]),
        (&["--like", "sd2", "--prediction", "epsilon", "--tokenizer", "tiny"], &["tiny has no vocab.json"]),
        (&["--config", "tiny"], &["model.ckpt", "do not fit"]),
    ] {
        fails(&bench, &[&["convert", "model.ckpt", "--out", "refused"], args].concat(), said);
    }
    assert!(!bench.path("refused/model_index.json").exists());
}

/// As scripts leave it that add a token to the tokenizer and train no embedding for it.
#[test]
fn a_token_without_an_embedding_is_refused_where_a_prompt_has_it() {
    let bench = Bench::new();
    let plain = image(&bench, &[]);
    let refuses = |args: &[&str], said: &[&str]| {
        std::fs::remove_dir_all(bench.path("out")).ok();
        bench.refuses(args, said);
    };
    bench.write("tiny/tokenizer/added_tokens.json", r#"{"<spare>": 514}"#);
    assert!(image(&bench, &[]) == plain);
    let said = "1 token(s) that the text encoder has no embedding for (`<spare>`)";
    assert!(stdout(&run(&bench, &["inspect", "tiny"])).contains(said));
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    let notes = bench.makes(&["--prompt", "effusion"])["notes"].to_string();
    assert!(notes.contains(said), "{notes}");
    refuses(&["--prompt", "a <spare> film"], &["token `<spare>` (id 514)", "leave it out", "--embedding"]);
    refuses(&["--prompt", "x", "--negative-prompt", "<spare>"], &["token `<spare>`"]);
    // A study says it too, and once.
    bench.write(
        "study.toml",
        "seeds = [1]\ndata = { format = \"phantom\", phantom = { train = 8, valid = 4, test = 4 } }\npreprocess = { size = 32 }\n\
         arms = [{ name = \"real\" }, { name = \"mixed\", mode = { add = { synthetic_per_real = 1.0 } }, pool = 2 }]\n\
         [generator]\nkind = \"diffusion\"\n[generator.diffusion]\npipeline = \"tiny\"\nnegative_prompt = \"<spare>\"\ndevice = \"cpu\"\n",
    );
    let fill = run(&bench, &["fill", "study.toml", "--out", "study", "--device", "cpu"]);
    let message = stderr(&fill);
    assert!(!fill.status.success() && message.contains("the generator failed"), "{message}");
    assert_eq!(message.matches("token `<spare>`").count(), 1, "{message}");
    // A vector of it after the vocabulary would get the next id, with a row missing before it.
    write(&bench.path("y.safetensors"), &BTreeMap::from([("<y>".to_owned(), (vec![1, 32], vec![0.1; 32]))]));
    refuses(&["--prompt", "<y>", "--embedding", "y.safetensors"], &["`<spare>`", "added_tokens.json"]);
    std::fs::remove_file(bench.path("tiny/tokenizer/added_tokens.json")).unwrap();
    std::fs::remove_dir_all(bench.path("out")).ok();
    bench.makes(&["--prompt", "<y>", "--embedding", "y.safetensors"]);

    // A vocabulary of another model has more ids of its own, or frames texts with such an id.
    bench.edit_json("tiny/tokenizer/vocab.json", |vocabulary| vocabulary["more"] = json!(514));
    refuses(&["--prompt", "x"], &["largest id is 514", "embeds 514 ids", "different models"]);
    bench.edit_json("tiny/tokenizer/vocab.json", |vocabulary| drop(vocabulary.as_object_mut().unwrap().remove("more")));
    bench.edit_json("tiny/tokenizer/tokenizer_config.json", |config| config["pad_token"] = json!("<pad>"));
    bench.edit_json("tiny/tokenizer/special_tokens_map.json", |config| config["pad_token"] = json!("<pad>"));
    refuses(&["--prompt", "x"], &["largest id is 514", "different models"]);
}

#[test]
fn an_autoencoder_alone_becomes_its_folder() {
    let bench = Bench::new();
    std::fs::copy(fixture().join("sd1/vae.ckpt"), bench.path("vae.ckpt")).unwrap();
    let config = fixture().join("sd1/config");
    let output = run(&bench, &["convert", "vae.ckpt", "--config", config.to_str().unwrap(), "--out", "vae"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&run(&bench, &["inspect", "vae"]));
    assert!(shown.contains("AutoencoderKL") && shown.contains("replace the folder `vae`"), "{shown}");
}

#[test]
fn broken_and_foreign_files_are_named_with_what_to_do() {
    let bench = Bench::new();
    let checkpoint = std::fs::read(fixture().join("sd2/model_fp16.ckpt")).unwrap();
    let unet = std::fs::read(bench.path(&format!("{UNET}.safetensors"))).unwrap();
    let lora = Tensors::from([("lora_unet_x.lora_down.weight".to_owned(), (vec![1], vec![0.0]))]);
    write(&bench.path("lora.safetensors"), &lora);
    let inpainting =
        Tensors::from([("model.diffusion_model.input_blocks.0.0.weight".to_owned(), (vec![1, 9, 1, 1], vec![0.0; 9]))]);
    write(&bench.path("inpainting.safetensors"), &inpainting);
    for (name, content, said) in [
        ("cut.ckpt", &checkpoint[..checkpoint.len() / 2], &["damaged or cut short", "download"][..]),
        ("cut.safetensors", &unet[..unet.len() / 2], &["damaged or cut short", "download"]),
        ("page.ckpt", b"<!DOCTYPE html>", &["a web page"]),
        // Pickles of protocol 2 that call os.system, alone and named within a call of what is allowed.
        ("evil.ckpt", b"\x80\x02cos\nsystem\nX\x0c\0\0\0touch hackedR.", &["`os.system`", "nothing was run here"]),
        ("sly.ckpt", b"\x80\x02cfunctools\npartial\n(cposix\nsystem\nX\x02\0\0\0idtR.", &["`functools.partial`"]),
    ] {
        std::fs::write(bench.path(name), content).unwrap();
        for command in [
            &["inspect", name][..],
            &["convert", name, "--config", "tiny", "--out", "o"],
            &["generate", "--pipeline", name, "--prompt", "x", "--out", "o"],
        ] {
            fails(&bench, command, &[&[name][..], said].concat());
        }
    }
    assert!(!bench.path("hacked").exists());
    fails(
        &bench,
        &["generate", "--pipeline", "lora.safetensors", "--prompt", "x", "--out", "o"],
        &["LoRA adapter", "as --lora"],
    );
    fails(&bench, &["inspect", "inpainting.safetensors"], &["inpainting", "9 channels", "mask"]);
    std::fs::create_dir(bench.path("lora")).unwrap();
    std::fs::rename(bench.path("lora.safetensors"), bench.path("lora/pytorch_lora_weights.safetensors")).unwrap();
    fails(&bench, &["generate", "--pipeline", "lora", "--prompt", "x", "--out", "o"], &["lora is a LoRA adapter", "--lora"]);

    // A component's own file of PyTorch is read by the same rules.
    std::fs::remove_file(bench.path(&format!("{UNET}.safetensors"))).unwrap();
    std::fs::write(bench.path(&format!("{UNET}.bin")), b"\x80\x02cos\nsystem\nX\x02\0\0\0id\x85R.").unwrap();
    bench.refuses(&["--prompt", "x"], &["diffusion_pytorch_model.bin", "`os.system`"]);
}

#[test]
fn tensors_of_other_types_and_widths_are_named() {
    let bench = Bench::new();
    let text = "tiny/text_encoder/model.safetensors";
    let mut tensors = read(&bench.path(text));
    let whole = tensors.clone();
    let (shape, values) = tensors.get_mut("text_model.embeddings.token_embedding.weight").unwrap();
    *shape = vec![shape[0], shape[1] / 2];
    values.truncate(values.len() / 2);
    write(&bench.path(text), &tensors);
    bench.refuses(&["--prompt", "x"], &["text_encoder", "wrong shape text_model.embeddings.token_embedding.weight"]);
    write(&bench.path(text), &whole);

    // 8-bit floats: half of each F32 tensor's bytes would do, but the type alone is looked at.
    let path = bench.path(&format!("{UNET}.safetensors"));
    let unet = read(&path);
    let bytes: Vec<Vec<u8>> = unet.values().map(|(_, values)| vec![0; values.len()]).collect();
    let views = unet
        .iter()
        .zip(&bytes)
        .map(|((name, (shape, _)), bytes)| (name.clone(), TensorView::new(Dtype::F8_E4M3, shape.clone(), bytes).unwrap()));
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    bench.refuses(&["--prompt", "x"], &["diffusion_pytorch_model.safetensors", "F8_E4M3", "expected F32, F16, BF16 or F64"]);
    let shown = run(&bench, &["inspect", "tiny"]);
    assert!(!shown.status.success() && stdout(&shown).contains("F8_E4M3"), "{}", stdout(&shown));
}
