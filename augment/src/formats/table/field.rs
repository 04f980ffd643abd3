//! What a column of a table can hold beside findings, and how tables of others call it.

/// A field of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::formats) enum Field {
    Image,
    PatientId,
    Age,
    Sex,
    View,
    Split,
    Report,
    /// A list of findings in one column.
    Labels,
    /// Which of a patient's images comes first: a date or a follow-up number.
    Order,
    /// CheXpert's `Frontal/Lateral`, which completes its `AP/PA`.
    FrontalLateral,
    Race,
    Template,
    Origin,
    SourceId,
    Fold,
    Replica,
    Seed,
    Prompt,
    PromptKind,
    Model,
    Sampler,
    Steps,
    Guidance,
    Gate,
    NearestReal,
    NearestRealId,
    NegativePrompt,
    Adapters,
    Weights,
}

/// A field with its own name and those that published tables give it, as [`key`] writes them.
type Named = (Field, &'static str, &'static [&'static str]);

const IMAGES: &[&str] = &[
    "path",
    "imagepath",
    "imgpath",
    "filepath",
    "file",
    "filename",
    "imagefile",
    "imagefilename",
    "imagename",
    "imageindex",
    "imageid",
    "img",
    "dicomid",
];
const PATIENTS: &[&str] = &["patientid", "patient", "patientnumber", "subjectid", "subject"];
const VIEWS: &[&str] = &["viewposition", "projection", "appa"];
const LISTS: &[&str] = &["findinglabels", "findinglabel", "labels", "label", "diagnoses", "diagnosis"];

const NAMED: [Named; Field::COUNT] = [
    (Field::Image, "image", IMAGES),
    (Field::PatientId, "patient_id", PATIENTS),
    (Field::Age, "age", &["patientage", "ageyears"]),
    (Field::Sex, "sex", &["gender", "patientsex", "patientgender"]),
    (Field::View, "view", VIEWS),
    (Field::Split, "split", &["set", "subset", "partition", "datasplit"]),
    (Field::Report, "report", &["reporttext", "radiologyreport", "impression"]),
    (Field::Labels, "labels", LISTS),
    (Field::Order, "order", &[]),
    (Field::FrontalLateral, "Frontal/Lateral", &["frontallateral"]),
    (Field::Race, "race", &[]),
    (Field::Template, "template", &[]),
    (Field::Origin, "origin", &[]),
    (Field::SourceId, "source_id", &[]),
    (Field::Fold, "fold", &[]),
    (Field::Replica, "replica", &[]),
    (Field::Seed, "seed", &[]),
    (Field::Prompt, "prompt", &[]),
    (Field::PromptKind, "prompt_kind", &[]),
    (Field::Model, "model", &[]),
    (Field::Sampler, "sampler", &[]),
    (Field::Steps, "steps", &[]),
    (Field::Guidance, "guidance", &[]),
    (Field::Gate, "gate", &[]),
    (Field::NearestReal, "nearest_real", &[]),
    (Field::NearestRealId, "nearest_real_id", &[]),
    (Field::NegativePrompt, "negative_prompt", &[]),
    (Field::Adapters, "adapters", &[]),
    (Field::Weights, "weights", &[]),
];

impl Field {
    pub(super) const COUNT: usize = 29;

    /// Every field, in the order of the enumeration.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        NAMED.iter().map(|(field, ..)| *field)
    }

    /// Its name: that of its column, and its key in `data.columns`.
    pub(in crate::formats) fn name(self) -> &'static str {
        NAMED[self as usize].1
    }

    /// Whether a column called `name` is this field: by its own name, or Hugging Face's for images. `labels` and `order` say too little to
    /// be taken without being asked.
    pub(super) fn is_named(self, name: &str) -> bool {
        let is_own = !matches!(self, Self::Labels | Self::Order) && alike(self.name(), name);
        is_own || (self == Self::Image && alike("file_name", name))
    }

    /// Whether `data.columns` can name its column.
    pub(super) fn is_key(self) -> bool {
        self != Self::FrontalLateral
    }

    /// Whether a column called `name` may be this field.
    pub(super) fn may_be(self, name: &str) -> bool {
        NAMED[self as usize].2.contains(&key(name).as_str())
    }
}

/// The name without case, blanks and marks.
fn key(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether two names differ in case and surrounding blanks only.
pub(super) fn alike(a: &str, b: &str) -> bool {
    let lower = |name: &str| name.trim().to_lowercase();
    lower(a) == lower(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::table::columns::{FIELDS, OPTIONAL, PROVENANCE};

    #[test]
    fn the_list_is_in_the_order_of_the_enumeration_and_has_every_column_that_is_written() {
        for (place, field) in Field::all().enumerate() {
            assert_eq!(field as usize, place, "{field:?}");
        }
        for name in FIELDS.into_iter().chain(OPTIONAL).chain(PROVENANCE) {
            assert!(Field::all().any(|field| field.name() == name), "{name}");
        }
    }

    #[test]
    fn no_name_may_be_two_fields() {
        let mut seen = std::collections::BTreeMap::new();
        for (field, _, names) in NAMED {
            for name in names {
                assert_eq!(key(name), *name);
                assert_eq!(seen.insert(*name, field), None, "{name}");
            }
        }
    }
}
