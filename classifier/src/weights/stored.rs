//! A tensor of a weights file, whatever the file's format.

use std::ops::Range;
use std::path::Path;

use burn::store::{bridge, burn_pack};
use burn::tensor::{Bytes, DType, TensorData};

use crate::ClassifierError;

/// A tensor of a file, unread.
#[derive(Clone, Debug)]
pub enum StoredTensor {
    /// Of F16, BF16, F32 or F64.
    Floats(burn_pack::Tensor),
    /// Integers and the like: no weights, but maybe a buffer that may be left.
    Other {
        /// As in the file.
        shape: Vec<usize>,
        /// The type's name.
        kind: String,
    },
}

impl StoredTensor {
    /// Of a reader of burn's.
    pub(super) fn of(tensor: burn_pack::Tensor) -> Self {
        match tensor.dtype {
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Self::Floats(tensor),
            other => Self::Other { shape: tensor.shape.to_vec(), kind: format!("{other:?}") },
        }
    }

    /// Its shape in the file: empty for a single number.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Self::Floats(tensor) => tensor.shape.to_vec(),
            Self::Other { shape, .. } => shape.clone(),
        }
    }

    /// The name of its type: `F32`, ….
    #[must_use]
    pub fn type_name(&self) -> String {
        match self {
            Self::Floats(tensor) => format!("{:?}", tensor.dtype),
            Self::Other { kind, .. } => kind.clone(),
        }
    }

    /// The same values, row-major, in another shape.
    ///
    /// # Panics
    /// If it has another number of values.
    #[must_use]
    pub fn reshaped(&self, shape: &[usize]) -> Self {
        let (before, after): (usize, usize) = (self.shape().iter().product(), shape.iter().product());
        assert!(before == after, "{before} values in the shape {shape:?}");
        self.part(shape.to_vec(), 0)
    }

    /// Some of its rows, by its first dimension.
    ///
    /// # Panics
    /// If it has not so many.
    #[must_use]
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let mut shape = self.shape();
        assert!(shape.first().is_some_and(|all| rows.end <= *all), "rows {rows:?} of the shape {shape:?}");
        let row: usize = shape[1..].iter().product();
        shape[0] = rows.len();
        self.part(shape, rows.start * row)
    }

    /// The values from `start` on that make `shape`.
    fn part(&self, shape: Vec<usize>, start: usize) -> Self {
        match self {
            Self::Floats(tensor) => {
                let size = tensor.dtype.size();
                let (start, length) = (start * size, shape.iter().product::<usize>() * size);
                let (name, dtype, whole) = (tensor.name.clone(), tensor.dtype, tensor.clone());
                let read = move || Ok(Bytes::from_bytes_vec(whole.to_bytes()?[start..start + length].to_vec()));
                Self::Floats(burn_pack::Tensor::deferred(name, dtype, shape, None, length, read))
            }
            Self::Other { kind, .. } => Self::Other { shape, kind: kind.clone() },
        }
    }

    /// Its values as 32-bit floats, row-major; some may be NaN or infinite. `path` and `name` are for messages.
    ///
    /// # Errors
    /// [`ClassifierError::WeightType`] for integers and the like; [`ClassifierError::DamagedWeights`] where the file can't be read.
    pub fn floats(&self, path: &Path, name: &str) -> Result<TensorData, ClassifierError> {
        match self {
            Self::Floats(tensor) => match bridge::to_data(tensor) {
                Ok(data) => Ok(data.convert::<f32>()),
                Err(error) => {
                    Err(ClassifierError::DamagedWeights { path: path.to_owned(), source: format!("`{name}`: {error}").into() })
                }
            },
            Self::Other { kind, .. } => {
                Err(ClassifierError::WeightType { path: path.to_owned(), tensor: name.to_owned(), found: kind.clone() })
            }
        }
    }

    /// [`floats`](Self::floats), all of them finite.
    ///
    /// # Errors
    /// Those of [`floats`](Self::floats); [`ClassifierError::NonFiniteWeight`].
    pub fn finite_floats(&self, path: &Path, name: &str) -> Result<TensorData, ClassifierError> {
        let data = self.floats(path, name)?;
        let values = data.as_slice::<f32>().expect("the data was converted");
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(ClassifierError::NonFiniteWeight {
                path: path.to_owned(),
                tensor: name.to_owned(),
                index,
                value: values[index],
            }),
            None => Ok(data),
        }
    }
}
