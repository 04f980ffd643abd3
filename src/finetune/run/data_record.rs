//! `data.csv`: what a run learns from, row by row, to be compared at the next start.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::digest::Fingerprint;
use roentgen_augment::record::Split;
use serde::{Deserialize, Serialize};

use super::error::RunError;

/// One image with its text, as a run uses it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedPair {
    /// Where it is.
    pub split: Split,
    /// The image's name.
    pub id: String,
    /// Length and time of change of its file; empty for an image that is no file of its own.
    pub stamp: String,
    /// Digest of the image as decoded.
    pub image: String,
    /// The text.
    pub prompt: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataRecord(BTreeMap<(Split, String), RecordedPair>);

/// Differences of one kind that are spelt out.
const SPELT_OUT: usize = 5;

impl DataRecord {
    /// A record of these pairs.
    #[must_use]
    pub fn new(pairs: impl IntoIterator<Item = RecordedPair>) -> Self {
        Self(pairs.into_iter().map(|pair| ((pair.split, pair.id.clone()), pair)).collect())
    }

    /// Reads a file; `None` if it is not there.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn read(path: &Path) -> Result<Option<Self>, RunError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(RunError::io("read", path)(error)),
        };
        let rows: Result<Vec<RecordedPair>, csv::Error> = csv::Reader::from_reader(bytes.as_slice()).deserialize().collect();
        rows.map(|rows| Some(Self::new(rows))).map_err(|error| RunError::io("read", path)(io::Error::other(error)))
    }

    /// Writes it.
    ///
    /// # Errors
    /// [`RunError::Io`].
    pub fn write(&self, path: &Path) -> Result<(), RunError> {
        let write = |out: &mut io::BufWriter<&std::fs::File>| {
            let mut table = csv::Writer::from_writer(out);
            self.0.values().try_for_each(|pair| table.serialize(pair)).map_err(io::Error::other)?;
            table.flush()
        };
        write_atomic(path, write).map_err(RunError::io("write", path))
    }

    /// The digest of an image whose file has not changed since.
    #[must_use]
    pub fn digest(&self, split: Split, id: &str, stamp: &str) -> Option<Fingerprint> {
        let pair = self.0.get(&(split, id.to_owned()))?;
        (!stamp.is_empty() && pair.stamp == stamp).then(|| parse(&pair.image)).flatten()
    }

    /// Digest of every image and text with its place; not of when files were written.
    #[must_use]
    pub fn digest_of_all(&self) -> Fingerprint {
        let line = |pair: &RecordedPair| format!("{}\t{}\t{}\t{}\n", pair.split, pair.id, pair.image, pair.prompt);
        Fingerprint::of(&[self.0.values().map(line).collect::<String>().as_bytes()])
    }

    /// How this record differs from an `earlier` one; empty if training on it goes on as before.
    #[must_use]
    pub fn changes(&self, earlier: &Self) -> Vec<String> {
        let name = |(split, id): &(Split, String)| format!("{id} ({split})");
        let gone = earlier.0.keys().filter(|key| !self.0.contains_key(*key)).map(name);
        let new = self.0.keys().filter(|key| !earlier.0.contains_key(*key)).map(name);
        let both = || earlier.0.iter().filter_map(|(key, old)| Some((key, old, self.0.get(key)?)));
        let images = both().filter(|(_, old, now)| old.image != now.image).map(|(key, ..)| name(key));
        let texts = both().filter(|(_, old, now)| old.prompt != now.prompt);
        let texts = texts.map(|(key, old, now)| format!("{} was {:?}, now {:?}", name(key), old.prompt, now.prompt));
        [
            listed("gone", gone.collect()),
            listed("new", new.collect()),
            listed("other pixels", images.collect()),
            listed("another text", texts.collect()),
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
    Some(format!("  {count} {images} {what}: {}{more}", names.join("; ")))
}

fn parse(digest: &str) -> Option<Fingerprint> {
    Some(Fingerprint(*blake3::Hash::from_hex(digest).ok()?.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, image: u8, prompt: &str) -> RecordedPair {
        let image = Fingerprint([image; 32]).to_string();
        RecordedPair { split: Split::Train, id: id.to_owned(), stamp: "5-1".to_owned(), image, prompt: prompt.to_owned() }
    }

    #[test]
    fn it_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        assert_eq!(DataRecord::read(&path).unwrap(), None);
        let record = DataRecord::new([pair("a", 1, "Clear, \"normal\" lungs."), pair("b", 2, "Mass.\nNodule.")]);
        record.write(&path).unwrap();
        assert_eq!(DataRecord::read(&path).unwrap(), Some(record.clone()));
        assert_eq!(record.digest(Split::Train, "a", "5-1"), Some(Fingerprint([1; 32])));
        for (split, id, stamp) in [(Split::Valid, "a", "5-1"), (Split::Train, "c", "5-1"), (Split::Train, "a", "5-2")] {
            assert_eq!(record.digest(split, id, stamp), None);
        }
    }

    #[test]
    fn what_changed_is_named() {
        let old = DataRecord::new(["a", "b", "c", "d"].map(|id| pair(id, 1, "Clear.")));
        let now = DataRecord::new([pair("a", 1, "Clear."), pair("b", 2, "Clear."), pair("c", 1, "Mass."), pair("e", 1, "")]);
        assert_eq!(
            now.changes(&old),
            [
                "  1 image gone: d (train)",
                "  1 image new: e (train)",
                "  1 image other pixels: b (train)",
                "  1 image another text: c (train) was \"Clear.\", now \"Mass.\""
            ]
        );
        assert!(old.changes(&old).is_empty());
        let many = DataRecord::new((0..9).map(|i| pair(&i.to_string(), 1, "")));
        assert!(
            DataRecord::default().changes(&many)[0].contains("9 images gone")
                && DataRecord::default().changes(&many)[0].ends_with("and 4 more")
        );
    }
}
