//! Where the state lies that decisions are made from, and who may sit there.
//!
//! The engine's thread does whatever comes as a message. A call of `authorize`
//! does not have to wait for it: the client's own thread sits down when the seat
//! is free, and a decision that leaves nothing to make durable is answered
//! without any other thread being woken.
//!
//! ```text
//!   decided ─ nothing for the journal ─▶ spool ─▶ answer          (seat held)
//!      │
//!      ├─ journal free ─▶ seat given up ─▶ write, sync ─▶ seat ─▶ lease, answer
//!      └─ journal busy ─▶ waits in `Shell::waiting`; the engine's thread makes
//!                         all that wait durable with one sync (group commit)
//! ```
//!
//! The audit log's lines are written once the answers are sent, in the order of
//! the decisions, by a thread of their own: see [`crate::audit_log`].
//!
//! Whoever writes the journal holds its lock from before it takes what waits
//! until it has concluded it, so lines come in the order in which the state
//! changed. The journal's lock is taken before the seat, never the other way
//! round, unless it is free.
//!
//! Where a write fails, what was decided while it lasted is taken back with it: it was
//! decided by a state that never became real.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use tokio::sync::oneshot;
use vmward_core::clock::Now;

use super::batch::{self, Batch};
use super::lap::Lap;
use super::shell::Shell;
use super::{AuthorizeCall, Message};
use crate::audit_log::AuditLog;
use crate::convert;
use crate::crash::{self, Point};
use crate::ledger_file::Ledger;

/// What became of a call.
pub(super) enum Seated {
    /// It has its answer.
    Answered,
    /// It waits for the journal: the engine's thread must be woken.
    Waits,
    /// Somebody else sits there; ask the engine's thread.
    Taken(Box<AuthorizeCall>),
}

/// See the module's text.
pub(super) struct Desk {
    shell: Mutex<Shell>,
    ledger: Arc<Mutex<Ledger>>,
    audit: Arc<AuditLog>,
    /// How many threads wait for the seat. While any does, no client sits down:
    /// a flood of calls must not keep the engine's thread away.
    waiting: AtomicUsize,
}

impl Desk {
    pub(super) fn new(shell: Shell) -> Desk {
        Desk {
            ledger: Arc::clone(&shell.ledger),
            audit: Arc::clone(&shell.audit),
            shell: Mutex::new(shell),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Decides on the caller's thread, where nobody else sits there. May wait
    /// for the disk.
    pub(super) fn decide(&self, call: Box<AuthorizeCall>) -> Seated {
        if self.waiting.load(Ordering::Acquire) > 0 {
            return Seated::Taken(call);
        }
        let Some(mut shell) = free(&self.shell).filter(|shell| !shell.ended) else {
            return Seated::Taken(call);
        };
        let now = convert::now();
        let mut batch = Batch::default();
        shell.engine.hold_untold(now);
        shell.authorize(*call, now, &mut batch);
        if !batch.needs_disk() {
            shell.conclude(batch, true, now);
            return Seated::Answered;
        }
        shell.waiting.append(batch);
        let Some(mut ledger) = free(&self.ledger) else {
            return Seated::Waits;
        };
        let batch = std::mem::take(&mut shell.waiting);
        self.make_real(shell, &mut ledger, batch, now);
        Seated::Answered
    }

    /// Takes messages, and what waits, from decision to answer. Returns who
    /// waits for the end, where one of the messages asked for it.
    pub(super) fn round(&self, messages: Vec<Message>) -> Option<oneshot::Sender<()>> {
        let mut lap = Lap::start(messages.len());
        let mut ledger = batch::lock(&self.ledger);
        let mut shell = self.sit();
        lap.ends("waiting for clients");
        let now = convert::now();
        let mut batch = std::mem::take(&mut shell.waiting);
        shell.engine.hold_untold(now);
        for message in messages {
            shell.handle(message, now, &mut batch);
        }
        lap.ends("messages");
        shell.tick(now, &mut batch);
        shell.host_rules(now, &mut batch, &mut ledger);
        lap.ends("what is due by time");
        let stop = batch.stop.take();
        shell.ended |= stop.is_some();
        self.make_real(shell, &mut ledger, batch, now);
        lap.ends("journal, kernel and answers");
        if ledger.wants_snapshot() {
            self.compact(&mut ledger);
            lap.ends("compacting the journal");
        }
        drop(ledger);
        self.sync_audit();
        lap.ends("syncing the audit log");
        stop
    }

    /// Has the audit log's lines written of what was answered. For after the answer
    /// is sent, so that nobody waits for them.
    pub(super) fn settle(&self) {
        crash::point(Point::AfterAnswer);
        self.audit.ring();
    }

    /// The audit log, for the thread that writes it.
    pub(super) fn audit(&self) -> &Arc<AuditLog> {
        &self.audit
    }

    /// Has the audit log written and, now and then, syncs it, the latter while
    /// others may decide.
    fn sync_audit(&self) {
        self.audit.ring();
        let due = self.sit().audit_due(convert::now());
        if let Some(file) = due
            && let Err(error) = file.sync_data()
        {
            self.sit().audit_unsynced(&error);
        }
    }

    /// Journal, then everything else, with the seat free for others meanwhile.
    fn make_real<'a>(
        &'a self,
        mut shell: MutexGuard<'a, Shell>,
        ledger: &mut Ledger,
        batch: Batch,
        now: Now,
    ) {
        let mut durable = true;
        if batch.needs_disk() || !shell.kept.is_empty() {
            let kept = std::mem::take(&mut shell.kept);
            drop(shell);
            let written = batch.write(&kept, ledger);
            shell = self.sit();
            durable = shell.wrote(written, kept, ledger) || !batch.needs_disk();
        }
        shell.conclude(batch, durable, now);
        if !durable {
            // Decided meanwhile, by what is taken back now: a yes may have been used that
            // nobody will ever have given.
            let meanwhile = std::mem::take(&mut shell.waiting);
            shell.conclude(meanwhile, false, now);
        }
    }

    /// A snapshot has all that is decided, and nothing of the records that go with
    /// it: what is decided and not written yet comes first, and nobody decides
    /// meanwhile. Else a crash right after it would leave a charge without a record.
    fn compact(&self, ledger: &mut Ledger) {
        let mut shell = self.sit();
        let now = convert::now();
        let batch = std::mem::take(&mut shell.waiting);
        let durable = shell.commit_to(ledger, batch, now);
        // A lease that the kernel did not take has left something to write.
        if durable && !shell.waiting.needs_disk() && shell.kept.is_empty() {
            shell.compact(ledger, now);
        }
    }

    /// How long the engine's thread may wait for a message.
    pub(super) fn pause(&self, tick: Duration) -> Duration {
        self.sit().pause(tick)
    }

    /// The last act of the engine's thread. No client's thread writes any more:
    /// the round that ended it held the journal.
    pub(super) fn finish(&self) {
        let mut shell = self.sit();
        shell.ended = true;
        shell.finish();
        drop(shell);
        if let Err(error) = batch::lock(&self.ledger).trim() {
            tracing::warn!(%error, "the room behind the journal's lines stays");
        }
    }

    fn sit(&self) -> MutexGuard<'_, Shell> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        shell
    }
}

/// The lock, where nobody holds it.
fn free<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

#[cfg(test)]
mod tests;
