//! Words and marks of punctuation.

use std::ops::Range;

/// The words and marks of one sentence, in lower case.
///
/// Hyphens within words separate like blanks (`left-sided`, `x-ray`); a dash between blanks is a mark, as are `,` `;` `:` `/` `(` `)`. A
/// number keeps its decimals. Everything else separates.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The sentence with its ASCII letters in lower case: other letters keep their length in bytes so.
    text: String,
    ranges: Vec<Range<usize>>,
}

impl Tokens {
    /// Takes another sentence.
    pub(super) fn read(&mut self, sentence: &str) {
        self.text.clear();
        self.text.push_str(sentence);
        self.text.make_ascii_lowercase();
        self.ranges.clear();
        let mut start = None;
        let mut before = ' ';
        let mut rest = self.text.char_indices().peekable();
        while let Some((at, c)) = rest.next() {
            let after = rest.peek().map_or(' ', |(_, next)| *next);
            // An apostrophe is part of its word, a decimal point of its number.
            let joins = c == '\'' || c == '.' && before.is_ascii_digit() && after.is_ascii_digit();
            if c.is_alphanumeric() || start.is_some() && joins {
                start.get_or_insert(at);
            } else {
                self.ranges.extend(start.take().map(|start| start..at));
                let dash = matches!(c, '-' | '–' | '—') && before.is_whitespace() && after.is_whitespace();
                if dash || matches!(c, ',' | ';' | ':' | '/' | '(' | ')') {
                    self.ranges.push(at..at + c.len_utf8());
                }
            }
            before = c;
        }
        self.ranges.extend(start.map(|start| start..self.text.len()));
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }

    /// The token, a dash of any length as `-`.
    pub(super) fn get(&self, at: usize) -> &str {
        match &self.text[self.ranges[at].clone()] {
            "–" | "—" => "-",
            word => word,
        }
    }

    /// Whether the token is a mark of punctuation.
    pub(super) fn is_mark(&self, at: usize) -> bool {
        matches!(self.get(at), "," | ";" | ":" | "/" | "(" | ")" | "-")
    }

    /// Where the tokens of a range are in the sentence, in bytes.
    pub(super) fn bytes(&self, tokens: Range<usize>) -> Range<usize> {
        match tokens.is_empty() {
            true => 0..0,
            false => self.ranges[tokens.start].start..self.ranges[tokens.end - 1].end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(sentence: &str) -> Vec<String> {
        let mut tokens = Tokens::default();
        tokens.read("something before");
        tokens.read(sentence);
        (0..tokens.len()).map(|at| tokens.get(at).to_owned()).collect()
    }

    #[test]
    fn words_numbers_and_marks_are_tokens() {
        assert_eq!(
            tokens("Left-sided 1.5 cm nodule, s/p CABG."),
            ["left", "sided", "1.5", "cm", "nodule", ",", "s", "/", "p", "cabg"]
        );
        assert_eq!(tokens("Heart - patient's — été"), ["heart", "-", "patient's", "-", "été"]);
        assert_eq!(tokens(" . ___ "), Vec::<String>::new());
    }

    #[test]
    fn tokens_know_where_they_are() {
        let mut tokens = Tokens::default();
        tokens.read("é Small, left-sided");
        assert_eq!(tokens.bytes(1..2), 3..8);
        assert_eq!(tokens.bytes(3..5), 10..20);
        assert_eq!(tokens.bytes(2..2), 0..0);
    }
}
