//! Saving a net as a PyTorch state dict.
//!
//! The layout is that of `torch.save` since 1.6 (`caffe2/serialize`, `torch/serialization.py` of torch 2.15): an uncompressed zip of
//! `data.pkl`, `byteorder`, one file per storage under `data/`, and `version`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use roentgen_augment::atomic::write_atomic;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::save::{Entry, Kind, state_dict};
use crate::ClassifierError;
use crate::networks::Network;

/// Where `torch.save` puts storages, so that they can be mapped into memory.
const ALIGNMENT: u16 = 64;

/// Writes `net` as a PyTorch state dict (`.pt`) under the names of [`save_weights`](super::save_weights); `torch.load(weights_only=True)`
/// reads it. It holds the weights alone: keep [`save_weights`](super::save_weights)'s file for the findings and the input range.
///
/// # Errors
/// [`ClassifierError::Io`].
pub fn save_state_dict(net: &Network, path: &Path) -> Result<(), ClassifierError> {
    let entries = state_dict(net);
    write_atomic(path, |out| archive(out, &entries)).map_err(|source| ClassifierError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

fn archive(out: &mut BufWriter<&File>, entries: &[Entry]) -> io::Result<()> {
    let mut zip = ZipWriter::new(out);
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut file = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options)?;
        zip.write_all(bytes)
    };
    file("data.pkl", &pickle(entries))?;
    file("byteorder", b"little")?;
    for (i, entry) in entries.iter().enumerate() {
        file(&format!("data/{i}"), &entry.bytes)?;
    }
    file("version", b"3\n")?;
    zip.finish()?;
    Ok(())
}

/// `OrderedDict([(name, _rebuild_tensor_v2(storage i, …)), …])` in pickle protocol 2.
fn pickle(entries: &[Entry]) -> Vec<u8> {
    let mut out = Pickle(vec![0x80, 2]);
    out.ordered_dict();
    out.0.push(b'('); // MARK
    for (i, entry) in entries.iter().enumerate() {
        out.string(&entry.name);
        out.tensor(i, entry);
    }
    out.0.extend_from_slice(b"u."); // SETITEMS, STOP
    out.0
}

struct Pickle(Vec<u8>);

impl Pickle {
    fn string(&mut self, text: &str) {
        self.0.push(b'X'); // BINUNICODE
        self.0.extend_from_slice(&u32::try_from(text.len()).expect("names are short").to_le_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend_from_slice(format!("c{module}\n{name}\n").as_bytes());
    }

    /// BININT holds 31 bits, which is PyTorch's own choice below that; no tensor of a classifier comes near.
    fn int(&mut self, number: usize) {
        self.0.push(b'J');
        self.0.extend_from_slice(&i32::try_from(number).expect("counts of a classifier fit 31 bits").to_le_bytes());
    }

    fn tuple(&mut self, numbers: &[usize]) {
        self.0.push(b'(');
        numbers.iter().for_each(|number| self.int(*number));
        self.0.push(b't');
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend_from_slice(b")R"); // EMPTY_TUPLE, REDUCE
    }

    fn tensor(&mut self, storage: usize, entry: &Entry) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend_from_slice(b"(("); // arguments; persistent id of the storage
        self.string("storage");
        self.global("torch", if entry.kind == Kind::F32 { "FloatStorage" } else { "LongStorage" });
        self.string(&storage.to_string());
        self.string("cpu");
        self.int(entry.shape.iter().product());
        self.0.extend_from_slice(b"tQ"); // TUPLE, BINPERSID
        self.int(0); // storage offset
        self.tuple(&entry.shape);
        self.tuple(&strides(&entry.shape));
        self.0.push(0x89); // requires_grad: NEWFALSE
        self.ordered_dict(); // backward hooks
        self.0.extend_from_slice(b"tR");
    }
}

/// Row-major strides, in elements.
fn strides(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::testing::{folder, same, trained};
    use super::*;

    #[test]
    fn comes_back_bit_for_bit() {
        let folder = folder();
        let path = folder.path().join("net.pt");
        let net = trained();
        save_state_dict(&net, &path).unwrap();
        same(&net, &Network::load(&path, &Device::flex()).unwrap().net);
    }

    #[test]
    fn a_path_that_cannot_be_written_is_named() {
        let folder = folder();
        let error = save_state_dict(&trained(), folder.path()).unwrap_err();
        assert!(matches!(&error, ClassifierError::Io { path, .. } if path == folder.path()), "{error}");
    }

    #[test]
    fn strides_are_row_major() {
        assert_eq!(strides(&[2, 3, 5, 7]), [105, 35, 7, 1]);
        assert!(strides(&[]).is_empty());
    }
}
