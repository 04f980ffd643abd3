//! A tensor on the host, in f64: wide enough for every type in the fixtures.

use std::path::Path;

use burn::tensor::{DType, TensorData};
use safetensors::tensor::{Dtype, TensorView};

/// Shape and row-major values.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// From anything that widens to f64 without loss.
    pub fn new<T: Into<f64> + Copy>(shape: &[usize], values: &[T]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{shape:?} for {} values", values.len());
        Self { shape: shape.to_vec(), values: values.iter().map(|v| (*v).into()).collect() }
    }

    /// A single number; shape `[]`.
    pub fn scalar(value: f64) -> Self {
        Self { shape: Vec::new(), values: vec![value] }
    }

    pub fn f32(&self) -> Vec<f32> {
        self.values.iter().map(|v| *v as f32).collect()
    }

    pub fn u8(&self) -> Vec<u8> {
        self.values.iter().map(|v| *v as u8).collect()
    }

    /// The file's tensor, or why it holds no numbers.
    pub fn read(view: &TensorView<'_>) -> Result<Self, String> {
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F64 => convert(bytes, f64::from_le_bytes),
            Dtype::F32 => convert(bytes, |b| f64::from(f32::from_le_bytes(b))),
            Dtype::F16 => half(view, DType::F16),
            Dtype::BF16 => half(view, DType::BF16),
            Dtype::I64 => convert(bytes, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => convert(bytes, |b| f64::from(i32::from_le_bytes(b))),
            Dtype::I16 => convert(bytes, |b| f64::from(i16::from_le_bytes(b))),
            Dtype::U16 => convert(bytes, |b| f64::from(u16::from_le_bytes(b))),
            Dtype::U8 => bytes.iter().map(|b| f64::from(*b)).collect(),
            Dtype::BOOL => bytes.iter().map(|b| f64::from(*b != 0)).collect(),
            other => return Err(format!("type {other:?} is not read")),
        };
        Ok(Self { shape: view.shape().to_vec(), values })
    }
}

fn half(view: &TensorView<'_>, dtype: DType) -> Vec<f64> {
    let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
    data.iter::<f64>().collect()
}

fn convert<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.chunks_exact(N).map(|chunk| read(chunk.try_into().unwrap())).collect()
}

/// Writes `TOPIC.safetensors`; every value as f64.
pub fn write(folder: &Path, topic: &str, tensors: &[(String, Array)]) {
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, a)| a.values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, array), bytes)| (name.clone(), TensorView::new(Dtype::F64, array.shape.clone(), bytes).unwrap()));
    std::fs::create_dir_all(folder).unwrap();
    safetensors::serialize_to_file(views, None, &folder.join(format!("{topic}.safetensors"))).unwrap();
}
