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
        let findings = data.vocabulary().findings();
        let mut summary = Self {
            name: data.name().to_owned(),
            notes: data.notes().to_vec(),
            images: data.rows().len(),
            patients: 0,
            unidentified: 0,
            synthetic: 0,
            findings: Vec::new(),
            without_finding: 0,
            views: BTreeMap::new(),
            sexes: BTreeMap::new(),
            splits: BTreeMap::new(),
            ages: None,
        };
        let (mut patients, mut last, mut ages) = (HashSet::new(), None, Vec::new());
        let mut splits = BTreeMap::<&str, (usize, Vec<LabelCounts>)>::new();
        // Everything in one pass: the records lie apart in memory.
        for record in data.rows().iter().map(|row| row.record.as_ref()) {
            match &record.patient_id {
                None => summary.unidentified += 1,
                // Most rows are of the patient of the row before.
                Some(patient) if last == Some(patient) => {}
                Some(patient) => {
                    patients.insert(patient);
                    last = Some(patient);
                }
            }
            summary.synthetic += usize::from(record.origin.is_synthetic());
            summary.without_finding += usize::from(!record.labels.contains(&Label::Positive));
            *summary.views.entry(view_name(record.view)).or_insert(0) += 1;
            *summary.sexes.entry(sex_name(record.sex)).or_insert(0) += 1;
            ages.extend(record.age);
            let new = || (0, vec![LabelCounts::default(); findings.len()]);
            let (images, counts) = splits.entry(split_name(record)).or_insert_with(new);
            *images += 1;
            counts.iter_mut().zip(&record.labels).for_each(|(count, label)| count.add(*label));
        }
        summary.patients = patients.len();
        summary.ages = AgeQuantiles::of(ages);
        summary.findings =
            findings.iter().enumerate().map(|(column, finding)| FindingCounts::of(*finding, column, &splits)).collect();
        summary.splits = splits.into_iter().map(|(split, (images, _))| (split.to_owned(), images)).collect();
        summary
    }
}

impl LabelCounts {
    fn add(&mut self, label: Label) {
        *match label {
            Label::Positive => &mut self.positive,
            Label::Negative => &mut self.negative,
            Label::Uncertain => &mut self.uncertain,
            Label::Missing => &mut self.missing,
        } += 1;
    }
}

impl FindingCounts {
    /// Of the finding in that column, from the counts of every column by split.
    fn of(finding: Finding, column: usize, splits: &BTreeMap<&str, (usize, Vec<LabelCounts>)>) -> Self {
        let by_split: BTreeMap<String, LabelCounts> =
            splits.iter().map(|(split, (_, counts))| ((*split).to_owned(), counts[column])).collect();
        let sum = |all: LabelCounts, part: &LabelCounts| LabelCounts {
            positive: all.positive + part.positive,
            negative: all.negative + part.negative,
            uncertain: all.uncertain + part.uncertain,
            missing: all.missing + part.missing,
        };
        Self { finding, all: by_split.values().fold(LabelCounts::default(), sum), by_split }
    }
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
    fn patients_are_counted_once_in_any_order() {
        let patients = ["1", "2", "1", "3", "2"].into_iter().enumerate();
        let records = patients.map(|(at, patient)| record(&at.to_string(), patient, Some(Split::Train))).collect();
        let summary = DataSummary::of(&dataset(records).unwrap());
        assert_eq!((summary.images, summary.patients), (5, 3));
    }

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
