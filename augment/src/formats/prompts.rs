//! Tables of prompts: what to generate, one row per prompt.

use std::path::Path;

use super::sheet::{Line, Rows, Sheet};
use super::table::columns::Columns;
use crate::AugmentError;
use crate::formats::TableError;
use crate::record::{Finding, Label, Vocabulary};
use crate::request::{SampleRequest, check_count};
use crate::text::{Prompt, PromptKind};

/// Columns that a table may have beside the known ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnColumns {
    /// Labels outside the public vocabularies.
    pub findings: Vec<String>,
    /// Columns to ignore.
    pub ignored: Vec<String>,
}

const NEGATIVE: &str = "negative_prompt";

/// Columns of a manifest that say how its images were made, which a table of prompts can't ask for.
const MADE_WITH: [&str; 7] = ["model", "sampler", "steps", "guidance", "gate", "adapters", "weights"];

/// The rows of a table of prompts.
///
/// Columns: `prompt` (or, where there is none, `report` or `template`), and any of the project's own table: `patient_id`, `age`, `sex`, `view`,
/// `source_id`, `fold`, `seed`, and findings with the labels that the images will carry. A manifest of synthetic images is such
/// a table and asks for the same images again.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptTable {
    /// The table's findings; NIH's 14 with unknown labels where it has none.
    pub vocabulary: Vocabulary,
    rows: Vec<PromptRow>,
    notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
struct PromptRow {
    /// With seed and replica 0.
    request: SampleRequest,
    /// The row's own.
    seed: Option<u64>,
    /// The row's own.
    replica: u32,
}

impl PromptTable {
    /// Reads a `.csv` or `.csv.gz` that may have columns of its own.
    ///
    /// # Errors
    /// [`AugmentError::Table`] for a missing or unknown column, a bad cell and the like, naming row and
    /// column; [`AugmentError::EmptyDataset`] for a table without rows.
    pub fn read(path: &Path, own: &OwnColumns) -> Result<Self, AugmentError> {
        let sheet = Sheet::read(path, Rows::Equal, None)?;
        // A manifest says with it how its images were made, as it does with `sampler`.
        let is_manifest = sheet.find("origin").is_some();
        if sheet.find(NEGATIVE).is_some() && !is_manifest && !own.ignored.iter().any(|name| name == NEGATIVE) {
            return Err(TableError::NegativePrompts { path: path.to_owned() }.into());
        }
        let findings: Vec<_> = own.findings.iter().map(|name| Finding::custom(name)).collect();
        let columns = Columns::of_prompts(&sheet, &findings, &own.ignored)?;
        let (text, kind) = columns.prompt(&sheet)?;
        let (vocabulary, unknown) = match columns.is_empty() {
            true => (Vocabulary::nih(), Some(vec![Label::Missing; Vocabulary::nih().len()])),
            false => (columns.vocabulary()?, None),
        };
        let row = |line: Result<Line, AugmentError>| {
            let line = &line?;
            let prompt = sheet.parse(line, text, ("a prompt", |cell: &str| (!cell.is_empty()).then(|| cell.to_owned())))?;
            let kind = columns.prompt_kind(&sheet, line)?.unwrap_or(kind);
            let mut request = columns.request(&sheet, line, Prompt { text: prompt, kind }, columns.labels(&sheet, line)?)?;
            if let Some(unknown) = &unknown {
                request.labels.clone_from(unknown);
            }
            let replica = std::mem::take(&mut request.replica);
            Ok(PromptRow { request, seed: columns.seed(&sheet, line)?, replica })
        };
        let rows = sheet.lines()?.map(row).collect::<Result<Vec<_>, AugmentError>>()?;
        if rows.is_empty() {
            return Err(AugmentError::EmptyDataset { name: path.display().to_string() });
        }
        let mut notes = columns.notes_of_rows(&sheet);
        let unused: Vec<_> =
            MADE_WITH.into_iter().filter(|name| sheet.find(name).is_some()).map(|name| format!("`{name}`")).collect();
        // A manifest has them all, and nobody expects it to set them.
        if !is_manifest && !unused.is_empty() {
            let unused = unused.join(", ");
            notes.push(format!(
                "{}: {unused} of single rows are not used; all images are made with the same settings",
                path.display()
            ));
        }
        Ok(Self { vocabulary, rows, notes })
    }

    /// What is doubtful in how the table was read.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same prompts with the labels of another vocabulary, in its order; unknown where the table has no such finding.
    #[must_use]
    pub fn with_vocabulary(mut self, vocabulary: &Vocabulary) -> Self {
        let columns: Vec<_> = vocabulary.findings().iter().map(|finding| self.vocabulary.position(*finding)).collect();
        for row in &mut self.rows {
            let label = |column: &Option<usize>| column.map_or(Label::Missing, |column| row.request.labels[column]);
            row.request.labels = columns.iter().map(label).collect();
        }
        Self { vocabulary: vocabulary.clone(), ..self }
    }

    /// A pool of `size` requests: the first replica of every row, then the second of every row, and so on. The smaller of two pools of
    /// one seed is the beginning of the larger.
    ///
    /// # Errors
    /// As [`PromptTable::requests`].
    pub fn of_size(&self, size: usize, seed: u64) -> Result<Vec<SampleRequest>, AugmentError> {
        check_count("size", Some(size))?;
        let place = |at: usize| (at % self.rows.len(), at / self.rows.len());
        (0..size).map(place).map(|(row, replica)| self.request(row, replica as u64, seed)).collect()
    }

    /// A table of one free prompt.
    #[must_use]
    pub fn single(prompt: &str) -> Self {
        let vocabulary = Vocabulary::nih();
        let request = SampleRequest {
            prompt: prompt.to_owned(),
            prompt_kind: PromptKind::Free,
            labels: vec![Label::Missing; vocabulary.len()],
            seed: 0,
            replica: 0,
            source: None,
            age: None,
            sex: None,
            view: None,
        };
        Self { vocabulary, rows: vec![PromptRow { request, seed: None, replica: 0 }], notes: Vec::new() }
    }

    /// `count` requests per row: all of the first row, then all of the second.
    ///
    /// Replica `k` of row `i` of `n` has the noise seed `seed + i + k * n`; a row with a seed of its own has that for `seed + i`. No
    /// seed depends on `count`, so a larger pool has the images of a smaller one.
    ///
    /// # Errors
    /// [`AugmentError::BadSetting`] for more than [`MAX_REQUESTS`](crate::request::MAX_REQUESTS), or a replica beyond the largest
    /// number.
    pub fn requests(&self, count: u32, seed: u64) -> Result<Vec<SampleRequest>, AugmentError> {
        check_count("count", self.rows.len().checked_mul(count as usize))?;
        let of_row = |row| (0..u64::from(count)).map(move |replica| self.request(row, replica, seed));
        (0..self.rows.len()).flat_map(of_row).collect()
    }

    fn request(&self, row: usize, replica: u64, seed: u64) -> Result<SampleRequest, AugmentError> {
        let PromptRow { request, seed: own, replica: first } = &self.rows[row];
        let first_seed = own.unwrap_or_else(|| seed.wrapping_add(row as u64));
        let seed = first_seed.wrapping_add(replica.wrapping_mul(self.rows.len() as u64));
        let Some(replica) = u32::try_from(replica).ok().and_then(|replica| first.checked_add(replica)) else {
            let key = format!("replica of prompt {} and {replica} more", row + 1);
            return Err(AugmentError::setting(key, first, format!("numbers whose sum is at most {}", u32::MAX)));
        };
        Ok(SampleRequest { seed, replica, ..request.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Sex;

    fn read(text: &str) -> Result<PromptTable, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        std::fs::write(&path, text).unwrap();
        PromptTable::read(&path, &OwnColumns::default())
            .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    }

    #[test]
    fn seeds_count_on_over_rows_and_replicas() {
        let table = read("prompt,seed,sex\nno effusion,,F\nbig effusion,100,\n").unwrap();
        let requests = table.requests(2, 7).unwrap();
        let seen: Vec<_> = requests.iter().map(|r| (r.prompt.as_str(), r.seed, r.replica)).collect();
        assert_eq!(seen, [("no effusion", 7, 0), ("no effusion", 9, 1), ("big effusion", 100, 0), ("big effusion", 102, 1)]);
        assert_eq!((requests[0].sex, requests[2].sex), (Some(Sex::Female), None));
        assert!(requests[0].labels.iter().all(|label| *label == Label::Missing));
    }

    #[test]
    fn labels_and_sources_are_kept() {
        let table = read("report,Effusion,source_id,patient_id\nbig effusion,1,a.png,p1\n").unwrap();
        let request = &table.requests(1, 0).unwrap()[0];
        assert_eq!((request.prompt.as_str(), &request.labels[..]), ("big effusion", &[Label::Positive][..]));
        assert_eq!(request.source.as_ref().unwrap().patient_id.as_str(), "p1");
        assert_eq!(request.prompt_kind, PromptKind::Report);
        let kinds = read("prompt,prompt_kind\na,template\nb,\n").unwrap().requests(1, 0).unwrap();
        assert_eq!([kinds[0].prompt_kind, kinds[1].prompt_kind], [PromptKind::Template, PromptKind::Free]);
        assert_eq!(table.vocabulary.len(), 1);
    }

    #[test]
    fn a_table_fills_pools_of_any_size_and_vocabulary() {
        let table = read("prompt,Mass,Effusion\na,1,0\nb,0,1\n").unwrap();
        let table = table.with_vocabulary(&Vocabulary::parse(["Effusion", "Hernia"]).unwrap());
        let requests = table.of_size(5, 0).unwrap();
        let seen: Vec<_> = requests.iter().map(|r| (r.prompt.as_str(), r.replica)).collect();
        assert_eq!(seen, [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2)]);
        assert_eq!(requests[1].labels, [Label::Positive, Label::Missing]);
        let seeds: std::collections::BTreeSet<_> = requests.iter().map(|r| r.seed).collect();
        assert_eq!(seeds.len(), 5);
    }

    #[test]
    fn pools_are_nested() {
        let table = read("prompt,seed\na,\nb,\nc,5\nd,\n").unwrap();
        let largest = table.of_size(23, 7).unwrap();
        for size in 0..23 {
            assert_eq!(table.of_size(size, 7).unwrap(), largest[..size], "{size}");
        }
        // The requests of a row are the same for every count.
        for count in 1..5 {
            let requests = table.requests(count, 7).unwrap();
            assert_eq!(requests.len(), 4 * count as usize);
            assert!(requests.iter().all(|request| largest.contains(request)), "{count}");
        }
        let noise: std::collections::BTreeSet<_> = largest.iter().map(|r| (&r.prompt, r.seed)).collect();
        assert_eq!(noise.len(), 23);
        // One prompt counts on from the seed.
        let seeds: Vec<_> = PromptTable::single("x").requests(3, u64::MAX).unwrap().iter().map(|r| r.seed).collect();
        assert_eq!(seeds, [u64::MAX, 0, 1]);
    }

    #[test]
    fn numbers_at_their_limits_are_errors() {
        let table = read(&format!("prompt,replica\na,0\nb,{}\n", u32::MAX)).unwrap();
        assert_eq!(table.requests(1, 0).unwrap()[1].replica, u32::MAX);
        let error = table.requests(2, 0).unwrap_err().to_string();
        assert!(error.starts_with("replica of prompt 2 and 1 more is 4294967295;"), "{error}");
        for refused in [table.requests(u32::MAX, 0), table.of_size(usize::MAX, 0)] {
            assert!(refused.unwrap_err().to_string().contains("at most 10000000 images"));
        }
    }

    #[test]
    fn a_descendant_of_somebody_is_no_free_prompt() {
        for text in ["prompt,patient_id\na,p1\n", "prompt,source_id\na,p1\n"] {
            let source = read(text).unwrap().requests(1, 0).unwrap()[0].source.clone();
            assert_eq!(source.unwrap().patient_id.as_str(), "p1");
        }
    }

    #[test]
    fn declared_columns_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.csv");
        std::fs::write(
            &path,
            "\u{feff}prompt;Scoliosis of Mine;notes;negative_prompt;guidance\nbig, \u{201c}left\u{201d};True;hello;none;7\n",
        )
        .unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let own = OwnColumns { findings: names(&["Scoliosis of Mine"]), ignored: names(&["notes", "negative_prompt"]) };
        let table = PromptTable::read(&path, &own).unwrap();
        let request = &table.requests(1, 0).unwrap()[0];
        assert_eq!((request.prompt.as_str(), &request.labels[..]), ("big, \u{201c}left\u{201d}", &[Label::Positive][..]));
        assert_eq!(table.vocabulary.findings()[0].name(), "Scoliosis of Mine");
        let [separated, unused] = table.notes() else { panic!("{:?}", table.notes()) };
        assert!(separated.contains("`;`") && unused.contains("`guidance` of single rows are not used"), "{unused}");
    }

    #[test]
    fn bad_tables_are_named() {
        for (text, part) in [
            ("", "`prompt`"),
            ("prompt\n", "p.csv"),
            ("text\nx\n", "`prompt`"),
            ("prompt,colour\nx,red\n", "`colour`"),
            ("prompt,age\n,50\n", "row 2"),
            ("prompt,prompt_kind\nx,poem\n", "report, template or free"),
            ("prompt,seed\nx,minus one\n", "minus one"),
            ("prompt,notes\nx,y\n", "`custom_findings` of [data] (`generate --custom-finding`)"),
            ("prompt,negative_prompt\nx,y\n", "`generate --negative-prompt`"),
            ("prompt\nNone\n", "row 2, column `prompt`: found `None`, expected a prompt"),
            ("prompt,Effusion\n\"Large right effusion,1\nNormal chest,0\n\"Cardiomegaly\",0\nNormal chest,0\n", "row 2"),
        ] {
            let message = read(text).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
