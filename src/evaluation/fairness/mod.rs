//! Whether classifiers serve every group of patients equally well.

mod attribute;
mod gap;
mod point;

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use roentgen_classifier::metrics::{
    Bootstrap, GroupFigures, GroupedScores, MetricsError, Patients, ScoreTable, SubgroupFigures, Subgroups, Summary,
};
use roentgen_classifier::predict::Predictions;

use self::gap::gap;
use crate::config::FairnessConfig;
use crate::report::{Estimate, FairnessArm, FairnessAttribute, FairnessGap, FairnessGroup, FairnessReport};

pub use attribute::{Attribute, attributes, group_rows};
pub use point::thresholds;

/// The label that says that nothing was found.
const NO_FINDING: &str = "No Finding";

/// Predictions of one run.
#[derive(Clone, Debug)]
pub struct JudgedRun {
    /// On the images that are grouped.
    pub test: Predictions,
    /// A score at or above it is called, one per finding; `None` for a finding without one, and for a run of which none is known.
    pub thresholds: Option<Vec<Option<f64>>>,
}

/// Arms to be judged by groups of images.
#[derive(Clone, Copy, Debug)]
pub struct FairnessJob<'a> {
    /// Names of the arms, and their runs; at least one of each.
    pub arms: &'a [(String, Vec<JudgedRun>)],
    /// What divides the images.
    pub attributes: &'a [Attribute],
    /// How groups are judged.
    pub config: &'a FairnessConfig,
    /// How thresholds were chosen, for people.
    pub operating_point: &'a str,
    /// The resamples that intervals come from.
    pub bootstrap: Bootstrap,
}

/// What has thresholds.
struct Points {
    /// Columns that stay out of under-diagnosis.
    left_out: Vec<usize>,
    /// Findings among them that lack a threshold, of any run: all arms and seeds are asked about the same diseases.
    without: Vec<String>,
    /// Whether there is anything to ask.
    is_known: bool,
}

/// Figures of the groups of one arm: means over runs, `[AUROC, under-diagnosis]` by group.
type Means = [Vec<Option<f64>>; 2];

impl FairnessJob<'_> {
    /// Figures of every arm, by group. `None` without an attribute.
    ///
    /// # Errors
    /// [`MetricsError`] if predictions of different rows were mixed, or scores are not numbers.
    ///
    /// # Panics
    /// If there is no arm or an arm has no run.
    pub fn report(&self) -> Result<Option<FairnessReport>, MetricsError> {
        if self.attributes.is_empty() {
            return Ok(None);
        }
        let points = self.points();
        let attributes = self.attributes.iter().map(|attribute| self.attribute(attribute, &points));
        Ok(Some(FairnessReport {
            operating_point: points.is_known.then(|| self.operating_point.to_owned()),
            fewest: self.config.least_images,
            fewest_patients: self.config.least_patients,
            attributes: attributes.collect::<Result<_, _>>()?,
            without_operating_point: points.without,
        }))
    }

    fn first(&self) -> &Predictions {
        &self.arms[0].1[0].test
    }

    fn points(&self) -> Points {
        let runs = || self.arms.iter().flat_map(|(_, runs)| runs);
        let has_any = runs().all(|run| run.thresholds.is_some());
        let names = &self.first().findings;
        let healthy = |column: &usize| names[*column] == NO_FINDING;
        let pointless = |column: &usize| runs().flat_map(|run| &run.thresholds).any(|points| points[*column].is_none());
        let without = (0..names.len()).filter(|column| has_any && !healthy(column) && pointless(column));
        let without = without.map(|column| names[column].clone()).collect();
        let left_out: Vec<usize> = (0..names.len()).filter(|column| healthy(column) || pointless(column)).collect();
        let is_known = has_any && left_out.len() < names.len();
        Points { left_out, without, is_known }
    }

    /// The scores of every run of an arm by group.
    fn sorted(&self, arm: usize, attribute: &Attribute, points: &Points) -> Result<Vec<Subgroups>, MetricsError> {
        let first = self.first();
        let findings = first.findings.len();
        let of_run = |run: &JudgedRun| {
            let point = |finding: usize| run.thresholds.as_ref().and_then(|points| points[finding]).unwrap_or(f64::INFINITY);
            Subgroups::new(&GroupedScores {
                table: ScoreTable::new(&run.test.scores, &first.targets, findings)?,
                groups: &attribute.of_row,
                count: attribute.groups.len(),
                thresholds: &(0..findings).map(point).collect::<Vec<_>>(),
                left_out: &points.left_out,
            })
        };
        self.arms[arm].1.iter().map(of_run).collect()
    }

    fn attribute(&self, attribute: &Attribute, points: &Points) -> Result<FairnessAttribute, MetricsError> {
        let first = self.first();
        let arms: Vec<Vec<Subgroups>> =
            (0..self.arms.len()).map(|arm| self.sorted(arm, attribute, points)).collect::<Result<_, _>>()?;
        let whole = arms[0][0].figures();
        let judged = Judged { config: self.config, points, columns: Vec::new(), groups: self.groups(attribute, &whole) };
        let judged = Judged { columns: judged.columns(&whole, first.findings.len()), ..judged };
        let observed: Vec<Means> = arms.iter().map(|runs| judged.means(runs, None)).collect();
        let patients = Patients::new(&first.patients());
        let replicates: Vec<Vec<Means>> = (0..self.bootstrap.replicates as u64)
            .into_par_iter()
            .map(|replicate| {
                let weights = patients.weights(self.bootstrap.seed, replicate);
                arms.iter().map(|runs| judged.means(runs, Some(&weights))).collect()
            })
            .collect();
        let arm = |at: usize| {
            let of = |figure: usize| {
                let rows: Vec<&[Option<f64>]> = replicates.iter().map(|means| means[at][figure].as_slice()).collect();
                judged.estimates(&observed[at][figure], &rows)
            };
            let ((auroc, auroc_gap), (underdiagnosis, missed_gap)) = (of(0), of(1));
            let named = |gap: gap::Gap, worst: usize, best: usize| FairnessGap {
                size: gap.size,
                worst: judged.groups[worst].name.clone(),
                best: judged.groups[best].name.clone(),
            };
            FairnessArm {
                arm: self.arms[at].0.clone(),
                auroc,
                auroc_gap: auroc_gap.map(|gap| named(gap, gap.lowest, gap.highest)),
                underdiagnosis,
                // Who is missed most is served worst.
                underdiagnosis_gap: missed_gap.map(|gap| named(gap, gap.highest, gap.lowest)),
            }
        };
        Ok(FairnessAttribute {
            name: attribute.name.clone(),
            unknown: attribute.of_row.iter().filter(|group| group.is_none()).count(),
            findings: judged.columns.iter().map(|column| first.findings[*column].clone()).collect(),
            arms: (0..self.arms.len()).map(arm).collect(),
            groups: judged.groups,
        })
    }

    fn groups(&self, attribute: &Attribute, whole: &SubgroupFigures) -> Vec<FairnessGroup> {
        let mut patients: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); attribute.groups.len()];
        for (row, group) in self.first().rows.iter().zip(&attribute.of_row) {
            if let Some(group) = group {
                patients[*group].insert(&row.patient);
            }
        }
        let group = |((name, figures), patients): ((&String, &GroupFigures), BTreeSet<&str>)| FairnessGroup {
            name: name.clone(),
            images: figures.rows as usize,
            patients: patients.len(),
            ill: figures.sick as usize,
            is_small: patients.len() < self.config.least_patients,
        };
        attribute.groups.iter().zip(&whole.groups).zip(patients).map(group).collect()
    }
}

/// What is judged of one attribute.
struct Judged<'a> {
    config: &'a FairnessConfig,
    points: &'a Points,
    /// Findings that the AUROC is the mean of.
    columns: Vec<usize>,
    groups: Vec<FairnessGroup>,
}

impl Judged<'_> {
    /// Findings with enough images of both classes in every group. A group with too few of everything, which would leave no finding to
    /// compare the others by, is not asked.
    fn columns(&self, whole: &SubgroupFigures, findings: usize) -> Vec<usize> {
        let shown: Vec<&GroupFigures> =
            whole.groups.iter().zip(&self.groups).filter(|(_, group)| !group.is_small).map(|(figures, _)| figures).collect();
        let least = self.config.least_images as u64;
        let is_judged = |column: &usize| {
            let mut of_groups = shown.iter().map(|figures| &figures.findings[*column]);
            shown.len() > 1 && of_groups.all(|finding| finding.positives >= least && finding.negatives >= least)
        };
        (0..findings).filter(is_judged).collect()
    }

    fn means(&self, runs: &[Subgroups], weights: Option<&[u32]>) -> Means {
        let figures: Vec<SubgroupFigures> =
            runs.iter().map(|run| weights.map_or_else(|| run.figures(), |weights| run.weighted(weights))).collect();
        let over_runs = |group: usize, of: &dyn Fn(&SubgroupFigures) -> Option<f64>| {
            let values: Option<Vec<f64>> = figures.iter().map(of).collect();
            values.filter(|_| !self.groups[group].is_small).map(|values| mean(&values))
        };
        let auroc = |group: usize| {
            over_runs(group, &|figures| {
                let aurocs: Option<Vec<f64>> =
                    self.columns.iter().map(|&column| figures.groups[group].findings[column].auroc).collect();
                aurocs.filter(|aurocs| !aurocs.is_empty()).map(|aurocs| mean(&aurocs))
            })
        };
        let missed = |group: usize| {
            let is_judged = self.points.is_known && self.groups[group].ill >= self.config.least_images;
            over_runs(group, &|figures| figures.groups[group].underdiagnosis).filter(|_| is_judged)
        };
        let groups = 0..self.groups.len();
        [groups.clone().map(auroc).collect(), groups.map(missed).collect()]
    }

    /// The intervals of a figure of every group, and its gap.
    fn estimates(&self, values: &[Option<f64>], replicates: &[&[Option<f64>]]) -> (Vec<Option<Estimate>>, Option<gap::Gap>) {
        let of_group = |group: usize| {
            let of_replicates: Vec<f64> = replicates.iter().map(|row| row[group].unwrap_or(f64::NAN)).collect();
            let interval = Summary::new(&of_replicates).interval?;
            Some(Estimate { value: values[group]?, low: interval.lower, high: interval.upper })
        };
        ((0..values.len()).map(of_group).collect(), gap(values, replicates))
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::predict::PredictedRow;

    use crate::config::OperatingPoint;

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

    fn attribute(name: &str, of_row: Vec<Option<(usize, String)>>) -> Attribute {
        Attribute::new(name.to_owned(), of_row)
    }

    fn run(point: OperatingPoint, valid: &Predictions) -> JudgedRun {
        JudgedRun { test: predictions(0), thresholds: Some(thresholds(point, valid).unwrap()) }
    }

    fn sexes() -> Attribute {
        let sex = |i: usize| (i < 396).then(|| (0, if i.is_multiple_of(2) { "female" } else { "male" }.to_owned()));
        attribute("sex", (0..400).map(sex).collect())
    }

    fn of(runs: Vec<JudgedRun>, attributes: &[Attribute]) -> FairnessReport {
        let arms = [("real".to_owned(), runs)];
        judged(&arms, attributes, &FairnessConfig::default())
    }

    fn judged(arms: &[(String, Vec<JudgedRun>)], attributes: &[Attribute], config: &FairnessConfig) -> FairnessReport {
        let bootstrap = Bootstrap { replicates: 200, seed: 1 };
        FairnessJob { arms, attributes, config, operating_point: "stated", bootstrap }.report().unwrap().unwrap()
    }

    #[test]
    fn the_harder_sex_is_named_with_its_gap() {
        let runs = vec![run(OperatingPoint::Youden, &predictions(1))];
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
        assert_eq!((auroc.best.as_str(), missed.best.as_str()), ("male", "male"));
        assert!(auroc.size.low > 0.05 && missed.size.low > 0.05, "{arm:?}");
        assert!(arm.auroc[0].unwrap().value < arm.auroc[1].unwrap().value);
        for estimate in arm.auroc.iter().chain(&arm.underdiagnosis).flatten() {
            assert!(estimate.low <= estimate.value && estimate.value <= estimate.high, "{estimate:?}");
        }
    }

    #[test]
    fn swapped_names_swap_and_two_equal_runs_are_one() {
        let run = || run(OperatingPoint::Youden, &predictions(1));
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
        let report = of(vec![run(OperatingPoint::Youden, &predictions(1))], &[view, race]);
        let [view, race] = &report.attributes[..] else { panic!() };
        assert!(view.groups[0].is_small && !view.groups[1].is_small);
        assert_eq!((view.arms[0].auroc[0], view.arms[0].underdiagnosis[0]), (None, None));
        assert!(view.arms[0].auroc_gap.is_none() && view.arms[0].underdiagnosis_gap.is_none());
        // The two that are large enough are compared.
        assert!(race.groups[2].is_small && race.arms[0].auroc[2].is_none() && race.arms[0].auroc_gap.is_some());
    }

    #[test]
    fn without_validation_there_is_no_operating_point() {
        let report = of(vec![JudgedRun { test: predictions(0), thresholds: None }], &[sexes()]);
        assert_eq!(report.operating_point, None);
        let arm = &report.attributes[0].arms[0];
        assert!(arm.auroc_gap.is_some() && arm.underdiagnosis_gap.is_none() && arm.underdiagnosis.iter().all(Option::is_none));
        // One class only on validation: that finding has none.
        let mut valid = predictions(1);
        valid.targets.chunks_mut(3).for_each(|row| row[1] = 0.0);
        let report = of(vec![run(OperatingPoint::Youden, &valid)], &[sexes()]);
        assert_eq!(report.without_operating_point, ["Mass"]);
        assert!(report.operating_point.is_some() && report.attributes[0].arms[0].underdiagnosis_gap.is_some());
    }

    #[test]
    fn groups_by_chance_are_not_told_apart() {
        // Whoever has an even number of another order than the sexes have.
        let coin = attribute("coin", (0..400).map(|i| Some((0, ["heads", "tails"][i / 2 * 7 % 11 % 2].to_owned()))).collect());
        let arm = &of(vec![run(OperatingPoint::Youden, &predictions(1))], &[coin]).attributes[0].arms[0];
        for gap in [arm.auroc_gap.as_ref().unwrap(), arm.underdiagnosis_gap.as_ref().unwrap()] {
            assert!(gap.size.low < 0.0 && gap.size.value >= 0.0 && gap.size.high > 0.0, "{gap:?}");
        }
    }

    #[test]
    fn the_operating_point_and_the_sizes_are_those_of_the_run_file() {
        let of = |point: OperatingPoint, config: &FairnessConfig| {
            judged(&[("real".to_owned(), vec![run(point, &predictions(1))])], &[sexes()], config)
        };
        let usual = FairnessConfig::default();
        let (few, many) = (of(OperatingPoint::Sensitivity(0.99), &usual), of(OperatingPoint::Specificity(0.99), &usual));
        assert_eq!(few.operating_point.as_deref(), Some("stated"));
        let missed = |report: &FairnessReport| report.attributes[0].arms[0].underdiagnosis[0].unwrap().value;
        assert!(missed(&few) + 0.2 < missed(&many), "{many:?}");
        // 198 of each sex, a fifth to a quarter of them with a finding.
        let large = of(OperatingPoint::Youden, &FairnessConfig { least_images: 60, ..FairnessConfig::default() });
        assert_eq!((large.attributes[0].findings.len(), large.fewest), (1, 60));
        let none = of(OperatingPoint::Youden, &FairnessConfig { least_patients: 199, ..FairnessConfig::default() });
        assert!(none.attributes[0].groups.iter().all(|group| group.is_small) && none.attributes[0].arms[0].auroc_gap.is_none());
    }
}
