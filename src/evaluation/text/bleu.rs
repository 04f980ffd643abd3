//! BLEU-4 (Papineni et al. 2002), in the readings of sacrebleu and nltk.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::words::{mteval_13a, split, without_end};

/// Longest n-grams.
const ORDER: usize = 4;

/// How a text becomes tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BleuTokens {
    /// mteval-v13a's, punctuation apart: sacrebleu's default.
    #[default]
    #[serde(rename = "13a")]
    Mteval13a,
    /// What stands between blanks: sacrebleu's `none`.
    None,
}

/// What BLEU is made from. Counts of several pairs add up to those of the corpus.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BleuCounts {
    /// N-grams of orders 1 to 4 that the reference has too, each as often as it has it.
    pub matched: [u64; ORDER],
    /// All n-grams of the hypothesis.
    pub total: [u64; ORDER],
    /// Tokens of the hypothesis.
    pub hypothesis: u64,
    /// Tokens of the reference.
    pub reference: u64,
}

/// BLEU-4 with its parts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// Precisions of orders 1 to 4, from 0 to 100, smoothed where nothing matched.
    pub precisions: [f64; ORDER],
    /// At most 1; below where hypotheses are shorter than references.
    pub brevity_penalty: f64,
    /// What it is made from.
    pub counts: BleuCounts,
}

impl BleuCounts {
    /// Counts a pair.
    #[must_use]
    pub fn new(reference: &str, hypothesis: &str, tokens: BleuTokens, lowercase: bool) -> Self {
        let line = |text: &str| {
            let text = if lowercase { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
            match tokens {
                BleuTokens::Mteval13a => Cow::Owned(mteval_13a(without_end(&text))),
                BleuTokens::None => Cow::Owned(text.into_owned()),
            }
        };
        let (reference, hypothesis): (Cow<'_, str>, Cow<'_, str>) = (line(reference), line(hypothesis));
        Self::of(&split(&reference).collect::<Vec<_>>(), &split(&hypothesis).collect::<Vec<_>>())
    }

    fn of(reference: &[&str], hypothesis: &[&str]) -> Self {
        let mut counts = Self { hypothesis: hypothesis.len() as u64, reference: reference.len() as u64, ..Self::default() };
        for order in 1..=ORDER {
            let mut theirs: HashMap<&[&str], u64> = HashMap::new();
            reference.windows(order).for_each(|ngram| *theirs.entry(ngram).or_default() += 1);
            for ngram in hypothesis.windows(order) {
                counts.total[order - 1] += 1;
                if let Some(left) = theirs.get_mut(ngram).filter(|left| **left > 0) {
                    *left -= 1;
                    counts.matched[order - 1] += 1;
                }
            }
        }
        counts
    }

    /// Adds another pair's counts, `times` times.
    pub fn add(&mut self, other: &Self, times: u32) {
        let times = u64::from(times);
        for order in 0..ORDER {
            self.matched[order] += times * other.matched[order];
            self.total[order] += times * other.total[order];
        }
        self.hypothesis += times * other.hypothesis;
        self.reference += times * other.reference;
    }

    /// BLEU of a corpus: sacrebleu 2.6's `corpus_bleu`, exponential smoothing where an order matches nothing.
    #[must_use]
    pub fn corpus(&self) -> Bleu {
        self.bleu(false)
    }

    /// BLEU of a single pair: sacrebleu 2.6's `sentence_bleu`, which leaves out the orders that the hypothesis is too short for. The mean
    /// over pairs is not the corpus' BLEU.
    #[must_use]
    pub fn sentence(&self) -> Bleu {
        self.bleu(true)
    }

    fn bleu(&self, effective_order: bool) -> Bleu {
        let brevity_penalty = brevity_penalty(self.hypothesis, self.reference);
        let mut precisions = [0.0; ORDER];
        let result = |score, precisions| Bleu { score, precisions, brevity_penalty, counts: *self };
        if self.matched.iter().all(|&matched| matched == 0) {
            return result(0.0, precisions);
        }
        // Method 3 of Chen & Cherry 2014: the first order without a match counts half a match, the next a quarter.
        let (mut smooth, mut orders) = (1.0, 0);
        for ((precision, &matched), &total) in precisions.iter_mut().zip(&self.matched).zip(&self.total) {
            if total == 0 {
                break;
            }
            orders += 1;
            *precision = if matched == 0 {
                smooth *= 2.0;
                100.0 / (smooth * total as f64)
            } else {
                100.0 * matched as f64 / total as f64
            };
        }
        if !effective_order && orders < ORDER {
            return result(0.0, precisions);
        }
        let logs: f64 = precisions[..orders].iter().map(|precision| precision.ln()).sum();
        result(brevity_penalty * (logs / orders as f64).exp(), precisions)
    }
}

/// Counts of nltk's `corpus_bleu`, which takes every pair to have at least one n-gram of every order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NltkCounts(BleuCounts);

impl NltkCounts {
    /// Counts a pair after lower-casing, of what stands between blanks.
    #[must_use]
    pub fn new(reference: &str, hypothesis: &str) -> Self {
        let mut counts = BleuCounts::new(reference, hypothesis, BleuTokens::None, true);
        counts.total.iter_mut().for_each(|total| *total = (*total).max(1));
        Self(counts)
    }

    /// Adds another pair's counts, `times` times.
    pub fn add(&mut self, other: &Self, times: u32) {
        self.0.add(&other.0, times);
    }

    /// nltk 3.10's `corpus_bleu` without a smoothing function, from 0 to 1. An order that matches nothing makes it all but 0 (1e-78 or
    /// so).
    #[must_use]
    pub fn corpus(&self) -> f64 {
        let BleuCounts { matched, total, hypothesis, reference } = self.0;
        if matched[0] == 0 {
            return 0.0;
        }
        let shares = matched
            .iter()
            .zip(&total)
            .map(|(&matched, &total)| if matched == 0 { f64::MIN_POSITIVE } else { matched as f64 / total as f64 });
        let logs: f64 = shares.map(|share| share.ln() / ORDER as f64).sum();
        brevity_penalty(hypothesis, reference) * logs.exp()
    }
}

fn brevity_penalty(hypothesis: u64, reference: u64) -> f64 {
    match hypothesis {
        _ if hypothesis >= reference => 1.0,
        0 => 0.0,
        _ => (1.0 - reference as f64 / hypothesis as f64).exp(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn counts(reference: &str, hypothesis: &str) -> BleuCounts {
        BleuCounts::new(reference, hypothesis, BleuTokens::None, false)
    }

    #[test]
    fn words_count_as_often_as_the_reference_has_them() {
        // The example of Papineni et al. 2002: seven times "the" against a reference with two.
        let found = counts("the cat is on the mat", "the the the the the the the");
        assert_eq!((found.matched, found.total), ([2, 0, 0, 0], [7, 6, 5, 4]));
        // Smoothed: 2/7, 1/12, 1/20, 1/32.
        let expected = (2.0 / 7.0 / 12.0 / 20.0 / 32.0_f64).powf(0.25) * 100.0;
        assert!((found.corpus().score - expected).abs() < 1e-12);
    }

    #[test]
    fn short_and_empty_hypotheses() {
        let short = counts("no acute process", "no acute");
        // Orders 1 and 2 are perfect; half as long again is missing.
        assert!((short.sentence().score - 100.0 * (1.0 - 1.5_f64).exp()).abs() < 1e-12);
        assert_eq!((short.corpus().score, short.corpus().precisions), (0.0, [100.0, 100.0, 0.0, 0.0]));
        for (reference, hypothesis) in [("a b c d", ""), ("", "a b c d"), ("", "")] {
            let found = counts(reference, hypothesis);
            assert_eq!((found.corpus().score, found.sentence().score), (0.0, 0.0));
            assert_eq!(NltkCounts::new(reference, hypothesis).corpus(), 0.0);
        }
        assert_eq!(counts("a b c d", "").corpus().brevity_penalty, 0.0);
    }

    #[test]
    fn case_and_punctuation_depend_on_the_reading() {
        let of = |tokens, lowercase| {
            BleuCounts::new("Heart size is normal.", "heart size is normal .", tokens, lowercase).corpus().score
        };
        assert!(of(BleuTokens::Mteval13a, true) > 99.999);
        assert!(of(BleuTokens::Mteval13a, false) < 99.0 && of(BleuTokens::None, true) < 99.0);
    }

    proptest! {
        #[test]
        fn a_text_against_itself_is_perfect_and_scores_are_in_range(words in prop::collection::vec("[a-c]{1,2}", 4..30), other in prop::collection::vec("[a-c]{1,2}", 0..30)) {
            let (text, other) = (words.join(" "), other.join(" "));
            let itself = counts(&text, &text);
            prop_assert!((itself.corpus().score - 100.0).abs() < 1e-9 && (itself.sentence().score - 100.0).abs() < 1e-9);
            prop_assert!((NltkCounts::new(&text, &text).corpus() - 1.0).abs() < 1e-9);
            let apart = counts(&text, &other);
            for score in [apart.corpus().score, apart.sentence().score, 100.0 * NltkCounts::new(&text, &other).corpus()] {
                prop_assert!((0.0..=100.0 + 1e-9).contains(&score), "{}", score);
            }
            // The corpus of twice the same pair is the pair.
            let mut twice = apart;
            twice.add(&apart, 1);
            prop_assert!(twice.matched.iter().zip(&apart.matched).all(|(twice, once)| *twice == 2 * once));
            let mut times = BleuCounts::default();
            times.add(&apart, 2);
            prop_assert_eq!(twice, times);
        }
    }
}
