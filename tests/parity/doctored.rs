//! The harness itself, on small trees made from the fixtures: other names, other settings, cases that can't be computed.

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::walk::{Walked, walk};
use super::{Array, TOPICS, fixtures, topics};

/// A tree with some cases of one topic.
struct Tree {
    root: TempDir,
    topic: &'static str,
}

impl Tree {
    /// The cases of these names under others; the folder's other files are as they are in the fixtures.
    fn of(topic: &'static str, cases: &[(&str, &str)]) -> Self {
        let tree = Self { root: tempfile::tempdir().unwrap(), topic };
        copy(&fixtures().join(topic), &tree.folder());
        tree.edit(|all| {
            let named = |name: &str| all.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}"));
            *all = cases.iter().map(|(from, to)| renamed(named(from).clone(), to)).collect();
        });
        let names = |key: &str| {
            let to = cases.iter().filter_map(|(from, to)| Some(format!("{to}/{}", key.strip_prefix(from)?.strip_prefix('/')?)));
            to.collect()
        };
        rewrite(&tree.folder().join("expected.safetensors"), names, |_, tensor| tensor);
        tree
    }

    fn folder(&self) -> PathBuf {
        self.root.path().join(self.topic)
    }

    /// Changes the list of cases.
    fn edit(&self, change: impl FnOnce(&mut Vec<Value>)) {
        let path = self.folder().join("cases.json");
        let mut file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(file["cases"].as_array_mut().unwrap());
        std::fs::write(&path, file.to_string()).unwrap();
    }

    fn walk(&self) -> Walked {
        let (_, compute) = TOPICS.into_iter().find(|(topic, _)| *topic == self.topic).unwrap();
        walk(&self.folder(), compute, &[], Some(&self.out()))
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }
}

fn renamed(mut case: Value, name: &str) -> Value {
    case["name"] = json!(name);
    case
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), &to).unwrap();
        }
    }
}

/// Rewrites a file of tensors, each under its new names and changed.
fn rewrite(path: &Path, names: impl Fn(&str) -> Vec<String>, change: impl Fn(&str, Array) -> Array) {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = Vec::new();
    for (key, view) in file.iter() {
        let array = change(key, Array::read(&view).unwrap());
        let values: Vec<u8> = array.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        tensors.extend(names(key).into_iter().map(|name| (name, array.shape.clone(), values.clone())));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn names(walked: &Walked) -> Vec<&str> {
    walked.passed.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn cases_and_checkpoints_may_have_other_names() {
    let tree = Tree::of("03_vae", &[("vae_a/48x40", "first/48x40"), ("vae_a/decode_free", "second")]);
    std::fs::rename(tree.folder().join("vae_a"), tree.folder().join("another")).unwrap();
    tree.edit(|cases| cases.iter_mut().for_each(|case| case["checkpoint"] = json!("another")));
    let walked = tree.walk();
    assert_eq!((names(&walked), &walked.failed), (vec!["first/48x40", "second"], &vec![]));

    let cases = [("tv/odd", "small/odd"), ("tv/train_pos_weight", "steps"), ("xrv/op_norm", "norm"), ("loss/mean", "bce/mean")];
    let tree = Tree::of("08_classifier", &cases);
    std::fs::rename(tree.folder().join("torchvision"), tree.folder().join("net")).unwrap();
    tree.edit(|cases| cases.iter_mut().take(2).for_each(|case| case["checkpoint"] = json!("net")));
    let walked = tree.walk();
    assert_eq!((walked.passed.len(), &walked.failed), (4, &vec![]));

    let class = "DDIMScheduler";
    let tree = Tree::of("05_schedulers", &[(&format!("saved_config/{class}"), "saved/one"), ("traj/ddim_20", "run")]);
    std::fs::rename(tree.folder().join("saved_configs"), tree.folder().join("configs")).unwrap();
    tree.edit(|cases| cases[0]["checkpoint"] = json!(format!("configs/{class}")));
    let walked = tree.walk();
    assert_eq!((walked.passed.len(), &walked.failed), (2, &vec![]));

    assert_eq!(topics(tree.root.path()), ["05_schedulers"], "a tree may lack topics, and a folder without cases is none");
}

/// Rank 4 and alpha 8: the file of diffusers states no alpha, so that of the parameters counts, in reading and in training.
#[test]
fn an_alpha_that_only_the_parameters_state_counts() {
    let tree = Tree::of("07_training", &[("lora_forward_1.0", "read"), ("lora_train", "train")]);
    // Twice the alpha at half the scale is the same network, and so are twice the alpha and half of B.
    let path = tree.folder().join("lora_start_peft/adapter_config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["lora_alpha"] = json!(8);
    std::fs::write(&path, config.to_string()).unwrap();
    copy(&tree.folder().join("lora_start"), &tree.folder().join("halved"));
    let halved = |name: &str, array: Array| {
        let factor = if name.ends_with(".up.weight") { 0.5 } else { 1.0 };
        Array { values: array.values.iter().map(|value| value * factor).collect(), ..array }
    };
    rewrite(&tree.folder().join("halved/pytorch_lora_weights.safetensors"), |name| vec![name.to_owned()], halved);
    tree.edit(|cases| {
        for case in &mut *cases {
            assert_eq!(case["params"]["alpha"], 4);
            case["params"]["alpha"] = json!(8);
            case["checkpoint"] = json!(fixtures().join("06_pipeline/sd1"));
        }
        cases[0]["params"]["scale"] = json!(0.5);
        cases[1]["params"]["adapter"] = json!("halved");
        cases[1]["params"]["steps"] = json!(1);
        cases[1]["outputs"].as_object_mut().unwrap().retain(|output, _| output == "losses");
    });
    let first = |name: &str, array: Array| match name {
        "train/losses" => Array { shape: vec![1], values: array.values[..1].to_vec() },
        _ => array,
    };
    rewrite(&tree.folder().join("expected.safetensors"), |name| vec![name.to_owned()], first);
    let walked = tree.walk();
    assert_eq!((names(&walked), &walked.failed), (vec!["read", "train"], &vec![]));
}

#[test]
fn a_case_that_panics_fails_alone() {
    let cases =
        [("vae_a/48x40", "a"), ("vae_a/48x40", "b"), ("vae_a/48x40", "c"), ("vae_a/48x40", "d"), ("vae_a/decode_free", "e")];
    let tree = Tree::of("03_vae", &cases);
    tree.edit(|cases| {
        cases[0]["checkpoint"] = json!("nowhere");
        cases[1]["inputs"]["image"] = json!("no such tensor");
        cases[2]["outputs"]["mean"]["atol"] = json!("small");
        cases[3]["outputs"]["mean"] = json!({ "atol": 0.0, "rtol": 0.0 });
    });
    let walked = tree.walk();
    assert_eq!(names(&walked), ["e"]);
    let said = ["panicked: ", "inputs.safetensors has no no such tensor", "small", "mean["];
    assert_eq!(walked.failed.len(), said.len());
    for ((name, message), (said, of)) in walked.failed.iter().zip(said.into_iter().zip(["a", "b", "c", "d"])) {
        assert!(name == of && message.contains(said), "{name}: {message}");
    }
    // What was computed is written, right or wrong.
    let bytes = std::fs::read(tree.out().join("03_vae.safetensors")).unwrap();
    let written = SafeTensors::deserialize(&bytes).unwrap();
    let of = |case: &str| written.names().iter().filter(|name| name.starts_with(&format!("{case}/"))).count();
    assert_eq!(["a", "b", "c"].map(of), [0; 3]);
    assert!(of("d") > 3 && of("e") == 1, "{:?}", written.names());
}
