//! Sex, age, view and whatever else was asked for, by a classifier that has an output for it.

use std::collections::BTreeMap;

use roentgen_augment::record::{CxrRecord, Sex, View};
use roentgen_classifier::metrics::Patients;

use super::heads::Shared;
use super::judge::{CorrectnessSettings, Judged, check, thresholds};
use super::question::{Answer, Question};
use super::report::{ColumnAgreement, CorrectnessError, ValueAgreement};
use super::scores::estimate;
use super::table::{Table, stream};

/// Values that were asked for, by column (in small letters), one entry per image; `None` where nothing was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(BTreeMap<String, Vec<Option<String>>>);

impl Columns {
    /// `sex`, `age` and `view` of records.
    #[must_use]
    pub fn of_records<'a>(records: impl Iterator<Item = &'a CxrRecord> + Clone) -> Self {
        let sex = |sex: Sex| if sex == Sex::Female { "f" } else { "m" };
        let view = |view: View| match view {
            View::Pa => "pa",
            View::Ap => "ap",
            View::Lateral => "l",
        };
        Self::default()
            .with("sex", records.clone().map(|record| record.sex.map(|of| sex(of).to_owned())))
            .with("age", records.clone().map(|record| record.age.map(|age| age.to_string())))
            .with("view", records.map(|record| record.view.map(|of| view(of).to_owned())))
    }

    /// The same with another column.
    #[must_use]
    pub fn with(mut self, name: &str, values: impl Iterator<Item = Option<String>>) -> Self {
        self.0.insert(name.to_lowercase(), values.collect());
        self
    }
}

/// For every column that an output of the classifier is named after (`Sex=F`, `View=AP`, `Age>=60`) whether the images are as asked.
///
/// Where one output names a value of a column, a score of its operating point or more says that value; of several outputs the one with
/// the largest score, scaled to operating points, says its own. Questions of order (`Age>=60`) are judged one by one.
/// `judged.labels` and `judged.targets` are not read.
///
/// # Errors
/// As [`judge`](super::judge()).
pub fn agreements(
    judged: &Judged<'_>,
    columns: &Columns,
    settings: &CorrectnessSettings,
) -> Result<Vec<ColumnAgreement>, CorrectnessError> {
    let mut asked: BTreeMap<String, Vec<(usize, Question)>> = BTreeMap::new();
    for (output, name) in judged.outputs.iter().enumerate() {
        let Some(question) = Question::parse(name).filter(|question| columns.0.contains_key(&question.column)) else {
            continue;
        };
        let about = if let Answer::Is(_) = question.answer { question.column.clone() } else { name.trim().to_lowercase() };
        asked.entry(about).or_default().push((output, question));
    }
    asked.into_iter().map(|(asked, questions)| agreement(asked, &questions, judged, columns, settings)).collect()
}

fn agreement(
    asked: String,
    questions: &[(usize, Question)],
    judged: &Judged<'_>,
    columns: &Columns,
    settings: &CorrectnessSettings,
) -> Result<ColumnAgreement, CorrectnessError> {
    let values = &columns.0[&questions[0].1.column];
    let images = judged.groups.len();
    let labels: Vec<String> = questions.iter().map(|(output, _)| judged.outputs[*output].clone()).collect();
    let of_image =
        |value: &Option<String>| questions.iter().map(|(_, question)| question.target(value.as_deref())).collect::<Vec<_>>();
    let targets: Vec<f64> = values.iter().flat_map(of_image).collect();
    let columns_of = |(label, (output, _)): (usize, &(usize, Question))| Some(Shared { output: *output, label });
    let pairs: Vec<Option<Shared>> = questions.iter().enumerate().map(columns_of).collect();
    let asked_for = Judged { labels: &labels, targets: &targets, ..*judged };
    check("synthetic", &asked_for)?;
    let points = thresholds(judged.outputs, settings)?;
    let table = Table::new("synthetic", &asked_for, &pairs, points.as_deref(), settings)?;

    let verdict = |image: usize| -> Option<(bool, usize)> {
        let (targets, scores) = (&targets[image * pairs.len()..][..pairs.len()], table.scaled(image));
        match targets {
            [target] => (!target.is_nan()).then(|| ((*target == 1.0) == (scores[0] >= 0.5), usize::from(*target == 1.0))),
            _ => {
                let wanted = targets.iter().position(|target| *target == 1.0)?;
                let seen = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a)))?;
                Some((seen == wanted, wanted))
            }
        }
    };
    let verdicts: Vec<Option<(bool, usize)>> = (0..images).map(verdict).collect();
    let share = |weights: &[u32]| {
        let of = |right: bool| -> f64 {
            let chosen =
                verdicts.iter().zip(weights).filter(|(verdict, _)| verdict.is_some_and(|(agrees, _)| agrees || !right));
            chosen.map(|(_, weight)| f64::from(*weight)).sum()
        };
        of(true) / of(false)
    };
    let patients = Patients::new(judged.groups);
    let bootstrap = stream("synthetic", settings.bootstrap);
    let replicates = (0..bootstrap.replicates).map(|replicate| share(&patients.weights(bootstrap.seed, replicate as u64)));
    let mut counts = BTreeMap::<usize, usize>::new();
    verdicts.iter().flatten().for_each(|(_, wanted)| *counts.entry(*wanted).or_default() += 1);
    let cases: usize = counts.values().sum();
    Ok(ColumnAgreement {
        asked,
        cases,
        left_out: images - cases,
        agreement: estimate(share(&vec![1; images]), replicates),
        commonest: counts.values().max().map(|most| *most as f64 / cases as f64),
        values: labels
            .iter()
            .enumerate()
            .map(|(column, output)| ValueAgreement { output: output.clone(), correctness: table.finding(column) })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use roentgen_classifier::metrics::Bootstrap;

    use super::*;

    fn of(outputs: &[&str], scores: &[f64], columns: Columns) -> Vec<ColumnAgreement> {
        let outputs: Vec<String> = outputs.iter().map(|name| (*name).to_owned()).collect();
        let groups: Vec<String> = (0..scores.len() / outputs.len()).map(|image| image.to_string()).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let judged = Judged { outputs: &outputs, scores, labels: &[], targets: &[], groups: &groups };
        let bootstrap = Bootstrap { replicates: 100, seed: 1 };
        agreements(&judged, &columns, &CorrectnessSettings { bootstrap, fewest: 1, ..CorrectnessSettings::default() }).unwrap()
    }

    fn words<'a>(words: &'a [&'a str]) -> impl Iterator<Item = Option<String>> + 'a {
        words.iter().map(|word| (!word.is_empty()).then(|| (*word).to_owned()))
    }

    #[test]
    fn one_output_decides_at_its_operating_point() {
        let sexes = Columns::default().with("Sex", words(&["F", "male", "F", "M", ""]));
        let found = of(&["Effusion", "Sex=F"], &[0.1, 0.9, 0.1, 0.2, 0.1, 0.3, 0.1, 0.1, 0.1, 0.9], sexes);
        assert_eq!(found.len(), 1);
        let sex = &found[0];
        // The third is not seen as asked; the fifth was asked for nothing.
        assert_eq!((sex.asked.as_str(), sex.cases, sex.left_out, sex.commonest), ("sex", 4, 1, Some(0.5)));
        assert_eq!(sex.agreement.unwrap().value, 0.75);
        assert_eq!(sex.values[0].correctness.auroc.unwrap().value, 1.0);
    }

    #[test]
    fn of_several_outputs_the_largest_says_its_own() {
        let views = Columns::default().with("view", words(&["PA", "AP", "PA", "L"]));
        let found = of(&["View=PA", "View=AP"], &[0.2, 0.1, 0.8, 0.9, 0.3, 0.6, 0.9, 0.1], views);
        assert_eq!((found[0].cases, found[0].left_out), (3, 1));
        assert!((found[0].agreement.unwrap().value - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(found[0].values.len(), 2);
    }

    #[test]
    fn orders_are_judged_one_by_one() {
        let ages = Columns::default().with("age", words(&["70", "20", "61", ""]));
        let found = of(&["Age>=60", "Age<30"], &[0.9, 0.1, 0.2, 0.7, 0.4, 0.6, 0.5, 0.5], ages);
        let asked: Vec<_> = found.iter().map(|column| (column.asked.as_str(), column.agreement.unwrap().value)).collect();
        assert_eq!(asked, [("age<30", 2.0 / 3.0), ("age>=60", 2.0 / 3.0)]);
    }

    #[test]
    fn what_nobody_asked_for_is_not_judged() {
        let nobody = Columns::default().with("sex", words(&["", ""]));
        let found = &of(&["Sex=F"], &[0.9, 0.1], nobody)[0];
        assert_eq!((found.cases, found.agreement, found.commonest), (0, None, None));
        assert_eq!(found.values[0].correctness.undefined.as_deref(), Some("no image has a label of it"));
        assert!(of(&["Sex=F"], &[0.9, 0.1], Columns::default()).is_empty());
    }
}
