//! Text that conditions a generator, made from a row.

use crate::{CxrRecord, Label, Sex, View, Vocabulary};

/// The report of the record, or template text made from its labels where it has none.
///
/// Template text looks like `Frontal chest radiograph, PA view, 57 year old male. Cardiomegaly and effusion.` It names the
/// positive findings only, and never a side, which labels don't know; it is no radiologist's report.
#[must_use]
pub fn template_prompt(record: &CxrRecord, vocabulary: &Vocabulary) -> String {
    if let Some(report) = record.report.as_deref().map(str::trim).filter(|report| !report.is_empty()) {
        return report.to_owned();
    }
    format!("{}. {}.", technique(record), findings(record, vocabulary))
}

fn technique(record: &CxrRecord) -> String {
    let mut parts = vec![match record.view {
        Some(View::Pa) => "Frontal chest radiograph, PA view".to_owned(),
        Some(View::Ap) => "Frontal chest radiograph, AP view".to_owned(),
        Some(View::Lateral) => "Lateral chest radiograph".to_owned(),
        None => "Chest radiograph".to_owned(),
    }];
    let sex = record.sex.map(|sex| match sex {
        Sex::Female => "female",
        Sex::Male => "male",
    });
    match (record.age, sex) {
        (Some(age), Some(sex)) => parts.push(format!("{} year old {sex}", age.floor())),
        (Some(age), None) => parts.push(format!("{} years old", age.floor())),
        (None, Some(sex)) => parts.push(sex.to_owned()),
        (None, None) => {}
    }
    parts.join(", ")
}

fn findings(record: &CxrRecord, vocabulary: &Vocabulary) -> String {
    let positive = vocabulary.findings().iter().zip(&record.labels).filter(|(_, label)| **label == Label::Positive);
    let names: Vec<String> = positive
        .map(|(finding, _)| finding.name().replace('_', " ").to_lowercase())
        .filter(|name| name != "no finding")
        .collect();
    let sentence = match names.split_last() {
        None => "no finding".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    };
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, PatientId};

    fn record(labels: [Label; 3]) -> CxrRecord {
        CxrRecord {
            id: "a".to_owned(),
            patient_id: Some(PatientId::new("1")),
            labels: labels.to_vec(),
            age: Some(57.0),
            sex: Some(Sex::Male),
            view: Some(View::Pa),
            report: None,
            split: None,
            origin: Origin::Real,
        }
    }

    fn vocabulary() -> Vocabulary {
        Vocabulary::parse(["Cardiomegaly", "Effusion", "Pleural_Thickening"]).unwrap()
    }

    #[test]
    fn template_text_lists_positive_findings() {
        use Label::{Negative, Positive, Uncertain};
        let of = |labels| template_prompt(&record(labels), &vocabulary());
        let technique = "Frontal chest radiograph, PA view, 57 year old male.";
        assert_eq!(of([Positive, Positive, Negative]), format!("{technique} Cardiomegaly and effusion."));
        assert_eq!(of([Positive; 3]), format!("{technique} Cardiomegaly, effusion and pleural thickening."));
        assert_eq!(of([Uncertain, Negative, Negative]), format!("{technique} No finding."));
    }

    #[test]
    fn a_report_is_used_as_it_is() {
        let reported = CxrRecord { report: Some(" Clear lungs.\n".to_owned()), ..record([Label::Missing; 3]) };
        assert_eq!(template_prompt(&reported, &vocabulary()), "Clear lungs.");
    }

    #[test]
    fn unknown_demographics_are_left_out() {
        let bare = CxrRecord { age: None, sex: None, view: None, ..record([Label::Positive, Label::Negative, Label::Missing]) };
        assert_eq!(template_prompt(&bare, &vocabulary()), "Chest radiograph. Cardiomegaly.");
    }
}
