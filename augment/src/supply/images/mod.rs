//! Images made elsewhere as a pool: nothing is generated, images are chosen.

mod choice;
mod lineage;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::AugmentError;
use crate::dataset::{CxrDataset, Row, Splits};
use crate::gate::{Attempt, GateOutcome};
use crate::record::{CxrRecord, Origin, PatientId, Provenance, Split};
use crate::request::{RequestSource, SampleRequest};
use crate::text::PromptKind;
use lineage::Lineage;

/// What becomes of images that descend from a patient of validation or test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Descendants {
    /// The pool is refused.
    #[default]
    Refuse,
    /// They are left out of it, and counted.
    Drop,
}

/// What a pool of images made elsewhere is for, and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct PoolOptions<'a> {
    /// The study: its findings, its preprocessing, and the patients it holds out.
    pub splits: &'a Splits,
    /// What becomes of images that descend from a held-out patient.
    pub descendants: Descendants,
    /// The name of what made the images, for rows that don't name it.
    pub model: Option<&'a str>,
}

/// Synthetic images that exist already, with the labels and the preprocessing of a study.
///
/// None of them descends from a patient whom the study holds out, as far as the rows tell: [`notes`](Self::notes) count those that
/// don't. Clones share everything.
#[derive(Clone)]
pub struct ImagePool {
    data: CxrDataset,
}

impl ImagePool {
    /// Makes a pool of the synthetic rows of `data`; of all of its rows if none is marked as synthetic.
    ///
    /// Findings of the study that `data` has no labels of are unknown on these images. A `source_id` is looked up among the real
    /// images of the study, by the whole name or by the file's name without its ending, and stands for that image's patient.
    ///
    /// # Errors
    /// [`AugmentError::Descendants`] for images that descend from a held-out patient, unless they are to be dropped;
    /// [`AugmentError::FindingNotInData`] if data and study have no finding in common; [`AugmentError::EmptyDataset`] if no image
    /// is left.
    pub fn new(data: &CxrDataset, options: &PoolOptions<'_>) -> Result<Self, AugmentError> {
        let study = options.splits.train().data();
        let marked = data.of_origin(true);
        let left_out = if marked.rows().is_empty() { 0 } else { data.rows().len() - marked.rows().len() };
        let data = if marked.rows().is_empty() { data.clone() } else { marked };
        let findings = study.vocabulary().as_ref().clone();
        let is_related = findings.findings().iter().any(|finding| data.vocabulary().position(*finding).is_some());
        let data = if is_related { data.with_vocabulary_or_blank(findings) } else { data.with_vocabulary(findings)? };
        let lineage = Lineage::new(options.splits);
        let data = data.map_records(|row| Arc::new(described(&row.record, options.model, &lineage)));

        let held_out = options.splits.held_out_patients();
        let ancestor = |index: usize| data.record(index).patients().find(|patient| held_out.contains(*patient));
        let total = data.rows().len();
        let (kept, descendants): (Vec<usize>, Vec<usize>) = (0..total).partition(|&index| ancestor(index).is_none());
        let first = descendants.first().and_then(|&index| Some((index, ancestor(index)?)));
        if let (Some((index, patient)), Descendants::Refuse) = (first, options.descendants) {
            return Err(AugmentError::Descendants {
                name: data.name().to_owned(),
                images: descendants.len(),
                total,
                image: data.record(index).id.clone(),
                patient: patient.clone(),
            });
        }
        if kept.is_empty() {
            return Err(AugmentError::EmptyDataset { name: format!("the pool {}", data.name()) });
        }
        let orphans = kept.iter().filter(|&&index| data.record(index).patients().next().is_none()).count();
        let (name, kept_rows) = (data.name().to_owned(), kept.len());
        let notes = [
            (left_out, format!("{left_out} rows of {name} are not marked as synthetic and are not in the pool")),
            (
                descendants.len(),
                format!(
                    "{} of {total} images of {name} descend from patients of validation or test and are not in the pool",
                    descendants.len()
                ),
            ),
            (
                orphans,
                format!(
                    "{orphans} of {kept_rows} images of {name} name no patient and no source: whether they descend from patients of \
                     validation or test is not known"
                ),
            ),
        ];
        let pool = data.select(&kept).with_preprocess(*study.preprocess());
        let notes = notes.into_iter().filter(|(count, _)| *count > 0);
        Ok(Self { data: notes.fold(pool, |pool, (_, note)| pool.with_note(note)) })
    }

    /// The images and their rows.
    #[must_use]
    pub fn data(&self) -> &CxrDataset {
        &self.data
    }

    /// What is doubtful about them, a sentence each.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        self.data.notes()
    }

    /// What made the images, as far as their rows say, each name once.
    #[must_use]
    pub fn models(&self) -> BTreeSet<&str> {
        let models = (0..self.data.rows().len()).map(|index| self.provenance(index).model.as_str());
        models.filter(|model| !model.is_empty()).collect()
    }

    /// The request that stands for image `index`: its labels, and what its row tells of how it was made.
    ///
    /// # Panics
    /// If `index` is not below the number of images.
    #[must_use]
    pub fn request(&self, index: usize) -> &SampleRequest {
        &self.provenance(index).request
    }

    /// The images that passed a gate, whose rows say so; `attempts` are its verdicts on this pool.
    ///
    /// # Panics
    /// If an attempt is of an image that the pool doesn't have.
    #[must_use]
    pub fn passed(&self, attempts: &[Attempt]) -> Self {
        let marked = |attempt: &Attempt| {
            let row = &self.data.rows()[attempt.request];
            let mut record = CxrRecord::clone(&row.record);
            if let Origin::Synthetic(provenance) = &mut record.origin {
                provenance.gate = Some(GateOutcome::Passed(attempt.attempt));
                provenance.nearest_real.clone_from(&attempt.verdict.nearest_real);
            }
            Row { record: Arc::new(record), ..row.clone() }
        };
        let passed = attempts.iter().filter(|attempt| attempt.verdict.passed());
        Self { data: self.data.with_rows(passed.map(marked).collect()) }
    }

    fn provenance(&self, index: usize) -> &Provenance {
        match &self.data.record(index).origin {
            Origin::Synthetic(provenance) => provenance,
            Origin::Real => unreachable!("every row of a pool was marked as synthetic"),
        }
    }
}

impl fmt::Debug for ImagePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ImagePool({}, {} images)", self.data.name(), self.data.rows().len())
    }
}

/// The record of a synthetic image, with the patient of its source as the study knows him.
fn described(record: &CxrRecord, model: Option<&str>, lineage: &Lineage<'_>) -> CxrRecord {
    let mut provenance = match &record.origin {
        Origin::Synthetic(provenance) => Provenance::clone(provenance),
        Origin::Real => Provenance::new(request_of(record), ""),
    };
    if provenance.model.is_empty() {
        provenance.model = model.unwrap_or_default().to_owned();
    }
    // The labels are in the study's order by now.
    provenance.request.labels.clone_from(&record.labels);
    if let Some(source) = &mut provenance.request.source {
        lineage.trace(source);
    }
    CxrRecord { split: Some(Split::Train), origin: Origin::Synthetic(Box::new(provenance)), ..record.clone() }
}

/// What a row without provenance tells of how its image was made.
fn request_of(record: &CxrRecord) -> SampleRequest {
    let source = |patient: &PatientId| RequestSource { id: String::new(), patient_id: patient.clone(), fold: None };
    SampleRequest {
        prompt: record.report.clone().unwrap_or_default(),
        prompt_kind: PromptKind::Free,
        labels: record.labels.clone(),
        seed: 0,
        replica: 0,
        source: record.patient_id.as_ref().map(source),
        age: record.age,
        sex: record.sex,
        view: record.view,
    }
}
