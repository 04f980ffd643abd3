//! Cleaning report text so that it can be a prompt.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{Sections, Title};

/// Which part of a text is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Section {
    /// The last impression. A text without any title is taken whole, as tables often have a column of impressions.
    #[default]
    Impression,
    /// The last findings. A text without any title is taken whole.
    Findings,
    /// The last impression, else the last findings, else the last paragraph: the order of MIMIC-CXR's `create_section_files.py`.
    ImpressionOrNext,
    /// All of it.
    Whole,
}

/// What becomes of the marks that de-identification has left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Marks {
    /// They are removed: no image shows them, and generators learn them by heart.
    #[default]
    Remove,
    /// They stay as they are.
    Keep,
}

/// The part of a report that a [`Section`] took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenFrom {
    /// The impression.
    Impression,
    /// The findings.
    Findings,
    /// The last paragraph of a report without either.
    LastParagraph,
    /// All of a text, which was asked for or has no titles.
    Whole,
}

impl fmt::Display for TakenFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Impression => "impression",
            Self::Findings => "findings",
            Self::LastParagraph => "last paragraph",
            Self::Whole => "whole text",
        })
    }
}

impl Section {
    /// The part of a text, without its title, and which part that is.
    ///
    /// # Errors
    /// [`Dropped::NoImpression`], [`Dropped::NoFindings`] or [`Dropped::Empty`].
    pub fn take(self, text: &str) -> Result<(TakenFrom, &str), Dropped> {
        if self == Self::Whole {
            return Ok((TakenFrom::Whole, text));
        }
        let sections = Sections::of(text);
        let part = |title, from| sections.last(title).map(|text| (from, text));
        let impression = part(Title::Impression, TakenFrom::Impression);
        let findings = part(Title::Findings, TakenFrom::Findings);
        let untitled = sections.parts.is_empty().then_some((TakenFrom::Whole, text));
        match self {
            Self::Findings => untitled.or(findings).ok_or(Dropped::NoFindings),
            Self::ImpressionOrNext => {
                let paragraph = || {
                    let paragraph = sections.last_paragraph()?;
                    let whole = sections.parts.is_empty() && paragraph == sections.preamble;
                    Some((if whole { TakenFrom::Whole } else { TakenFrom::LastParagraph }, paragraph))
                };
                impression.or(findings).or_else(paragraph).ok_or(Dropped::Empty)
            }
            Self::Impression | Self::Whole => untitled.or(impression).ok_or(Dropped::NoImpression),
        }
    }
}

/// How reports are cleaned. Every rule is a function of the text alone.
///
/// RoentGen's prompts are impressions of 7 to 77 CLIP tokens, as an independent replication implements it (bokunopica/diff-adj,
/// `scripts/datasets/mimic_datasets_preprocessing.py`). De-identification leaves marks that no image shows: `___` (MIMIC-CXR),
/// `XXXX` (Open-i) and `[** … **]` (older MIMIC releases).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReportCleaning {
    /// The part that is taken.
    pub section: Section,
    /// Whether marks of de-identification stay.
    pub marks: Marks,
    /// Strip phrases such as `compared to the prior radiograph`, which no single image can show.
    pub strip_comparisons: bool,
    /// Fewest tokens of a cleaned report, begin and end tokens included.
    pub min_tokens: usize,
    /// Most tokens of a report with its prefix, begin and end tokens included. Template text may be longer, and is cut by the text
    /// encoder.
    pub max_tokens: usize,
}

impl Default for ReportCleaning {
    fn default() -> Self {
        Self { section: Section::Impression, marks: Marks::Remove, strip_comparisons: false, min_tokens: 7, max_tokens: 77 }
    }
}

/// Why a row has no prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropped {
    /// It has no report.
    NoReport,
    /// Its report has titles, and none of them is the impression's.
    NoImpression,
    /// Its report has titles, and none of them is that of the findings.
    NoFindings,
    /// Nothing is left of its report.
    Empty,
    /// Its report has fewer tokens than [`ReportCleaning::min_tokens`].
    TooShort,
    /// Its prompt has more tokens than [`ReportCleaning::max_tokens`].
    TooLong,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoReport => "no report",
            Self::NoImpression => "no impression in the report",
            Self::NoFindings => "no findings in the report",
            Self::Empty => "nothing left of the report",
            Self::TooShort => "report too short",
            Self::TooLong => "prompt too long",
        })
    }
}

impl ReportCleaning {
    /// The cleaned text, on one line. Cleaning it again changes nothing, and it is never longer than `text`.
    ///
    /// # Errors
    /// As [`Section::take`], and [`Dropped::Empty`].
    pub fn clean(&self, text: &str) -> Result<String, Dropped> {
        let mut text = self.pass(text)?;
        // What one pass leaves can hold what the next one takes: a title that a mark had hidden, say. Every pass that changes
        // the text takes characters from it or turns other white space into spaces, so this ends.
        loop {
            let next = self.pass(&text)?;
            if next == text {
                return Ok(text);
            }
            text = next;
        }
    }

    /// The cleaned text if it is long enough; `count` gives the tokens of a text, begin and end tokens included.
    ///
    /// # Errors
    /// As [`ReportCleaning::clean`], and [`Dropped::TooShort`].
    pub fn apply(&self, text: &str, count: &dyn Fn(&str) -> usize) -> Result<String, Dropped> {
        let text = self.clean(text)?;
        if count(&text) < self.min_tokens { Err(Dropped::TooShort) } else { Ok(text) }
    }

    fn pass(&self, text: &str) -> Result<String, Dropped> {
        let text = self.section.take(text)?.1;
        let text = match self.marks {
            Marks::Remove => without_marks(text),
            Marks::Keep => text.to_owned(),
        };
        let text = if self.strip_comparisons { without_comparisons(&text) } else { text };
        let text = tidy(&text);
        if text.chars().any(char::is_alphanumeric) { Ok(text) } else { Err(Dropped::Empty) }
    }
}

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

/// The text with a space for every mark of de-identification.
fn without_marks(text: &str) -> String {
    MARK.replace_all(text, " ").into_owned()
}

/// The text without phrases of comparison.
fn without_comparisons(text: &str) -> String {
    COMPARISON.replace_all(text, " ").into_owned()
}

/// The text on one line with single spaces, and without the punctuation that removed words have left behind.
fn tidy(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text: Cow<'_, str> = HOLLOW.replace_all(&spaced, " ");
    for (rule, with) in [(&*LOOSE, "$1"), (&*DOUBLED, "$1")] {
        text = Cow::Owned(rule.replace_all(&text, with).into_owned());
    }
    let begun = text.trim_start_matches(|c: char| c.is_whitespace() || ".,;:)]-".contains(c));
    begun.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Words, with the begin and the end token that every encoder adds.
    fn words(text: &str) -> usize {
        text.split_whitespace().count() + 2
    }

    fn clean(text: &str) -> Result<String, Dropped> {
        ReportCleaning::default().clean(text)
    }

    #[test]
    fn the_impression_is_taken() {
        let report = "FINAL REPORT\n EXAMINATION: CHEST\n\n FINDINGS:\n Lungs are clear.\n\n IMPRESSION:\n 1. No pneumonia.\n\
        2. Stable\n   cardiomegaly.\n\n NOTIFICATION: Dr. ___ was told.";
        assert_eq!(clean(report).unwrap(), "1. No pneumonia. 2. Stable cardiomegaly.");
        assert_eq!(clean("Findings: clear.\nImpression: Normal chest.").unwrap(), "Normal chest.");
        assert_eq!(clean("IMPRESSION: wet read. FINAL REPORT IMPRESSION: Effusion.").unwrap(), "Effusion.");
        assert_eq!(clean("The findings: a small effusion.").unwrap(), "The findings: a small effusion.");
        assert_eq!(clean("FINDINGS: Lungs are clear."), Err(Dropped::NoImpression));
        let of = |section, text| ReportCleaning { section, ..ReportCleaning::default() }.clean(text);
        let both = "FINDINGS: Lungs are clear.\nIMPRESSION: Normal chest.";
        assert_eq!(of(Section::Findings, both).unwrap(), "Lungs are clear.");
        assert_eq!(of(Section::Findings, "IMPRESSION: Normal chest."), Err(Dropped::NoFindings));
        assert_eq!(of(Section::ImpressionOrNext, both).unwrap(), "Normal chest.");
        assert_eq!(of(Section::ImpressionOrNext, "FINDINGS: Lungs are clear.").unwrap(), "Lungs are clear.");
        assert_eq!(of(Section::ImpressionOrNext, "One view.\n\nLungs are\nclear.").unwrap(), "Lungs are clear.");
        assert_eq!(of(Section::ImpressionOrNext, "FINDINGS:"), Err(Dropped::Empty));
        let whole = ReportCleaning { section: Section::Whole, ..ReportCleaning::default() };
        assert_eq!(whole.clean("FINDINGS: Lungs are clear.").unwrap(), "FINDINGS: Lungs are clear.");
    }

    #[test]
    fn marks_of_de_identification_go() {
        for (text, cleaned) in [
            ("Telephoned to Dr. ___ at ___ on ___, with a mass.", "Telephoned to Dr. at on, with a mass."),
            ("XXXX right effusion. (XXXX) Stable.", "right effusion. Stable."),
            ("Line placed [**2101-3-4**] by [** First Name\n(NamePattern1) **], tip in SVC.", "Line placed by, tip in SVC."),
            ("Open [** bracket", "Open bracket"),
            // The names of views and of vertebrae are not marks.
            ("XX chromosome, x-ray of T_4.", "XX chromosome, x-ray of T_4."),
        ] {
            assert_eq!(clean(text).unwrap(), cleaned);
        }
        let keep = ReportCleaning { marks: Marks::Keep, ..ReportCleaning::default() };
        assert_eq!(keep.clean("XXXX right\neffusion, told to Dr. ___.").unwrap(), "XXXX right effusion, told to Dr. ___.");
        assert_eq!(clean("___ XXXX. [**x**]"), Err(Dropped::Empty));
        assert_eq!(clean(" \n\t"), Err(Dropped::Empty));
    }

    #[test]
    fn comparisons_go_on_request() {
        let strip = ReportCleaning { strip_comparisons: true, ..ReportCleaning::default() };
        for (text, cleaned) in [
            ("Compared to the prior radiograph, the effusion is larger.", "the effusion is larger."),
            ("Larger effusion as compared with the most recent previous chest radiograph from ___.", "Larger effusion."),
            ("No change since the prior study, small nodule.", "No change small nodule."),
            ("In comparison with previous exam of 3/4/21, edema.", "edema."),
            ("Cardiomegaly (compared to prior CT).", "Cardiomegaly."),
            // Neither names another examination.
            ("Prior sternotomy. Mass from the last rib.", "Prior sternotomy. Mass from the last rib."),
        ] {
            assert_eq!(strip.clean(text).unwrap(), cleaned);
        }
        assert!(clean("Compared to the prior radiograph, worse.").unwrap().starts_with("Compared"));
    }

    #[test]
    fn short_reports_are_dropped() {
        let rules = ReportCleaning { min_tokens: 5, ..ReportCleaning::default() };
        assert_eq!(rules.apply("No effusion", &words), Err(Dropped::TooShort));
        assert_eq!(rules.apply("No effusion ___ seen", &words).unwrap(), "No effusion seen");
    }

    #[test]
    fn settings_are_strict() {
        let read: Result<ReportCleaning, _> = serde_json::from_str(r#"{"section": "whole", "max_tokens": 40}"#);
        let expected = ReportCleaning { section: Section::Whole, max_tokens: 40, ..ReportCleaning::default() };
        assert_eq!(read.unwrap(), expected);
        assert!(serde_json::from_str::<ReportCleaning>(r#"{"max_token": 40}"#).is_err());
    }

    /// Figure captions, the nearest open text to reports: none of their words may be lost.
    #[test]
    fn open_captions_keep_their_words() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/roco_cxr_captions/captions.jsonl");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: {} is not there", path.display());
            return;
        };
        let captions: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!captions.is_empty());
        let rules = ReportCleaning { section: Section::Whole, ..ReportCleaning::default() };
        let mut kept = 0;
        for caption in captions.iter().map(|caption| caption["text"].as_str().unwrap()) {
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            assert_eq!(letters(&rules.clean(caption).unwrap()), letters(caption));
            kept += usize::from(rules.apply(caption, &words).is_ok());
        }
        // Most captions are sentences.
        assert!(kept > captions.len() / 2, "{kept} of {}", captions.len());
    }

    /// Texts that have much of what the rules look for.
    fn report() -> impl Strategy<Value = String> {
        let parts = prop_oneof![
            "[a-z]{1,8}",
            "[ \t\n]{1,3}",
            "_{1,4}",
            "X{1,5}",
            prop::sample::select(vec![
                "[**",
                "**]",
                "IMPRESSION:",
                "Impression :",
                "FINDINGS:",
                "compared to the prior",
                "since the previous study",
                "from",
                "radiograph",
                ",",
                ".",
                ";",
                "(",
                ")",
                "[",
                "]",
                "-",
                "é",
                "\u{a0}",
                "\u{0}",
            ])
            .prop_map(str::to_owned),
        ];
        prop::collection::vec(parts, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1024))]

        #[test]
        fn cleaning_is_idempotent_and_takes_only_away(text in report(), strip: bool, section in 0..4usize) {
            let section = [Section::Whole, Section::Impression, Section::Findings, Section::ImpressionOrNext][section];
            let rules = ReportCleaning { section, strip_comparisons: strip, ..ReportCleaning::default() };
            let Ok(cleaned) = rules.clean(&text) else { return Ok(()) };
            prop_assert_eq!(rules.clean(&cleaned), Ok(cleaned.clone()));
            prop_assert!(cleaned.len() <= text.len());
            for mark in ["__", "[**", "**]", "  ", "\n", "\t"] {
                prop_assert!(!cleaned.contains(mark), "{cleaned:?} has {mark:?}");
            }
            let masked = cleaned.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w.len() > 2 && w.chars().all(|c| c == 'X'));
            prop_assert!(!masked, "{cleaned:?}");
            // Every letter that is left was there, in this order.
            let mut rest = text.chars();
            prop_assert!(cleaned.chars().filter(|c| !c.is_whitespace()).all(|c| rest.any(|other| other == c)));
        }
    }
}
