//! `data.csv`: the rows of a run, for training and evaluation, compared at the next start.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use roentgen_augment::AugmentError;
use roentgen_augment::atomic::write_atomic;
use roentgen_augment::dataset::CxrDataset;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::record::{CxrRecord, Split};
use serde::{Deserialize, Serialize};

use super::error::RunFolderError;

/// One image and its row, as a run uses them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedRow {
    /// Where it is.
    pub split: Split,
    /// The image's name.
    pub id: String,
    /// What changes when the image's file does, see [`stamp`]; empty for an image that is not a separate file.
    pub stamp: String,
    /// Digest of the image: of its file, or as decoded. Empty for one that the settings determine.
    pub image: String,
    /// The rest of the row: a text to learn, or labels and everything else.
    #[serde(alias = "prompt")]
    pub row: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataRecord(BTreeMap<(Split, String), RecordedRow>);

/// What the names of synthetic images begin with.
const POOL: &str = "synthetic image ";

/// Most differences of one kind that are listed.
const SPELT_OUT: usize = 5;

/// How long a file must be unchanged before its times can show a later change: the clocks of file systems tick, the
/// slowest every two seconds.
const SETTLED: Duration = Duration::from_secs(2);

impl DataRecord {
    /// A record of these rows.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = RecordedRow>) -> Self {
        Self(rows.into_iter().map(|row| ((row.split, row.id.clone()), row)).collect())
    }

    /// Every row of a study: training, validation and test. Images that are files are digested, in parallel, unless `known` has a
    /// digest of the unchanged file; so are those in memory. Where `drawn` says that the settings determine every image, none is.
    ///
    /// # Errors
    /// The error of the first image that can't be read.
    pub fn of_sets(
        sets: [&CxrDataset; 3],
        drawn: bool,
        known: &Self,
        progress: &(dyn Fn() + Sync),
    ) -> Result<Self, AugmentError> {
        let mut record = Self::default();
        for (split, data) in [Split::Train, Split::Valid, Split::Test].into_iter().zip(sets) {
            record.add(data, split, "", (!drawn).then_some(known), progress)?;
        }
        Ok(record)
    }

    /// Adds the images of a pool, which may have the names of radiographs.
    ///
    /// # Errors
    /// As [`of_sets`](Self::of_sets).
    pub fn add_pool(&mut self, pool: &CxrDataset, known: &Self, progress: &(dyn Fn() + Sync)) -> Result<(), AugmentError> {
        self.add(pool, Split::Train, POOL, Some(known), progress)
    }

    fn add(
        &mut self,
        data: &CxrDataset,
        split: Split,
        prefix: &str,
        known: Option<&Self>,
        progress: &(dyn Fn() + Sync),
    ) -> Result<(), AugmentError> {
        let indices: Vec<usize> = (0..data.rows().len()).collect();
        let recorded = |&index: &usize| {
            let record = data.record(index);
            let id = format!("{prefix}{}", record.id);
            let (stamp, image) = match known {
                Some(known) => identity(data, index, (split, &id), known)?,
                None => Default::default(),
            };
            progress();
            Ok(RecordedRow { split, id, stamp, image, row: words(record) })
        };
        // The error of the first failing row wins, whichever thread was first.
        let found: Vec<Result<RecordedRow, AugmentError>> = indices.par_iter().map(recorded).collect();
        for row in found {
            let row = row?;
            self.0.insert((split, row.id.clone()), row);
        }
        Ok(())
    }

    /// Refuses a pool with a copy of a radiograph of validation or test, and gives a note on copies of training radiographs.
    ///
    /// # Errors
    /// [`RunFolderError::CopyInPool`].
    pub fn check_copies(&self) -> Result<Option<String>, RunFolderError> {
        let (pool, real): (Vec<_>, Vec<_>) = self.0.values().partition(|row| row.id.starts_with(POOL));
        // Of two radiographs with one digest, the held-out one matters.
        let mut radiographs: HashMap<&str, &RecordedRow> = HashMap::new();
        for row in real.into_iter().filter(|row| !row.image.is_empty()) {
            let first = radiographs.entry(&row.image).or_insert(row);
            if first.split == Split::Train {
                *first = row;
            }
        }
        let copies: Vec<_> = pool.iter().filter_map(|row| Some((row, radiographs.get(row.image.as_str())?))).collect();
        let name = |row: &RecordedRow| row.id.trim_start_matches(POOL).to_owned();
        let held_out: Vec<_> = copies.iter().filter(|(_, radiograph)| radiograph.split != Split::Train).collect();
        if let Some((image, radiograph)) = held_out.first() {
            return Err(RunFolderError::CopyInPool {
                images: held_out.len(),
                image: name(image),
                radiograph: radiograph.id.clone(),
                split: radiograph.split,
            });
        }
        let copies = copies.len();
        Ok((copies > 0).then(|| format!("{copies} synthetic image(s) are byte for byte files of training radiographs")))
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    /// [`RunFolderError::Io`]; [`RunFolderError::Damaged`].
    pub fn read(path: &Path) -> Result<Option<Self>, RunFolderError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunFolderError::io("read", path)(error)),
        };
        // A reader of CSV takes a quote that the end of the file leaves open for a whole field.
        if bytes.last().is_some_and(|last| *last != b'\n') {
            return Err(Self::damaged(path, "its last line is cut off".to_owned()));
        }
        let rows: Result<Vec<RecordedRow>, csv::Error> = csv::Reader::from_reader(bytes.as_slice()).deserialize().collect();
        rows.map(|rows| Some(Self::new(rows))).map_err(|error| Self::damaged(path, error.to_string()))
    }

    /// The error for a file that can't be used.
    pub(super) fn damaged(path: &Path, message: String) -> RunFolderError {
        RunFolderError::Damaged {
            path: path.to_owned(),
            what: "the rows of a run",
            message,
            remedy: "delete the file to have it written again: run.json holds a digest of it",
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`RunFolderError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), RunFolderError> {
        let write = |out: &mut io::BufWriter<&std::fs::File>| {
            let mut table = csv::Writer::from_writer(out);
            self.0.values().try_for_each(|row| table.serialize(row)).map_err(io::Error::other)?;
            table.flush()
        };
        write_atomic(path, write).map_err(RunFolderError::io("write", path))
    }

    /// The digest of an image whose file has not changed since.
    #[must_use]
    pub fn digest(&self, split: Split, id: &str, stamp: &str) -> Option<Fingerprint> {
        let row = self.0.get(&(split, id.to_owned()))?;
        (!stamp.is_empty() && row.stamp == stamp).then(|| parse(&row.image)).flatten()
    }

    /// Digest of every row with its place, but not of modification times.
    #[must_use]
    pub fn digest_of_all(&self) -> Fingerprint {
        let line = |row: &RecordedRow| format!("{}\t{}\t{}\t{}\n", row.split, row.id, row.image, row.row);
        Fingerprint::of(&[self.0.values().map(line).collect::<String>().as_bytes()])
    }

    /// How this record differs from an `earlier` one, in words; empty if training can continue on it.
    #[must_use]
    pub fn changes(&self, earlier: &Self) -> Vec<String> {
        let name = |(split, id): &(Split, String)| format!("{id} ({split})");
        let gone = earlier.0.keys().filter(|key| !self.0.contains_key(*key)).map(name);
        let new = self.0.keys().filter(|key| !earlier.0.contains_key(*key)).map(name);
        let both = || earlier.0.iter().filter_map(|(key, old)| Some((key, old, self.0.get(key)?)));
        let images = both().filter(|(_, old, now)| old.image != now.image).map(|(key, ..)| name(key));
        let rows = both().filter(|(_, old, now)| old.row != now.row);
        let rows = rows.map(|(key, old, now)| format!("{} was {:?}, now {:?}", name(key), old.row, now.row));
        [
            listed("gone", gone.collect()),
            listed("new", new.collect()),
            listed("with other content", images.collect()),
            listed("with another row", rows.collect()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

fn listed(what: &str, mut names: Vec<String>) -> Option<String> {
    let count = names.len();
    if count == 0 {
        return None;
    }
    names.truncate(SPELT_OUT);
    let more = if count > SPELT_OUT { format!(" and {} more", count - SPELT_OUT) } else { String::new() };
    let images = if count == 1 { "image" } else { "images" };
    Some(format!("{count} {images} {what}: {}{more}", names.join("; ")))
}

fn parse(digest: &str) -> Option<Fingerprint> {
    Some(Fingerprint(*blake3::Hash::from_hex(digest).ok()?.as_bytes()))
}

/// Stamp and digest of an image that `known` has under a split and a name.
fn identity(
    data: &CxrDataset,
    index: usize,
    (split, id): (Split, &str),
    known: &DataRecord,
) -> Result<(String, String), AugmentError> {
    let Some(path) = data.file(index) else {
        return Ok((String::new(), data.decode(index)?.digest().to_string()));
    };
    let stamp = stamp(path);
    let digest = match known.digest(split, id, &stamp) {
        Some(digest) => digest,
        None => file_digest(path)?,
    };
    Ok((stamp, digest.to_string()))
}

/// Digest of a file's bytes.
///
/// # Errors
/// [`AugmentError::Io`].
pub fn file_digest(path: &Path) -> Result<Fingerprint, AugmentError> {
    let mut hasher = blake3::Hasher::new();
    let read = std::fs::File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
    match read {
        Ok(_) => Ok(Fingerprint(*hasher.finalize().as_bytes())),
        Err(source) => Err(AugmentError::Io { action: "read", path: path.to_owned(), source }),
    }
}

/// Length, times of change and, on Unix, device and inode of a file: as long as none of them changes, its content counts as the
/// same.
///
/// Empty if it is not a file, and for one that was changed in the last two seconds, in which it could change again undetected.
#[must_use]
pub fn stamp(path: &Path) -> String {
    let settled = |file: &Metadata| {
        let age = SystemTime::now().duration_since(last_change(file)?).ok()?;
        (age >= SETTLED).then_some(())
    };
    let read = || {
        let file = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
        settled(&file)?;
        let modified = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(format!("{}-{}-{}", file.len(), modified.as_nanos(), place(path, &file)))
    };
    read().unwrap_or_default()
}

#[cfg(unix)]
fn last_change(file: &Metadata) -> Option<SystemTime> {
    use std::os::unix::fs::MetadataExt;
    let changed = Duration::new(file.ctime().try_into().ok()?, file.ctime_nsec().try_into().ok()?);
    Some(file.modified().ok()?.max(UNIX_EPOCH + changed))
}

#[cfg(not(unix))]
fn last_change(file: &Metadata) -> Option<SystemTime> {
    file.modified().ok()
}

/// Time of change of the inode, which no program can set back, and the inode.
#[cfg(unix)]
fn place(_: &Path, file: &Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{}.{:09}-{}-{}", file.ctime(), file.ctime_nsec(), file.dev(), file.ino())
}

#[cfg(not(unix))]
fn place(path: &Path, _: &Metadata) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    blake3::hash(path.as_os_str().as_encoded_bytes()).to_hex()[..16].to_owned()
}

/// Everything known about an image except its pixels. A report is represented by its digest: it may hold text that should not
/// be copied.
fn words(record: &CxrRecord) -> String {
    let labels: Vec<_> = record.labels.iter().map(|label| label.cell()).collect();
    let mut words = vec![format!("labels {}", labels.join(","))];
    let mut add = |name: &str, value: Option<String>| words.extend(value.map(|value| format!("{name} {value}")));
    let report = |text: &String| blake3::hash(text.as_bytes()).to_hex()[..16].to_owned();
    add("patient", record.patient_id.as_ref().map(ToString::to_string));
    add("age", record.age.map(|age| age.to_string()));
    add("sex", record.sex.map(|sex| format!("{sex:?}")));
    add("view", record.view.map(|view| format!("{view:?}")));
    add("report", record.report.as_ref().map(report));
    add("race", record.details.race.clone());
    add("template", record.details.template.as_ref().map(report));
    for detail in &record.details.findings {
        let (side, severity) = (detail.side.map(|side| side.to_string()), detail.severity.map(|severity| severity.to_string()));
        let location = detail.location.map(|location| location.to_string());
        let known: Vec<_> = severity.into_iter().chain(side).chain(location).collect();
        add(detail.finding.name(), Some(known.join(" ")));
    }
    if record.origin.is_synthetic() {
        words.push("synthetic".to_owned());
    }
    words.join(", ")
}

/// Digest of the rows' order: a run with another order is another run.
#[must_use]
pub fn order_digest<'a>(ids: impl IntoIterator<Item = &'a str>) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for id in ids {
        hasher.update(&(id.len() as u64).to_le_bytes());
        hasher.update(id.as_bytes());
    }
    Fingerprint(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, image: u8, row: &str) -> RecordedRow {
        let image = Fingerprint([image; 32]).to_string();
        RecordedRow { split: Split::Train, id: id.to_owned(), stamp: "5-1".to_owned(), image, row: row.to_owned() }
    }

    #[test]
    fn it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        assert_eq!(DataRecord::read(&path).unwrap(), None);
        let record = DataRecord::new([row("a", 1, "Clear, \"normal\" lungs."), row("b", 2, "Mass.\nNodule.")]);
        record.write(&path).unwrap();
        assert_eq!(DataRecord::read(&path).unwrap(), Some(record.clone()));
        assert_eq!(record.digest(Split::Train, "a", "5-1"), Some(Fingerprint([1; 32])));
        for (split, id, stamp) in [(Split::Valid, "a", "5-1"), (Split::Train, "c", "5-1"), (Split::Train, "a", "5-2")] {
            assert_eq!(record.digest(split, id, stamp), None);
        }
        // Version 0.1.0 of the program had another name for the last column.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("image,row", "image,prompt", 1)).unwrap();
        assert_eq!(DataRecord::read(&path).unwrap(), Some(record));
        std::fs::write(&path, &text[..text.len() / 2]).unwrap();
        let message = DataRecord::read(&path).unwrap_err().to_string();
        assert!(message.contains("data.csv") && message.contains("delete the file"), "{message}");
    }

    #[test]
    fn what_changed_is_named() {
        let old = DataRecord::new(["a", "b", "c", "d"].map(|id| row(id, 1, "Clear.")));
        let now = DataRecord::new([row("a", 1, "Clear."), row("b", 2, "Clear."), row("c", 1, "Mass."), row("e", 1, "")]);
        assert_eq!(
            now.changes(&old),
            [
                "1 image gone: d (train)",
                "1 image new: e (train)",
                "1 image with other content: b (train)",
                "1 image with another row: c (train) was \"Clear.\", now \"Mass.\""
            ]
        );
        assert!(old.changes(&old).is_empty());
        let many = DataRecord::new((0..9).map(|i| row(&i.to_string(), 1, "")));
        let changes = DataRecord::default().changes(&many);
        assert!(changes[0].contains("9 images gone") && changes[0].ends_with("and 4 more"));
    }

    #[test]
    fn a_file_is_known_again_until_anything_about_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        std::fs::write(&path, b"one").unwrap();
        assert_eq!(stamp(&path), "", "it may change again within a tick of the clock");
        std::thread::sleep(SETTLED + Duration::from_millis(50));
        let first = stamp(&path);
        assert!(!first.is_empty() && stamp(&path) == first);
        assert_eq!(stamp(folder.path()), "", "no file");
        // Other bytes of the same length under the same name, with the old times set back.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, b"two").unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
        std::thread::sleep(SETTLED + Duration::from_millis(50));
        if cfg!(unix) {
            assert_ne!(stamp(&path), first);
        }
    }

    #[test]
    fn the_order_counts_and_names_do_not_run_together() {
        assert_ne!(order_digest(["a", "b"]), order_digest(["b", "a"]));
        assert_ne!(order_digest(["ab", "c"]), order_digest(["a", "bc"]));
    }
}
