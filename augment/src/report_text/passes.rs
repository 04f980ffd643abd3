//! The rules, one function each; none lengthens its text.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

/// Headings of the part that sums a report up.
const IMPRESSION: &str = "IMPRESSIONS?|CONCLUSIONS?";

/// Headings of the other parts, as MIMIC-CXR and Open-i reports have them.
const OTHER: &str = "FINAL REPORT|WET READ|EXAMINATION|EXAM|PROCEDURE|INDICATIONS?|REASON FOR EXAM(?:INATION)?|HISTORY|\
    CLINICAL HISTORY|CLINICAL INFORMATION|TECHNIQUE|COMPARISONS?|FINDINGS?|RECOMMENDATIONS?|NOTIFICATION|ADDENDUM";

/// Headings: in capitals anywhere, in any case where a line begins. Group 1 is the impression's.
static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    let any = format!("({IMPRESSION})|(?:{OTHER})");
    // Two alternatives cannot share a group, so the impression's is group 1 or 2.
    regex(&format!(r"(?m)(?:^[ \t]*(?i:{any})|\b(?:{any}))[ \t]*:"))
});

/// Marks of de-identification. The last two are what is left of brackets that lost their partner.
static MARK: LazyLock<Regex> = LazyLock::new(|| regex(r"(?s)\[\*\*.*?\*\*\]|_{2,}|\bX{3,}\b|\[\*\*|\*\*\]"));

/// Phrases that point to another examination, with the words that only they need.
static COMPARISON: LazyLock<Regex> = LazyLock::new(|| {
    let earlier = "(?:the |a |her |his )?(?:most recent |immediate |immediately )?(?:prior|previous|preceding|earlier|last)";
    let study = "(?: (?:chest|portable|frontal|lateral|pa|ap|ct|cxr|x-rays?|radiographs?|films?|images?|imaging|study|studies|\
        exams?|examinations?))";
    let when = r"(?: (?:from|of|dated|on)(?: the)?(?: same day| [0-9][0-9/.:-]*)?)?";
    let opening = "(?:as |when )?(?:compared|in comparison|comparison is made) (?:to|with)";
    regex(&format!(r"(?i)[,;(]?\s*\b(?:{opening} {earlier}{study}{{0,4}}|(?:since|from) {earlier}{study}{{1,4}}){when}\b\)?,?"))
});

/// Brackets around nothing.
static HOLLOW: LazyLock<Regex> = LazyLock::new(|| regex(r"\(\s*[.,;:]*\s*\)|\[\s*[.,;:]*\s*\]"));

/// White space before a mark of punctuation.
static LOOSE: LazyLock<Regex> = LazyLock::new(|| regex(r"\s+([.,;:!?])"));

/// A comma or the like that another mark of punctuation has overtaken.
static DOUBLED: LazyLock<Regex> = LazyLock::new(|| regex(r"[,;:]+\s*([.,;:])"));

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is well-formed")
}

/// The impression of a report; the whole text where it has no heading, `None` where it has only others.
pub(super) fn impression(text: &str) -> Option<&str> {
    let headings: Vec<_> = HEADING.captures_iter(text).collect();
    if headings.is_empty() {
        return Some(text);
    }
    let at = headings.iter().rposition(|heading| heading.get(1).or(heading.get(2)).is_some())?;
    let range = |at: usize| headings[at].get(0).expect("group 0 is the match").range();
    let end = if at + 1 < headings.len() { range(at + 1).start } else { text.len() };
    Some(&text[range(at).end..end])
}

/// The text with a space for every mark of de-identification.
pub(super) fn without_marks(text: &str) -> String {
    MARK.replace_all(text, " ").into_owned()
}

/// The text without phrases of comparison.
pub(super) fn without_comparisons(text: &str) -> String {
    COMPARISON.replace_all(text, " ").into_owned()
}

/// The text on one line with single spaces, and without the punctuation that removed words have left behind.
pub(super) fn tidy(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text: Cow<'_, str> = HOLLOW.replace_all(&spaced, " ");
    for (rule, with) in [(&*LOOSE, "$1"), (&*DOUBLED, "$1")] {
        text = Cow::Owned(rule.replace_all(&text, with).into_owned());
    }
    let begun = text.trim_start_matches(|c: char| c.is_whitespace() || ".,;:)]-".contains(c));
    begun.split_whitespace().collect::<Vec<_>>().join(" ")
}
