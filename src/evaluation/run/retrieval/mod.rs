//! Whether what is most like a synthetic image, or a text, shows what it was asked for: in features that were made for fidelity anyway.
//!
//! | file | what it holds |
//! |---|---|
//! | `report` | what comes out |
//! | `texts` | texts that ask, with their embeddings |
//! | `table` | all figures as rows, and `retrieval.csv` |
//! | `page` | the same for people |

mod page;
mod report;
mod table;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::HashSet;

use roentgen_augment::record::{Finding, Label};
use roentgen_classifier::metrics::Bootstrap;

use super::fidelity::{MOST_PAIRED, Side};
use super::halves::Groups;
use crate::config::EvaluationConfig;
use crate::evaluation::features::{Features, NetworkChoice};
use crate::evaluation::images::ImageSet;
use crate::evaluation::query::{
    CategoryQueries, Protocol, QueryError, QueryReport, QuerySettings, SetRetrieval, between_sets, by_category,
};
use crate::evaluation::retrieval::RetrievalError;
use crate::evaluation::{Rows, RowsError};

pub(super) use self::page::{section, text};
pub use self::report::{NetworkRetrieval, ProtocolRetrieval, Retrieved, TextRetrieval};
pub(super) use self::table::csv_of;
pub(super) use self::texts::{Texts, open};

/// Resamples of patients that intervals come from.
const REPLICATES: usize = 1000;

/// A set of images with its features, or a part of it.
struct Part {
    set: ImageSet,
    features: Features,
}

impl Part {
    /// At most as many images as are compared with each other elsewhere, and whether some were left out.
    fn of(side: Side<'_>, seed: u64) -> (Self, bool) {
        if side.set.len() <= MOST_PAIRED {
            return (Self { set: side.set.clone(), features: side.features.clone() }, false);
        }
        let people = Groups::of((0..side.set.len()).map(|image| side.set.patient(image)));
        let images = people.part(MOST_PAIRED, (seed, usize::MAX));
        (Self { set: side.set.select(&images), features: side.features.select(&images) }, true)
    }

    fn rows(&self) -> Result<Rows<'_>, RowsError> {
        self.features.rows()
    }

    fn shows(&self, image: usize, finding: Finding) -> bool {
        self.set.label(image, finding) == Label::Positive
    }

    /// Whether anything is known of it.
    fn is_labelled(&self, image: usize) -> bool {
        self.set.record(image).labels.iter().any(|label| matches!(label, Label::Positive | Label::Negative))
    }
}

/// Queries with what each asks for and whose it is.
struct Queries {
    values: Vec<f32>,
    width: usize,
    categories: Vec<usize>,
    people: Vec<String>,
}

impl Queries {
    /// Images of a set, each with its category.
    fn of(part: &Part, images: &[(usize, usize)]) -> Self {
        let (places, categories): (Vec<usize>, Vec<usize>) = images.iter().copied().unzip();
        let people = places.iter().map(|image| part.set.patient(*image).to_owned()).collect();
        Self { values: part.features.select(&places).values, width: part.features.width, categories, people }
    }

    /// Texts, each with its category.
    fn of_texts(texts: &Texts, asked: &[(usize, usize)]) -> Self {
        let rows = texts.embeddings.rows();
        let values = asked.iter().flat_map(|(text, _)| rows.row(*text)).copied().collect();
        // Texts are of nobody: each is resampled by itself.
        let people = asked.iter().map(|(text, _)| text.to_string()).collect();
        Self { values, width: rows.width(), categories: asked.iter().map(|(_, category)| *category).collect(), people }
    }

    /// What they find among candidates, each of which may have several categories.
    fn among(
        &self,
        names: &[String],
        (candidates, has): (&Features, &[bool]),
        settings: &QuerySettings,
    ) -> Result<QueryReport, QueryError> {
        let rows = Rows::new(&self.values, self.width).map_err(RetrievalError::from)?;
        let people: Vec<&str> = self.people.iter().map(String::as_str).collect();
        let queries = CategoryQueries { rows, categories: &self.categories, patients: &people };
        by_category(names, queries, (candidates.rows().map_err(RetrievalError::from)?, has), settings)
    }
}

/// Retrieval in the features of both sets. What can't be measured is undefined, with the reason.
pub(super) fn by(
    choice: &NetworkChoice,
    [real, synthetic]: [Side<'_>; 2],
    texts: Option<&Texts>,
    config: &EvaluationConfig,
) -> NetworkRetrieval {
    let settings =
        QuerySettings { bootstrap: Bootstrap { replicates: REPLICATES, seed: config.seed }, ..QuerySettings::default() };
    let network = real.features.network.clone();
    let ((real, fewer_real), (synthetic, fewer)) = (Part::of(real, config.seed), Part::of(synthetic, config.seed));
    let (images, undefined) = match between(&real, &synthetic, &settings) {
        Ok(found) => (Some(found), None),
        Err(why) => (None, Some(why)),
    };
    let protocol = Protocol::chexpert_8x200(config.seed);
    NetworkRetrieval {
        network,
        weights: choice.to_string(),
        drawn: (fewer_real || fewer).then_some(MOST_PAIRED),
        images,
        undefined,
        chexpert: by_protocol(&protocol, [&real, &synthetic], texts, &settings),
        texts: texts.map(|texts| of_texts(texts, [&real, &synthetic], &settings)),
    }
}

fn between(real: &Part, synthetic: &Part, settings: &QuerySettings) -> Result<SetRetrieval, String> {
    for (part, kind) in [(real, "real"), (synthetic, "synthetic")] {
        if !(0..part.set.len()).any(|image| part.is_labelled(image)) {
            return Err(format!("no {kind} image has a label"));
        }
    }
    let rows = real.rows().and_then(|real| Ok((real, synthetic.rows()?)));
    let (of_real, of_synthetic) = rows.map_err(|error| error.to_string())?;
    between_sets((&real.set, of_real), (&synthetic.set, of_synthetic), settings).map_err(|error| error.to_string())
}

/// Queries of a protocol's categories among real images of one category each.
fn by_protocol(
    protocol: &Protocol,
    [real, synthetic]: [&Part; 2],
    texts: Option<&Texts>,
    settings: &QuerySettings,
) -> ProtocolRetrieval {
    let lacking: Vec<&str> = protocol
        .categories
        .iter()
        .filter(|finding| real.set.vocabulary().position(**finding).is_none())
        .map(|finding| finding.name())
        .collect();
    if !lacking.is_empty() {
        let undefined = Some(format!("the real images have no labels of {}", lacking.join(", ")));
        return ProtocolRetrieval { undefined, ..ProtocolRetrieval::default() };
    }
    let label = |image, finding| real.set.label(image, finding);
    let drawn = match protocol.draw(real.set.len(), label, |image| real.set.patient(image)) {
        Ok(drawn) => drawn,
        Err(error) => return ProtocolRetrieval { undefined: Some(error.to_string()), ..ProtocolRetrieval::default() },
    };
    let names: Vec<String> = protocol.categories.iter().map(|finding| finding.name().to_owned()).collect();
    let places: Vec<usize> = drawn.candidates.iter().map(|(image, _)| *image).collect();
    let offered = real.features.select(&places);
    let has: Vec<bool> =
        drawn.candidates.iter().flat_map(|(_, category)| (0..names.len()).map(move |other| other == *category)).collect();
    let found = |queries: &Queries| Retrieved::from(queries.among(&names, (&offered, &has), settings));
    // An image of a candidate's patient might find the one that it was made from.
    let gallery: HashSet<&str> = places.iter().map(|image| real.set.patient(*image)).collect();
    let label = |image: usize, finding| match gallery.contains(synthetic.set.patient(image)) {
        true => Label::Missing,
        false => synthetic.set.label(image, finding),
    };
    let queries = Protocol { candidates: 0, ..protocol.clone() };
    let made = queries.draw(synthetic.set.len(), label, |image| synthetic.set.patient(image));
    let made = made.map(|made| found(&Queries::of(synthetic, &made.queries))).unwrap_or_else(Retrieved::undefined);
    ProtocolRetrieval {
        undefined: None,
        real: Some(found(&Queries::of(real, &drawn.queries))),
        synthetic: Some(made),
        texts: texts.map(|texts| match first_texts(texts, protocol) {
            Ok(asked) => found(&Queries::of_texts(texts, &asked)),
            Err(why) => Retrieved::undefined(why),
        }),
    }
}

/// The first texts of each category of a protocol that ask for it alone among them.
fn first_texts(texts: &Texts, protocol: &Protocol) -> Result<Vec<(usize, usize)>, String> {
    let mut asked = Vec::new();
    for (category, finding) in protocol.categories.iter().enumerate() {
        let alone = |asked: &[Finding]| {
            asked.contains(finding) && asked.iter().filter(|asked| protocol.categories.contains(*asked)).count() == 1
        };
        let found: Vec<usize> = (0..texts.findings.len()).filter(|&text| alone(&texts.findings[text])).collect();
        let queries = protocol.queries;
        if found.len() < queries {
            return Err(format!("{} texts ask for {} alone, {queries} are needed", found.len(), finding.name()));
        }
        asked.extend(found.into_iter().take(queries).map(|text| (text, category)));
    }
    Ok(asked)
}

/// Texts among all labelled images of each set.
fn of_texts(texts: &Texts, [real, synthetic]: [&Part; 2], settings: &QuerySettings) -> TextRetrieval {
    let mut findings: Vec<Finding> = Vec::new();
    let mut asked: Vec<(usize, usize)> = Vec::new();
    for (text, finding) in texts.findings.iter().enumerate().flat_map(|(text, found)| found.iter().map(move |one| (text, *one)))
    {
        let category = findings.iter().position(|known| *known == finding).unwrap_or_else(|| {
            findings.push(finding);
            findings.len() - 1
        });
        asked.push((text, category));
    }
    let names: Vec<String> = findings.iter().map(|finding| finding.name().to_owned()).collect();
    let queries = Queries::of_texts(texts, &asked);
    let among = |part: &Part, kind: &str| {
        let images: Vec<usize> = (0..part.set.len()).filter(|image| part.is_labelled(*image)).collect();
        if images.is_empty() {
            return Retrieved::undefined(format!("no {kind} image has a label"));
        }
        let has: Vec<bool> =
            images.iter().flat_map(|image| findings.iter().map(|finding| part.shows(*image, *finding))).collect();
        Retrieved::from(queries.among(&names, (&part.features.select(&images), &has), settings))
    };
    TextRetrieval {
        source: texts.source.clone(),
        texts: texts.findings.iter().filter(|findings| !findings.is_empty()).count(),
        cut: texts.cut,
        real: among(real, "real"),
        synthetic: among(synthetic, "synthetic"),
    }
}
