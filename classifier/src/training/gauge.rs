//! Numbers that a step reports as they are, as burn-train metrics.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::TensorReadError;
use burn::train::metric::{Metric, MetricMetadata, MetricName, Numeric, NumericEntry, SerializedEntry};

/// What a gauge shows.
pub trait Reading: Send + Sync + 'static {
    /// Name of the metric.
    const NAME: &'static str;
    /// The number.
    fn value(&self) -> f64;
}

/// Loss of a step, or of a validation.
#[derive(Clone, Copy, Debug)]
pub struct Loss(pub f64);

impl Reading for Loss {
    const NAME: &'static str = "loss";
    fn value(&self) -> f64 {
        self.0
    }
}

/// Macro AUROC over the whole validation set; NaN where it is undefined.
#[derive(Clone, Copy, Debug)]
pub struct MacroAuroc(pub f64);

impl Reading for MacroAuroc {
    const NAME: &'static str = "macro_auroc";
    fn value(&self) -> f64 {
        self.0
    }
}

/// Where a [`Gauge`] leaves its mean at the end of a round; NaN before the first.
///
/// burn-train's event store counts rounds from where a run was entered, so a resumed run would look up the wrong one.
#[derive(Clone, Debug)]
pub struct Dial(Arc<Mutex<f64>>);

impl Default for Dial {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(f64::NAN)))
    }
}

impl Dial {
    /// The newest mean.
    #[must_use]
    pub fn read(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mean: f64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = mean;
    }
}

/// The mean of a [`Reading`] over a round.
pub struct Gauge<R> {
    dial: Dial,
    last: f64,
    sum: f64,
    count: usize,
    reading: PhantomData<fn() -> R>,
}

impl<R> Clone for Gauge<R> {
    fn clone(&self) -> Self {
        Self { dial: self.dial.clone(), reading: PhantomData, ..*self }
    }
}

impl<R> Gauge<R> {
    /// A gauge that shows its means on `dial`.
    #[must_use]
    pub fn new(dial: Dial) -> Self {
        Self { dial, last: f64::NAN, sum: 0.0, count: 0, reading: PhantomData }
    }

    fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }
}

impl<R: Reading> Metric for Gauge<R> {
    type Input = R;

    fn name(&self) -> MetricName {
        Arc::new(R::NAME.to_owned())
    }

    fn update(&mut self, item: &R, _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        self.last = item.value();
        self.sum += self.last;
        self.count += 1;
        Ok(SerializedEntry::new(format!("{:.4}", self.mean()), NumericEntry::Value(self.last).serialize()))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        self.dial.set(self.mean());
        Ok(SerializedEntry::new(format!("{:.4}", self.mean()), NumericEntry::Final(self.mean()).serialize()))
    }

    fn clear(&mut self) {
        *self = Self::new(self.dial.clone());
    }
}

impl<R: Reading> Numeric for Gauge<R> {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.last))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.mean()))
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.mean())
    }
}
