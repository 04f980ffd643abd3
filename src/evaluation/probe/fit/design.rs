//! Embeddings as a probe reads them: standardised, in f64, with a constant.

use faer::MatRef;

use crate::evaluation::Rows;

/// Mean and spread of every number of an embedding over the texts that a probe is trained on.
///
/// Reference: scikit-learn 1.9, `StandardScaler`: the divisor is n, and a number that is the same in every text is left at its scale.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standard {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl Standard {
    /// Of the rows `at`, of which there is at least one.
    pub(super) fn of(rows: &Rows<'_>, at: &[usize]) -> Self {
        let (width, count) = (rows.width(), at.len() as f64);
        let mut mean = vec![0.0; width];
        for &row in at {
            mean.iter_mut().zip(rows.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= count);
        let mut variance = vec![0.0; width];
        for &row in at {
            for ((sum, value), mean) in variance.iter_mut().zip(rows.row(row)).zip(&mean) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        let scale = variance.iter().zip(&mean).map(|(sum, mean)| {
            let variance = sum / count;
            // What rounding alone makes of equal numbers.
            let rounding = count * f64::EPSILON * variance + (count * mean * f64::EPSILON).powi(2);
            if variance <= rounding { 1.0 } else { variance.sqrt() }
        });
        let scale = scale.collect();
        Self { mean, scale }
    }
}

/// Standardised embeddings of some texts, row-major, each followed by a 1 for the intercept.
#[derive(Clone, Debug)]
pub(super) struct Design {
    values: Vec<f64>,
    columns: usize,
}

impl Design {
    /// Of the rows `at`.
    pub(super) fn of(rows: &Rows<'_>, at: &[usize], standard: &Standard) -> Self {
        let columns = rows.width() + 1;
        let mut values = Vec::with_capacity(at.len() * columns);
        for &row in at {
            let parts = rows.row(row).iter().zip(&standard.mean).zip(&standard.scale);
            values.extend(parts.map(|((value, mean), scale)| (f64::from(*value) - mean) / scale));
            values.push(1.0);
        }
        Self { values, columns }
    }

    /// Texts.
    pub(super) fn len(&self) -> usize {
        self.values.len() / self.columns
    }

    /// Numbers per text, the constant included; it is the last.
    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    /// `[texts, columns]`.
    pub(super) fn matrix(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.values, self.len(), self.columns)
    }

    /// All numbers, row-major.
    pub(super) fn values(&self) -> &[f64] {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_standardised_as_scikit_learn_does() {
        let values = [1.0f32, 5.0, 0.1, 2.0, 5.0, 0.1, 4.0, 5.0, 0.1, 100.0, -3.0, 9.0];
        let rows = Rows::new(&values, 3).unwrap();
        let standard = Standard::of(&rows, &[0, 1, 2]);
        let design = Design::of(&rows, &[0, 1, 2], &standard);
        // By hand: mean 7/3, variance 14/9; the other two are constant.
        let deviation = (14.0f64 / 9.0).sqrt();
        for (row, value) in [1.0, 2.0, 4.0].into_iter().enumerate() {
            let found = &design.values()[4 * row..][..4];
            assert!((found[0] - (value - 7.0 / 3.0) / deviation).abs() < 1e-12, "{found:?}");
            assert_eq!(found[1..], [0.0, 0.0, 1.0]);
        }
        // A text that was not trained on is measured by the others.
        assert_eq!(Design::of(&rows, &[3], &standard).values()[1], -8.0);
    }
}
