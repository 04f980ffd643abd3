//! Findings and the ordered vocabularies that published data sets and models use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Mutex;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::AugmentError;

/// A radiographic finding, by its canonical name (`Effusion`, `Lung Opacity`, …).
///
/// Spellings of other data sets are aliases: `Pleural Effusion` *is* `Effusion`. Names are interned, so a `Finding` is one
/// pointer wide and compares by name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Finding(&'static str);

/// Canonical name first, then the spellings that mean the same finding. Case, spaces, `_` and `-` never matter.
const KNOWN: &[&[&str]] = &[
    &["Atelectasis"],
    &["Cardiomegaly"],
    &["Consolidation"],
    &["Edema"],
    &["Effusion", "Pleural Effusion"],
    &["Emphysema"],
    &["Enlarged Cardiomediastinum"],
    &["Fibrosis"],
    &["Fracture"],
    &["Hernia"],
    &["Infiltration", "Infiltrate"],
    &["Lung Lesion"],
    &["Lung Opacity", "Airspace Opacity"],
    &["Mass"],
    &["No Finding"],
    &["Nodule"],
    &["Pleural Other"],
    &["Pleural_Thickening", "Pleural Thickening", "Pleural"],
    &["Pneumonia"],
    &["Pneumothorax"],
    &["Support Devices"],
];

/// The 14 labels of NIH ChestX-ray14 in the order of its paper (Wang et al., CVPR 2017).
pub const NIH_14: [&str; 14] = [
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
];

/// The 14 labels of CheXpert in the column order of its `train.csv` (Irvin et al., arXiv 1901.07031).
pub const CHEXPERT_14: [&str; 14] = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
];

/// The 18 outputs of torchxrayvision's `densenet121-res224-all`, in order (torchxrayvision 1.5.7, `default_pathologies`).
pub const XRV_18: [&str; 18] = [
    "Atelectasis",
    "Consolidation",
    "Infiltration",
    "Pneumothorax",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Effusion",
    "Pneumonia",
    "Pleural_Thickening",
    "Cardiomegaly",
    "Nodule",
    "Mass",
    "Hernia",
    "Lung Lesion",
    "Fracture",
    "Lung Opacity",
    "Enlarged Cardiomediastinum",
];

/// What names of one finding have in common.
fn key(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

impl Finding {
    /// The finding of that name or alias.
    ///
    /// # Errors
    /// [`AugmentError::UnknownFinding`] names the nearest known spelling. A label that no public vocabulary has is made
    /// with [`Finding::custom`].
    pub fn parse(name: &str) -> Result<Self, AugmentError> {
        let is_meant = |known: &&str| key(known).eq(key(name));
        // Most tables have one of the spellings as it is here.
        let spelled = KNOWN.iter().find(|names| names.contains(&name));
        if let Some(names) = spelled.or_else(|| KNOWN.iter().find(|names| names.iter().any(is_meant))) {
            return Ok(Self(names[0]));
        }
        if let Some(custom) = interner().iter().copied().find(is_meant) {
            return Ok(Self(custom));
        }
        Err(AugmentError::UnknownFinding { name: name.to_owned(), suggestion: nearest(name).to_owned() })
    }

    /// A finding defined by the caller, for labels outside the public vocabularies (`Tuberculosis`, …).
    ///
    /// A known name or alias gives the known finding. The name is kept for the life of the process.
    #[must_use]
    pub fn custom(name: &str) -> Self {
        if let Ok(known) = Self::parse(name) {
            return known;
        }
        let kept: &'static str = Box::leak(name.trim().to_owned().into_boxed_str());
        interner().insert(kept);
        Self(kept)
    }

    /// The canonical name.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0
    }

    /// The findings of the public vocabularies, each with the other spellings that mean it.
    pub fn known() -> impl Iterator<Item = (Self, &'static [&'static str])> {
        KNOWN.iter().map(|names| (Self(names[0]), &names[1..]))
    }

    /// Whether a public vocabulary has it; others are [custom](Self::custom).
    #[must_use]
    pub fn is_known(self) -> bool {
        KNOWN.iter().any(|names| names[0] == self.0)
    }
}

fn interner() -> std::sync::MutexGuard<'static, BTreeSet<&'static str>> {
    static CUSTOM: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    CUSTOM.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The known spelling that shares most character pairs with `wanted` (Dice coefficient).
fn nearest(wanted: &str) -> &'static str {
    let pairs = |name: &str| -> BTreeSet<(char, char)> { key(name).zip(key(name).skip(1)).collect() };
    let mine = pairs(wanted);
    let score = |name: &str| {
        let theirs = pairs(name);
        let shared = mine.intersection(&theirs).count();
        2000 * shared / (mine.len() + theirs.len()).max(1)
    };
    KNOWN.iter().flat_map(|names| names.iter()).max_by_key(|name| score(name)).copied().unwrap_or("Effusion")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for Finding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Finding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::parse(&name).map_err(Error::custom)
    }
}

/// Reads a table keyed by findings, for `#[serde(deserialize_with = "by_finding")]`: one finding under two names is an error, where
/// a plain map would keep the last.
///
/// # Errors
/// The format's own, an unknown name, or two names of one finding.
pub fn by_finding<'de, D: Deserializer<'de>, V: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<Finding, V>, D::Error> {
    struct ByFinding<V>(PhantomData<V>);

    impl<'de, V: Deserialize<'de>> Visitor<'de> for ByFinding<V> {
        type Value = BTreeMap<Finding, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table with one entry per finding")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let (mut entries, mut names) = (BTreeMap::new(), BTreeMap::<Finding, String>::new());
            while let Some(name) = map.next_key::<String>()? {
                let finding = Finding::parse(&name).map_err(Error::custom)?;
                if let Some(first) = names.get(&finding) {
                    let message = format!("`{first}` and `{name}` are the same finding, {finding}; keep one of them");
                    return Err(Error::custom(message));
                }
                entries.insert(finding, map.next_value()?);
                names.insert(finding, name);
            }
            Ok(entries)
        }
    }

    deserializer.deserialize_map(ByFinding(PhantomData))
}

/// An ordered list of distinct findings: the columns of a label vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Vocabulary(Vec<Finding>);

impl Vocabulary {
    /// A vocabulary of these findings, in this order.
    ///
    /// # Errors
    /// [`AugmentError::DuplicateFinding`] if two names mean the same finding, [`AugmentError::EmptyVocabulary`] if there is none.
    pub fn new(findings: impl IntoIterator<Item = Finding>) -> Result<Self, AugmentError> {
        let findings: Vec<_> = findings.into_iter().collect();
        let mut seen = BTreeSet::new();
        if let Some(twice) = findings.iter().find(|f| !seen.insert(**f)) {
            return Err(AugmentError::DuplicateFinding { name: twice.name().to_owned() });
        }
        if findings.is_empty() {
            return Err(AugmentError::EmptyVocabulary);
        }
        Ok(Self(findings))
    }

    /// A vocabulary of these names or aliases, in this order.
    ///
    /// # Errors
    /// As [`Finding::parse`] and [`Vocabulary::new`].
    pub fn parse<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self, AugmentError> {
        let findings = names.into_iter().map(|n| Finding::parse(n.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Self::new(findings)
    }

    /// NIH ChestX-ray14's 14 findings, see [`NIH_14`].
    #[must_use]
    pub fn nih() -> Self {
        Self(NIH_14.map(Finding).to_vec())
    }

    /// CheXpert's 14 labels, see [`CHEXPERT_14`].
    #[must_use]
    pub fn chexpert() -> Self {
        Self(CHEXPERT_14.map(Finding).to_vec())
    }

    /// torchxrayvision's 18 outputs, see [`XRV_18`].
    #[must_use]
    pub fn xrv() -> Self {
        Self(XRV_18.map(Finding).to_vec())
    }

    /// The findings in order.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Number of findings.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: a vocabulary has at least one finding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The column of `finding`, if it is in the vocabulary.
    #[must_use]
    pub fn position(&self, finding: Finding) -> Option<usize> {
        self.0.iter().position(|f| *f == finding)
    }
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let findings = Vec::<Finding>::deserialize(deserializer)?;
        Self::new(findings).map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_mean_one_finding() {
        for name in ["Effusion", "Pleural Effusion", "pleural_effusion", "PLEURAL-EFFUSION"] {
            assert_eq!(Finding::parse(name).unwrap().name(), "Effusion");
        }
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let error = Finding::parse("Cardiomegally").unwrap_err().to_string();
        assert!(error.contains("Cardiomegally") && error.contains("`Cardiomegaly`"), "{error}");
    }

    #[test]
    fn official_orders_parse_to_themselves() {
        for (names, vocabulary) in
            [(&NIH_14[..], Vocabulary::nih()), (&CHEXPERT_14[..], Vocabulary::chexpert()), (&XRV_18[..], Vocabulary::xrv())]
        {
            assert_eq!(Vocabulary::parse(names).unwrap(), vocabulary);
            assert_eq!(vocabulary.findings().iter().map(|f| f.name()).collect::<Vec<_>>(), names);
        }
    }

    #[test]
    fn one_finding_under_two_names_is_refused() {
        let error = Vocabulary::parse(["Effusion", "Pleural Effusion"]).unwrap_err();
        assert!(matches!(error, AugmentError::DuplicateFinding { .. }), "{error}");
    }

    #[test]
    fn a_table_names_a_finding_once() {
        #[derive(Debug, Deserialize)]
        struct Counts(#[serde(deserialize_with = "by_finding")] BTreeMap<Finding, usize>);

        let read = |json: &str| serde_json::from_str::<Counts>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#"{"Pleural Effusion": 5, "Mass": 7}"#).unwrap().0[&Finding::parse("Effusion").unwrap()], 5);
        for twice in [r#"{"Effusion": 5, "Pleural Effusion": 7}"#, r#"{"Effusion": 5, "Mass": 1, "effusion": 5}"#] {
            let error = read(twice).unwrap_err();
            assert!(error.contains("`Effusion` and `") && error.contains("keep one of them"), "{error}");
        }
        assert!(read(r#"{"Efusion": 5}"#).unwrap_err().contains("did you mean `Effusion`"));
    }

    #[test]
    fn custom_findings_are_known_once_named() {
        let tb = Finding::custom("Tuberculosis");
        assert_eq!(Finding::parse("tuberculosis").unwrap(), tb);
        assert_eq!(Finding::custom("pleural effusion").name(), "Effusion");
    }
}
