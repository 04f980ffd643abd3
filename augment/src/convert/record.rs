//! What a folder is the conversion of, and that one process at a time is at it.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::failed;
use crate::AugmentError;
use crate::atomic::write_atomic;

/// The file that says what the folder is the conversion of.
const RECORD: &str = "conversion.txt";
/// How temporary files begin, see [`write_atomic`].
const TEMPORARY: &str = ".tmp-";

/// A folder that this process writes to, until it is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
}

impl Claim {
    /// Takes `out` for the conversion in these words.
    pub(super) fn take(out: &Path, words: &str) -> Result<Self, AugmentError> {
        let path = out.join(RECORD);
        let refused =
            |found: &str, expected: &str| AugmentError::setting("--out", format!("{} {found}", out.display()), expected);
        match fs::read_to_string(&path) {
            Ok(found) if found.trim_end() == words => {}
            Ok(_) => {
                let found = "(the conversion of other data, or by other settings)";
                return Err(refused(found, "another folder, or the data and settings with which it was begun"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if holds_files(out).map_err(failed("list", out))? {
                    return Err(refused("(which holds other files)", "a new folder, or an empty one"));
                }
                write_atomic(&path, |file| writeln!(file, "{words}")).map_err(failed("write", &path))?;
            }
            Err(error) => return Err(failed("read", &path)(error)),
        }
        let lock = File::open(&path).map_err(failed("read", &path))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => {
                Err(refused("(to which another process is writing)", "to wait until that has ended"))
            }
            // Where a file system has no locks, nobody can be kept out.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { _lock: lock }),
        }
    }

    /// Removes what interrupted starts left behind.
    pub(super) fn finish(self, out: &Path) -> Result<(), AugmentError> {
        let mut folders: Vec<PathBuf> = vec![out.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(failed("list", &folder))? {
                let entry = entry.map_err(failed("list", &folder))?;
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        Ok(())
    }
}

/// Whether there is more in the folder than what a start left that was killed at once.
fn holds_files(out: &Path) -> std::io::Result<bool> {
    let entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    for entry in entries {
        if !entry?.file_name().to_string_lossy().starts_with(TEMPORARY) {
            return Ok(true);
        }
    }
    Ok(false)
}
