//! The whole chain on real radiographs: eight of them learnt by heart.

use std::path::{Path, PathBuf};
use std::process::Command;

use roentgen_augment::image::{GrayImage, Preprocess};

/// The data that is not in the repository.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

const RADIOGRAPHS: usize = 8;
const SIZE: usize = 64;

/// File, patient and text of the first images of patients that differ in text.
fn radiographs(labels: &Path) -> Vec<[String; 3]> {
    let mut table = csv::Reader::from_path(labels).unwrap();
    let header = table.headers().unwrap().clone();
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    let (mut found, mut patients, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for row in table.records().map(Result::unwrap) {
        let cell = |name: &str| row[column(name)].to_owned();
        let sex = if cell("sex") == "M" { "male" } else { "female" };
        let findings = cell("finding_labels").replace('|', " and ").replace('_', " ").to_lowercase();
        let text = format!("{} view, {} year old {sex}. {findings}.", cell("view"), cell("age"));
        if cell("has_256") == "1" && !patients.contains(&cell("patient_id")) && !texts.contains(&text) {
            patients.push(cell("patient_id"));
            texts.push(text.clone());
            found.push([cell("image"), cell("patient_id"), text]);
        }
        if found.len() == RADIOGRAPHS {
            return found;
        }
    }
    panic!("{} radiographs in {}", found.len(), labels.display());
}

fn picture(path: &Path) -> Vec<f32> {
    Preprocess::new(SIZE).apply(&GrayImage::open(path).unwrap()).values().to_vec()
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>() / a.len() as f32
}

fn run(folder: &Path, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_roentgen")).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[ignore = "some minutes: cargo test --release --test tests -- --ignored every_prompt"]
fn every_prompt_gives_its_own_radiograph() {
    learns_all("fp32");
}

#[test]
#[ignore = "some minutes: cargo test --release --test tests -- --ignored every_prompt"]
fn every_prompt_gives_its_own_radiograph_in_brain_floats() {
    learns_all("bf16");
}

fn learns_all(precision: &str) {
    let (Some(nih), Some(minilm), Some(taef2)) = (shared("nih_cxr14"), shared("minilm_l6_v2"), shared("taef2")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let radiographs = radiographs(&nih.join("labels.csv"));

    // The example run file with its parts: the images, the encoder under the name that transformers gives it.
    std::fs::create_dir_all(path("overfit")).unwrap();
    let mut table = "image,patient_id,split,report,Effusion\n".to_owned();
    let mut prompts = "prompt,seed\n".to_owned();
    for (seed, [image, patient, text]) in radiographs.iter().enumerate() {
        std::fs::copy(nih.join("images_256").join(image), path("overfit").join(image)).unwrap();
        table.push_str(&format!("{image},{patient},train,\"{text}\",0\n"));
        prompts.push_str(&format!("\"{text}\",{seed}\n"));
    }
    // The other splits may not be empty; nothing reads them.
    for split in ["valid", "test"] {
        std::fs::copy(path("overfit").join(&radiographs[0][0]), path("overfit").join(format!("{split}.png"))).unwrap();
        table.push_str(&format!("{split}.png,{split},{split},Not read.,0\n"));
    }
    std::fs::write(path("overfit/table.csv"), table).unwrap();
    std::fs::write(path("prompts.csv"), prompts).unwrap();
    std::fs::create_dir_all(path("minilm")).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"] {
        std::fs::copy(minilm.join(file), path("minilm").join(file)).unwrap();
    }
    std::fs::copy(minilm.join("model_fp16.safetensors"), path("minilm/model.safetensors")).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    super::copy(&examples.join("finetune"), &path("finetune"));
    let text = std::fs::read_to_string(examples.join("finetune-overfit.toml")).unwrap();
    let text = text.replace("../../shared/data/taef2", taef2.to_str().unwrap());
    std::fs::write(path("run.toml"), text).unwrap();

    let begun = std::time::Instant::now();
    let set = format!("precision=\"{precision}\"");
    run(folder.path(), &["finetune", "run.toml", "--set", &set, "--out", "out", "--device", "cpu", "--json"]);
    println!("trained in {precision} in {:.0} s", begun.elapsed().as_secs_f64());
    let generate = [
        "generate",
        "--pipeline",
        "out/pipeline",
        "--prompts",
        "prompts.csv",
        "--size",
        "64",
        "--sampler",
        "ddim",
        "--steps",
        "20",
    ];
    run(folder.path(), &[&generate[..], &["--guidance", "1", "--out", "made", "--device", "cpu", "--json"]].concat());
    let real: Vec<_> = radiographs.iter().map(|[image, ..]| picture(&path("overfit").join(image))).collect();
    let mut right = 0;
    for radiograph in 0..RADIOGRAPHS {
        let made = picture(&path("made").join(format!("{radiograph:06}.png")));
        let distances: Vec<f32> = real.iter().map(|real| distance(&made, real)).collect();
        let nearest = (0..RADIOGRAPHS).min_by(|a, b| distances[*a].total_cmp(&distances[*b])).unwrap();
        println!("radiograph {radiograph}: nearest {nearest}, distances {distances:.3?}");
        right += usize::from(nearest == radiograph);
    }
    assert_eq!(right, RADIOGRAPHS, "prompts that gave their own radiograph");
}
