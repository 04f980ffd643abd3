//! Sentences of a report.

/// The sentences of a text, without white space around them and without the numbers and bullets of lists. They have every other
/// character of the text, and line breaks where these fall within a sentence.
///
/// A sentence ends at a blank line, before an item of a list at the start of a line, and at `.`, `!` or `?` before white space, unless
/// what comes before is a title (`Dr.`), an initial or a short form (`vs.`, `e.g.`). After a unit (`1.5 cm.`) it ends if a capital
/// follows. Some reports lack the space after a stop: a capital that follows a small letter and a stop begins a sentence.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = begin(text, 0);
    let mut at = start;
    while at < text.len() {
        match ending(text, start, at) {
            Some(end) => {
                found.extend(Some(text[start..end].trim()).filter(|sentence| !sentence.is_empty()));
                start = begin(text, end);
                at = start;
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    found.extend(Some(text[start..].trim()).filter(|sentence| !sentence.is_empty()));
    found
}

/// Never at the end of a sentence.
const SHORT: &[&str] = &[
    "dr", "drs", "mr", "mrs", "ms", "prof", "st", "vs", "e.g", "i.e", "eg", "ie", "cf", "ca", "fig", "figs", "no", "nos",
    "resp", "incl",
];

/// At the end of a sentence if a capital follows.
const UNITS: &[&str] =
    &["cm", "mm", "approx", "a.m", "p.m", "am", "pm", "etc", "max", "min", "wt", "lat", "sec", "hr", "hrs", "ant", "post"];

/// Where a sentence begins that can't begin before `from`: white space and the mark of a list item are no part of it.
fn begin(text: &str, from: usize) -> usize {
    let start = text.len() - text[from..].trim_start().len();
    let marked = mark(&text[start..]);
    if marked == 0 { start } else { text.len() - text[start + marked..].trim_start().len() }
}

/// Bytes of a list item's mark at the start of a text: `1.`, `2)`, `(3)`, `-`, `*` or `•`, with white space after it; else 0.
fn mark(text: &str) -> usize {
    let rest = text.strip_prefix('(').unwrap_or(text);
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let is_number = (1..=2).contains(&digits) && rest[digits..].starts_with(['.', ')']);
    let length = match text.chars().next() {
        _ if is_number => text.len() - rest.len() + digits + 1,
        Some(bullet @ ('-' | '*' | '•')) => bullet.len_utf8(),
        _ => return 0,
    };
    if text[length..].starts_with(char::is_whitespace) { length } else { 0 }
}

/// Most characters of a short form.
const LONGEST_SHORT: usize = 12;

/// The end of a text without white space and brackets; all of it if that is short, else its last characters.
fn last_word(text: &str) -> &str {
    let outside = |c: char| c.is_whitespace() || c == '(';
    let letters = text.char_indices().rev().take(LONGEST_SHORT + 1).take_while(|(_, c)| !outside(*c));
    letters.last().map_or("", |(start, _)| &text[start..])
}

/// Where the sentence that begins at `start` ends, if the character at `at` ends it.
fn ending(text: &str, start: usize, at: usize) -> Option<usize> {
    let rest = &text[at..];
    match rest.as_bytes()[0] {
        b'\n' => {
            let next = rest[1..].trim_start_matches([' ', '\t', '\r']);
            (next.starts_with('\n') || mark(next) > 0).then_some(at)
        }
        b'!' | b'?' => Some(at + 1).filter(|end| text[*end..].starts_with(char::is_whitespace)),
        b'.' => {
            let after = &text[at + 1..];
            let word = last_word(&text[start..at]);
            if after.starts_with(char::is_whitespace) {
                let lower = word.to_lowercase();
                let initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
                // `No. 3` counts, `no.` alone says no.
                let counts = !matches!(&*lower, "no" | "nos") || after.trim_start().starts_with(|c: char| c.is_ascii_digit());
                if initial || SHORT.contains(&&*lower) && counts {
                    return None;
                }
                let capital = after.trim_start().starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
                return (capital || !UNITS.contains(&&*lower)).then_some(at + 1);
            }
            let small = word.len() > 2 && word.ends_with(char::is_lowercase) && !word.contains('.');
            (small && after.starts_with(char::is_uppercase)).then_some(at + 1)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stops_within_sentences_end_none() {
        for (text, expected) in [
            ("No mass. Small effusion.", &["No mass.", "Small effusion."][..]),
            ("Told to Dr. Smith at 3 p.m. by phone. No mass.", &["Told to Dr. Smith at 3 p.m. by phone.", "No mass."]),
            ("A nodule of 1.5 cm. Stable.", &["A nodule of 1.5 cm.", "Stable."]),
            ("A nodule of 1.5 cm. in the apex.", &["A nodule of 1.5 cm. in the apex."]),
            ("Edema vs. pneumonia. e.g. of the base.", &["Edema vs. pneumonia.", "e.g. of the base."]),
            ("Read by J. Smith. Is it a mass? Yes! fine", &["Read by J. Smith.", "Is it a mass?", "Yes!", "fine"]),
            ("no mass. heart normal. see fig. 3", &["no mass.", "heart normal.", "see fig. 3"]),
            ("No effusion.Heart is normal.", &["No effusion.", "Heart is normal."]),
            ("Is there a mass? no. There is none", &["Is there a mass?", "no.", "There is none"]),
            ("Image no. 3 shows a mass.", &["Image no. 3 shows a mass."]),
            ("Told to Dr. ___ on ___. No mass", &["Told to Dr. ___ on ___.", "No mass"]),
            ("", &[]),
            (" \n. ", &["."]),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
    }

    #[test]
    fn lists_are_sentences_without_their_marks() {
        assert_eq!(sentences("1. No pneumonia. 2. Old fractures."), ["No pneumonia.", "Old fractures."]);
        assert_eq!(
            sentences("1) No pneumonia\n2) Old fractures\n - a mass\n * edema"),
            ["No pneumonia", "Old fractures", "a mass", "edema"]
        );
        assert_eq!(sentences("(1) Mass. (2) Edema"), ["Mass.", "Edema"]);
        // Neither a number nor a dash alone makes a list.
        assert_eq!(sentences("1.5 cm mass - stable. 2 cm nodule"), ["1.5 cm mass - stable.", "2 cm nodule"]);
    }

    #[test]
    fn line_breaks_end_paragraphs_only() {
        let text = "There is a small\n left effusion.\n Heart size\nis normal\n \n Edema";
        assert_eq!(sentences(text), ["There is a small\n left effusion.", "Heart size\nis normal", "Edema"]);
    }

    #[test]
    fn text_without_blanks_takes_no_longer_than_other_text() {
        // Were the word before each stop sought to its beginning, this would take minutes.
        let text = "aa.".repeat(400_000);
        assert_eq!(sentences(&text).len(), 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn sentences_have_every_letter_in_order(parts in prop::collection::vec(prop::sample::select(vec![
            "a", "No", "Dr", "1", "cm", ".", "?", " ", "\n", "\n\n", "-", "é", "(", ")", "\u{a0}", "•", "___",
        ]), 0..24)) {
            let text = parts.concat();
            let letters = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
            let found = sentences(&text);
            prop_assert_eq!(letters(&found.concat()), letters(&text));
            for sentence in found {
                prop_assert!(!sentence.is_empty() && sentence.trim() == sentence);
            }
        }
    }
}
