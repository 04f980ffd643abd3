//! LoRA files, textual inversion and `merge`.

mod embeddings;
pub mod files;
mod loras;
mod merging;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use burn::tensor::{Device, FloatDType};
use roentgen::diffusion::pipeline::{OpenOptions, RandomSize, StableDiffusion, write_random_pipeline};
use roentgen_augment::image::{GrayDepth, GrayImage};
use roentgen_augment::supply::{SampleOrigin, decode_sample};

/// The folder of a tiny pipeline with random weights, written once.
fn tiny() -> &'static Path {
    static TINY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = TINY.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        write_random_pipeline(folder.path(), RandomSize::Tiny, 3, FloatDType::F32, |_| ()).unwrap();
        folder
    });
    folder.path()
}

fn open() -> StableDiffusion {
    StableDiffusion::open(tiny(), &OpenOptions::new(&Device::flex()), |_| ()).unwrap()
}

/// A folder for a test's files.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn roentgen(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_roentgen"));
        command.args(args).current_dir(self.0.path()).env("RUST_BACKTRACE", "0").output().unwrap()
    }

    /// Generates one image of a pipeline in a few steps on the CPU.
    fn generate(&self, pipeline: &Path, out: &str, more: &[&str]) -> Output {
        let base = ["generate", "--pipeline", pipeline.to_str().unwrap(), "--out", out, "--device", "cpu", "--steps", "2"];
        self.roentgen(&[&base[..], more].concat())
    }

    /// The image and its description, and what was said.
    fn makes(&self, pipeline: &Path, out: &str, more: &[&str]) -> (GrayImage, SampleOrigin, String) {
        let output = self.generate(pipeline, out, more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{more:?}: {said}");
        let (image, origin) = decode_sample(&std::fs::read(self.path(out).join("000000.png")).unwrap()).unwrap();
        (image, origin, said)
    }

    /// Expects an explained failure of `generate`, with every part of `said` in its message.
    fn refuses(&self, more: &[&str], said: &[&str]) {
        let output = self.generate(tiny(), "refused", &[&["--prompt", "x"], more].concat());
        explains(&output, more, said);
        assert!(!self.path("refused/manifest.csv").exists());
    }
}

fn explains(output: &Output, args: &[&str], said: &[&str]) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?} succeeded");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{args:?} said {message}");
    for part in said {
        assert!(message.contains(part), "{args:?} said {message}\nexpected {part}");
    }
}

/// The largest difference of two images of 8 bits, in levels.
fn difference(a: &GrayImage, b: &GrayImage) -> u8 {
    let (GrayDepth::U8(a), GrayDepth::U8(b)) = (a.depth(), b.depth()) else { panic!("8 bits") };
    assert_eq!(a.len(), b.len());
    a.iter().zip(b.iter()).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}
