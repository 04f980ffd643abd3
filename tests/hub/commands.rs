//! The program with names instead of folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use roentgen_augment::digest::Fingerprint;
use roentgen_augment::supply::{SampleOrigin, decode_sample};
use serde_json::Value;

use super::server::{Model, Server};
use super::tiny;

pub struct Bench {
    pub server: Server,
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Self {
        Self { server: Server::new([("me/tiny", Model::of_folder(tiny(), 'a'))]), folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
        command.args(args).current_dir(self.folder.path()).env("RUST_BACKTRACE", "0");
        for variable in
            ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "ALL_PROXY", "all_proxy"]
        {
            command.env_remove(variable);
        }
        command.env("HF_HOME", self.path("hf")).env("HF_ENDPOINT", &self.server.address);
        command
    }

    pub fn runs(&self, args: &[&str]) -> Output {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{args:?} said {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    pub fn refuses(&self, args: &[&str], parts: &[&str]) {
        let output = self.command(args).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.starts_with("error: ") && !message.contains("panicked"), "{message}");
        parts.iter().for_each(|part| assert!(message.contains(part), "{message}\nexpected {part}"));
    }

    fn generate(&self, pipeline: &str, out: &str) -> Vec<u8> {
        let args =
            ["generate", "--pipeline", pipeline, "--prompt", "effusion", "--steps", "2", "--device", "cpu", "--out", out];
        self.runs(&args);
        std::fs::read(self.path(out).join("000000.png")).unwrap()
    }
}

/// The digest of the pixels, and what the image says of itself.
pub fn sample(png: &[u8]) -> (Fingerprint, SampleOrigin) {
    let (image, origin) = decode_sample(png).unwrap();
    (image.digest(), origin)
}

pub fn commit() -> String {
    "a".repeat(40)
}

#[test]
fn a_name_gives_the_images_of_its_folder_and_is_recorded_with_its_commit() {
    let bench = Bench::new();
    let (pixels, origin) = sample(&bench.generate(tiny().to_str().unwrap(), "from-folder"));
    let (same, named) = sample(&bench.generate("me/tiny", "from-hub"));
    assert!(pixels == same);
    assert_eq!(named.fingerprint, origin.fingerprint, "the fingerprint is of the content");
    let name = format!("me/tiny@{}", commit());
    assert_eq!((origin.card.model.as_str(), named.card.model.as_str()), ("tiny", name.as_str()));
    let manifest = std::fs::read_to_string(bench.path("from-hub/manifest.csv")).unwrap();
    assert!(manifest.lines().nth(1).unwrap().contains(&name), "{manifest}");
    let record: Value = serde_json::from_slice(&std::fs::read(bench.path("from-hub/run.json")).unwrap()).unwrap();
    assert_eq!(record["facts"]["pipeline"], name.as_str());

    // From the cache, with the hub gone, and continued under the same name.
    bench.server.state().models.clear();
    bench.server.requests();
    assert_eq!(sample(&bench.generate("me/tiny@main", "from-hub")).1, named);
    bench.runs(&["inspect", "me/tiny"]);
    assert_eq!(bench.server.requests(), []);
}

#[test]
fn a_folder_of_that_name_is_preferred_and_others_are_explained() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("me/tiny")).unwrap();
    bench.refuses(&["inspect", "me/tiny"], &["me/tiny has no model_index.json"]);
    assert_eq!(bench.server.requests(), []);
    bench.refuses(&["inspect", "me/huge"], &["no model me/huge", "folder of that name"]);
    let generate = |pipeline| ["generate", "--pipeline", pipeline, "--prompt", "x", "--out", "o"];
    bench.refuses(&generate("runs/no/pipeline"), &["runs/no/pipeline", "not there", "owner/name"]);
    bench.refuses(&generate("../tiny"), &["../tiny", "not there"]);
    bench.refuses(&generate("me/huge@v1"), &["--pipeline: ", "no model me/huge"]);
    let output = bench.command(&generate("me/other")).env("HF_HUB_OFFLINE", "1").output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("nothing of it is there") && message.contains("unset HF_HUB_OFFLINE"), "{message}");
    let output = bench.command(&generate("me/other")).env("HF_ENDPOINT", "mirror").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("HF_ENDPOINT is `mirror`"));
}

pub const RUN: &str = r#"
seed = 3
batch_size = 2
data = { format = "phantom" }
preprocess = { size = 32 }
schedule = { steps = 1 }
validation = { every = 0 }
samples = { every = 0 }

[model]
base = "me/tiny"
vae = { folder = "me/tiny:vae" }
"#;

#[test]
fn run_files_name_models_too_and_the_run_folder_pins_them() {
    let bench = Bench::new();
    std::fs::write(bench.path("run.toml"), RUN).unwrap();
    let run = ["finetune", "run.toml", "--out", "run", "--device", "cpu"];
    bench.runs(&run);
    let config = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    for line in [format!("base = \"me/tiny@{}\"", commit()), format!("folder = \"me/tiny@{}:vae\"", commit())] {
        assert!(config.contains(&line), "{config}");
    }
    assert!(bench.path("run/pipeline/model_index.json").is_file());
    // Continues, and refuses another commit by name.
    bench.runs(&run);
    let mut other = Model::of_folder(tiny(), 'b');
    other.revisions = ["v2".to_owned()].into();
    bench.server.state().models.insert("me/tiny".to_owned(), other);
    let set = [&run[..], &["--set", "model.vae={ folder = \"me/tiny@v2:vae\" }"]].concat();
    bench.refuses(&set, &["model.vae.folder", &commit(), &"b".repeat(40)]);
    bench.refuses(&[&run[..], &["--set", "model.base=\"me/nobody\""]].concat(), &["model.base: ", "no model me/nobody"]);
}

pub const STUDY: &str = r#"
seeds = [1]
data = { format = "phantom", phantom = { train = 8, valid = 4, test = 4 } }
preprocess = { size = 32 }
network = { architecture = "small" }
arms = [{ name = "real" }, { name = "mixed", mode = { add = { synthetic_per_real = 1.0 } }, pool = 2 }]

[generator]
kind = "diffusion"

[generator.diffusion]
pipeline = "me/tiny"
steps = 1
device = "cpu"
"#;

#[test]
fn a_study_is_filled_by_a_name() {
    let bench = Bench::new();
    std::fs::write(bench.path("study.toml"), STUDY).unwrap();
    bench.runs(&["data", "summary", "study.toml"]);
    assert_eq!(bench.server.requests(), [], "the data alone need no generator");
    bench.runs(&["fill", "study.toml", "--out", "study", "--device", "cpu"]);
    let config = std::fs::read_to_string(bench.path("study/config.toml")).unwrap();
    assert!(config.contains(&format!("pipeline = \"me/tiny@{}\"", commit())), "{config}");
    assert!(Path::new(&bench.path("hf/hub/models--me--tiny/refs/main")).is_file());
}
