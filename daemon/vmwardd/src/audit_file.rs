//! The audit log on disk: one record a line, each bound to the one before.
//!
//! It is appended to without a sync, because the journal is what decisions rest
//! on; a timer syncs it, and a record that a crash kept from it is written again
//! from the journal or the spool at the next start. Decisions are recorded right
//! after they are answered: until then their records wait in memory, with a copy
//! where the process's death does not reach. While records cannot be written
//! they wait in a bounded queue, and the daemon denies rather than act
//! unrecorded.

mod rotate;
mod scan;

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmward_core::audit::chain::Chain;
use vmward_core::audit::{AUDIT_FORMAT, AuditBody, DaemonRecord, Genesis};
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;

pub use self::rotate::Rotation;
use self::scan::scan;
use crate::feed::Feed;
use crate::spool::Spool;

/// The file's name in the log directory.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Most records that wait for a disk that takes nothing.
const BACKLOG_MAX: usize = 10_000;

/// The open log.
pub struct AuditFile {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    chain: Chain,
    boot_id: String,
    /// The line being written.
    line: Vec<u8>,
    dirty: bool,
    /// Half a line may stand after `len`.
    torn: bool,
    /// Records that are not written yet.
    backlog: VecDeque<Waiting>,
    /// The disk took nothing when it was last asked.
    blocked: bool,
    dropped: u64,
    spool: Option<Spool>,
    feed: Option<Arc<Feed>>,
}

/// A record that is not written yet.
struct Waiting {
    body: AuditBody,
    /// The body as JSON.
    text: Vec<u8>,
    at: Now,
}

/// What would make a record again that the process's death kept from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The journal holds it.
    InJournal,
    /// Nothing does yet.
    Nowhere,
}

impl Waiting {
    fn new(body: AuditBody, at: Now) -> Self {
        let text = body.text();
        Self { body, text, at }
    }
}

/// What reading the log at start found.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Of the decisions asked for, those that the log has.
    pub decisions: HashSet<DecisionId>,
    /// The newest decision in the log.
    pub newest: Option<DecisionId>,
    /// The newest allow in the log that the journal should have.
    pub journalled: Option<Journalled>,
    /// The newest kernel event of this boot in the log.
    pub kernel_seq: Option<u64>,
    /// What had to be put aside, as a sentence for the log and the status.
    pub put_aside: Option<String>,
}

/// An allow that is in the journal as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journalled {
    /// Which.
    pub id: DecisionId,
    /// The boot in which its record was written.
    pub boot_id: String,
    /// When, in that boot's time.
    pub boot_ns: i64,
    /// When, as the record says it.
    pub time: String,
}

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Opening or reading failed.
    #[error("Failed to open audit log {path}")]
    Open {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Moving a damaged part out of the way failed.
    #[error("Failed to put the damaged part of audit log {path} aside")]
    PutAside {
        /// The log.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl AuditFile {
    /// Opens the log in `dir` and goes on with its chain. `wanted` are the
    /// decisions of the journal, to find out which of them the log lacks.
    ///
    /// # Errors
    /// See [`AuditError`]; damage alone is no error, it is put aside and told.
    pub fn open(
        dir: &Path,
        boot_id: &str,
        at: Now,
        wanted: &HashSet<DecisionId>,
    ) -> Result<(AuditFile, Resumed), AuditError> {
        let path = dir.join(AUDIT_FILE);
        let at_open = |source| AuditError::Open {
            path: path.clone(),
            source,
        };
        let at_aside = |source| AuditError::PutAside {
            path: path.clone(),
            source,
        };
        let mut file = open_append(&path).map_err(at_open)?;
        let mut resumed = Resumed::default();
        let scan = scan(&mut file, boot_id, wanted, &mut resumed).map_err(at_open)?;
        if scan.torn > 0 {
            let side = put_tail_aside(&mut file, &path, scan.whole, at).map_err(at_aside)?;
            resumed.put_aside = Some(format!(
                "the last record of {} was torn by a crash; its {} bytes are in {}",
                path.display(),
                scan.torn,
                side.display()
            ));
        }
        rotate::look_back(dir, boot_id, wanted, &mut resumed).map_err(at_open)?;
        let mut len = scan.whole;
        let chain = match scan.last_line.as_deref().map(Chain::resume) {
            // A crash may have come after the file before this one was put aside.
            None => rotate::chain_before(dir).map_err(at_open)?,
            Some(Ok(chain)) => chain,
            Some(Err(error)) => {
                let side = side_path(&path, "damaged", at);
                std::fs::rename(&path, &side).map_err(at_aside)?;
                resumed.put_aside = Some(format!(
                    "the last record of {} is damaged ({error}); the whole log is in {} and a new \
                     chain begins",
                    path.display(),
                    side.display()
                ));
                file = open_append(&path).map_err(at_open)?;
                len = 0;
                Chain::new()
            }
        };
        let mut audit = AuditFile {
            file: Arc::new(file),
            path,
            len,
            chain,
            boot_id: boot_id.to_owned(),
            line: Vec::new(),
            dirty: false,
            torn: false,
            backlog: VecDeque::new(),
            blocked: false,
            dropped: 0,
            spool: None,
            feed: None,
        };
        if len == 0 {
            audit.begin(at);
        }
        Ok((audit, resumed))
    }

    /// Passes every record on once it is written.
    pub fn set_feed(&mut self, feed: Arc<Feed>) {
        self.feed = Some(feed);
    }

    /// Where copies are kept of records that are written later. It must be empty.
    pub fn set_spool(&mut self, spool: Spool) {
        self.spool = Some(spool);
    }

    /// Appends a record. Never fails to the caller: what the disk does not take
    /// waits, and [`AuditFile::fault`] says so.
    pub fn append(&mut self, body: AuditBody, at: Now) {
        self.take(Waiting::new(body, at));
        self.flush();
    }

    /// Has a record written by the next [`AuditFile::flush`]. From here on no
    /// death of the process keeps it from the log; where that cannot be had, it
    /// is written at once.
    pub fn append_soon(&mut self, body: AuditBody, at: Now, copied: Copied) {
        let record = Waiting::new(body, at);
        let is_safe = match copied {
            Copied::InJournal => true,
            Copied::Nowhere => {
                let spool = self.spool.as_mut();
                spool.is_some_and(|spool| spool.put(&record.text))
            }
        };
        self.take(record);
        if !is_safe {
            self.flush();
        }
    }

    fn take(&mut self, record: Waiting) {
        self.backlog.push_back(record);
        if self.backlog.len() > BACKLOG_MAX {
            self.backlog.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
    }

    /// Writes what waits, as far as the disk takes it.
    pub fn flush(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        self.write_backlog();
        self.blocked = !self.backlog.is_empty();
        if let Some(spool) = self.spool.as_mut().filter(|_| !self.blocked) {
            spool.clear();
        }
    }

    fn write_backlog(&mut self) {
        if self.dropped > 0 && !self.backlog.is_empty() {
            let gap = DaemonRecord {
                event: "audit-records-dropped".to_owned(),
                detail: Some(format!(
                    "{} records found no room while the log could not be written",
                    self.dropped
                )),
            };
            let at = self
                .backlog
                .front()
                .map_or_else(Now::default, |waiting| waiting.at);
            if self
                .write(&Waiting::new(AuditBody::Daemon(gap), at))
                .is_err()
            {
                return;
            }
            self.dropped = 0;
        }
        while let Some(record) = self.backlog.pop_front() {
            if let Err(error) = self.write(&record) {
                tracing::error!(%error, path = %self.path.display(), "cannot write the audit log");
                self.backlog.push_front(record);
                return;
            }
        }
    }

    fn write(&mut self, record: &Waiting) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        let before = self.chain.clone();
        self.chain
            .append_to(&mut self.line, &record.text, &self.boot_id, record.at);
        self.line.push(b'\n');
        if let Err(error) = (&*self.file).write_all(&self.line) {
            self.chain = before;
            // Half a line would break the chain for every reader. Where it
            // cannot be cut off now, nothing is written before it is.
            self.torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len = self.len.saturating_add(self.line.len() as u64);
        self.dirty = true;
        if let Some(feed) = &self.feed {
            let text = str::from_utf8(&self.line).unwrap_or_default();
            feed.publish(&record.body, text.trim_end());
        }
        Ok(())
    }

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// The sync failed.
    pub fn sync(&mut self) -> io::Result<()> {
        if self.dirty {
            self.file.sync_data()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// The file, where something in it waits to be made durable: sync it without
    /// holding up anyone who writes, and say so when that [failed](Self::unsynced).
    pub fn to_sync(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.dirty).then(|| Arc::clone(&self.file))
    }

    /// The sync failed; the next one tries again.
    pub fn unsynced(&mut self) {
        self.dirty = true;
    }

    /// Why the disk takes no records, where it takes none.
    pub fn fault(&self) -> Option<String> {
        self.blocked.then(|| {
            format!(
                "{} audit records cannot be written to {}; free space on its disk",
                self.backlog.len(),
                self.path.display()
            )
        })
    }
}

fn genesis() -> AuditBody {
    AuditBody::Genesis(Genesis {
        format: AUDIT_FORMAT,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

fn put_tail_aside(file: &mut File, path: &Path, whole: u64, at: Now) -> io::Result<PathBuf> {
    let side = side_path(path, "torn", at);
    let mut kept = open_append(&side)?;
    file.seek(SeekFrom::Start(whole))?;
    io::copy(file, &mut kept)?;
    kept.sync_all()?;
    file.set_len(whole)?;
    Ok(side)
}

fn side_path(path: &Path, what: &str, at: Now) -> PathBuf {
    path.with_extension(format!("{what}-{}", at.wall_ns))
}

fn open_append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

#[cfg(test)]
mod tests;
