//! What is doubtful in a data set, and doesn't keep it from being used.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::CxrDataset;
use crate::record::{CxrRecord, Label, PatientId, Sex, Split};

/// Examples of one warning.
const EXAMPLES: usize = 3;

/// Nobody is older, or not known to be: in NIH's first table an age is 414.
const OLDEST: f32 = 120.0;

/// Ages of one patient may differ by the years between the images. Nobody is followed for so long in NIH ChestX-ray14, where the ages of a
/// patient lie at most 14 years apart.
const LONGEST_FOLLOW_UP: f32 = 20.0;

/// Something that is likely to be a mistake of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DataWarning {
    /// Which of the kinds: `age`, `two-sexes`, `age-spread`, `one-class`, `no-patient`, `all-in-one-split`, `unequal-labels`,
    /// `descends-from-held-out`.
    pub kind: &'static str,
    /// How many rows, patients, findings or groups of images.
    pub count: usize,
    /// What it is, with the count.
    pub text: String,
    /// The first few of them.
    pub examples: Vec<String>,
}

impl DataWarning {
    /// `None` if there is no example. `text` takes the count.
    pub(super) fn of(kind: &'static str, all: Vec<String>, text: impl FnOnce(usize) -> String) -> Option<Self> {
        let count = all.len();
        (count > 0).then(|| Self { kind, count, text: text(count), examples: all.into_iter().take(EXAMPLES).collect() })
    }
}

/// `1 patient`, `2 patients`.
pub(super) fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// What is doubtful in the rows of `data`, without a look at its images.
pub(super) fn doubts(data: &CxrDataset) -> Vec<DataWarning> {
    [ages(data), sexes(data), age_spreads(data), one_class(data), unidentified(data)].into_iter().flatten().collect()
}

/// The real rows.
fn real(data: &CxrDataset) -> impl Iterator<Item = (&CxrRecord, u64)> {
    data.rows().iter().map(|row| (row.record.as_ref(), row.line)).filter(|(record, _)| !record.origin.is_synthetic())
}

fn ages(data: &CxrDataset) -> Option<DataWarning> {
    let odd =
        data.rows().iter().filter_map(|row| Some((row, row.record.age?))).filter(|(_, age)| !(0.0..=OLDEST).contains(age));
    let all = odd.map(|(row, age)| format!("row {}: {age}", row.line)).collect();
    DataWarning::of("age", all, |count| format!("{} below 0 or above {OLDEST} years", counted(count, "age is", "ages are")))
}

fn sexes(data: &CxrDataset) -> Option<DataWarning> {
    let mut rows: BTreeMap<&PatientId, [Option<u64>; 2]> = BTreeMap::new();
    for (record, line) in real(data) {
        if let (Some(patient), Some(sex)) = (&record.patient_id, record.sex) {
            rows.entry(patient).or_default()[usize::from(sex == Sex::Male)].get_or_insert(line);
        }
    }
    let both = rows.into_iter().filter_map(|(patient, rows)| match rows {
        [Some(female), Some(male)] => Some(format!("patient {patient}: F in row {female}, M in row {male}")),
        _ => None,
    });
    DataWarning::of("two-sexes", both.collect(), |count| {
        format!("{} of two sexes", counted(count, "patient is", "patients are"))
    })
}

fn age_spreads(data: &CxrDataset) -> Option<DataWarning> {
    let mut ranges: BTreeMap<&PatientId, [(f32, u64); 2]> = BTreeMap::new();
    for (record, line) in real(data) {
        // An age that nobody has is a warning of its own.
        if let (Some(patient), Some(age)) = (&record.patient_id, record.age.filter(|age| (0.0..=OLDEST).contains(age))) {
            let [youngest, oldest] = ranges.entry(patient).or_insert([(age, line); 2]);
            if age < youngest.0 {
                *youngest = (age, line);
            }
            if age > oldest.0 {
                *oldest = (age, line);
            }
        }
    }
    let wide = ranges.into_iter().filter(|(_, [youngest, oldest])| oldest.0 - youngest.0 > LONGEST_FOLLOW_UP);
    let text = |(patient, [youngest, oldest]): (&PatientId, [(f32, u64); 2])| {
        format!("patient {patient}: {} in row {}, {} in row {}", youngest.0, youngest.1, oldest.0, oldest.1)
    };
    DataWarning::of("age-spread", wide.map(text).collect(), |count| {
        format!("the ages of {} lie more than {LONGEST_FOLLOW_UP} years apart", counted(count, "patient", "patients"))
    })
}

/// Findings without a positive, or without a negative, in a split: their AUROC is undefined there.
fn one_class(data: &CxrDataset) -> Option<DataWarning> {
    let findings = data.vocabulary().findings();
    let mut seen: BTreeMap<Split, Vec<[bool; 2]>> = BTreeMap::new();
    for (record, _) in real(data) {
        let Some(split) = record.split else { continue };
        let seen = seen.entry(split).or_insert_with(|| vec![[false; 2]; findings.len()]);
        for (seen, label) in seen.iter_mut().zip(&record.labels) {
            seen[0] |= *label == Label::Negative;
            seen[1] |= *label == Label::Positive;
        }
    }
    let mut all = Vec::new();
    for (index, finding) in findings.iter().enumerate() {
        for (class, name) in [(1, "positive"), (0, "negative")] {
            let without = seen.iter().filter(|(_, seen)| !seen[index][class]).map(|(split, _)| split.to_string());
            let without: Vec<_> = without.collect();
            if !without.is_empty() {
                all.push(format!("{finding}: no {name} in {}", without.join(", ")));
            }
        }
    }
    let findings: BTreeSet<_> = all.iter().filter_map(|text| text.split(':').next()).collect();
    let count = findings.len();
    DataWarning::of("one-class", all, |_| {
        format!("{} no positive or no negative image in a split", counted(count, "finding has", "findings have"))
    })
    .map(|warning| DataWarning { count, ..warning })
}

fn unidentified(data: &CxrDataset) -> Option<DataWarning> {
    let without = real(data).filter(|(record, _)| record.patient_id.is_none());
    let all = without.map(|(record, line)| format!("row {line}: {}", record.id)).collect();
    DataWarning::of("no-patient", all, |count| {
        format!("{} no patient, and each counts as a patient of its own", counted(count, "image has", "images have"))
    })
}

/// All images are of one split of the data set's own.
pub(super) fn one_split(data: &CxrDataset) -> Option<DataWarning> {
    let splits: BTreeSet<_> = real(data).map(|(record, _)| record.split).collect();
    let mut splits = splits.into_iter();
    match (splits.next(), splits.next()) {
        (Some(Some(split)), None) => Some(DataWarning {
            kind: "all-in-one-split",
            count: data.rows().len(),
            text: format!("all images are of the {split} split"),
            examples: Vec::new(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::{dataset, record, synthetic};

    fn warnings(records: Vec<CxrRecord>) -> Vec<(&'static str, usize, String, Vec<String>)> {
        let data = dataset(records).unwrap();
        let said = doubts(&data).into_iter().chain(one_split(&data));
        said.filter(|said| said.kind != "one-class").map(|said| (said.kind, said.count, said.text, said.examples)).collect()
    }

    fn aged(id: &str, patient: &str, age: f32, sex: Sex) -> CxrRecord {
        CxrRecord { age: Some(age), sex: Some(sex), ..record(id, patient, None) }
    }

    #[test]
    fn ages_that_nobody_has_are_counted() {
        let ages = [57.0, 0.0, 120.0, 121.0, -1.0, 414.0, 155.0];
        let records = ages.iter().enumerate().map(|(i, age)| aged(&format!("r{i}"), &i.to_string(), *age, Sex::Male)).collect();
        let examples = ["row 4: 121", "row 5: -1", "row 6: 414"].map(str::to_owned).to_vec();
        assert_eq!(warnings(records), [("age", 4, "4 ages are below 0 or above 120 years".to_owned(), examples)]);
    }

    #[test]
    fn a_patient_has_one_sex_and_ages_with_the_years() {
        let records = vec![
            aged("a", "1", 40.0, Sex::Male),
            aged("b", "1", 60.0, Sex::Male),
            aged("c", "2", 30.0, Sex::Female),
            aged("d", "2", 51.0, Sex::Male),
            // A mistyped age is said once.
            aged("e", "3", 40.0, Sex::Male),
            aged("f", "3", 414.0, Sex::Male),
            // No patient, nothing to compare.
            aged("g", "", 20.0, Sex::Female),
            aged("h", "", 80.0, Sex::Male),
        ];
        let said = warnings(records);
        assert_eq!(
            said.iter().map(|said| (said.0, said.1)).collect::<Vec<_>>(),
            [("age", 1), ("two-sexes", 1), ("age-spread", 1), ("no-patient", 2)]
        );
        assert_eq!(
            (said[1].2.as_str(), said[1].3[0].as_str()),
            ("1 patient is of two sexes", "patient 2: F in row 3, M in row 4")
        );
        assert_eq!(said[2].3, ["patient 2: 30 in row 3, 51 in row 4"]);
        assert_eq!(said[2].2, "the ages of 1 patient lie more than 20 years apart");
        assert_eq!(said[3].2, "2 images have no patient, and each counts as a patient of its own");
    }

    #[test]
    fn findings_of_one_class_are_named_by_split() {
        // Effusion is positive in every row, Mass uncertain.
        let mut records =
            vec![record("a", "1", Some(Split::Train)), record("b", "2", Some(Split::Test)), record("c", "3", None)];
        records[0].labels = vec![Label::Positive, Label::Negative];
        let data = dataset(records.clone()).unwrap();
        let said = one_class(&data).unwrap();
        assert_eq!((said.count, said.text.as_str()), (2, "2 findings have no positive or no negative image in a split"));
        assert_eq!(
            said.examples,
            ["Effusion: no negative in train, test", "Mass: no positive in train, test", "Mass: no negative in test"]
        );
        records.truncate(1);
        records[0].labels = vec![Label::Positive, Label::Negative];
        records.push(CxrRecord { labels: vec![Label::Negative, Label::Positive], ..record("d", "4", Some(Split::Train)) });
        assert_eq!(one_class(&dataset(records).unwrap()), None);
    }

    #[test]
    fn all_images_of_one_split_are_said_and_synthetic_rows_are_of_none() {
        let train = vec![record("a", "1", Some(Split::Train)), record("b", "2", Some(Split::Train))];
        assert_eq!(warnings(train.clone())[0].0, "all-in-one-split");
        let both = vec![train[0].clone(), record("b", "2", Some(Split::Test))];
        assert_eq!(warnings(both), []);
        let made = vec![train[0].clone(), synthetic(record("c", "", Some(Split::Valid)))];
        assert_eq!(warnings(made)[0].2, "all images are of the train split");
    }
}
