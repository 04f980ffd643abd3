//! The SQLite side of the cache: how many bytes each sample takes and when it was last used.

use std::collections::HashSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::CacheKey;

/// Raised when the tables change; an index of another version is rebuilt from the PNGs.
const SCHEMA: i64 = 1;

/// How long a process waits for another one's write.
const BUSY: Duration = Duration::from_secs(60);

/// Pause between two attempts to open an index that another process is making.
const PAUSE: Duration = Duration::from_millis(5);

/// The triggers keep the sum, so that the byte bound costs no scan.
const TABLES: &str = "
    CREATE TABLE samples (key BLOB PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX by_use ON samples (used);
    CREATE TABLE total (bytes INTEGER NOT NULL);
    INSERT INTO total VALUES (0);
    CREATE TRIGGER grow AFTER INSERT ON samples BEGIN UPDATE total SET bytes = bytes + NEW.bytes; END;
    CREATE TRIGGER shrink AFTER DELETE ON samples BEGIN UPDATE total SET bytes = bytes - OLD.bytes; END;
    CREATE TRIGGER change AFTER UPDATE OF bytes ON samples BEGIN UPDATE total SET bytes = bytes + NEW.bytes - OLD.bytes; END;
";

const UPSERT: &str = "INSERT INTO samples (key, bytes, used) VALUES (?1, ?2, ?3)
    ON CONFLICT (key) DO UPDATE SET bytes = excluded.bytes, used = excluded.used";

/// One sample in the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub key: CacheKey,
    pub bytes: u64,
    /// Microseconds since the Unix epoch.
    pub used: i64,
}

pub(super) struct Index(Connection);

impl Index {
    /// Opens the index, or makes an empty one; `true` if it was made just now, so that the caller fills it.
    pub fn open(path: &Path) -> rusqlite::Result<(Self, bool)> {
        // SQLite's own waiting does not cover the switch of a new file to its write-ahead log, nor the removal of the log by the
        // last process that leaves: a process that comes at that moment is told at once that the file is busy.
        let first = Instant::now();
        loop {
            match Self::try_open(path) {
                Err(error) if is_busy(&error) && first.elapsed() < BUSY => thread::sleep(PAUSE),
                opened => return opened,
            }
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<(Self, bool)> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // A lost commit only loses rows, and those come back from the PNGs.
        connection.pragma_update(None, "synchronous", "normal")?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let fresh = version != SCHEMA;
        if fresh {
            transaction.execute_batch("DROP TABLE IF EXISTS samples; DROP TABLE IF EXISTS total;")?;
            transaction.execute_batch(TABLES)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
        }
        transaction.commit()?;
        Ok((Self(connection), fresh))
    }

    /// Adds rows, or renews those that are there.
    pub fn record(&mut self, rows: &[Row]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        {
            let mut upsert = transaction.prepare_cached(UPSERT)?;
            for row in rows {
                upsert.execute(params![row.key.as_bytes(), row.bytes.cast_signed(), row.used])?;
            }
        }
        transaction.commit()
    }

    /// Records times of use; returns the keys that have no row.
    pub fn touch(&mut self, uses: &[(CacheKey, i64)]) -> rusqlite::Result<Vec<CacheKey>> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut unknown = Vec::new();
        {
            let mut update = transaction.prepare_cached("UPDATE samples SET used = max(used, ?2) WHERE key = ?1")?;
            for (key, used) in uses {
                if update.execute(params![key.as_bytes(), used])? == 0 {
                    unknown.push(*key);
                }
            }
        }
        transaction.commit()?;
        Ok(unknown)
    }

    /// Bytes of all samples.
    pub fn bytes(&self) -> rusqlite::Result<u64> {
        self.0.query_row("SELECT bytes FROM total", [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// Number of samples.
    pub fn len(&self) -> rusqlite::Result<u64> {
        self.0.query_row("SELECT count(*) FROM samples", [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    }

    /// The least recently used samples outside `keep` whose removal leaves at most `allowed` bytes, or all of those outside
    /// `keep` if that is not enough.
    pub fn victims(&self, allowed: u64, keep: &HashSet<CacheKey>) -> rusqlite::Result<Vec<CacheKey>> {
        let mut left = self.bytes()?;
        let mut victims = Vec::new();
        let mut oldest = self.0.prepare_cached("SELECT key, bytes FROM samples ORDER BY used, key")?;
        let mut rows = oldest.query([])?;
        while left > allowed {
            let Some(row) = rows.next()? else { break };
            let Some(key) = CacheKey::from_slice(row.get_ref(0)?.as_blob()?) else { continue };
            if !keep.contains(&key) {
                left = left.saturating_sub(row.get::<_, i64>(1)?.cast_unsigned());
                victims.push(key);
            }
        }
        Ok(victims)
    }

    /// Removes rows.
    pub fn forget(&mut self, keys: &[CacheKey]) -> rusqlite::Result<()> {
        let transaction = self.0.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for key in keys {
            transaction.prepare_cached("DELETE FROM samples WHERE key = ?1")?.execute([key.as_bytes()])?;
        }
        transaction.commit()
    }

    /// Bytes of one sample, if it has a row.
    pub fn bytes_of(&self, key: CacheKey) -> rusqlite::Result<Option<u64>> {
        let mut select = self.0.prepare_cached("SELECT bytes FROM samples WHERE key = ?1")?;
        let bytes: Option<i64> = select.query_row([key.as_bytes()], |row| row.get(0)).optional()?;
        Ok(bytes.map(i64::cast_unsigned))
    }

    /// The keys of all rows.
    pub fn keys(&self) -> rusqlite::Result<Vec<CacheKey>> {
        let mut select = self.0.prepare("SELECT key FROM samples")?;
        let keys = select.query_map([], |row| Ok(CacheKey::from_slice(row.get_ref(0)?.as_blob()?)))?;
        keys.filter_map(Result::transpose).collect()
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
