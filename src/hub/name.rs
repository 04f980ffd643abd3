//! Names of models on the hub.

use std::fmt;
use std::str::FromStr;

/// Extensions of files that people give where a folder is expected: such a path that does not exist is a missing file, not a model.
const FILES: [&str; 8] = ["safetensors", "ckpt", "bin", "pt", "pth", "json", "toml", "zip"];

/// Bytes of an owner and a name together; the hub's own limit.
const MOST_BYTES: usize = 96;

/// A model of the hub as people write it: `owner/name`, `owner/name@revision`, and with a folder of it, `owner/name:unet`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HubName {
    owner: String,
    name: String,
    revision: Option<String>,
    folder: Option<String>,
}

impl HubName {
    /// `owner/name`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// A branch, a tag or a commit; `main` unless one is named.
    #[must_use]
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }

    /// The folder of the repository, with `/` between its parts; empty for all of it.
    #[must_use]
    pub fn folder(&self) -> &str {
        self.folder.as_deref().unwrap_or_default()
    }

    /// The same at one commit, which never changes.
    #[must_use]
    pub fn at(&self, commit: &str) -> Self {
        Self { revision: Some(commit.to_owned()), ..self.clone() }
    }

    /// The same model, another folder of it.
    #[must_use]
    pub fn with_folder(&self, folder: &str) -> Self {
        Self { folder: (!folder.is_empty()).then(|| folder.to_owned()), ..self.clone() }
    }
}

/// Whether a revision is a commit: 40 hexadecimal digits.
#[must_use]
pub fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        match &self.folder {
            Some(folder) => write!(f, ":{folder}"),
            None => Ok(()),
        }
    }
}

/// The text is no name of a model on the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected owner/name, owner/name@revision or owner/name:folder")]
pub struct NotAHubName;

impl FromStr for HubName {
    type Err = NotAHubName;

    /// By the hub's rules for names; a path with `..`, more than one `/`, or the extension of a file is none.
    fn from_str(text: &str) -> Result<Self, NotAHubName> {
        let (rest, folder) = match text.split_once(':') {
            Some((rest, folder)) => (rest, Some(folder)),
            None => (text, None),
        };
        let (repository, revision) = match rest.split_once('@') {
            Some((repository, revision)) => (repository, Some(revision)),
            None => (rest, None),
        };
        let (owner, name) = repository.split_once('/').ok_or(NotAHubName)?;
        let is_file = |name: &str| name.rsplit_once('.').is_some_and(|(_, end)| FILES.contains(&end) || end == "git");
        let good = is_part(owner) && is_part(name) && repository.len() <= MOST_BYTES && !is_file(name);
        let good = good && [revision, folder].into_iter().flatten().all(is_path);
        good.then(|| Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            revision: revision.map(str::to_owned),
            folder: folder.map(str::to_owned),
        })
        .ok_or(NotAHubName)
    }
}

/// An owner or a name.
fn is_part(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text.bytes().all(inner)
        && !text.contains("--")
        && !text.contains("..")
}

/// A revision or a folder: parts between `/`, none of which leads elsewhere.
fn is_path(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'+');
    text.len() <= 255 && text.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && part.bytes().all(inner))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(text: &str) -> Option<(String, String, String)> {
        let name: HubName = text.parse().ok()?;
        Some((name.repository(), name.revision().to_owned(), name.folder().to_owned()))
    }

    #[test]
    fn revisions_and_folders_are_optional() {
        let expected = |repository: &str, revision: &str, folder: &str| {
            Some((repository.to_owned(), revision.to_owned(), folder.to_owned()))
        };
        assert_eq!(parts("stanfordmimi/roentgen-v2"), expected("stanfordmimi/roentgen-v2", "main", ""));
        assert_eq!(parts("CompVis/stable-diffusion-v1-4@fp16"), expected("CompVis/stable-diffusion-v1-4", "fp16", ""));
        assert_eq!(parts("a/b@refs/pr/3:unet"), expected("a/b", "refs/pr/3", "unet"));
        assert_eq!(parts("cambridgeltl/SapBERT-from-PubMedBERT-fulltext:x/y").unwrap().2, "x/y");
        let commit = "5338d85b1f51a4844fd4f03a2f6b38529df9ea62";
        assert_eq!("a/b:unet".parse::<HubName>().unwrap().at(commit).to_string(), format!("a/b@{commit}:unet"));
        assert!(is_commit(commit) && !is_commit("main") && !is_commit(&commit[1..]));
    }

    #[test]
    fn paths_are_no_names() {
        for text in [
            "",
            "/",
            "model",
            "/a/b",
            "./a",
            "../a",
            "a/",
            "a/b/c",
            "~/a",
            "a/b@",
            "a/b:",
            "a/b:..",
            "a/b:/etc",
            "a/b@x/../y",
            "a/.b",
            "a/b.safetensors",
            "a/b.ckpt",
            "C:/models",
            "a b/c",
            "a/b@x y",
            "a--b/c",
            "https://huggingface.co/a/b",
        ] {
            assert_eq!(text.parse::<HubName>(), Err(NotAHubName), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_written_as_it_is_read(text in "[a-zA-Z0-9._/@:~-]{1,30}") {
            if let Ok(name) = text.parse::<HubName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
