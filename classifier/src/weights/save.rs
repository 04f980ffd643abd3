//! Saving a net as our own file: safetensors that PyTorch reads.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use burn::module::Module;
use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, bridge};
use roentgen_augment::atomic::write_atomic;
use safetensors::tensor::{Dtype, TensorView};

use super::card::{Card, METADATA_KEY};
use super::config::name_of;
use super::families::{counter_beside, naming};
use crate::ClassifierError;
use crate::networks::Network;

/// A tensor as PyTorch keeps it: contiguous, row-major, little-endian.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    F32,
    I64,
}

/// A net's state dict: torchvision's names and order, with the counters that its strict loading requires; of a DINOv2 the names in
/// transformers' files, with the mask token that these have.
pub(super) fn state_dict(net: &Network) -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend(naming(net.family()).unused.map(|name| {
        let width = net.shape().num_features() / 2;
        Entry { name: name.to_owned(), kind: Kind::F32, shape: vec![1, width], bytes: vec![0; 4 * width] }
    }));
    // `valid` settles the norms: in training the newest batch's statistics are still pending.
    for tensor in net.valid().collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let name = name_of(net.family(), &tensor.name);
        let data = bridge::to_data(&tensor).expect("a net's tensors can be read back").convert::<f32>();
        let bytes = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        let counter = counter_beside(&name);
        entries.push(Entry { name, kind: Kind::F32, shape: data.shape().to_vec(), bytes });
        entries.extend(counter.map(|name| Entry { name, kind: Kind::I64, shape: Vec::new(), bytes: vec![0; 8] }));
    }
    entries
}

/// Writes `net` and its card as safetensors under torchvision's names, so that torchvision's `load_state_dict(strict=True)` takes
/// the result of `safetensors.torch.load_file`; of a DINOv2 under those in transformers' files. Written completely or not at all; equal
/// nets and cards give equal bytes.
///
/// # Errors
/// [`ClassifierError::Card`] if the card is of another net, [`ClassifierError::Io`].
pub fn save_weights(net: &Network, path: &Path, card: &Card) -> Result<(), ClassifierError> {
    card.check(path, &net.shape())?;
    let bytes = serialize(&state_dict(net), Some(card.to_metadata()));
    write_atomic(path, |out| out.write_all(&bytes)).map_err(|source| ClassifierError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

/// A safetensors file of these tensors and this card.
pub(super) fn serialize(entries: &[Entry], card: Option<String>) -> Vec<u8> {
    let views = entries.iter().map(|entry| {
        let dtype = match entry.kind {
            Kind::F32 => Dtype::F32,
            Kind::I64 => Dtype::I64,
        };
        let view = TensorView::new(dtype, entry.shape.clone(), &entry.bytes).expect("bytes are of the shape");
        (entry.name.as_str(), view)
    });
    let metadata = card.map(|card| HashMap::from([(METADATA_KEY.to_owned(), card)]));
    safetensors::serialize(views, metadata).expect("a net's tensors have distinct names and valid shapes")
}

#[cfg(test)]
mod tests {
    use super::super::families::COUNTER;
    use super::super::testing::{card_of, folder, same, trained};
    use super::super::{infer_config, read_card};
    use super::*;
    use crate::networks::DenseNetConfig;

    #[test]
    fn comes_back_bit_for_bit() {
        let folder = folder();
        let path = folder.path().join("net.safetensors");
        let net = trained();
        let card = card_of(&net);
        save_weights(&net, &path, &card).unwrap();
        let loaded = Network::load(&path, &burn::tensor::Device::flex()).unwrap();
        same(&net, &loaded.net);
        assert_eq!(loaded.op_threshs, None);
        assert_eq!(read_card(&path).unwrap(), card);
        assert_eq!(infer_config(&path).unwrap(), card.config);
    }

    #[test]
    fn equal_nets_give_equal_files() {
        let folder = folder();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let net = trained();
        save_weights(&net, &a, &card_of(&net)).unwrap();
        save_weights(&net, &b, &card_of(&net)).unwrap();
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }

    #[test]
    fn counters_stand_beside_every_norm() {
        let entries = state_dict(&trained());
        let count = |suffix: &str| entries.iter().filter(|entry| entry.name.ends_with(suffix)).count();
        assert_eq!(count(COUNTER), count(".running_var"));
        assert!(entries.iter().any(|entry| entry.name == "features.norm0.num_batches_tracked" && entry.shape.is_empty()));
    }

    #[test]
    fn card_of_another_net_is_refused() {
        let folder = folder();
        let path = folder.path().join("net.safetensors");
        let net = trained();
        for spoil in [
            |card: &mut Card| card.config = DenseNetConfig::small(1, 3).into(),
            |card: &mut Card| card.findings.truncate(1),
            |card: &mut Card| card.input_range = roentgen_augment::batch::InputRange::Imagenet,
        ] {
            let mut card = card_of(&net);
            spoil(&mut card);
            assert!(matches!(save_weights(&net, &path, &card), Err(ClassifierError::Card { .. })));
            assert!(!path.exists());
        }
    }
}
