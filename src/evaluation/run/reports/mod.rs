//! Whether images say what their reports do: reports that a small decoder or another program reads off them, beside those that they were
//! made from, and the same for real images.

mod report;
mod shown;
mod texts;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use roentgen_classifier::metrics::Patients;

use self::texts::{Texts, cleaned};
use super::{EvaluationError, EvaluationJob};
use crate::config::ReportsConfig;
use crate::evaluation::features::Features;
use crate::evaluation::images::ImageSet;
use crate::evaluation::text::{
    DecoderSettings, EntityF1, Pairs, ReportDecoder, ReportText, TextError, TextOptions, read_reports, report_text,
};
use crate::report::format::{count, fixed};

pub use report::{FindingRow, ReadReport, ReportsReport, SetText, TextRow};
pub(super) use shown::{section, terminal_lines};

/// The figure that warnings and the terminal name.
const HEADLINE: &str = "findings F1, micro";

/// Resamples of an interval.
const REPLICATES: usize = 1_000;

/// What is said, and every report.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) report: ReportsReport,
    pub(super) read: Vec<ReadReport>,
}

/// Refuses files of reports and of entities that can't be read: before anything is trained.
///
/// # Errors
/// [`TextError`] names the file and the row.
pub(in crate::evaluation::run) fn check_files(config: &ReportsConfig) -> Result<(), TextError> {
    for reports in [&config.synthetic, &config.real].into_iter().flatten() {
        read_reports(reports)?;
    }
    for [references, generated] in [&config.synthetic_entities, &config.real_entities].into_iter().flatten() {
        EntityF1::of_files(references, generated)?;
    }
    Ok(())
}

/// Compares the reports that files give, if there are any.
///
/// # Errors
/// [`EvaluationError::Text`] names the file and the row.
pub(super) fn from_files(job: &EvaluationJob<'_>) -> Result<Option<Found>, EvaluationError> {
    let files = &job.config.reports;
    if files.synthetic.is_none() && files.real.is_none() {
        return Ok(None);
    }
    let mut found = Found::new(job, "files".to_owned());
    let synthetic = Given { file: files.synthetic.as_ref(), entities: files.synthetic_entities.as_ref() };
    let real = Given { file: files.real.as_ref(), entities: files.real_entities.as_ref() };
    found.report.synthetic = found.given(job, "synthetic", synthetic)?;
    found.report.real = found.given(job, "real", real)?;
    Ok(Some(found.with_doubts()))
}

/// Trains a decoder on the features `[train, real, synthetic]` of a network, and lets it read the real and the synthetic images. Where there
/// is no training set, or texts or images are too few, the report says so.
///
/// # Errors
/// [`EvaluationError::Text`] for a report that is too long to be compared.
pub(super) fn by_decoder(
    job: &EvaluationJob<'_>,
    network: &str,
    train: Option<(&ImageSet, &Features)>,
    [real, synthetic]: [&Features; 2],
) -> Result<Found, EvaluationError> {
    let mut found = Found::new(job, format!("a small decoder on {network}"));
    let Some((train, features)) = train else {
        let reason = "there is no training set (--train): a decoder learns from its images and their reports";
        found.report.synthetic = SetText::undefined(reason);
        found.report.real = SetText::undefined(reason);
        return Ok(found);
    };
    let of_synthetic = Texts::of(job.synthetic).and_then(|texts| enough(job, texts));
    let of_real = Texts::of(job.real).map(|texts| found.without_patients_of(train, job.real, texts));
    let of_real = of_real.and_then(|texts| enough(job, texts));
    let decoder = match (&of_synthetic, &of_real) {
        (Err(reason), Err(_)) => Err(reason.clone()),
        _ => Reader::train(job, train, features),
    };
    found.report.synthetic = match (of_synthetic, &decoder) {
        (Err(reason), _) => SetText::undefined(reason),
        (Ok(_), Err(reason)) => SetText::undefined(reason),
        (Ok(texts), Ok(reader)) => {
            found.say_what_was_learnt(reader, &texts);
            found.read_off(job, ("synthetic", job.synthetic, synthetic), texts, reader)?
        }
    };
    found.report.real = match (of_real, &decoder) {
        (Err(reason), _) => SetText::undefined(reason),
        (Ok(_), Err(reason)) => SetText::undefined(reason),
        (Ok(texts), Ok(reader)) => found.read_off(job, ("real", job.real, real), texts, reader)?,
    };
    found.report.decoder = decoder.ok().map(|reader| reader.decoder.card().clone());
    Ok(found.with_doubts())
}

/// A decoder and what it learnt from.
struct Reader {
    decoder: ReportDecoder,
    reports: Vec<String>,
}

impl Reader {
    fn train(job: &EvaluationJob<'_>, set: &ImageSet, features: &Features) -> Result<Self, String> {
        let Texts { images, texts: reports, .. } =
            Texts::of(set).map_err(|reason| format!("there is nothing to learn from: {reason}"))?;
        let patients: Vec<&str> = images.iter().map(|&image| set.patient(image)).collect();
        let features = features.select(&images);
        let rows = features.rows().map_err(|error| error.to_string())?;
        let pairs = Pairs { features: rows, reports: &reports, patients: &patients };
        let settings = DecoderSettings { seed: job.config.seed, ..DecoderSettings::default() };
        let decoder = ReportDecoder::train(pairs, settings, job.device, job.progress).map_err(|error| error.to_string())?;
        Ok(Self { decoder, reports })
    }
}

/// Refuses texts that are too few for figures.
fn enough(job: &EvaluationJob<'_>, texts: Texts) -> Result<Texts, String> {
    let (found, least) = (texts.texts.len(), job.config.least_images);
    if found >= least {
        return Ok(texts);
    }
    Err(format!("{} images with a report to compare are too few; at least {} are needed", count(found), count(least)))
}

/// Reports and entities of one set, as files.
#[derive(Clone, Copy)]
struct Given<'a> {
    file: Option<&'a PathBuf>,
    entities: Option<&'a [PathBuf; 2]>,
}

/// Reports of the images of a set, and what they are compared with.
struct Compared<'a> {
    name: &'static str,
    set: &'a ImageSet,
    texts: Texts,
    generated: Vec<String>,
    /// A report for every image.
    most_frequent: Option<String>,
    entities: Option<Vec<EntityF1>>,
}

impl Found {
    fn new(job: &EvaluationJob<'_>, by: String) -> Self {
        let uncertain = job.config.reports.uncertain;
        let (synthetic, real) = (SetText::default(), SetText::default());
        let report = ReportsReport { by, decoder: None, uncertain, synthetic, real, notes: Vec::new() };
        Self { report, read: Vec::new() }
    }

    fn note(&mut self, note: String) {
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }

    /// The reports of a file, each with the text of its image, or the one that the file gives for it.
    fn given(&mut self, job: &EvaluationJob<'_>, name: &'static str, given: Given<'_>) -> Result<SetText, EvaluationError> {
        let set = if name == "real" { job.real } else { job.synthetic };
        let Some(path) = given.file else {
            return Ok(SetText::undefined(format!("no file of reports was given for the {name} images")));
        };
        let rows = read_reports(path)?;
        let images: HashMap<&str, usize> = (0..set.len()).map(|image| (set.id(image), image)).collect();
        let own = Texts::of(set);
        let own_texts: HashMap<usize, String> =
            own.iter().flat_map(|own| own.images.iter().copied().zip(own.texts.iter().cloned())).collect();
        let (mut texts, mut generated, mut ids, mut without) = (Texts::default(), Vec::new(), Vec::new(), 0);
        for row in &rows {
            let Some(&image) = images.get(row.id.as_str()) else {
                let message = format!("no image of {} is called `{}`; the first one is `{}`", set.name(), row.id, set.id(0));
                return Err(TextError::Reports { path: path.clone(), line: row.line, message }.into());
            };
            let reference = match row.reference.as_deref().filter(|text| !text.trim().is_empty()) {
                Some(reference) => cleaned(reference),
                None => {
                    texts.notes = own.as_ref().map(|own| own.notes.clone()).unwrap_or_default();
                    own_texts.get(&image).cloned()
                }
            };
            let Some(reference) = reference else {
                without += 1;
                continue;
            };
            texts.images.push(image);
            texts.texts.push(reference);
            generated.push(cleaned(&row.generated).unwrap_or_default());
            ids.push(row.id.as_str());
        }
        if rows.len() < set.len() {
            let (missing, all) = (count(set.len() - rows.len()), count(set.len()));
            self.note(format!("{missing} of {all} {name} images have no row in {} and are not compared.", path.display()));
        }
        if without > 0 && !texts.images.is_empty() {
            let without = count(without);
            self.note(format!("{without} rows of {} have nothing to be compared with and are left out.", path.display()));
        }
        if let (true, Err(reason)) = (texts.images.is_empty(), &own) {
            return Ok(SetText::undefined(format!("{reason}; the file may give them as `reference`")));
        }
        let texts = match texts.checked(set).and_then(|texts| enough(job, texts)) {
            Ok(texts) => texts,
            Err(reason) => return Ok(SetText::undefined(reason)),
        };
        let entities = given.entities.map(|[references, generated]| {
            let found = EntityF1::of_files(references, generated)?;
            let lacking = |id: &str| TextError::Unpaired { id: id.to_owned(), has: path.clone(), lacks: references.clone() };
            let of = |id: &&str| found.get(*id).copied().ok_or_else(|| lacking(id));
            ids.iter().map(of).collect::<Result<Vec<EntityF1>, TextError>>()
        });
        let entities = entities.transpose()?;
        self.compare(job, Compared { name, set, texts, generated, most_frequent: None, entities })
    }

    /// The texts of images that show no patient of the training set.
    fn without_patients_of(&mut self, train: &ImageSet, set: &ImageSet, texts: Texts) -> Texts {
        let seen: HashSet<&str> =
            train.data().rows().iter().flat_map(|row| row.record.patients()).map(|patient| patient.as_str()).collect();
        let all = texts.images.len();
        let kept = texts.filtered(|image| !set.record(image).patients().any(|patient| seen.contains(patient.as_str())));
        let shared = all - kept.images.len();
        if shared > 0 {
            let (shared, all) = (count(shared), count(all));
            self.note(format!(
                "{shared} of {all} real images with a report show patients of the training set, and no report is read off them."
            ));
        }
        kept
    }

    fn say_what_was_learnt(&mut self, reader: &Reader, texts: &Texts) {
        let known: HashSet<&String> = reader.reports.iter().collect();
        let repeated = texts.texts.iter().filter(|text| known.contains(text)).count();
        if repeated > 0 {
            let (repeated, all) = (count(repeated), count(texts.texts.len()));
            self.note(format!(
                "{repeated} of {all} synthetic images were made from texts that the report decoder learnt from: off a copy of a training image \
                 it may say the text by heart."
            ));
        }
    }

    fn read_off(
        &mut self,
        job: &EvaluationJob<'_>,
        (name, set, features): (&'static str, &ImageSet, &Features),
        texts: Texts,
        reader: &Reader,
    ) -> Result<SetText, EvaluationError> {
        let generated = reader.decoder.read(features.select(&texts.images).rows()?)?;
        let most_frequent = Some(most_frequent(&reader.reports));
        self.compare(job, Compared { name, set, texts, generated, most_frequent, entities: None })
    }

    fn compare(&mut self, job: &EvaluationJob<'_>, compared: Compared<'_>) -> Result<SetText, EvaluationError> {
        let Compared { name, set, texts, generated, most_frequent, entities } = compared;
        texts.notes.iter().for_each(|note| self.note(format!("{note}.")));
        let references = &texts.texts;
        let patients: Vec<&str> = texts.images.iter().map(|&image| set.patient(image)).collect();
        let patients = Patients::new(&patients);
        let options = TextOptions {
            uncertain: self.report.uncertain,
            entities: entities.as_deref(),
            patients: Some(&patients),
            replicates: REPLICATES,
            seed: job.config.seed,
            ..TextOptions::standard()
        };
        let found = report_text(references, &generated, &options)?;
        let plain = TextOptions { entities: None, patients: None, replicates: 0, ..options };
        let floor = report_text(references, &dealt(&generated, job.config.seed), &plain)?;
        let frequent = most_frequent.map(|text| report_text(references, &vec![text; references.len()], &plain)).transpose()?;
        let of = |report: &ReportText, name: &str| report.figures.iter().find(|row| row.name == name).map(|row| row.value);
        let figures = found.figures.iter().map(|row| TextRow {
            name: row.name.to_owned(),
            value: row.value,
            interval: row.interval.map(|interval| [interval.lower, interval.upper]),
            shuffled: of(&floor, row.name),
            most_frequent: frequent.as_ref().and_then(|frequent| of(frequent, row.name)),
        });
        let all = &found.findings.all;
        let findings = found.findings.findings.iter().zip(&all.support).zip(&all.findings);
        let findings = findings.map(|((finding, references), f1)| FindingRow {
            finding: finding.clone(),
            references: *references,
            f1: f1.f1,
        });
        let said = SetText {
            reports: found.reports,
            blank: found.blank_hypotheses,
            figures: figures.collect(),
            findings: findings.collect(),
            undefined: None,
        };
        let pairs = texts.images.iter().zip(generated).zip(texts.texts);
        self.read.extend(pairs.map(|((&image, generated), reference)| {
            let (by, id) = (self.report.by.clone(), set.id(image).to_owned());
            ReadReport { by, set: name, id, generated, reference }
        }));
        Ok(said)
    }

    /// With what makes the figures of synthetic images worthless.
    fn with_doubts(mut self) -> Self {
        let real = self.report.real.figure(HEADLINE);
        let blind = real.and_then(|row| Some((row.value, row.interval?[0], row.shuffled?)));
        if let Some((value, low, floor)) = blind.filter(|(_, low, floor)| low <= floor) {
            self.note(format!(
                "Reports by {} say no more of real images than of others ({HEADLINE} {}, from {}; dealt to other images {}): what they say of \
                 synthetic images means nothing.",
                self.report.by,
                fixed(value, 3),
                fixed(low, 3),
                fixed(floor, 3)
            ));
        }
        self
    }
}

/// The reports, each at another image than its own.
fn dealt(reports: &[String], seed: u64) -> Vec<String> {
    let mut order: Vec<usize> = (0..reports.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut dealt = vec![String::new(); reports.len()];
    for (place, &image) in order.iter().enumerate() {
        // A single cycle through all images: nobody keeps his own.
        dealt[image].clone_from(&reports[order[(place + 1) % order.len()]]);
    }
    dealt
}

/// The report that most images have; the first by the alphabet of those.
fn most_frequent(reports: &[String]) -> String {
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    reports.iter().for_each(|report| *counts.entry(report).or_default() += 1);
    let most = counts.values().max().copied().unwrap_or_default();
    counts.into_iter().find(|(_, times)| *times == most).map(|(report, _)| report.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::text::UncertainAs;

    #[test]
    fn a_reader_that_is_no_better_than_chance_on_real_images_is_called_so() {
        let of = |low: f64, shuffled: f64| {
            let (name, interval) = (HEADLINE.to_owned(), Some([low, 0.7]));
            let row = TextRow { name, value: 0.5, interval, shuffled: Some(shuffled), most_frequent: None };
            let real = SetText { figures: vec![row], ..SetText::default() };
            let (by, uncertain) = ("files".to_owned(), UncertainAs::Present);
            let report = ReportsReport { by, decoder: None, uncertain, synthetic: SetText::default(), real, notes: Vec::new() };
            Found { report, read: Vec::new() }.with_doubts().report.notes
        };
        assert!(of(0.4, 0.3).is_empty());
        assert!(of(0.4, 0.4)[0].contains("(findings F1, micro 0.500, from 0.400; dealt to other images 0.400)"));
    }

    #[test]
    fn nobody_keeps_his_own_report_and_the_most_frequent_one_is_found() {
        let reports: Vec<String> = (0..50).map(|report| report.to_string()).collect();
        let mut found = dealt(&reports, 3);
        assert!(found.iter().zip(&reports).all(|(one, other)| one != other));
        assert_eq!((dealt(&reports, 3) == found, dealt(&reports, 4) == found), (true, false));
        found.sort_by_key(|report| report.parse::<usize>().unwrap());
        assert_eq!(found, reports);
        assert_eq!(most_frequent(&["b", "c", "a", "c", "b"].map(str::to_owned)), "b");
    }
}
