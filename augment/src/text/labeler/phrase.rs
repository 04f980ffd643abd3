//! Phrases as rules write them, and the automaton that finds all of them in a sentence at once.

use std::collections::HashMap;
use std::ops::Range;

use super::tokens::Tokens;

/// Most words of a phrase, gaps included.
const MOST_WORDS: usize = 32;

/// Most ways in which the alternatives of one phrase can be chosen.
const MOST_WAYS: usize = 2048;

/// Most states of an automaton: a hundred times those of the rules that come with the program.
const MOST_NODES: usize = 2_000_000;

/// Most gaps of a phrase: each multiplies the ways in which it can be found.
const MOST_GAPS: usize = 3;

/// Most words that a gap skips.
const GAP: usize = 3;

/// What is wrong with a phrase of a file of rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PhraseFault {
    /// Brackets without their partner, or in one another.
    #[error("brackets don't match; write alternatives as `(a|b c)`")]
    Brackets,
    /// Nothing to be found.
    #[error("it has no word")]
    Empty,
    /// A gap at an end, or beside another, or too many.
    #[error("a gap `...` is between two words, and a phrase has at most {MOST_GAPS}")]
    Gap,
    /// Too many words.
    #[error("it has more than {MOST_WORDS} words; cut it")]
    Long,
    /// Too many phrases in the file.
    #[error("the phrases of the file make more than {MOST_NODES} states; write fewer of them")]
    Many,
    /// Too many alternatives.
    #[error("its alternatives make more than {MOST_WAYS} phrases; write some of them out")]
    Ways,
    /// A star where none can be.
    #[error("`*` ends a word of at least three letters")]
    Star,
}

/// A word of a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    /// That word.
    Is(String),
    /// Every word that begins so.
    Begins(String),
    /// Up to [`GAP`] words.
    Gap,
}

/// All phrases of a set of rules; each has a number.
#[derive(Debug, Default)]
pub(super) struct Automaton {
    words: HashMap<Box<str>, u32>,
    beginnings: HashMap<Box<str>, u32>,
    shortest: usize,
    longest: usize,
    edges: HashMap<(u32, u32), u32>,
    nodes: Vec<Node>,
    /// Words that no gap skips.
    stops: Vec<u32>,
}

#[derive(Debug, Default)]
struct Node {
    gap: Option<u32>,
    phrases: Vec<u32>,
}

/// A phrase in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its number.
    pub(super) phrase: u32,
    /// Its tokens.
    pub(super) tokens: Range<usize>,
    /// Which of the tokens, counted from its first, a gap skipped.
    pub(super) skipped: u128,
}

/// What is reused from sentence to sentence: the known words at each token.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    ids: Vec<u32>,
    ends: Vec<usize>,
    stops: Vec<bool>,
}

impl Automaton {
    /// An automaton without phrases, whose gaps skip none of `stops` and no mark of punctuation.
    pub(super) fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let mut automaton = Self { nodes: vec![Node::default()], shortest: usize::MAX, ..Self::default() };
        automaton.stops = stops.iter().map(|word| automaton.word(&Word::Is(word.as_ref().to_lowercase()))).collect();
        automaton
    }

    /// Adds a phrase: words; `(a|b c)` for alternatives, `(a|)` for what may be absent, `atelecta*` for every word that begins so, and
    /// ` ... ` for up to three words between two others.
    pub(super) fn add(&mut self, phrase: &str, number: u32) -> Result<(), PhraseFault> {
        for words in ways(phrase)? {
            if self.nodes.len() > MOST_NODES {
                return Err(PhraseFault::Many);
            }
            let mut node = 0;
            for word in &words {
                node = match word {
                    Word::Gap => match self.nodes[node as usize].gap {
                        Some(next) => next,
                        None => {
                            let next = self.node();
                            self.nodes[node as usize].gap = Some(next);
                            next
                        }
                    },
                    word => {
                        let word = self.word(word);
                        match self.edges.get(&(node, word)) {
                            Some(next) => *next,
                            None => {
                                let next = self.node();
                                self.edges.insert((node, word), next);
                                next
                            }
                        }
                    }
                };
            }
            let phrases = &mut self.nodes[node as usize].phrases;
            if !phrases.contains(&number) {
                phrases.push(number);
            }
        }
        Ok(())
    }

    fn node(&mut self) -> u32 {
        self.nodes.push(Node::default());
        self.nodes.len() as u32 - 1
    }

    fn word(&mut self, word: &Word) -> u32 {
        let next = (self.words.len() + self.beginnings.len()) as u32;
        match word {
            Word::Begins(letters) => {
                self.shortest = self.shortest.min(letters.len());
                self.longest = self.longest.max(letters.len());
                *self.beginnings.entry(letters.as_str().into()).or_insert(next)
            }
            Word::Is(letters) => *self.words.entry(letters.as_str().into()).or_insert(next),
            Word::Gap => unreachable!("gaps are edges without a word"),
        }
    }

    /// Every phrase in the sentence, in the order of their first tokens.
    pub(super) fn find(&self, tokens: &Tokens, scratch: &mut Scratch, found: &mut Vec<Found>) {
        found.clear();
        scratch.ids.clear();
        scratch.ends.clear();
        scratch.stops.clear();
        for at in 0..tokens.len() {
            let (word, first) = (tokens.get(at), scratch.ids.len());
            scratch.ids.extend(self.words.get(word));
            let lengths = self.shortest..=self.longest.min(word.len());
            let beginnings = lengths.filter_map(|length| self.beginnings.get(word.get(..length)?));
            scratch.ids.extend(beginnings);
            scratch.stops.push(tokens.is_mark(at) || scratch.ids[first..].iter().any(|id| self.stops.contains(id)));
            scratch.ends.push(scratch.ids.len());
        }
        for start in 0..tokens.len() {
            self.walk(scratch, start, Place { node: 0, at: start, skipped: 0 }, found);
        }
    }

    /// The phrases that begin at `start` and go on from `place`.
    fn walk(&self, scratch: &Scratch, start: usize, place: Place, found: &mut Vec<Found>) {
        let Place { node, at, skipped } = place;
        let here = &self.nodes[node as usize];
        found.extend(here.phrases.iter().map(|phrase| Found { phrase: *phrase, tokens: start..at, skipped }));
        let first = at.checked_sub(1).map_or(0, |before| scratch.ends[before]);
        let ids = scratch.ends.get(at).map_or(&[][..], |end| &scratch.ids[first..*end]);
        for id in ids {
            if let Some(next) = self.edges.get(&(node, *id)) {
                self.walk(scratch, start, Place { node: *next, at: at + 1, skipped }, found);
            }
        }
        if let Some(gap) = here.gap {
            let mut skipped = skipped;
            for length in 0..=GAP {
                self.walk(scratch, start, Place { node: gap, at: at + length, skipped }, found);
                if scratch.stops.get(at + length) != Some(&false) {
                    break;
                }
                skipped |= 1 << (at + length - start);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    node: u32,
    at: usize,
    skipped: u128,
}

/// Every way to choose the alternatives of a phrase.
fn ways(phrase: &str) -> Result<Vec<Vec<Word>>, PhraseFault> {
    let mut texts = vec![String::new()];
    let mut rest = phrase;
    while let Some(open) = rest.find(['(', ')']) {
        let (before, bracket) = rest.split_at(open);
        let close = bracket.find(')').filter(|_| bracket.starts_with('(')).ok_or(PhraseFault::Brackets)?;
        let choices: Vec<_> = bracket[1..close].split('|').collect();
        if choices.iter().any(|choice| choice.contains('(')) {
            return Err(PhraseFault::Brackets);
        }
        if texts.len() * choices.len() > MOST_WAYS {
            return Err(PhraseFault::Ways);
        }
        texts = texts.iter().flat_map(|text| choices.iter().map(move |choice| format!("{text}{before}{choice}"))).collect();
        rest = &bracket[close + 1..];
    }
    if rest.contains('|') {
        return Err(PhraseFault::Brackets);
    }
    texts.iter().map(|text| words(&format!("{text}{rest}"))).collect()
}

/// The words of a phrase without alternatives.
fn words(text: &str) -> Result<Vec<Word>, PhraseFault> {
    let (mut words, mut tokens) = (Vec::new(), Tokens::default());
    for piece in text.split_whitespace() {
        if piece == "..." {
            words.push(Word::Gap);
            continue;
        }
        let (letters, begins) = piece.strip_suffix('*').map_or((piece, false), |letters| (letters, true));
        if letters.contains('*') || begins && letters.chars().filter(|c| c.is_alphanumeric()).count() < 3 {
            return Err(PhraseFault::Star);
        }
        tokens.read(letters);
        let last = tokens.len().checked_sub(1);
        for at in 0..tokens.len() {
            let word = tokens.get(at).to_owned();
            words.push(if begins && Some(at) == last { Word::Begins(word) } else { Word::Is(word) });
        }
    }
    let is_gap = |word: Option<&Word>| word == Some(&Word::Gap);
    if words.is_empty() {
        return Err(PhraseFault::Empty);
    }
    let gaps = words.iter().filter(|word| is_gap(Some(word))).count();
    if gaps > MOST_GAPS
        || is_gap(words.first())
        || is_gap(words.last())
        || words.windows(2).any(|pair| pair == [Word::Gap, Word::Gap])
    {
        return Err(PhraseFault::Gap);
    }
    if words.len() > MOST_WORDS {
        return Err(PhraseFault::Long);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The phrases in a sentence, with the tokens that gaps skipped.
    fn find(phrases: &[&str], sentence: &str) -> Vec<(u32, Range<usize>, u128)> {
        let mut automaton = Automaton::new(&["but", "and"]);
        for (number, phrase) in (0..).zip(phrases) {
            automaton.add(phrase, number).unwrap();
        }
        let (mut tokens, mut found) = (Tokens::default(), Vec::new());
        tokens.read(sentence);
        automaton.find(&tokens, &mut Scratch::default(), &mut found);
        found.into_iter().map(|found| (found.phrase, found.tokens, found.skipped)).collect()
    }

    #[test]
    fn words_alternatives_and_beginnings_are_found() {
        assert_eq!(find(&["pleural effusion*"], "Small pleural effusions"), [(0, 1..3, 0)]);
        assert_eq!(find(&["(pleural |)effusion"], "Pleural effusion"), [(0, 0..2, 0), (0, 1..2, 0)]);
        assert_eq!(find(&["atelecta*", "atelectasis"], "atelectasis"), [(1, 0..1, 0), (0, 0..1, 0)]);
        assert_eq!(find(&["x-ray", "s/p"], "x ray s/p X-RAY"), [(0, 0..2, 0), (1, 2..5, 0), (0, 5..7, 0)]);
        assert_eq!(find(&["effusion"], "effusions"), []);
        assert_eq!(find(&["efé*"], "eféü efe"), [(0, 0..1, 0)]);
    }

    #[test]
    fn gaps_skip_three_words_and_no_stop() {
        let heart = ["heart ... enlarged"];
        assert_eq!(find(&heart, "heart enlarged"), [(0, 0..2, 0)]);
        assert_eq!(find(&heart, "the heart is not really enlarged"), [(0, 1..6, 0b1110)]);
        assert_eq!(find(&heart, "heart is a little bit enlarged"), []);
        for sentence in ["heart, enlarged", "heart but enlarged", "heart is normal and aorta enlarged"] {
            assert_eq!(find(&heart, sentence), [], "{sentence}");
        }
    }

    #[test]
    fn faulty_phrases_are_named() {
        for (phrase, fault) in [
            ("a (b", PhraseFault::Brackets),
            ("a) b", PhraseFault::Brackets),
            ("((a) b)", PhraseFault::Brackets),
            ("a | b", PhraseFault::Brackets),
            (" . ", PhraseFault::Empty),
            ("(a|)", PhraseFault::Empty),
            ("... a", PhraseFault::Gap),
            ("a ... ... b", PhraseFault::Gap),
            ("a ... b ... c ... d ... e", PhraseFault::Gap),
            ("ab*", PhraseFault::Star),
            ("a*b c", PhraseFault::Star),
            ("(a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b) (a|b)", PhraseFault::Ways),
            (&"a ".repeat(33), PhraseFault::Long),
        ] {
            assert_eq!(Automaton::new::<&str>(&[]).add(phrase, 0), Err(fault), "{phrase}");
        }
    }
}
