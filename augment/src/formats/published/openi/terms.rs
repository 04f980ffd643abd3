//! What the index terms of OpenI's reports are as findings.

use crate::record::{Finding, Label, Vocabulary};

/// A finding, and the terms by which people indexed it: a descriptor, or one with the qualifier that makes it this finding.
type Terms = (&'static str, &'static [(&'static str, &'static str)]);

/// The findings with the terms of the collection's `MeSH/major` that say them. Descriptors are compared whole: `Pericardial Effusion` is none of
/// the pleura, nor `Cystic Fibrosis` a fibrosis, as it would be where parts of words are looked for.
const TERMS: [Terms; 18] = [
    ("Atelectasis", &[("Pulmonary Atelectasis", ""), ("Atelectasis", "")]),
    ("Cardiomegaly", &[("Cardiomegaly", ""), ("Cardiac Shadow", "enlarged")]),
    ("Consolidation", &[("Consolidation", "")]),
    ("Edema", &[("Pulmonary Edema", "")]),
    ("Effusion", &[("Pleural Effusion", ""), ("Hydropneumothorax", ""), ("Hemothorax", ""), ("Hemopneumothorax", "")]),
    ("Emphysema", &[("Emphysema", ""), ("Pulmonary Emphysema", ""), ("Bullous Emphysema", "")]),
    ("Fibrosis", &[("Pulmonary Fibrosis", ""), ("Fibrosis", "")]),
    ("Fracture", &[("Fractures, Bone", "")]),
    ("Granuloma", &[("Granuloma", ""), ("Calcified Granuloma", "")]),
    ("Hernia", &[("Hernia, Hiatal", ""), ("Hernia, Diaphragmatic", "")]),
    ("Infiltration", &[("Infiltrate", "")]),
    ("Lung Opacity", &[("Opacity", ""), ("Airspace Disease", "")]),
    ("Mass", &[("Mass", "")]),
    ("Nodule", &[("Nodule", "")]),
    ("Pleural_Thickening", &[("Thickening", "pleura")]),
    ("Pneumonia", &[("Pneumonia", "")]),
    ("Pneumothorax", &[("Pneumothorax", ""), ("Hydropneumothorax", ""), ("Hemopneumothorax", "")]),
    (
        "Support Devices",
        &[("Catheters, Indwelling", ""), ("Implanted Medical Device", ""), ("Medical Device", ""), ("Tube, Inserted", "")],
    ),
];

/// Terms that say nothing of what there is.
const NOTHING_KNOWN: [&str; 2] = ["No Indexing", "Technical Quality of Image Unsatisfactory"];

/// The findings in order.
pub(super) fn vocabulary() -> Vocabulary {
    let findings = TERMS.iter().map(|(name, _)| Finding::custom(name));
    Vocabulary::new(findings).expect("the list has every finding once")
}

/// The labels of a report with these terms; a finding that none names is negative, as the whole report was indexed. All are unknown if the
/// terms say nothing.
pub(super) fn labels<'a>(terms: impl Iterator<Item = &'a str> + Clone) -> Vec<Label> {
    let says_nothing = |term: &str| NOTHING_KNOWN.iter().any(|nothing| nothing.eq_ignore_ascii_case(term.trim()));
    if terms.clone().all(says_nothing) {
        return vec![Label::Missing; TERMS.len()];
    }
    let has = |wanted: &(&str, &str)| terms.clone().any(|term| is(term, wanted));
    TERMS.iter().map(|(_, of)| if of.iter().any(has) { Label::Positive } else { Label::Negative }).collect()
}

/// Whether `term` is that descriptor, with that qualifier if there is one.
fn is(term: &str, (descriptor, qualifier): &(&str, &str)) -> bool {
    let mut parts = term.split('/').map(str::trim);
    parts.next().is_some_and(|first| first.eq_ignore_ascii_case(descriptor))
        && (qualifier.is_empty() || parts.any(|part| part.eq_ignore_ascii_case(qualifier)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive(terms: &[&str]) -> Vec<&'static str> {
        let labels = labels(terms.iter().copied());
        let vocabulary = vocabulary();
        let found = vocabulary.findings().iter().zip(labels).filter(|(_, label)| *label == Label::Positive);
        found.map(|(finding, _)| finding.name()).collect()
    }

    #[test]
    fn descriptors_are_compared_whole() {
        assert_eq!(positive(&["Opacity/lung/base/left", "Cardiomegaly/mild"]), ["Cardiomegaly", "Lung Opacity"]);
        assert_eq!(
            positive(&["Cardiac Shadow/enlarged/mild", "Thickening/pleura/apex/left"]),
            ["Cardiomegaly", "Pleural_Thickening"]
        );
        assert_eq!(
            positive(&[
                "Cardiac Shadow/borderline",
                "Thickening/bronchovascular",
                "Pericardial Effusion",
                "Cystic Fibrosis",
                "normal"
            ]),
            [""; 0]
        );
        assert_eq!(positive(&["Hydropneumothorax/left"]), ["Effusion", "Pneumothorax"]);
    }

    #[test]
    fn terms_that_say_nothing_leave_labels_unknown() {
        for terms in [&["No Indexing"][..], &["Technical Quality of Image Unsatisfactory "], &[]] {
            assert!(labels(terms.iter().copied()).iter().all(|label| *label == Label::Missing), "{terms:?}");
        }
        assert!(labels(["No Indexing", "normal"].into_iter()).iter().all(|label| *label == Label::Negative));
    }
}
