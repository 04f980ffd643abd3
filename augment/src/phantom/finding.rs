//! One finding of one film.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::random::{Stream, stream};
use super::{Pathology, Side, Zone};

/// A pathology with its side, zone, severity, and the seed of its exact shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhantomFinding {
    /// What it is.
    pub pathology: Pathology,
    /// Where it is; `None` for findings of the heart or of both lungs.
    pub side: Option<Side>,
    /// Where in the lung; `None` for findings without a zone.
    pub zone: Option<Zone>,
    /// `(0, 1]`: below 0.4 is mild, from 0.7 severe.
    pub severity: f32,
    /// Settles position and outline.
    pub shape: u64,
}

/// A severity in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Severity below 0.4.
    Mild,
    /// Severity from 0.4 to 0.7.
    Moderate,
    /// Severity from 0.7.
    Severe,
}

impl PhantomFinding {
    /// The finding of that seed: side and zone as frequent as one another, severities from 0.15 up.
    #[must_use]
    pub fn sample(pathology: Pathology, seed: u64) -> Self {
        let mut rng = stream(seed, Stream::FindingShape);
        let side = Side::BOTH.choose(&mut rng).copied().filter(|_| pathology.has_side());
        let zone = Zone::ALL.choose(&mut rng).copied().filter(|_| pathology.has_zone());
        Self { pathology, side, zone, severity: rng.random_range(0.15..=1.0), shape: rng.random() }
    }

    /// The severity in words.
    #[must_use]
    pub fn grade(&self) -> Grade {
        match self.severity {
            s if s < 0.4 => Grade::Mild,
            s if s < 0.7 => Grade::Moderate,
            _ => Grade::Severe,
        }
    }

    /// Diameter of a nodule (0.8 cm to 2.8 cm) or mass (3.2 cm to 7 cm); `None` for everything else.
    ///
    /// 3 cm divides the two (Fleischner Society glossary, Hansell et al., Radiology 2008).
    #[must_use]
    pub fn diameter_cm(&self) -> Option<f32> {
        match self.pathology {
            Pathology::Nodule => Some(0.8 + 2.0 * self.severity),
            Pathology::Mass => Some(3.2 + 3.8 * self.severity),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn side_and_zone_are_given_where_they_mean_something(seed: u64, index in 0..9usize) {
            let finding = PhantomFinding::sample(Pathology::ALL[index], seed);
            prop_assert_eq!(finding.side.is_some(), finding.pathology.has_side());
            prop_assert_eq!(finding.zone.is_some(), finding.pathology.has_zone());
            prop_assert!(finding.severity > 0.0 && finding.severity <= 1.0);
            let limit = finding.diameter_cm().map(|cm| (cm > 3.0) == (finding.pathology == Pathology::Mass));
            prop_assert!(limit.unwrap_or(true), "3 cm divides nodule from mass");
        }
    }
}
