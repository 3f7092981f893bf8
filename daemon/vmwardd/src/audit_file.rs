//! The audit log on disk: one record a line, each bound to the one before.
//!
//! It is appended to without a sync, because the journal is what decisions rest
//! on; a timer syncs it, and a record that a crash kept from it is written again
//! from the journal or the spool at the next start (see [`crate::audit_log`]).
//! While records cannot be written they wait in a bounded queue, and the daemon
//! denies rather than act unrecorded.

mod head;
mod resumed;
mod rotate;
mod scan;

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmward_core::audit::chain::Chain;
use vmward_core::audit::{AUDIT_FORMAT, AuditBody, Genesis};
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;

pub use self::resumed::{Journalled, Requests, Resumed, Said, Written};
pub use self::rotate::{Rotation, files_since};
use self::scan::scan;
use crate::audit_text;
use crate::feed::Feed;
use crate::secure_file::append_own;

/// The file's name in the log directory.
pub const AUDIT_FILE: &str = "audit.jsonl";
/// Most records that wait for a disk that takes nothing.
const BACKLOG_MAX: usize = 10_000;
/// So many bytes of lines are written at once, or little more.
const LINES_BYTES: usize = 64 * 1024;

/// The open log.
pub struct AuditFile {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    chain: Chain,
    boot_id: String,
    /// The lines being written, and where each of them ends.
    lines: Vec<u8>,
    ends: Vec<usize>,
    dirty: bool,
    /// Half a line may stand after `len`.
    torn: bool,
    /// Records that are not written yet.
    backlog: VecDeque<Waiting>,
    /// The disk took nothing when it was last asked.
    blocked: bool,
    /// How many found no room behind the backlog, and when the last of them came.
    dropped: u64,
    dropped_at: Now,
    feed: Option<Arc<Feed>>,
    /// Where the head of the chain is kept.
    head: head::Head,
}

/// A record that is not written yet.
pub(crate) struct Waiting {
    /// Where somebody listens to records.
    pub(crate) body: Option<AuditBody>,
    /// The body as JSON.
    pub(crate) text: Vec<u8>,
    pub(crate) at: Now,
}

impl Waiting {
    pub(crate) fn new(body: AuditBody, at: Now) -> Self {
        let text = audit_text::text(&body);
        let body = Some(body);
        Self { body, text, at }
    }
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
        let mut file = append_own(&path).map_err(at_open)?;
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
                file = append_own(&path).map_err(at_open)?;
                len = 0;
                Chain::new()
            }
        };
        resumed.records = chain.next_seq().saturating_sub(1);
        let mut audit = AuditFile {
            file: Arc::new(file),
            path,
            len,
            chain,
            boot_id: boot_id.to_owned(),
            lines: Vec::new(),
            ends: Vec::new(),
            dirty: false,
            torn: false,
            backlog: VecDeque::new(),
            blocked: false,
            dropped: 0,
            dropped_at: at,
            feed: None,
            head: head::Head::default(),
        };
        if len == 0 {
            audit.begin(at);
        }
        if let Some(what) = &resumed.put_aside {
            audit.append(AuditBody::daemon("audit-put-aside", Some(what.clone())), at);
        }
        Ok((audit, resumed))
    }

    /// What [`AuditFile::open`] would find, with nothing opened, made or put aside.
    ///
    /// # Errors
    /// The system's errors.
    pub fn look(dir: &Path, boot_id: &str, wanted: &HashSet<DecisionId>) -> io::Result<Resumed> {
        let mut resumed = Resumed::default();
        match File::open(dir.join(AUDIT_FILE)) {
            Ok(mut file) => drop(scan(&mut file, boot_id, wanted, &mut resumed)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        rotate::look_back(dir, boot_id, wanted, &mut resumed)?;
        Ok(resumed)
    }

    /// Passes every record on once it is written.
    pub fn set_feed(&mut self, feed: Arc<Feed>) {
        self.feed = Some(feed);
    }

    /// Appends a record. Never fails to the caller: what the disk does not take
    /// waits, and [`AuditFile::fault`] says so.
    pub fn append(&mut self, body: AuditBody, at: Now) {
        self.append_all([Waiting::new(body, at)]);
    }

    /// Appends records, as [`AuditFile::append`] does one. Where there is no room
    /// for all, the newest go: no allow is given while the disk takes nothing, so
    /// those of allows are the oldest that wait.
    pub(crate) fn append_all(&mut self, records: impl IntoIterator<Item = Waiting>) {
        let mut asked = false;
        for record in records {
            if self.backlog.len() >= BACKLOG_MAX && !asked {
                self.flush();
                asked = true;
            }
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push_back(record);
                asked = false;
            } else {
                self.dropped = self.dropped.saturating_add(1);
                self.dropped_at = record.at;
            }
        }
        if !asked {
            self.flush();
        }
    }

    /// Writes what waits, as far as the disk takes it.
    pub fn flush(&mut self) {
        if self.backlog.is_empty() {
            return;
        }
        self.flush_backlog();
        if self.dropped > 0 && self.backlog.len() < BACKLOG_MAX {
            let gap = self.dropped_record();
            self.backlog.push_back(gap);
            self.dropped = 0;
            self.flush_backlog();
        }
        let was_blocked = self.blocked;
        self.blocked = !self.backlog.is_empty();
        if was_blocked && !self.blocked {
            tracing::info!(path = %self.path.display(), "the audit log is written again");
        }
    }

    fn flush_backlog(&mut self) {
        let mut waiting = std::mem::take(&mut self.backlog);
        let written = self.write_all(waiting.make_contiguous());
        waiting.drain(..written);
        self.backlog = waiting;
    }

    /// Writes records; returns how many of them the disk took.
    fn write_all(&mut self, records: &[Waiting]) -> usize {
        let mut written = 0;
        let mut bytes_max = LINES_BYTES;
        while let Some(rest) = records.get(written..).filter(|rest| !rest.is_empty()) {
            let mut bytes = 0;
            let chunk = rest.iter().take_while(|record| {
                let has_room = bytes < bytes_max;
                bytes += record.text.len();
                has_room
            });
            let chunk = chunk.count();
            let chunk = rest.get(..chunk).unwrap_or(rest);
            if let Err(error) = self.write(chunk) {
                if chunk.len() > 1 {
                    // The disk may still take some of them, one by one.
                    bytes_max = 1;
                    continue;
                }
                // Once, and not at each try: `status` says so all the while.
                if !self.blocked {
                    let path = self.path.display();
                    tracing::error!(%error, %path, "cannot write the audit log");
                }
                break;
            }
            written += chunk.len();
        }
        written
    }

    /// A record of those that found no room. Its place is theirs, behind all that
    /// came before them.
    fn dropped_record(&self) -> Waiting {
        let detail = format!(
            "{} records found no room while the log could not be written",
            self.dropped
        );
        let gap = AuditBody::daemon("audit-records-dropped", Some(detail));
        Waiting::new(gap, self.dropped_at)
    }

    /// Writes records with one write, all or none.
    fn write(&mut self, records: &[Waiting]) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        let before = self.chain.clone();
        self.lines.clear();
        self.ends.clear();
        for record in records {
            self.chain
                .append_to(&mut self.lines, &record.text, &self.boot_id, record.at);
            self.ends.push(self.lines.len());
            self.lines.push(b'\n');
        }
        if let Err(error) = (&*self.file).write_all(&self.lines) {
            self.chain = before;
            // Half a line would break the chain for every reader. Where it
            // cannot be cut off now, nothing is written before it is.
            self.torn = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.len = self.len.saturating_add(self.lines.len() as u64);
        self.dirty = true;
        self.head.put(&self.chain);
        if let Some(feed) = &self.feed {
            let mut start = 0;
            for (record, end) in records.iter().zip(&self.ends) {
                let line = self.lines.get(start..*end).unwrap_or_default();
                if let Some(body) = &record.body {
                    feed.publish(body, str::from_utf8(line).unwrap_or_default());
                }
                start = end.saturating_add(1);
            }
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
    let mut kept = append_own(&side)?;
    file.seek(SeekFrom::Start(whole))?;
    io::copy(file, &mut kept)?;
    kept.sync_all()?;
    file.set_len(whole)?;
    Ok(side)
}

fn side_path(path: &Path, what: &str, at: Now) -> PathBuf {
    path.with_extension(format!("{what}-{}", at.wall_ns))
}

#[cfg(test)]
mod tests;
