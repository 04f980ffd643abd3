//! Words of reports as numbers, and back.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::LazyLock;

use regex::Regex;

/// Fills the places behind the end of a report.
pub(super) const PAD: usize = 0;
/// Stands before the first word.
pub(super) const BEGIN: usize = 1;
/// Any word that the vocabulary lacks.
pub(super) const OTHER: usize = 2;
/// Stands behind the last word.
pub(super) const END: usize = 3;
/// The numbers below this one are never written.
pub(super) const FIRST_WRITTEN: usize = END;

/// A number, a word with its dashes, slashes and apostrophes, or a single mark.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\p{N}+(?:[.,]\p{N}+)*|\p{L}[\p{L}\p{N}]*(?:['’/-][\p{L}\p{N}]+)*|\S").expect("a constant pattern")
});

/// The words that a decoder knows, in lower case. Numbers from 4 on are words, the most frequent first.
#[derive(Clone, Debug)]
pub(super) struct WordVocabulary {
    words: Vec<String>,
    numbers: HashMap<String, usize>,
}

impl WordVocabulary {
    /// The `most` words that are in most of these reports, of those that are in two at least; equally frequent ones by the alphabet.
    pub(super) fn new<'a>(reports: impl Iterator<Item = &'a str>, most: usize) -> Self {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for report in reports {
            let words: HashSet<String> = words(report).collect();
            words.into_iter().for_each(|word| *counts.entry(word).or_default() += 1);
        }
        let mut found: Vec<(String, usize)> = counts.into_iter().filter(|(_, reports)| *reports > 1).collect();
        found.sort_by_key(|(_, reports)| Reverse(*reports));
        let words: Vec<String> = found.into_iter().take(most).map(|(word, _)| word).collect();
        let numbers = words.iter().cloned().zip(END + 1..).collect();
        Self { words, numbers }
    }

    /// Number of words.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    /// V: the words and the four signs.
    pub(super) fn size(&self) -> usize {
        END + 1 + self.words.len()
    }

    /// The words of a report as numbers, without signs.
    pub(super) fn numbers(&self, report: &str) -> Vec<usize> {
        words(report).map(|word| self.numbers.get(&word).copied().unwrap_or(OTHER)).collect()
    }

    /// Numbers as text: sentences begin with a capital letter, marks stand where they belong.
    pub(super) fn text(&self, numbers: &[usize]) -> String {
        let words = numbers.iter().filter_map(|number| self.words.get(number.checked_sub(END + 1)?));
        let (mut text, mut begins, mut joined) = (String::new(), true, true);
        for word in words {
            let is_joined = joined || matches!(word.as_str(), "." | "," | ";" | ":" | "?" | "!" | ")" | "%");
            if !is_joined {
                text.push(' ');
            }
            let mut letters = word.chars();
            match letters.next() {
                Some(first) if begins => text.extend(first.to_uppercase().chain(letters)),
                _ => text.push_str(word),
            }
            begins = matches!(word.as_str(), "." | "?" | "!") || (begins && !word.contains(char::is_alphanumeric));
            joined = word == "(";
        }
        text
    }
}

fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    WORD.find_iter(text).map(|word| word.as_str().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_become_numbers_and_text_again() {
        let report = "1. Small left-sided effusion (2.5 cm), no x-ray sign of edema. Stable: 50% smaller?";
        let vocabulary = WordVocabulary::new([report, report, "Once only."].into_iter(), 100);
        // "." is in three reports, all others in two.
        assert_eq!((vocabulary.words[0].as_str(), vocabulary.len(), vocabulary.size()), (".", 21, 25));
        assert_eq!(vocabulary.text(&vocabulary.numbers(report)), report);
        assert_eq!(vocabulary.numbers("Once edema"), [OTHER, vocabulary.numbers["edema"]]);
        assert_eq!(vocabulary.text(&[BEGIN, OTHER, PAD, END]), "");
        assert_eq!(WordVocabulary::new([report, report].into_iter(), 3).len(), 3);
    }
}
