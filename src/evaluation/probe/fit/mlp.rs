//! The non-linear probe: one hidden layer, all findings at once.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::design::Design;
use super::logistic::{scores, sigmoid};

/// What is trained: `X → relu(X W₁) → · W₂`, one logit per finding, by Adam on all texts at once, for a fixed number of steps.
///
/// The loss is that of the linear probe divided by `C n`, with the same penalty on both matrices (not on the intercepts), so that `C`
/// means the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mlp<'a> {
    /// The texts.
    pub(super) design: &'a Design,
    /// 1 or 0, row-major `[texts, findings]`.
    pub(super) targets: &'a [f64],
    /// Weight of each; 0 leaves it out.
    pub(super) weights: &'a [f64],
    /// Number of findings.
    pub(super) findings: usize,
    /// Inverse strength of the penalty.
    pub(super) c: f64,
    /// Units of the hidden layer.
    pub(super) hidden: usize,
    /// Of the first weights.
    pub(super) seed: u64,
}

/// The trained matrices.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    /// `[columns, hidden]`, the last row being the intercepts.
    first: Mat<f64>,
    /// `[hidden + 1, findings]`, the same.
    second: Mat<f64>,
}

/// Steps of Adam: the training loss of a few hundred texts no longer moves then.
const STEPS: i32 = 200;
/// Its learning rate, constant.
const RATE: f64 = 0.01;
/// Its decays, as Kingma and Ba 2015 have them.
const DECAYS: [f64; 2] = [0.9, 0.999];

impl Mlp<'_> {
    /// Trains it. A function of the input alone: one thread computes it.
    pub(super) fn train(&self) -> Trained {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        let mut first = drawn(&mut generator, self.design.columns(), self.hidden);
        let mut second = drawn(&mut generator, self.hidden + 1, self.findings);
        let (mut of_first, mut of_second) = (Adam::new(&first), Adam::new(&second));
        for step in 1..=STEPS {
            let network = Trained { first, second };
            let [slope_first, slope_second] = self.gradients(&network);
            Trained { first, second } = network;
            of_first.step(&mut first, &slope_first, step);
            of_second.step(&mut second, &slope_second, step);
        }
        Trained { first, second }
    }

    fn gradients(&self, network: &Trained) -> [Mat<f64>; 2] {
        let (count, x) = (self.design.len(), self.design.matrix());
        let active = network.hidden(self.design);
        let logits = scores(active.as_ref(), &network.second);
        let slope = Mat::from_fn(count, self.findings, |row, finding| {
            let at = row * self.findings + finding;
            self.weights[at] * (sigmoid(logits[(row, finding)]) - self.targets[at]) / count as f64
        });
        let decay = 1.0 / (self.c * count as f64);
        let mut second = penalty(&network.second, decay);
        matmul(&mut second, Accum::Add, active.transpose(), &slope, 1.0, Par::Seq);
        let mut back = scores(slope.as_ref(), &network.second.transpose().to_owned());
        for unit in 0..self.hidden {
            let (back, active) = (back.col_as_slice_mut(unit), active.col_as_slice(unit));
            back.iter_mut().zip(active).filter(|(_, active)| **active <= 0.0).for_each(|(back, _)| *back = 0.0);
        }
        let mut first = penalty(&network.first, decay);
        matmul(&mut first, Accum::Add, x.transpose(), back.as_ref().subcols(0, self.hidden), 1.0, Par::Seq);
        [first, second]
    }
}

impl Trained {
    /// Logits `[texts, findings]`.
    pub(super) fn scores(&self, design: &Design) -> Mat<f64> {
        scores(self.hidden(design).as_ref(), &self.second)
    }

    /// `[texts, hidden + 1]`, the last being 1.
    fn hidden(&self, design: &Design) -> Mat<f64> {
        let inner = scores(design.matrix(), &self.first);
        let units = inner.ncols();
        Mat::from_fn(design.len(), units + 1, |row, unit| if unit < units { inner[(row, unit)].max(0.0) } else { 1.0 })
    }
}

/// The slope of the penalty; the last row is not penalised.
fn penalty(weights: &Mat<f64>, decay: f64) -> Mat<f64> {
    let last = weights.nrows() - 1;
    Mat::from_fn(weights.nrows(), weights.ncols(), |row, column| if row < last { decay * weights[(row, column)] } else { 0.0 })
}

/// Normal with variance 2 / inputs (He et al. 2015, equation 10), the last row 0.
fn drawn(generator: &mut ChaCha8Rng, rows: usize, columns: usize) -> Mat<f64> {
    let deviation = (2.0 / (rows - 1).max(1) as f64).sqrt();
    let mut draw = || -> f64 { StandardNormal.sample(generator) };
    let mut weights = Mat::zeros(rows, columns);
    for row in 0..rows - 1 {
        (0..columns).for_each(|column| weights[(row, column)] = deviation * draw());
    }
    weights
}

struct Adam {
    mean: Mat<f64>,
    square: Mat<f64>,
}

impl Adam {
    fn new(weights: &Mat<f64>) -> Self {
        let zeros = || Mat::zeros(weights.nrows(), weights.ncols());
        Self { mean: zeros(), square: zeros() }
    }

    fn step(&mut self, weights: &mut Mat<f64>, slope: &Mat<f64>, step: i32) {
        let [of_mean, of_square] = DECAYS.map(|decay| 1.0 - decay.powi(step));
        for column in 0..weights.ncols() {
            let moments = self.mean.col_as_slice_mut(column).iter_mut().zip(self.square.col_as_slice_mut(column));
            let parts = weights.col_as_slice_mut(column).iter_mut().zip(slope.col_as_slice(column)).zip(moments);
            for ((weight, slope), (mean, square)) in parts {
                *mean += (1.0 - DECAYS[0]) * (slope - *mean);
                *square += (1.0 - DECAYS[1]) * (slope * slope - *square);
                *weight -= RATE * (*mean / of_mean) / ((*square / of_square).sqrt() + 1e-8);
            }
        }
    }
}
