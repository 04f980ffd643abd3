//! ROUGE (Lin 2004), as Google's rouge_score 0.1.2 without a stemmer.

use std::collections::HashMap;

use serde::Serialize;

use super::TextError;
use super::words::rouge_tokens;

/// Most tokens of one text: time and memory for the longest common subsequence grow with the square. Ten times the longest reports.
pub const MOST_TOKENS: usize = 5000;

/// Precision, recall and their harmonic mean, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct RougeScore {
    /// Share of the hypothesis that the reference has.
    pub precision: f64,
    /// Share of the reference that the hypothesis has.
    pub recall: f64,
    /// Harmonic mean.
    pub f1: f64,
}

/// ROUGE of one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rouge {
    /// Single words.
    pub one: RougeScore,
    /// Pairs of words.
    pub two: RougeScore,
    /// Longest common subsequence of the whole texts, line breaks being blanks.
    pub longest: RougeScore,
    /// The same by lines: for each line of the reference the union of its common subsequences with all lines of the hypothesis.
    pub longest_by_line: RougeScore,
}

impl Rouge {
    /// Compares a pair. A text without a word scores 0.
    ///
    /// # Errors
    /// [`TextError::Long`] for a text of more than [`MOST_TOKENS`] tokens, as report 0.
    pub fn new(reference: &str, hypothesis: &str) -> Result<Self, TextError> {
        let (theirs, ours) = (rouge_tokens(reference), rouge_tokens(hypothesis));
        for (which, tokens) in [("reference", &theirs), ("hypothesis", &ours)] {
            if tokens.len() > MOST_TOKENS {
                return Err(TextError::Long { which, report: 0, tokens: tokens.len() });
            }
        }
        Ok(Self {
            one: ngrams(&theirs, &ours, 1),
            two: ngrams(&theirs, &ours, 2),
            longest: RougeScore::new(Table::new(&theirs, &ours).length(), theirs.len(), ours.len()),
            longest_by_line: by_line(reference, hypothesis),
        })
    }
}

impl RougeScore {
    fn new(matched: usize, reference: usize, hypothesis: usize) -> Self {
        let share = |whole: usize| if whole == 0 { 0.0 } else { matched as f64 / whole as f64 };
        let (precision, recall) = (share(hypothesis), share(reference));
        let f1 = if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

fn ngrams(reference: &[String], hypothesis: &[String], order: usize) -> RougeScore {
    let mut left: HashMap<&[String], usize> = HashMap::new();
    reference.windows(order).for_each(|ngram| *left.entry(ngram).or_default() += 1);
    let mut matched = 0;
    for ngram in hypothesis.windows(order) {
        if let Some(left) = left.get_mut(ngram).filter(|left| **left > 0) {
            *left -= 1;
            matched += 1;
        }
    }
    let count = |tokens: &[String]| (tokens.len() + 1).saturating_sub(order);
    RougeScore::new(matched, count(reference), count(hypothesis))
}

fn by_line(reference: &str, hypothesis: &str) -> RougeScore {
    let lines =
        |text: &str| -> Vec<Vec<String>> { text.split('\n').filter(|line| !line.is_empty()).map(rouge_tokens).collect() };
    let (theirs, ours) = (lines(reference), lines(hypothesis));
    let (mut left_of_theirs, mut left_of_ours) = (frequencies(&theirs), frequencies(&ours));
    let mut matched = 0;
    for line in &theirs {
        let mut common = vec![false; line.len()];
        for other in &ours {
            Table::new(line, other).places().into_iter().for_each(|place| common[place] = true);
        }
        for token in line.iter().zip(common).filter(|(_, is_common)| *is_common).map(|(token, _)| token.as_str()) {
            // A word is matched as often as both texts have it, however many lines it is common to.
            let both = (left_of_theirs.get_mut(token), left_of_ours.get_mut(token));
            if let (Some(in_theirs @ 1..), Some(in_ours @ 1..)) = both {
                *in_theirs -= 1;
                *in_ours -= 1;
                matched += 1;
            }
        }
    }
    let count = |lines: &[Vec<String>]| lines.iter().map(Vec::len).sum();
    RougeScore::new(matched, count(&theirs), count(&ours))
}

fn frequencies(lines: &[Vec<String>]) -> HashMap<&str, usize> {
    let mut frequencies = HashMap::new();
    lines.iter().flatten().for_each(|token| *frequencies.entry(token.as_str()).or_default() += 1);
    frequencies
}

/// Lengths of the longest common subsequences of all beginnings of two texts.
struct Table<'a> {
    reference: &'a [String],
    hypothesis: &'a [String],
    /// Row-major, one row per token of the reference and one before, one column likewise.
    lengths: Vec<u16>,
}

impl<'a> Table<'a> {
    fn new(reference: &'a [String], hypothesis: &'a [String]) -> Self {
        let width = hypothesis.len() + 1;
        let mut lengths = vec![0_u16; (reference.len() + 1) * width];
        for (i, theirs) in reference.iter().enumerate() {
            let (above, row) = lengths[i * width..][..2 * width].split_at_mut(width);
            for (j, ours) in hypothesis.iter().enumerate() {
                row[j + 1] = if theirs == ours { above[j] + 1 } else { row[j].max(above[j + 1]) };
            }
        }
        Self { reference, hypothesis, lengths }
    }

    fn at(&self, i: usize, j: usize) -> u16 {
        self.lengths[i * (self.hypothesis.len() + 1) + j]
    }

    fn length(&self) -> usize {
        usize::from(self.at(self.reference.len(), self.hypothesis.len()))
    }

    /// Places in the reference of one longest common subsequence: of several the one that rouge_score takes.
    fn places(&self) -> Vec<usize> {
        let (mut i, mut j, mut places) = (self.reference.len(), self.hypothesis.len(), Vec::new());
        while i > 0 && j > 0 {
            if self.reference[i - 1] == self.hypothesis[j - 1] {
                (i, j) = (i - 1, j - 1);
                places.push(i);
            } else if self.at(i, j - 1) > self.at(i - 1, j) {
                j -= 1;
            } else {
                i -= 1;
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn lins_example() {
        // Lin 2004, section 3: "police kill the gunman" has the same words in another order, "the gunman kill police" only two in order.
        let of = |hypothesis: &str| Rouge::new("police killed the gunman", hypothesis).unwrap();
        assert_eq!((of("police kill the gunman").longest.f1, of("the gunman kill police").longest.f1), (0.75, 0.5));
        assert_eq!((of("police kill the gunman").two.f1, of("the gunman kill police").two.f1), (1.0 / 3.0, 1.0 / 3.0));
    }

    #[test]
    fn unions_over_lines() {
        // Lin 2004, section 3.2: w1 w2 w3 w4 w5 against "w1 w2 w6 w7 w8" and "w1 w3 w8 w9 w5": the union is w1 w2 w3 w5, recall 4/5.
        let found = Rouge::new("w1 w2 w3 w4 w5", "w1 w2 w6 w7 w8\nw1 w3 w8 w9 w5").unwrap().longest_by_line;
        assert_eq!((found.recall, found.precision), (0.8, 0.4));
    }

    #[test]
    fn texts_without_words_and_too_long_ones() {
        for (reference, hypothesis) in [("", "a"), ("a", ""), ("", ""), ("...", "a"), ("a", "\n\n.")] {
            assert_eq!(Rouge::new(reference, hypothesis).unwrap(), Rouge::default(), "{reference} {hypothesis}");
        }
        assert_eq!(Rouge::new("one", "one").unwrap().two, RougeScore::default());
        let long = "a ".repeat(MOST_TOKENS + 1);
        let refused = Rouge::new("a", &long).unwrap_err();
        assert!(
            matches!(refused, TextError::Long { which: "hypothesis", tokens, .. } if tokens == MOST_TOKENS + 1),
            "{refused}"
        );
    }

    proptest! {
        #[test]
        fn swapping_swaps_and_itself_is_perfect(first in prop::collection::vec("[a-d]", 1..25), second in prop::collection::vec("[a-d]", 1..25)) {
            let (one, other) = (first.join(" "), second.join(" "));
            let (there, back) = (Rouge::new(&one, &other).unwrap(), Rouge::new(&other, &one).unwrap());
            for (there, back) in [(there.one, back.one), (there.two, back.two), (there.longest, back.longest)] {
                prop_assert_eq!((there.precision, there.recall), (back.recall, back.precision));
                prop_assert!((0.0..=1.0).contains(&there.f1));
            }
            // Of texts of one line, both subsequences are the same; in order there is no more than out of order.
            prop_assert_eq!(there.longest, there.longest_by_line);
            prop_assert!(there.longest.recall <= there.one.recall && there.two.recall <= there.one.recall + 1e-12 || first.len() == 1);
            prop_assert_eq!(Rouge::new(&one, &one).unwrap().longest.f1, 1.0);
        }
    }
}
