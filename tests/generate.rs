//! `generate`, `inspect` and `dev` as a user types them, on a tiny pipeline with random weights.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use roentgen_augment::image::{GrayDepth, GrayImage, encode_png};
use roentgen_augment::supply::{SampleOrigin, decode_sample};
use safetensors::SafeTensors;
use serde_json::{Value, json};

/// A folder with a tiny pipeline in `tiny`, and the outputs of a test.
pub(super) struct Bench {
    pub(super) folder: tempfile::TempDir,
}

pub(super) fn roentgen(folder: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roentgen")).args(args).current_dir(folder).env("RUST_BACKTRACE", "0").output().unwrap()
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Bench {
    pub(super) fn new() -> Self {
        static TINY: OnceLock<tempfile::TempDir> = OnceLock::new();
        let tiny = TINY.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let output = roentgen(folder.path(), &["dev", "random-pipeline", "--out", "tiny", "--seed", "3"]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            folder
        });
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        copy(&tiny.path().join("tiny"), &bench.path("tiny"));
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn edit_json(&self, name: &str, edit: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_slice(&std::fs::read(self.path(name)).unwrap()).unwrap();
        edit(&mut value);
        self.write(name, &value.to_string());
    }

    /// Generates a few steps on the CPU into `out`.
    pub(super) fn generate(&self, more: &[&str]) -> Output {
        let base = ["generate", "--pipeline", "tiny", "--out", "out", "--device", "cpu"];
        // Few steps unless the test says how many.
        let steps: &[&str] = if more.contains(&"--steps") { &[] } else { &["--steps", "3"] };
        roentgen(self.folder.path(), &[&base[..], steps, more].concat())
    }

    pub(super) fn makes(&self, more: &[&str]) -> Value {
        let output = self.generate(&[more, &["--json"]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Expects an explained failure, without a panic and without a manifest.
    pub(super) fn refuses(&self, more: &[&str], said: &[&str]) {
        let output = self.generate(more);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{more:?} succeeded");
        let first = message.lines().find(|line| !line.starts_with("note: ")).unwrap_or_default();
        assert!(first.starts_with("error: ") && !message.contains("panicked"), "{more:?} said {message}");
        for part in said {
            assert!(message.contains(part), "{more:?} said {message}\nexpected {part}");
        }
        assert!(!self.path("out/manifest.csv").exists());
    }

    pub(super) fn sample(&self, name: &str) -> (Vec<u8>, SampleOrigin) {
        let bytes = std::fs::read(self.path(name)).unwrap();
        let origin = decode_sample(&bytes).unwrap().1;
        (bytes, origin)
    }
}

#[test]
fn images_carry_their_requests_and_the_manifest_lists_them() {
    let bench = Bench::new();
    let summary =
        bench.makes(&["--prompt", "Big right-sided pleural effusion", "--count", "2", "--seed", "40", "--bits", "16"]);
    assert_eq!((&summary["images"], &summary["made"]), (&json!(2), &json!(2)));
    let (bytes, origin) = bench.sample("out/000001.png");
    assert_eq!((origin.request.prompt.as_str(), origin.request.seed), ("Big right-sided pleural effusion", 41));
    assert_eq!((origin.card.model.as_str(), origin.card.steps, origin.card.guidance_scale), ("tiny", Some(3), Some(4.0)));
    let image = decode_sample(&bytes).unwrap().0;
    assert!(matches!(image.depth(), GrayDepth::U16(_)) && (image.width(), image.height()) == (64, 64));
    let manifest = std::fs::read_to_string(bench.path("out/manifest.csv")).unwrap();
    assert_eq!(manifest.lines().count(), 3);
    assert!(manifest.lines().nth(2).unwrap().starts_with("000001.png,"));
}

#[test]
fn a_preset_stands_for_sampler_steps_and_guidance_that_are_not_given() {
    let bench = Bench::new();
    bench.makes(&["--prompt", "effusion", "--preset", "draft"]);
    let card = bench.sample("out/000000.png").1.card;
    // `makes` gives the steps.
    assert_eq!((card.sampler.as_deref(), card.steps, card.guidance_scale), (Some("unipc"), Some(3), Some(4.0)));
    let made = ["generate", "--pipeline", "tiny", "--out", "v2", "--device", "cpu", "--prompt", "effusion", "--preset"];
    let output = roentgen(bench.folder.path(), &[&made[..], &["roentgen-v2", "--sampler", "ddim"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let card = bench.sample("v2/000000.png").1.card;
    assert_eq!((card.sampler.as_deref(), card.steps, card.guidance_scale), (Some("ddim"), Some(75), Some(3.0)));
}

#[test]
fn a_manifest_asks_for_the_same_images_again() {
    let bench = Bench::new();
    bench.write("prompts.csv", "prompt,Effusion,patient_id,source_id\nbig effusion,1,p1,a.png\nno effusion,0,p2,b.png\n");
    bench.makes(&["--prompts", "prompts.csv", "--count", "2", "--batch-size", "3"]);
    let (first, _) = bench.sample("out/000002.png");
    std::fs::rename(bench.path("out"), bench.path("first")).unwrap();
    bench.makes(&["--prompts", "first/manifest.csv", "--batch-size", "3"]);
    assert!(bench.sample("out/000002.png").0 == first);
    let manifests = ["first", "out"].map(|folder| std::fs::read(bench.path(folder).join("manifest.csv")).unwrap());
    assert!(manifests[0] == manifests[1]);
    assert!(String::from_utf8_lossy(&manifests[0]).contains("000002.png,p2"));
}

/// Peak signal-to-noise ratio of two 8-bit images, in dB.
fn psnr(a: &GrayImage, b: &GrayImage) -> f64 {
    let [a, b] = [a, b].map(|image| match image.depth() {
        GrayDepth::U8(samples) => samples.to_vec(),
        GrayDepth::U16(_) => panic!("8 bits were asked for"),
    });
    let squares = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>();
    10.0 * (255.0f64.powi(2) * a.len() as f64 / squares).log10()
}

#[test]
fn brain_floats_make_nearly_the_same_images_under_another_key() {
    let bench = Bench::new();
    let prompt = ["--prompt", "effusion", "--count", "2"];
    let made = |folder: &str, dtype: &[&str]| {
        assert_eq!(bench.makes(&[&prompt[..], dtype].concat())["made"], 2);
        std::fs::rename(bench.path("out"), bench.path(folder)).unwrap();
        ["000000.png", "000001.png"].map(|name| bench.sample(&format!("{folder}/{name}")))
    };
    let wide = made("wide", &[]);
    let (brain, again) = (made("brain", &["--dtype", "bf16"]), made("again", &["--dtype", "bf16"]));
    for (i, (wide, brain)) in wide.iter().zip(&brain).enumerate() {
        assert!(brain.0 == again[i].0, "image {i} is the same in every run");
        assert_ne!(wide.1.card.weights, brain.1.card.weights, "the type is part of what is recorded of the weights");
        let [wide, brain] = [wide, brain].map(|(bytes, _)| decode_sample(bytes).unwrap().0);
        let psnr = psnr(&wide, &brain);
        // Brain floats round to 8 bits in every layer: a difference in the last levels, and no other picture.
        assert!((30.0..80.0).contains(&psnr), "image {i}: {psnr} dB");
    }
    bench.refuses(&["--prompt", "effusion", "--dtype", "f16"], &["dtype is f16, expected bf16 or f32 on the CPU"]);
}

#[test]
fn an_interrupted_run_goes_on_and_another_run_is_refused() {
    let bench = Bench::new();
    let prompt = ["--prompt", "effusion", "--count", "3"];
    bench.makes(&prompt);
    let whole: Vec<_> = (0..3).map(|i| std::fs::read(bench.path(&format!("out/00000{i}.png"))).unwrap()).collect();
    // As after a stop: one image made, one cut short by another program, one missing, no manifest.
    std::fs::write(bench.path("out/000001.png"), &whole[1][..whole[1].len() / 2]).unwrap();
    std::fs::remove_file(bench.path("out/000002.png")).unwrap();
    std::fs::remove_file(bench.path("out/manifest.csv")).unwrap();
    assert_eq!(bench.makes(&prompt)["made"], 2);
    for (i, before) in whole.iter().enumerate() {
        assert!(std::fs::read(bench.path(&format!("out/00000{i}.png"))).unwrap() == *before, "image {i}");
    }
    // The same checkpoint by another path.
    std::fs::create_dir(bench.path("beside")).unwrap();
    let detour = ["generate", "--pipeline", "beside/../tiny", "--out", "out", "--device", "cpu", "--steps", "3", "--json"];
    let output = roentgen(bench.folder.path(), &[&detour[..], &prompt].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["made"], 0);
    std::fs::remove_file(bench.path("out/manifest.csv")).unwrap();
    let other_prompt = ["000000.png", "another run", "prompt: \"effusion\", now \"pneumothorax\""];
    bench.refuses(&["--prompt", "pneumothorax", "--count", "3"], &other_prompt);
    bench.refuses(&["--prompt", "effusion", "--seed", "7"], &["000000.png", "seed: 0, now 7"]);
    bench.refuses(&["--prompt", "effusion", "--steps", "4"], &["out holds another run", "steps: 3, now 4"]);
    bench.refuses(&["--prompt", "effusion", "--negative-prompt", "text"], &["negative_prompt: \"\", now \"text\""]);
    bench.refuses(&["--prompt", "effusion", "--dtype", "bf16"], &["type of the pipeline: "]);
    // A set of version 0.1.0 has no record: its images speak for themselves.
    std::fs::remove_file(bench.path("out/run.json")).unwrap();
    bench.refuses(&["--prompt", "effusion", "--steps", "4"], &["000000.png", "steps: 3, now 4"]);
    bench.refuses(&["--prompt", "effusion", "--negative-prompt", "text"], &["000000.png", "weights and all settings (earlier"]);
    assert_eq!(bench.makes(&prompt)["made"], 0);
    // Other commands have the folder to themselves.
    let held = roentgen::run_folder::FolderLock::exclusive(&bench.path("out"), "train").unwrap();
    std::fs::remove_file(bench.path("out/manifest.csv")).unwrap();
    bench.refuses(&prompt, &["another roentgen process (pid", "`train`) is writing"]);
    drop(held);
    std::fs::write(bench.path("out/run.json"), "{\"format\": 2, ").unwrap();
    bench.refuses(&prompt, &["out/run.json can't be read"]);
}

#[test]
fn images_of_a_batch_are_those_made_alone() {
    let bench = Bench::new();
    bench.makes(&["--prompt", "effusion", "--count", "3", "--batch-size", "3", "--sampler", "euler-a"]);
    let together: Vec<_> = (0..3).map(|i| decode_sample(&bench.sample(&format!("out/00000{i}.png")).0).unwrap().0).collect();
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.makes(&["--prompt", "effusion", "--count", "3", "--sampler", "euler-a"]);
    for (i, together) in together.iter().enumerate() {
        let alone = decode_sample(&bench.sample(&format!("out/00000{i}.png")).0).unwrap().0;
        let (GrayDepth::U8(together), GrayDepth::U8(alone)) = (together.depth(), alone.depth()) else { panic!("8 bits") };
        // Sums in another order may round a gray level the other way.
        assert!(together.iter().zip(alone.iter()).all(|(a, b)| a.abs_diff(*b) <= 1), "image {i}");
    }
}

#[test]
fn a_start_image_decides_as_much_as_strength_leaves() {
    let bench = Bench::new();
    bench.makes(&["--prompt", "effusion"]);
    std::fs::rename(bench.path("out/000000.png"), bench.path("start.png")).unwrap();
    let image = decode_sample(&std::fs::read(bench.path("start.png")).unwrap()).unwrap().0;
    let GrayDepth::U8(samples) = image.depth() else { panic!("8 bits") };
    let negative: Vec<u8> = samples.iter().map(|sample| 255 - sample).collect();
    let negative = encode_png(&GrayImage::from_u8(image.width(), image.height(), negative));
    std::fs::write(bench.path("negative.png"), negative).unwrap();
    // The difference between images made from two start images with one seed.
    let distance = |strength: &str| {
        let images = ["start.png", "negative.png"].map(|start| {
            std::fs::remove_dir_all(bench.path("out")).ok();
            bench.makes(&["--prompt", "effusion", "--steps", "20", "--init-image", start, "--strength", strength]);
            decode_sample(&bench.sample("out/000000.png").0).unwrap().0
        });
        let [GrayDepth::U8(a), GrayDepth::U8(b)] = [images[0].depth(), images[1].depth()] else { panic!("8 bits") };
        a.iter().zip(b.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
    };
    let (little, much) = (distance("0.1"), distance("1"));
    assert!(little > 2 * much, "{little} {much}");
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.refuses(&["--prompt", "x", "--init-image", "start.png", "--strength", "0"], &["strength is 0", "more than 0"]);
    bench.refuses(&["--prompt", "x", "--init-image", "tiny/model_index.json"], &["model_index.json"]);
}

#[test]
fn a_prompt_of_ten_thousand_words_is_cut_and_said_so() {
    let bench = Bench::new();
    bench.write("long.csv", &format!("prompt\n{}\n", "effusion ".repeat(10_000)));
    let output = bench.generate(&["--prompts", "long.csv"]);
    assert!(output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("1 prompt is longer than the text encoder reads and was cut"), "{message}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let bench = Bench::new();
    for (args, said) in [
        (&["--steps", "0"][..], &["steps is 0"][..]),
        (&["--steps", "1001"], &["1001", "1000"]),
        (&["--guidance", "-1"], &["guidance is -1", "0 or more"]),
        (&["--guidance", "nan"], &["guidance is NaN"]),
        (&["--guidance-rescale", "2"], &["guidance_rescale is 2", "between 0 and 1"]),
        (&["--size", "500"], &["size is 500", "496 or 504"]),
        (&["--size", "0"], &["size is 0"]),
        (&["--sampler", "euler", "--eta", "0.5"], &["eta"]),
        (&["--sampler", "ddim", "--karras"], &["karras"]),
    ] {
        bench.refuses(&[&["--prompt", "x"][..], args].concat(), said);
    }
    let sampler = bench.generate(&["--prompt", "x", "--sampler", "best"]);
    assert!(String::from_utf8_lossy(&sampler.stderr).contains("dpm++2m"));
    let preset = bench.generate(&["--prompt", "x", "--preset", "best"]);
    assert!(String::from_utf8_lossy(&preset.stderr).contains("roentgen-v1, roentgen-v2, fast, draft"));
}

#[test]
fn an_image_that_the_machine_can_not_hold_is_refused_before_weights_are_read() {
    let bench = Bench::new();
    bench.edit_json("tiny/vae/config.json", |config| {
        let levels = config["block_out_channels"].as_array().unwrap().len();
        config["block_out_channels"] = json!(vec![4096; levels]);
    });
    let huge = ["--prompt", "x", "--size", "8192"];
    bench.refuses(
        &huge,
        &["this run takes at least", "the autoencoder's last feature maps", "lower --size or --batch-size, or add --tiled"],
    );
    bench.refuses(&["--prompt", "x", "--size", "8200"], &["--size", "8192"]);
}

#[test]
fn numbers_of_a_configuration_are_bounded() {
    let bench = Bench::new();
    for (file, key) in [
        ("text_encoder", "num_hidden_layers"),
        ("text_encoder", "vocab_size"),
        ("unet", "sample_size"),
        ("unet", "in_channels"),
        ("vae", "layers_per_block"),
        ("vae", "latent_channels"),
        ("vae", "sample_size"),
    ] {
        let name = format!("tiny/{file}/config.json");
        let before = std::fs::read_to_string(bench.path(&name)).unwrap();
        for number in [0, 1_000_000_000, u64::MAX] {
            bench.edit_json(&name, |config| config[key] = json!(number));
            bench.refuses(&["--prompt", "x"], &[&name, &format!("`{key}` is {number}, expected 1 to ")]);
            let inspected = roentgen(bench.folder.path(), &["inspect", "tiny"]);
            assert!(String::from_utf8_lossy(&inspected.stdout).contains(&format!("PROBLEM: tiny/{file}/config.json: `{key}`")));
        }
        bench.write(&name, &before);
    }
}

#[test]
fn settings_of_a_scheduler_that_paint_nothing_are_refused() {
    let bench = Bench::new();
    bench.edit_json("tiny/scheduler/scheduler_config.json", |config| {
        config["_class_name"] = json!("DDIMScheduler");
        config["timestep_spacing"] = json!("trailing");
        config["rescale_betas_zero_snr"] = json!(true);
    });
    for sampler in ["ddim", "ddpm", "euler", "dpm++2m", "unipc"] {
        bench.refuses(
            &["--prompt", "x", "--sampler", sampler],
            &["prediction_type is epsilon, expected v_prediction", "scheduler_config.json"],
        );
    }
    bench.edit_json("tiny/scheduler/scheduler_config.json", |config| config["prediction_type"] = json!("v_prediction"));
    bench.makes(&["--prompt", "x", "--sampler", "ddim"]);
}

#[test]
fn the_folder_of_another_scheduler_paints_with_a_sampler_that_is_named() {
    let bench = Bench::new();
    for class in ["HeunDiscreteScheduler", "LMSDiscreteScheduler", "DEISMultistepScheduler", "LCMScheduler"] {
        bench.edit_json("tiny/scheduler/scheduler_config.json", |config| config["_class_name"] = json!(class));
        bench.edit_json("tiny/model_index.json", |index| index["scheduler"] = json!(["diffusers", class]));
        bench.refuses(&["--prompt", "x"], &[&format!("sampler is the checkpoint's {class}"), "--sampler", "ddim, pndm, euler"]);
        let inspected = roentgen(bench.folder.path(), &["inspect", "tiny"]);
        let said = String::from_utf8_lossy(&inspected.stdout).into_owned();
        assert!(
            inspected.status.success() && said.contains(&format!("{class} is not computed here: give --sampler")),
            "{said}"
        );
        bench.makes(&["--prompt", "x", "--sampler", "euler"]);
        std::fs::remove_dir_all(bench.path("out")).unwrap();
        bench.makes(&["--prompt", "x", "--preset", "fast"]);
        std::fs::remove_dir_all(bench.path("out")).unwrap();
    }
}

#[test]
fn a_set_of_images_that_are_all_flat_or_all_alike_is_an_error() {
    let bench = Bench::new();
    let file = bench.path("tiny/vae/diffusion_pytorch_model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    /// Every value of a tensor by its position.
    type Values = fn(usize) -> f32;
    let change = |changes: &[(&str, Values)]| {
        let mut bytes = whole.clone();
        let (header, metadata) = SafeTensors::read_metadata(&whole).unwrap();
        let tensors = metadata.tensors();
        for (name, value) in changes {
            let (begin, end) = tensors[*name].data_offsets;
            let floats = bytes[8 + header + begin..8 + header + end].as_chunks_mut::<4>().0;
            floats.iter_mut().enumerate().for_each(|(i, float)| *float = value(i).to_le_bytes());
        }
        std::fs::write(&file, bytes).unwrap();
    };
    change(&[("decoder.conv_out.weight", |_| 0.0), ("decoder.conv_out.bias", |_| 0.0)]);
    bench.refuses(&["--prompt", "x"], &["all 1 images of tiny are flat", "roentgen inspect tiny"]);
    // The images are there, and the set stays an error.
    bench.refuses(&["--prompt", "x"], &["all 1 images of tiny are flat"]);
    std::fs::remove_dir_all(bench.path("out")).unwrap();
    bench.refuses(&["--prompt", "x", "--count", "9"], &["all 2 images of tiny are flat"]);
    std::fs::remove_dir_all(bench.path("out")).unwrap();

    // Latents without influence; the edges of convolutions give contrast.
    change(&[("decoder.conv_in.weight", |_| 0.0), ("decoder.conv_in.bias", |i| i as f32 % 5.0 - 2.0)]);
    bench.refuses(&["--prompt", "x", "--count", "3"], &["all 2 images of tiny are the same", "although their seeds differ"]);

    bench.write("study.toml", &study("steps = 2, device = \"cpu\""));
    let filled = roentgen(bench.folder.path(), &["fill", "study.toml", "--out", "study", "--device", "cpu"]);
    let said = String::from_utf8_lossy(&filled.stderr);
    assert!(!filled.status.success() && said.contains("tiny are the same, pixel for pixel"), "{said}");
}

#[test]
fn prompt_files_without_prompts_are_refused() {
    let bench = Bench::new();
    for (text, said) in
        [("", "`prompt`"), ("prompt\n", "no rows"), ("prompt\n\"\"\n", "row 2"), ("prompt,colour\nx,red\n", "`colour`")]
    {
        bench.write("prompts.csv", text);
        bench.refuses(&["--prompts", "prompts.csv"], &["prompts.csv", said]);
    }
    bench.refuses(&["--prompts", "absent.csv"], &["absent.csv"]);
}

#[test]
fn columns_of_a_prompt_table_are_declared_where_the_message_says() {
    let bench = Bench::new();
    bench.write("p.csv", "prompt,Effusion,notes,negative_prompt,Scoliosis of Mine\nbig effusion,1,hello,text,True\n");
    bench.refuses(
        &["--prompts", "p.csv"],
        &["p.csv", "`negative_prompt`", "--negative-prompt", "--extra-column negative_prompt"],
    );
    let ignored = ["--prompts", "p.csv", "--extra-column", "negative_prompt"];
    bench.refuses(&ignored, &["p.csv", "`notes`", "`generate --extra-column`", "`generate --custom-finding`"]);
    bench.makes(&[&ignored[..], &["--extra-column", "notes", "--custom-finding", "Scoliosis of Mine"]].concat());
    let manifest = std::fs::read_to_string(bench.path("out/manifest.csv")).unwrap();
    let [header, row] = manifest.lines().collect::<Vec<_>>()[..] else { panic!("{manifest}") };
    let cell = |name: &str| header.split(',').position(|column| column == name).map(|at| row.split(',').nth(at).unwrap());
    assert_eq!((cell("Effusion"), cell("Scoliosis of Mine"), cell("notes")), (Some("1"), Some("1"), None));
}

#[test]
fn an_open_quote_of_a_prompt_table_moves_no_label() {
    let bench = Bench::new();
    bench.write("p.csv", "prompt,Effusion\n\"Large right effusion,1\nNormal chest,0\n\"Cardiomegaly\",0\nNormal chest,0\n");
    bench.refuses(&["--prompts", "p.csv"], &["p.csv, row 2, column `prompt`", "close the quote at the end of its cell"]);
    bench.write("p.csv", "prompt,Effusion\n\"Large effusion\"; right,1\n");
    bench.refuses(&["--prompts", "p.csv"], &["p.csv, row 2, column `prompt`", "goes on with `; right,1`"]);
}

/// The weights file of the U-Net.
const UNET: &str = "tiny/unet/diffusion_pytorch_model.safetensors";

#[test]
fn broken_checkpoints_are_refused_by_name() {
    let bench = Bench::new();
    let whole = std::fs::read(bench.path(UNET)).unwrap();
    let prompt = ["--prompt", "x"];

    std::fs::write(bench.path(UNET), &whole[..whole.len() - 5]).unwrap();
    bench.refuses(&prompt, &["diffusion_pytorch_model.safetensors", "damaged or cut short"]);

    let mut nan = whole.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(bench.path(UNET), &nan).unwrap();
    bench.refuses(&prompt, &["NaN", "flat index"]);

    std::fs::copy(bench.path("tiny/vae/diffusion_pytorch_model.safetensors"), bench.path(UNET)).unwrap();
    bench.refuses(&prompt, &["do not fit", "missing", "unexpected", "more"]);

    std::fs::remove_file(bench.path(UNET)).unwrap();
    bench.refuses(&prompt, &["tiny/unet has no diffusion_pytorch_model.safetensors"]);

    std::fs::write(bench.path(UNET), &whole).unwrap();
    bench.edit_json("tiny/unet/config.json", |config| config["block_out_channels"][0] = json!(24));
    bench.refuses(&prompt, &["wrong shape conv_in.weight: expected [24, 4, 3, 3], found [16, 4, 3, 3]"]);

    let inspected = roentgen(bench.folder.path(), &["inspect", "tiny"]);
    assert!(!inspected.status.success());
    assert!(String::from_utf8_lossy(&inspected.stdout).contains("PROBLEM"));
}

#[test]
fn foreign_checkpoints_are_refused_by_name() {
    let bench = Bench::new();
    let prompt = ["--prompt", "x"];
    bench.edit_json("tiny/unet/config.json", |config| config["new_trick"] = json!(true));
    bench.refuses(&prompt, &["unet/config.json", "unknown option `new_trick` (= true)"]);
    bench.edit_json("tiny/unet/config.json", |config| {
        config.as_object_mut().unwrap().remove("new_trick");
        config["cross_attention_dim"] = json!(48);
    });
    bench.refuses(&prompt, &["32 wide", "takes 48"]);
    bench.edit_json("tiny/model_index.json", |index| index["_class_name"] = json!("StableDiffusionXLPipeline"));
    bench.refuses(&prompt, &["Stable Diffusion XL"]);
    let message = |folder: &str| {
        let output = roentgen(bench.folder.path(), &["inspect", folder]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(message("tiny").contains("Stable Diffusion XL"));
    bench.edit_json("tiny/model_index.json", |index| index["_class_name"] = json!("StableDiffusionInpaintPipeline"));
    assert!(message("tiny").contains("takes a mask"));
    assert!(
        message("absent")
            .contains("absent is not there; give the pipeline's folder, the one with model_index.json in it, or its name")
    );
}

#[test]
fn a_text_projection_joins_parts_of_different_widths() {
    let bench = Bench::new();
    let add = || roentgen(bench.folder.path(), &["dev", "text-projection", "tiny"]);
    assert!(String::from_utf8_lossy(&add().stderr).contains("needs no projection"));

    // A U-Net for 24 wide states: random weights of that shape come from a pipeline of that width.
    let other = tempfile::tempdir().unwrap();
    copy(&bench.path("tiny"), other.path());
    bench.edit_json("tiny/text_encoder/config.json", |config| config["hidden_size"] = json!(24));
    bench.edit_json("tiny/text_encoder/config.json", |config| config["num_attention_heads"] = json!(2));
    assert!(add().status.success());
    let config: Value =
        serde_json::from_slice(&std::fs::read(bench.path("tiny/text_projection/config.json")).unwrap()).unwrap();
    assert_eq!((&config["in_features"], &config["out_features"]), (&json!(24), &json!(32)));
    // The widths fit now, so what is wrong is the text encoder's weights.
    bench.refuses(&["--prompt", "x"], &["text_encoder", "wrong shape"]);

    copy(other.path(), &bench.path("tiny"));
    bench.edit_json("tiny/text_projection/config.json", |config| config["in_features"] = json!(32));
    bench.refuses(&["--prompt", "x"], &["text_projection", "wrong shape linear.weight: expected [32, 32], found [32, 24]"]);
}

#[test]
fn inspect_says_what_a_folder_is() {
    let bench = Bench::new();
    let output = roentgen(bench.folder.path(), &["inspect", "tiny", "--json"]);
    let inspection: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspection["runs"], json!(true));
    let names: Vec<_> = inspection["components"].as_array().unwrap().iter().map(|component| &component["name"]).collect();
    assert_eq!(names, ["tokenizer", "text_encoder", "unet", "vae", "scheduler"]);
    assert_eq!(inspection["components"][2]["weights"]["stored"], json!("F32"));
    let again = roentgen(bench.folder.path(), &["dev", "random-pipeline", "--out", "tiny"]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("already holds a pipeline"));
}

/// A run file whose generator is the tiny pipeline; `table` is the rest of `[generator.diffusion]`.
fn study(table: &str) -> String {
    format!(
        "seeds = [1]\ndata = {{ format = \"phantom\", phantom = {{ train = 20, valid = 20, test = 20 }} }}\npreprocess = {{ size = 32 }}\n\
         network = {{ architecture = \"small\" }}\nbootstrap = {{ replicates = 20 }}\n\
         training = {{ steps = 2, batch_size = 4, eval_every = 2, warmup_steps = 1 }}\n\
         arms = [{{ name = \"real\" }}, {{ name = \"mixed\", mode = {{ replace = {{ fraction = 0.2 }} }} }}]\n\
         generator = {{ kind = \"diffusion\", diffusion = {{ pipeline = \"tiny\", {table} }} }}\n"
    )
}

/// A comparison whose synthetic images a checkpoint makes.
#[test]
fn a_checkpoint_is_the_generator_of_a_study() {
    let bench = Bench::new();
    bench.write("run.toml", &study("steps = 2, device = \"cpu\", batch_size = 3"));
    let compare = || roentgen(bench.folder.path(), &["compare", "run.toml", "--out", "study", "--device", "cpu", "--json"]);
    let output = compare();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = std::fs::read_to_string(bench.path("study/report.html")).unwrap();
    assert!(page.contains("latent diffusion model") && page.contains("template text"), "the report says what made the images");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["arms"].as_array().unwrap().len(), 2);

    for (table, said) in [
        ("steps = 0", "generator.diffusion.steps is 0"),
        ("sampler = \"best\"", "dpm++2m"),
        ("device = \"tpu\"", "generator.diffusion.device is tpu"),
        ("guidance = -1.0", "generator.diffusion.guidance is -1"),
        ("seed = 1", "unknown field `seed`"),
    ] {
        bench.write("run.toml", &study(table));
        let output = compare();
        assert!(!output.status.success(), "{table}");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(message.starts_with("error: ") && message.contains(said), "{table}: {message}");
    }
}

/// Adapters of the parity fixtures, which fit their own checkpoint.
#[test]
fn adapters_are_merged_before_images_are_made() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/fixtures");
    let (pipeline, lora) = (fixtures.join("06_pipeline/sd1"), fixtures.join("07_training/lora_start_peft"));
    let folder = tempfile::tempdir().unwrap();
    let generate = |pipeline: &str, out: &str, lora: Option<&str>| {
        let mut args =
            vec!["generate", "--pipeline", pipeline, "--prompt", "x", "--steps", "2", "--device", "cpu", "--out", out];
        args.extend(lora.into_iter().flat_map(|lora| ["--lora", lora]));
        roentgen(folder.path(), &args)
    };
    let (sd1, lora) = (pipeline.to_str().unwrap(), lora.to_str().unwrap());
    let image = |out: &str, lora: Option<&str>| {
        let output = generate(sd1, out, lora);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        decode_sample(&std::fs::read(folder.path().join(out).join("000000.png")).unwrap()).unwrap().0
    };
    let plain = image("plain", None);
    assert_ne!(image("whole", Some(lora)), plain);
    assert_eq!(image("nothing", Some(&format!("{lora}:0"))), plain);
    // Another generator: its images are not mixed into the first one's folder.
    assert!(!generate(sd1, "plain", Some(lora)).status.success());

    let bench = Bench::new();
    let output = generate(bench.path("tiny").to_str().unwrap(), "other", Some(lora));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("trained on another model"), "{message}");
}
