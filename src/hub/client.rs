//! The hub's answers.
//!
//! Reference: huggingface_hub 2.4.0, `hf_api.py` (`model_info`) and `file_download.py` (`get_hf_file_metadata`, `http_get`).

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::Read;

use serde::Deserialize;
use ureq::http::{Method, header};

use super::Hub;
use super::error::HubError;
use super::http::{Address, Body, Http, Response};
use super::name::{HubName, is_commit};

/// Bytes of a list of files.
const MOST_LIST: u64 = 16 << 20;
/// From one address to the next.
const MOST_REDIRECTS: usize = 10;
/// How often a request is repeated that failed for a passing reason.
pub(super) const REPETITIONS: u32 = 4;
/// How often as long as the hub has not answered once.
const FIRST_REPETITIONS: u32 = 1;

/// Requests to the hub.
pub(super) struct Client<'a> {
    hub: &'a Hub,
    http: Http,
    was_reached: Cell<bool>,
}

/// A commit of a repository.
pub(super) struct Listing {
    pub(super) commit: String,
    pub(super) files: BTreeSet<String>,
}

/// What the hub knows of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Remote {
    /// The name of its content: of weights their SHA-256.
    pub(super) etag: String,
    pub(super) size: u64,
}

impl Remote {
    /// The SHA-256 in hexadecimal digits, if the hub names it.
    pub(super) fn sha256(&self) -> Option<&str> {
        let is_digest = self.etag.len() == 64 && self.etag.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then_some(&self.etag)
    }
}

/// Bytes of a file from a position on.
pub(super) struct Piece {
    /// Where they begin; 0 if the server gives whole files only.
    pub(super) start: u64,
    pub(super) bytes: Body,
}

/// Why a piece did not come.
pub(super) enum NoPiece {
    /// Another attempt may succeed.
    Passing(String),
    Final(HubError),
}

/// Which redirects are followed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// All of them; a token goes to the hub alone.
    All,
    /// Those within the hub, of models that were renamed. The others' answers are wanted.
    WithinHub,
}

impl<'a> Client<'a> {
    pub(super) fn new(hub: &'a Hub, name: &HubName) -> Result<Self, HubError> {
        let failed = |cause| HubError::Unreachable { endpoint: hub.endpoint.clone(), repository: name.repository(), cause };
        Ok(Self { hub, http: Http::new().map_err(failed)?, was_reached: Cell::new(false) })
    }

    /// The commit of a revision, and its files.
    pub(super) fn listing(&self, name: &HubName) -> Result<Listing, HubError> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision = name.revision().replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}", self.hub.endpoint, name.repository());
        let response = self.repeated(name, &Method::GET, &url, Follow::All)?;
        if response.status() != 200 {
            return Err(self.refused(name, &url, &response));
        }
        let odd = |answer: &str| HubError::Answer { url: url.clone(), answer: answer.to_owned() };
        let mut text = Vec::new();
        let read = response.body.take(MOST_LIST).read_to_end(&mut text);
        read.map_err(|error| self.unreachable(name, error.to_string()))?;
        let info: Info = serde_json::from_slice(&text).map_err(|_| odd("something else than a model's list of files"))?;
        if !is_commit(&info.sha) {
            return Err(odd("a commit that is none"));
        }
        Ok(Listing { commit: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// Name and size of a file's content. Files are stored elsewhere, and the redirect to there names both.
    pub(super) fn remote(&self, name: &HubName, commit: &str, file: &str) -> Result<Remote, HubError> {
        let url = self.url(name, commit, file);
        let response = self.repeated(name, &Method::HEAD, &url, Follow::WithinHub)?;
        if response.status() != 200 && !response.is_redirect() {
            return Err(self.refused(name, &url, &response));
        }
        let odd = |answer: &str| HubError::Answer { url: url.clone(), answer: answer.to_owned() };
        let field = |names: [&str; 2]| names.into_iter().find_map(|name| response.field(name));
        let etag = field(["x-linked-etag", "etag"]).map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
        let etag = etag.filter(|etag| is_blob(etag)).ok_or_else(|| odd("no usable ETag"))?;
        let size = field(["x-linked-size", "content-length"]).and_then(|size| size.parse().ok());
        Ok(Remote { etag, size: size.ok_or_else(|| odd("no length of the file"))? })
    }

    /// A file from `start` on, or all of it.
    pub(super) fn piece(&self, name: &HubName, commit: &str, file: &str, start: u64) -> Result<Piece, NoPiece> {
        let url = self.url(name, commit, file);
        let range = (start > 0).then(|| (header::RANGE, format!("bytes={start}-")));
        let response = self.send(&Method::GET, &url, Follow::All, range).map_err(NoPiece::Passing)?;
        match response.status() {
            200 => Ok(Piece { start: 0, bytes: response.body }),
            206 => {
                let begins = response.field("content-range").and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
                match begins.and_then(|begins| begins.parse().ok()) == Some(start) {
                    true => Ok(Piece { start, bytes: response.body }),
                    false => Err(NoPiece::Passing("the server sent another part of the file".to_owned())),
                }
            }
            status if is_passing(status) => Err(NoPiece::Passing(format!("status {status}"))),
            _ => Err(NoPiece::Final(self.refused(name, &url, &response))),
        }
    }

    fn url(&self, name: &HubName, commit: &str, file: &str) -> String {
        format!("{}/{}/resolve/{commit}/{file}", self.hub.endpoint, name.repository())
    }

    fn send(
        &self,
        method: &Method,
        url: &str,
        follow: Follow,
        range: Option<(header::HeaderName, String)>,
    ) -> Result<Response, String> {
        let odd = |url: &str| format!("{url} is no address");
        let first = Address::parse(url).ok_or_else(|| odd(url))?;
        let mut address = first.clone();
        for _ in 0..=MOST_REDIRECTS {
            let is_hub = address.is_of_same_server(&first);
            let token =
                self.hub.token.as_ref().filter(|_| is_hub).map(|token| (header::AUTHORIZATION, format!("Bearer {token}")));
            let fields: Vec<_> = token.into_iter().chain(range.clone()).collect();
            let response = self.http.send(method.clone(), &address, &fields)?;
            let Some(location) = response.field("location").filter(|_| response.is_redirect()) else { return Ok(response) };
            let next = address.join(location).ok_or_else(|| odd(location))?;
            if follow == Follow::WithinHub && !next.is_of_same_server(&first) {
                return Ok(response);
            }
            address = next;
        }
        Err(format!("{url} leads from one address to the next"))
    }

    /// The answer of a request that is repeated while it fails for a passing reason.
    fn repeated(&self, name: &HubName, method: &Method, url: &str, follow: Follow) -> Result<Response, HubError> {
        let mut cause = String::new();
        for attempt in 0..=REPETITIONS {
            if attempt > 0 {
                std::thread::sleep(self.hub.pause * 2u32.pow(attempt - 1));
            }
            match self.send(method, url, follow, None) {
                Ok(response) if is_passing(response.status()) => {
                    self.was_reached.set(true);
                    cause = format!("status {}", response.status());
                }
                Ok(response) => {
                    self.was_reached.set(true);
                    return Ok(response);
                }
                Err(error) => cause = error,
            }
            // Without a network nobody should wait for long.
            if attempt >= FIRST_REPETITIONS && !self.was_reached.get() {
                break;
            }
        }
        Err(self.unreachable(name, cause))
    }

    fn unreachable(&self, name: &HubName, mut cause: String) -> HubError {
        if cause.contains("certificate") {
            cause.push_str(
                " (the system's certificates count: install ca-certificates; where a proxy in between opens connections, set \
                 SSL_CERT_FILE to a file with its certificate too)",
            );
        }
        HubError::Unreachable { endpoint: self.hub.endpoint.clone(), repository: name.repository(), cause }
    }

    /// The error of an answer that is none, by the hub's own codes where it gives one.
    fn refused(&self, name: &HubName, url: &str, response: &Response) -> HubError {
        let (endpoint, repository) = (self.hub.endpoint.clone(), name.repository());
        match (response.status(), response.field("x-error-code").unwrap_or_default()) {
            (_, "GatedRepo") | (403, _) => {
                let then = match self.hub.token {
                    Some(_) => {
                        "with the account of your token, whose rights must include gated repositories (HF_TOKEN, or `hf auth login`)"
                    }
                    None => "then set HF_TOKEN to a token of your account, or run `hf auth login`",
                };
                HubError::Gated { endpoint, repository, then }
            }
            (_, "RevisionNotFound") => HubError::NoRevision { endpoint, repository, revision: name.revision().to_owned() },
            (401, _) | (_, "RepoNotFound") => HubError::NoRepository { endpoint, repository },
            (404, "") if url.contains("/api/") => HubError::NoRepository { endpoint, repository },
            (status, _) => HubError::Answer { url: url.to_owned(), answer: format!("status {status}") },
        }
    }
}

/// The hub is busy, or something in between is; or a part of a file is asked for that it does not have.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 416 | 429 | 500..=599)
}

/// Whether a content's name can be that of a file.
fn is_blob(etag: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !etag.is_empty() && etag.len() <= 128 && !etag.starts_with('.') && etag.bytes().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_contents_lead_nowhere_else() {
        assert!(is_blob("3ca3b70f7794994b37ab91663c9794b62b8e96ea61888fc90a16099692ed0173") && is_blob("abc-12"));
        for etag in ["", ".", "..", "../x", "a/b", "a\\b", ".hidden", "x".repeat(129).as_str()] {
            assert!(!is_blob(etag), "{etag}");
        }
    }
}
