//! Tokens of several vectors, as textual inversion makes them: `<x>` in a text stands for `<x> <x>_1 <x>_2`.
//!
//! Reference: diffusers 0.42.1, `TextualInversionLoaderMixin.maybe_convert_prompt`. Two of its habits are kept: the token is looked for as it
//! is written, so that one in other capitals is one vector only; and one that has capitals itself, in a tokenizer that makes texts lower
//! case, always is. One is not: a text in which all tokens are written out is left as it is.

use std::borrow::Cow;
use std::collections::BTreeSet;

use tokenizers::{NormalizedString, Normalizer, Tokenizer};

/// A token of several vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Vectors {
    token: String,
    /// Ids of the first and the second.
    ids: [u32; 2],
    count: usize,
    /// Whether it is found in a text as it is written.
    is_found: bool,
}

impl Vectors {
    /// Those among the added tokens, the longest name first.
    pub(super) fn of(tokenizer: &Tokenizer) -> Vec<Self> {
        let added = tokenizer.get_added_tokens_decoder();
        let names: BTreeSet<&str> = added.values().map(|token| token.content.as_str()).collect();
        let mut found: Vec<Self> = Vec::new();
        for (id, token) in &added {
            let name = &token.content;
            let count = (1..).take_while(|number| names.contains(format!("{name}_{number}").as_str())).count() + 1;
            let Some(second) = tokenizer.token_to_id(&format!("{name}_1")).filter(|_| count > 1) else { continue };
            let is_found = !token.normalized || normalized(tokenizer, name) == *name;
            found.push(Self { token: name.clone(), ids: [*id, second], count, is_found });
        }
        found.sort_by(|a, b| b.token.len().cmp(&a.token.len()).then_with(|| a.token.cmp(&b.token)));
        found
    }

    /// Its name and the number of its vectors.
    pub(super) fn name(&self) -> (&str, usize) {
        (&self.token, self.count)
    }

    /// Whether these ids have its first vector without its second.
    pub(super) fn is_cut_short(&self, ids: &[u32]) -> bool {
        let [first, second] = self.ids;
        ids.iter().enumerate().any(|(at, id)| *id == first && ids.get(at + 1) != Some(&second))
    }

    /// Whether `after`, the text behind its name, makes the occurrence another token's, or one that is written out.
    fn is_taken(&self, after: &str) -> bool {
        let number =
            |text: &str| text.strip_prefix('_').is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit()));
        number(after) || after.trim_start().strip_prefix(self.token.as_str()).is_some_and(|rest| rest.starts_with("_1"))
    }
}

fn normalized(tokenizer: &Tokenizer, text: &str) -> String {
    let mut text = NormalizedString::from(text);
    match tokenizer.get_normalizer().map(|normalizer| normalizer.normalize(&mut text)) {
        Some(Err(_)) => String::new(),
        _ => text.get().to_owned(),
    }
}

/// `text` with every token of several vectors written out.
pub(super) fn written_out<'a>(known: &[Vectors], text: &'a str) -> Cow<'a, str> {
    let known: Vec<&Vectors> = known.iter().filter(|vectors| vectors.is_found).collect();
    if !known.iter().any(|vectors| text.contains(&vectors.token)) {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(next) = rest.chars().next() {
        let here = known.iter().find(|vectors| rest.starts_with(&vectors.token));
        let length = here.map_or(next.len_utf8(), |vectors| vectors.token.len());
        let after = &rest[length..];
        out.push_str(&rest[..length]);
        if let Some(Vectors { token, count, .. }) = here.filter(|vectors| !vectors.is_taken(after)) {
            (1..*count).for_each(|number| out.push_str(&format!(" {token}_{number}")));
        }
        rest = after;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known(tokens: &[(&str, usize)]) -> Vec<Vectors> {
        tokens
            .iter()
            .map(|(token, count)| Vectors { token: (*token).to_owned(), ids: [7, 8], count: *count, is_found: true })
            .collect()
    }

    #[test]
    fn a_token_stands_for_its_vectors() {
        let known = known(&[("<xy>", 2), ("<x>", 3)]);
        for (text, expected) in [
            ("film in <x> style", "film in <x> <x>_1 <x>_2 style"),
            ("glued<x>to", "glued<x> <x>_1 <x>_2to"),
            ("<x> and <xy>, <x>", "<x> <x>_1 <x>_2 and <xy> <xy>_1, <x> <x>_1 <x>_2"),
            ("film in <x> <x>_1 <x>_2 style", "film in <x> <x>_1 <x>_2 style"),
            ("<x>_1 alone", "<x>_1 alone"),
            ("<X> plain", "<X> plain"),
        ] {
            assert_eq!(written_out(&known, text), expected);
        }
    }

    #[test]
    fn a_first_vector_alone_is_noticed() {
        let one = &known(&[("<x>", 3)])[0];
        assert!(one.is_cut_short(&[1, 7, 2]) && one.is_cut_short(&[7, 8, 9, 7]) && one.is_cut_short(&[7]));
        assert!(!one.is_cut_short(&[1, 7, 8, 9]) && !one.is_cut_short(&[1, 2]));
    }

    proptest! {
        #[test]
        fn what_is_written_out_stays(text in "[<x>_12 aé]{0,20}") {
            let known = known(&[("<x>", 3), ("x", 2)]);
            let once = written_out(&known, &text).into_owned();
            prop_assert_eq!(written_out(&known, &once).into_owned(), once);
        }
    }
}
