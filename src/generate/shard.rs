//! A part of a job that many machines share.

use std::fmt;
use std::str::FromStr;

/// Part `index` of `count`, `1/1` for all of it: items `index - 1`, `index - 1 + count`, … of a list.
///
/// The parts of one list share no item and leave none out, so that machines need no communication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

/// Parts of one job at most.
const MOST_PARTS: usize = 1_000_000;

impl Shard {
    /// Everything.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Whether item `position` (from 0) belongs to this part.
    #[must_use]
    pub fn has(self, position: usize) -> bool {
        position % self.count == self.index - 1
    }

    /// The items of this part.
    pub fn of<T>(self, items: &[T]) -> impl Iterator<Item = &T> {
        items.iter().skip(self.index - 1).step_by(self.count)
    }

    /// Whether this is everything.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.count == 1
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((_, count)) if count > MOST_PARTS => Err(format!("expected at most {MOST_PARTS} parts")),
            Some((index, count)) if index >= 1 && index <= count => Ok(Self { index, count }),
            _ => Err("expected a part such as 3/8: the third of eight, counted from 1".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
        for bad in ["0/4", "5/4", "1/0", "1", "a/b", "", "-1/2"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(items in 0usize..200, count in 1usize..20) {
            let items: Vec<usize> = (0..items).collect();
            let mut all = Vec::new();
            for index in 1..=count {
                let shard: Shard = format!("{index}/{count}").parse().unwrap();
                prop_assert!(shard.of(&items).all(|item| shard.has(*item)));
                all.extend(shard.of(&items).copied());
            }
            all.sort_unstable();
            prop_assert_eq!(all, items);
        }
    }
}
