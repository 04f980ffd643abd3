//! Files from the hub into the cache.
//!
//! Small files come first, and are read before a weight is downloaded: what can't be used costs no gigabytes. The name of the revision is
//! written last. A file is written to `blobs/ETAG.incomplete` under a lock that Python's library takes too, continued after an
//! interruption, compared with the SHA-256 that the hub lists, synced and renamed.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use ring::digest::{Context, SHA256};
use roentgen_augment::progress::{Progress, Task};

use super::Hub;
use super::cache::{CachedRepository, shards};
use super::client::{Client, NoPiece, REPETITIONS, Remote};
use super::error::HubError;
use super::name::HubName;
use super::want::{Lack, Want, Wanted, join};
use crate::diffusion::DiffusionError;
use crate::diffusion::autoencoder::AutoencoderConfig;
use crate::diffusion::pipeline::{Checkpoint, ModelIndex};
use crate::diffusion::text::{TextEncoderConfig, Tokenizer};
use crate::diffusion::unet::UNetConfig;
use crate::evaluation::features::networks::check_image_network;

/// Configurations and vocabularies; the largest known is 20 MB.
const MOST_TEXT: u64 = 256 << 20;
/// Bytes read at a time.
const BUFFER: usize = 1 << 20;
/// Progress is counted in these.
const MEGABYTE: u64 = 1_000_000;

/// Downloads what is wanted and the cache lacks; the commit.
///
/// # Errors
/// [`HubError`]; what has arrived stays, and the next call continues.
pub(super) fn download(hub: &Hub, name: &HubName, wanted: &Wanted, progress: &dyn Progress) -> Result<String, HubError> {
    let client = Client::new(hub, name)?;
    let listing = client.listing(name)?;
    let task = progress.begin(&format!("downloading {}", name.repository()), 0, "MB");
    let cached = hub.cache.repository(name);
    let job = Job { hub, client, cached, name, commit: &listing.commit, task: &*task };
    let folder = job.cached.snapshot(job.commit).join(name.folder());

    // 1. What it is
    let want = wanted.want.decided(name.folder(), &listing.files);
    let index = join(name.folder(), "model_index.json");
    if want == Want::Pipeline && listing.files.contains(&index) {
        job.text(&index)?;
        want.check_index(&folder).map_err(|error| job.unusable(error))?;
    }
    let needed = wanted.files(name.folder(), &listing.files).map_err(|Lack { missing, hint }| HubError::NotThere {
        name: name.to_string(),
        what: want.title(),
        reason: format!("it has no {missing}; {hint}"),
    })?;
    needed.texts.iter().try_for_each(|file| job.text(file))?;
    want.check(&folder).map_err(|error| job.unusable(error))?;

    // 2. Weights
    let mut weights = needed.weights;
    for index in &needed.indices {
        let path = job.cached.snapshot(job.commit).join(index);
        let text = std::fs::read(&path).map_err(HubError::io("read", &path))?;
        let not_there = |reason: String| HubError::NotThere { name: name.to_string(), what: want.title(), reason };
        let shards = shards(index, &text).ok_or_else(|| not_there(format!("{index} is no index of shards")))?;
        if let Some(missing) = shards.iter().find(|shard| !listing.files.contains(*shard)) {
            return Err(not_there(format!("it has no {missing}, which {index} names")));
        }
        weights.extend(shards);
    }
    let remotes = weights.iter().map(|file| job.client.remote(name, job.commit, file)).collect::<Result<Vec<_>, _>>()?;
    let sum = |sizes: &mut dyn Iterator<Item = u64>| sizes.fold(0, u64::saturating_add);
    let done = || sum(&mut remotes.iter().map(|remote| job.have(remote)));
    task.set_total(sum(&mut remotes.iter().map(|remote| remote.size)).div_ceil(MEGABYTE));
    task.resume_at(done() / MEGABYTE);
    for (file, remote) in weights.iter().zip(&remotes) {
        task.message(file);
        job.file(file, remote, &mut done())?;
    }
    if name.revision() != listing.commit {
        job.cached.set_reference(name.revision(), &listing.commit)?;
    }
    Ok(listing.commit)
}

impl Want {
    /// For messages.
    fn title(self) -> &'static str {
        match self {
            Self::Pipeline => "pipeline in diffusers' layout",
            Self::TextEncoder => "text encoder",
            Self::Tokenizer => "tokenizer",
            Self::UNet | Self::OtherUNet => "U-Net in diffusers' layout",
            Self::Vae => "autoencoder in diffusers' layout",
            Self::Scheduler => "scheduler",
            Self::Lora => "LoRA",
            Self::Embedding => "textual inversion",
            Self::ImageNetwork => "network of images (RAD-DINO, CLIP)",
            Self::SingleFile => "checkpoint in one file",
            Self::Any => "model",
        }
    }

    /// Reads the configurations in `folder`, before weights are downloaded.
    fn check(self, folder: &Path) -> Result<(), DiffusionError> {
        let config = folder.join("config.json");
        match self {
            Self::Pipeline => Checkpoint::read(folder).map(|_| ()),
            Self::TextEncoder => TextEncoderConfig::read(&config).map(|_| ()),
            Self::Tokenizer => Tokenizer::open(folder).map(|_| ()),
            Self::UNet => UNetConfig::read(&config).map(|_| ()),
            Self::ImageNetwork => check_image_network(folder),
            Self::Vae if config.is_file() => AutoencoderConfig::read(&config).map(|_| ()),
            // A scheduler is read by whoever wants one of several kinds, and what has no configuration is known by its tensors.
            _ => Ok(()),
        }
    }

    /// Reads the file that says what a repository is, before the others are downloaded.
    fn check_index(self, folder: &Path) -> Result<(), DiffusionError> {
        match self {
            Self::Pipeline => ModelIndex::read(&folder.into()).map(|_| ()),
            _ => Ok(()),
        }
    }
}

/// A download from one commit of a repository.
struct Job<'a> {
    hub: &'a Hub,
    client: Client<'a>,
    cached: CachedRepository,
    name: &'a HubName,
    commit: &'a str,
    task: &'a dyn Task,
}

impl Job<'_> {
    fn unusable(&self, source: DiffusionError) -> HubError {
        HubError::Unusable { name: self.name.to_string(), source: Box::new(source) }
    }

    /// A small file.
    fn text(&self, file: &str) -> Result<(), HubError> {
        if self.cached.snapshot(self.commit).join(file).is_file() {
            return Ok(());
        }
        self.task.message(file);
        let remote = self.client.remote(self.name, self.commit, file)?;
        if remote.size > MOST_TEXT {
            let reason = format!("{file} has {} bytes, far more than a text of a model", remote.size);
            return Err(HubError::NotThere { name: self.name.to_string(), what: "model", reason });
        }
        self.file(file, &remote, &mut 0)
    }

    /// Bytes of a content that are here already.
    fn have(&self, remote: &Remote) -> u64 {
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let (whole, part) = (length(&self.cached.blob(&remote.etag)), length(&self.part(remote)));
        if whole == remote.size { whole } else { part.min(remote.size) }
    }

    fn part(&self, remote: &Remote) -> std::path::PathBuf {
        self.cached.blob(&format!("{}.incomplete", remote.etag))
    }

    /// Downloads a file unless its content is there, and links to it; `done` counts the bytes that arrive.
    fn file(&self, file: &str, remote: &Remote, done: &mut u64) -> Result<(), HubError> {
        let blob = self.cached.blob(&remote.etag);
        let is_there = || std::fs::metadata(&blob).is_ok_and(|found| found.len() == remote.size);
        if !is_there() {
            let _lock = self.lock(file, remote)?;
            // Another process may have brought it while this one waited.
            if !is_there() {
                self.content(file, remote, done)?;
                std::fs::rename(self.part(remote), &blob).map_err(HubError::io("write", &blob))?;
            }
        }
        self.cached.link(self.commit, file, &remote.etag)
    }

    /// One process downloads a content. Where a file system has no locks, each one does.
    fn lock(&self, file: &str, remote: &Remote) -> Result<File, HubError> {
        let path = self.hub.cache.lock(self.name, &remote.etag);
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        let opened = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = opened.map_err(HubError::io("write", &path))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            self.task.message(&format!("waiting for another process that downloads {file}"));
            let _ = lock.lock();
            self.task.message(file);
        }
        Ok(lock)
    }

    /// Downloads a content next to where it belongs, and compares it with what the hub lists.
    fn content(&self, file: &str, remote: &Remote, done: &mut u64) -> Result<(), HubError> {
        let path = self.part(remote);
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(HubError::io("create", folder))?;
        let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut part = opened.map_err(HubError::io("write", &path))?;
        let was_here = part.metadata().map_err(HubError::io("read", &path))?.len();
        self.rest(file, remote, &mut part, &path, done)?;
        let Some(expected) = remote.sha256() else {
            return part.sync_all().map_err(HubError::io("write", &path));
        };
        let mut found = digest(&mut part).map_err(HubError::io("read", &path))?;
        if found != expected && was_here > 0 {
            // What an earlier start left was of something else.
            part.set_len(0).map_err(HubError::io("write", &path))?;
            *done = done.saturating_sub(remote.size);
            self.rest(file, remote, &mut part, &path, done)?;
            found = digest(&mut part).map_err(HubError::io("read", &path))?;
        }
        if found != expected {
            std::fs::remove_file(&path).map_err(HubError::io("remove", &path))?;
            let (repository, file, expected) = (self.name.repository(), file.to_owned(), expected.to_owned());
            return Err(HubError::OtherContent { repository, file, found, expected });
        }
        part.sync_all().map_err(HubError::io("write", &path))
    }

    /// Downloads what a part lacks, however often the connection breaks, as long as something arrives now and then.
    fn rest(&self, file: &str, remote: &Remote, part: &mut File, path: &Path, done: &mut u64) -> Result<(), HubError> {
        let write = |action| HubError::io(action, path);
        let mut have = part.metadata().map_err(write("read"))?.len();
        if have > remote.size {
            part.set_len(0).map_err(write("write"))?;
            (have, *done) = (0, done.saturating_sub(remote.size));
        }
        let mut failures = 0;
        let mut cause = String::new();
        while have < remote.size {
            if failures > REPETITIONS {
                let (repository, file, size) = (self.name.repository(), file.to_owned(), remote.size);
                return Err(HubError::BrokenOff { repository, file, have, size, cause });
            }
            if failures > 0 {
                std::thread::sleep(self.hub.pause * 2u32.pow(failures - 1));
            }
            failures += 1;
            let piece = match self.client.piece(self.name, self.commit, file, have) {
                Ok(piece) => piece,
                Err(NoPiece::Final(error)) => return Err(error),
                Err(NoPiece::Passing(error)) => {
                    cause = error;
                    continue;
                }
            };
            if piece.start != have {
                *done = done.saturating_sub(have);
                part.set_len(piece.start).map_err(write("write"))?;
                have = piece.start;
            }
            part.seek(std::io::SeekFrom::Start(have)).map_err(write("write"))?;
            let mut bytes = piece.bytes.take(remote.size - have);
            let mut buffer = vec![0; BUFFER];
            loop {
                match bytes.read(&mut buffer) {
                    Ok(0) => {
                        cause = "the connection was closed".to_owned();
                        break;
                    }
                    Ok(length) => {
                        part.write_all(&buffer[..length]).map_err(write("write"))?;
                        have += length as u64;
                        *done += length as u64;
                        self.task.set(*done / MEGABYTE);
                        failures = 0;
                    }
                    Err(error) => {
                        cause = error.to_string();
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// SHA-256 of a file, in hexadecimal digits.
fn digest(file: &mut File) -> std::io::Result<String> {
    file.rewind()?;
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => context.update(&buffer[..length]),
        }
    }
    Ok(context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}
