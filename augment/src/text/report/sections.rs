//! The sections of a report.

use std::sync::LazyLock;

use regex::Regex;

/// What a section is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Title {
    /// The summary: `IMPRESSION`, `CONCLUSION`, `OPINION`.
    Impression,
    /// What is seen: `FINDINGS`, or the name of the examination over it (`PORTABLE CHEST RADIOGRAPH`).
    Findings,
    /// The examination that this one is compared with.
    Comparison,
    /// Why the image was taken: `INDICATION`, `HISTORY`, `REASON FOR EXAM`.
    Indication,
    /// How it was taken: `EXAMINATION`, `TECHNIQUE`.
    Technique,
    /// What was added later: `ADDENDUM`, and the text after a line of underscores.
    Addendum,
    /// Anything else: `NOTIFICATION`, `RECOMMENDATION`, `WET READ`, `FINAL REPORT`.
    Other,
}

/// One section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What it is about.
    pub title: Title,
    /// Its text after the colon, without white space around it.
    pub text: &'a str,
}

/// A report cut at its titles.
///
/// Titles are known words before a colon, in any case at the start of a line, in capitals elsewhere. The conventions are those of
/// `create_section_files.py` of MIMIC-CXR (github.com/MIT-LCP/mimic-cxr): the last section of a title counts, a line of underscores
/// starts an addendum, and a report without impression and findings is represented by its last paragraph. Unlike there, a title that
/// isn't known (`LUNGS:`) starts no section, since it is a line of the findings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sections<'a> {
    /// What comes before the first title, without white space around it.
    pub preamble: &'a str,
    /// The sections in their order.
    pub parts: Vec<Part<'a>>,
}

impl<'a> Sections<'a> {
    /// The sections of a report.
    #[must_use]
    pub fn of(report: &'a str) -> Self {
        let headings: Vec<_> = HEADING.captures_iter(report).collect();
        let range = |at: usize| headings[at].get(0).expect("group 0 is the match").range();
        let end = |at: usize| if at < headings.len() { range(at).start } else { report.len() };
        let part = |at: usize| {
            // A line of underscores has no words.
            let title = headings[at].name("title").or_else(|| headings[at].name("capitals"));
            Part {
                title: title.map_or(Title::Addendum, |title| Title::of(title.as_str())),
                text: report[range(at).end..end(at + 1)].trim(),
            }
        };
        Self { preamble: report[..end(0)].trim(), parts: (0..headings.len()).map(part).collect() }
    }

    /// The text of the last section of that title that has any.
    #[must_use]
    pub fn last(&self, title: Title) -> Option<&'a str> {
        self.parts.iter().rev().find(|part| part.title == title && !part.text.is_empty()).map(|part| part.text)
    }

    /// The last paragraph of the report: what follows the last blank line of its last section with text. Indication, comparison and
    /// technique say nothing of the image, and are passed over.
    #[must_use]
    pub fn last_paragraph(&self) -> Option<&'a str> {
        let says = |part: &&Part<'_>| !matches!(part.title, Title::Indication | Title::Comparison | Title::Technique);
        let texts = self.parts.iter().rev().filter(says).map(|part| part.text).chain([self.preamble]);
        texts
            .flat_map(|text| BLANK_LINE.split(text).collect::<Vec<_>>().into_iter().rev())
            .map(str::trim)
            .find(|text| !text.is_empty())
    }
}

impl Title {
    /// The title of that heading.
    fn of(heading: &str) -> Self {
        let heading = heading.to_lowercase();
        let names = |words: &[&str]| words.iter().any(|word| heading.contains(word));
        // `FINDINGS AND IMPRESSION` has both: it is what there is to be said.
        if names(&["impression", "conclusion", "opinion"]) {
            Self::Impression
        } else if names(&["addend"]) {
            Self::Addendum
        } else if names(&["comparison", "compared"]) {
            Self::Comparison
        } else if names(&["indication", "history", "reason", "information"]) {
            Self::Indication
        } else if names(&["finding"]) {
            Self::Findings
        } else if names(&["exam", "technique", "procedure", "study"]) {
            Self::Technique
        } else if names(&["chest", "view", "radiograph", "x-ray"]) {
            Self::Findings
        } else {
            Self::Other
        }
    }
}

/// Titles of MIMIC-CXR and Open-i reports, the colon left out.
const KNOWN: &str = "IMPRESSIONS?|CONCLUSIONS?|OPINION|FINDINGS?|FINAL REPORT|WET READ|(?:TYPE OF )?EXAMINATION|EXAM|PROCEDURE|STUDY|\
    (?:CLINICAL )?INDICATIONS?|REASON FOR (?:THE )?EXAM(?:INATION)?|(?:CLINICAL |PATIENT )?HISTORY|CLINICAL INFORMATION|TECHNIQUE|\
    COMPARISONS?|RECOMMENDATIONS?|NOTIFICATIONS?|ADDENDUM";

/// A title, or a line of underscores.
static HEADING: LazyLock<Regex> = LazyLock::new(|| {
    let several = format!("(?:{KNOWN})(?:(?: AND | & | ?/ ?)(?:{KNOWN}))*");
    // The name of an examination, as some reports have it over their findings.
    let examination = r"[A-Z][A-Z0-9 (),/&_-]{0,60}?\b(?:CHEST|VIEWS?|RADIOGRAPHS?|X-RAY)\b[A-Z0-9 (),/&_-]{0,40}?";
    let line = format!(r"^[ \t]*(?P<title>(?i:{several})|{examination})[ \t]*:");
    let inside = format!(r"\b(?P<capitals>{several})[ \t]*:");
    // De-identified words are three underscores, and may stand on a line of their own.
    let underscores = r"^[ \t]*_{5,}[ \t]*\r?$";
    let pattern = format!("(?m)(?:{line}|{inside}|{underscores})");
    Regex::new(&pattern).expect("the pattern is well-formed")
});

/// White space with two line ends.
static BLANK_LINE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\n[ \t\r]*\n").expect("the pattern is well-formed"));

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// In the form of a MIMIC-CXR report.
    const REPORT: &str = "                                 FINAL REPORT\n EXAMINATION:  CHEST (PA AND LAT)\n \n INDICATION:  Cough, \
        rule out\n pneumonia.\n \n COMPARISON:  None.\n \n FINDINGS: \n \n The lungs are clear.\n Heart size is normal.\n \n \
        IMPRESSION: \n \n 1. No pneumonia.\n 2. Old rib fractures.\n______________________________________________________________\n \
        Told to Dr. ___ by telephone.\n";

    #[test]
    fn a_report_is_cut_at_its_titles() {
        let sections = Sections::of(REPORT);
        assert_eq!(sections.preamble, "FINAL REPORT");
        let titles: Vec<_> = sections.parts.iter().map(|part| part.title).collect();
        let expected =
            [Title::Technique, Title::Indication, Title::Comparison, Title::Findings, Title::Impression, Title::Addendum];
        assert_eq!(titles, expected);
        assert_eq!(sections.last(Title::Technique), Some("CHEST (PA AND LAT)"));
        assert_eq!(sections.last(Title::Findings), Some("The lungs are clear.\n Heart size is normal."));
        assert_eq!(sections.last(Title::Impression), Some("1. No pneumonia.\n 2. Old rib fractures."));
        assert_eq!(sections.last(Title::Addendum), Some("Told to Dr. ___ by telephone."));
        assert_eq!(sections.last_paragraph(), sections.last(Title::Addendum));
    }

    #[test]
    fn the_last_section_of_a_title_counts() {
        let twice = "WET READ: fine\nIMPRESSION: Wet.\nFINAL REPORT IMPRESSION: Effusion.\nNOTIFICATION: none";
        assert_eq!(Sections::of(twice).last(Title::Impression), Some("Effusion."));
        assert_eq!(
            Sections::of("IMPRESSION: Mass.\nIMPRESSION:\n").last(Title::Impression),
            Some("Mass."),
            "an empty one doesn't"
        );
        let added = "IMPRESSION: Mass.\n_____\n ADDENDUM:\n IMPRESSION: Nodule.";
        assert_eq!(Sections::of(added).last(Title::Impression), Some("Nodule."));
    }

    #[test]
    fn titles_have_many_forms() {
        for (report, title, text) in [
            ("Impression : No mass.", Title::Impression, "No mass."),
            ("CONCLUSIONS: No mass.", Title::Impression, "No mass."),
            ("FINDINGS AND IMPRESSION: No mass.", Title::Impression, "No mass."),
            ("Findings/Impression: No mass.", Title::Impression, "No mass."),
            ("PORTABLE CHEST RADIOGRAPH: No mass.", Title::Findings, "No mass."),
            ("AP VIEW OF THE CHEST ___: No mass.", Title::Findings, "No mass."),
            ("REASON FOR EXAM: cough", Title::Indication, "cough"),
            ("CLINICAL HISTORY: cough", Title::Indication, "cough"),
        ] {
            assert_eq!(Sections::of(report).last(title), Some(text), "{report}");
        }
        // Neither a line of the findings nor a sentence is a title.
        for report in ["LUNGS: clear.", "The impression: a mass.", "Her history: cough.", "an x-ray: normal"] {
            assert_eq!(Sections::of(report).parts, [], "{report}");
        }
    }

    #[test]
    fn a_report_without_titles_has_a_last_paragraph() {
        let sections = Sections::of("Single view.\n\n Small effusion,\n no mass.\n \n");
        assert_eq!((sections.last(Title::Impression), sections.last(Title::Findings)), (None, None));
        assert_eq!(sections.last_paragraph(), Some("Small effusion,\n no mass."));
        assert_eq!(Sections::of("One line.").last_paragraph(), Some("One line."));
        assert_eq!(Sections::of(" \n\n ").last_paragraph(), None);
        assert_eq!(Sections::of("Small mass.\nINDICATION: pneumonia").last_paragraph(), Some("Small mass."));
        assert_eq!(Sections::of("INDICATION: pneumonia\nTECHNIQUE: PA").last_paragraph(), None);
    }

    proptest! {
        #[test]
        fn every_text_has_its_parts_in_order(lines in prop::collection::vec(
            prop::sample::select(vec!["FINDINGS:", "impression:", "______", "___", "", " ", "No mass.", "é: ", "CHEST:"]), 0..12)
        ) {
            let report = lines.join("\n");
            let sections = Sections::of(&report);
            let mut from = 0;
            for text in [sections.preamble].into_iter().chain(sections.parts.iter().map(|part| part.text)) {
                prop_assert_eq!(text.trim(), text);
                from += report[from..].find(text).expect("parts are of the report, one after the other") + text.len();
            }
        }
    }
}
