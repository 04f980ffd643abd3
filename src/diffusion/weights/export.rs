//! A model into safetensors.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use roentgen_augment::write_atomic;
use serde_json::{Map, Value, json};

use super::KeyMap;
use super::expected::Expected;
use super::fill::transpose;
use super::place::Place;
use crate::diffusion::DiffusionError;

/// Writes `model` as safetensors under its current names in files; values are rounded to `dtype` (F32, F16 or BF16; others are
/// written as F32). Written whole or not at all, a tensor at a time; equal models give equal bytes.
///
/// # Errors
/// [`DiffusionError::Io`].
pub fn save<M: Module>(model: &M, path: &Path, keys: &dyn KeyMap, dtype: FloatDType) -> Result<(), DiffusionError> {
    let (dtype, name) = match dtype {
        FloatDType::F16 => (DType::F16, "F16"),
        FloatDType::BF16 => (DType::BF16, "BF16"),
        _ => (DType::F32, "F32"),
    };
    let expected = Expected::of(model, keys).tensors;
    let write = |out: &mut BufWriter<&File>| {
        let header = header(&expected, dtype.size(), name);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        let mut writer = Writer { place: Place::default(), dtype, out, result: Ok(()) };
        model.visit(&mut writer);
        writer.result
    };
    write_atomic(path, write).map_err(|source| DiffusionError::Io { action: "write", path: path.to_owned(), source })
}

/// The header of the safetensors format, padded so that values are aligned. `format` is what transformers asks for.
fn header(tensors: &[(String, Vec<usize>)], size: usize, dtype: &str) -> Vec<u8> {
    const ALIGNMENT: usize = 8;
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut start = 0;
    for (name, shape) in tensors {
        let end = start + shape.iter().product::<usize>() * size;
        entries.insert(name.clone(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
        start = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    header
}

struct Writer<'a, W> {
    place: Place,
    dtype: DType,
    out: &'a mut W,
    result: io::Result<()>,
}

impl<W: Write> ModuleVisitor for Writer<'_, W> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.result.is_err() {
            return;
        }
        let data: TensorData = param.val().into_data().convert::<f32>();
        let data = match self.place.is_linear_weight() {
            true => {
                let shape = data.shape().to_vec();
                transpose(&data, [shape[0], shape[1]])
            }
            false => data,
        };
        self.result = self.out.write_all(data.convert_dtype(self.dtype).as_bytes());
    }
}
