//! A hub on this machine: the answers of huggingface.co that downloads need, and its misfortunes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use ring::digest::{SHA256, digest};
use serde_json::json;

/// A request as it came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
}

/// One model with one commit.
#[derive(Clone, Debug)]
pub struct Model {
    pub commit: String,
    /// Branches and tags that lead to the commit.
    pub revisions: BTreeSet<String>,
    pub files: BTreeMap<String, Vec<u8>>,
    /// The token that may read its files; any if `None`.
    pub token: Option<String>,
}

/// What the server does; tests change it while it runs.
#[derive(Debug, Default)]
pub struct State {
    pub models: BTreeMap<String, Model>,
    pub requests: Vec<Request>,
    /// Bytes of weights after which every connection is closed at once.
    pub budget: Option<usize>,
    /// Bytes of weights that one connection sends.
    pub cut_after: Option<usize>,
    /// Answers with the whole file, whatever range is asked for.
    pub ignores_ranges: bool,
    /// Sends other bytes than it lists.
    pub garbles: bool,
    /// Requests that are answered with 503 first.
    pub busy: usize,
}

pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Model {
    /// The files of a folder as `main`.
    pub fn of_folder(folder: &Path, commit: char) -> Self {
        let mut files = BTreeMap::new();
        let mut open = vec![folder.to_owned()];
        while let Some(path) = open.pop() {
            for entry in std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    open.push(entry);
                } else {
                    let name = entry.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read(&entry).unwrap());
                }
            }
        }
        Self { files, ..Self::empty(commit) }
    }

    /// `main` without files.
    pub fn empty(commit: char) -> Self {
        let revisions = BTreeSet::from(["main".to_owned()]);
        Self { commit: commit.to_string().repeat(40), revisions, files: BTreeMap::new(), token: None }
    }

    pub fn with(mut self, name: &str, content: &[u8]) -> Self {
        self.files.insert(name.to_owned(), content.to_vec());
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.files.retain(|file, _| !file.starts_with(name));
        self
    }
}

/// Of weights the SHA-256, of others 40 digits, as git names them.
pub fn etag(name: &str, content: &[u8]) -> String {
    let digits: String = digest(&SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if is_weights(name) { digits } else { digits[..40].to_owned() }
}

fn is_weights(name: &str) -> bool {
    ["safetensors", "bin", "ckpt"].iter().any(|end| name.ends_with(end))
}

impl Server {
    pub fn new(models: impl IntoIterator<Item = (&'static str, Model)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let models = models.into_iter().map(|(name, model)| (name.to_owned(), model)).collect();
        let state = Arc::new(Mutex::new(State { models, ..State::default() }));
        let shared = Arc::clone(&state);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || drop(answer(stream, &shared)));
            }
        });
        Self { address, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests so far, which are forgotten.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state().requests)
    }
}

fn answer(stream: TcpStream, shared: &Mutex<State>) -> std::io::Result<()> {
    let port = stream.local_addr()?.port();
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut request = Request::default();
    let mut words = first.split(' ').map(str::to_owned);
    (request.method, request.path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = Some(value.to_owned()),
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    let mut state = shared.lock().unwrap();
    state.requests.push(request.clone());
    if state.busy > 0 {
        state.busy -= 1;
        return write(&mut stream, "503 Service Unavailable", &[], b"");
    }
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        ["api", "models", owner, name, "revision", revision] => {
            let Some(model) = state.models.get(&format!("{owner}/{name}")) else {
                return write(&mut stream, "401 Unauthorized", &["X-Error-Code: RepoNotFound".to_owned()], b"");
            };
            if revision != model.commit && !model.revisions.contains(&revision.replace("%2F", "/")) {
                return write(&mut stream, "404 Not Found", &["X-Error-Code: RevisionNotFound".to_owned()], b"");
            }
            let siblings: Vec<_> = model.files.keys().map(|file| json!({ "rfilename": file })).collect();
            let body = json!({ "id": format!("{owner}/{name}"), "sha": model.commit, "siblings": siblings, "gated": false });
            write(&mut stream, "200 OK", &[], body.to_string().as_bytes())
        }
        [owner, name, "resolve", commit, ..] => {
            let model = state.models.get(&format!("{owner}/{name}")).filter(|model| model.commit == commit);
            let file = parts[4..].join("/");
            let Some((model, content)) = model.and_then(|model| Some((model, model.files.get(&file)?))) else {
                return write(&mut stream, "404 Not Found", &["X-Error-Code: EntryNotFound".to_owned()], b"");
            };
            match (&model.token, &request.token) {
                (Some(_), None) => return write(&mut stream, "401 Unauthorized", &["X-Error-Code: GatedRepo".to_owned()], b""),
                (Some(needed), Some(token)) if needed != token => return write(&mut stream, "403 Forbidden", &[], b""),
                _ => {}
            }
            let etag = etag(&file, content);
            let mut fields = vec![format!("X-Repo-Commit: {commit}")];
            if is_weights(&file) {
                // Another host, which must not see the token.
                fields.push(format!("Location: http://localhost:{port}/cdn/{owner}/{name}/{file}"));
                fields.push(format!("X-Linked-Etag: \"{etag}\""));
                fields.push(format!("X-Linked-Size: {}", content.len()));
                return write(&mut stream, "302 Found", &fields, b"");
            }
            fields.push(format!("ETag: \"{etag}\""));
            let body = content.clone();
            match request.method.as_str() {
                "HEAD" => head(&mut stream, "200 OK", &fields, body.len()),
                _ => write(&mut stream, "200 OK", &fields, &body),
            }
        }
        ["cdn", owner, name, ..] => {
            let mut content = state.models[&format!("{owner}/{name}")].files[&parts[3..].join("/")].clone();
            let whole = content.len();
            if state.garbles {
                content[whole / 2] ^= 1;
            }
            let start = request.range.as_deref().filter(|_| !state.ignores_ranges);
            let start = start.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
            let start = start.unwrap_or(0);
            let rest = &content[start.min(whole)..];
            let mut sent = rest.len().min(state.cut_after.unwrap_or(usize::MAX));
            if let Some(budget) = &mut state.budget {
                sent = sent.min(*budget);
                *budget -= sent;
            }
            drop(state);
            let range = format!("Content-Range: bytes {start}-{}/{whole}", whole.saturating_sub(1));
            match start {
                0 => head(&mut stream, "200 OK", &[], rest.len())?,
                _ => head(&mut stream, "206 Partial Content", &[range], rest.len())?,
            }
            stream.write_all(&rest[..sent])
        }
        _ => write(&mut stream, "404 Not Found", &[], b""),
    }
}

fn head(stream: &mut TcpStream, status: &str, fields: &[String], length: usize) -> std::io::Result<()> {
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    stream.write_all(format!("HTTP/1.1 {status}\r\n{fields}Connection: close\r\nContent-Length: {length}\r\n\r\n").as_bytes())
}

fn write(stream: &mut TcpStream, status: &str, fields: &[String], body: &[u8]) -> std::io::Result<()> {
    head(stream, status, fields, body.len())?;
    stream.write_all(body)
}
