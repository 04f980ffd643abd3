//! What a sentence says of each finding that it mentions.

mod reach;

use std::ops::Range;

use crate::record::{Label, Laterality, Severity};
use crate::text::labeler::phrase::{Found, Scratch};
use crate::text::labeler::rules::{Claim, Cue, Effect, Meaning, Place, Reach, Rules, WordKind};
use crate::text::labeler::tokens::Tokens;

/// A mention and what is said of it.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    /// The finding's place among those of the rules; `None` for an abnormality that has no label.
    pub(super) finding: Option<usize>,
    /// [`Label::Missing`] where it is spoken of, not seen.
    pub(super) label: Label,
    /// The rule that found it.
    pub(super) rule: u32,
    pub(super) tokens: Range<usize>,
    /// The cue that decided, with its tokens.
    pub(super) cue: Option<(u32, Range<usize>)>,
    /// The side in its words or beside them.
    pub(super) side: Option<Laterality>,
    /// The largest severity in its words or beside them.
    pub(super) severity: Option<Severity>,
    /// Where its words, or those beside it, say that it is.
    pub(super) place: Option<Place>,
    skipped: u128,
    /// Whether it is a statement of its own: a phrase with a verb, or one that says what it claims.
    stated: bool,
    claim: Claim,
    /// What cues make of it, the strongest, and which of the sentence's cues that was.
    effect: Option<(Effect, usize)>,
}

/// One sentence at a time.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) tokens: Tokens,
    scratch: Scratch,
    found: Vec<Found>,
    cues: Vec<(u32, Cue, Range<usize>)>,
    /// What stands at each token.
    signs: Vec<Sign>,
    pub(super) mentions: Vec<Mention>,
}

/// What stands at a token, beside mentions.
#[derive(Clone, Copy, Debug, Default)]
struct Sign {
    verb: bool,
    opener: bool,
    list: bool,
    side: Option<Laterality>,
    severity: Option<Severity>,
    place: Option<Place>,
    /// The token is part of a cue: its place among the cues.
    cue: Option<usize>,
    /// The token is a word of this mention, as a place among the mentions.
    mention: Option<usize>,
}

impl Reader {
    /// Reads a sentence; [`mentions`](Self::mentions) are then those of it.
    pub(super) fn read(&mut self, rules: &Rules, sentence: &str) {
        self.mentions.clear();
        self.tokens.read(sentence);
        rules.automaton.find(&self.tokens, &mut self.scratch, &mut self.found);
        // Most sentences of a report mention something, but not all.
        if !self.found.iter().any(|found| matches!(rules.rules[found.phrase as usize].meaning, Meaning::Mention { .. })) {
            return;
        }
        self.signs.clear();
        self.signs.resize(self.tokens.len(), Sign::default());
        self.note_words(rules);
        self.keep_mentions(rules);
        self.keep_cues(rules);
        for cue in 0..self.cues.len() {
            self.apply(cue);
        }
        self.doubt_alternatives();
        for at in 0..self.mentions.len() {
            self.settle(at);
        }
    }

    fn note_words(&mut self, rules: &Rules) {
        for found in &self.found {
            let meaning = rules.rules[found.phrase as usize].meaning;
            for sign in &mut self.signs[found.tokens.clone()] {
                match meaning {
                    Meaning::Word(WordKind::Verb) => sign.verb = true,
                    Meaning::Word(WordKind::Opener) => sign.opener = true,
                    Meaning::Word(WordKind::List) => sign.list = true,
                    Meaning::Side(side) => sign.side = Some(side),
                    Meaning::Severity(severity) => sign.severity = Some(severity),
                    // A token of two phrases has the place of both: that of "upper and lower lobes" is not that of "lower lobes".
                    Meaning::Place(place) => sign.place = together(sign.place, Some(place)),
                    Meaning::Mention { .. } | Meaning::Except(_) | Meaning::Cue(_) => (),
                }
            }
        }
    }

    /// Of overlapping phrases of one finding the longest is its mention, unless it is in a phrase about something else.
    fn keep_mentions(&mut self, rules: &Rules) {
        let within = |inner: &Range<usize>, outer: &Range<usize>| outer.start <= inner.start && inner.end <= outer.end;
        let excepted = |finding: Option<usize>, tokens: &Range<usize>| {
            self.found.iter().any(|other| {
                let meaning = rules.rules[other.phrase as usize].meaning;
                finding.is_some_and(|finding| meaning == Meaning::Except(finding)) && within(tokens, &other.tokens)
            })
        };
        let mut candidates = Vec::new();
        for found in &self.found {
            let Meaning::Mention { finding, claim } = rules.rules[found.phrase as usize].meaning else { continue };
            if excepted(finding, &found.tokens) {
                continue;
            }
            let stated = claim != Claim::Present || self.signs[found.tokens.clone()].iter().any(|sign| sign.verb);
            candidates.push(Mention {
                finding,
                label: Label::Positive,
                rule: found.phrase,
                tokens: found.tokens.clone(),
                cue: None,
                side: None,
                severity: None,
                place: None,
                skipped: found.skipped,
                stated,
                claim,
                effect: None,
            });
        }
        // The longest first; of equal ones that with the greater claim, and of those the first rule.
        candidates.sort_by_key(|mention| {
            (std::cmp::Reverse(mention.tokens.len()), std::cmp::Reverse(mention.claim), mention.tokens.start, mention.rule)
        });
        for candidate in candidates {
            let overlaps = |kept: &Mention| {
                kept.finding == candidate.finding
                    && kept.tokens.start < candidate.tokens.end
                    && candidate.tokens.start < kept.tokens.end
            };
            if !self.mentions.iter().any(overlaps) {
                self.mentions.push(candidate);
            }
        }
        self.mentions.sort_by_key(|mention| (mention.tokens.start, mention.tokens.end, mention.finding));
        for (at, mention) in self.mentions.iter().enumerate() {
            for token in mention.tokens.clone().filter(|token| !mention.skips(*token)) {
                self.signs[token].mention.get_or_insert(at);
            }
        }
    }

    /// Of overlapping cues the one that begins first counts, and of those the longest; all of them if they are equal. The words of a
    /// mention are no cue, but it may lie in the gap of one that acts: "no opacity suspicious for pneumonia".
    fn keep_cues(&mut self, rules: &Rules) {
        self.cues.clear();
        let of_cue = |found: &Found| {
            let Meaning::Cue(cue) = rules.rules[found.phrase as usize].meaning else { return None };
            let spans = |token: usize| matches!(cue, Cue::Acts(..)) && found.skipped >> (token - found.tokens.start) & 1 == 1;
            let is_free = found.tokens.clone().all(|token| self.signs[token].mention.is_none() || spans(token));
            is_free.then(|| (found.phrase, cue, found.tokens.clone()))
        };
        let mut cues: Vec<_> = self.found.iter().filter_map(of_cue).collect();
        cues.sort_by_key(|(phrase, _, tokens)| (tokens.start, std::cmp::Reverse(tokens.end), *phrase));
        for cue in cues {
            let free = self.cues.last().is_none_or(|(_, _, last)| last.end <= cue.2.start || *last == cue.2);
            if free {
                self.cues.push(cue);
            }
        }
        for (at, (_, _, tokens)) in self.cues.iter().enumerate() {
            for sign in &mut self.signs[tokens.clone()] {
                sign.cue.get_or_insert(at);
            }
        }
    }

    /// Lets a cue act on the mentions in its reach.
    fn apply(&mut self, at: usize) {
        let (_, Cue::Acts(effect, reach), tokens) = self.cues[at].clone() else { return };
        // A cue in the gap of a phrase is part of what it says: "heart is not enlarged".
        let around: Vec<_> = (0..self.mentions.len())
            .filter(|m| {
                let mention = &self.mentions[*m];
                mention.claim == Claim::Present && mention.tokens.start < tokens.start && tokens.end < mention.tokens.end
            })
            .collect();
        if !around.is_empty() {
            around.into_iter().for_each(|mention| self.mentions[mention].take(effect, at));
            return;
        }
        let after = match reach {
            Reach::Before => Vec::new(),
            // What is in its own gap comes with what follows it.
            Reach::After | Reach::Either => self.within(&tokens).chain(self.after(tokens.end)).collect(),
        };
        let reached = match reach {
            Reach::Either if after.is_empty() => self.before(tokens.start),
            Reach::Before => self.before(tokens.start),
            Reach::After | Reach::Either => after,
        };
        for mention in reached {
            if !self.mentions[mention].stated {
                self.mentions[mention].take(effect, at);
            }
        }
    }

    /// The mentions in the gap of a cue.
    fn within(&self, cue: &Range<usize>) -> impl Iterator<Item = usize> {
        (0..self.mentions.len())
            .filter(|m| cue.start < self.mentions[*m].tokens.start && self.mentions[*m].tokens.end < cue.end)
    }

    /// "atelectasis or pneumonia" is neither for certain.
    fn doubt_alternatives(&mut self) {
        for at in 0..self.cues.len() {
            let (_, Cue::Alternative, tokens) = self.cues[at].clone() else { continue };
            let near = |from: usize, to: usize| (from..to).all(|token| !self.ends(token) && !self.signs[token].verb);
            let left = (0..self.mentions.len())
                .filter(|m| self.mentions[*m].tokens.end <= tokens.start)
                .max_by_key(|m| self.mentions[*m].tokens.end);
            let right = (0..self.mentions.len())
                .filter(|m| self.mentions[*m].tokens.start >= tokens.end)
                .min_by_key(|m| self.mentions[*m].tokens.start);
            let (Some(left), Some(right)) = (left, right) else { continue };
            let [l, r] = [&self.mentions[left], &self.mentions[right]];
            let unclaimed = |m: &Mention| m.effect.is_none() && !m.stated;
            if l.finding != r.finding
                && unclaimed(l)
                && unclaimed(r)
                && near(l.tokens.end, r.tokens.start)
                && r.tokens.start - l.tokens.end <= ALTERNATIVES
            {
                self.mentions[left].take(Effect::Doubts, at);
                self.mentions[right].take(Effect::Doubts, at);
            }
        }
    }

    /// Turns what was found about a mention into its label and its place.
    fn settle(&mut self, at: usize) {
        let mention = &self.mentions[at];
        let label = match (mention.effect.map(|(effect, _)| effect), mention.claim) {
            (Some(Effect::Unmentions), _) => Label::Missing,
            (Some(Effect::Doubts), _) | (None, Claim::Uncertain) => Label::Uncertain,
            (Some(Effect::Negates), _) | (None, Claim::Absent) => Label::Negative,
            (None, Claim::Present) => Label::Positive,
        };
        let (mut side, mut severity, mut place) = (None, None, None);
        let mut see = |sign: &Sign| {
            side = joined(side, sign.side);
            severity = largest(severity, sign.severity);
            place = together(place, sign.place);
        };
        let foreign =
            |token: usize| self.signs[token].mention.is_some_and(|other| other != at && !mention.tokens.contains(&token));
        mention.tokens.clone().for_each(|token| see(&self.signs[token]));
        // The adjectives before it: "small left and moderate right effusions".
        for token in (0..mention.tokens.start).rev() {
            let adjective = |token: usize| self.signs[token].side.is_some() || self.signs[token].severity.is_some();
            // Behind "the" it is no adjective: "effusion at the bases and consolidation".
            let is_noun = token > 1 && self.tokens.get(token - 2) == "the";
            let joins = self.signs[token].place.is_some()
                || matches!(self.tokens.get(token), "and" | ",") && token > 0 && adjective(token - 1) && !is_noun;
            let stops = self.ends(token)
                || foreign(token)
                || self.signs[token].verb
                || self.tokens.is_mark(token)
                || self.tokens.get(token) == "and"
                || self.tokens.get(token) == "or";
            if stops && !joins {
                break;
            }
            see(&self.signs[token]);
        }
        // Where it is: "effusion in the left hemithorax", "effusion is small".
        for token in mention.tokens.end..self.tokens.len().min(mention.tokens.end + PLACE) {
            if self.ends(token)
                || foreign(token)
                || self.tokens.is_mark(token)
                || matches!(self.tokens.get(token), "and" | "or") && !self.goes_on(token)
            {
                break;
            }
            see(&self.signs[token]);
        }
        let cue = mention.effect.map(|(_, cue)| (self.cues[cue].0, self.cues[cue].2.clone()));
        let mention = &mut self.mentions[at];
        (mention.label, mention.side, mention.severity, mention.place, mention.cue) = (label, side, severity, place, cue);
    }

    /// Whether an "and" or "or" behind a mention is within a phrase of places, or joins a second place and nothing else: "in the right
    /// upper lobe and the left lower lobe".
    fn goes_on(&self, token: usize) -> bool {
        let place = |at: &usize| self.signs[*at].place.is_some() || self.signs[*at].side.is_some();
        let small = |at: &usize| matches!(self.tokens.get(*at), "the" | "in" | "at" | "on");
        let rest = || (token + 1..self.tokens.len()).take_while(|at| !self.ends(*at) && !self.tokens.is_mark(*at));
        self.signs[token].place.is_some() || rest().any(|at| place(&at)) && rest().all(|at| place(&at) || small(&at))
    }
}

/// Most words between two alternatives.
const ALTERNATIVES: usize = 5;

/// Most words after a mention that can say where it is.
const PLACE: usize = 8;

impl Mention {
    fn skips(&self, token: usize) -> bool {
        self.skipped >> (token - self.tokens.start) & 1 == 1
    }

    /// Takes the effect of a cue, if it is stronger than what the mention has.
    fn take(&mut self, effect: Effect, cue: usize) {
        if self.effect.is_none_or(|(known, _)| known < effect) {
            self.effect = Some((effect, cue));
        }
    }
}

/// Both sides, if two differ.
pub(super) fn joined(one: Option<Laterality>, other: Option<Laterality>) -> Option<Laterality> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Laterality::Both),
        (one, other) => one.or(other),
    }
}

/// The one place, or several if two differ.
pub(super) fn together(one: Option<Place>, other: Option<Place>) -> Option<Place> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => Some(Place::Several),
        (one, other) => one.or(other),
    }
}

/// The larger severity.
pub(super) fn largest(one: Option<Severity>, other: Option<Severity>) -> Option<Severity> {
    let rank = |severity: &Severity| match severity {
        Severity::Mild => 0,
        Severity::Moderate => 1,
        Severity::Severe => 2,
    };
    one.into_iter().chain(other).max_by_key(rank)
}
