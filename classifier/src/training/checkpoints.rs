//! Checkpoints that survive a kill at any moment.
//!
//! `checkpoints/NUMBER/`: written into a folder under another name, synced file by file, then renamed. `B3SUMS` in it has the BLAKE3
//! digest of every file (`b3sum --check B3SUMS`), so that damage is found before anything is loaded. Used by the training of
//! classifiers, whose checkpoints are numbered by validation, and by fine-tuning, whose are numbered by step.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::ClassifierError;

/// How a kind of training lays its checkpoints out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointLayout {
    /// Digits of a checkpoint's name.
    pub digits: usize,
    /// Files of a checkpoint.
    pub files: &'static [&'static str],
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
    layout: CheckpointLayout,
}

/// The newest readable checkpoint with its number, if there is one, and what is wrong with those after it.
pub type Newest<T> = (Option<(u64, T)>, Vec<String>);

/// Beginning of the name of a checkpoint that is not whole yet, or no more.
const LEFTOVER: &str = ".tmp-";
const SUMS: &str = "B3SUMS";

impl CheckpointFolder {
    /// `run/checkpoints`, made if it is not there; leftovers of a kill are removed.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn open(run: &Path, layout: CheckpointLayout) -> Result<Self, ClassifierError> {
        let folder = Self { path: run.join("checkpoints"), layout };
        std::fs::create_dir_all(&folder.path).map_err(ClassifierError::io("create", &folder.path))?;
        for path in folder.entries()? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(LEFTOVER)) {
                std::fs::remove_dir_all(&path).map_err(ClassifierError::io("remove", &path))?;
            }
        }
        Ok(folder)
    }

    fn entries(&self) -> Result<Vec<PathBuf>, ClassifierError> {
        let read = || std::fs::read_dir(&self.path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
        read().map_err(ClassifierError::io("read", &self.path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of a checkpoint.
    #[must_use]
    pub fn checkpoint(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:0digits$}", digits = self.layout.digits))
    }

    /// The folder that a checkpoint is written into before it is [published](Self::publish).
    #[must_use]
    pub fn draft(&self, number: u64) -> PathBuf {
        self.path.join(format!("{LEFTOVER}{number:0digits$}", digits = self.layout.digits))
    }

    /// Numbers of the checkpoints, rising. A folder without digests and not all files is none: versions before these wrote the files of
    /// a classifier one after the other, and a kill may have come between them.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn numbers(&self) -> Result<Vec<u64>, ClassifierError> {
        let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u64>().ok();
        let there =
            |path: &PathBuf| path.join(SUMS).is_file() || self.layout.files.iter().all(|file| path.join(file).is_file());
        let mut numbers: Vec<u64> = self.entries()?.iter().filter(|path| there(path)).filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Writes a checkpoint, whole or not at all: `write` puts its files into the folder that it is given. The others stay.
    ///
    /// # Errors
    /// Those of `write` and of the file system; nothing is left behind then.
    pub fn save(&self, number: u64, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
        let draft = self.draft(number);
        let written = || {
            if draft.exists() {
                std::fs::remove_dir_all(&draft)?;
            }
            std::fs::create_dir_all(&draft)?;
            write(&draft)?;
            self.publish(number)
        };
        written().inspect_err(|_| {
            // This frees space on a full disk; a leftover that remains is removed at the next start.
            let _ = std::fs::remove_dir_all(&draft);
        })
    }

    /// Gives the draft of a checkpoint, which has all its files, its digests and its name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn publish(&self, number: u64) -> io::Result<()> {
        let (draft, target) = (self.draft(number), self.checkpoint(number));
        let mut sums = String::new();
        for file in self.layout.files {
            let path = draft.join(file);
            File::open(&path)?.sync_all()?;
            sums.push_str(&format!("{}  {file}\n", file_digest(&path)?));
        }
        let mut file = File::create(draft.join(SUMS))?;
        file.write_all(sums.as_bytes())?;
        file.sync_all()?;
        sync_folder(&draft)?;
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        std::fs::rename(&draft, &target)?;
        sync_folder(&self.path)
    }

    /// Removes all but the newest `keep`, at least one, and the best.
    ///
    /// # Errors
    /// [`ClassifierError::Io`].
    pub fn prune(&self, keep: usize, best: Option<u64>) -> Result<(), ClassifierError> {
        let numbers = self.numbers()?;
        let old = numbers.len().saturating_sub(keep.max(1));
        for number in numbers[..old].iter().filter(|number| best != Some(**number)) {
            let (path, leaving) = (self.checkpoint(*number), self.draft(*number));
            // Renamed first: a folder with a number is whole until it is gone.
            std::fs::rename(&path, &leaving).map_err(ClassifierError::io("remove", &path))?;
            std::fs::remove_dir_all(&leaving).map_err(ClassifierError::io("remove", &leaving))?;
        }
        Ok(())
    }

    /// The newest checkpoint that can be read, with its number, and why those after it can't.
    ///
    /// # Errors
    /// [`ClassifierError::Io`]; [`ClassifierError::DamagedCheckpoint`] if there are checkpoints and none can be read.
    pub fn newest<T, E: From<ClassifierError> + std::fmt::Display>(
        &self,
        read: impl Fn(&Path) -> Result<T, E>,
    ) -> Result<Newest<T>, ClassifierError> {
        let mut damaged = Vec::new();
        for number in self.numbers()?.into_iter().rev() {
            match self.load(number, &read) {
                Ok(found) => return Ok((Some((number, found)), damaged)),
                Err(error) => damaged.push(error.to_string()),
            }
        }
        match damaged.first() {
            None => Ok((None, damaged)),
            Some(message) => Err(ClassifierError::DamagedCheckpoint {
                path: self.path.clone(),
                message: format!("no checkpoint is whole: {message}"),
            }),
        }
    }

    /// Reads one checkpoint, once its files are known to be what was written.
    ///
    /// # Errors
    /// [`ClassifierError::DamagedCheckpoint`] and those of `read`.
    pub fn load<T, E: From<ClassifierError>>(&self, number: u64, read: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
        let path = self.checkpoint(number);
        let damaged = |message: String| E::from(ClassifierError::DamagedCheckpoint { path: path.clone(), message });
        let sums = match std::fs::read_to_string(path.join(SUMS)) {
            Ok(sums) => sums,
            // Written by a version before these.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return read(&path),
            Err(error) => return Err(damaged(format!("{SUMS}: {error}"))),
        };
        for file in self.layout.files {
            let found = file_digest(&path.join(file)).map_err(|error| damaged(format!("{file}: {error}")))?;
            if !sums.lines().any(|line| line == format!("{found}  {file}")) {
                return Err(damaged(format!("{file} is not what was written")));
            }
        }
        read(&path)
    }
}

/// BLAKE3 digest of a file, in hexadecimal.
///
/// # Errors
/// Those of the file system.
pub fn file_digest(path: &Path) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().to_string())
}

/// Makes names in `folder` survive a power failure, on systems that can open folders.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: CheckpointLayout = CheckpointLayout { digits: 5, files: &["a", "b"] };

    fn save(checkpoints: &CheckpointFolder, number: u64) {
        let write = |folder: &Path| {
            std::fs::write(folder.join("a"), number.to_string())?;
            std::fs::write(folder.join("b"), "same")
        };
        checkpoints.save(number, write).unwrap();
    }

    fn read(folder: &Path) -> Result<u64, ClassifierError> {
        Ok(std::fs::read_to_string(folder.join("a")).unwrap().parse().unwrap())
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
        assert_eq!(checkpoints.newest(read).unwrap(), (None, Vec::new()));
        for number in 1..=6 {
            save(&checkpoints, number);
            checkpoints.prune(2, Some(2)).unwrap();
        }
        assert_eq!(checkpoints.numbers().unwrap(), [2, 5, 6]);
        save(&checkpoints, 6);
        assert_eq!(checkpoints.newest(read).unwrap().0, Some((6, 6)));
    }

    #[test]
    fn damage_is_passed_over_and_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
        (1..=3).for_each(|number| save(&checkpoints, number));
        std::fs::create_dir_all(checkpoints.draft(4)).unwrap();
        std::fs::write(checkpoints.checkpoint(3).join("a"), "4").unwrap();
        std::fs::remove_file(checkpoints.checkpoint(2).join("b")).unwrap();
        let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
        assert!(!checkpoints.draft(4).exists());
        let (found, damaged) = checkpoints.newest(read).unwrap();
        assert_eq!((found, damaged.len()), (Some((1, 1)), 2));
        assert!(damaged[0].contains("00003") && damaged[0].contains("a is not what was written"), "{damaged:?}");
        std::fs::remove_dir_all(checkpoints.checkpoint(1)).unwrap();
        assert!(matches!(checkpoints.newest(read), Err(ClassifierError::DamagedCheckpoint { .. })));
    }

    /// Without digests, and the last perhaps without all files.
    #[test]
    fn checkpoints_of_the_version_before_are_read() {
        let folder = tempfile::tempdir().unwrap();
        for (number, files) in [("00001", &["a", "b"][..]), ("00002", &["a"][..])] {
            let path = folder.path().join("checkpoints").join(number);
            std::fs::create_dir_all(&path).unwrap();
            files.iter().for_each(|file| std::fs::write(path.join(file), "7").unwrap());
        }
        let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
        assert_eq!(checkpoints.newest(read).unwrap(), (Some((1, 7)), Vec::new()));
    }

    #[test]
    fn a_checkpoint_that_can_not_be_written_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointFolder::open(folder.path(), LAYOUT).unwrap();
        save(&checkpoints, 1);
        let full = |folder: &Path| {
            std::fs::write(folder.join("a"), "2")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        assert_eq!(checkpoints.save(2, full).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!((checkpoints.numbers().unwrap(), checkpoints.draft(2).exists()), (vec![1], false));
    }
}
