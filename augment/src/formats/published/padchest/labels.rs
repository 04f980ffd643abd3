//! PadChest's lists of labels as findings.

use crate::record::{Finding, Label, Vocabulary};

/// A finding, and the parts of labels that say it: `pneumonia` is part of `atypical pneumonia`. One that ends in `'` must end the label.
type Parts = (&'static str, &'static [&'static str]);

/// The 28 findings of torchxrayvision 1.5.7 (`datasets.py`, `PC_Dataset`) in its order, and the parts by which it looks for each. Its quirks are
/// kept, as its weights were trained on them: `effusion` is part of `pericardial effusion`, `nodule` of `pseudonodule`.
const FINDINGS: [Parts; 28] = [
    ("Air Trapping", &["air trapping"]),
    ("Aortic Atheromatosis", &["aortic atheromatosis"]),
    ("Aortic Elongation", &["aortic elongation"]),
    ("Atelectasis", &["atelectasis"]),
    ("Bronchiectasis", &["bronchiectasis"]),
    ("Cardiomegaly", &["cardiomegaly"]),
    ("Consolidation", &["consolidation", "air bronchogram"]),
    ("Costophrenic Angle Blunting", &["costophrenic angle blunting"]),
    ("Edema", &["edema"]),
    ("Effusion", &["effusion"]),
    ("Emphysema", &["emphysema"]),
    ("Fibrosis", &["fibrosis"]),
    ("Flattened Diaphragm", &["flattened diaphragm"]),
    ("Fracture", &["fracture"]),
    ("Granuloma", &["granuloma"]),
    ("Hemidiaphragm Elevation", &["hemidiaphragm elevation"]),
    ("Hernia", &["hernia"]),
    ("Hilar Enlargement", &["hilar enlargement", "adenopathy", "pulmonary artery enlargement"]),
    (
        "Infiltration",
        &[
            "infiltration",
            "infiltrates",
            "interstitial pattern",
            "ground glass pattern",
            "reticular interstitial pattern",
            "reticulonodular interstitial pattern",
            "alveolar pattern",
            "consolidation",
            "air bronchogram",
        ],
    ),
    ("Mass", &["mass"]),
    ("Nodule", &["nodule"]),
    ("Pleural_Thickening", &["pleural thickening"]),
    ("Pneumonia", &["pneumonia"]),
    ("Pneumothorax", &["pneumothorax"]),
    ("Scoliosis", &["scoliosis"]),
    ("Support Devices", &["device", "pacemaker"]),
    ("Tube", &["tube'", "stent'"]),
    ("Tuberculosis", &["tuberculosis"]),
];

/// Labels that tell that the report says less than what there is: a finding that is as it was, or an image that is none of a chest.
const INCOMPLETE: [&str; 3] = ["unchanged", "exclude", "suboptimal study"];

/// The findings in order.
pub(super) fn vocabulary() -> Vocabulary {
    Vocabulary::new(FINDINGS.iter().map(|(name, _)| Finding::custom(name))).expect("the list has every finding once")
}

/// The labels of a list, and whether it is incomplete. A finding that a list doesn't name is negative, or unknown if the list says that it is
/// incomplete.
pub(super) fn labels(names: &[String]) -> (Vec<Label>, bool) {
    let is_incomplete = names.iter().any(|name| INCOMPLETE.contains(&name.as_str()));
    let absent = if is_incomplete { Label::Missing } else { Label::Negative };
    let says = |part: &&str| {
        names.iter().any(|name| match part.strip_suffix('\'') {
            Some(end) => name.ends_with(end),
            None => name.contains(part),
        })
    };
    (FINDINGS.iter().map(|(_, parts)| if parts.iter().any(&says) { Label::Positive } else { absent }).collect(), is_incomplete)
}

/// The names in a list as Python writes it: `['normal']`, `["x's", ' y']`, `[]`. `None` for anything else. Blank names say nothing.
pub(super) fn parse(cell: &str) -> Option<Vec<String>> {
    let mut rest = cell.trim().strip_prefix('[')?.strip_suffix(']')?.trim();
    let mut names = Vec::new();
    while !rest.is_empty() {
        let quote = rest.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
        let end = rest[1..].find(quote)? + 1;
        let name = rest[1..end].trim();
        if name.contains('\\') {
            return None;
        }
        if !name.is_empty() {
            names.push(name.to_lowercase());
        }
        rest = rest[end + 1..].trim_start();
        rest = match rest.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive(list: &str) -> Vec<&'static str> {
        let labels = labels(&parse(list).unwrap()).0;
        FINDINGS.iter().zip(labels).filter(|(_, label)| *label == Label::Positive).map(|((name, _), _)| *name).collect()
    }

    #[test]
    fn lists_are_read_as_python_writes_them() {
        let read = |list: &str| parse(list).map(|names| names.join("|"));
        for (list, names) in [
            ("[]", Some("")),
            ("['normal']", Some("normal")),
            ("['pneumonia', ' pleural effusion', '']", Some("pneumonia|pleural effusion")),
            ("[\"crow's feet\", 'COPD signs']", Some("crow's feet|copd signs")),
            ("['a' 'b']", None),
            ("['a", None),
            ("normal", None),
            ("['a',, 'b']", None),
            ("[a]", None),
            ("['it\\'s']", None),
            ("", None),
        ] {
            assert_eq!(read(list).as_deref(), names, "{list}");
        }
    }

    /// The rule of torchxrayvision on the same lists: `Series.str.contains` of each part in the list as it is written.
    #[test]
    fn findings_are_those_of_torchxrayvision() {
        assert_eq!(positive("['normal']"), [""; 0]);
        assert_eq!(positive("['laminar atelectasis', 'atypical pneumonia']"), ["Atelectasis", "Pneumonia"]);
        assert_eq!(positive("['air bronchogram']"), ["Consolidation", "Infiltration"]);
        assert_eq!(positive("['pseudonodule', 'pericardial effusion']"), ["Effusion", "Nodule"]);
        assert_eq!(positive("['NSG tube', 'endotracheal tube', 'dual chamber device']"), ["Support Devices", "Tube"]);
        // Not at the end of a label.
        assert_eq!(positive("['tube malposition']"), [""; 0]);
        assert_eq!(
            positive("['vascular hilar enlargement', 'hiatal hernia', 'calcified granuloma']"),
            ["Granuloma", "Hernia", "Hilar Enlargement"]
        );
    }

    #[test]
    fn a_list_that_says_that_it_is_incomplete_leaves_the_rest_unknown() {
        for list in ["['unchanged', 'cardiomegaly']", "['exclude', ' cardiomegaly']"] {
            let (labels, is_incomplete) = labels(&parse(list).unwrap());
            assert!(is_incomplete);
            let others: Vec<_> = labels.iter().filter(|label| **label != Label::Positive).collect();
            assert!(others.len() == 27 && others.iter().all(|label| **label == Label::Missing));
        }
    }
}
