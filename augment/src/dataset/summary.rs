//! What is in a data set.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::dataset::CxrDataset;
use crate::record::{CxrRecord, Finding, Label, Sex, Split, View};

/// Images by their label of one finding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Present.
    pub positive: usize,
    /// Absent.
    pub negative: usize,
    /// Uncertain.
    pub uncertain: usize,
    /// Not mentioned.
    pub missing: usize,
}

/// The counts of one finding, over all images and by split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingCounts {
    /// The finding.
    pub finding: Finding,
    /// All images.
    pub all: LabelCounts,
    /// By split (`train`, `valid`, `test`, `none`, `synthetic`).
    pub by_split: BTreeMap<String, LabelCounts>,
}

/// Ages in years, quantiles by linear interpolation between order statistics (Hyndman and Fan 1996, type 7).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AgeQuantiles {
    /// Images with an age.
    pub known: usize,
    /// Youngest.
    pub min: f32,
    /// First quartile.
    pub lower: f32,
    /// Median.
    pub median: f32,
    /// Third quartile.
    pub upper: f32,
    /// Oldest.
    pub max: f32,
}

/// Counts of a data set's rows. No image is opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSummary {
    /// The data set.
    pub name: String,
    /// What is doubtful in how they were read, see [`CxrDataset::notes`].
    pub notes: Vec<String>,
    /// Rows.
    pub images: usize,
    /// Distinct patients.
    pub patients: usize,
    /// Rows without a patient.
    pub unidentified: usize,
    /// Synthetic rows.
    pub synthetic: usize,
    /// One entry per finding, in the vocabulary's order.
    pub findings: Vec<FindingCounts>,
    /// Rows without any positive label.
    pub without_finding: usize,
    /// Images by projection (`PA`, `AP`, `L`, `unknown`).
    pub views: BTreeMap<&'static str, usize>,
    /// Images by sex (`F`, `M`, `unknown`).
    pub sexes: BTreeMap<&'static str, usize>,
    /// Images by split (`train`, `valid`, `test`, `none`); `synthetic` for those that are in none because they are a pool.
    pub splits: BTreeMap<String, usize>,
    /// Ages, if any is known.
    pub ages: Option<AgeQuantiles>,
}

impl DataSummary {
    /// Counts the rows of `data`. Splits are those of the records; count what [`SplitPlan::apply`](crate::dataset::SplitPlan::apply)
    /// gives to see a planned one.
    #[must_use]
    pub fn of(data: &CxrDataset) -> Self {
        let records: Vec<&CxrRecord> = data.rows().iter().map(|row| row.record.as_ref()).collect();
        let count = |holds: fn(&CxrRecord) -> bool| records.iter().filter(|record| holds(record)).count();
        let patients: HashSet<_> = records.iter().filter_map(|record| record.patient_id.as_ref()).collect();
        let splits: Vec<&'static str> = records.iter().map(|record| split_name(record)).collect();
        Self {
            name: data.name().to_owned(),
            notes: data.notes().to_vec(),
            images: records.len(),
            patients: patients.len(),
            unidentified: count(|record| record.patient_id.is_none()),
            synthetic: count(|record| record.origin.is_synthetic()),
            findings: finding_counts(data.vocabulary().findings(), &records, &splits),
            without_finding: count(|record| !record.labels.contains(&Label::Positive)),
            views: tally(records.iter().map(|record| view_name(record.view))),
            sexes: tally(records.iter().map(|record| sex_name(record.sex))),
            splits: tally(splits.iter().map(|split| (*split).to_owned())),
            ages: AgeQuantiles::of(records.iter().filter_map(|record| record.age).collect()),
        }
    }
}

fn tally<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}

/// Counts every column in one pass over the records, whose labels lie apart in memory; `splits` names that of each.
fn finding_counts(findings: &[Finding], records: &[&CxrRecord], splits: &[&'static str]) -> Vec<FindingCounts> {
    let mut by_split = BTreeMap::<&str, Vec<LabelCounts>>::new();
    for (record, split) in records.iter().zip(splits) {
        let counts = by_split.entry(split).or_insert_with(|| vec![LabelCounts::default(); findings.len()]);
        for (count, label) in counts.iter_mut().zip(&record.labels) {
            match label {
                Label::Positive => count.positive += 1,
                Label::Negative => count.negative += 1,
                Label::Uncertain => count.uncertain += 1,
                Label::Missing => count.missing += 1,
            }
        }
    }
    let of = |(column, finding): (usize, &Finding)| {
        let by_split: BTreeMap<String, LabelCounts> =
            by_split.iter().map(|(split, counts)| ((*split).to_owned(), counts[column])).collect();
        let sum = |all: LabelCounts, part: &LabelCounts| LabelCounts {
            positive: all.positive + part.positive,
            negative: all.negative + part.negative,
            uncertain: all.uncertain + part.uncertain,
            missing: all.missing + part.missing,
        };
        FindingCounts { finding: *finding, all: by_split.values().fold(LabelCounts::default(), sum), by_split }
    };
    findings.iter().enumerate().map(of).collect()
}

fn view_name(view: Option<View>) -> &'static str {
    match view {
        Some(View::Pa) => "PA",
        Some(View::Ap) => "AP",
        Some(View::Lateral) => "L",
        None => "unknown",
    }
}

fn sex_name(sex: Option<Sex>) -> &'static str {
    match sex {
        Some(Sex::Female) => "F",
        Some(Sex::Male) => "M",
        None => "unknown",
    }
}

fn split_name(record: &CxrRecord) -> &'static str {
    match record.split {
        _ if record.origin.is_synthetic() => "synthetic",
        None => "none",
        Some(Split::Train) => "train",
        Some(Split::Valid) => "valid",
        Some(Split::Test) => "test",
    }
}

impl AgeQuantiles {
    fn of(mut ages: Vec<f32>) -> Option<Self> {
        ages.sort_by(f32::total_cmp);
        let (min, max) = (*ages.first()?, *ages.last()?);
        let quantile = |share: f32| {
            let place = share * (ages.len() - 1) as f32;
            let (below, above) = (ages[place.floor() as usize], ages[place.ceil() as usize]);
            below + (above - below) * place.fract()
        };
        Some(Self { known: ages.len(), min, lower: quantile(0.25), median: quantile(0.5), upper: quantile(0.75), max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tests::{dataset, record};

    #[test]
    fn everything_is_counted() {
        let mut records =
            vec![record("a", "1", Some(Split::Train)), record("b", "1", Some(Split::Train)), record("c", "", None)];
        records[1].labels = vec![Label::Negative, Label::Missing];
        records[0].view = Some(View::Pa);
        (records[0].age, records[1].age) = (Some(40.0), Some(60.0));
        let summary = DataSummary::of(&dataset(records).unwrap());
        assert_eq!((summary.images, summary.patients, summary.unidentified, summary.without_finding), (3, 1, 1, 1));
        assert_eq!(summary.findings[0].all, LabelCounts { positive: 2, negative: 1, uncertain: 0, missing: 0 });
        assert_eq!(summary.findings[1].by_split["train"], LabelCounts { positive: 0, negative: 0, uncertain: 1, missing: 1 });
        assert_eq!(summary.views, BTreeMap::from([("PA", 1), ("unknown", 2)]));
        assert_eq!(summary.splits["none"], 1);
        assert_eq!(summary.ages.unwrap().median, 50.0);
    }
}
