//! The cache of the Hugging Face libraries, which other programs read and write too.
//!
//! ```text
//! models--OWNER--NAME/refs/main               the commit that a branch or tag had when it was last asked for
//! models--OWNER--NAME/snapshots/COMMIT/…      the files of a commit, links to
//! models--OWNER--NAME/blobs/ETAG              their contents, once each; ETAG.incomplete while one is downloaded
//! .locks/models--OWNER--NAME/ETAG.lock        held by the process that downloads it
//! ```
//!
//! Reference: huggingface_hub 2.4.0, `file_download.py`.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use roentgen_classifier::weights::open_safetensors;
use serde::Deserialize;

use super::error::HubError;
use super::name::{HubName, is_commit};
use super::want::{Wanted, join};

/// The folder of a cache, usually `~/.cache/huggingface/hub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

/// What the cache has of one repository.
#[derive(Clone, Debug)]
pub(super) struct CachedRepository {
    /// `models--OWNER--NAME`.
    pub(super) root: PathBuf,
}

/// A commit with every file that is wanted.
#[derive(Clone, Debug)]
pub(super) struct Complete {
    pub(super) commit: String,
    /// Whether weights are of another variant than was asked for, which the hub may have.
    #[cfg_attr(not(feature = "hub"), expect(dead_code, reason = "the hub is never asked"))]
    pub(super) is_second_choice: bool,
}

/// Deepest folder of a snapshot that is looked into.
const DEPTH: usize = 8;

impl Cache {
    /// The cache in that folder, which need not exist.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn repository(&self, name: &HubName) -> CachedRepository {
        CachedRepository { root: self.root.join(folder_name(name)) }
    }
}

pub(super) fn folder_name(name: &HubName) -> String {
    format!("models--{}", name.repository().replace('/', "--"))
}

/// The model of the hub that a folder of a cache holds, with its commit: `owner/name@commit`, and `:folder` for one in it; `None` for
/// other folders.
#[must_use]
pub fn snapshot_name(folder: &Path) -> Option<String> {
    let parts: Vec<&str> = folder
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str().unwrap_or_default(),
            _ => "",
        })
        .collect();
    let at = parts.iter().rposition(|part| *part == "snapshots")?;
    let (repository, commit) = (parts.get(at.checked_sub(1)?)?, parts.get(at + 1)?);
    let (owner, name) = repository.strip_prefix("models--")?.split_once("--")?;
    if !is_commit(commit) {
        return None;
    }
    let name: HubName = format!("{owner}/{name}@{commit}").parse().ok()?;
    Some(name.with_folder(&parts[at + 2..].join("/")).to_string())
}

impl CachedRepository {
    /// The commit of a revision, if the cache knows it.
    ///
    /// # Errors
    /// [`HubError::Io`] for a file that can't be read.
    pub(super) fn commit(&self, revision: &str) -> Result<Option<String>, HubError> {
        if is_commit(revision) {
            return Ok(Some(revision.to_owned()));
        }
        let path = self.reference(revision);
        match std::fs::read_to_string(&path) {
            // Other programs write it in place: one that is torn counts as none.
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|commit| is_commit(commit))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(HubError::io("read", &path)(error)),
        }
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// Commits of which the cache has files, and the names of revisions.
    fn known(&self) -> String {
        let list = |folder: &str| {
            let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names.join(", ")
        };
        let (refs, commits) = (list("refs"), list("snapshots"));
        match (refs.is_empty(), commits.is_empty()) {
            (_, true) => "nothing of it is there".to_owned(),
            (true, false) => format!("commits {commits} are there: name one after an @"),
            (false, false) => format!("revisions {refs} and commits {commits} are there"),
        }
    }

    /// The commit whose files are all there that are wanted, or why none is.
    ///
    /// # Errors
    /// [`HubError::Io`] for a file or a folder that can't be read.
    pub(super) fn complete(&self, name: &HubName, wanted: &Wanted) -> Result<Result<Complete, String>, HubError> {
        let Some(commit) = self.commit(name.revision())? else {
            return Ok(Err(format!("it has no revision `{}`; {}", name.revision(), self.known())));
        };
        let snapshot = self.snapshot(&commit);
        if !snapshot.is_dir() {
            return Ok(Err(format!("it has no files of {commit}; {}", self.known())));
        }
        let names = names(&snapshot)?;
        let needed = match wanted.files(name.folder(), &names) {
            Ok(needed) => needed,
            Err(lack) => return Ok(Err(self.why(&snapshot, &lack.missing))),
        };
        let mut weights = needed.weights;
        for index in &needed.indices {
            match std::fs::read(snapshot.join(index)).ok().and_then(|text| shards(index, &text)) {
                Some(shards) => weights.extend(shards),
                None => return Ok(Err(format!("{index} is no index of shards"))),
            }
        }
        let missing = weights.iter().find(|file| !names.contains(*file));
        let damaged = || weights.iter().find(|file| is_damaged(&snapshot.join(file)));
        Ok(match missing.or_else(damaged) {
            Some(file) => Err(self.why(&snapshot, file)),
            None => Ok(Complete { commit, is_second_choice: needed.is_second_choice }),
        })
    }

    /// What is wrong with a file of a snapshot.
    fn why(&self, snapshot: &Path, file: &str) -> String {
        let path = snapshot.join(file);
        let blobs = std::fs::read_dir(self.root.join("blobs")).into_iter().flatten().flatten();
        let interrupted = blobs.map(|entry| entry.path()).find(|path| path.extension().is_some_and(|end| end == "incomplete"));
        if path.is_file() {
            return format!("{file} is cut short or damaged");
        }
        match (path.is_symlink(), interrupted) {
            (true, _) => format!("{file} is a link to a blob that is not there"),
            (false, Some(_)) => format!("it has no {file}, and a download was interrupted"),
            (false, None) => format!("it has no {file}"),
        }
    }

    pub(super) fn reference(&self, revision: &str) -> PathBuf {
        self.root.join("refs").join(revision)
    }
}

/// The files below a folder, by their names in it; a link whose content is not there is no file.
fn names(snapshot: &Path) -> Result<BTreeSet<String>, HubError> {
    let mut found = BTreeSet::new();
    let mut open = vec![(String::new(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let path = snapshot.join(&folder);
        for entry in std::fs::read_dir(&path).map_err(HubError::io("read", &path))? {
            let entry = entry.map_err(HubError::io("read", &path))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let name = join(&folder, &name);
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && depth < DEPTH {
                open.push((name, depth + 1));
            } else if entry.path().is_file() {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

/// Whether a file is safetensors of another length than its header says.
fn is_damaged(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "safetensors") && open_safetensors(path).is_err()
}

/// The shards that an index names, by their names in the repository; `None` if it is no index, or names files elsewhere.
pub(super) fn shards(index: &str, text: &[u8]) -> Option<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let folder = index.rsplit_once('/').map_or("", |(folder, _)| folder);
    let index: Index = serde_json::from_slice(text).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_plain = |name: &String| !name.starts_with('.') && !name.is_empty() && name.bytes().all(plain);
    index.weight_map.values().all(is_plain).then(|| index.weight_map.values().map(|name| join(folder, name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "5338d85b1f51a4844fd4f03a2f6b38529df9ea62";

    #[test]
    fn folders_of_a_cache_are_named_after_their_models() {
        let name = |path: &str| snapshot_name(Path::new(path));
        let folder = format!("/cache/hub/models--owner--a-name.v2/snapshots/{COMMIT}");
        assert_eq!(name(&folder), Some(format!("owner/a-name.v2@{COMMIT}")));
        assert_eq!(name(&format!("{folder}/text_encoder")), Some(format!("owner/a-name.v2@{COMMIT}:text_encoder")));
        for other in
            ["runs/sd", "snapshots", "models--a--b/snapshots/main", "/a/snapshots/b", &format!("x--y/snapshots/{COMMIT}")]
        {
            assert_eq!(name(other), None, "{other}");
        }
    }

    #[test]
    fn an_index_names_files_beside_it_alone() {
        let text = |file: &str| format!(r#"{{"weight_map": {{"a": "{file}", "b": "2.safetensors"}}}}"#);
        let found = shards("unet/x.index.json", text("1.safetensors").as_bytes()).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["unet/1.safetensors", "unet/2.safetensors"]);
        for file in ["../1.safetensors", "/etc/passwd", "", ".hidden", "a\\\\b"] {
            assert_eq!(shards("unet/x.index.json", text(file).as_bytes()), None, "{file}");
        }
        assert_eq!(shards("x.index.json", b"{}"), None);
    }
}
