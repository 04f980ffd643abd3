//! The record of a study by `compare`, `train` and `fill`.

use std::path::Path;

use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::digest::Fingerprint;
use roentgen_classifier::weights::weights_file;
use serde_json::Value;
use toml::Table;

use super::data_record::{DataRecord, file_digest, order_digest};
use super::error::RunFolderError;
use super::record::{Found, Record};
use super::{OLD_POOLS, RunFolder};
use crate::config::RunConfig;
use crate::study::StudyData;

/// Settings that change no trained network and no score: texts, paths, names of columns, threads, statistics, the number of seeds. The rows
/// and images that they lead to are compared separately.
const MAY_CHANGE: [&str; 30] = [
    "title",
    "baseline",
    "seeds",
    "bootstrap",
    "evaluation",
    "fairness",
    "training.workers",
    "training.eval_batch_size",
    "data.name",
    "data.labels",
    "data.images",
    "data.columns",
    "data.extra_columns",
    "data.delimiter",
    "data.missing",
    "data.cache_mib",
    "network.weights",
    "gate.agreement.weights",
    "generator.cache",
    "generator.cache_mib",
    "generator.supply",
    "generator.plan.prompts",
    "generator.diffusion.pipeline",
    "generator.diffusion.unet",
    "generator.diffusion.trained_on",
    // Their content is in the generator's fingerprint.
    "generator.diffusion.lora",
    "generator.diffusion.embedding",
    "generator.diffusion.init_image",
    "generator.diffusion.offload",
    // Every row that it leads to is compared.
    "generator.images",
];

/// The same for named tables.
const MAY_CHANGE_IN_ARMS: [&str; 2] = ["arms.*.description", "arm.description"];

/// The starting command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudyCommand {
    /// `compare`: every arm and seed, in a separate folder each.
    Compare,
    /// `fill`: samples for a comparison. Several processes may do so at once.
    Fill,
    /// `train`: one arm with one seed, the only ones in the configuration.
    Train,
}

/// A start of a study.
pub struct StudyStart<'a> {
    /// Which command.
    pub command: StudyCommand,
    /// Settings.
    pub config: &'a RunConfig,
    /// Its images.
    pub study: &'a StudyData,
}

impl StudyStart<'_> {
    /// Images that [`open`](Self::open) looks at.
    #[must_use]
    pub fn rows(&self) -> usize {
        let pool = self.study.images.as_ref().map_or(0, |pool| pool.data().rows().len());
        self.sets().iter().map(|data| data.rows().len()).sum::<usize>() + pool
    }

    fn sets(&self) -> [&CxrDataset; 3] {
        let StudyData { train, splits, .. } = self.study;
        [train.data(), splits.valid().data(), splits.test().data()]
    }

    /// Locks `path` for this start, creating it if it is missing, and compares it with earlier ones; `progress` is called after
    /// each row whose image was digested or found unchanged.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`] names everything that changed; [`RunFolderError::Busy`]; and whatever else is wrong with the folder
    /// or an image.
    pub fn open(&self, path: &Path, progress: &(dyn Fn() + Sync)) -> Result<RunFolder, RunFolderError> {
        let mut folder = match self.command {
            StudyCommand::Compare => RunFolder::take(path, "compare")?,
            StudyCommand::Train => RunFolder::take(path, "train")?,
            StudyCommand::Fill => RunFolder::share(path)?,
        };
        let _settled = folder.settle()?;
        let earlier = match folder.found()? {
            None => None,
            Some(Found::Record(record)) => {
                folder.config(false)?;
                Some(*record)
            }
            Some(Found::Old(value)) => Some(self.old(&mut folder, &value)?),
        };
        let mut now = record(self.command, self.config);
        // Before every image is read.
        if let Some(earlier) = &earlier {
            folder.refuse(earlier.settings_differences(&now))?;
        }
        let drawn = self.config.data.is_phantom();
        let known = folder.known_data(earlier.as_ref())?;
        let mut data = DataRecord::of_sets(self.sets(), drawn, &known, progress)?;
        if let Some(pool) = &self.study.images {
            data.add_pool(pool.data(), &known, progress)?;
            folder.notes.extend(data.check_copies()?);
        }
        now.digests.insert("data".to_owned(), data.digest_of_all().to_string());
        now.digests.insert("order of the rows".to_owned(), self.order().to_string());
        let findings: Vec<_> = self.study.train.data().vocabulary().findings().iter().map(|finding| finding.name()).collect();
        now.digests.insert("findings".to_owned(), findings.join(", "));
        let weights = [
            ("file of network.weights", &self.config.network.weights),
            ("file of gate.agreement.weights", &self.config.gate.agreement.weights),
        ];
        for (name, path) in weights {
            if let Some(path) = path {
                now.digests.insert(name.to_owned(), file_digest(&weights_file(path)?)?.to_string());
            }
        }
        folder.begin(now, earlier, &data, &self.config.to_toml())?;
        Ok(folder)
    }

    fn order(&self) -> Fingerprint {
        let pool = self.study.images.iter().map(|pool| pool.data());
        let sets = self.sets().into_iter().chain(pool);
        order_digest(sets.flat_map(|data| data.rows().iter().map(|row| row.record.id.as_str())))
    }

    /// The record of version 0.1.0: `run.json` with one digest of the settings and one of names, patients and labels, beside
    /// `config.toml` and `pools.json`.
    fn old(&self, folder: &mut RunFolder, value: &Value) -> Result<Record, RunFolderError> {
        let of_train = ["model.safetensors", "checkpoints"].iter().any(|name| folder.path().join(name).exists());
        if self.command == StudyCommand::Train || of_train {
            let writer = "version 0.1.0".to_owned();
            return Err(folder.other_version(writer, "which did not record the seed that `train` was given"));
        }
        let text = folder.config(true)?.unwrap_or_default();
        let path = folder.path().join(super::CONFIG);
        let config = RunConfig::parse(&text, &path, Path::new("")).map_err(|error| RunFolderError::Damaged {
            path,
            what: "the settings of a run",
            message: error.to_string(),
            remedy: "restore the file, which alone has the settings, or give another --out",
        })?;
        let mut earlier = record(self.command, &config);
        let (recorded, now) = (value.get("data").and_then(Value::as_str), self.old_data_digest().to_string());
        if recorded != Some(&now) {
            let recorded = recorded.map(str::to_owned);
            let key = "names, patients, labels and splits of the data";
            folder.refuse(vec![super::Difference::value(key, recorded.as_ref(), Some(&now))])?;
        }
        if let Some(text) = folder.read(OLD_POOLS)? {
            let pools: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&text).map_err(|error| RunFolderError::Damaged {
                    path: folder.path().join(OLD_POOLS),
                    what: "the digests of synthetic images",
                    message: error.to_string(),
                    remedy: "give another --out, or delete the folder to start again",
                })?;
            earlier.claims.extend(pools.into_iter().map(|(arm, digest)| (synthetic_of(&arm), digest)));
        }
        earlier.is_partial = true;
        folder.note_old("images, ages, views, texts, starting weights and device");
        Ok(earlier)
    }

    fn old_data_digest(&self) -> Fingerprint {
        let mut text = String::new();
        for (name, data) in ["train", "valid", "test"].into_iter().zip(self.sets()) {
            for row in data.rows() {
                let record = &row.record;
                let patient = record.patient_id.as_ref().map_or("", |patient| patient.as_str());
                let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
                text.push_str(&format!("{name}\t{}\t{patient}\t{}\n", record.id, labels.join(",")));
            }
        }
        Fingerprint::of(&[text.as_bytes()])
    }
}

impl RunFolder {
    /// Claims the folder for runs on that kind of device: other devices give other bits.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`].
    pub fn claim_device(&self, device: crate::device::DeviceChoice) -> Result<(), RunFolderError> {
        let name = device.to_string();
        self.claim("device", name.split(':').next().unwrap_or(&name))
    }

    /// Claims the folder for runs of an arm with those synthetic images.
    ///
    /// # Errors
    /// [`RunFolderError::OtherRun`] if it was claimed for others: runs of two generators would be mixed.
    pub fn claim_synthetic(&self, arm: &str, images: Fingerprint) -> Result<(), RunFolderError> {
        self.claim(&synthetic_of(arm), &images.to_string())
    }
}

fn synthetic_of(arm: &str) -> String {
    format!("synthetic images of arm `{arm}` (the generator's weights or sampling, the prompts, or what the gate let through)")
}

/// The settings of a study, arms by their names; of `train` the one arm and the one seed.
fn record(command: StudyCommand, config: &RunConfig) -> Record {
    let mut table: Table = toml::from_str(&config.to_toml()).expect("what was written can be read");
    let arms = match table.remove("arms") {
        Some(toml::Value::Array(arms)) => arms,
        _ => Vec::new(),
    };
    let name = |arm: &toml::Value| arm.get("name").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let command = if command == StudyCommand::Train {
        table.remove("baseline");
        if let Some(toml::Value::Array(seeds)) = table.remove("seeds") {
            table.extend(seeds.into_iter().take(1).map(|seed| ("seed".to_owned(), seed)));
        }
        table.extend(arms.into_iter().take(1).map(|arm| ("arm".to_owned(), arm)));
        "train"
    } else {
        let named = arms.into_iter().map(|arm| (name(&arm), arm)).collect();
        table.insert("arms".to_owned(), toml::Value::Table(named));
        "compare"
    };
    let may_change: Vec<&str> = MAY_CHANGE.into_iter().chain(MAY_CHANGE_IN_ARMS).collect();
    Record::new(command, &table, &may_change)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../examples/demo.toml");

    fn demo() -> RunConfig {
        RunConfig::parse(DEMO, Path::new("demo.toml"), Path::new("examples")).unwrap()
    }

    fn differences(command: StudyCommand, change: impl Fn(&mut RunConfig)) -> Vec<String> {
        let mut config = demo();
        change(&mut config);
        let differences = record(command, &demo()).settings_differences(&record(command, &config));
        differences.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_what_changes_a_result_is_compared() {
        let of = |change: fn(&mut RunConfig)| differences(StudyCommand::Compare, change);
        let same: [fn(&mut RunConfig); 10] = [
            |_| {},
            |config| config.title = "Another".into(),
            |config| config.seeds.push(9),
            |config| config.bootstrap.replicates = 7,
            |config| config.fairness.ages = vec![65],
            |config| config.data.extra_columns = vec!["site".into()],
            |config| config.data.labels = Some("elsewhere.csv".into()),
            |config| config.arms[0].description = "Words".into(),
            |config| config.generator.as_mut().unwrap().diffusion.as_mut().unwrap().pipeline = "elsewhere".into(),
            |config| config.training.workers = 7,
        ];
        same.into_iter().for_each(|change| assert_eq!(of(change), [""; 0]));
        assert_eq!(of(|config| config.training.learning_rate = 1e-4).len(), 1);
        assert_eq!(of(|config| config.data.phantom.seed += 1).len(), 1);
        assert_eq!(of(|config| config.preprocess.size = 96).len(), 1);
        let name = demo().arms[1].name.clone();
        let said = of(|config| config.arms[1].pool = Some(5));
        assert!(said.len() == 1 && said[0].contains(&name) && said[0].ends_with("now 5"), "{said:?}");
    }

    #[test]
    fn one_run_is_of_its_arm_and_seed() {
        let of = |change: fn(&mut RunConfig)| differences(StudyCommand::Train, change);
        let said = of(|config| config.seeds[0] = 77);
        assert!(said.len() == 1 && said[0].starts_with("seed: ") && said[0].ends_with("now 77"), "{said:?}");
        assert!(of(|config| drop(config.arms.remove(0))).iter().any(|line| line.starts_with("arm.name: ")));
        assert_eq!(of(|config| config.baseline = "other".into()), [""; 0]);
    }
}
