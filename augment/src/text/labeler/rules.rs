//! The rules that a file states.

use super::phrase::{Automaton, PhraseFault};
use super::rule_file::{File, FindingRules};
use crate::AugmentError;
use crate::record::{Finding, Laterality, Location, Severity, Vocabulary};

/// Largest file of rules, in bytes.
pub(super) const LARGEST: u64 = 1 << 20;

/// The rules that come with the program.
pub(super) const STANDARD: &str = include_str!("rules.toml");

/// Why a file of rules can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesError {
    /// It is no TOML, or has other keys.
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    /// A phrase.
    #[error("{key}: `{phrase}`")]
    Phrase {
        /// Where it is.
        key: String,
        /// The phrase.
        phrase: String,
        /// What is wrong with it.
        #[source]
        fault: PhraseFault,
    },
    /// A finding that no public vocabulary has.
    #[error(
        "finding `{name}`: no public vocabulary has it; did you mean `{suggestion}`? Write `custom = true` beside a name of your own"
    )]
    Unknown {
        /// As written.
        name: String,
        /// The nearest known one.
        suggestion: String,
    },
    /// A name in `no_finding` or `parents` that is no finding of the file.
    #[error("{key}: `{name}` is no [[finding]] of the file; write one of {known}")]
    Foreign {
        /// Where it is.
        key: &'static str,
        /// As written.
        name: String,
        /// The findings that there are.
        known: String,
    },
    /// Parents of parents that lead back.
    #[error("parents: `{0}` is its own ancestor; drop one of the lines")]
    Circle(Finding),
    /// A finding twice, or none.
    #[error("the findings of the file")]
    Findings(#[source] Box<AugmentError>),
    /// More bytes than a file of rules has.
    #[error("it has more than 1 MiB, which no file of rules has")]
    Large,
}

/// What a phrase of the rules means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It speaks of a finding: its place among those of the rules, or `None` for an abnormality that has no label.
    Mention {
        finding: Option<usize>,
        claim: Claim,
    },
    /// It speaks of something else than this finding.
    Except(usize),
    Cue(Cue),
    Side(Laterality),
    Severity(Severity),
    Place(Place),
    Word(WordKind),
}

/// Where words say that a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In one place.
    One(Location),
    /// In more than one, of which none is the finding's.
    Several,
}

impl Place {
    /// The place, if there is one.
    pub(super) fn single(self) -> Option<Location> {
        match self {
            Self::One(location) => Some(location),
            Self::Several => None,
        }
    }
}

/// What a phrase says of its finding by itself. Of two phrases with the same words the greater counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    Present,
    Absent,
    Uncertain,
}

/// What a cue does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    Acts(Effect, Reach),
    Pseudo,
    Stop,
    Bridge,
    Alternative,
}

/// What becomes of a mention in reach of a cue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    Negates,
    Doubts,
    Unmentions,
}

/// Which side of a cue it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    After,
    Before,
    /// After, or before if there is nothing.
    Either,
}

/// Words that shape scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordKind {
    Verb,
    Opener,
    List,
}

/// A phrase as written, and its meaning.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) phrase: String,
    pub(super) meaning: Meaning,
    /// Where it is in the file.
    pub(super) key: String,
}

/// Rules ready for use.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) automaton: Automaton,
    pub(super) rules: Vec<Rule>,
    /// The findings that have phrases, in the order of the file.
    pub(super) findings: Vec<Finding>,
    /// Which of them have a side.
    pub(super) sided: Vec<bool>,
    /// Of each of them, the places of what its presence means too.
    pub(super) ancestors: Vec<Vec<usize>>,
    /// The label that stands for no finding, and which findings count for it.
    pub(super) no_finding: Option<(Finding, Vec<bool>)>,
    pub(super) vocabulary: Vocabulary,
}

impl Rules {
    /// Reads the text of a file.
    pub(super) fn parse(text: &str) -> Result<Self, RulesError> {
        let file: File = toml::from_str(text)?;
        let findings = file.finding.iter().map(FindingRules::finding).collect::<Result<Vec<_>, _>>()?;
        let place = |key: &'static str, name: &str| {
            let known = || findings.iter().map(|finding| format!("`{finding}`")).collect::<Vec<_>>().join(", ");
            let found = Finding::parse(name).ok().and_then(|wanted| findings.iter().position(|finding| *finding == wanted));
            found.ok_or_else(|| RulesError::Foreign { key, name: name.to_owned(), known: known() })
        };
        let no_finding = match &file.no_finding {
            None => None,
            Some(rules) => {
                let mut counts = vec![true; findings.len()];
                for name in &rules.unaffected_by {
                    counts[place("no_finding.unaffected_by", name)?] = false;
                }
                Some((known(&rules.name, false)?, counts))
            }
        };
        let mut parents = vec![None; findings.len()];
        for (child, parent) in &file.parents {
            parents[place("parents", child)?] = Some(place("parents", parent)?);
        }
        let mut ancestors = vec![Vec::new(); findings.len()];
        for (finding, line) in ancestors.iter_mut().enumerate() {
            let mut at = finding;
            while let Some(parent) = parents[at] {
                if line.len() > findings.len() {
                    return Err(RulesError::Circle(findings[finding]));
                }
                line.push(parent);
                at = parent;
            }
        }
        let names = no_finding.as_ref().map(|(finding, _)| *finding).into_iter().chain(findings.iter().copied());
        let vocabulary = Vocabulary::new(names).map_err(|error| RulesError::Findings(Box::new(error)))?;
        let sided = file.finding.iter().map(|rules| rules.sided).collect();
        let mut rules = Self {
            automaton: Automaton::new(&file.words.gap_stops),
            rules: Vec::new(),
            findings,
            sided,
            ancestors,
            no_finding,
            vocabulary,
        };
        rules.add_all(&file)?;
        Ok(rules)
    }

    fn add_all(&mut self, file: &File) -> Result<(), RulesError> {
        for (finding, rules) in file.finding.iter().enumerate() {
            let key = |list: &str| format!("finding `{}`, {list}", rules.name);
            for (list, phrases, claim) in [
                ("present", &rules.present, Claim::Present),
                ("absent", &rules.absent, Claim::Absent),
                ("uncertain", &rules.uncertain, Claim::Uncertain),
            ] {
                self.add(&key(list), phrases, Meaning::Mention { finding: Some(finding), claim })?;
            }
            self.add(&key("except"), &rules.except, Meaning::Except(finding))?;
        }
        let other = file.no_finding.as_ref().map_or(&[][..], |rules| &rules.other);
        self.add("no_finding.other", other, Meaning::Mention { finding: None, claim: Claim::Present })?;
        let cues = &file.cues;
        for (list, phrases, cue) in [
            ("negation_before", &cues.negation_before, Cue::Acts(Effect::Negates, Reach::After)),
            ("negation_after", &cues.negation_after, Cue::Acts(Effect::Negates, Reach::Before)),
            ("negation", &cues.negation, Cue::Acts(Effect::Negates, Reach::Either)),
            ("uncertainty_before", &cues.uncertainty_before, Cue::Acts(Effect::Doubts, Reach::After)),
            ("uncertainty_after", &cues.uncertainty_after, Cue::Acts(Effect::Doubts, Reach::Before)),
            ("uncertainty", &cues.uncertainty, Cue::Acts(Effect::Doubts, Reach::Either)),
            ("unmention_before", &cues.unmention_before, Cue::Acts(Effect::Unmentions, Reach::After)),
            ("unmention_after", &cues.unmention_after, Cue::Acts(Effect::Unmentions, Reach::Before)),
            ("pseudo", &cues.pseudo, Cue::Pseudo),
            ("stops", &cues.stops, Cue::Stop),
            ("bridges", &cues.bridges, Cue::Bridge),
            ("alternatives", &cues.alternatives, Cue::Alternative),
        ] {
            self.add(&format!("cues.{list}"), phrases, Meaning::Cue(cue))?;
        }
        for (list, words, kind) in [
            ("verbs", &file.words.verbs, WordKind::Verb),
            ("openers", &file.words.openers, WordKind::Opener),
            ("list_words", &file.words.list_words, WordKind::List),
        ] {
            self.add(&format!("words.{list}"), words, Meaning::Word(kind))?;
        }
        for (list, words, side) in [
            ("left", &file.sides.left, Laterality::Left),
            ("right", &file.sides.right, Laterality::Right),
            ("both", &file.sides.both, Laterality::Both),
        ] {
            self.add(&format!("sides.{list}"), words, Meaning::Side(side))?;
        }
        for (list, words, severity) in [
            ("mild", &file.severities.mild, Severity::Mild),
            ("moderate", &file.severities.moderate, Severity::Moderate),
            ("severe", &file.severities.severe, Severity::Severe),
        ] {
            self.add(&format!("severities.{list}"), words, Meaning::Severity(severity))?;
        }
        let places = &file.locations;
        for (list, words, location) in [
            ("upper_lobe", &places.upper_lobe, Location::UpperLobe),
            ("middle_lobe", &places.middle_lobe, Location::MiddleLobe),
            ("lower_lobe", &places.lower_lobe, Location::LowerLobe),
            ("lingula", &places.lingula, Location::Lingula),
            ("upper_zone", &places.upper_zone, Location::UpperZone),
            ("middle_zone", &places.middle_zone, Location::MiddleZone),
            ("lower_zone", &places.lower_zone, Location::LowerZone),
            ("apex", &places.apex, Location::Apex),
            ("base", &places.base, Location::Base),
            ("perihilar", &places.perihilar, Location::Perihilar),
            ("retrocardiac", &places.retrocardiac, Location::Retrocardiac),
        ] {
            self.add(&format!("locations.{list}"), words, Meaning::Place(Place::One(location)))?;
        }
        self.add("locations.several", &places.several, Meaning::Place(Place::Several))?;
        Ok(())
    }

    fn add(&mut self, key: &str, phrases: &[String], meaning: Meaning) -> Result<(), RulesError> {
        for phrase in phrases {
            let number = self.rules.len() as u32;
            let fault = |fault| RulesError::Phrase { key: key.to_owned(), phrase: phrase.clone(), fault };
            self.automaton.add(phrase, number).map_err(fault)?;
            self.rules.push(Rule { phrase: phrase.clone(), meaning, key: key.to_owned() });
        }
        Ok(())
    }
}

impl FindingRules {
    fn finding(&self) -> Result<Finding, RulesError> {
        known(&self.name, self.custom)
    }
}

/// The finding of that name, which may be one of the user's own if they say so.
fn known(name: &str, custom: bool) -> Result<Finding, RulesError> {
    match Finding::parse(name) {
        Ok(finding) => Ok(finding),
        Err(_) if custom && !name.trim().is_empty() => Ok(Finding::custom(name)),
        Err(AugmentError::UnknownFinding { name, suggestion }) => Err(RulesError::Unknown { name, suggestion }),
        Err(error) => Err(RulesError::Findings(Box::new(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_program_are_those_of_chexpert() {
        let rules = Rules::parse(STANDARD).unwrap();
        assert_eq!(rules.vocabulary, Vocabulary::chexpert());
        assert!(rules.rules.len() > 500, "{}", rules.rules.len());
    }

    #[test]
    fn files_that_cant_be_used_say_where_and_why() {
        let file = |more: &str| format!("[[finding]]\nname = \"Mass\"\n{more}\n[cues]\n[words]\n");
        let error =
            |text: &str| format!("{:?}", Rules::parse(text).unwrap_err()) + &Rules::parse(text).unwrap_err().to_string();
        Rules::parse(&file("present = [\"mass\"]")).unwrap();
        for (text, said) in [
            (file("present = [\"mass (\"]"), "finding `Mass`, present: `mass (`"),
            (file("presnt = []"), "presnt"),
            (file("[[finding]]\nname = \"Efusion\""), "did you mean `Effusion`? Write `custom = true`"),
            (file("[[finding]]\nname = \"mass\""), "DuplicateFinding"),
            (file("[parents]\nMass = \"Edema\""), "parents: `Edema` is no [[finding]] of the file; write one of `Mass`"),
            (file("[parents]\nMass = \"Mass\""), "`Mass` is its own ancestor"),
            (file("[no_finding]\nname = \"No Finding\"\nunaffected_by = [\"Support Devices\"]"), "no_finding.unaffected_by"),
            (file("[sides]\nleft = [\"\"]"), "sides.left: ``"),
            (file("[locations]\napex = [\"(\"]"), "locations.apex: `(`"),
            (file("[locations]\nbasis = []"), "basis"),
            ("[words]\n[cues]\n".to_owned(), "finding"),
        ] {
            assert!(error(&text).contains(said), "{text}\n{}", error(&text));
        }
        let own = file("[[finding]]\nname = \"Scoliosis\"\ncustom = true\npresent = [\"scoliosis\"]");
        assert_eq!(Rules::parse(&own).unwrap().vocabulary.findings()[1].name(), "Scoliosis");
    }
}
