//! A model into safetensors.

use std::fs::File;
use std::io;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use roentgen_augment::atomic::write_atomic;
use roentgen_classifier::weights::safetensors_header;

use super::difference::Expected;
use super::load::transpose;
use super::{KeyMap, Place};
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
        let shapes = expected.iter().map(|(name, shape)| (name.as_str(), shape.as_slice()));
        out.write_all(&safetensors_header(shapes, dtype.size(), name))?;
        let mut writer = Writer { place: Place::default(), dtype, out, result: Ok(()) };
        model.visit(&mut writer);
        writer.result
    };
    write_atomic(path, write).map_err(|source| DiffusionError::Io { action: "write", path: path.to_owned(), source })
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
