//! Whether the classifiers of each arm serve every group of patients equally well.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_augment::record::{CxrRecord, Sex, View};
use roentgen_classifier::metrics::{
    Bootstrap, GroupFigures, GroupedScores, MetricsError, Patients, Ranking, ScoreTable, SubgroupFigures, Subgroups, Summary,
};
use roentgen_classifier::predict::Predictions;

use crate::evaluation::correctness::FEWEST;
use crate::report::{Estimate, FairnessArm, FairnessAttribute, FairnessGap, FairnessGroup, FairnessReport};

/// Lower ends of the age bands, in years.
const AGES: [f32; 4] = [0.0, 40.0, 60.0, 80.0];

/// Most groups of an attribute that is a text; more are names, not groups.
const MOST_GROUPS: usize = 12;

/// The label that says that nothing was found.
const NO_FINDING: &str = "No Finding";

/// How the operating point is chosen, for people.
const OPERATING_POINT: &str =
    "per finding and run, the threshold with the largest sensitivity plus specificity on the validation images (Youden)";

/// What divides the test images into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Names of its groups, those that occur.
    pub groups: Vec<String>,
    /// Group of each row; `None` where it is not recorded.
    pub of_row: Vec<Option<usize>>,
}

/// Predictions of one run.
#[derive(Clone, Debug)]
pub struct JudgedRun {
    /// On the test images.
    pub test: Predictions,
    /// On the validation images, which choose the operating points; `None` if the weights are gone.
    pub valid: Option<Predictions>,
}

/// Sex, age band, view and race of the images, those that are recorded and have at least two groups. An image without a record is in no
/// group.
#[must_use]
pub fn attributes(records: &[Option<&CxrRecord>]) -> Vec<Attribute> {
    let each = |group: &dyn Fn(&CxrRecord) -> Option<(usize, String)>| records.iter().map(|record| group((*record)?)).collect();
    let sex = |record: &CxrRecord| {
        record.sex.map(|sex| match sex {
            Sex::Female => "female".to_owned(),
            Sex::Male => "male".to_owned(),
        })
    };
    let view = |record: &CxrRecord| {
        record.view.map(|view| match view {
            View::Pa => "PA".to_owned(),
            View::Ap => "AP".to_owned(),
            View::Lateral => "lateral".to_owned(),
        })
    };
    let race =
        |record: &CxrRecord| record.details.race.as_ref().map(|race| race.trim().to_owned()).filter(|race| !race.is_empty());
    let found = [
        attribute("sex", each(&|record| Some((0, sex(record)?)))),
        attribute("age", each(&|record| age_band(record.age?))),
        attribute("view", each(&|record| Some((0, view(record)?)))),
        attribute("race", each(&|record| Some((0, race(record)?)))),
    ];
    found.into_iter().filter(|attribute| attribute.groups.len() > 1).collect()
}

/// Takes out the attributes with more groups than can be judged, and says so, a sentence each.
pub fn without_names(attributes: &mut Vec<Attribute>) -> Vec<String> {
    let names = attributes.extract_if(.., |attribute| attribute.groups.len() > MOST_GROUPS);
    let say = |attribute: Attribute| {
        let (name, count) = (attribute.name, attribute.groups.len());
        format!(
            "The test images have {count} different values of {name}: more than {MOST_GROUPS} are no groups, and there are no figures by it."
        )
    };
    names.map(say).collect()
}

/// Groups in the order of their numbers, then of their names.
fn attribute(name: &'static str, of_row: Vec<Option<(usize, String)>>) -> Attribute {
    let mut groups: Vec<&(usize, String)> = of_row.iter().flatten().collect();
    groups.sort();
    groups.dedup();
    let place = |group: &Option<(usize, String)>| groups.binary_search(&group.as_ref()?).ok();
    Attribute {
        name,
        of_row: of_row.iter().map(place).collect(),
        groups: groups.iter().map(|(_, name)| name.clone()).collect(),
    }
}

fn age_band(age: f32) -> Option<(usize, String)> {
    let band = AGES.iter().rposition(|start| age >= *start)?;
    let name = match (AGES[band], AGES.get(band + 1)) {
        (0.0, Some(end)) => format!("under {end}"),
        (start, Some(end)) => format!("{start} to {}", end - 1.0),
        (start, None) => format!("{start} and older"),
    };
    Some((band, name))
}

/// The group of every test image as a table: `image`, then one column per attribute, blank where it is not recorded.
#[must_use]
pub fn group_rows(images: &[String], attributes: &[Attribute]) -> Vec<Vec<String>> {
    let head = ["image".to_owned()].into_iter().chain(attributes.iter().map(|attribute| attribute.name.to_owned())).collect();
    let row = |(at, image): (usize, &String)| {
        let group =
            |attribute: &Attribute| attribute.of_row[at].map_or_else(String::new, |group| attribute.groups[group].clone());
        [image.clone()].into_iter().chain(attributes.iter().map(group)).collect()
    };
    [head].into_iter().chain(images.iter().enumerate().map(row)).collect()
}

/// Figures of every arm, by group; `arms` are their names and runs. `None` without an attribute.
///
/// # Errors
/// [`MetricsError`] if predictions of different rows were mixed, or scores are not numbers.
///
/// # Panics
/// If there is no arm or an arm has no run.
pub fn fairness(
    arms: &[(String, Vec<JudgedRun>)],
    attributes: &[Attribute],
    bootstrap: Bootstrap,
) -> Result<Option<FairnessReport>, MetricsError> {
    if attributes.is_empty() {
        return Ok(None);
    }
    let first = &arms[0].1[0].test;
    let points = arms.iter().map(|(_, runs)| runs.iter().map(operating_points).collect::<Result<Vec<_>, _>>());
    let points: Vec<Vec<Option<Vec<Option<f64>>>>> = points.collect::<Result<_, _>>()?;
    let is_known = points.iter().flatten().all(Option::is_some);
    let healthy = |column: usize| first.findings[column] == NO_FINDING;
    // Of every run, so that all arms and seeds are asked about the same diseases.
    let pointless = |column: usize| points.iter().flatten().flatten().any(|points| points[column].is_none());
    let columns = 0..first.findings.len();
    let without: Vec<String> = match is_known {
        true => columns
            .clone()
            .filter(|column| !healthy(*column) && pointless(*column))
            .map(|column| first.findings[column].clone())
            .collect(),
        false => Vec::new(),
    };
    let left_out: Vec<usize> = columns.filter(|column| healthy(*column) || pointless(*column)).collect();
    let job = Job {
        arms,
        points: &points,
        left_out: &left_out,
        bootstrap,
        has_points: is_known && left_out.len() < first.findings.len(),
    };
    Ok(Some(FairnessReport {
        operating_point: job.has_points.then(|| OPERATING_POINT.to_owned()),
        without_operating_point: without,
        fewest: FEWEST,
        attributes: attributes.iter().map(|attribute| job.attribute(attribute)).collect::<Result<_, _>>()?,
    }))
}

/// The threshold of each finding with the largest sum of sensitivity and specificity on validation; of several the largest. `None` for a
/// finding without both classes there.
fn operating_points(run: &JudgedRun) -> Result<Option<Vec<Option<f64>>>, MetricsError> {
    let Some(valid) = &run.valid else { return Ok(None) };
    let table = ScoreTable::new(&valid.scores, &valid.targets, valid.findings.len())?;
    Ok(Some((0..table.findings()).map(|finding| youden(&table.ranking(finding))).collect()))
}

fn youden(ranking: &Ranking) -> Option<f64> {
    let curve = ranking.roc_curve()?;
    let height = |at: usize| curve.true_positive_rate[at] - curve.false_positive_rate[at];
    // The first point is the origin, with an infinite threshold.
    let best = (1..curve.thresholds.len()).reduce(|best, at| if height(at) > height(best) { at } else { best })?;
    Some(curve.thresholds[best])
}

struct Job<'a> {
    arms: &'a [(String, Vec<JudgedRun>)],
    /// `[arm][run][finding]`.
    points: &'a [Vec<Option<Vec<Option<f64>>>>],
    left_out: &'a [usize],
    has_points: bool,
    bootstrap: Bootstrap,
}

/// Figures of the groups of one arm: means over runs, `[AUROC, under-diagnosis]` by group.
type Means = [Vec<Option<f64>>; 2];

impl Job<'_> {
    fn attribute(&self, attribute: &Attribute) -> Result<FairnessAttribute, MetricsError> {
        let first = &self.arms[0].1[0].test;
        let (findings, count) = (first.findings.len(), attribute.groups.len());
        let sorted = |arm: usize| -> Result<Vec<Subgroups>, MetricsError> {
            let runs = self.arms[arm].1.iter().zip(&self.points[arm]);
            let of_run = runs.map(|(run, points)| {
                let point = |finding: usize| points.as_ref().and_then(|points| points[finding]).unwrap_or(f64::INFINITY);
                Subgroups::new(&GroupedScores {
                    table: ScoreTable::new(&run.test.scores, &first.targets, findings)?,
                    groups: &attribute.of_row,
                    count,
                    thresholds: &(0..findings).map(point).collect::<Vec<_>>(),
                    left_out: self.left_out,
                })
            });
            of_run.collect()
        };
        let arms: Vec<Vec<Subgroups>> = (0..self.arms.len()).map(sorted).collect::<Result<_, _>>()?;
        let whole = arms[0][0].figures();
        let groups = groups(attribute, first, &whole);
        // A group with too few of everything would leave no finding to compare the others by.
        let is_enough = |number: u64| number >= FEWEST as u64;
        let judged = |column: &usize| {
            let shown = whole.groups.iter().zip(&groups).filter(|(_, group)| !group.is_small);
            shown.clone().count() > 1
                && shown
                    .map(|(figures, _)| &figures.findings[*column])
                    .all(|finding| is_enough(finding.positives) && is_enough(finding.negatives))
        };
        let columns: Vec<usize> = (0..findings).filter(judged).collect();
        let means = |runs: &[Subgroups], weights: Option<&[u32]>| self.means(runs, weights, &columns, &groups);
        let observed: Vec<Means> = arms.iter().map(|runs| means(runs, None)).collect();
        let patients = Patients::new(&first.patients());
        let replicates: Vec<Vec<Means>> = (0..self.bootstrap.replicates as u64)
            .into_par_iter()
            .map(|replicate| {
                let weights = patients.weights(self.bootstrap.seed, replicate);
                arms.iter().map(|runs| means(runs, Some(&weights))).collect()
            })
            .collect();
        let arm = |at: usize| {
            let of = |figure: usize| {
                let values = &observed[at][figure];
                let estimates = (0..count).map(|group| {
                    let replicates: Vec<f64> =
                        replicates.iter().map(|means| means[at][figure][group].unwrap_or(f64::NAN)).collect();
                    estimate(values[group]?, &replicates)
                });
                let gaps: Vec<f64> =
                    replicates.iter().map(|means| gap(&means[at][figure]).map_or(f64::NAN, |gap| gap.0)).collect();
                let found = gap(values).and_then(|(size, highest, lowest)| {
                    let size = estimate(size, &gaps)?;
                    // The worst is the lowest AUROC, and the highest share of the ill that are missed.
                    let worst = if figure == 0 { lowest } else { highest };
                    Some(FairnessGap { size, worst: groups[worst].name.clone() })
                });
                (estimates.collect(), found)
            };
            let ((auroc, auroc_gap), (underdiagnosis, underdiagnosis_gap)) = (of(0), of(1));
            FairnessArm { arm: self.arms[at].0.clone(), auroc, auroc_gap, underdiagnosis, underdiagnosis_gap }
        };
        Ok(FairnessAttribute {
            name: attribute.name.to_owned(),
            unknown: attribute.of_row.iter().filter(|group| group.is_none()).count(),
            findings: columns.iter().map(|column| first.findings[*column].clone()).collect(),
            arms: (0..self.arms.len()).map(arm).collect(),
            groups,
        })
    }

    fn means(&self, runs: &[Subgroups], weights: Option<&[u32]>, columns: &[usize], groups: &[FairnessGroup]) -> Means {
        let figures: Vec<SubgroupFigures> =
            runs.iter().map(|run| weights.map_or_else(|| run.figures(), |weights| run.weighted(weights))).collect();
        let over_runs = |group: usize, of: &dyn Fn(&SubgroupFigures) -> Option<f64>| {
            let values: Option<Vec<f64>> = figures.iter().map(of).collect();
            values.filter(|_| !groups[group].is_small).map(|values| mean(&values))
        };
        let auroc = |group: usize| {
            over_runs(group, &|figures| {
                let aurocs: Option<Vec<f64>> =
                    columns.iter().map(|&column| figures.groups[group].findings[column].auroc).collect();
                aurocs.filter(|aurocs| !aurocs.is_empty()).map(|aurocs| mean(&aurocs))
            })
        };
        let missed = |group: usize| {
            let is_judged = self.has_points && groups[group].ill >= FEWEST;
            over_runs(group, &|figures| figures.groups[group].underdiagnosis).filter(|_| is_judged)
        };
        [(0..groups.len()).map(auroc).collect(), (0..groups.len()).map(missed).collect()]
    }
}

fn groups(attribute: &Attribute, test: &Predictions, whole: &SubgroupFigures) -> Vec<FairnessGroup> {
    let mut patients: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); attribute.groups.len()];
    for (row, group) in test.rows.iter().zip(&attribute.of_row) {
        if let Some(group) = group {
            patients[*group].insert(&row.patient);
        }
    }
    let group = |((name, figures), patients): ((&String, &GroupFigures), BTreeSet<&str>)| FairnessGroup {
        name: name.clone(),
        images: figures.rows as usize,
        patients: patients.len(),
        ill: figures.sick as usize,
        is_small: patients.len() < 2 * FEWEST,
    };
    attribute.groups.iter().zip(&whole.groups).zip(patients).map(group).collect()
}

/// Largest minus smallest defined value, and the groups that have them; `None` below two.
fn gap(values: &[Option<f64>]) -> Option<(f64, usize, usize)> {
    let defined = || values.iter().enumerate().filter_map(|(at, value)| Some((at, (*value)?)));
    let lowest = defined().reduce(|best, other| if other.1 < best.1 { other } else { best })?;
    let highest = defined().reduce(|best, other| if other.1 > best.1 { other } else { best })?;
    (defined().count() > 1).then_some((highest.1 - lowest.1, highest.0, lowest.0))
}

fn estimate(value: f64, replicates: &[f64]) -> Option<Estimate> {
    let interval = Summary::new(replicates).interval?;
    Some(Estimate { value, low: interval.lower, high: interval.upper })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::predict::PredictedRow;

    use super::*;

    /// 400 patients, every other one a woman, whose images are scored with much more noise: scores of two findings and `No Finding`.
    fn predictions(shift: usize) -> Predictions {
        let noise = |i: usize, salt: usize| ((i * 7919 + salt * 104_729 + shift * 1_299_709) % 1000) as f64 / 1000.0;
        let (mut scores, mut targets) = (Vec::new(), Vec::new());
        for i in 0..400 {
            let reach = if i % 2 == 0 { 1.2 } else { 0.2 };
            let present = [i / 2 % 4 == 0, i / 2 % 5 == 0];
            for (finding, present) in present.into_iter().enumerate() {
                let score = 0.5 + if present { 0.15 } else { -0.15 } + reach * (noise(i, finding) - 0.5);
                scores.push(score.clamp(0.0, 1.0));
                targets.push(f64::from(u8::from(present)));
            }
            scores.push(0.99);
            targets.push(f64::from(u8::from(!present[0] && !present[1])));
        }
        let row = |i: usize| PredictedRow { image: format!("{i}.png"), patient: format!("p{i}") };
        let findings = ["Effusion", "Mass", NO_FINDING].map(str::to_owned).to_vec();
        Predictions { rows: (0..400).map(row).collect(), findings, scores, targets }
    }

    fn sexes() -> Attribute {
        let sex = |i: usize| (i < 396).then(|| (0, if i.is_multiple_of(2) { "female" } else { "male" }.to_owned()));
        attribute("sex", (0..400).map(sex).collect())
    }

    fn of(runs: Vec<JudgedRun>, attributes: &[Attribute]) -> FairnessReport {
        let arms = [("real".to_owned(), runs)];
        fairness(&arms, attributes, Bootstrap { replicates: 200, seed: 1 }).unwrap().unwrap()
    }

    #[test]
    fn the_harder_sex_is_named_with_its_gap() {
        let runs = vec![JudgedRun { test: predictions(0), valid: Some(predictions(1)) }];
        let report = of(runs, &[sexes()]);
        let sex = &report.attributes[0];
        assert_eq!((sex.name.as_str(), sex.unknown, sex.findings.len()), ("sex", 4, 3));
        assert_eq!(
            sex.groups.iter().map(|group| (group.name.as_str(), group.images)).collect::<Vec<_>>(),
            [("female", 198), ("male", 198)]
        );
        let arm = &sex.arms[0];
        let (auroc, missed) = (arm.auroc_gap.as_ref().unwrap(), arm.underdiagnosis_gap.as_ref().unwrap());
        assert_eq!((auroc.worst.as_str(), missed.worst.as_str()), ("female", "female"));
        assert!(auroc.size.low > 0.05 && missed.size.low > 0.05, "{arm:?}");
        assert!(arm.auroc[0].unwrap().value < arm.auroc[1].unwrap().value);
        for estimate in arm.auroc.iter().chain(&arm.underdiagnosis).flatten() {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
        }
    }

    #[test]
    fn swapped_names_swap_and_two_equal_runs_are_one() {
        let run = || JudgedRun { test: predictions(0), valid: Some(predictions(1)) };
        let mut swapped = sexes();
        swapped.of_row.iter_mut().flatten().for_each(|group| *group = 1 - *group);
        let (here, there) = (of(vec![run()], &[sexes()]), of(vec![run(), run()], &[swapped]));
        let (here, there) = (&here.attributes[0].arms[0], &there.attributes[0].arms[0]);
        assert_eq!((here.auroc[0], here.underdiagnosis[1]), (there.auroc[1], there.underdiagnosis[0]));
        assert_eq!(there.auroc_gap.as_ref().unwrap().worst, "male");
    }

    #[test]
    fn small_groups_are_named_and_not_judged() {
        let view = attribute("view", (0..400).map(|i| Some((0, if i < 15 { "AP" } else { "PA" }.to_owned()))).collect());
        let race = attribute(
            "race",
            (0..400).map(|i| Some((0, ["a", "b", "c"][if i < 15 { 2 } else { i % 2 }].to_owned()))).collect(),
        );
        let report = of(vec![JudgedRun { test: predictions(0), valid: Some(predictions(1)) }], &[view, race]);
        let [view, race] = &report.attributes[..] else { panic!() };
        assert!(view.groups[0].is_small && !view.groups[1].is_small);
        assert_eq!((view.arms[0].auroc[0], view.arms[0].underdiagnosis[0]), (None, None));
        assert!(view.arms[0].auroc_gap.is_none() && view.arms[0].underdiagnosis_gap.is_none());
        // The two that are large enough are compared.
        assert!(race.groups[2].is_small && race.arms[0].auroc[2].is_none() && race.arms[0].auroc_gap.is_some());
    }

    #[test]
    fn without_validation_there_is_no_operating_point() {
        let report = of(vec![JudgedRun { test: predictions(0), valid: None }], &[sexes()]);
        assert_eq!(report.operating_point, None);
        let arm = &report.attributes[0].arms[0];
        assert!(arm.auroc_gap.is_some() && arm.underdiagnosis_gap.is_none() && arm.underdiagnosis.iter().all(Option::is_none));
        // One class only on validation: that finding has none.
        let mut valid = predictions(1);
        valid.targets.chunks_mut(3).for_each(|row| row[1] = 0.0);
        let report = of(vec![JudgedRun { test: predictions(0), valid: Some(valid) }], &[sexes()]);
        assert_eq!(report.without_operating_point, ["Mass"]);
        assert!(report.operating_point.is_some() && report.attributes[0].arms[0].underdiagnosis_gap.is_some());
    }

    #[test]
    fn what_is_not_recorded_is_no_attribute() {
        assert_eq!(age_band(39.9), Some((0, "under 40".to_owned())));
        assert_eq!(age_band(79.5), Some((2, "60 to 79".to_owned())));
        assert_eq!(age_band(80.0), Some((3, "80 and older".to_owned())));
        assert_eq!((age_band(f32::NAN), age_band(-1.0)), (None, None));
        assert!(attributes(&[None, None]).is_empty());
        let rows = group_rows(
            &["a.png".to_owned(), "b.png".to_owned()],
            &[attribute("sex", vec![None, Some((0, "male".to_owned()))])],
        );
        assert_eq!(rows, [["image", "sex"], ["a.png", ""], ["b.png", "male"]]);
    }

    #[test]
    fn the_threshold_is_the_best_on_validation() {
        let ranking = Ranking::new(&[0.1, 0.4, 0.35, 0.8], &[0.0, 0.0, 1.0, 1.0]).unwrap();
        // At 0.8 one of two and no false alarm; at 0.35 both and one of two: the same, the larger is taken.
        assert_eq!(youden(&ranking), Some(0.8));
        assert_eq!(youden(&Ranking::new(&[0.1], &[1.0]).unwrap()), None);
    }
}
