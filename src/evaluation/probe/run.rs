//! A probe from texts to figures.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use roentgen_augment::digest::Fingerprint;
use roentgen_augment::progress::Progress;
use roentgen_augment::record::{Finding, LabelPolicy, Target};
use roentgen_classifier::metrics::{Bootstrap, Patients};

use super::encoder::FrozenEncoder;
use super::error::ProbeError;
use super::fit::{FitConfig, ProbeKind, Questions, folds, out_of_fold};
use super::measure::{OutOfFold, auroc, figures};
use super::report::{EncoderCard, FindingOutcome, Identical, ProbeReport, Settings, TextCard};
use super::store::{Embedded, EmbeddingStore};
use super::template::words;
use super::texts::{LabelSource, TextSet};
use crate::evaluation::Rows;

/// How a probe is run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProbeConfig {
    /// The probes.
    pub probes: Vec<ProbeKind>,
    /// How they are fitted.
    pub fit: FitConfig,
    /// Folds, at least 2.
    pub folds: usize,
    /// What an uncertain label becomes.
    pub uncertain: Target,
    /// What a blank label becomes.
    pub blank: Target,
    /// Resamples of the patients.
    pub bootstrap: usize,
    /// Seed of folds and resamples.
    pub seed: u64,
    /// Whether template text is probed all the same.
    pub allow_template: bool,
}

/// Fewest patients with a finding, and without it, in every fold.
pub const FEWEST_IN_FOLD: usize = 2;

/// Texts, folds and targets: what is decided before an encoder is opened.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    set: &'a TextSet,
    config: ProbeConfig,
    patients: Vec<usize>,
    folds: Vec<usize>,
    /// All findings, with those of `defined` in between.
    outcomes: Vec<FindingOutcome>,
    /// Columns of the labels.
    defined: Vec<usize>,
    findings: Vec<Finding>,
    /// `[texts, defined findings]`.
    targets: Vec<f64>,
    is_result: bool,
}

/// What a probe gave: the report, and the scores behind it.
#[derive(Clone, Debug)]
pub struct ProbeOutcome {
    /// `probe.json`.
    pub report: ProbeReport,
    /// `predictions.csv`.
    pub predictions: String,
}

impl<'a> Prepared<'a> {
    /// Decides folds and targets.
    ///
    /// # Errors
    /// [`ProbeError::Template`], [`ProbeError::NoLabels`], [`ProbeError::FewPatients`], [`ProbeError::NothingDefined`],
    /// [`ProbeError::Setting`].
    pub fn new(set: &'a TextSet, config: ProbeConfig) -> Result<Self, ProbeError> {
        check(&config)?;
        let (texts, templates) = (set.rows.len(), set.templates());
        let is_result = 2 * templates <= texts;
        if !is_result && !config.allow_template {
            return Err(ProbeError::Template { templates, texts });
        }
        if !set.is_labelled() {
            return Err(ProbeError::NoLabels { name: set.name.clone() });
        }
        let patients = set.patients();
        let count = patients.iter().collect::<BTreeSet<_>>().len();
        if count < config.folds {
            return Err(ProbeError::FewPatients { patients: count, folds: config.folds });
        }
        let all = set.vocabulary.findings();
        let policy = LabelPolicy { uncertain: config.uncertain, blank: config.blank, ..LabelPolicy::default() };
        let target = |at: usize, label| policy.target(all[at], label).map_or(f64::NAN, f64::from);
        let targets: Vec<f64> =
            set.rows.iter().flat_map(|row| row.labels.iter().enumerate().map(|(at, label)| target(at, *label))).collect();
        let fold_of = folds(&patients, &targets, all.len(), config.folds, config.seed);
        let column = |finding: usize| targets.iter().skip(finding).step_by(all.len()).copied().collect::<Vec<f64>>();
        let mut outcomes = Vec::new();
        for (at, finding) in all.iter().enumerate() {
            let known = column(at);
            let mut outcome = FindingOutcome {
                finding: *finding,
                texts: known.iter().filter(|target| !target.is_nan()).count(),
                positives: known.iter().filter(|target| **target == 1.0).count(),
                positive_patients: with(&patients, &known, 1.0).len(),
                undefined: undefined(&patients, &known, &fold_of, config.folds),
                name_in_text: None,
                probes: BTreeMap::new(),
            };
            if outcome.undefined.is_none() {
                let named: Vec<f64> = set.rows.iter().map(|row| f64::from(u8::from(names(&row.text, *finding)))).collect();
                outcome.name_in_text = auroc(&named, &known, &fold_of, config.folds)?;
            }
            outcomes.push(outcome);
        }
        let defined: Vec<usize> = (0..all.len()).filter(|at| outcomes[*at].undefined.is_none()).collect();
        if defined.is_empty() {
            let reason = |outcome: &FindingOutcome| Some(format!("  {}: {}", outcome.finding, outcome.undefined.as_ref()?));
            let reasons: Vec<_> = outcomes.iter().filter_map(reason).collect();
            return Err(ProbeError::NothingDefined { reasons: reasons.join("\n") });
        }
        let asked = targets.chunks(all.len()).flat_map(|row| defined.iter().map(|at| row[*at])).collect();
        let findings = defined.iter().map(|at| all[*at]).collect();
        Ok(Self { set, config, patients, folds: fold_of, outcomes, defined, findings, targets: asked, is_result })
    }

    /// Embeds the texts by both encoders, fits the probes and compares them. Embeddings are kept in the folder `embeddings`.
    ///
    /// # Errors
    /// [`ProbeError::Encoder`], [`ProbeError::Io`], [`ProbeError::NotFinite`], [`ProbeError::NotConverged`].
    pub fn run(
        self,
        [before, after]: [&FrozenEncoder; 2],
        embeddings: &Path,
        progress: &dyn Progress,
    ) -> Result<ProbeOutcome, ProbeError> {
        let texts: Vec<&str> = self.set.rows.iter().map(|row| row.text.as_str()).collect();
        let mut notes = self.set.notes();
        let mut embed = |encoder: &FrozenEncoder, name: &str| {
            let mut store = EmbeddingStore::open(embeddings, encoder)?;
            notes.extend(store.note());
            let task = progress.begin(name, 0, "texts");
            store.embed(encoder, &texts, task.as_ref())
        };
        let same_weights = before.fingerprint() == after.fingerprint();
        let embedded_before = embed(before, "before")?;
        let embedded_after = if same_weights { embedded_before.clone() } else { embed(after, "after")? };
        let identical = match (same_weights, embedded_before.values == embedded_after.values) {
            (true, _) => Some(Identical::Weights),
            (false, true) => Some(Identical::Embeddings),
            (false, false) => None,
        };
        let cards = [EncoderCard::new(before, &embedded_before), EncoderCard::new(after, &embedded_after)];
        notes.extend(notes_on(&cards, identical, texts.len()));
        let both = [(before, &embedded_before), (after, &embedded_after)];
        let questions =
            Questions { findings: &self.findings, targets: &self.targets, folds: &self.folds, count: self.config.folds };
        let patients = Patients::new(&self.patients);
        let bootstrap = Bootstrap { replicates: self.config.bootstrap, seed: self.config.seed };
        let (mut outcomes, mut mean, mut columns) = (self.outcomes.clone(), BTreeMap::new(), Vec::new());
        for &kind in &self.config.probes {
            let scores = self.scores(kind, both, identical.is_some(), &questions, progress)?;
            let mut pairs = Vec::new();
            for finding in 0..self.findings.len() {
                let of = |scores: &[f64]| {
                    let column: Vec<f64> = scores.iter().skip(finding).step_by(self.findings.len()).copied().collect();
                    OutOfFold::new(&column, &questions.column(finding), &self.folds, self.config.folds)
                };
                pairs.push([of(&scores[0])?, of(&scores[1])?]);
            }
            let (found, means) = figures(&pairs, &patients, bootstrap);
            for (at, figures) in self.defined.iter().zip(found) {
                outcomes[*at].probes.insert(kind, figures);
            }
            mean.insert(kind, means);
            columns.push((kind, scores));
        }
        let texts = TextCard {
            name: self.set.name.clone(),
            texts: texts.len(),
            distinct: texts.iter().collect::<BTreeSet<_>>().len(),
            patients: patients.count(),
            templates: self.set.templates(),
            dropped: self.set.dropped.clone(),
        };
        let settings = self.settings([before, after]);
        let predictions = self.predictions(&columns);
        let [before, after] = cards;
        let (version, is_result) = (env!("CARGO_PKG_VERSION"), self.is_result);
        let report =
            ProbeReport { version, is_result, settings, texts, before, after, identical, findings: outcomes, mean, notes };
        Ok(ProbeOutcome { report, predictions })
    }

    /// Out-of-fold logits on both encoders' embeddings; computed once where those are the same.
    fn scores(
        &self,
        kind: ProbeKind,
        both: [(&FrozenEncoder, &Embedded); 2],
        identical: bool,
        questions: &Questions<'_>,
        progress: &dyn Progress,
    ) -> Result<[Vec<f64>; 2], ProbeError> {
        let sides = if identical { 1 } else { 2 };
        let fits = (self.config.folds * self.findings.len() * sides) as u64;
        let task = progress.begin(&format!("{} probes", kind.name()), fits, "fits");
        let of = |(encoder, embedded): (&FrozenEncoder, &Embedded)| {
            let failed = |source| ProbeError::NotFinite { encoder: encoder.name.clone(), source };
            let rows = Rows::new(&embedded.values, encoder.width()).map_err(failed)?;
            out_of_fold(kind, &rows, questions, &self.config.fit, task.as_ref())
        };
        let before = of(both[0])?;
        let after = if identical { before.clone() } else { of(both[1])? };
        Ok([before, after])
    }

    /// What decides the result with these encoders.
    #[must_use]
    pub fn settings(&self, [before, after]: [&FrozenEncoder; 2]) -> Settings {
        let row = |row: &super::texts::ProbeText| {
            let cells: Vec<_> = row.labels.iter().map(|label| label.cell()).collect();
            let parts = [row.id.as_str(), row.patient.as_deref().unwrap_or_default(), &row.text, &cells.join(",")];
            Fingerprint::of(&parts.map(str::as_bytes)).0
        };
        let mut digests: Vec<[u8; 32]> = self.set.rows.iter().map(row).collect();
        let names: Vec<&str> = self.set.vocabulary.findings().iter().map(|finding| finding.name()).collect();
        digests.push(Fingerprint::of(&names.iter().map(|name| name.as_bytes()).collect::<Vec<_>>()).0);
        let config = &self.config;
        Settings {
            texts: Fingerprint::of(&[digests.as_flattened()]).to_string(),
            before: before.fingerprint().to_string(),
            after: after.fingerprint().to_string(),
            labels: self.set.source,
            uncertain: config.uncertain,
            blank: config.blank,
            folds: config.folds,
            probes: config.probes.clone(),
            fit: config.fit,
            bootstrap: config.bootstrap,
            seed: config.seed,
        }
    }

    /// A row per text and finding.
    fn predictions(&self, columns: &[(ProbeKind, [Vec<f64>; 2])]) -> String {
        let mut csv = csv::Writer::from_writer(Vec::new());
        let scores = columns.iter().flat_map(|(kind, _)| ["before", "after"].map(|side| format!("{}_{side}", kind.name())));
        let header: Vec<String> =
            ["id", "patient_id", "fold", "finding", "target"].map(str::to_owned).into_iter().chain(scores).collect();
        let mut write = |record: &[String]| csv.write_record(record).expect("rows of one length, written to memory");
        write(&header);
        for (text, row) in self.set.rows.iter().enumerate() {
            for (at, finding) in self.findings.iter().enumerate() {
                let place = text * self.findings.len() + at;
                let target = self.targets[place];
                let target = if target.is_nan() { String::new() } else { target.to_string() };
                let patient = row.patient.clone().unwrap_or_default();
                let fold = (self.folds[text] + 1).to_string();
                let mut record = vec![row.id.clone(), patient, fold, finding.name().to_owned(), target];
                record.extend(columns.iter().flat_map(|(_, sides)| sides.each_ref().map(|scores| scores[place].to_string())));
                write(&record);
            }
        }
        String::from_utf8(csv.into_inner().expect("memory can be written to")).expect("cells are text")
    }
}

fn check(config: &ProbeConfig) -> Result<(), ProbeError> {
    let refuse = |key, value: String, expected| Err(ProbeError::Setting { key, value, expected });
    match config {
        ProbeConfig { folds, .. } if *folds < 2 => refuse("folds", folds.to_string(), "at least 2"),
        ProbeConfig { fit, .. } if !(fit.c > 0.0 && fit.c <= 1e6) => refuse("c", fit.c.to_string(), "above 0, at most 1e6"),
        ProbeConfig { fit, .. } if !(1..=4096).contains(&fit.hidden) => {
            refuse("hidden", fit.hidden.to_string(), "between 1 and 4096")
        }
        ProbeConfig { bootstrap, .. } if !(1..=100_000).contains(bootstrap) => {
            refuse("bootstrap", bootstrap.to_string(), "between 1 and 100000")
        }
        _ => Ok(()),
    }
}

/// Patients with a text of that target.
fn with(patients: &[usize], targets: &[f64], wanted: f64) -> BTreeSet<usize> {
    patients.iter().zip(targets).filter(|(_, target)| **target == wanted).map(|(patient, _)| *patient).collect()
}

/// Why a finding can't be judged.
fn undefined(patients: &[usize], targets: &[f64], folds: &[usize], count: usize) -> Option<String> {
    let needed = FEWEST_IN_FOLD * count;
    for (class, word) in [(1.0, "with"), (0.0, "without")] {
        let all = with(patients, targets, class).len();
        if all == 0 {
            let hint = if class == 0.0 { " (blank labels are unknown: --blank negative takes them as absent)" } else { "" };
            return Some(format!("no text {word} it{hint}"));
        }
        if all < needed {
            return Some(format!("{all} patient(s) {word} it, {needed} needed: {FEWEST_IN_FOLD} in each of {count} folds"));
        }
        for fold in 0..count {
            let within: Vec<f64> = targets.iter().zip(folds).map(|(t, f)| if *f == fold { *t } else { f64::NAN }).collect();
            let found = with(patients, &within, class).len();
            if found < FEWEST_IN_FOLD {
                return Some(format!("{found} patient(s) {word} it in fold {}, {FEWEST_IN_FOLD} needed", fold + 1));
            }
        }
    }
    None
}

/// Whether a text has the name of the finding, in any of its spellings.
fn names(text: &str, finding: Finding) -> bool {
    let text: Vec<String> = words(text).collect();
    let others = Finding::known().find(|(known, _)| *known == finding).map_or(&[][..], |(_, others)| others);
    std::iter::once(finding.name()).chain(others.iter().copied()).any(|name| {
        let name: Vec<String> = words(name).collect();
        !name.is_empty() && text.windows(name.len()).any(|window| window == name)
    })
}

/// What is doubtful in the comparison of two encoders.
fn notes_on(cards: &[EncoderCard; 2], identical: Option<Identical>, texts: usize) -> Vec<String> {
    let mut notes = Vec::new();
    match identical {
        Some(Identical::Weights) => notes.push(
            "before and after are the same encoder, weight by weight: every difference is exactly 0. Fine-tuning may have left the text \
             encoder frozen"
                .to_owned(),
        ),
        Some(Identical::Embeddings) => {
            notes.push("before and after give every text the same embedding: every difference is exactly 0".to_owned());
        }
        None => {}
    }
    let [before, after] = cards;
    if (before.class, before.width) != (after.class, after.width) {
        notes.push(format!(
            "before is a {} of width {}, after a {} of width {}: they are different models, so the change is not that of fine-tuning one",
            before.class, before.width, after.class, after.width
        ));
    }
    if before.pooling != after.pooling {
        notes.push(format!(
            "before is pooled by {}, after by {}: give --pooling to have both alike",
            before.pooling.name(),
            after.pooling.name()
        ));
    }
    if before.length != after.length && before.cut != after.cut {
        notes.push(format!(
            "before sees {} tokens of a text, after {}: a part of the change is what the shorter one doesn't see. A pipeline of the same text \
             length whose text encoder stayed frozen has both alike",
            before.length, after.length
        ));
    }
    for (card, side) in cards.iter().zip(["before", "after"]) {
        if card.cut > 0 {
            notes.push(format!(
                "{} of {texts} texts are longer than the {} tokens that the encoder {side} sees: it doesn't see their ends, which the \
                 labels may be about",
                card.cut, card.length
            ));
        }
    }
    notes
}

/// Refuses to write over the result of another probe.
///
/// # Errors
/// [`ProbeError::OtherResult`] names what differs; [`ProbeError::Io`].
pub fn check_folder(path: &Path, settings: &Settings) -> Result<(), ProbeError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(ProbeError::Io { action: "read", path: path.to_owned(), source }),
    };
    let other = |differs: String| Err(ProbeError::OtherResult { path: path.to_owned(), differs });
    let now = serde_json::to_value(settings).expect("settings are JSON");
    let found = serde_json::from_slice::<serde_json::Value>(&bytes).ok();
    let Some(found) = found.as_ref().and_then(|value| value.get("settings")?.as_object()) else {
        return other("its settings can't be read, and".to_owned());
    };
    let now = now.as_object().expect("settings are an object");
    let differs: Vec<&str> =
        now.iter().filter(|(key, value)| found.get(*key) != Some(value)).map(|(key, _)| key.as_str()).collect();
    if differs.is_empty() { Ok(()) } else { other(differs.join(", ")) }
}

/// What a blank label is taken for, unless the user says.
#[must_use]
pub fn usual_blank(source: LabelSource) -> Target {
    match source {
        // The whole text was read: what it doesn't mention, it doesn't say.
        LabelSource::Text => Target::Zero,
        LabelSource::Table => Target::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::probe::encoder::Pooling;

    #[test]
    fn encoders_of_another_length_are_no_other_model() {
        let card = |class, length, cut| EncoderCard {
            name: "encoder".into(),
            class,
            width: 384,
            pooling: Pooling::Mean,
            length,
            cut,
            computed: 9,
            found: 0,
        };
        let notes = |after| notes_on(&[card("BertModel", 512, 0), after], None, 9);
        let found = notes(card("BertModel", 48, 3));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("before sees 512 tokens of a text, after 48: a part of the change"), "{found:?}");
        assert!(found[1].starts_with("3 of 9 texts are longer than the 48 tokens"), "{found:?}");
        // What is cut by neither makes no difference.
        assert_eq!(notes(card("BertModel", 48, 0)), Vec::<String>::new());
        assert!(notes(card("RobertaModel", 512, 0))[0].contains("they are different models"));
    }
}
