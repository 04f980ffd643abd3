//! Features that are kept: one safetensors file per network and preparation, by the digest of each image.
//!
//! While they are made, rows go to a journal beside the file, one after the other, so that whatever stops the program costs a batch. The
//! journal becomes part of the file at the end, or at the next start.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use roentgen_augment::atomic::write_atomic;
use roentgen_augment::digest::Fingerprint;
use safetensors::tensor::Metadata;
use serde::{Deserialize, Serialize};

use super::{FeatureError, FeatureNetwork};
use crate::run_folder::FolderLock;

/// The one metadata key, as in files of weights.
const METADATA_KEY: &str = "roentgen";
const FORMAT: &str = "roentgen-features";
const VERSION: u32 = 1;

/// Largest header that is read, in bytes.
const MOST_HEADER: u64 = 1 << 20;

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Bytes that guard a row of the journal.
const CHECK: usize = 8;

/// Bytes that are copied at a time.
const COPY: usize = 1 << 20;

/// What the file says of itself.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Card {
    format: String,
    version: u32,
    network: String,
    preparation: String,
    fingerprint: String,
}

/// The kept features of one network, open for one process.
#[derive(Debug)]
pub(super) struct FeatureStore {
    path: PathBuf,
    journal_path: PathBuf,
    card: Card,
    fingerprint: Fingerprint,
    width: usize,
    kept: Option<Kept>,
    /// The rows of the file, by image.
    places: HashMap<[u8; DIGEST], u64>,
    journal: Option<File>,
    /// Another process waits until this one is done.
    _lock: FolderLock,
}

/// The file as it is.
#[derive(Debug)]
struct Kept {
    file: File,
    rows: u64,
    /// Where the features begin, and where the digests do.
    features: u64,
    digests: u64,
    /// Room for one row's bytes.
    row: Vec<u8>,
}

impl FeatureStore {
    /// Opens what `folder` keeps of `network`, and takes in what an interrupted run left.
    ///
    /// # Errors
    /// [`FeatureError::Store`] for a file that is damaged or another network's.
    pub(super) fn open(folder: &Path, network: &dyn FeatureNetwork) -> Result<Self, FeatureError> {
        let fingerprint = network.fingerprint();
        let name = format!("{}-{:.16}", network.name(), fingerprint.to_string());
        let lock = FolderLock::wait(folder, &format!(".{name}.lock")).map_err(|error| FeatureError::Store {
            action: "write",
            path: folder.to_owned(),
            cause: error.to_string(),
        })?;
        let card = Card {
            format: FORMAT.to_owned(),
            version: VERSION,
            network: network.name().to_owned(),
            preparation: network.preparation(),
            fingerprint: fingerprint.to_string(),
        };
        let (path, journal_path) = (folder.join(format!("{name}.safetensors")), folder.join(format!("{name}.part")));
        let (kept, places, journal, width) = (None, HashMap::new(), None, network.width());
        let mut store = Self { path, journal_path, card, fingerprint, width, kept, places, journal, _lock: lock };
        store.reopen()?;
        store.merge()?;
        Ok(store)
    }

    /// The file that keeps them.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the features of an image are there.
    pub(super) fn has(&self, digest: &Fingerprint) -> bool {
        self.places.contains_key(&digest.0)
    }

    /// Appends the features of an image to `row`, if they are there.
    ///
    /// # Errors
    /// [`FeatureError::Store`].
    pub(super) fn read(&mut self, digest: &Fingerprint, row: &mut Vec<f32>) -> Result<bool, FeatureError> {
        let (Some(kept), Some(place)) = (&mut self.kept, self.places.get(&digest.0)) else { return Ok(false) };
        let Kept { file, features, row: bytes, .. } = kept;
        let found = file.seek(SeekFrom::Start(*features + place * bytes.len() as u64));
        found.and_then(|_| file.read_exact(bytes)).map_err(|error| failed("read", &self.path)(error))?;
        row.extend(floats(bytes));
        Ok(true)
    }

    /// Keeps the features of images, so that they survive a kill.
    ///
    /// # Errors
    /// [`FeatureError::Store`].
    pub(super) fn keep(&mut self, digests: &[Fingerprint], values: &[f32]) -> Result<(), FeatureError> {
        let mut rows = Vec::new();
        for (digest, row) in digests.iter().zip(values.chunks_exact(self.width)) {
            let begin = rows.len();
            rows.extend_from_slice(&digest.0);
            rows.extend(row.iter().flat_map(|value| value.to_le_bytes()));
            let check = check(&self.fingerprint, &rows[begin..]);
            rows.extend_from_slice(&check);
        }
        self.append(&rows).map_err(failed("write", &self.journal_path))
    }

    fn append(&mut self, rows: &[u8]) -> io::Result<()> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            None => self.journal.insert(File::options().create(true).append(true).open(&self.journal_path)?),
        };
        journal.write_all(rows)?;
        journal.sync_data()
    }

    /// Makes the journal part of the file.
    ///
    /// # Errors
    /// [`FeatureError::Store`].
    pub(super) fn finish(&mut self) -> Result<(), FeatureError> {
        self.journal = None;
        self.merge()
    }

    fn merge(&mut self) -> Result<(), FeatureError> {
        let failed_to_read = failed("read", &self.journal_path);
        let mut journal = match File::open(&self.journal_path) {
            Ok(journal) => journal,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed_to_read(error)),
        };
        // Which rows are whole and new, and where they are. A row that a kill cut short ends the journal.
        let length = DIGEST + 4 * self.width + CHECK;
        let (mut bytes, mut new, mut place) = (vec![0; length], Vec::new(), 0u64);
        let mut seen = self.places.clone();
        loop {
            match journal.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(failed_to_read(error)),
            }
            let (row, found) = bytes.split_at(length - CHECK);
            if check(&self.fingerprint, row) != found {
                break;
            }
            let digest: [u8; DIGEST] = row[..DIGEST].try_into().expect("a row begins with its digest");
            if seen.insert(digest, 0).is_none() {
                new.push((digest, place));
            }
            place += length as u64;
        }
        if !new.is_empty() {
            self.write(&mut journal, &new)?;
        }
        drop(journal);
        fs::remove_file(&self.journal_path).map_err(failed("write", &self.journal_path))?;
        self.reopen()
    }

    /// Writes the file anew, with the rows of the journal behind its own.
    fn write(&mut self, journal: &mut File, new: &[([u8; DIGEST], u64)]) -> Result<(), FeatureError> {
        let old = self.kept.as_ref().map_or(0, |kept| kept.rows);
        let rows = old + new.len() as u64;
        let row = 4 * self.width as u64;
        let header = header(&self.card, rows, self.width);
        let kept = &mut self.kept;
        let written = write_atomic(&self.path, |out| {
            out.write_all(&(header.len() as u64).to_le_bytes())?;
            out.write_all(&header)?;
            let mut bytes = vec![0; row as usize];
            if let Some(kept) = kept {
                copy(&mut kept.file, kept.features, old * row, out)?;
            }
            for (_, place) in new {
                journal.seek(SeekFrom::Start(place + DIGEST as u64))?;
                journal.read_exact(&mut bytes)?;
                out.write_all(&bytes)?;
            }
            if let Some(kept) = kept {
                copy(&mut kept.file, kept.digests, old * DIGEST as u64, out)?;
            }
            new.iter().try_for_each(|(digest, _)| out.write_all(digest))
        });
        written.map_err(failed("write", &self.path))
    }

    fn reopen(&mut self) -> Result<(), FeatureError> {
        self.places.clear();
        self.kept = None;
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &self.path)(error)),
        };
        let bad = |cause: String| FeatureError::Store {
            action: "read",
            path: self.path.clone(),
            cause: format!("{cause}; delete the file, and the features are made again"),
        };
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| bad("it is cut short".to_owned()))?;
        let length = u64::from_le_bytes(length);
        if length > MOST_HEADER {
            return Err(bad("it is no safetensors file".to_owned()));
        }
        let mut head = Vec::new();
        (&mut file).take(length).read_to_end(&mut head).map_err(failed("read", &self.path))?;
        if (head.len() as u64) < length {
            return Err(bad("it is cut short".to_owned()));
        }
        let metadata: Metadata =
            serde_json::from_slice(&head).map_err(|error| bad(format!("its header is damaged ({error})")))?;
        let card = metadata.metadata().as_ref().and_then(|notes| notes.get(METADATA_KEY));
        let card = card
            .and_then(|text| serde_json::from_str::<Card>(text).ok())
            .ok_or_else(|| bad("it is no file of features".to_owned()))?;
        if card != self.card {
            return Err(bad(format!("its features are of {} ({})", card.network, card.preparation)));
        }
        let info = |name: &str| metadata.info(name).cloned().ok_or_else(|| bad(format!("it has no tensor `{name}`")));
        let (features, digests) = (info("features")?, info("digests")?);
        let rows = features.shape.first().copied().unwrap_or_default();
        if features.shape != [rows, self.width] || digests.shape != [rows, DIGEST] {
            return Err(bad(format!("its tensors have the shapes {:?} and {:?}", features.shape, digests.shape)));
        }
        let begin = 8 + length;
        let (features, digests) = (begin + features.data_offsets.0 as u64, begin + digests.data_offsets.0 as u64);
        let size = file.metadata().map_err(failed("read", &self.path))?.len();
        if size < digests + (rows * DIGEST) as u64 {
            return Err(bad("it is cut short".to_owned()));
        }
        let mut names = Vec::new();
        file.seek(SeekFrom::Start(digests)).map_err(failed("read", &self.path))?;
        (&mut file).take((rows * DIGEST) as u64).read_to_end(&mut names).map_err(failed("read", &self.path))?;
        self.places = names.as_chunks::<DIGEST>().0.iter().copied().zip(0..).collect();
        self.kept = Some(Kept { file, rows: rows as u64, features, digests, row: vec![0; 4 * self.width] });
        Ok(())
    }
}

/// The header of a file of `rows` rows: safetensors' own JSON, padded to whole words.
fn header(card: &Card, rows: u64, width: usize) -> Vec<u8> {
    let card = serde_json::to_string(card).expect("a card is plain data");
    let features = rows * 4 * width as u64;
    let header = serde_json::json!({
        "__metadata__": { METADATA_KEY: card },
        "features": { "dtype": "F32", "shape": [rows, width], "data_offsets": [0, features] },
        "digests": { "dtype": "U8", "shape": [rows, DIGEST], "data_offsets": [features, features + rows * DIGEST as u64] },
    });
    let mut header = header.to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

fn copy(from: &mut File, begin: u64, length: u64, to: &mut impl Write) -> io::Result<()> {
    from.seek(SeekFrom::Start(begin))?;
    let mut bytes = vec![0; COPY];
    let mut left = length;
    while left > 0 {
        let part = left.min(COPY as u64) as usize;
        from.read_exact(&mut bytes[..part])?;
        to.write_all(&bytes[..part])?;
        left -= part as u64;
    }
    Ok(())
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
}

fn check(fingerprint: &Fingerprint, row: &[u8]) -> [u8; CHECK] {
    let digest = Fingerprint::of(&[b"roentgen features 1", &fingerprint.0, row]);
    digest.0[..CHECK].try_into().expect("a digest has 32 bytes")
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> FeatureError + use<> {
    let path = path.to_owned();
    move |cause| FeatureError::Store { action, path: path.clone(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use roentgen_augment::image::RgbImage;
    use safetensors::SafeTensors;

    use super::*;

    /// Two features of every image: its size.
    struct Sizes(&'static str);

    impl FeatureNetwork for Sizes {
        fn name(&self) -> &str {
            "sizes"
        }

        fn preparation(&self) -> String {
            self.0.to_owned()
        }

        fn width(&self) -> usize {
            2
        }

        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::of(&[b"sizes"])
        }

        fn features(&self, images: &[RgbImage]) -> Result<Vec<f32>, FeatureError> {
            Ok(images.iter().flat_map(|image| [image.width as f32, image.height as f32]).collect())
        }
    }

    fn image(number: u8) -> Fingerprint {
        Fingerprint::of(&[&[number]])
    }

    fn read(store: &mut FeatureStore, number: u8) -> Option<Vec<f32>> {
        let mut row = Vec::new();
        store.read(&image(number), &mut row).unwrap().then_some(row)
    }

    #[test]
    fn rows_survive_with_and_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let open = || FeatureStore::open(folder.path(), &Sizes("as they are")).unwrap();
        let mut store = open();
        store.keep(&[image(1), image(2)], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        store.finish().unwrap();
        assert_eq!(read(&mut store, 2), Some(vec![3.0, 4.0]));
        // Killed: no end, and the last row cut short.
        store.keep(&[image(3), image(1)], &[5.0, 6.0, 9.0, 9.0]).unwrap();
        let journal = store.journal_path.clone();
        drop(store);
        let mut cut = File::options().append(true).open(&journal).unwrap();
        cut.write_all(&[7; 40]).unwrap();
        let mut store = open();
        assert!(!journal.exists() && !store.has(&image(7)));
        assert_eq!([1, 2, 3].map(|number| read(&mut store, number).unwrap()), [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]);
        let bytes = fs::read(store.path()).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(tensors.tensor("features").unwrap().shape(), [3, 2]);
        assert_eq!(tensors.tensor("digests").unwrap().data()[..32], image(1).0);
    }

    #[test]
    fn damaged_and_foreign_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = FeatureStore::open(folder.path(), &Sizes("as they are")).unwrap();
        store.keep(&[image(1)], &[1.0, 2.0]).unwrap();
        store.finish().unwrap();
        let path = store.path().to_owned();
        drop(store);
        let error = FeatureStore::open(folder.path(), &Sizes("smaller")).unwrap_err().to_string();
        assert!(error.contains("are of sizes (as they are); delete the file"), "{error}");
        let whole = fs::read(&path).unwrap();
        for (bytes, message) in
            [(&whole[..5], "cut short"), (&whole[..whole.len() - 1], "cut short"), (b"<html> no features", "no safetensors")]
        {
            fs::write(&path, bytes).unwrap();
            let error = FeatureStore::open(folder.path(), &Sizes("as they are")).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
