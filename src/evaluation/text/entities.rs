//! Entities that a tool such as RadGraph found in reports, read from files.
//!
//! A file has one line of JSON per report, `id` beside RadGraph's own `entities`:
//!
//! ```json
//! {"id": "r1", "entities": {"1": {"tokens": "effusion", "label": "OBS-DP", "relations": [["located_at", "2"]]},
//!                           "2": {"tokens": "left", "label": "ANAT-DP", "relations": []}}}
//! ```
//!
//! (on one line). Other keys, such as RadGraph's `text` and `start_ix`, are ignored. `relations` may be absent.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::TextError;

/// Longest line of a file, in bytes.
const LONGEST: u64 = 16 << 20;

/// One entity.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entity {
    /// Its words.
    pub tokens: String,
    /// Its kind, such as `OBS-DP` (observation, definitely present).
    pub label: String,
    /// Kind of relation and key of the other entity.
    #[serde(default)]
    pub relations: Vec<(String, String)>,
}

/// Entities of one report, by their key.
pub type Entities = BTreeMap<String, Entity>;

#[derive(Deserialize)]
struct Line {
    id: String,
    entities: Entities,
}

/// Reads a file; reports by id, in rising order.
///
/// # Errors
/// [`TextError::Io`]; [`TextError::Entities`] names the line: no JSON of this kind, an id twice, a relation to an entity that isn't there.
pub fn read_entities(path: &Path) -> Result<BTreeMap<String, Entities>, TextError> {
    let io = |source| TextError::Io { path: path.to_owned(), source };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let (mut reports, mut line, mut number) = (BTreeMap::new(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        if file.by_ref().take(LONGEST + 1).read_until(b'\n', &mut line).map_err(io)? == 0 {
            return Ok(reports);
        }
        let wrong = |message: String| TextError::Entities { path: path.to_owned(), line: number, message };
        if line.len() as u64 > LONGEST {
            return Err(wrong(format!("it is longer than {} MiB", LONGEST >> 20)));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let Line { id, entities } = serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
        let dangling = entities.values().flat_map(|entity| &entity.relations).find(|(_, other)| !entities.contains_key(other));
        if let Some((kind, other)) = dangling {
            return Err(wrong(format!("relation `{kind}` leads to entity `{other}`, which report `{id}` doesn't have")));
        }
        if reports.contains_key(&id) {
            return Err(wrong(format!("report `{id}` is there twice")));
        }
        reports.insert(id, entities);
    }
}

/// Precision, recall and F1 of the entities of one pair, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Overlap {
    /// Share of the hypothesis' entities that the reference has.
    pub precision: f64,
    /// Share of the reference's entities that the hypothesis has.
    pub recall: f64,
    /// Harmonic mean; 0 where a report has no entity.
    pub f1: f64,
}

/// The three rewards of RadGraph's F1 (Delbrouck et al. 2022, arXiv 2210.12186; package radgraph, `rewards.py`): what must agree for two
/// entities to be the same. An entity counts once per report, however often it is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct EntityF1 {
    /// Tokens and label.
    pub simple: Overlap,
    /// Also whether it has a relation: the figure that papers print.
    pub partial: Overlap,
    /// Also each relation's kind and the tokens of the other entity.
    pub complete: Overlap,
}

/// Compares the entities of a pair.
#[must_use]
pub fn entity_f1(reference: &Entities, hypothesis: &Entities) -> EntityF1 {
    let both = |of: fn(&Entities) -> BTreeSet<Vec<String>>| Overlap::new(&of(reference), &of(hypothesis));
    EntityF1 { simple: both(simple), partial: both(partial), complete: both(complete) }
}

fn simple(entities: &Entities) -> BTreeSet<Vec<String>> {
    entities.values().map(|entity| vec![entity.tokens.clone(), entity.label.clone()]).collect()
}

fn partial(entities: &Entities) -> BTreeSet<Vec<String>> {
    let related = |entity: &Entity| (!entity.relations.is_empty()).to_string();
    entities.values().map(|entity| vec![entity.tokens.clone(), entity.label.clone(), related(entity)]).collect()
}

fn complete(entities: &Entities) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for entity in entities.values() {
        if entity.relations.is_empty() {
            found.insert(vec![entity.tokens.clone(), entity.label.clone()]);
        }
        for (kind, other) in &entity.relations {
            if let Some(other) = entities.get(other) {
                // In lower case only here, as the reference does.
                let lower = |entity: &Entity| entity.tokens.to_lowercase();
                found.insert(vec![lower(entity), entity.label.clone(), kind.clone(), lower(other)]);
            }
        }
    }
    found
}

impl Overlap {
    fn new(reference: &BTreeSet<Vec<String>>, hypothesis: &BTreeSet<Vec<String>>) -> Self {
        let both = reference.intersection(hypothesis).count() as f64;
        let share = |whole: usize| if whole == 0 { 0.0 } else { both / whole as f64 };
        let (precision, recall) = (share(hypothesis.len()), share(reference.len()));
        let f1 = if both > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 };
        Self { precision, recall, f1 }
    }
}

impl EntityF1 {
    /// Compares two files report by report.
    ///
    /// # Errors
    /// As [`read_entities`], and [`TextError::Unpaired`].
    pub fn of_files(references: &Path, hypotheses: &Path) -> Result<HashMap<String, Self>, TextError> {
        let (theirs, ours) = (read_entities(references)?, read_entities(hypotheses)?);
        let unpaired = |id: &String, has: &Path, lacks: &Path| TextError::Unpaired {
            id: id.clone(),
            has: has.to_owned(),
            lacks: lacks.to_owned(),
        };
        if let Some(id) = theirs.keys().find(|id| !ours.contains_key(*id)) {
            return Err(unpaired(id, references, hypotheses));
        }
        if let Some(id) = ours.keys().find(|id| !theirs.contains_key(*id)) {
            return Err(unpaired(id, hypotheses, references));
        }
        let pairs = theirs.iter().zip(&ours);
        Ok(pairs.map(|((id, reference), (_, hypothesis))| (id.clone(), entity_f1(reference, hypothesis))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    const REFERENCE: &str = concat!(
        r#"{"id": "a", "text": "left effusion", "entities": {"1": {"tokens": "effusion", "label": "OBS-DP", "start_ix": 1, "relations": [["located_at", "2"]]}, "2": {"tokens": "left", "label": "ANAT-DP"}}}"#,
        "\n\n",
        r#"{"id": "b", "entities": {}}"#,
    );

    #[test]
    fn three_rewards_by_hand() {
        let hypothesis = r#"{"id": "a", "entities": {"1": {"tokens": "effusion", "label": "OBS-DP", "relations": [["located_at", "2"]]}, "2": {"tokens": "right", "label": "ANAT-DP"}, "3": {"tokens": "right", "label": "ANAT-DP"}}}
{"entities": {}, "id": "b"}"#;
        let (_one, reference) = file("reference.jsonl", REFERENCE);
        let (_other, hypothesis) = file("hypothesis.jsonl", hypothesis);
        let found = EntityF1::of_files(&reference, &hypothesis).unwrap();
        // "right" counts once. The effusion is found, with a relation, to another place.
        let half = Overlap { precision: 0.5, recall: 0.5, f1: 0.5 };
        assert_eq!(found["a"], EntityF1 { simple: half, partial: half, complete: Overlap::default() });
        assert_eq!(found["b"], EntityF1::default());
    }

    #[test]
    fn bad_files_are_refused_with_their_line() {
        for (text, said) in [
            ("{\"id\": \"a\", \"entities\": {}}\n{\"id\": \"a\", \"entities\": {}}", "line 2: report `a` is there twice"),
            ("{\"id\": \"a\"}", "line 1: missing field `entities`"),
            ("[1, 2]", "line 1"),
            ("\n\nnonsense", "line 3"),
            (
                "{\"id\": \"a\", \"entities\": {\"1\": {\"tokens\": \"x\", \"label\": \"y\", \"relations\": [[\"modify\", \"7\"]]}}}",
                "relation `modify` leads to entity `7`",
            ),
        ] {
            let (_folder, path) = file("entities.jsonl", text);
            let error = read_entities(&path).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("entities.jsonl"), "{error}");
        }
        assert!(matches!(read_entities(Path::new("/nowhere/at/all")), Err(TextError::Io { .. })));
        let (_one, reference) = file("reference.jsonl", REFERENCE);
        let (_other, hypothesis) = file("hypothesis.jsonl", r#"{"id": "b", "entities": {}}"#);
        for (one, other) in [(&reference, &hypothesis), (&hypothesis, &reference)] {
            let error = EntityF1::of_files(one, other).unwrap_err().to_string();
            assert!(error.contains("report `a` is in") && error.contains("not in"), "{error}");
        }
    }
}
