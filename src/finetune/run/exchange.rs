//! Gradients of several devices into their sum.

use std::sync::{Barrier, Mutex, PoisonError};

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

/// How gradients are summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// burn's collective where devices have one (CUDA, by NCCL), else the host.
    #[default]
    Auto,
    /// Through main memory, in the order of the devices: on any device, and with the same bits each time.
    Host,
}

/// The meeting point of all devices of a run.
#[derive(Debug)]
pub enum Exchange {
    /// Through main memory.
    Host {
        /// All devices are here.
        barrier: Barrier,
        /// What each has brought.
        brought: Mutex<Vec<Option<TensorData>>>,
    },
    /// By burn's collective operations.
    Collective(Vec<Device>),
}

impl Exchange {
    /// The meeting point of `devices`.
    #[must_use]
    pub fn new(kind: ExchangeKind, devices: &[Device], collective: bool) -> Self {
        match kind {
            ExchangeKind::Auto if collective => Self::Collective(devices.to_vec()),
            _ => Self::Host { barrier: Barrier::new(devices.len()), brought: Mutex::new(vec![None; devices.len()]) },
        }
    }

    /// The sum of what all devices bring, each in a call of its own thread; all bring the same tensors in the same order.
    pub fn sum(&self, rank: usize, gradient: Tensor<1>) -> Tensor<1> {
        let (barrier, brought) = match self {
            Self::Collective(devices) => return all_reduce(gradient, ReduceOperation::Sum, devices.clone()).resolve(),
            Self::Host { barrier, brought } => (barrier, brought),
        };
        let lock = || brought.lock().unwrap_or_else(PoisonError::into_inner);
        let device = gradient.device();
        lock()[rank] = Some(gradient.into_data());
        barrier.wait();
        let parts = lock().clone();
        // Nobody brings the next before all have taken this.
        barrier.wait();
        let parts = parts.into_iter().flatten().map(|part| Tensor::<1>::from_data(part, &device));
        parts.reduce(|sum, part| sum + part).expect("this device has brought one")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_gets_the_sum() {
        let devices = vec![Device::flex(); 3];
        let exchange = Exchange::new(ExchangeKind::Auto, &devices, false);
        let sums = std::thread::scope(|scope| {
            let exchange = &exchange;
            let threads: Vec<_> = (0..3)
                .map(|rank| {
                    let bring = move |value: f32| Tensor::<1>::from_floats([value, 1.0], &Device::flex());
                    scope.spawn(move || {
                        let sums = (1..50).map(|i| exchange.sum(rank, bring((i * (rank + 1)) as f32)).into_data());
                        sums.map(|sum| sum.iter::<f32>().collect::<Vec<_>>()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        for sums in sums {
            assert_eq!(sums, (1..50).map(|i| vec![6.0 * i as f32, 3.0]).collect::<Vec<_>>());
        }
    }
}
