//! The files of a sharded data set, and images in them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shard::Member;
use crate::AugmentError;
use crate::formats::MissingImages;
use crate::formats::folder::FolderError;
use crate::formats::table::Images;
use crate::image::{GrayImage, HEAD, ImageSource, Preprocess, deep_pixels_of, says_how_shown_of};

/// Most files of a data set.
const MOST_FILES: usize = 100_000;

/// The files with that extension that `path` names: itself, those of its pattern (`{000000..000123}`), or those in the folder and in the folders in it.
///
/// # Errors
/// [`AugmentError::BadLayout`] if there are none, or if one of the pattern is missing.
pub(in crate::formats) fn files(path: &Path, extension: &str) -> Result<Vec<PathBuf>, AugmentError> {
    let bad =
        |found: String, expected: &str| AugmentError::BadLayout { path: path.to_owned(), found, expected: expected.to_owned() };
    let ours = |path: &PathBuf| path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    if path.is_dir() {
        let (mut files, mut folders) = (Vec::new(), vec![(path.to_owned(), 0)]);
        while let Some((folder, depth)) = folders.pop() {
            let failed = |source| AugmentError::Io { action: "list", path: folder.clone(), source };
            for entry in fs::read_dir(&folder).map_err(failed)? {
                let path = entry.map_err(failed)?.path();
                let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
                match path.is_dir() {
                    _ if hidden => {}
                    true if depth < 2 => folders.push((path, depth + 1)),
                    true => {}
                    false => files.push(path),
                }
            }
        }
        files.retain(ours);
        files.sort();
        if files.is_empty() {
            return Err(bad(format!("no .{extension} file in it"), &format!("a folder with .{extension} files")));
        }
        return Ok(files);
    }
    let named = match expanded(&path.to_string_lossy()) {
        Some(names) => names,
        None => {
            return Err(bad(
                "a pattern that is none".to_owned(),
                "one range of at most 100000 numbers, such as {000000..000123}",
            ));
        }
    };
    let files: Vec<PathBuf> = named.into_iter().map(PathBuf::from).collect();
    match files.iter().find(|file| !file.is_file()) {
        None => Ok(files),
        Some(missing) => {
            Err(bad(format!("{} is not there", missing.display()), "every file that is named; fetch it, or name fewer"))
        }
    }
}

/// The names that a pattern with `{first..last}` stands for, in the digits of the first; the name itself if it has none.
fn expanded(pattern: &str) -> Option<Vec<String>> {
    let Some(start) = pattern.find('{') else { return Some(vec![pattern.to_owned()]) };
    let (before, rest) = pattern.split_at(start);
    let (range, after) = rest[1..].split_once('}')?;
    let (first, last) = range.split_once("..")?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || after.contains('{') {
        return None;
    }
    let (from, to) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
    let width = if first.starts_with('0') { first.len() } else { 0 };
    let sound = from <= to && to - from < MOST_FILES;
    sound.then(|| (from..=to).map(|number| format!("{before}{number:0width$}{after}")).collect())
}

/// The images of the rows of all shards.
pub(super) struct Shards {
    root: PathBuf,
    /// The first image of each shard.
    firsts: HashMap<PathBuf, usize>,
    paths: Vec<PathBuf>,
    /// Shard and member of each row.
    members: Vec<(u32, Option<Member>)>,
}

impl Shards {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), firsts: HashMap::new(), paths: Vec::new(), members: Vec::new() }
    }

    /// Adds the images of the rows of the next shard.
    pub(super) fn add(&mut self, path: &Path, images: Vec<Option<Member>>) {
        let shard = self.paths.len() as u32;
        self.firsts.insert(path.to_owned(), self.members.len());
        self.paths.push(path.to_owned());
        self.members.extend(images.into_iter().map(|image| (shard, image)));
    }
}

impl Images for Shards {
    type Place = (u32, Member);

    fn root(&self) -> &Path {
        &self.root
    }

    fn locate(
        &mut self,
        id: &str,
        (shard, row): (&Path, u64),
        missing: MissingImages,
    ) -> Result<Option<Self::Place>, AugmentError> {
        let place = self.firsts[shard] + row as usize - 1;
        let (number, member) = &self.members[place];
        match (member, missing) {
            (Some(member), _) => Ok(Some((*number, member.clone()))),
            (None, MissingImages::Skip) => Ok(None),
            (None, MissingImages::Refuse) => Err(FolderError::MissingImage {
                path: shard.to_owned(),
                row,
                image: id.to_owned(),
                folder: shard.to_owned(),
                hint: ": the sample has no image".to_owned(),
            }
            .into()),
            (None, MissingImages::Keep) => Ok(Some((*number, Member { name: id.to_owned(), offset: u64::MAX, length: 0 }))),
        }
    }

    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    fn source(self, places: Vec<Self::Place>) -> Arc<dyn ImageSource> {
        Arc::new(TarImages { shards: self.paths, members: places })
    }
}

/// Images in shards, read by their positions.
struct TarImages {
    shards: Vec<PathBuf>,
    members: Vec<(u32, Member)>,
}

impl TarImages {
    /// The bytes of an image, at most so many.
    fn bytes(&self, index: usize, most: u64) -> Result<Vec<u8>, AugmentError> {
        let (shard, Member { name, offset, length }) = &self.members[index];
        let path = &self.shards[*shard as usize];
        let cut = || AugmentError::BadLayout {
            path: path.clone(),
            found: format!("member `{name}` is not there, or cut off"),
            expected: "a whole tar; fetch it again".to_owned(),
        };
        if *offset == u64::MAX {
            return Err(cut());
        }
        let failed = |source| AugmentError::Io { action: "read", path: path.clone(), source };
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(*offset)).map_err(failed)?;
        let wanted = most.min(*length);
        let mut bytes = Vec::new();
        file.take(wanted).read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(cut()) }
    }

    fn head(&self, index: usize) -> Vec<u8> {
        self.bytes(index, HEAD as u64).unwrap_or_default()
    }
}

impl ImageSource for TarImages {
    fn load(&self, index: usize) -> Result<GrayImage, AugmentError> {
        GrayImage::decode(&self.bytes(index, u64::MAX)?, Path::new(&self.describe(index)))
    }

    fn load_for(&self, index: usize, preprocess: &Preprocess) -> Result<GrayImage, AugmentError> {
        GrayImage::decode_for(&self.bytes(index, u64::MAX)?, Path::new(&self.describe(index)), preprocess)
    }

    fn describe(&self, index: usize) -> String {
        let (shard, member) = &self.members[index];
        format!("{}/{}", self.shards[*shard as usize].display(), member.name)
    }

    fn deep_pixels(&self, index: usize) -> Option<usize> {
        deep_pixels_of(&self.head(index))
    }

    fn says_how_shown(&self, index: usize) -> bool {
        says_how_shown_of(&self.head(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_every_number_in_their_digits() {
        assert_eq!(expanded("a/s-{008..010}.tar").unwrap(), ["a/s-008.tar", "a/s-009.tar", "a/s-010.tar"]);
        assert_eq!(expanded("s-{8..10}.tar").unwrap(), ["s-8.tar", "s-9.tar", "s-10.tar"]);
        assert_eq!(expanded("s.tar").unwrap(), ["s.tar"]);
        for wrong in ["{1..}.tar", "{a..b}.tar", "{3..1}.tar", "{0..999999999}.tar", "{1..2}{1..2}", "{1,2}.tar", "{1..2"] {
            assert_eq!(expanded(wrong), None, "{wrong}");
        }
    }
}
