//! One finding of one image, and the template text that names it: what a terse reader would dictate, made by rule, never a
//! report of a person.

use rand::RngExt;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::noise::{Purpose, rng};
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
        let mut rng = rng(seed, Purpose::FindingShape);
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

/// What is said where nothing is drawn.
const NORMAL: &str = "No acute cardiopulmonary abnormality.";

/// One sentence a finding, in order.
pub(super) fn template_text(findings: &[PhantomFinding]) -> String {
    if findings.is_empty() {
        return NORMAL.to_owned();
    }
    findings.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

fn sentence(finding: &PhantomFinding) -> String {
    let side = finding.side.map(|side| format!("{side} ")).unwrap_or_default();
    let zone = finding.zone.map(|zone| format!("{zone} zone ")).unwrap_or_default();
    let size = |small, medium, large| match finding.grade() {
        Grade::Mild => small,
        Grade::Moderate => medium,
        Grade::Severe => large,
    };
    let text = match finding.pathology {
        Pathology::Atelectasis => format!("{} {side}basal atelectasis", size("mild", "moderate", "marked")),
        Pathology::Cardiomegaly => format!("{} cardiomegaly", size("mild", "moderate", "severe")),
        Pathology::Consolidation => format!("{} {side}{zone}consolidation", size("patchy", "moderate", "dense")),
        Pathology::Edema => format!("{} pulmonary edema", size("mild", "moderate", "severe")),
        Pathology::Effusion => format!("{} {side}pleural effusion", size("small", "moderate", "large")),
        Pathology::Emphysema => format!("{} emphysema", size("mild", "moderate", "severe")),
        Pathology::Mass | Pathology::Nodule => {
            let cm = finding.diameter_cm().expect("masses and nodules have a diameter");
            let noun = if finding.pathology == Pathology::Mass { "mass" } else { "nodule" };
            format!("{cm:.1} cm {side}{zone}{noun}")
        }
        Pathology::Pneumothorax => format!("{} {side}pneumothorax", size("small", "moderate", "large")),
    };
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>() + ".").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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

    #[test]
    fn reads_like_a_terse_reader() {
        let effusion =
            PhantomFinding { pathology: Pathology::Effusion, side: Some(Side::Left), zone: None, severity: 0.5, shape: 0 };
        let nodule = PhantomFinding {
            pathology: Pathology::Nodule,
            side: Some(Side::Right),
            zone: Some(Zone::Upper),
            severity: 0.5,
            shape: 0,
        };
        assert_eq!(template_text(&[effusion, nodule]), "Moderate left pleural effusion. 1.8 cm right upper zone nodule.");
        assert_eq!(template_text(&[]), NORMAL);
    }

    #[test]
    fn every_finding_is_named_with_its_side() {
        for pathology in Pathology::ALL {
            for seed in 0..20 {
                let finding = PhantomFinding::sample(pathology, seed);
                let text = template_text(std::slice::from_ref(&finding)).to_lowercase();
                assert!(text.contains(&pathology.finding().name().to_lowercase()), "{text}");
                assert_eq!(text.contains("left"), finding.side == Some(Side::Left), "{text}");
                assert_eq!(text.contains("right"), finding.side == Some(Side::Right), "{text}");
            }
        }
    }
}
