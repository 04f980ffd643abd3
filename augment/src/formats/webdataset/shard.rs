//! One shard: what its samples say, and where their images lie.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::{Map, Value};
use tar::{Archive, Entry, EntryType};

use super::member::{self, Part};
use crate::AugmentError;
use crate::formats::objects::{Keys, Objects};
use crate::formats::table::Table;

/// Most bytes of a member with text.
const MAX_TEXT: u64 = 1 << 20;
/// Most bytes of an image.
const MAX_IMAGE: u64 = 1 << 30;
/// Most samples of a shard.
const MAX_SAMPLES: usize = 10_000_000;

/// Where an image lies in its shard.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A shard that was gone through.
pub(super) struct Shard {
    pub(super) rows: Objects,
    /// The image of each row.
    pub(super) images: Vec<Option<Member>>,
}

/// What was met in all shards and is not read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Extensions of members, how many there are, and the first of them.
    others: BTreeMap<String, (usize, String)>,
    /// Shards that end without the mark of an end.
    unended: Vec<String>,
    /// Samples without any label.
    bare: usize,
}

impl Contents {
    pub(super) fn notes(&self, root: &Path) -> Vec<String> {
        let root = root.display();
        let mut notes = Vec::new();
        let others = self.others.iter().map(|(extension, (count, first))| format!("`.{extension}` ({count}, such as {first})"));
        let others = others.collect::<Vec<_>>().join(", ");
        if !others.is_empty() {
            notes.push(format!("{root}: members that are no part of a sample are not read: {others}"));
        }
        if let Some(first) = self.unended.first() {
            let count = self.unended.len();
            notes.push(format!("{root}: {count} shards such as {first} end without a tar's end mark; they may be cut off"));
        }
        if self.bare > 0 {
            notes.push(format!("{root}: {} samples have neither .json nor .cls; their labels are unknown", self.bare));
        }
        notes
    }
}

/// The sample that is being read.
#[derive(Default)]
struct Sample {
    key: String,
    extensions: HashSet<String>,
    image: Option<Member>,
    json: Option<Map<String, Value>>,
    text: Option<String>,
    class: Option<String>,
}

impl Shard {
    /// Goes through a shard from header to header.
    pub(super) fn read(path: &Path, table: &Table, keys: &mut Keys, contents: &mut Contents) -> Result<Self, AugmentError> {
        let failed = |source| AugmentError::Io { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        let length = file.metadata().map_err(failed)?.len();
        let mut start = Vec::new();
        file.by_ref().take(2).read_to_end(&mut start).map_err(failed)?;
        if start == b"\x1f\x8b" {
            return Err(bad(
                path,
                "compressed with gzip",
                "a plain tar, in which images can be found by position; run `gunzip` on it",
            ));
        }
        if !ends(&mut file, length).map_err(failed)? {
            contents.unended.push(path.display().to_string());
        }
        file.rewind().map_err(failed)?;
        let mut reading = Reading { path, table, keys, contents, done: HashSet::new(), shard: Self::empty() };
        let mut archive = Archive::new(BufReader::with_capacity(1 << 13, file));
        let mut sample = Sample::default();
        let mut last = String::new();
        let damaged = |last: &str, error: io::Error| {
            let after = if last.is_empty() { "at its beginning".to_owned() } else { format!("behind `{last}`") };
            bad(path, &format!("damaged or cut off {after} ({error})"), "a whole tar; fetch it again")
        };
        for entry in archive.entries_with_seek().map_err(failed)? {
            let mut entry = entry.map_err(|error| damaged(&last, error))?;
            last = reading.member(&mut entry, length, &mut sample)?;
        }
        reading.finish(sample)?;
        if reading.shard.images.is_empty() {
            return Err(bad(path, "without a sample", "files of one stem, such as a.png and a.json"));
        }
        Ok(reading.shard)
    }

    fn empty() -> Self {
        Self { rows: Objects::default(), images: Vec::new() }
    }
}

/// Whether the last block is empty, as a tar's end is.
fn ends(file: &mut File, length: u64) -> io::Result<bool> {
    let Some(start) = length.checked_sub(512) else { return Ok(false) };
    file.seek(SeekFrom::Start(start))?;
    let mut block = Vec::new();
    file.by_ref().take(512).read_to_end(&mut block)?;
    Ok(block.iter().all(|byte| *byte == 0))
}

fn bad(path: &Path, found: &str, expected: &str) -> AugmentError {
    AugmentError::BadLayout { path: path.to_owned(), found: found.to_owned(), expected: expected.to_owned() }
}

struct Reading<'a> {
    path: &'a Path,
    table: &'a Table,
    keys: &'a mut Keys,
    contents: &'a mut Contents,
    /// Stems of samples that are complete.
    done: HashSet<String>,
    shard: Shard,
}

impl Reading<'_> {
    /// Reads a member, and gives its name.
    fn member(&mut self, entry: &mut Entry<'_, impl Read>, shard: u64, sample: &mut Sample) -> Result<String, AugmentError> {
        let name = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").to_owned();
        let kind = entry.header().entry_type();
        if kind == EntryType::Directory || kind == EntryType::XGlobalHeader {
            return Ok(name);
        }
        let shown: String = name.chars().take(100).collect();
        if !member::is_sound(&name) {
            let expected = "names of files below the folder in which it is unpacked; make the shard again";
            return Err(bad(
                self.path,
                &format!("member `{}` has a name that leads elsewhere", shown.escape_debug()),
                expected,
            ));
        }
        if !matches!(kind, EntryType::Regular | EntryType::Continuous) {
            let expected = "files alone: no links, sparse files or devices";
            return Err(bad(self.path, &format!("member `{shown}` is no plain file"), expected));
        }
        let (offset, length) = (entry.raw_file_position(), entry.size());
        if offset.checked_add(length).is_none_or(|end| end > shard) {
            return Err(bad(self.path, &format!("member `{shown}` is cut off"), "a whole tar; fetch it again"));
        }
        let Some((key, extension)) = member::divided(&name) else {
            self.other(&name, "");
            return Ok(name);
        };
        let part = member::part(&extension);
        if part == Part::Other {
            self.other(&name, &extension);
            return Ok(name);
        }
        if key != sample.key {
            let before = std::mem::take(sample);
            self.finish(before)?;
            key.clone_into(&mut sample.key);
        }
        if self.done.contains(key) {
            let found = format!("the files of sample `{shown}` don't follow each other, or it is there twice");
            return Err(bad(self.path, &found, "each sample once, its files together, as `tar --sort=name` writes them"));
        }
        if !sample.extensions.insert(extension) {
            return Err(bad(self.path, &format!("member `{shown}` is there twice"), "each member once; make the shard again"));
        }
        let most = if part == Part::Image { MAX_IMAGE } else { MAX_TEXT };
        if length > most {
            return Err(bad(self.path, &format!("member `{shown}` has {length} bytes"), &format!("at most {most}")));
        }
        match part {
            Part::Image => {
                if let Some(first) = &sample.image {
                    let found = format!("members `{}` and `{shown}` are two images of one sample", first.name);
                    return Err(bad(self.path, &found, "one; which is the radiograph can't be known"));
                }
                sample.image = Some(Member { name: name.clone(), offset, length });
            }
            Part::Json => {
                let text = self.text(entry, &shown)?;
                let object = serde_json::from_str(&text).map_err(|error| {
                    let found =
                        format!("member `{shown}` is no JSON object (line {}, column {})", error.line(), error.column());
                    bad(self.path, &found, "an object such as {\"Mass\": 1, \"patient_id\": \"7\"}")
                })?;
                sample.json = Some(object);
            }
            Part::Text => sample.text = Some(self.text(entry, &shown)?),
            _ => sample.class = Some(self.text(entry, &shown)?),
        }
        Ok(name)
    }

    fn other(&mut self, name: &str, extension: &str) {
        let place = format!("{} in {}", name, self.path.display());
        // Names may be endless.
        if self.contents.others.len() < 20 || self.contents.others.contains_key(extension) {
            self.contents.others.entry(extension.to_owned()).or_insert((0, place)).0 += 1;
        }
    }

    fn text(&self, entry: &mut Entry<'_, impl Read>, shown: &str) -> Result<String, AugmentError> {
        let mut bytes = Vec::new();
        let failed = |source| AugmentError::Io { action: "read", path: self.path.to_owned(), source };
        entry.take(MAX_TEXT).read_to_end(&mut bytes).map_err(failed)?;
        String::from_utf8(bytes)
            .map(|text| text.trim_start_matches('\u{feff}').trim().to_owned())
            .map_err(|_| bad(self.path, &format!("member `{shown}` is not UTF-8"), "text in UTF-8"))
    }

    /// Makes a row of a sample.
    fn finish(&mut self, sample: Sample) -> Result<(), AugmentError> {
        if sample.extensions.is_empty() {
            return Ok(());
        }
        let Sample { key, image, json, text, class, .. } = sample;
        if self.shard.images.len() == MAX_SAMPLES {
            return Err(bad(self.path, &format!("more than {MAX_SAMPLES} samples"), "several shards"));
        }
        let rows = &mut self.shard.rows;
        rows.begin(self.shard.images.len() as u64 + 1);
        let file = self.path.file_name().unwrap_or_default().to_string_lossy();
        // What is unknown of an image is its place alone.
        let name = image.as_ref().map_or(&key, |image| &image.name);
        self.contents.bare += usize::from(json.is_none() && class.is_none());
        if let Some(mut object) = json {
            // Its name in another place, which is not where it is now.
            for column in ["image", "file_name"] {
                object.remove(column);
            }
            rows.put_all(self.keys, &object);
        }
        rows.put(self.keys, "image", format!("{file}/{name}"));
        if let Some(text) = text {
            rows.put(self.keys, self.table.report.as_deref().unwrap_or("report"), text);
        }
        if let Some(class) = class {
            let number = class.parse::<u32>().ok();
            let findings = self.table.findings.as_ref().map_or(&[][..], |findings| findings.findings());
            match (number, findings) {
                (None, _) => rows.put(self.keys, "label", class),
                (Some(number @ (0 | 1)), [finding]) => rows.put(self.keys, finding.name(), number.to_string()),
                _ => {
                    let found = format!("member `{key}.cls` is a number, and nothing says what class it is");
                    let expected =
                        "names of findings in .cls, columns in .json, or 0 and 1 with one name in the key `findings` of [data]";
                    return Err(bad(self.path, &found, expected));
                }
            }
        }
        self.shard.images.push(image);
        self.done.insert(key);
        Ok(())
    }
}
