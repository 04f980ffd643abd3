//! Options with one value for all levels or one for each, and the ranges of values.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::DiffusionError;
use super::super::options::Options;

/// Far above any model, far below what overflows: the largest width is 1280.
pub(super) const WIDTH: RangeInclusive<usize> = 1..=65_536;
/// The same for numbers of layers, of which there are 2.
pub(super) const LAYERS: RangeInclusive<usize> = 1..=100;

/// One value for all levels, or one for each from the highest resolution to the lowest.
#[derive(Deserialize)]
#[serde(untagged, expecting = "one value or a list of them")]
pub(super) enum PerLevel<T> {
    One(T),
    Each(Vec<T>),
}

/// A value for each of `count` levels.
pub(super) fn per_level<T>(options: &mut Options, key: &str, default: T, count: usize) -> Result<Vec<T>, DiffusionError>
where
    T: Clone + DeserializeOwned,
{
    match options.take(key)? {
        None => Ok(vec![default; count]),
        Some(PerLevel::One(value)) => Ok(vec![value; count]),
        Some(PerLevel::Each(values)) => same_length(options, key, values.len(), count).map(|()| values),
    }
}

pub(super) fn same_length(options: &Options, key: &str, found: usize, count: usize) -> Result<(), DiffusionError> {
    match found == count {
        true => Ok(()),
        false => {
            Err(options.refuse(key, &format!("a list of {found}"), &format!("{count}, one for each of block_out_channels")))
        }
    }
}

pub(super) fn in_range(
    options: &Options,
    key: &str,
    values: &[usize],
    range: RangeInclusive<usize>,
) -> Result<(), DiffusionError> {
    match values.iter().find(|value| !range.contains(value)) {
        None => Ok(()),
        Some(value) => Err(options.refuse(key, &value.to_string(), &format!("{} to {}", range.start(), range.end()))),
    }
}
