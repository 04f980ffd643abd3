//! Which synthetic images to ask for, given the training rows.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::cycle::{BalancedCycle, Cycle};
use crate::digest::Fingerprint;
use crate::record::{Finding, Label, PatientId, Vocabulary, by_finding};
use crate::request::{RequestSource, SampleRequest, check_count};
use crate::text::PromptedRow;

/// Which labels are requested. Every request copies a whole row, so that labels come in the combinations that the data have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelPlan {
    /// All rows in turn: every finding as often as in the training set.
    #[default]
    Prevalence,
    /// Every finding equally often, see [`RequestPlan::balanced`].
    Balanced,
    /// This many requests of each finding, from the rows where it is positive; `No Finding` stands for the rows without any
    /// positive label if it is not a label itself.
    Counts(#[serde(deserialize_with = "by_finding")] BTreeMap<Finding, usize>),
}

/// Makes requests from training rows.
///
/// A request copies the row's prompt, labels, age, sex and view; its noise seed is a digest of plan seed, row id and replica.
/// So the same replica of the same row is the same request in every plan of one seed, whatever its size, and is generated once.
pub struct RequestPlan<'a> {
    rows: &'a [PromptedRow],
    vocabulary: &'a Vocabulary,
    seed: u64,
    fold: Option<u32>,
}

impl<'a> RequestPlan<'a> {
    /// A plan over real training rows whose labels are in `vocabulary`.
    ///
    /// # Errors
    /// [`AugmentError::EmptyDataset`] without rows, [`AugmentError::LabelCount`] for a row that has not one label per finding.
    pub fn new(rows: &'a [PromptedRow], vocabulary: &'a Vocabulary) -> Result<Self, AugmentError> {
        const NAME: &str = "the rows to make requests from";
        if rows.is_empty() {
            return Err(AugmentError::EmptyDataset { name: NAME.to_owned() });
        }
        for (row, PromptedRow { record, .. }) in (1..).zip(rows) {
            let (found, expected) = (record.labels.len(), vocabulary.len());
            if found != expected {
                return Err(AugmentError::LabelCount { name: NAME.to_owned(), row, found, expected });
            }
        }
        Ok(Self { rows, vocabulary, seed: 0, fold: None })
    }

    /// The same plan with another seed (0 unless set).
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The same plan for rows of a cross-validation fold, which the requests record.
    #[must_use]
    pub fn with_fold(self, fold: u32) -> Self {
        Self { fold: Some(fold), ..self }
    }

    /// `k` requests per row: all of the first row, then all of the second, ….
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for more than [`MAX_REQUESTS`](crate::request::MAX_REQUESTS) in all.
    pub fn replicas(&self, k: u32) -> Result<Vec<SampleRequest>, AugmentError> {
        check_count("replicas", self.rows.len().checked_mul(k as usize))?;
        Ok((0..self.rows.len()).flat_map(|row| (0..k).map(move |replica| self.request(row, replica))).collect())
    }

    /// `n` requests: rows in a seeded order, repeated as often as needed.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for more than [`MAX_REQUESTS`](crate::request::MAX_REQUESTS).
    pub fn of_size(&self, n: usize) -> Result<Vec<SampleRequest>, AugmentError> {
        check_count("size", Some(n))?;
        let order = Cycle::new(self.rows.len(), self.seed, "requests");
        Ok(self.numbered((0..n as u64).map(|step| order.at(step))))
    }

    /// `n` requests that ask for every finding equally often: more replicas of the rows with rare findings.
    ///
    /// Requests go in turn through one group per finding (the rows where it is positive, if any) and one group of the rows
    /// without a positive finding; each group cycles through its rows in a seeded order. A row with several
    /// findings is in several groups, so a common companion of a rare finding is requested more often too.
    ///
    /// # Errors
    /// As [`RequestPlan::of_size`].
    pub fn balanced(&self, n: usize) -> Result<Vec<SampleRequest>, AugmentError> {
        check_count("size", Some(n))?;
        let order = BalancedCycle::new(self.rows.iter().map(|row| &row.record.labels[..]), self.seed, "balanced requests");
        Ok(self.numbered((0..n as u64).map(|step| order.at(step))))
    }

    /// Requests by a plan of labels: `n` of them, or as many as the plan counts.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for a finding that no row has, or more requests than [`MAX_REQUESTS`](crate::request::MAX_REQUESTS).
    pub fn of_labels(&self, labels: &LabelPlan, n: usize) -> Result<Vec<SampleRequest>, AugmentError> {
        match labels {
            LabelPlan::Prevalence => self.of_size(n),
            LabelPlan::Balanced => self.balanced(n),
            LabelPlan::Counts(counts) => self.counted(counts),
        }
    }

    fn counted(&self, counts: &BTreeMap<Finding, usize>) -> Result<Vec<SampleRequest>, AugmentError> {
        let sum = counts.values().try_fold(0usize, |sum, count| sum.checked_add(*count));
        let mut steps = Vec::with_capacity(check_count("plan.counts", sum)?);
        for (group, (&finding, &count)) in (1..).zip(counts) {
            let rows: Vec<usize> =
                (0..self.rows.len()).filter(|&row| shows(&self.rows[row].record.labels, finding, self.vocabulary)).collect();
            if rows.is_empty() && count > 0 {
                let expected = "0, or leave it out: no training row with a prompt has it";
                return Err(AugmentError::setting(format!("plan.counts.{finding}"), count, expected));
            }
            let order = Cycle::over(rows, self.seed, "counted requests", group);
            steps.extend((0..count as u64).map(|step| order.at(step)));
        }
        Ok(self.numbered(steps.into_iter()))
    }

    /// Requests of these rows; the replica counts how often a row has occurred.
    fn numbered(&self, rows: impl Iterator<Item = usize>) -> Vec<SampleRequest> {
        let mut replicas = vec![0; self.rows.len()];
        rows.map(|row| {
            let request = self.request(row, replicas[row]);
            replicas[row] += 1;
            request
        })
        .collect()
    }

    fn request(&self, row: usize, replica: u32) -> SampleRequest {
        let PromptedRow { record, prompt } = &self.rows[row];
        let id = record.id.as_bytes();
        let digest = Fingerprint::of(&[b"roentgen request 1", &self.seed.to_le_bytes(), id, &replica.to_le_bytes()]);
        let (first, _) = digest.0.split_first_chunk().expect("a digest has 32 bytes");
        SampleRequest {
            prompt: prompt.text.clone(),
            prompt_kind: prompt.kind,
            labels: record.labels.clone(),
            seed: u64::from_le_bytes(*first),
            replica,
            source: Some(RequestSource {
                id: record.id.clone(),
                // As in splits, an image without a patient counts as a separate patient.
                patient_id: record.patient_id.clone().unwrap_or_else(|| PatientId::new(&record.id)),
                fold: self.fold,
            }),
            age: record.age,
            sex: record.sex,
            view: record.view,
        }
    }
}

/// Whether an image with these labels counts for `finding` in a plan of counts.
pub(crate) fn shows(labels: &[Label], finding: Finding, vocabulary: &Vocabulary) -> bool {
    match vocabulary.position(finding) {
        Some(column) => labels[column] == Label::Positive,
        None => finding.name() == "No Finding" && !labels.contains(&Label::Positive),
    }
}

impl fmt::Debug for RequestPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestPlan({} rows, seed {})", self.rows.len(), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::tests::record;
    use crate::record::{CxrRecord, Label};
    use crate::text::{PromptKind, template_prompts};

    fn records(n: usize) -> Vec<Arc<CxrRecord>> {
        (0..n).map(|i| Arc::new(record(&format!("{i}.png"), &format!("p{i}"), None))).collect()
    }

    fn rows(n: usize) -> Vec<PromptedRow> {
        template_prompts(&records(n), &vocabulary())
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::parse(["Effusion", "Mass"]).unwrap()
    }

    fn source(request: &SampleRequest) -> &str {
        &request.source.as_ref().unwrap().id
    }

    #[test]
    fn a_request_takes_over_its_row() {
        let (rows, vocabulary) = (rows(3), vocabulary());
        let requests = RequestPlan::new(&rows, &vocabulary).unwrap().with_fold(4).replicas(2).unwrap();
        assert_eq!(requests.len(), 6);
        let request = &requests[3];
        assert_eq!((source(request), request.replica), ("1.png", 1));
        assert_eq!(request.source.as_ref().unwrap().patient_id.as_str(), "p1");
        assert_eq!(request.source.as_ref().unwrap().fold, Some(4));
        assert_eq!(request.labels, rows[1].record.labels);
        assert_eq!((&request.prompt, request.prompt_kind), (&rows[1].prompt.text, PromptKind::Template));
    }

    #[test]
    fn noise_differs_between_rows_replicas_and_plans() {
        let (rows, vocabulary) = (rows(20), vocabulary());
        let plan = |seed| RequestPlan::new(&rows, &vocabulary).unwrap().with_seed(seed);
        let seeds: HashSet<_> = [plan(0), plan(1)].iter().flat_map(|plan| plan.replicas(5).unwrap()).map(|r| r.seed).collect();
        assert_eq!(seeds.len(), 200);
    }

    #[test]
    fn plans_of_one_seed_share_requests() {
        let (rows, vocabulary) = (rows(5), vocabulary());
        let plan = RequestPlan::new(&rows, &vocabulary).unwrap();
        let all = plan.replicas(4).unwrap();
        assert!(plan.of_size(17).unwrap().iter().chain(&plan.balanced(3).unwrap()).all(|request| all.contains(request)));
    }

    #[test]
    fn balancing_asks_for_rare_findings_more() {
        let (mut records, vocabulary) = (records(20), vocabulary());
        for record in &mut records {
            Arc::make_mut(record).labels = vec![Label::Positive, Label::Negative];
        }
        Arc::make_mut(&mut records[7]).labels = vec![Label::Negative, Label::Positive];
        let rows = template_prompts(&records, &vocabulary);
        let requests = RequestPlan::new(&rows, &vocabulary).unwrap().balanced(40).unwrap();
        let rare: Vec<_> = requests.iter().filter(|request| source(request) == "7.png").collect();
        assert_eq!(rare.len(), 20);
        assert_eq!(rare.iter().map(|request| request.replica).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn a_table_of_counts_is_kept() {
        let (mut records, vocabulary) = (records(12), vocabulary());
        for (i, record) in records.iter_mut().enumerate() {
            let label = |positive| if positive { Label::Positive } else { Label::Negative };
            Arc::make_mut(record).labels = vec![label(i < 3), label(i == 2)];
        }
        let rows = template_prompts(&records, &vocabulary);
        let plan = RequestPlan::new(&rows, &vocabulary).unwrap();
        let counts = |counts: &[(&str, usize)]| {
            LabelPlan::Counts(counts.iter().map(|(name, count)| (Finding::parse(name).unwrap(), *count)).collect())
        };
        let requests = plan.of_labels(&counts(&[("Effusion", 7), ("Mass", 2), ("No Finding", 4)]), 0).unwrap();
        let of = |wanted: fn(&SampleRequest) -> bool| requests.iter().filter(|request| wanted(request)).count();
        assert_eq!(of(|request| !request.labels.contains(&Label::Positive)), 4);
        // The two of the mass have an effusion as well.
        assert_eq!(of(|request| request.labels[0] == Label::Positive), 9);
        let distinct: HashSet<_> = requests.iter().map(|request| request.seed).collect();
        assert_eq!(distinct.len(), 13);
        let error = plan.of_labels(&counts(&[("Hernia", 1)]), 0).unwrap_err().to_string();
        assert!(error.starts_with("plan.counts.Hernia is 1; write 0"), "{error}");
    }

    #[test]
    fn more_requests_than_memory_holds_are_refused() {
        let (rows, vocabulary) = (rows(3), vocabulary());
        let plan = RequestPlan::new(&rows, &vocabulary).unwrap();
        let effusion = Finding::parse("Effusion").unwrap();
        let counts = [(effusion, usize::MAX), (Finding::parse("Mass").unwrap(), 2)].into_iter().collect();
        for refused in [
            plan.replicas(u32::MAX),
            plan.of_size(usize::MAX),
            plan.balanced(usize::MAX - 1),
            plan.of_labels(&LabelPlan::Counts(counts), 0),
            plan.of_labels(&LabelPlan::Counts([(effusion, usize::MAX)].into_iter().collect()), 0),
        ] {
            assert!(refused.unwrap_err().to_string().contains("at most 10000000 images"));
        }
    }

    #[test]
    fn rows_of_another_vocabulary_are_refused() {
        let (rows, vocabulary) = (rows(2), Vocabulary::nih());
        let error = RequestPlan::new(&rows, &vocabulary).unwrap_err().to_string();
        assert!(error.contains("2 labels for 14 findings"), "{error}");
        assert!(RequestPlan::new(&[], &vocabulary).is_err());
    }

    proptest! {
        #[test]
        fn any_size_uses_rows_evenly(n in 0usize..200, rows_n in 1usize..30, seed: u64) {
            let (rows, vocabulary) = (rows(rows_n), vocabulary());
            let requests = RequestPlan::new(&rows, &vocabulary).unwrap().with_seed(seed).of_size(n).unwrap();
            prop_assert_eq!(requests.len(), n);
            let distinct: HashSet<_> = requests.iter().map(|r| (source(r), r.replica)).collect();
            prop_assert_eq!(distinct.len(), n);
            let most = requests.iter().map(|r| r.replica + 1).max().unwrap_or(0) as usize;
            prop_assert_eq!(most, n.div_ceil(rows_n));
        }
    }
}
