//! What divides images into groups.

use roentgen_augment::record::{CxrRecord, Sex, View};

use crate::config::{ATTRIBUTES, FairnessConfig};

/// Most groups of an attribute that is a text; more are names, not groups.
const MOST_GROUPS: usize = 12;

/// What divides images into groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Names of its groups, those that occur.
    pub groups: Vec<String>,
    /// Group of each row; `None` where it is not recorded.
    pub of_row: Vec<Option<usize>>,
}

/// A group of a row: what it is sorted by, and its name.
type Named = (usize, String);

/// The attributes that `config` asks for and that have groups to compare, and a sentence on each of the others: on one that has too many
/// groups, and on one with fewer than two that is asked for by name. An image without a record is in no group.
#[must_use]
pub fn attributes(records: &[Option<&CxrRecord>], config: &FairnessConfig) -> (Vec<Attribute>, Vec<String>) {
    let usual = || ATTRIBUTES.map(str::to_owned).to_vec();
    let (mut judged, mut notes) = (Vec::new(), Vec::new());
    for name in config.columns.clone().unwrap_or_else(usual) {
        let of_row = records.iter().map(|record| group(&name, (*record)?, &config.ages)).collect();
        let attribute = Attribute::new(name, of_row);
        match attribute.groups.len() {
            0 | 1 if config.columns.is_none() => {}
            count @ (0 | 1) => notes.push(format!(
                "There are no figures by {}: {}.",
                attribute.name,
                if count == 0 { "no image has it" } else { "all images that have it are in one group" }
            )),
            2..=MOST_GROUPS => judged.push(attribute),
            count => notes.push(format!(
                "The images have {count} different values of {}: more than {MOST_GROUPS} are no groups, and there are no figures by it.",
                attribute.name
            )),
        }
    }
    (judged, notes)
}

impl Attribute {
    /// Groups in the order of their numbers, then of their names.
    pub(in crate::evaluation) fn new(name: String, of_row: Vec<Option<Named>>) -> Self {
        let mut groups: Vec<&Named> = of_row.iter().flatten().collect();
        groups.sort();
        groups.dedup();
        let place = |group: &Option<Named>| groups.binary_search(&group.as_ref()?).ok();
        Self { name, of_row: of_row.iter().map(place).collect(), groups: groups.iter().map(|(_, name)| name.clone()).collect() }
    }
}

fn group(attribute: &str, record: &CxrRecord, ages: &[u32]) -> Option<Named> {
    let text = |text: &String| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let name = match attribute {
        "age" => return age_band(record.age?, ages),
        "sex" => match record.sex? {
            Sex::Female => "female".to_owned(),
            Sex::Male => "male".to_owned(),
        },
        "view" => match record.view? {
            View::Pa => "PA".to_owned(),
            View::Ap => "AP".to_owned(),
            View::Lateral => "lateral".to_owned(),
        },
        "race" => text(record.details.race.as_ref()?)?,
        column => text(record.details.columns.get(column)?)?,
    };
    Some((0, name))
}

/// The band of an age in years; `ages` rise, and each begins one.
fn age_band(age: f32, ages: &[u32]) -> Option<Named> {
    if age.is_nan() || age < 0.0 {
        return None;
    }
    let begun = ages.iter().take_while(|start| age >= **start as f32).count();
    let name = match (begun.checked_sub(1).map(|at| ages[at]), ages.get(begun)) {
        (None, Some(end)) => format!("under {end}"),
        (None, None) => return None,
        (Some(start), Some(end)) if end - start == 1 => start.to_string(),
        (Some(start), Some(end)) => format!("{start} to {}", end - 1),
        (Some(start), None) => format!("{start} and older"),
    };
    Some((begun, name))
}

/// The group of every image as a table: `image`, then one column per attribute, blank where it is not recorded.
#[must_use]
pub fn group_rows(images: &[String], attributes: &[Attribute]) -> Vec<Vec<String>> {
    let head = ["image".to_owned()].into_iter().chain(attributes.iter().map(|attribute| attribute.name.clone())).collect();
    let row = |(at, image): (usize, &String)| {
        let group =
            |attribute: &Attribute| attribute.of_row[at].map_or_else(String::new, |group| attribute.groups[group].clone());
        [image.clone()].into_iter().chain(attributes.iter().map(group)).collect()
    };
    [head].into_iter().chain(images.iter().enumerate().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: [u32; 3] = [40, 60, 80];

    fn image(change: impl Fn(&mut CxrRecord)) -> CxrRecord {
        let mut record = CxrRecord::real("a.png".to_owned(), None, Vec::new());
        change(&mut record);
        record
    }

    fn named(columns: &[&str]) -> FairnessConfig {
        let columns = Some(columns.iter().map(|name| (*name).to_owned()).collect());
        FairnessConfig { columns, ..FairnessConfig::default() }
    }

    #[test]
    fn ages_are_in_bands() {
        assert_eq!(age_band(39.9, &AGES), Some((0, "under 40".to_owned())));
        assert_eq!(age_band(79.5, &AGES), Some((2, "60 to 79".to_owned())));
        assert_eq!(age_band(80.0, &AGES), Some((3, "80 and older".to_owned())));
        assert_eq!(age_band(0.0, &[65]), Some((0, "under 65".to_owned())));
        assert_eq!(age_band(18.5, &[18, 19]), Some((1, "18".to_owned())));
        assert_eq!((age_band(f32::NAN, &AGES), age_band(-1.0, &AGES)), (None, None));
    }

    #[test]
    fn what_is_not_recorded_is_no_attribute_and_missed_where_it_is_asked_for() {
        let usual = FairnessConfig::default();
        assert_eq!(attributes(&[None, None], &usual), (Vec::new(), Vec::new()));
        let one = image(|record| record.sex = Some(Sex::Male));
        let (judged, notes) = attributes(&[Some(&one), None], &named(&["sex", "race"]));
        assert!(judged.is_empty());
        assert!(notes[0].contains("by sex") && notes[0].contains("in one group"), "{notes:?}");
        assert!(notes[1].contains("by race") && notes[1].contains("no image has it"), "{notes:?}");
        let rows = group_rows(
            &["a.png".to_owned(), "b.png".to_owned()],
            &[Attribute::new("sex".to_owned(), vec![None, Some((0, "male".to_owned()))])],
        );
        assert_eq!(rows, [["image", "sex"], ["a.png", ""], ["b.png", "male"]]);
    }

    #[test]
    fn any_column_has_groups_but_not_any_number() {
        let of = |site: String| image(|record| drop(record.details.columns.insert("site".to_owned(), site.clone())));
        let sites = |count: usize| (0..30).map(|i| of(format!("s{}", i % count))).collect::<Vec<_>>();
        let found = |images: &[CxrRecord]| attributes(&images.iter().map(Some).collect::<Vec<_>>(), &named(&["site"]));
        let (judged, notes) = found(&sites(2));
        assert_eq!((judged[0].name.as_str(), &judged[0].groups[..]), ("site", &["s0".to_owned(), "s1".to_owned()][..]));
        assert_eq!((judged[0].of_row[3], notes.len()), (Some(1), 0));
        let (judged, notes) = found(&sites(13));
        assert!(judged.is_empty() && notes[0].contains("13 different values of site"), "{notes:?}");
    }
}
