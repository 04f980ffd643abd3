//! How far a cue reaches.

use super::Reader;
use crate::text::labeler::rules::{Cue, Reach};

impl Reader {
    /// What a token is to a scope that comes from the left or the right.
    fn cue_at(&self, token: usize) -> Option<Cue> {
        self.signs[token].cue.map(|cue| self.cues[cue].1)
    }

    /// Whether a scope ends at a token whatever it is about.
    pub(super) fn ends(&self, token: usize) -> bool {
        matches!(self.tokens.get(token), ";" | ":" | "-" | "(" | ")") || matches!(self.cue_at(token), Some(Cue::Stop))
    }

    /// Whether a cue begins to act on what follows it.
    fn acts_forward(&self, token: usize) -> bool {
        matches!(self.cue_at(token), Some(Cue::Acts(_, Reach::After | Reach::Either)))
    }

    /// The mentions that a cue reaches which ends before `from`: to the end of the clause, and over the commas of a list.
    pub(super) fn after(&self, from: usize) -> Vec<usize> {
        let mut at = from;
        let end = loop {
            if at >= self.tokens.len() || self.ends(at) || self.acts_forward(at) {
                break at;
            }
            let goes_on = match self.tokens.get(at) {
                "," => self.list_goes_on(at + 1),
                // "no effusion and a small nodule", "no effusion and left pneumothorax"
                "and" => self.signs.get(at + 1).is_none_or(|next| !next.opener),
                _ => true,
            };
            if !goes_on {
                break at;
            }
            at += 1;
        };
        (0..self.mentions.len()).filter(|m| (from..end).contains(&self.mentions[*m].tokens.start)).collect()
    }

    /// Whether what follows a comma continues a list that is denied or doubted: `, or consolidation`, `, effusion or consolidation`, or a
    /// bare finding.
    fn list_goes_on(&self, from: usize) -> bool {
        let Some(first) = self.signs.get(from) else { return false };
        let joins = |token: usize| matches!(self.tokens.get(token), "or" | "nor");
        if joins(from) {
            return true;
        }
        if first.opener || self.tokens.get(from) == "and" && self.signs.get(from + 1).is_some_and(|next| next.opener) {
            return false;
        }
        let mut bare = true;
        for at in from..self.tokens.len() {
            let sign = &self.signs[at];
            if joins(at) {
                return true;
            }
            if self.ends(at) || self.acts_forward(at) || sign.verb && sign.mention.is_none() {
                return bare && !sign.verb && self.tokens.get(at) != ":";
            }
            let comma = self.tokens.get(at) == ",";
            if comma && self.signs.get(at + 1).is_some_and(|next| next.opener) {
                return bare;
            }
            bare &= comma || sign.mention.is_some() || sign.list || self.tokens.get(at) == "and";
        }
        bare
    }

    /// The mentions that a cue reaches which begins at `to`: the nearest in its clause, and those that a list joins to it.
    pub(super) fn before(&self, to: usize) -> Vec<usize> {
        let mut reached: Vec<usize> = Vec::new();
        let (mut joined, mut commas) = (false, 0);
        let mut at = to;
        while at > 0 {
            at -= 1;
            if self.ends(at) || self.acts_forward(at) {
                break;
            }
            // Words of a mention come before the words that it skips.
            let found: Vec<_> = (0..self.mentions.len()).filter(|m| self.mentions[*m].tokens.end == at + 1).collect();
            if !found.is_empty() {
                let denied = found.iter().any(|m| self.mentions[*m].effect.is_some());
                let start = found.iter().map(|m| self.mentions[*m].tokens.start).min().unwrap_or(at);
                reached.extend(found);
                // "no effusion or pneumonia can be excluded" doubts the last alone: the others have their cue.
                if denied {
                    break;
                }
                at = start;
                continue;
            }
            match self.tokens.get(at) {
                "or" | "nor" | "and" | "/" if !reached.is_empty() => {
                    if self.has_verb_before(at) {
                        break;
                    }
                    joined = true;
                }
                "," if !reached.is_empty() && (!joined || self.has_verb_before(at)) => break,
                "," if !reached.is_empty() => {}
                "," => {
                    commas += 1;
                    if commas > 2 {
                        break;
                    }
                }
                _ if !reached.is_empty() && self.signs[at].verb => break,
                _ => (),
            }
        }
        reached
    }

    /// Whether the part of a list before `to` is a statement of its own.
    fn has_verb_before(&self, to: usize) -> bool {
        // "there is" ends a scope, too.
        let end = |at: &usize| self.signs[*at].verb || self.ends(*at) || self.tokens.get(*at) == ",";
        (0..to).rev().find(end).is_some_and(|at| self.signs[at].verb)
    }
}
