//! What the cache has, found without a request.

use std::path::{Path, PathBuf};

use roentgen::hub::{Cache, Found, Hub, HubError, Want};
use roentgen_augment::progress::Silent;

use super::{UNET, tiny};

/// A cache as Python's library fills it: two commits of `me/tiny`, the later one with another U-Net.
struct Bench {
    root: tempfile::TempDir,
}

const FIRST: char = 'a';
const SECOND: char = 'b';

fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Bench {
    fn new() -> Self {
        let bench = Self { root: tempfile::tempdir().unwrap() };
        bench.add(FIRST, tiny(), "");
        bench.add(SECOND, tiny(), "");
        bench.refer("v1.0", FIRST);
        // The older folder is the one meant.
        bench.refer("main", FIRST);
        bench.refer("refs/pr/1", SECOND);
        bench
    }

    fn model(&self) -> PathBuf {
        self.root.path().join("models--me--tiny")
    }

    fn refer(&self, name: &str, to: char) {
        let path = self.model().join("refs").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, commit(to)).unwrap();
    }

    /// Copies a folder into a snapshot, as plain files.
    fn add(&self, to: char, from: &Path, folder: &str) {
        for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
            let name = format!("{folder}{}", entry.file_name().unwrap().to_str().unwrap());
            if entry.is_dir() {
                self.add(to, &entry, &format!("{name}/"));
            } else {
                let target = self.model().join("snapshots").join(commit(to)).join(name);
                std::fs::create_dir_all(target.parent().unwrap()).unwrap();
                std::fs::copy(entry, target).unwrap();
            }
        }
    }

    fn find(&self, name: &str, want: Want) -> Result<Found, HubError> {
        Hub::new(Cache::new(self.root.path())).offline().find(&name.parse().unwrap(), want, &Silent)
    }

    fn commit(&self, name: &str) -> String {
        self.find(name, Want::Pipeline).unwrap().folder.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn refuses(&self, name: &str, want: Want, parts: &[&str]) {
        let message = self.find(name, want).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "{message}\nexpected {part}"));
    }
}

#[test]
fn a_revision_is_the_commit_that_its_reference_names() {
    let bench = Bench::new();
    assert_eq!(bench.commit("me/tiny"), commit(FIRST));
    assert_eq!(bench.commit("me/tiny@v1.0"), commit(FIRST));
    assert_eq!(bench.commit("me/tiny@refs/pr/1"), commit(SECOND));
    assert_eq!(bench.commit(&format!("me/tiny@{}", commit(SECOND))), commit(SECOND));
    bench.refer("main", SECOND);
    assert_eq!(bench.commit("me/tiny"), commit(SECOND));
    let found = bench.find("me/tiny@v1.0:unet", Want::UNet).unwrap();
    assert_eq!(found.name.to_string(), format!("me/tiny@{}:unet", commit(FIRST)));
    assert!(found.folder.join("config.json").is_file());
}

#[test]
fn what_the_cache_lacks_is_named() {
    let bench = Bench::new();
    bench.refuses("me/other", Want::Pipeline, &["me/other", "nothing of it is there", "HF_HUB_OFFLINE"]);
    bench.refuses("me/tiny@v2", Want::Pipeline, &["no revision `v2`", "main", "v1.0"]);
    bench.refuses(&format!("me/tiny@{}", commit('c')), Want::Pipeline, &["no files of ccc", &commit(FIRST)]);
    bench.refuses("me/tiny:other", Want::UNet, &["no other/config.json"]);
    let file = bench.model().join("snapshots").join(commit(FIRST)).join(UNET);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() - 1]).unwrap();
    bench.refuses("me/tiny", Want::Pipeline, &[UNET, "cut short"]);
    std::fs::remove_file(&file).unwrap();
    bench.refuses("me/tiny", Want::Pipeline, &["it has no", UNET]);
    assert!(bench.find("me/tiny:vae", Want::Vae).is_ok());
    std::fs::remove_dir_all(bench.model().join("refs")).unwrap();
    bench.refuses("me/tiny", Want::Pipeline, &["no revision `main`", "name one after an @"]);
}

/// `.bin` files, and half precision alone, are complete too.
#[test]
fn other_weights_than_safetensors_are_enough() {
    let bench = Bench::new();
    let unet = bench.model().join("snapshots").join(commit(FIRST)).join("unet");
    std::fs::rename(unet.join("diffusion_pytorch_model.safetensors"), unet.join("diffusion_pytorch_model.fp16.safetensors"))
        .unwrap();
    assert_eq!(bench.commit("me/tiny"), commit(FIRST));
    std::fs::rename(unet.join("diffusion_pytorch_model.fp16.safetensors"), unet.join("diffusion_pytorch_model.bin")).unwrap();
    assert_eq!(bench.commit("me/tiny"), commit(FIRST));
}
