//! The `[data]` table for files whose layout is guessed.

use std::path::Path;

use roentgen_augment::convert::TABLE;
use roentgen_augment::dataset::SplitPlan;
use roentgen_augment::formats::{DataSource, Guess, MissingImages, guess};

use crate::config::RunConfig;
use crate::data::DataError;

/// The data set that files look like.
#[derive(Clone, Debug)]
pub struct GuessedData {
    /// Name of the layout.
    pub format: &'static str,
    /// What it was recognised by.
    pub why: String,
    /// The `[data]` table that reads it, for a run file in the folder from which the path was given.
    pub table: String,
    /// A run file of this table alone.
    pub config: RunConfig,
}

impl GuessedData {
    /// Looks at a table, an archive or a folder.
    ///
    /// # Errors
    /// As [`guess`].
    pub fn of(path: &Path) -> Result<Self, DataError> {
        let guess = guess(path)?;
        let data = guess.format.read(&DataSource { missing: MissingImages::Keep, ..guess.source.clone() })?;
        let is_split = SplitPlan::column().faults(&data).is_empty();
        let table = table(&guess, is_split);
        // What is shown is what is read.
        let config = RunConfig::parse(&table, path, Path::new("."))?;
        Ok(Self { format: guess.format.name, why: guess.why, table, config })
    }
}

fn table(guess: &Guess, is_split: bool) -> String {
    let mut lines = vec!["[data]".to_owned(), format!("format = {}", text(guess.format.name))];
    for (key, place) in [("labels", &guess.source.labels), ("images", &guess.source.images)] {
        if let Some(place) = place {
            lines.push(format!("{key} = {}", text(&place.display().to_string())));
        }
    }
    let extra = &guess.source.extra_columns;
    if !extra.is_empty() {
        let names = extra.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ");
        lines.push("# Not read. Those that are labels belong in `custom_findings`.".to_owned());
        lines.push(format!("extra_columns = [{names}]"));
    }
    finished(lines, is_split)
}

/// The `[data]` table that reads what was converted into `folder`: the project's own table there, or shards.
#[must_use]
pub fn own_table(folder: &Path, shards: bool, custom_findings: &[&str], is_split: bool) -> String {
    let (format, key, path) = match shards {
        true => ("webdataset", "images", folder.to_owned()),
        false => ("table", "labels", folder.join(TABLE)),
    };
    let mut lines = vec![
        "[data]".to_owned(),
        format!("format = {}", text(format)),
        format!("{key} = {}", text(&path.display().to_string())),
    ];
    if !custom_findings.is_empty() {
        let names = custom_findings.iter().map(|name| text(name)).collect::<Vec<_>>().join(", ");
        lines.push(format!("custom_findings = [{names}]"));
    }
    finished(lines, is_split)
}

fn finished(mut lines: Vec<String>, is_split: bool) -> String {
    if !is_split {
        lines.push("split = { by = \"patient\", valid = 0.1, test = 0.2 }".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A string as TOML writes it.
fn text(value: &str) -> String {
    toml::Value::from(value).to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::data::read;

    #[test]
    fn the_table_that_is_shown_reads_the_same_data() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("it's \"the\" table.csv");
        for name in ["a", "b"] {
            fs::write(folder.path().join(format!("{name}.png")), "").unwrap();
        }
        fs::write(&labels, "image,Mass,\"my, column\"\na.png,1,x\nb.png,0,y\n").unwrap();
        let guessed = GuessedData::of(&labels).unwrap();
        assert_eq!(guessed.format, "table");
        assert!(guessed.table.contains("extra_columns = [\"my, column\"]") && guessed.table.contains("by = \"patient\""));
        let pasted = format!("{}\n[[arms]]\nname = \"real\"\n", guessed.table);
        let pasted = RunConfig::parse(&pasted, &labels, Path::new(".")).unwrap();
        let [shown, same] =
            [&guessed.config, &pasted].map(|config| read(&config.data, config.preprocess, MissingImages::Refuse));
        let (shown, same) = (shown.unwrap(), same.unwrap());
        let rows = |data: &roentgen_augment::dataset::CxrDataset| {
            (0..data.rows().len()).map(|i| (data.record(i).as_ref().clone(), data.describe(i))).collect::<Vec<_>>()
        };
        assert_eq!(rows(&shown), rows(&same));
        assert_eq!(shown.rows().len(), 2);
    }

    #[test]
    fn splits_of_the_data_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let labels = folder.path().join("t.csv");
        let table = |splits: [&str; 3]| {
            let rows = splits.iter().enumerate().map(|(i, split)| format!("{i}.png,{i},{split},1\n"));
            fs::write(&labels, format!("image,patient_id,split,Mass\n{}", rows.collect::<String>())).unwrap();
            GuessedData::of(&labels).unwrap().table
        };
        assert!(!table(["train", "valid", "test"]).contains("split ="));
        for not_whole in [["train", "", "test"], ["train", "train", "train"]] {
            assert!(table(not_whole).contains("split = { by = \"patient\""), "{not_whole:?}");
        }
    }
}
