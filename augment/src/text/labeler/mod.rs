//! Labels of findings read from a report by rules.
//!
//! In the manner of NegBio (Peng et al., arXiv 1712.05898) and CheXpert's labeler (Irvin et al., arXiv 1901.07031): phrases mention
//! findings, words around them deny or doubt them, and a report's mentions become one label per finding. Both the phrases and the words
//! are in a file of rules, `rules.toml`, written for this project; a user's own file can replace it. What it gets right and wrong is in
//! `docs/labeler.md`.

mod phrase;
mod rule_file;
mod rules;
mod scope;
mod tokens;

#[cfg(test)]
mod captions;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::LazyLock;

use self::rules::{LARGEST, Place, Rules, STANDARD};
use self::scope::{Mention, Reader, joined, largest, together};
use super::sentences;
use crate::AugmentError;
use crate::record::{Finding, FindingDetail, Label, Laterality, Location, Severity, Vocabulary};

pub use self::phrase::PhraseFault;
pub use self::rules::RulesError;

/// A set of rules that labels reports.
#[derive(Debug)]
pub struct Labeler {
    rules: Rules,
    follow_parents: bool,
}

/// The labels of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelling {
    /// One per finding of the labeler's vocabulary; [`Label::Missing`] where the report doesn't mention it.
    pub labels: Vec<Label>,
    /// Side, severity and location of positive findings, where the report says them.
    pub details: Vec<FindingDetail>,
}

/// One mention of a finding, and why it counts as it does.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence<'a> {
    /// The finding; `None` for an abnormality without a label, which only keeps `No Finding` blank.
    pub finding: Option<Finding>,
    /// What the mention says; [`Label::Missing`] where the finding is spoken of, not seen (`history of pneumonia`).
    pub label: Label,
    /// The sentence, as it is in the report.
    pub sentence: &'a str,
    /// The words that mention the finding.
    pub words: &'a str,
    /// The rule that found them.
    pub rule: Source<'a>,
    /// The words that deny or doubt it, and their rule.
    pub cue: Option<(&'a str, Source<'a>)>,
    /// Its side, if the words around it say it.
    pub side: Option<Laterality>,
    /// Its severity, if the words around it say it.
    pub severity: Option<Severity>,
    /// Its location, if the words around it say one.
    pub location: Option<Location>,
}

/// A phrase of the file of rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its list, such as ``cues.negation_before``.
    pub key: &'a str,
    /// The phrase as written there.
    pub phrase: &'a str,
}

static STANDARD_LABELER: LazyLock<Labeler> = LazyLock::new(|| {
    let rules = Rules::parse(STANDARD).expect("a test reads the rules of the program");
    Labeler { rules, follow_parents: false }
});

impl Labeler {
    /// The labeler with the rules that come with the program: CheXpert's 14 labels.
    #[must_use]
    pub fn standard() -> &'static Self {
        &STANDARD_LABELER
    }

    /// The text of those rules, a TOML file that explains itself.
    #[must_use]
    pub fn standard_rules() -> &'static str {
        STANDARD
    }

    /// A labeler of the user's own rules, see [`Labeler::standard_rules`].
    ///
    /// # Errors
    /// [`AugmentError::Io`] or [`AugmentError::Rules`].
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        let read = || {
            let mut text = String::new();
            File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| AugmentError::Io { action: "read", path: path.to_owned(), source })?;
        let rules = if text.len() as u64 > LARGEST { Err(RulesError::Large) } else { Rules::parse(&text) };
        let rules = rules.map_err(|source| AugmentError::Rules { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self { rules, follow_parents: false })
    }

    /// A labeler of rules in memory.
    ///
    /// # Errors
    /// [`RulesError`].
    pub fn of_rules(text: &str) -> Result<Self, RulesError> {
        Ok(Self { rules: Rules::parse(text)?, follow_parents: false })
    }

    /// Lets a positive finding make its parents positive, and an uncertain one its parents uncertain that are blank or negative
    /// (`parents` in the rules). Label files of CheXpert and MIMIC-CXR don't do so.
    #[must_use]
    pub fn with_parents(self) -> Self {
        Self { follow_parents: true, ..self }
    }

    /// What [`Labelling::labels`] are labels of, in order.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.rules.vocabulary
    }

    /// The labels of a text: a report without its indication, see [`Section::take`](super::Section::take).
    ///
    /// A finding is positive if any mention of it is, else uncertain, else negative. The order of the sentences doesn't matter. A text
    /// without a word has no label at all, not even `No Finding`.
    #[must_use]
    pub fn label(&self, text: &str) -> Labelling {
        let mut findings = vec![Sum::default(); self.rules.findings.len()];
        let mut other = Label::Missing;
        self.read(text, |_, _, mention| match mention.finding {
            Some(finding) => findings[finding].add(mention),
            None => other = stronger(other, mention.label),
        });
        let mut labels: Vec<_> = findings.iter().map(|sum| sum.label).collect();
        if self.follow_parents {
            for (finding, ancestors) in self.rules.ancestors.iter().enumerate() {
                let label = findings[finding].label;
                if matches!(label, Label::Positive | Label::Uncertain) {
                    ancestors.iter().for_each(|parent| labels[*parent] = stronger(labels[*parent], label));
                }
            }
        }
        let details = self.details(&findings);
        if let Some((_, counts)) = &self.rules.no_finding {
            let keeps = |label: Label| matches!(label, Label::Positive | Label::Uncertain);
            let found = keeps(other) || labels.iter().zip(counts).any(|(label, counts)| *counts && keeps(*label));
            let is_empty = !text.contains(char::is_alphanumeric);
            labels.insert(0, if found || is_empty { Label::Missing } else { Label::Positive });
        }
        Labelling { labels, details }
    }

    /// Every mention in a text, in order.
    #[must_use]
    pub fn explain<'a>(&'a self, text: &'a str) -> Vec<Evidence<'a>> {
        let mut evidence = Vec::new();
        self.read(text, |sentence, reader, mention| {
            let words = |tokens: &std::ops::Range<usize>| &sentence[reader.tokens.bytes(tokens.clone())];
            let source = |rule: u32| {
                let rule = &self.rules.rules[rule as usize];
                Source { key: &rule.key, phrase: &rule.phrase }
            };
            evidence.push(Evidence {
                finding: mention.finding.map(|finding| self.rules.findings[finding]),
                label: mention.label,
                sentence,
                words: words(&mention.tokens),
                rule: source(mention.rule),
                cue: mention.cue.as_ref().map(|(rule, tokens)| (words(tokens), source(*rule))),
                side: mention.side,
                severity: mention.severity,
                location: mention.place.and_then(Place::single),
            });
        });
        evidence
    }

    fn read<'a>(&self, text: &'a str, mut see: impl FnMut(&'a str, &Reader, &Mention)) {
        let mut reader = Reader::default();
        for sentence in sentences(text).into_iter().flat_map(pieces) {
            reader.read(&self.rules, sentence);
            for mention in &reader.mentions {
                see(sentence, &reader, mention);
            }
        }
    }

    fn details(&self, findings: &[Sum]) -> Vec<FindingDetail> {
        let detail = |(at, sum): (usize, &Sum)| {
            let side = sum.side.filter(|_| self.rules.sided[at]);
            let location = sum.place.and_then(Place::single).filter(|_| self.rules.sided[at]);
            let known = side.is_some() || sum.severity.is_some() || location.is_some();
            known.then_some(FindingDetail { finding: self.rules.findings[at], side, severity: sum.severity, location })
        };
        findings.iter().enumerate().filter_map(detail).collect()
    }
}

/// Longest sentence that is read as one, in bytes. Nobody dictates longer ones, and the time for one grows faster than its length.
const LONGEST: usize = 2000;

/// A sentence, or the pieces of a text that is none, cut at blanks where there are any.
fn pieces(sentence: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(sentence);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        if text.len() <= LONGEST {
            return Some(text);
        }
        let limit = (0..=LONGEST).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
        let cut = text[..limit].rfind(char::is_whitespace).filter(|cut| *cut > 0).unwrap_or(limit);
        rest = Some(&text[cut..]);
        Some(&text[..cut])
    })
}

/// The mentions of one finding so far.
#[derive(Clone, Copy, Debug)]
struct Sum {
    label: Label,
    side: Option<Laterality>,
    severity: Option<Severity>,
    place: Option<Place>,
}

impl Default for Sum {
    fn default() -> Self {
        Self { label: Label::Missing, side: None, severity: None, place: None }
    }
}

impl Sum {
    fn add(&mut self, mention: &Mention) {
        self.label = stronger(self.label, mention.label);
        if mention.label == Label::Positive {
            self.side = joined(self.side, mention.side);
            self.severity = largest(self.severity, mention.severity);
            self.place = together(self.place, mention.place);
        }
    }
}

/// The label that counts of two mentions: positive over uncertain over negative.
fn stronger(one: Label, other: Label) -> Label {
    let rank = |label: &Label| match label {
        Label::Positive => 3,
        Label::Uncertain => 2,
        Label::Negative => 1,
        Label::Missing => 0,
    };
    if rank(&other) > rank(&one) { other } else { one }
}
