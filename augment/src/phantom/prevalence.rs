//! How often each pathology occurs.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Pathology, PhantomFinding};

/// Odds of effusion and edema rise with an enlarged heart by this factor, as in heart failure; their overall rate stays put.
const HEART_FAILURE: f64 = 2.5;

/// Probability of each pathology on one film, in the order of [`Pathology::ALL`].
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

    /// Rates of 12 % to 20 %, so that a few hundred films hold enough of each pathology to learn from and to judge.
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
    use proptest::prelude::*;

    use super::*;

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
