//! Vectors of one width, such as the features of images.

/// `len` rows of `width` numbers, one after the other: one row per image (or text).
///
/// All of them are finite: a number made from NaN would be NaN, or worse, would not be.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T = f32> {
    values: &'a [T],
    width: usize,
}

/// Why numbers are no rows.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// The numbers don't make whole rows.
    #[error("{values} numbers are no whole rows of {width}")]
    Ragged {
        /// Numbers.
        values: usize,
        /// Numbers per row.
        width: usize,
    },
    /// A number is NaN or infinite.
    #[error(
        "row {row} has {value} in place {column}, expected a finite number: the image or the network's weights are at fault"
    )]
    NotFinite {
        /// Row, from 0.
        row: usize,
        /// Place in the row, from 0.
        column: usize,
        /// What stands there.
        value: f64,
    },
    /// Two sets of rows that are compared have different widths.
    #[error("rows of {found} numbers can't be compared with rows of {expected}: they come from different networks")]
    Width {
        /// Width of the second set.
        found: usize,
        /// Width of the first.
        expected: usize,
    },
}

impl<'a, T: Copy + Into<f64>> Rows<'a, T> {
    /// Rows of `width` numbers.
    ///
    /// # Errors
    /// [`RowsError::Ragged`], [`RowsError::NotFinite`].
    pub fn new(values: &'a [T], width: usize) -> Result<Self, RowsError> {
        if width == 0 || !values.len().is_multiple_of(width) {
            return Err(RowsError::Ragged { values: values.len(), width });
        }
        match values.iter().position(|&value| !value.into().is_finite()) {
            Some(at) => Err(RowsError::NotFinite { row: at / width, column: at % width, value: values[at].into() }),
            None => Ok(Self { values, width }),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Numbers per row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Row `index`.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn row(&self, index: usize) -> &'a [T] {
        &self.values[index * self.width..][..self.width]
    }

    /// All numbers, row-major.
    #[must_use]
    pub fn values(&self) -> &'a [T] {
        self.values
    }

    /// Refuses rows of another width.
    ///
    /// # Errors
    /// [`RowsError::Width`].
    pub fn comparable<U: Copy + Into<f64>>(&self, other: &Rows<'_, U>) -> Result<(), RowsError> {
        if self.width == other.width() { Ok(()) } else { Err(RowsError::Width { found: other.width(), expected: self.width }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Rows, RowsError};

    #[test]
    fn rows_are_whole_and_finite() {
        let rows = Rows::new(&[1.0f32, 2.0, 3.0, 4.0], 2).unwrap();
        assert_eq!((rows.len(), rows.row(1)), (2, &[3.0f32, 4.0][..]));
        assert_eq!(Rows::new(&[1.0f64; 3], 2).unwrap_err(), RowsError::Ragged { values: 3, width: 2 });
        assert_eq!(Rows::<f64>::new(&[], 0).unwrap_err(), RowsError::Ragged { values: 0, width: 0 });
        let error = Rows::new(&[1.0f32, 2.0, 3.0, f32::NAN], 2).unwrap_err().to_string();
        assert!(error.starts_with("row 1 has NaN in place 1"), "{error}");
        let other = Rows::new(&[1.0f64, 2.0, 3.0], 3).unwrap();
        assert_eq!(rows.comparable(&other).unwrap_err(), RowsError::Width { found: 3, expected: 2 });
    }
}
