//! One writer at a time.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::error::{Holder, RunFolderError};

/// Name of the lock file. It stays when a run ends: only the operating system's lock on it counts.
const FILE: &str = ".lock";

/// A folder that no other process writes, or that several share, until this is dropped or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
    /// False on a file system without locks, where two processes can't be told apart.
    pub is_held: bool,
}

impl FolderLock {
    /// Locks the folder for `command` alone; it is created if it is missing.
    ///
    /// # Errors
    /// [`RunFolderError::Busy`] names the process that has it; [`RunFolderError::Io`].
    pub fn exclusive(folder: &Path, command: &str) -> Result<Self, RunFolderError> {
        let mut file = open(folder, FILE)?;
        let is_held = taken(file.try_lock(), folder, &mut file)?;
        if is_held {
            name_holder(&mut file, &format!("{}\n{command}\n", std::process::id()), folder)?;
        }
        Ok(Self { _file: file, is_held })
    }

    /// Locks the folder together with others that share it.
    ///
    /// # Errors
    /// As [`exclusive`](Self::exclusive).
    pub fn shared(folder: &Path) -> Result<Self, RunFolderError> {
        let mut file = open(folder, FILE)?;
        let is_held = taken(file.try_lock_shared(), folder, &mut file)?;
        if is_held {
            // The process that it names has ended.
            name_holder(&mut file, "", folder)?;
        }
        Ok(Self { _file: file, is_held })
    }

    /// Waits until a lock file of the folder is free, then locks it exclusively.
    ///
    /// # Errors
    /// [`RunFolderError::Io`].
    pub fn wait(folder: &Path, name: &str) -> Result<Self, RunFolderError> {
        let file = open(folder, name)?;
        let is_held = file.lock().is_ok();
        Ok(Self { _file: file, is_held })
    }
}

fn open(folder: &Path, name: &str) -> Result<File, RunFolderError> {
    std::fs::create_dir_all(folder).map_err(RunFolderError::io("create", folder))?;
    let path = folder.join(name);
    let opened = File::options().create(true).truncate(false).read(true).write(true).open(&path);
    opened.map_err(RunFolderError::io("write", &path))
}

/// Whether a lock is held; `false` on a file system that has none.
fn taken(tried: Result<(), TryLockError>, folder: &Path, file: &mut File) -> Result<bool, RunFolderError> {
    match tried {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Err(RunFolderError::Busy { path: folder.to_owned(), holder: holder(file) }),
        Err(TryLockError::Error(_)) => Ok(false),
    }
}

fn name_holder(file: &mut File, text: &str, folder: &Path) -> Result<(), RunFolderError> {
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(text.as_bytes()));
    written.map_err(RunFolderError::io("write", &folder.join(FILE)))
}

/// Unknown if the file is empty, truncated by a kill, or locked against reading.
fn holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    let named = |text: &str| {
        let (process, command) = text.split_once('\n')?;
        Some((process.parse().ok()?, command.strip_suffix('\n')?.to_owned()))
    };
    Holder(read.ok().and_then(|_| named(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_has_it_and_a_lock_ends_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let first = FolderLock::exclusive(folder.path(), "compare").unwrap();
        let me = format!("another roentgen process (pid {}, `compare`) is writing", std::process::id());
        for second in [FolderLock::exclusive(folder.path(), "train"), FolderLock::shared(folder.path())] {
            assert!(second.unwrap_err().to_string().starts_with(&me));
        }
        drop(first);
        let sharing = [(); 2].map(|()| FolderLock::shared(folder.path()).unwrap());
        let message = FolderLock::exclusive(folder.path(), "train").unwrap_err().to_string();
        assert!(message.starts_with("another roentgen process is writing"), "{message}");
        drop(sharing);
        FolderLock::exclusive(folder.path(), "train").unwrap();
    }

    #[test]
    fn a_lock_file_that_a_kill_cut_short_is_no_lock_and_names_nobody() {
        let folder = tempfile::tempdir().unwrap();
        for torn in ["", "12", "12\n", "twelve\ntrain\n", "\u{fffd}\n\n"] {
            std::fs::write(folder.path().join(FILE), torn).unwrap();
            let held = FolderLock::shared(folder.path()).unwrap();
            std::fs::write(folder.path().join(FILE), torn).unwrap();
            let holder = match FolderLock::exclusive(folder.path(), "train") {
                Err(RunFolderError::Busy { holder, .. }) => holder,
                other => panic!("{other:?}"),
            };
            assert_eq!(holder, Holder::default(), "{torn:?}");
            drop(held);
        }
    }
}
