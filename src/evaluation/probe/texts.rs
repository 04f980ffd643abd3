//! The texts of a probe: what an encoder reads, whose they are, and what is in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::formats::PromptTable;
use roentgen_augment::record::{CxrRecord, Label, Origin, Vocabulary};
use roentgen_augment::request::SampleRequest;
use roentgen_augment::text::{Dropped, Labeler, PromptKind, Section};

use super::error::ProbeError;
use super::template::is_list_of_labels;

/// One text.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeText {
    /// Its name in the table, or the number of its row from 1.
    pub id: String,
    /// The patient, if the table says who it is.
    pub patient: Option<String>,
    /// What the encoder reads, on one line.
    pub text: String,
    /// One label per finding.
    pub labels: Vec<Label>,
    /// Whether it was made from labels by rule.
    pub is_template: bool,
}

/// Where labels come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelSource {
    /// Columns of the table.
    Table,
    /// The texts themselves, by the rule-based labeler.
    Text,
}

/// The texts of a table or data set.
#[derive(Clone, Debug)]
pub struct TextSet {
    /// Of the table or data set.
    pub name: String,
    /// What the labels are of, in their order.
    pub vocabulary: Vocabulary,
    /// The texts.
    pub rows: Vec<ProbeText>,
    /// Where the labels come from.
    pub source: LabelSource,
    /// Rows without a text, by the reason.
    pub dropped: BTreeMap<Dropped, usize>,
    /// Rows that repeat a text of the same patient with the same labels (two views of one study), which are left out.
    pub repeated: usize,
}

/// A row before its text is taken.
struct Raw<'a> {
    id: String,
    patient: Option<String>,
    text: Option<&'a str>,
    labels: &'a [Label],
    is_template: bool,
}

impl TextSet {
    /// The reports of a data set; for a row without one its template text, and for a synthetic image its prompt.
    ///
    /// # Errors
    /// [`ProbeError::NoText`].
    pub fn of_data(data: &CxrDataset, section: Section) -> Result<Self, ProbeError> {
        let raw = data.rows().iter().map(|row| of_record(&row.record));
        Self::of(data.name(), data.vocabulary(), raw, section)
    }

    /// The texts of a table of prompts.
    ///
    /// # Errors
    /// [`ProbeError::NoText`], and those of [`PromptTable::requests`].
    pub fn of_prompts(name: &str, table: &PromptTable, section: Section) -> Result<Self, ProbeError> {
        let requests = table.requests(1, 0)?;
        let raw = requests.iter().enumerate().map(|(at, request)| of_request(at, request));
        Self::of(name, &table.vocabulary, raw, section)
    }

    fn of<'a>(
        name: &str,
        vocabulary: &Vocabulary,
        raw: impl Iterator<Item = Raw<'a>>,
        section: Section,
    ) -> Result<Self, ProbeError> {
        let (mut rows, mut dropped, mut repeated) = (Vec::new(), BTreeMap::new(), 0);
        let mut seen = BTreeSet::new();
        for row in raw {
            let taken = match row.text.filter(|text| !text.trim().is_empty()) {
                Some(text) => section.take(text).map(|(_, text)| text.split_whitespace().collect::<Vec<_>>().join(" ")),
                None => Err(Dropped::NoReport),
            };
            let text = match taken {
                Ok(text) if text.is_empty() => Err(Dropped::Empty),
                other => other,
            };
            let text = match text {
                Ok(text) => text,
                Err(why) => {
                    *dropped.entry(why).or_default() += 1;
                    continue;
                }
            };
            let cells: String = row.labels.iter().map(|label| format!("{},", label.cell())).collect();
            if row.patient.is_some() && !seen.insert((row.patient.clone(), text.clone(), cells)) {
                repeated += 1;
                continue;
            }
            let is_template = row.is_template || is_list_of_labels(&text, vocabulary);
            rows.push(ProbeText { id: row.id, patient: row.patient, text, labels: row.labels.to_vec(), is_template });
        }
        if rows.is_empty() {
            let reasons: Vec<_> = dropped.iter().map(|(why, rows)| format!("{why} {rows}")).collect();
            return Err(ProbeError::NoText { name: name.to_owned(), reasons: reasons.join(", ") });
        }
        let (name, vocabulary) = (name.to_owned(), vocabulary.clone());
        Ok(Self { name, vocabulary, rows, source: LabelSource::Table, dropped, repeated })
    }

    /// Whether any label is known.
    #[must_use]
    pub fn is_labelled(&self) -> bool {
        self.rows.iter().any(|row| row.labels.iter().any(|label| *label != Label::Missing))
    }

    /// The same with the labels that `labeler` reads in the texts.
    #[must_use]
    pub fn labelled_by(mut self, labeler: &Labeler) -> Self {
        for row in &mut self.rows {
            row.labels = labeler.label(&row.text).labels;
        }
        Self { vocabulary: labeler.vocabulary().clone(), source: LabelSource::Text, ..self }
    }

    /// A number for each text's patient; a text of nobody known is of a patient of its own.
    #[must_use]
    pub fn patients(&self) -> Vec<usize> {
        let mut numbers = HashMap::new();
        let mut next = 0;
        let number = |row: &ProbeText| {
            let fresh = next;
            let found = match &row.patient {
                Some(patient) => *numbers.entry(patient.clone()).or_insert(fresh),
                None => fresh,
            };
            next += usize::from(found == fresh);
            found
        };
        self.rows.iter().map(number).collect()
    }

    /// Texts that are template text.
    #[must_use]
    pub fn templates(&self) -> usize {
        self.rows.iter().filter(|row| row.is_template).count()
    }

    /// What is doubtful in the texts.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let texts = self.rows.len();
        if !self.dropped.is_empty() {
            let reasons: Vec<_> = self.dropped.iter().map(|(why, rows)| format!("{why} {rows}")).collect();
            notes.push(format!("rows without a text are left out: {}", reasons.join(", ")));
        }
        if self.repeated > 0 {
            notes.push(format!("{} rows repeat a text of the same patient, and are left out", self.repeated));
        }
        let unknown = self.rows.iter().filter(|row| row.patient.is_none()).count();
        if unknown > 0 {
            notes.push(format!(
                "{unknown} of {texts} texts name no patient (column `patient_id`): each counts as a patient of its own, so texts of one \
                 person may be in different folds, and the intervals may be too narrow"
            ));
        }
        let patients = self.patients();
        let mut owners: HashMap<&str, BTreeSet<usize>> = HashMap::new();
        for (row, patient) in self.rows.iter().zip(&patients) {
            owners.entry(&row.text).or_default().insert(*patient);
        }
        let shared = self.rows.iter().filter(|row| owners[row.text.as_str()].len() > 1).count();
        if shared > 0 {
            notes.push(format!(
                "{shared} of {texts} texts are word for word those of another patient: where the two are in different folds, the probe \
                 has seen the text it is judged on"
            ));
        }
        if self.source == LabelSource::Text {
            notes.push(
                "the labels were read by rule from the same texts (weak labels): the figures say how well the rules can be read off the \
                 embeddings, not how well what is on the film can"
                    .to_owned(),
            );
        }
        let templates = self.templates();
        if templates > 0 {
            notes.push(format!("{templates} of {texts} texts are lists of labels, as template text is"));
        }
        notes
    }
}

fn of_record(record: &CxrRecord) -> Raw<'_> {
    let (text, is_template) = match (&record.report, &record.details.template, &record.origin) {
        (Some(report), _, _) => (Some(report.as_str()), false),
        (None, _, Origin::Synthetic(provenance)) => {
            (Some(provenance.request.prompt.as_str()), provenance.request.prompt_kind == PromptKind::Template)
        }
        (None, Some(template), Origin::Real) => (Some(template.as_str()), true),
        (None, None, Origin::Real) => (None, false),
    };
    let patient = record.patient_id.as_ref().map(|patient| patient.as_str().to_owned());
    Raw { id: record.id.clone(), patient, text, labels: &record.labels, is_template }
}

fn of_request(at: usize, request: &SampleRequest) -> Raw<'_> {
    let named = request.source.as_ref().map(|source| source.id.clone()).filter(|id| !id.is_empty());
    Raw {
        id: named.unwrap_or_else(|| (at + 1).to_string()),
        patient: request.source.as_ref().map(|source| source.patient_id.as_str().to_owned()),
        text: Some(&request.prompt),
        labels: &request.labels,
        is_template: request.prompt_kind == PromptKind::Template,
    }
}

#[cfg(test)]
mod tests {
    use roentgen_augment::formats::OwnColumns;

    use super::*;

    fn read(text: &str) -> TextSet {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, text).unwrap();
        let table = PromptTable::read(&path, &OwnColumns::default()).unwrap();
        TextSet::of_prompts("t.csv", &table, Section::ImpressionOrNext).unwrap()
    }

    #[test]
    fn a_text_is_the_part_of_a_report_that_the_labeler_reads() {
        let set = read(
            "report,patient_id,Effusion\n\"FINDINGS: Clear.\nIMPRESSION: Small\neffusion.\",p,1\nNo effusion seen today.,q,0\nINDICATION: cough,r,\n",
        );
        let texts: Vec<_> = set.rows.iter().map(|row| (row.id.as_str(), row.text.as_str(), row.is_template)).collect();
        assert_eq!(texts, [("1", "Small effusion.", true), ("2", "No effusion seen today.", false)]);
        assert_eq!(set.dropped, BTreeMap::from([(Dropped::Empty, 1)]));
        assert!(set.is_labelled());
        let read = set.labelled_by(Labeler::standard());
        let effusion = read.vocabulary.findings().iter().position(|finding| finding.name() == "Effusion").unwrap();
        assert_eq!([0, 1].map(|row| read.rows[row].labels[effusion]), [Label::Positive, Label::Negative]);
        assert!(read.notes().iter().any(|note| note.contains("weak labels")));
    }

    #[test]
    fn two_views_of_a_study_are_one_text_and_nobody_is_alone() {
        let set = read("report,patient_id\nSame words here.,p\nSame words here.,p\nSame words here.,q\nOther words here.,p\n");
        assert_eq!((set.rows.len(), set.repeated, set.patients()), (3, 1, vec![0, 1, 0]));
        assert!(!set.is_labelled());
        assert!(set.notes().iter().any(|note| note.starts_with("2 of 3 texts are word for word")), "{:?}", set.notes());
        let nobody = read("report\nSome words here.\nMore words here.\n");
        assert_eq!(nobody.patients(), [0, 1]);
        assert!(nobody.notes()[0].contains("name no patient"));
    }
}
