//! Nets and files for the tests of this folder.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use roentgen_augment::batch::InputRange;
use serde_json::json;
use tempfile::TempDir;

use super::save::{Entry, Kind, serialize, state_dict};
use super::{Card, LoadOptions, LoadedWeights, load_weights};
use crate::ClassifierError;
use crate::networks::{DenseNetConfig, Network};
use crate::training::Precision;

pub(super) fn config() -> DenseNetConfig {
    DenseNetConfig {
        growth_rate: 3,
        block_config: vec![2, 1],
        num_init_features: 5,
        bn_size: 2,
        in_channels: 1,
        num_classes: 3,
    }
}

/// An untrained net.
pub(super) fn net() -> Network {
    config().init(&Device::flex()).into()
}

/// A net in which no two values are equal, running statistics included.
pub(super) fn trained() -> Network {
    let mut entries = state_dict(&net());
    let floats = entries.iter_mut().filter(|entry| entry.kind == Kind::F32);
    for (i, value) in floats.flat_map(|entry| entry.bytes.chunks_exact_mut(4)).enumerate() {
        value.copy_from_slice(&(i as f32 * 1.1e-3 - 0.7).to_le_bytes());
    }
    let folder = folder();
    let path = folder.path().join("weights");
    std::fs::write(&path, serialize(&entries, None)).unwrap();
    load_weights(net(), &path, LoadOptions::default()).unwrap().net
}

pub(super) fn card_of(net: &Network) -> Card {
    Card {
        config: net.shape(),
        findings: ["Edema", "Mass", "Hernia"].map(str::to_owned).to_vec(),
        input_range: InputRange::Xrv,
        image_size: 64,
        precision: Precision::Fp32,
        preprocess: json!({"crop": "center"}),
    }
}

pub(super) fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Asserts equal names, shapes and bits.
pub(super) fn same(a: &Network, b: &Network) {
    let (a, b) = (state_dict(a), state_dict(b));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert!(a.bytes == b.bytes, "{} differs", a.name);
    }
}

/// A file of the parity tree's topic on classifiers.
pub(super) fn fixture(name: &str) -> PathBuf {
    let tree = std::env::var_os("ROENTGEN_PARITY_DIR").map(PathBuf::from);
    tree.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/parity/fixtures"))
        .join("08_classifier")
        .join(name)
}

pub(super) fn floats(name: &str, shape: &[usize], values: &[f32]) -> Entry {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Entry { name: name.to_owned(), kind: Kind::F32, shape: shape.to_vec(), bytes }
}

/// Loads the tensors of [`trained`], spoilt, into a fresh [`net`].
pub(super) fn load_spoilt(options: LoadOptions, spoil: impl FnOnce(&mut Vec<Entry>)) -> Result<LoadedWeights, ClassifierError> {
    let mut entries = state_dict(&trained());
    spoil(&mut entries);
    let folder = folder();
    let path = folder.path().join("weights");
    std::fs::write(&path, serialize(&entries, None)).unwrap();
    load_weights(net(), &path, options)
}
