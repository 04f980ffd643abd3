//! Whether a classifier serves every group of patients equally well.

use serde::Serialize;

use super::{MetricsError, Ranking, ScoreTable};

/// One classifier's scores on rows that belong to groups.
#[derive(Clone, Copy, Debug)]
pub struct GroupedScores<'a> {
    /// Scores and targets, `[N, C]`.
    pub table: ScoreTable<'a>,
    /// Group of each row, below `count`; `None` where it is unknown: the row is left out.
    pub groups: &'a [Option<usize>],
    /// Number of groups, `G`.
    pub count: usize,
    /// Operating point of each finding: a score at or above it is called positive. Choose it on validation data.
    pub thresholds: &'a [f64],
    /// Columns that stay out of under-diagnosis: `No Finding`, which is no disease, and findings without an operating point.
    pub left_out: &'a [usize],
}

/// Scores by group, each finding sorted once, so that resamples are one pass over the cases.
#[derive(Clone, Debug)]
pub struct Subgroups {
    /// `[group][finding]`.
    rankings: Vec<Vec<Ranking>>,
    thresholds: Vec<f64>,
    rows: Vec<Option<Patient>>,
}

/// A row of a known group.
#[derive(Clone, Copy, Debug)]
struct Patient {
    group: usize,
    /// At least one disease is known to be there.
    sick: bool,
    /// At least one disease is called.
    called: bool,
}

/// Figures of every group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SubgroupFigures {
    /// One per group.
    pub groups: Vec<GroupFigures>,
}

/// Figures of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupFigures {
    /// Rows.
    pub rows: u64,
    /// Rows with at least one positive target; missing ones count as absent.
    pub sick: u64,
    /// Share of those for which every disease scores below its threshold; `None` without any.
    pub underdiagnosis: Option<f64>,
    /// One per finding.
    pub findings: Vec<GroupFinding>,
}

/// One finding in one group.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GroupFinding {
    /// Positive rows.
    pub positives: u64,
    /// Negative rows.
    pub negatives: u64,
    /// Area under the ROC curve; `None` where a class is absent.
    pub auroc: Option<f64>,
    /// Share of the positives that are not called; `None` without positives.
    pub false_negative_rate: Option<f64>,
    /// Share of the negatives that are called; `None` without negatives.
    pub false_positive_rate: Option<f64>,
}

/// How far apart the groups are in one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gap {
    /// Largest minus smallest.
    pub size: f64,
    /// Group with the largest figure, the first of equals.
    pub highest: usize,
    /// Group with the smallest figure, the first of equals.
    pub lowest: usize,
}

impl Subgroups {
    /// Sorts the scores.
    ///
    /// # Errors
    /// [`MetricsError::Length`] for groups or thresholds of another number than rows or findings, [`MetricsError::Group`],
    /// [`MetricsError::NanThreshold`].
    pub fn new(input: &GroupedScores<'_>) -> Result<Self, MetricsError> {
        let GroupedScores { table, groups, count, thresholds, left_out } = *input;
        let (rows, findings) = (table.rows(), table.findings());
        let lengths = [("the list of groups", rows, groups.len()), ("the list of thresholds", findings, thresholds.len())];
        if let Some((what, expected, found)) = lengths.into_iter().find(|(_, expected, found)| expected != found) {
            return Err(MetricsError::Length { what, expected, found });
        }
        let beyond =
            groups.iter().enumerate().find_map(|(row, group)| group.filter(|&group| group >= count).map(|group| (row, group)));
        if let Some((row, found)) = beyond {
            return Err(MetricsError::Group { row, found, groups: count });
        }
        if let Some(finding) = thresholds.iter().position(|threshold| threshold.is_nan()) {
            return Err(MetricsError::NanThreshold { finding });
        }
        let of_group = |group: usize, finding: usize| {
            Ranking::from_cases(table.cases(finding).filter(|case| groups[case.row] == Some(group)).collect(), rows)
        };
        let rankings = (0..count).map(|group| (0..findings).map(|finding| of_group(group, finding)).collect()).collect();
        let patient = |(row, group): (usize, &Option<usize>)| {
            group.map(|group| {
                let (scores, targets) = table.row(row);
                let mut diseases = (0..findings).filter(|finding| !left_out.contains(finding));
                let sick = diseases.clone().any(|finding| targets[finding] == 1.0);
                Patient { group, sick, called: diseases.any(|finding| scores[finding] >= thresholds[finding]) }
            })
        };
        let rows = groups.iter().enumerate().map(patient).collect();
        Ok(Self { rankings, thresholds: thresholds.to_vec(), rows })
    }

    /// The figures of the set as it is.
    #[must_use]
    pub fn figures(&self) -> SubgroupFigures {
        self.weighted(&vec![1; self.rows.len()])
    }

    /// The figures of the resample in which row `r` occurs `weights[r]` times.
    ///
    /// # Panics
    /// If there isn't one weight per row.
    #[must_use]
    pub fn weighted(&self, weights: &[u32]) -> SubgroupFigures {
        assert_eq!(weights.len(), self.rows.len(), "one weight per row");
        let mut counts = vec![(0_u64, 0_u64, 0_u64); self.rankings.len()];
        for (patient, &weight) in self.rows.iter().zip(weights).filter_map(|(row, weight)| Some((row.as_ref()?, weight))) {
            let (rows, sick, missed) = &mut counts[patient.group];
            *rows += u64::from(weight);
            *sick += u64::from(weight) * u64::from(patient.sick);
            *missed += u64::from(weight) * u64::from(patient.sick && !patient.called);
        }
        let figures = |(rankings, (rows, sick, missed)): (&Vec<Ranking>, (u64, u64, u64))| GroupFigures {
            rows,
            sick,
            underdiagnosis: share(missed, sick),
            findings: rankings.iter().zip(&self.thresholds).map(|(cases, &at)| GroupFinding::new(cases, at, weights)).collect(),
        };
        SubgroupFigures { groups: self.rankings.iter().zip(counts).map(figures).collect() }
    }
}

impl SubgroupFigures {
    /// Gap of a figure over the groups in which it is defined; `None` where it is in fewer than two.
    #[must_use]
    pub fn gap(&self, figure: impl Fn(&GroupFigures) -> Option<f64>) -> Option<Gap> {
        let defined: Vec<(usize, f64)> =
            self.groups.iter().enumerate().filter_map(|(group, figures)| Some((group, figure(figures)?))).collect();
        let (first, rest) = defined.split_first().filter(|(_, rest)| !rest.is_empty())?;
        let lowest = rest.iter().fold(first, |best, other| if other.1 < best.1 { other } else { best });
        let highest = rest.iter().fold(first, |best, other| if other.1 > best.1 { other } else { best });
        Some(Gap { size: highest.1 - lowest.1, highest: highest.0, lowest: lowest.0 })
    }
}

impl GroupFinding {
    fn new(ranking: &Ranking, threshold: f64, weights: &[u32]) -> Self {
        let (mut positives, mut negatives, mut missed, mut alarms) = (0, 0, 0, 0);
        for case in ranking.ties().flatten() {
            let (weight, called) = (u64::from(weights[case.row]), case.score >= threshold);
            if case.positive {
                positives += weight;
                missed += weight * u64::from(!called);
            } else {
                negatives += weight;
                alarms += weight * u64::from(called);
            }
        }
        Self {
            positives,
            negatives,
            auroc: ranking.auroc_weighted(weights),
            false_negative_rate: share(missed, positives),
            false_positive_rate: share(alarms, negatives),
        }
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::metrics::testing::cases;

    /// Two findings, the second `No Finding`; three groups, the last without rows.
    fn figures(thresholds: [f64; 2]) -> SubgroupFigures {
        let scores = [0.9, 0.1, 0.2, 0.9, 0.3, 0.9, 0.6, 0.2, 0.4, 0.1, 0.8, 0.8];
        let targets = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, f64::NAN, 1.0, 1.0, 0.0];
        let groups = [Some(0), Some(0), Some(0), Some(1), Some(1), None];
        let table = ScoreTable::new(&scores, &targets, 2).unwrap();
        let input = GroupedScores { table, groups: &groups, count: 3, thresholds: &thresholds, left_out: &[1] };
        Subgroups::new(&input).unwrap().figures()
    }

    #[test]
    fn groups_by_hand() {
        let figures = figures([0.5, 0.5]);
        let [one, two, none] = &figures.groups[..] else { panic!() };
        // Group 0: disease at 0.9 called, at 0.2 missed (`No Finding` at 0.9 doesn't count as a call), none at 0.3.
        assert_eq!((one.rows, one.sick, one.underdiagnosis), (3, 2, Some(0.5)));
        let finding = GroupFinding {
            positives: 2,
            negatives: 1,
            auroc: Some(0.5),
            false_negative_rate: Some(0.5),
            false_positive_rate: Some(0.0),
        };
        assert_eq!(one.findings[0], finding);
        // Group 1: the row with a missing label is not sick, whatever `No Finding` says.
        assert_eq!((two.rows, two.sick, two.underdiagnosis), (2, 1, Some(0.0)));
        assert_eq!((two.findings[0].auroc, two.findings[0].false_positive_rate), (None, None));
        assert_eq!((none.rows, none.underdiagnosis, none.findings[0].auroc), (0, None, None));
        let gap = figures.gap(|group| group.underdiagnosis).unwrap();
        assert_eq!(gap, Gap { size: 0.5, highest: 0, lowest: 1 });
        // Defined in one group only.
        assert_eq!(figures.gap(|group| group.findings[0].auroc), None);
    }

    #[test]
    fn the_operating_point_decides() {
        assert_eq!(figures([1.1, 0.5]).groups[0].underdiagnosis, Some(1.0));
        assert_eq!(figures([0.0, 0.5]).groups[0].underdiagnosis, Some(0.0));
    }

    #[test]
    fn bad_input_is_refused() {
        let (scores, targets) = ([0.5, 0.5], [1.0, 0.0]);
        let table = ScoreTable::new(&scores, &targets, 1).unwrap();
        let refused = |groups: &[Option<usize>], thresholds: &[f64]| {
            Subgroups::new(&GroupedScores { table, groups, count: 2, thresholds, left_out: &[] }).unwrap_err()
        };
        assert_eq!(refused(&[None], &[0.5]), MetricsError::Length { what: "the list of groups", expected: 2, found: 1 });
        assert_eq!(refused(&[None; 2], &[]), MetricsError::Length { what: "the list of thresholds", expected: 1, found: 0 });
        assert_eq!(refused(&[Some(1), Some(2)], &[0.5]), MetricsError::Group { row: 1, found: 2, groups: 2 });
        assert_eq!(refused(&[None; 2], &[f64::NAN]), MetricsError::NanThreshold { finding: 0 });
    }

    fn grouped() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<Option<usize>>, Vec<u32>)> {
        cases(1..40).prop_flat_map(|(scores, targets)| {
            let rows = scores.len();
            let groups = prop::collection::vec(prop::option::of(0_usize..3), rows);
            (prop::strategy::Just(scores), prop::strategy::Just(targets), groups, prop::collection::vec(0_u32..3, rows))
        })
    }

    proptest! {
        #[test]
        fn weights_are_repeated_rows_and_names_of_groups_do_not_matter((scores, targets, groups, weights) in grouped()) {
            let of = |scores: &[f64], targets: &[f64], groups: &[Option<usize>]| {
                let table = ScoreTable::new(scores, targets, 1).unwrap();
                Subgroups::new(&GroupedScores { table, groups, count: 3, thresholds: &[0.45], left_out: &[] }).unwrap()
            };
            fn repeat<T: Copy>(values: &[T], weights: &[u32]) -> Vec<T> {
                values.iter().zip(weights).flat_map(|(value, weight)| vec![*value; *weight as usize]).collect()
            }
            let here = of(&scores, &targets, &groups);
            let there = of(&repeat(&scores, &weights), &repeat(&targets, &weights), &repeat(&groups, &weights));
            prop_assert_eq!(here.weighted(&weights), there.figures());
            let renamed: Vec<_> = groups.iter().map(|group| group.map(|group| 2 - group)).collect();
            let renamed = of(&scores, &targets, &renamed).figures();
            let size = |figures: &SubgroupFigures| figures.gap(|group| group.underdiagnosis).map(|gap| gap.size);
            prop_assert_eq!(size(&here.figures()), size(&renamed));
            let known = groups.iter().flatten().count() as u64;
            prop_assert_eq!(here.figures().groups.iter().map(|group| group.rows).sum::<u64>(), known);
            for group in here.figures().groups {
                prop_assert!(group.sick <= group.rows && group.findings[0].positives == group.sick);
                // With one finding, to be missed and to be a false negative are the same.
                prop_assert_eq!(group.underdiagnosis, group.findings[0].false_negative_rate);
            }
        }
    }
}
