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
        // The names of films and of vertebrae are no marks.
        ("XX chromosome, x-ray of T_4.", "XX chromosome, x-ray of T_4."),
    ] {
        assert_eq!(clean(text).unwrap(), cleaned);
    }
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

/// Figure captions, which are no reports but the nearest to them that is open: none of their words may be lost.
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
    fn cleaning_is_idempotent_and_takes_only_away(text in report(), strip: bool, whole: bool) {
        let section = if whole { Section::Whole } else { Section::Impression };
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
