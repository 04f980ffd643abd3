//! The texts that belong to images: reports, or prompts that are reports.

use roentgen_augment::record::{CxrRecord, Origin};
use roentgen_augment::text::{PromptKind, ReportCleaning, Section};

use crate::evaluation::images::ImageSet;
use crate::evaluation::probe::is_list_of_labels;
use crate::report::format::count;

/// Texts of a set, each with its image.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    /// Images that have one, in order.
    pub(super) images: Vec<usize>,
    /// Their texts, cleaned.
    pub(super) texts: Vec<String>,
    /// What is left out and what is doubtful, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Texts {
    /// The reports of the images of `set`, and of synthetic ones the prompts that they were made from.
    ///
    /// # Errors
    /// The reason where there is none, and where what there is are lists of labels: template text is no report.
    pub(super) fn of(set: &ImageSet) -> Result<Self, String> {
        let (mut found, mut templates, mut free) = (Self::default(), 0, 0);
        for image in 0..set.len() {
            let Some((text, kind)) = text(set.record(image)) else { continue };
            if kind == PromptKind::Template {
                templates += 1;
            } else if let Some(text) = cleaned(text) {
                free += usize::from(kind == PromptKind::Free);
                found.images.push(image);
                found.texts.push(text);
            }
        }
        let (name, texts) = (set.name(), found.texts.len());
        if texts == 0 && templates > 0 {
            return Err(format!(
                "all {} texts of {name} are template text, made from labels by rule, and no reports",
                count(templates)
            ));
        }
        if texts == 0 {
            return Err(format!("no image of {name} has a report"));
        }
        if templates > 0 {
            found.notes.push(format!("{} images of {name} with template text take no part as reports", count(templates)));
        }
        if free > 0 {
            let texts = count(texts);
            found.notes.push(format!(
                "{} of {texts} texts of {name} are prompts of which nobody says whether they are reports",
                count(free)
            ));
        }
        found.checked(set)
    }

    /// Refuses texts of which most are lists of labels.
    ///
    /// # Errors
    /// The reason.
    pub(super) fn checked(self, set: &ImageSet) -> Result<Self, String> {
        let lists = self.texts.iter().filter(|text| is_list_of_labels(text, set.vocabulary())).count();
        if 2 * lists <= self.texts.len() {
            return Ok(self);
        }
        let [lists, texts] = [lists, self.texts.len()].map(count);
        Err(format!("{lists} of {texts} texts of {} are lists of labels, as template text is, and no reports", set.name()))
    }

    /// Those of the images for which `is_kept` holds.
    pub(super) fn filtered(self, mut is_kept: impl FnMut(usize) -> bool) -> Self {
        let kept = self.images.into_iter().zip(self.texts).filter(|(image, _)| is_kept(*image));
        let (images, texts) = kept.unzip();
        Self { images, texts, notes: self.notes }
    }
}

/// The text of an image and its kind.
fn text(record: &CxrRecord) -> Option<(&str, PromptKind)> {
    let report = || record.report.as_deref().map(|report| (report, PromptKind::Report));
    let found = match &record.origin {
        Origin::Synthetic(provenance) if !provenance.request.prompt.trim().is_empty() => {
            Some((provenance.request.prompt.as_str(), provenance.request.prompt_kind))
        }
        _ => report().or_else(|| Some((record.details.template.as_deref()?, PromptKind::Template))),
    };
    found.filter(|(text, _)| !text.trim().is_empty())
}

/// The impression of a report, else its findings, else its last paragraph, on one line and without marks of de-identification; `None` where nothing
/// is left.
pub(super) fn cleaned(text: &str) -> Option<String> {
    ReportCleaning { section: Section::ImpressionOrNext, ..ReportCleaning::default() }.clean(text).ok()
}
