//! How much memory a run takes at least, and whether the machine has it.
//!
//! Estimates count tensors that can't be avoided, never all: what they refuse can't run, and what they let pass may still not fit.

use std::fmt;

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// A run takes more memory than the machine has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this run takes at least {need} of memory ({parts}), and the machine has {have}; lower {keys}")]
pub struct MemoryError {
    need: Bytes,
    have: Bytes,
    /// What takes it.
    parts: String,
    /// Settings that it depends on.
    keys: &'static str,
}

/// A number of bytes, written in GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} GiB", self.0 as f64 / (1u64 << 30) as f64)
    }
}

/// Least bytes of a run, part by part. Sums and products saturate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    parts: Vec<(&'static str, u64)>,
    keys: &'static str,
}

impl Estimate {
    /// Nothing so far; `keys` names the settings that make it smaller.
    #[must_use]
    pub fn new(keys: &'static str) -> Self {
        Self { parts: Vec::new(), keys }
    }

    /// And so many tensors of 32-bit floats with these sides, all held at once.
    #[must_use]
    pub fn with(mut self, what: &'static str, shape: &[usize]) -> Self {
        let floats = shape.iter().fold(1u64, |product, side| product.saturating_mul(*side as u64));
        self.parts.push((what, floats.saturating_mul(size_of::<f32>() as u64)));
        self
    }

    /// Bytes of all parts together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Refuses what `machine` bytes can't hold; `None` stands for a machine that does not tell.
    ///
    /// # Errors
    /// [`MemoryError`] with the estimate.
    pub fn check(&self, machine: Option<u64>) -> Result<(), MemoryError> {
        let need = self.bytes();
        match machine {
            Some(have) if need > have => {
                let parts: Vec<_> = self.parts.iter().map(|(what, bytes)| format!("{what} {}", Bytes(*bytes))).collect();
                Err(MemoryError { need: Bytes(need), have: Bytes(have), parts: parts.join(", "), keys: self.keys })
            }
            _ => Ok(()),
        }
    }
}

/// Memory and swap of this machine, or of the container that the program runs in, or the address space that the process may have
/// (`ulimit -v`): the least of them.
#[must_use]
pub fn machine_bytes() -> Option<u64> {
    let memory = MemoryRefreshKind::nothing().with_ram().with_swap();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    let (total, swap) = (system.total_memory(), system.total_swap());
    let bound = system.cgroup_limits().map(|limits| limits.total_memory).filter(|bound| *bound > 0);
    let total = bound.map_or(total, |bound| total.min(bound));
    let machine = (total > 0).then(|| total.saturating_add(swap));
    let space = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| address_space(&limits));
    machine.into_iter().chain(space).min()
}

/// The soft limit on the address space in Linux's table of a process's limits; `None` without one.
fn address_space(limits: &str) -> Option<u64> {
    let row = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    row.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_estimate() {
        let estimate = Estimate::new("preprocess.size").with("a batch", &[4, 1, 51_200, 51_200]).with("more", &[1 << 28]);
        assert_eq!(estimate.bytes(), 4 * 4 * 51_200 * 51_200 + (1 << 30));
        estimate.check(None).unwrap();
        estimate.check(Some(estimate.bytes())).unwrap();
        let error = estimate.check(Some(8 << 30)).unwrap_err().to_string();
        assert_eq!(
            error,
            "this run takes at least 40.1 GiB of memory (a batch 39.1 GiB, more 1.0 GiB), and the machine has 8.0 GiB; lower preprocess.size"
        );
    }

    #[test]
    fn products_saturate() {
        let estimate = Estimate::new("size").with("a batch", &[usize::MAX; 4]).with("another", &[usize::MAX]);
        assert_eq!(estimate.bytes(), u64::MAX);
        assert!(estimate.check(Some(u64::MAX - 1)).is_err());
    }

    #[test]
    fn a_limit_on_the_address_space_counts() {
        let table = |limit: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time              unlimited            unlimited            seconds   \nMax address space         {limit}           unlimited            bytes     \n"
            )
        };
        assert_eq!(address_space(&table("8192000000")), Some(8_192_000_000));
        assert_eq!(address_space(&table("unlimited")), None);
        assert_eq!(address_space(""), None);
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(machine_bytes().is_none_or(|bytes| bytes > 1 << 27));
    }
}
