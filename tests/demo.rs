//! `roentgen demo`, as CI runs it.

use std::path::{Path, PathBuf};
use std::process::Command;

use roentgen::config::RunConfig;
use roentgen::finetune::FinetuneConfig;
use serde_json::Value;

fn demo(folder: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
    // Elsewhere than in the repository: the program has the weights and the run files in it.
    let output = command.args(["demo", "--quick", "--json", "--device", "cpu"]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("standard output is the report and nothing else")
}

fn bytes(path: PathBuf) -> Vec<u8> {
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_quick_demo_finetunes_generates_compares_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("runs/demo");
    let report = demo(folder.path());
    let weights = bytes(out.join("generator/pipeline/unet/diffusion_pytorch_model.safetensors"));
    assert_ne!(weights, bytes(out.join("generator/base/unet/diffusion_pytorch_model.safetensors")), "it was fine-tuned");
    assert_eq!(report["data"]["nature"], "phantom");
    assert_eq!(report["prompts"]["templates"], 240);
    assert_eq!(report["prompts"]["reports"], 0);
    assert_eq!(report["adherence"]["images"], 32);
    let page = String::from_utf8(bytes(out.join("report.html"))).unwrap();
    for said in ["latent diffusion model", "template text", "images of other phantoms", "show what was requested"] {
        assert!(page.contains(said), "the page lacks: {said}");
    }

    // Finished work is found: the same weights, the same numbers, with their times; no image is judged twice.
    let judged = || std::fs::metadata(out.join("adherence.csv")).unwrap().modified().unwrap();
    let judged_before = judged();
    assert_eq!(demo(folder.path()), report);
    assert_eq!(judged(), judged_before);
    assert_eq!(bytes(out.join("generator/pipeline/unet/diffusion_pytorch_model.safetensors")), weights);

    // The baseline's classifiers were trained again since: the scores of the old ones are void.
    let trained = out.join("arms").join(report["baseline"].as_str().unwrap()).join("seed-1/model.safetensors");
    std::fs::File::options().append(true).open(trained).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    assert_eq!(demo(folder.path()), report);
    assert_ne!(judged(), judged_before);
}

#[test]
fn the_generator_of_the_demo_learns_from_the_study_s_phantoms() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let study = RunConfig::read(&examples.join("demo.toml")).unwrap();
    let generator = FinetuneConfig::read(&examples.join("finetune-demo.toml"), &[]).unwrap();
    assert_eq!(study.data, generator.data);
    assert_eq!(study.preprocess, generator.preprocess);
    assert_eq!(study.generator.unwrap().prompts, generator.prompts);
}

#[test]
fn the_shipped_weights_have_seen_no_phantom_of_the_demo() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let demo = RunConfig::read(&root.join("examples/demo.toml")).unwrap().data.phantom;
    for name in ["vae.toml", "denoiser.toml"] {
        let other = FinetuneConfig::read(&root.join("assets/demo/train").join(name), &[]).unwrap().data.phantom;
        // A patient is a digest of the seed and a number.
        assert_ne!(other.seed, demo.seed, "{name}");
    }
}
