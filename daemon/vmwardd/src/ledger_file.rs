//! The journal on disk: what is durable before an allow is answered.
//!
//! A batch of lines is appended and synced as one. The file has room for more lines
//! beforehand, as zeros: a sync that does not have to tell the file system of a new
//! length takes half as long, and waits for nobody else's changes.
//!
//! A failed append is cut off again; a failed sync is never retried, because after
//! it the kernel may have dropped the very pages and a second sync would lie. From
//! then on the ledger refuses and the daemon denies, until a restart has read what
//! really is on disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::crash::{self, Point};
use crate::secure_file::open_own;

/// Rewritten as a snapshot beyond this size, and beyond twice the last snapshot:
/// where that much is live, rewriting it at every turn would gain nothing. Nobody
/// decides meanwhile, so it is seldom; and what a start reads is in memory for a
/// moment, four times as large, so it is not seldom at will. A daemon that its tests
/// kill over and over has more of them.
pub const COMPACT_BYTES: u64 = if cfg!(feature = "crash-points") {
    1024 * 1024
} else {
    8 * 1024 * 1024
};
/// Longest journal that is read at start; far more than compaction leaves.
pub const JOURNAL_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The journal's name in the state directory.
pub const JOURNAL_FILE: &str = "journal.jsonl";
/// How much room is made at once: for some hundred decisions.
const ROOM_BYTES: u64 = 1024 * 1024;

/// Where the bytes go. Tests put a disk there that fails or forgets.
pub trait Storage: Send {
    /// Everything stored.
    fn read(&mut self) -> io::Result<Vec<u8>>;
    /// Adds bytes at the end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once everything appended survives a power cut.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts everything off after `len` bytes.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Puts `bytes` in the place of everything, all or nothing.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), ReplaceError>;
    /// Its name for people.
    fn place(&self) -> String {
        "the journal".to_owned()
    }
}

/// Why a snapshot did not take the journal's place.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// The old journal stands as it was.
    #[error("Failed to write the snapshot")]
    Before(#[source] io::Error),
    /// The snapshot stands, and may not survive a power cut.
    #[error("Failed to make the snapshot durable")]
    After(#[source] io::Error),
}

/// Why an entry is not durable.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be written as JSON.
    #[error("Failed to write a journal entry as JSON")]
    Encode(#[source] serde_json::Error),
    /// The write failed and was undone.
    #[error("Failed to append to the journal")]
    Append(#[source] io::Error),
    /// The sync failed; nothing more will be taken.
    #[error("Failed to sync the journal")]
    Sync(#[source] io::Error),
    /// An earlier fault stands in the way.
    #[error("the journal takes no entries: {0}")]
    Closed(String),
}

/// The journal with its health.
pub struct Ledger {
    storage: Box<dyn Storage>,
    len: u64,
    /// How many lines those bytes are.
    lines: u64,
    snapshot_len: u64,
    closed: Option<String>,
    /// What the disk said to the last lines, where it did not take them.
    refused: Option<String>,
}

impl Ledger {
    /// Opens a journal whose first `good_len` bytes are `lines` whole lines; what
    /// comes after was torn by a crash, was never acknowledged, and is cut off.
    ///
    /// # Errors
    /// The cut failed.
    pub fn open(mut storage: Box<dyn Storage>, good_len: u64, lines: u64) -> io::Result<Ledger> {
        storage.truncate(good_len)?;
        storage.sync()?;
        Ok(Ledger {
            storage,
            len: good_len,
            lines,
            snapshot_len: 0,
            closed: None,
            refused: None,
        })
    }

    /// A ledger that takes nothing, with the reason: the journal is damaged and
    /// must not be written over.
    pub fn closed(storage: Box<dyn Storage>, why: String) -> Ledger {
        Ledger {
            storage,
            len: 0,
            lines: 0,
            snapshot_len: 0,
            closed: Some(why),
            refused: None,
        }
    }

    /// Takes nothing from now on.
    pub fn close(&mut self, why: String) {
        self.closed.get_or_insert(why);
    }

    /// Why nothing is taken, where that is so.
    pub fn fault(&self) -> Option<&str> {
        self.closed.as_deref()
    }

    /// Why the last lines are not durable, where they are not: where, and what the
    /// system says. The next lines are tried all the same, unless there is a fault.
    pub fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// The number of the next line.
    pub fn next_line(&self) -> u64 {
        self.lines.saturating_add(1)
    }

    /// Makes whole lines durable: one write, one sync.
    ///
    /// # Errors
    /// None of the lines is durable, as far as can be known.
    pub fn commit(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
        if let Some(why) = &self.closed {
            return Err(LedgerError::Closed(why.clone()));
        }
        if lines.is_empty() {
            return Ok(());
        }
        crash::point(Point::BeforeJournal);
        let taken = self.take(lines);
        self.refused = taken.as_ref().err().map(|error| {
            let cause = std::error::Error::source(error);
            let cause = cause.map_or_else(|| error.to_string(), ToString::to_string);
            format!("{}: {cause}", self.storage.place())
        });
        taken
    }

    fn take(&mut self, lines: &[u8]) -> Result<(), LedgerError> {
        if let Err(error) = self.storage.append(lines) {
            if let Err(cut) = self.storage.truncate(self.len) {
                self.closed = Some(format!(
                    "an append failed ({error}) and could not be cut off ({cut}); \
                     free space on its disk and restart vmwardd"
                ));
            }
            return Err(LedgerError::Append(error));
        }
        crash::point(Point::AfterJournalWrite);
        if let Err(error) = self.storage.sync() {
            self.closed = Some(format!(
                "a sync failed ({error}), so its disk cannot be trusted; check it and restart vmwardd"
            ));
            return Err(LedgerError::Sync(error));
        }
        crash::point(Point::AfterFsync);
        self.len = self.len.saturating_add(lines.len() as u64);
        self.lines = self.lines.saturating_add(count(lines));
        Ok(())
    }

    /// The daemon ends: the file is its lines, and no room for more. Without that it
    /// is no worse.
    ///
    /// # Errors
    /// The disk's.
    pub fn trim(&mut self) -> io::Result<()> {
        match self.closed {
            None => self.storage.truncate(self.len),
            Some(_) => Ok(()),
        }
    }

    /// Is it time for a snapshot?
    pub fn wants_snapshot(&self) -> bool {
        let twice = self.snapshot_len.saturating_mul(2);
        self.closed.is_none() && self.len > COMPACT_BYTES.max(twice)
    }

    /// Puts a snapshot in the place of the journal.
    ///
    /// # Errors
    /// See [`ReplaceError`]; the journal is usable after `Before`.
    pub fn compact(&mut self, lines: &[u8]) -> Result<(), ReplaceError> {
        let outcome = self.storage.replace(lines);
        match &outcome {
            Ok(()) => {
                self.len = lines.len() as u64;
                self.lines = count(lines);
                self.snapshot_len = self.len;
            }
            Err(ReplaceError::Before(_)) => {}
            Err(ReplaceError::After(error)) => {
                self.closed = Some(format!(
                    "its snapshot could not be made durable ({error}); check its disk and restart vmwardd"
                ));
            }
        }
        outcome
    }
}

/// Text within a line has no line feed.
fn count(lines: &[u8]) -> u64 {
    lines.split(|byte| *byte == b'\n').skip(1).count() as u64
}

/// A journal in a directory of its own.
pub struct FileStorage {
    dir: File,
    path: PathBuf,
    file: File,
    /// Where the next line goes.
    end: u64,
    /// How long the file is, with the room behind its lines.
    room: u64,
}

impl FileStorage {
    /// Opens or makes `<dir>/journal.jsonl`, for root only, and makes its name
    /// durable.
    ///
    /// # Errors
    /// The system's errors.
    pub fn open(dir: &Path) -> io::Result<FileStorage> {
        let path = dir.join(JOURNAL_FILE);
        let file = open_own(&path)?;
        let len = file.metadata()?.len();
        let dir = File::open(dir)?;
        dir.sync_all()?;
        Ok(FileStorage {
            dir,
            path,
            file,
            end: len,
            room: len,
        })
    }

    /// The journal's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_snapshot(&self, bytes: &[u8]) -> io::Result<File> {
        let new_path = self.path.with_extension("new");
        let mut new = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new_path)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        crash::point(Point::BeforeRename);
        std::fs::rename(&new_path, &self.path)?;
        crash::point(Point::AfterRename);
        Ok(new)
    }

    /// Makes room for lines up to `end`, and for more. Where the disk has none, the
    /// lines themselves may still fit.
    fn make_room(&mut self, end: u64) -> io::Result<()> {
        let room = end.saturating_add(ROOM_BYTES);
        self.file.seek(SeekFrom::Start(self.room))?;
        let zeros = &mut io::repeat(0).take(room - self.room);
        match io::copy(zeros, &mut self.file) {
            Ok(_bytes) => self.room = room,
            Err(_no_room) => self.file.set_len(self.room)?,
        }
        Ok(())
    }
}

impl Storage for FileStorage {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        (&self.file)
            .take(JOURNAL_BYTES_MAX + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > JOURNAL_BYTES_MAX {
            Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is longer than {JOURNAL_BYTES_MAX} bytes"),
            ))
        } else {
            Ok(bytes)
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.end.saturating_add(bytes.len() as u64);
        if end > self.room {
            self.make_room(end)?;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end = end;
        self.room = self.room.max(end);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)?;
        (self.end, self.room) = (len, len);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> Result<(), ReplaceError> {
        self.file = self.write_snapshot(bytes).map_err(ReplaceError::Before)?;
        self.end = bytes.len() as u64;
        self.room = self.end;
        self.dir.sync_all().map_err(ReplaceError::After)
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}

#[cfg(test)]
mod tests;
