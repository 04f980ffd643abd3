//! Texts into tokens, exactly as the reference implementations do.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Pieces between blanks, as Python's `str.split()`: it also splits at the four separators of ASCII, which Unicode doesn't call blank.
pub(super) fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_blank).filter(|piece| !piece.is_empty())
}

/// A text without blanks at its end, as Python's `str.rstrip()`.
pub(super) fn without_end(text: &str) -> &str {
    text.trim_end_matches(is_blank)
}

fn is_blank(letter: char) -> bool {
    letter.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&letter)
}

/// The four rules of sacrebleu 2.6's `tokenizer_re`, in order: punctuation apart, full stops and commas apart unless between digits, a dash
/// after a digit apart.
static RULES: LazyLock<[(Regex, &str); 4]> = LazyLock::new(|| {
    let rule = |pattern: &str| Regex::new(pattern).expect("a constant pattern");
    [
        (rule(r"([\{-\~\[-\x60 -\&\(-\+\:-\@/])"), " $1 "),
        (rule(r"([^0-9])([.,])"), "$1 $2 "),
        (rule(r"([.,])([^0-9])"), " $1 $2"),
        (rule(r"([0-9])(-)"), "$1 $2 "),
    ]
});

/// mteval-v13a's tokens, with blanks between them, as sacrebleu's `13a`.
pub(super) fn mteval_13a(text: &str) -> String {
    let mut line = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    if line.contains('&') {
        line = line.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    }
    line = format!(" {line} ");
    for (pattern, by) in RULES.iter() {
        if let Cow::Owned(changed) = pattern.replace_all(&line, *by) {
            line = changed;
        }
    }
    line
}

/// Runs of a to z and 0 to 9 after lower-casing, as rouge_score's tokenizer without a stemmer. Any other letter splits a word.
pub(super) fn rouge_tokens(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let pieces = lower.split(|letter: char| !letter.is_ascii_lowercase() && !letter.is_ascii_digit());
    pieces.filter(|piece| !piece.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_13a() {
        // sacrebleu 2.6.0, Tokenizer13a()(text), for each text.
        for (text, tokens) in [
            ("There is a 2.5 cm nodule, left-sided.", "There is a 2.5 cm nodule , left-sided ."),
            ("1,000 (one) 3-4 mm/5", "1,000 ( one ) 3 - 4 mm / 5"),
            ("a..b ,, c...", "a . . b , , c . . ."),
            ("x &lt; 5 &amp;amp; y", "x < 5 & amp ; y"),
            ("co-\noperate <skipped>now\tor\u{1f}never", "cooperate now or never"),
            ("it's \u{201c}fine\u{201d} ±2", "it's \u{201c}fine\u{201d} ±2"),
        ] {
            let line = mteval_13a(text);
            assert_eq!(split(&line).collect::<Vec<_>>().join(" "), tokens, "{text}");
        }
    }

    #[test]
    fn tokens_of_rouge() {
        assert_eq!(rouge_tokens("Tube's tip, 2.5 cm: Röntgen"), ["tube", "s", "tip", "2", "5", "cm", "r", "ntgen"]);
        // The Kelvin sign becomes a k.
        assert_eq!(rouge_tokens("\u{212a} é"), ["k"]);
        assert!(rouge_tokens(" .,;\n").is_empty());
    }
}
