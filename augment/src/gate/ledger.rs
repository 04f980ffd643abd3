//! Verdicts that were given before.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::Verdict;
use crate::AugmentError;
use crate::digest::Fingerprint;
use crate::supply::CacheKey;

/// Raised when the table changes; a ledger of another version is started again, empty.
const SCHEMA: i64 = 1;

/// How long a process waits for another one's write.
const BUSY: Duration = Duration::from_secs(60);

/// Verdicts by sample and gate, in an SQLite file that several processes may share.
///
/// It only saves work: a verdict is a function of the sample and the gate, so without the ledger the same verdict
/// would be given again.
pub struct VerdictLedger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl VerdictLedger {
    /// Opens the ledger at `path`, or creates it. Its folder is created if it is missing.
    ///
    /// # Errors
    /// [`AugmentError::Io`] and [`AugmentError::Ledger`].
    pub fn open(path: &Path) -> Result<Self, AugmentError> {
        if let Some(folder) = path.parent() {
            let failed = |source| AugmentError::Io { action: "create", path: folder.to_owned(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let failed = |source| AugmentError::Ledger { action: "open", path: path.to_owned(), source };
        let connection = prepare(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// The verdict that `gate` gave on the sample `key`, if it did. One that can't be read counts as none.
    ///
    /// # Errors
    /// [`AugmentError::Ledger`].
    pub fn get(&self, gate: Fingerprint, key: CacheKey) -> Result<Option<Verdict>, AugmentError> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let mut select = connection.prepare_cached("SELECT verdict FROM verdicts WHERE gate = ?1 AND sample = ?2")?;
            select.query_row(params![gate.0, key.as_bytes()], |row| row.get::<_, String>(0)).optional()
        };
        let text = read().map_err(|source| self.failed("read", source))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Records verdicts.
    ///
    /// # Errors
    /// [`AugmentError::Ledger`].
    pub fn record(&self, gate: Fingerprint, verdicts: &[(CacheKey, Verdict)]) -> Result<(), AugmentError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let write = |connection: &mut Connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO verdicts VALUES (?1, ?2, ?3)")?;
                for (key, verdict) in verdicts {
                    let text = serde_json::to_string(verdict).expect("a verdict is plain data");
                    insert.execute(params![gate.0, key.as_bytes(), text])?;
                }
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|source| self.failed("write", source))
    }

    fn failed(&self, action: &'static str, source: rusqlite::Error) -> AugmentError {
        AugmentError::Ledger { action, path: self.path.clone(), source }
    }
}

impl fmt::Debug for VerdictLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerdictLedger({})", self.path.display())
    }
}

fn prepare(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A lost commit only loses verdicts, and those are given again.
    connection.pragma_update(None, "synchronous", "normal")?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA {
        transaction.execute_batch(
            "DROP TABLE IF EXISTS verdicts;
             CREATE TABLE verdicts (gate BLOB, sample BLOB, verdict TEXT NOT NULL, PRIMARY KEY (gate, sample)) WITHOUT ROWID;",
        )?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Fault, NearestReal};
    use crate::supply::fake::request;

    #[test]
    fn verdicts_come_back_for_their_gate_and_sample_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/verdicts.sqlite");
        let (gate, other) = (Fingerprint::of(&[b"gate"]), Fingerprint::of(&[b"other"]));
        let key = |i| CacheKey::new(&request(i), Fingerprint::of(&[b"model"]));
        let faults =
            vec![Fault::Disagrees { finding: crate::record::Vocabulary::nih().findings()[2], score: 0.1, limit: 0.25 }];
        let verdict = Verdict { faults, nearest_real: Some(NearestReal { id: "a.png".to_owned(), distance: 0.5 }) };
        let ledger = VerdictLedger::open(&path).unwrap();
        ledger.record(gate, &[(key(0), verdict.clone()), (key(1), Verdict::default())]).unwrap();
        drop(ledger);
        let again = VerdictLedger::open(&path).unwrap();
        assert_eq!(again.get(gate, key(0)).unwrap(), Some(verdict));
        assert_eq!(again.get(gate, key(1)).unwrap(), Some(Verdict::default()));
        assert_eq!(again.get(gate, key(2)).unwrap(), None);
        assert_eq!(again.get(other, key(0)).unwrap(), None);
    }

    #[test]
    fn a_file_that_is_no_ledger_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("verdicts.sqlite");
        std::fs::write(&path, [b'x'; 4096]).unwrap();
        assert!(VerdictLedger::open(&path).unwrap_err().to_string().contains("verdicts.sqlite"));
    }
}
