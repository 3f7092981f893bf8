//! The audit log as the engine sees it: records go in, and a thread of their own,
//! the scribe, puts them into the file.
//!
//! ```text
//!   decided ─▶ copied: journal or spool ─▶ waits ─▶ answer
//!                                            │
//!                          the scribe, in batches: hash, one write, spool emptied
//! ```
//!
//! Hashing and writing a record takes longer than deciding, so nobody who waits
//! for an answer does it. From [`AuditLog::append_soon`] on no death of the
//! process keeps a record from the log: its copy is in the journal, or in the
//! spool, from where the next start writes it. What waits is bounded by the
//! spool; who finds no room there writes what waits himself.
//!
//! Locks are taken in this order: the file, then what waits. Whoever takes what
//! waits holds the file until it is written, so the log has the order in which
//! records came.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use vmward_core::audit::AuditBody;
use vmward_core::clock::Now;

use crate::audit_file::{AuditFile, Rotation, Waiting};
use crate::audit_text;
use crate::crash::{self, Point};
use crate::feed::Feed;
use crate::spool::SpoolPair;

/// Most records that wait for the scribe.
const WAITING_MAX: usize = 1024;
/// How long the scribe gathers records before it writes again. Meanwhile nobody
/// has to wake it, and it is a fraction of what the spool has room for.
const GATHER: Duration = Duration::from_micros(500);

/// What would make a record again that the process's death kept from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The journal holds it.
    InJournal,
    /// Nothing does yet.
    Nowhere,
}

/// See the module's text.
pub struct AuditLog {
    file: Mutex<AuditFile>,
    soon: Mutex<Soon>,
    /// The file takes nothing, as it was after the last write.
    blocked: AtomicBool,
    /// The scribe is at work, or has been told that there is some.
    rung: AtomicBool,
    ended: AtomicBool,
    feed: Arc<Feed>,
    scribe: OnceLock<Thread>,
}

/// Records that the scribe has not taken yet.
struct Soon {
    records: Vec<Late>,
    spool: Option<SpoolPair>,
}

/// A record that the scribe has not taken yet.
enum Late {
    /// Its text is made, and in the spool where that had room.
    Spooled(Waiting),
    /// The journal holds it: the scribe makes its text.
    Journalled(AuditBody, Now),
}

impl Late {
    fn into_waiting(self) -> Waiting {
        match self {
            Late::Spooled(waiting) => waiting,
            Late::Journalled(body, at) => Waiting::new(body, at),
        }
    }
}

impl AuditLog {
    /// Without a spool each record is written at once. It must be empty.
    pub fn new(file: AuditFile, spool: Option<SpoolPair>, feed: Arc<Feed>) -> Arc<AuditLog> {
        Arc::new(AuditLog {
            blocked: AtomicBool::new(file.fault().is_some()),
            file: Mutex::new(file),
            soon: Mutex::new(Soon {
                records: Vec::new(),
                spool,
            }),
            feed,
            rung: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            scribe: OnceLock::new(),
        })
    }

    /// Appends a record, behind what waits. Never fails to the caller: what the
    /// disk does not take waits, and [`AuditLog::fault`] says so.
    pub fn append(&self, body: AuditBody, at: Now) {
        let mut file = self.file();
        self.write_out(&mut file, Some(Waiting::new(body, at)));
    }

    /// Has a record written by the scribe. From here on no death of the process
    /// keeps it from the log; where that cannot be had, it is written at once,
    /// and this is false.
    pub fn append_soon(&self, body: AuditBody, at: Now, copied: Copied) -> bool {
        let is_safe = match copied {
            Copied::InJournal => {
                let mut soon = self.soon();
                soon.records.push(Late::Journalled(body, at));
                soon.records.len() < WAITING_MAX
            }
            Copied::Nowhere => {
                let text = audit_text::text(&body);
                let mut soon = self.soon();
                let spool = soon.spool.as_mut();
                let has_copy = spool.is_some_and(|spool| spool.put(&text));
                let body = self.feed.wants(&body).then_some(body);
                let waiting = Waiting { body, text, at };
                soon.records.push(Late::Spooled(waiting));
                has_copy && soon.records.len() < WAITING_MAX
            }
        };
        if !is_safe {
            self.flush();
        }
        is_safe
    }

    /// Writes what waits, as far as the disk takes it.
    pub fn flush(&self) {
        self.write_out(&mut self.file(), None);
    }

    /// Writes what waits, and then one more.
    fn write_out(&self, file: &mut AuditFile, last: Option<Waiting>) {
        let waiting = {
            let mut soon = self.soon();
            // As many will come again: whoever appends them waits for an answer.
            let room = Vec::with_capacity(soon.records.len());
            let records = std::mem::replace(&mut soon.records, room);
            if let Some(spool) = soon.spool.as_mut().filter(|_| !records.is_empty()) {
                spool.turn();
            }
            records
        };
        if !waiting.is_empty() {
            crash::point(Point::BeforeLog);
        }
        let waiting = waiting.into_iter().map(Late::into_waiting);
        file.append_all(waiting.chain(last));
        let blocked = file.fault().is_some();
        self.blocked.store(blocked, Ordering::Release);
        let mut soon = self.soon();
        if !blocked {
            let all = soon.records.is_empty();
            if let Some(spool) = &mut soon.spool {
                spool.written(all);
            }
        }
    }

    /// Tells the scribe that there is something to do. For after the answer is
    /// sent, so that nobody waits for it. Where there is no scribe, the one who
    /// calls this writes.
    pub fn ring(&self) {
        match self.scribe.get() {
            None => self.flush(),
            Some(scribe) => {
                if !self.rung.swap(true, Ordering::AcqRel) {
                    scribe.unpark();
                }
            }
        }
    }

    /// Starts the scribe.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_scribe(self: &Arc<Self>) -> io::Result<JoinHandle<()>> {
        let own = Arc::clone(self);
        let thread = std::thread::Builder::new()
            .name("scribe".to_owned())
            .spawn(move || own.scribe())?;
        // It is started once; a second one would have nothing to do.
        let _first = self.scribe.set(thread.thread().clone());
        Ok(thread)
    }

    fn scribe(&self) {
        while !self.ended.load(Ordering::Acquire) {
            if !self.rung.load(Ordering::Acquire) {
                std::thread::park();
                continue;
            }
            self.flush();
            std::thread::park_timeout(GATHER);
            // Who comes after this rings; who came before it is seen here.
            self.rung.swap(false, Ordering::AcqRel);
            if !self.soon().records.is_empty() {
                self.rung.store(true, Ordering::Release);
            }
        }
    }

    /// Ends the scribe. Nothing may be appended for it any more.
    pub fn end_scribe(&self) {
        self.ended.store(true, Ordering::Release);
        if let Some(scribe) = self.scribe.get() {
            scribe.unpark();
        }
    }

    /// Puts the file aside where it is long enough, as [`AuditFile::rotate`] says.
    /// While somebody writes it that can wait for the next round.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn rotate(&self, rotation: Rotation, at: Now) -> io::Result<()> {
        match self.file.try_lock() {
            Ok(mut file) => file.rotate(rotation, at),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().rotate(rotation, at),
            Err(TryLockError::WouldBlock) => Ok(()),
        }
    }

    /// Makes everything that was appended durable, as far as the disk took it.
    ///
    /// # Errors
    /// The sync failed.
    pub fn sync(&self) -> io::Result<()> {
        let mut file = self.file();
        self.write_out(&mut file, None);
        file.sync()
    }

    /// As [`AuditFile::to_sync`].
    pub fn to_sync(&self) -> Option<Arc<File>> {
        self.file().to_sync()
    }

    /// As [`AuditFile::unsynced`].
    pub fn unsynced(&self) {
        self.file().unsynced();
    }

    /// Why the disk takes no records, where it takes none.
    pub fn fault(&self) -> Option<String> {
        let blocked = self.blocked.load(Ordering::Acquire);
        blocked.then(|| self.file().fault()).flatten()
    }

    /// As [`AuditFile::head_fault`].
    pub fn head_fault(&self) -> Option<String> {
        self.file().head_fault().map(str::to_owned)
    }

    fn file(&self) -> MutexGuard<'_, AuditFile> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn soon(&self) -> MutexGuard<'_, Soon> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
