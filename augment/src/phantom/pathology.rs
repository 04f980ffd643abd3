//! The findings that the phantom can draw.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Finding;

/// A finding that the phantom can draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pathology {
    /// Plate-like bands at a lung base, a raised hemidiaphragm, the mediastinum pulled over.
    Atelectasis,
    /// A heart wider than half the thorax.
    Cardiomegaly,
    /// A patch of fluid-filled air spaces.
    Consolidation,
    /// Perihilar haze and crowded vessels on both sides.
    Edema,
    /// Fluid in the pleural space, with a meniscus.
    Effusion,
    /// Dark, overinflated lungs with few vessels over flat diaphragms.
    Emphysema,
    /// A rounded opacity over 3 cm.
    Mass,
    /// A rounded opacity up to 3 cm.
    Nodule,
    /// Air in the pleural space: a pleural line with no vessels beyond it.
    Pneumothorax,
}

impl Pathology {
    /// All of them, in alphabetical order.
    pub const ALL: [Self; 9] = [
        Self::Atelectasis,
        Self::Cardiomegaly,
        Self::Consolidation,
        Self::Edema,
        Self::Effusion,
        Self::Emphysema,
        Self::Mass,
        Self::Nodule,
        Self::Pneumothorax,
    ];

    /// The label it is known by.
    #[must_use]
    pub fn finding(self) -> Finding {
        let name = match self {
            Self::Atelectasis => "Atelectasis",
            Self::Cardiomegaly => "Cardiomegaly",
            Self::Consolidation => "Consolidation",
            Self::Edema => "Edema",
            Self::Effusion => "Effusion",
            Self::Emphysema => "Emphysema",
            Self::Mass => "Mass",
            Self::Nodule => "Nodule",
            Self::Pneumothorax => "Pneumothorax",
        };
        Finding::parse(name).expect("every pathology is a known finding")
    }

    /// The pathology of that label, if the phantom draws it.
    #[must_use]
    pub fn of(finding: Finding) -> Option<Self> {
        Self::ALL.into_iter().find(|pathology| pathology.finding() == finding)
    }

    /// The closest thing to `finding` that the phantom draws: itself, or the look-alike of a label it has no drawing for.
    ///
    /// `None` for findings that it can't imitate (`Hernia`, `Fracture`, …) and for `No Finding`.
    #[must_use]
    pub fn look_alike(finding: Finding) -> Option<Self> {
        Self::of(finding).or(match finding.name() {
            "Pneumonia" | "Infiltration" | "Lung Opacity" => Some(Self::Consolidation),
            "Lung Lesion" => Some(Self::Nodule),
            "Enlarged Cardiomediastinum" => Some(Self::Cardiomegaly),
            _ => None,
        })
    }

    /// Whether it belongs to one lung; the others are of the heart or of both lungs.
    #[must_use]
    pub fn has_side(self) -> bool {
        !matches!(self, Self::Cardiomegaly | Self::Edema | Self::Emphysema)
    }

    /// Whether it sits in one zone of a lung.
    #[must_use]
    pub fn has_zone(self) -> bool {
        matches!(self, Self::Consolidation | Self::Mass | Self::Nodule)
    }

    /// Whether it stays with a patient from film to film.
    #[must_use]
    pub fn is_chronic(self) -> bool {
        matches!(self, Self::Cardiomegaly | Self::Emphysema | Self::Mass | Self::Nodule)
    }
}

/// The patient's side. The patient's left is on the viewer's right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The patient's left.
    Left,
    /// The patient's right.
    Right,
}

impl Side {
    /// Both, left first.
    pub const BOTH: [Self; 2] = [Self::Left, Self::Right];

    /// Sign of x on the film: the patient's left is at positive x.
    pub(super) fn sign(self) -> f32 {
        match self {
            Self::Left => 1.0,
            Self::Right => -1.0,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}

/// A third of the lung's height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// The upper third.
    Upper,
    /// The middle third.
    Mid,
    /// The lower third.
    Lower,
}

impl Zone {
    /// All three, from the top.
    pub const ALL: [Self; 3] = [Self::Upper, Self::Mid, Self::Lower];

    /// Centre of the zone as a fraction of the lung's height below its apex.
    pub(super) fn centre(self) -> f32 {
        match self {
            Self::Upper => 0.24,
            Self::Mid => 0.50,
            Self::Lower => 0.74,
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upper => "upper",
            Self::Mid => "mid",
            Self::Lower => "lower",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Vocabulary;

    #[test]
    fn pathologies_and_findings_agree() {
        for pathology in Pathology::ALL {
            assert_eq!(Pathology::of(pathology.finding()), Some(pathology));
        }
        let drawn = Vocabulary::nih().findings().iter().filter(|f| Pathology::of(**f).is_some()).count();
        assert_eq!(drawn, 9, "all nine are in NIH ChestX-ray14's vocabulary");
    }

    #[test]
    fn look_alikes_never_stand_in_for_no_finding() {
        for (name, expected) in [("No Finding", None), ("Hernia", None), ("Pneumonia", Some(Pathology::Consolidation))] {
            assert_eq!(Pathology::look_alike(Finding::parse(name).unwrap()), expected);
        }
    }
}
