//! The linear probe: logistic regression with an L2 penalty, fitted to convergence.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::linalg::matmul::{matmul, triangular};
use faer::{Accum, Mat, MatRef, Par};

use super::design::Design;

/// What is fitted: `½ ‖w‖² + C Σᵢ sᵢ log(1 + exp(-yᵢ (w·xᵢ + b)))` with `yᵢ` of -1 and 1; the intercept `b` is not penalised.
///
/// Reference: scikit-learn 1.9, `LogisticRegression(C=C)` with `sample_weight=s`, whose minimum this is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Logistic<'a> {
    /// The texts.
    pub(super) design: &'a Design,
    /// 1 or 0 for each.
    pub(super) targets: &'a [f64],
    /// `sᵢ`; 0 leaves a text out.
    pub(super) weights: &'a [f64],
    /// Inverse strength of the penalty.
    pub(super) c: f64,
}

/// Newton's method did not reach the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotConverged;

/// Far more steps than any data took.
const MOST_STEPS: usize = 200;

/// A Newton step that promises less than this share of the objective is the last: the error after it is that of rounding, as the method
/// converges quadratically.
const PROMISE: f64 = 1e-13;

/// Texts whose part of the Hessian is summed at once.
const BLOCK: usize = 256;

impl Logistic<'_> {
    /// Weights of the design's columns at the minimum; the last is the intercept. A function of the input alone: one thread computes it.
    ///
    /// # Errors
    /// [`NotConverged`].
    pub(super) fn fit(&self) -> Result<Mat<f64>, NotConverged> {
        let x = self.design.matrix();
        let mut weights = Mat::zeros(self.design.columns(), 1);
        let mut logits = Mat::zeros(self.design.len(), 1);
        let mut objective = self.objective(&weights, &logits);
        for _ in 0..MOST_STEPS {
            let gradient = self.gradient(&weights, &logits);
            let step = solved(self.hessian(&logits), gradient.clone())?;
            let promise: f64 = gradient.col_as_slice(0).iter().zip(step.col_as_slice(0)).map(|(g, s)| g * s).sum();
            if !promise.is_finite() {
                return Err(NotConverged);
            }
            let moved = |share: f64| {
                let weights = &weights - faer::Scale(share) * &step;
                let logits = scores(x, &weights);
                (self.objective(&weights, &logits), weights, logits)
            };
            if promise <= PROMISE * (1.0 + objective.abs()) {
                return Ok(moved(1.0).1);
            }
            // Halved until the objective falls by a fair share of what the slope promises (Armijo's rule).
            let falls = |share: &f64, value: f64| value <= objective - 1e-4 * share * promise;
            let shares = std::iter::successors(Some(1.0), |share| Some(share / 2.0)).take(60);
            let mut tried = shares.map(|share| (share, moved(share)));
            let Some((_, found)) = tried.find(|(share, (value, ..))| falls(share, *value)) else { return Err(NotConverged) };
            drop(tried);
            (objective, weights, logits) = found;
        }
        Err(NotConverged)
    }

    fn objective(&self, weights: &Mat<f64>, logits: &Mat<f64>) -> f64 {
        let penalised = &weights.col_as_slice(0)[..self.design.columns() - 1];
        let penalty: f64 = penalised.iter().map(|weight| weight * weight).sum();
        let cases = logits.col_as_slice(0).iter().zip(self.targets).zip(self.weights);
        let loss: f64 = cases.map(|((logit, target), weight)| weight * loss(*logit, *target)).sum();
        0.5 * penalty + self.c * loss
    }

    fn gradient(&self, weights: &Mat<f64>, logits: &Mat<f64>) -> Mat<f64> {
        let residual = |row: usize, _| self.c * self.weights[row] * (sigmoid(logits[(row, 0)]) - self.targets[row]);
        let residuals = Mat::from_fn(self.design.len(), 1, residual);
        let mut gradient = weights.clone();
        gradient[(self.design.columns() - 1, 0)] = 0.0;
        matmul(&mut gradient, Accum::Add, self.design.matrix().transpose(), &residuals, 1.0, Par::Seq);
        gradient
    }

    /// Its lower triangle.
    fn hessian(&self, logits: &Mat<f64>) -> Mat<f64> {
        let columns = self.design.columns();
        let mut hessian = Mat::zeros(columns, columns);
        (0..columns - 1).for_each(|at| hessian[(at, at)] = 1.0);
        let mut scaled = Vec::with_capacity(BLOCK * columns);
        for (block, rows) in self.design.values().chunks(BLOCK * columns).enumerate() {
            scaled.clear();
            for (row, values) in rows.chunks(columns).enumerate() {
                let at = block * BLOCK + row;
                let probability = sigmoid(logits[(at, 0)]);
                let root = (self.c * self.weights[at] * probability * (1.0 - probability)).sqrt();
                scaled.extend(values.iter().map(|value| root * value));
            }
            let scaled = MatRef::from_row_major_slice(&scaled, rows.len() / columns, columns);
            let (lower, whole) = (triangular::BlockStructure::TriangularLower, triangular::BlockStructure::Rectangular);
            triangular::matmul(&mut hessian, lower, Accum::Add, scaled.transpose(), whole, scaled, whole, 1.0, Par::Seq);
        }
        hessian
    }
}

/// `matrix⁻¹ right` by Cholesky's decomposition of the matrix with this lower triangle.
fn solved(mut matrix: Mat<f64>, mut right: Mat<f64>) -> Result<Mat<f64>, NotConverged> {
    let size = matrix.nrows();
    let mut memory = MemBuffer::new(llt::factor::cholesky_in_place_scratch::<f64>(size, Par::Seq, Default::default()));
    let stack = MemStack::new(&mut memory);
    llt::factor::cholesky_in_place(matrix.as_mut(), Default::default(), Par::Seq, stack, Default::default())
        .map_err(|_| NotConverged)?;
    llt::solve::solve_in_place(matrix.as_ref(), right.as_mut(), Par::Seq, stack);
    Ok(right)
}

/// `x w`, one number per text.
pub(super) fn scores(x: MatRef<'_, f64>, weights: &Mat<f64>) -> Mat<f64> {
    let mut scores = Mat::zeros(x.nrows(), weights.ncols());
    matmul(&mut scores, Accum::Replace, x, weights, 1.0, Par::Seq);
    scores
}

/// `1 / (1 + exp(-x))`, without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// `log(1 + exp(-x))` of a positive text with logit `x`, `log(1 + exp(x))` of a negative one.
fn loss(logit: f64, target: f64) -> f64 {
    let wrong = if target > 0.5 { -logit } else { logit };
    wrong.max(0.0) + (-wrong.abs()).exp().ln_1p()
}
