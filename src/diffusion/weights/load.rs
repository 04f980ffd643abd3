//! Loading the tensors of files into a model.

use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use roentgen_augment::digest::Fingerprint;
use roentgen_classifier::weights::StoredTensor;

use super::choice::{Choice, Stem, WeightsFolder, Why};
use super::difference::Expected;
use super::source::Source;
use super::{KeyMap, Place};
use crate::diffusion::DiffusionError;

/// A model with the weights of a folder.
#[derive(Debug)]
pub struct Loaded<M> {
    /// The model.
    pub model: M,
    /// Number of weights.
    pub parameters: usize,
    /// The type of the tensors in the files, F32 where they are of several; a copy in it is exact (64-bit files apart).
    pub stored: FloatDType,
    /// Digest of every weight's name, shape and value as a 32-bit float; the same for every file format.
    pub digest: Fingerprint,
}

/// `model` with the weights of the component in `folder`, computed in `dtype` from then on.
///
/// Accepted: safetensors of F32, F16, BF16 or F64, in one file or in shards with an index; PyTorch files (`.bin`), which are
/// read as data and never executed. Which file is read where there are several: [`Choice`]. Besides the model, it takes memory for
/// one tensor at a time.
///
/// # Errors
/// [`DiffusionError::MissingFile`]; [`DiffusionError::WeightsDiffer`] lists every missing, unexpected and wrongly shaped tensor;
/// [`DiffusionError::DamagedWeights`] for a truncated file or a wrong shard; [`DiffusionError::NonFiniteWeight`] and
/// [`DiffusionError::WeightType`] name a tensor without usable numbers; [`DiffusionError::Pytorch`] what a pickle would run.
pub fn load<M: Module>(
    model: M,
    folder: impl Into<WeightsFolder>,
    stem: Stem,
    keys: &dyn KeyMap,
    dtype: FloatDType,
) -> Result<Loaded<M>, DiffusionError> {
    load_source(model, &Source::open(&folder.into(), stem, keys)?, keys, dtype)
}

/// [`load`] from tensors that were gathered elsewhere.
pub(crate) fn load_source<M: Module>(
    model: M,
    source: &Source,
    keys: &dyn KeyMap,
    dtype: FloatDType,
) -> Result<Loaded<M>, DiffusionError> {
    let expected = fitting(&model, source, keys)?;
    let mut digest = Digest::default();
    let mut stored = None;
    let read = |key: &str, _: &[usize]| {
        let (path, name, tensor) = &source.tensors[key];
        stored = Some(wider(stored, tensor));
        let data = tensor.finite_floats(path, name)?;
        digest.add(key, &data);
        Ok(data)
    };
    let model = init_with(model, keys, dtype, read)?;
    Ok(Loaded { model, parameters: expected.parameters(), stored: stored.unwrap_or(FloatDType::F32), digest: digest.finish() })
}

/// The content of a component's files, from their headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The file, or the index of shards.
    pub path: PathBuf,
    /// The file, or its shards.
    pub files: Vec<PathBuf>,
    /// Why these.
    pub why: Why,
    /// Weights beside them that are not read.
    pub others: Vec<PathBuf>,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of weights.
    pub parameters: usize,
    /// Their type; F32 where they are of several.
    pub stored: FloatDType,
}

/// Compares a component's files with a model without reading a weight.
///
/// # Errors
/// As [`load`], except for values that are not finite.
pub fn check<M: Module>(
    model: &M,
    folder: impl Into<WeightsFolder>,
    stem: Stem,
    keys: &dyn KeyMap,
) -> Result<Facts, DiffusionError> {
    let folder = folder.into();
    let Choice { path, shards, why, others, .. } = Choice::of(&folder, stem)?;
    let source = Source::open(&folder, stem, keys)?;
    let expected = fitting(model, &source, keys)?;
    let stored = source.tensors.values().fold(None, |so_far, (_, _, stored)| Some(wider(so_far, stored)));
    let (tensors, parameters) = (expected.tensors.len(), expected.parameters());
    Ok(Facts { path, files: shards, why, others, tensors, parameters, stored: stored.unwrap_or(FloatDType::F32) })
}

/// The names and shapes of `model`, which are those of `source`.
///
/// # Errors
/// [`DiffusionError::WeightsDiffer`] and [`DiffusionError::WeightType`].
pub(in crate::diffusion) fn fitting<'a, M: Module>(
    model: &M,
    source: &Source,
    keys: &'a dyn KeyMap,
) -> Result<Expected<'a>, DiffusionError> {
    let expected = Expected::of(model, keys);
    let difference = expected.compare(source);
    if !difference.is_empty() {
        return Err(DiffusionError::WeightsDiffer { path: source.path.clone(), difference: Box::new(difference) });
    }
    for (path, name, stored) in source.tensors.values() {
        if let StoredTensor::Other { kind, .. } = stored {
            let (path, tensor, found) = (path.clone(), name.clone(), kind.clone());
            return Err(DiffusionError::WeightType { path, tensor, found });
        }
    }
    Ok(expected)
}

/// `model` with every weight from `value(key, shape)`: 32-bit floats in the layout of files, by the name and shape in files.
///
/// # Errors
/// The first that `value` returns.
///
/// # Panics
/// If a value has another number of elements than its shape says.
pub fn init_with<M: Module>(
    model: M,
    keys: &dyn KeyMap,
    dtype: FloatDType,
    value: impl FnMut(&str, &[usize]) -> Result<TensorData, DiffusionError>,
) -> Result<M, DiffusionError> {
    let mut filler = Filler { place: Place::default(), keys, dtype: dtype.into(), value, error: None };
    let model = model.map(&mut filler);
    match filler.error {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

struct Filler<'a, F> {
    place: Place,
    keys: &'a dyn KeyMap,
    dtype: DType,
    value: F,
    error: Option<DiffusionError>,
}

impl<F: FnMut(&str, &[usize]) -> Result<TensorData, DiffusionError>> ModuleMapper for Filler<'_, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.error.is_some() {
            return param;
        }
        let key = self.place.key(self.keys);
        let shape = param.lazy_shape().to_vec();
        match (self.value)(&key, &self.place.file_shape(self.keys, &key, shape.clone())) {
            Ok(data) => {
                let is_linear = self.place.is_linear_weight();
                // In 16 bits nothing is trained: rows of a file stay rows, which is how units for brain floats read them best.
                let stays = self.dtype != DType::F32;
                let data = match is_linear {
                    true if stays => reshape(data, &[shape[1], shape[0]]),
                    true => transpose(&data, [shape[1], shape[0]]),
                    false => reshape(data, &shape),
                };
                let tensor = Tensor::from_data(data.convert_dtype(self.dtype), (&param.lazy_device(), self.dtype));
                let tensor = if is_linear && stays { tensor.swap_dims(0, 1) } else { tensor };
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.error = Some(error);
                param
            }
        }
    }
}

fn reshape(data: TensorData, shape: &[usize]) -> TensorData {
    let (bytes, _, dtype) = data.into_parts();
    TensorData::from_bytes(bytes, shape.to_vec(), dtype)
}

/// `[rows, columns]` of 32-bit floats, transposed; in squares that fit the first-level cache.
pub(super) fn transpose(data: &TensorData, [rows, columns]: [usize; 2]) -> TensorData {
    const SIDE: usize = 32;
    let from = data.as_slice::<f32>().expect("the data is of 32-bit floats");
    let mut to = vec![0f32; from.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for row in top..(top + SIDE).min(rows) {
                for column in left..(left + SIDE).min(columns) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
    TensorData::new(to, [columns, rows])
}

/// The type that holds everything so far and this tensor; F16 and BF16 together need F32.
fn wider(so_far: Option<FloatDType>, stored: &StoredTensor) -> FloatDType {
    let this = match stored {
        StoredTensor::Floats(tensor) if tensor.dtype == DType::F16 => FloatDType::F16,
        StoredTensor::Floats(tensor) if tensor.dtype == DType::BF16 => FloatDType::BF16,
        _ => FloatDType::F32,
    };
    if so_far.is_none_or(|so_far| so_far == this) { this } else { FloatDType::F32 }
}

/// Digest of named tensors in a model's order.
#[derive(Default)]
struct Digest(Vec<u8>);

impl Digest {
    fn add(&mut self, key: &str, data: &TensorData) {
        let shape: Vec<u8> = data.shape().iter().flat_map(|size| (*size as u64).to_le_bytes()).collect();
        self.0.extend_from_slice(&Fingerprint::of(&[key.as_bytes(), &shape, data.as_bytes()]).0);
    }

    fn finish(&self) -> Fingerprint {
        Fingerprint::of(&[&self.0])
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use burn::tensor::f16;
    use proptest::prelude::*;
    use safetensors::tensor::{Dtype, SafeTensors, TensorView};

    use super::super::save::save;
    use super::super::testing::{ToyKeys, filled, toy};
    use super::*;

    type Entry = (String, Dtype, Vec<usize>, Vec<u8>);

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn saved(dtype: FloatDType) -> (tempfile::TempDir, Vec<u8>) {
        let folder = folder();
        let path = folder.path().join(Stem::Diffusers.file_name());
        save(&filled(), &path, &ToyKeys, dtype).unwrap();
        let bytes = std::fs::read(path).unwrap();
        (folder, bytes)
    }

    fn entries() -> Vec<Entry> {
        let (_folder, bytes) = saved(FloatDType::F32);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        file.iter().map(|(name, view)| (name.to_owned(), view.dtype(), view.shape().to_vec(), view.data().to_vec())).collect()
    }

    fn write(path: &Path, entries: &[Entry]) {
        let views =
            entries.iter().map(|(name, dtype, shape, bytes)| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn load_toy(folder: &Path) -> Result<Loaded<super::super::testing::Toy>, DiffusionError> {
        load(toy(), folder, Stem::Diffusers, &ToyKeys, FloatDType::F32)
    }

    fn load_entries(entries: &[Entry]) -> Result<Loaded<super::super::testing::Toy>, DiffusionError> {
        let folder = folder();
        write(&folder.path().join("diffusion_pytorch_model.safetensors"), entries);
        load_toy(folder.path())
    }

    #[test]
    fn comes_back_bit_for_bit_in_every_type() {
        for (dtype, stored) in [(FloatDType::F32, Dtype::F32), (FloatDType::F16, Dtype::F16), (FloatDType::BF16, Dtype::BF16)] {
            let (folder, bytes) = saved(dtype);
            assert!(SafeTensors::deserialize(&bytes).unwrap().iter().all(|(_, view)| view.dtype() == stored));
            let loaded = load_toy(folder.path()).unwrap();
            assert_eq!(loaded.stored, dtype);
            let facts = check(&toy(), folder.path(), Stem::Diffusers, &ToyKeys).unwrap();
            assert_eq!((facts.parameters, facts.stored), (loaded.parameters, dtype));
            let again = folder.path().join("again.safetensors");
            save(&loaded.model, &again, &ToyKeys, dtype).unwrap();
            assert!(std::fs::read(again).unwrap() == bytes, "{dtype:?}");
        }
    }

    #[test]
    fn files_have_pytorch_names_and_layouts() {
        let shapes: HashMap<String, Vec<usize>> = entries().into_iter().map(|(name, _, shape, _)| (name, shape)).collect();
        for (name, shape) in [
            ("norm.weight", &[4][..]),
            ("layer_norm.bias", &[5]),
            ("embedding.weight", &[7, 5]),
            ("layers.0.weight", &[33, 40]),
            ("layers.1.weight", &[3, 2, 1, 1]),
            ("projections.0.weight", &[3, 2]),
            ("projections.1.weight", &[3, 2, 1, 1]),
        ] {
            assert_eq!(shapes[name], shape, "{name}");
        }
        // `filled` counts up in the order of files; row-major there.
        let (_, _, _, bytes) = entries().into_iter().find(|(name, ..)| name == "layers.0.weight").unwrap();
        let first: Vec<f32> = bytes.chunks_exact(4).take(2).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(first[1] - first[0], 1.0 / 64.0);
    }

    #[test]
    fn old_names_and_buffers_and_half_files_load() {
        let plain = load_entries(&entries()).unwrap();
        let mut old = entries();
        for (name, dtype, _, bytes) in &mut old {
            name.insert_str(0, "old.");
            *dtype = Dtype::F16;
            let values = bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            *bytes = values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
        }
        old.push(("position_ids".to_owned(), Dtype::I64, vec![1], vec![0; 8]));
        let loaded = load_entries(&old).unwrap();
        assert_eq!((loaded.digest, loaded.stored), (plain.digest, FloatDType::F16));
    }

    #[test]
    fn every_difference_is_in_one_error() {
        let mut wrong = entries();
        wrong.retain(|(name, ..)| name != "conv.bias");
        wrong.push(("extra.weight".to_owned(), Dtype::F32, vec![1], vec![0; 4]));
        let layer = wrong.iter_mut().find(|(name, ..)| name == "layers.0.weight").unwrap();
        layer.2 = vec![40, 33];
        let message = load_entries(&wrong).unwrap_err().to_string();
        for part in [
            "missing conv.bias [4]",
            "unexpected extra.weight [1]",
            "wrong shape layers.0.weight: expected [33, 40], found [40, 33]",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn values_that_are_no_numbers_are_named() {
        let mut wrong = entries();
        let (_, _, _, bytes) = wrong.iter_mut().find(|(name, ..)| name == "norm.bias").unwrap();
        bytes[8..12].copy_from_slice(&f32::NAN.to_le_bytes());
        let message = load_entries(&wrong).unwrap_err().to_string();
        assert!(message.contains("`norm.bias` holds NaN at flat index 2"), "{message}");

        let mut wrong = entries();
        let entry = wrong.iter_mut().find(|(name, ..)| name == "norm.bias").unwrap();
        entry.1 = Dtype::I32;
        assert!(matches!(load_entries(&wrong), Err(DiffusionError::WeightType { tensor, .. }) if tensor == "norm.bias"));
    }

    #[test]
    fn truncated_and_foreign_files_are_refused() {
        let (folder, bytes) = saved(FloatDType::F32);
        let path = folder.path().join(Stem::Diffusers.file_name());
        for length in [0, 7, 8, 100, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(load_toy(folder.path()), Err(DiffusionError::DamagedWeights { .. })), "{length} bytes");
        }
        std::fs::write(&path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n").unwrap();
        assert!(load_toy(folder.path()).unwrap_err().to_string().contains("git lfs pull"));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(load_toy(folder.path()), Err(DiffusionError::MissingFile { .. })));
    }

    /// Two shards and an index: the first half of the tensors, and the second.
    fn sharded(folder: &Path, swap: bool) {
        let entries = entries();
        let (first, second) = entries.split_at(entries.len() / 2);
        let mut map = serde_json::Map::new();
        for (entries, shard) in [(first, "1.safetensors"), (second, "2.safetensors")] {
            map.extend(entries.iter().map(|(name, ..)| (name.clone(), shard.into())));
        }
        let (one, two) = if swap { ("2.safetensors", "1.safetensors") } else { ("1.safetensors", "2.safetensors") };
        write(&folder.join(one), first);
        write(&folder.join(two), second);
        let index = serde_json::json!({ "metadata": {}, "weight_map": map });
        std::fs::write(folder.join("diffusion_pytorch_model.safetensors.index.json"), index.to_string()).unwrap();
    }

    #[test]
    fn shards_load_and_wrong_ones_are_named() {
        let folder = folder();
        sharded(folder.path(), false);
        assert_eq!(load_toy(folder.path()).unwrap().digest, load_entries(&entries()).unwrap().digest);
        std::fs::remove_file(folder.path().join("2.safetensors")).unwrap();
        assert!(load_toy(folder.path()).unwrap_err().to_string().contains("has no 2.safetensors"));
        sharded(folder.path(), true);
        assert!(load_toy(folder.path()).unwrap_err().to_string().contains("it is another shard"));
    }

    proptest! {
        #[test]
        fn transposing_twice_changes_nothing(rows in 1usize..80, columns in 1usize..80) {
            let data = TensorData::new((0..rows * columns).map(|i| i as f32).collect::<Vec<_>>(), [rows, columns]);
            let there = transpose(&data, [rows, columns]);
            prop_assert_eq!(there.as_slice::<f32>().unwrap()[rows - 1], ((rows - 1) * columns) as f32);
            prop_assert_eq!(transpose(&there, [columns, rows]), data);
        }
    }
}
