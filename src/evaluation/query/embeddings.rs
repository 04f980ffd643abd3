//! Embeddings that another program made.

use std::path::Path;

use roentgen_augment::formats::Matrix;
use roentgen_classifier::weights::open_tensors;

use super::QueryError;
use crate::evaluation::{Rows, RowsError};

/// One row per image or text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    width: usize,
    values: Vec<f32>,
}

impl Embeddings {
    /// Reads a `.npy` file, or the one tensor of a safetensors or PyTorch file: two dimensions, finite.
    ///
    /// # Errors
    /// [`QueryError`] naming the file.
    pub fn open(path: &Path) -> Result<Self, QueryError> {
        let Matrix { width, values } =
            if path.extension().is_some_and(|ending| ending == "npy") { Matrix::open(path)? } else { tensor(path)? };
        Self::new(width, values).map_err(|source| QueryError::Rows { path: path.to_owned(), source })
    }

    /// Embeddings of `width` numbers.
    ///
    /// # Errors
    /// [`RowsError`] if they are no whole rows of finite numbers.
    pub fn new(width: usize, values: Vec<f32>) -> Result<Self, RowsError> {
        Rows::new(&values, width)?;
        Ok(Self { width, values })
    }

    /// The embeddings as rows.
    #[must_use]
    pub fn rows(&self) -> Rows<'_, f32> {
        Rows::new(&self.values, self.width).expect("rows were checked when they came")
    }
}

fn tensor(path: &Path) -> Result<Matrix, QueryError> {
    let tensors = open_tensors(path)?;
    let shapes = || tensors.iter().map(|(name, tensor)| format!("`{name}` of shape {:?}", tensor.shape()));
    let mut matrices = tensors.iter().filter(|(_, tensor)| matches!(tensor.shape()[..], [_, width] if width > 0));
    let (Some((name, tensor)), None) = (matrices.next(), matrices.next()) else {
        let found = if tensors.is_empty() { "no tensor".to_owned() } else { shapes().collect::<Vec<_>>().join(", ") };
        return Err(QueryError::NoMatrix { path: path.to_owned(), found });
    };
    let width = tensor.shape()[1];
    Ok(Matrix { width, values: tensor.floats(path, name)?.iter::<f32>().collect() })
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;

    fn refused(tensors: &[(&str, Vec<usize>, Vec<f32>)]) -> Result<Embeddings, QueryError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("e.safetensors");
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, _, values)| values.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        Embeddings::open(&path)
    }

    #[test]
    fn the_one_matrix_of_a_file_is_read() {
        let good = refused(&[("x", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]), ("steps", vec![1], vec![7.0])]).unwrap();
        assert_eq!((good.rows().len(), good.rows().row(1)), (2, &[3.0, 4.0][..]));
    }

    #[test]
    fn what_is_ambiguous_or_not_finite_is_refused() {
        let two = refused(&[("a", vec![1, 2], vec![1.0, 2.0]), ("b", vec![1, 2], vec![1.0, 2.0])]).unwrap_err().to_string();
        assert!(two.contains("`a` of shape [1, 2], `b` of shape [1, 2]; expected one tensor"), "{two}");
        assert!(refused(&[("a", vec![2], vec![1.0, 2.0])]).unwrap_err().to_string().contains("`a` of shape [2]"));
        let nan = refused(&[("a", vec![2, 1], vec![1.0, f32::NAN])]).unwrap_err().to_string();
        assert!(nan.contains("row 1 has NaN"), "{nan}");
    }
}
