//! The audit log on disk: one record a line, each bound to the one before.
//!
//! It is appended to without a sync, because the journal is what decisions rest
//! on; a timer syncs it, and a record that a crash kept from it is written again
//! from the journal at the next start. While records cannot be written they
//! wait in a bounded queue, and the daemon denies rather than act unrecorded.

mod rotate;

use std::collections::{HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use vmward_core::audit::chain::Chain;
use vmward_core::audit::{AUDIT_FORMAT, AuditBody, DaemonRecord, Genesis};
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;

pub use self::rotate::Rotation;
use crate::feed::Feed;

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
    backlog: VecDeque<(AuditBody, Now)>,
    dropped: u64,
    feed: Option<Arc<Feed>>,
}

/// What reading the log at start found.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Of the decisions asked for, those that the log has.
    pub decisions: HashSet<DecisionId>,
    /// The newest decision in the log.
    pub newest: Option<DecisionId>,
    /// The newest kernel event of this boot in the log.
    pub kernel_seq: Option<u64>,
    /// What had to be put aside, as a sentence for the log and the status.
    pub put_aside: Option<String>,
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

#[derive(Deserialize)]
struct Peek {
    kind: String,
    boot_id: String,
    #[serde(default)]
    decision_id: Option<DecisionId>,
    #[serde(default)]
    kernel_seq: Option<u64>,
    #[serde(default)]
    to: Option<u64>,
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
            dropped: 0,
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

    /// Appends a record. Never fails to the caller: what the disk does not take
    /// waits, and [`AuditFile::fault`] says so.
    pub fn append(&mut self, body: AuditBody, at: Now) {
        self.backlog.push_back((body, at));
        if self.backlog.len() > BACKLOG_MAX {
            self.backlog.pop_front();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.flush();
    }

    /// Writes what waits, as far as the disk takes it.
    pub fn flush(&mut self) {
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
                .map_or_else(Now::default, |(_, at)| *at);
            if self.write(&AuditBody::Daemon(gap), at).is_err() {
                return;
            }
            self.dropped = 0;
        }
        while let Some((body, at)) = self.backlog.pop_front() {
            if let Err(error) = self.write(&body, at) {
                tracing::error!(%error, path = %self.path.display(), "cannot write the audit log");
                self.backlog.push_front((body, at));
                return;
            }
        }
    }

    fn write(&mut self, body: &AuditBody, at: Now) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
            self.torn = false;
        }
        let before = self.chain.clone();
        self.chain
            .append_to(&mut self.line, body, &self.boot_id, at);
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
            feed.publish(body, text.trim_end());
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

    /// Why records wait, where they do.
    pub fn fault(&self) -> Option<String> {
        match self.backlog.len() {
            0 => None,
            waiting => Some(format!(
                "{waiting} audit records cannot be written to {}; free space on its disk",
                self.path.display()
            )),
        }
    }
}

fn genesis() -> AuditBody {
    AuditBody::Genesis(Genesis {
        format: AUDIT_FORMAT,
        daemon: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

struct Scan {
    /// Bytes of whole lines.
    whole: u64,
    /// Bytes after the last line feed.
    torn: u64,
    last_line: Option<String>,
}

fn scan(
    file: &mut File,
    boot_id: &str,
    wanted: &HashSet<DecisionId>,
    resumed: &mut Resumed,
) -> io::Result<Scan> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = BufReader::new(file);
    let mut found = Scan {
        whole: 0,
        torn: 0,
        last_line: None,
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line)? as u64;
        if line.pop_if(|last| *last == b'\n').is_none() {
            found.torn = bytes;
            return Ok(found);
        }
        found.whole = found.whole.saturating_add(bytes);
        let text = String::from_utf8_lossy(&line).into_owned();
        if let Ok(peek) = serde_json::from_str::<Peek>(&text) {
            note(&peek, boot_id, wanted, resumed);
        }
        found.last_line = Some(text);
    }
}

fn note(peek: &Peek, boot_id: &str, wanted: &HashSet<DecisionId>, resumed: &mut Resumed) {
    match peek.kind.as_str() {
        "decision" => {
            resumed.newest = resumed.newest.max(peek.decision_id);
            resumed
                .decisions
                .extend(peek.decision_id.filter(|id| wanted.contains(id)));
        }
        "kernel" | "vm" | "loss" if peek.boot_id == boot_id => {
            let newest = peek.kernel_seq.or(peek.to);
            resumed.kernel_seq = resumed.kernel_seq.max(newest);
        }
        _ => {}
    }
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
