//! The findings that the phantom can draw, and how often each occurs.

use std::fmt;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::PhantomFinding;
use crate::record::Finding;

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

    /// Whether it stays with a patient from image to image.
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

    /// Sign of x on the image: the patient's left is at positive x.
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

/// Odds of effusion and edema rise with an enlarged heart by this factor, as in heart failure; their overall rate stays put.
const HEART_FAILURE: f64 = 2.5;

/// Probability of each pathology on one image, in the order of [`Pathology::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prevalence([f64; 9]);

impl Prevalence {
    /// The rates of NIH ChestX-ray14: images with the label over 112,120 images (Wang et al., CVPR 2017, the counts of
    /// `Data_Entry_2017.csv`).
    #[must_use]
    pub fn nih() -> Self {
        Self([11_559.0, 2_776.0, 4_667.0, 2_303.0, 13_317.0, 2_516.0, 5_782.0, 6_331.0, 5_302.0].map(|n| n / 112_120.0))
    }

    /// Rates of 12 % to 20 %, so that a few hundred images hold enough of each pathology to learn from and to judge.
    #[must_use]
    pub fn enriched() -> Self {
        Self([0.15, 0.18, 0.15, 0.12, 0.20, 0.12, 0.12, 0.14, 0.14])
    }

    /// Nobody has anything.
    #[must_use]
    pub fn healthy() -> Self {
        Self([0.0; 9])
    }

    /// The same with another rate for one pathology; values outside `[0, 1]` are clipped.
    #[must_use]
    pub fn with(mut self, pathology: Pathology, rate: f64) -> Self {
        self.0[pathology as usize] = rate.clamp(0.0, 1.0);
        self
    }

    /// The rate of one pathology.
    #[must_use]
    pub fn rate(&self, pathology: Pathology) -> f64 {
        self.0[pathology as usize]
    }

    /// Draws the findings of `pathologies`; `heart_enlarged` is `None` where the heart is not known yet.
    pub(super) fn draw(&self, rng: &mut ChaCha8Rng, chronic: bool, heart_enlarged: bool) -> Vec<PhantomFinding> {
        let mut found = Vec::new();
        for pathology in Pathology::ALL {
            // Every pathology takes its draws whether or not it is present: one rate never moves another's findings.
            let (roll, seed): (f64, u64) = (rng.random(), rng.random());
            if pathology.is_chronic() == chronic && roll < self.conditional(pathology, heart_enlarged) {
                found.push(PhantomFinding::sample(pathology, seed));
            }
        }
        found
    }

    /// `P(pathology | heart)`, such that the total over hearts is `rate(pathology)`.
    fn conditional(&self, pathology: Pathology, heart_enlarged: bool) -> f64 {
        let rate = self.rate(pathology);
        if !matches!(pathology, Pathology::Edema | Pathology::Effusion) {
            return rate;
        }
        let enlarged = self.rate(Pathology::Cardiomegaly);
        let given_enlarged = (HEART_FAILURE * rate).min(1.0).min(if enlarged > 0.0 { rate / enlarged } else { 1.0 });
        if heart_enlarged {
            given_enlarged
        } else if enlarged < 1.0 {
            (rate - enlarged * given_enlarged) / (1.0 - enlarged)
        } else {
            rate
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Vocabulary;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn comorbidity_keeps_the_overall_rate(rate in 0.0..=1.0f64, enlarged in 0.0..=1.0f64) {
            let prevalence = Prevalence::healthy().with(Pathology::Cardiomegaly, enlarged).with(Pathology::Edema, rate);
            let (with, without) =
                (prevalence.conditional(Pathology::Edema, true), prevalence.conditional(Pathology::Edema, false));
            prop_assert!((0.0..=1.0 + 1e-12).contains(&with) && (-1e-12..=1.0 + 1e-12).contains(&without));
            prop_assert!((enlarged * with + (1.0 - enlarged) * without - rate).abs() < 1e-12);
        }
    }

    #[test]
    fn rates_keep_their_pathology() {
        // Wang et al. 2017: effusion is the most frequent of the nine, edema the rarest.
        let nih = Prevalence::nih();
        assert!(Pathology::ALL.iter().all(|&p| nih.rate(p) <= nih.rate(Pathology::Effusion)));
        assert!(Pathology::ALL.iter().all(|&p| nih.rate(p) >= nih.rate(Pathology::Edema)));
    }
}
