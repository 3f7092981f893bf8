//! What a round of messages led to, and the order in which it becomes real:
//! journal (durable), kernel, audit, answers. The kernel comes before the audit log, so
//! that a record never tells of an allow that nobody got.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use vmward_core::audit::{AuditBody, Verdict};
use vmward_core::clock::Now;
use vmward_core::engine::ReasonCode;
use vmward_core::ids::DecisionId;
use vmward_core::journal::{JournalEntry, encode_batch};
use vmward_core::lease::Lease;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;

use super::Reply;
use super::approvals::Ruled;
use super::disarm::Reprotected;
use super::shell::Shell;
use crate::audit_log::Copied;
use crate::clock;
use crate::counters::count;
use crate::crash::{self, Point};
use crate::ledger_file::{Ledger, LedgerError};

/// The journal, when nobody else writes.
pub(super) fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer to `authorize` that waits for its turn.
pub(super) struct PendingAnswer {
    pub(super) id: DecisionId,
    pub(super) answer: v1::AuthorizeResult,
    /// The record of the decision, until the audit log has it.
    pub(super) audit: Option<AuditBody>,
    /// The journal makes that record again where it is lost.
    pub(super) journalled: bool,
    /// The record of the request for approval that it opened or used.
    pub(super) approval: Option<AuditBody>,
    pub(super) lease: Option<Lease>,
    pub(super) reply: Reply<v1::AuthorizeResult>,
}

/// Everything of one round.
#[derive(Default)]
pub(super) struct Batch {
    journal: Vec<JournalEntry>,
    audit: Vec<AuditBody>,
    answers: Vec<PendingAnswer>,
    done: Vec<Reply<v1::Done>>,
    /// What people decided.
    ruled: Vec<Ruled>,
    /// What people took away or put back.
    reprotected: Vec<Reprotected>,
    /// Set by the message that ends the engine.
    pub(super) stop: Option<oneshot::Sender<()>>,
}

impl Batch {
    pub(super) fn journal(&mut self, entries: Vec<JournalEntry>) {
        self.journal.extend(entries);
    }

    pub(super) fn audit(&mut self, body: AuditBody) {
        self.audit.push(body);
    }

    pub(super) fn answer(&mut self, pending: PendingAnswer) {
        if self.answers.is_empty() {
            // Most rounds have one, and room for more would be costly to have.
            self.answers.reserve_exact(1);
        }
        self.answers.push(pending);
    }

    pub(super) fn ruled(&mut self, ruled: Ruled) {
        self.ruled.push(ruled);
    }

    pub(super) fn reprotected(&mut self, one: Reprotected) {
        self.reprotected.push(one);
    }

    /// Is there anything to make durable before the answers?
    pub(super) fn needs_disk(&self) -> bool {
        !self.journal.is_empty()
    }

    /// Puts a later round behind this one.
    pub(super) fn append(&mut self, later: Batch) {
        let Batch {
            journal,
            audit,
            answers,
            done,
            ruled,
            reprotected,
            stop,
        } = later;
        self.journal.extend(journal);
        self.audit.extend(audit);
        self.answers.extend(answers);
        self.done.extend(done);
        self.ruled.extend(ruled);
        self.reprotected.extend(reprotected);
        self.stop = stop.or(self.stop.take());
    }

    /// Writes the journal's lines, behind those that were kept, and waits for the
    /// disk.
    ///
    /// # Errors
    /// None of the lines is durable, as far as can be known.
    pub(super) fn write(
        &self,
        kept: &[JournalEntry],
        ledger: &mut Ledger,
    ) -> Result<(), LedgerError> {
        write(kept, &self.journal, ledger)
    }

    /// Answers "done" once this round is durable.
    pub(super) fn done(&mut self, reply: Reply<v1::Done>) {
        self.done.push(reply);
    }
}

fn write(
    kept: &[JournalEntry],
    entries: &[JournalEntry],
    ledger: &mut Ledger,
) -> Result<(), LedgerError> {
    let entries = kept.iter().chain(entries);
    let lines = encode_batch(entries, ledger.next_line()).map_err(LedgerError::Encode)?;
    ledger.commit(&lines)
}

impl Shell {
    /// Writes journal lines, behind those that were kept, and waits for the disk; false
    /// when that failed.
    pub(super) fn make_durable(&mut self, entries: &[JournalEntry], ledger: &mut Ledger) -> bool {
        let kept = std::mem::take(&mut self.kept);
        let written = write(&kept, entries, ledger);
        self.wrote(written, kept, ledger)
    }

    /// Makes a round real, where nobody else is at work.
    pub(super) fn commit(&mut self, batch: Batch, now: Now) {
        let ledger = Arc::clone(&self.ledger);
        self.commit_to(&mut lock(&ledger), batch, now);
    }

    /// The same for who holds the journal; false when it was not durable.
    pub(super) fn commit_to(&mut self, ledger: &mut Ledger, batch: Batch, now: Now) -> bool {
        let durable = self.make_durable(&batch.journal, ledger);
        let concluded = durable || !batch.needs_disk();
        self.conclude(batch, concluded, now);
        durable
    }

    /// Takes note of what came of writing the journal, and takes back what was kept;
    /// false when that failed.
    pub(super) fn wrote(
        &mut self,
        written: Result<(), LedgerError>,
        kept: Vec<JournalEntry>,
        ledger: &Ledger,
    ) -> bool {
        self.ledger_refused = ledger.refused().map(str::to_owned);
        let Err(error) = written else {
            return true;
        };
        self.ledger_fault = ledger.fault().map(str::to_owned);
        count(&self.counters.journal_errors);
        self.complain("journal", &error);
        self.kept = kept;
        self.give_up_kept();
        false
    }

    /// Everything after the journal: kernel, audit, answers.
    pub(super) fn conclude(&mut self, batch: Batch, durable: bool, now: Now) {
        let Batch {
            journal,
            audit,
            mut answers,
            done,
            ruled,
            reprotected,
            stop: _,
        } = batch;
        if !durable {
            self.take_back(&mut answers, now);
            self.keep(journal);
        }
        for pending in &mut answers {
            self.put_lease(pending, now);
        }
        crash::point(Point::AfterLease);
        for body in audit {
            self.audit.append(body, now);
        }
        for pending in &mut answers {
            self.hand_over(pending, durable, now);
        }
        self.conclude_rulings(ruled, durable, now);
        self.conclude_reprotected(reprotected, durable, now);
        self.keep_seq();
        crash::point(Point::AfterAudit);
        crash::point(Point::BeforeAnswer);
        for PendingAnswer {
            id, answer, reply, ..
        } in answers
        {
            self.engine.told(id, clock::boot_ns);
            count(match answer.decision {
                v1::Decision::Allow => &self.counters.allowed,
                v1::Decision::Deny => &self.counters.denied,
                v1::Decision::Pending => &self.counters.pending,
            });
            // A caller that left gets its quota back at the lease's deadline.
            drop(reply.send(Ok(answer)));
        }
        for reply in done {
            drop(reply.send(if durable {
                Ok(v1::Done { ok: true })
            } else {
                Err(ErrorObject::new(
                    ErrorCode::Unavailable,
                    "taken down in memory only: the journal cannot be written",
                ))
            }));
        }
    }

    /// Hands a decision's records to the audit log. They are not changed any more, so
    /// they need not be kept.
    fn hand_over(&self, pending: &mut PendingAnswer, durable: bool, now: Now) {
        if let Some(body) = pending.audit.take() {
            let copied = if durable && pending.journalled {
                Copied::InJournal
            } else {
                Copied::Nowhere
            };
            if !self.audit.append_soon(body, now, copied) {
                count(&self.counters.audit_waits);
            }
        }
        if let Some(body) = pending.approval.take() {
            self.audit.append(body, now);
        }
    }

    /// Only now: the number of an event whose record a crash keeps from the log
    /// must show up as a gap at the next start.
    fn keep_seq(&mut self) {
        if self.audit.fault().is_none()
            && let Err(error) = self.seq.store(self.flood.first_held())
        {
            self.complain("kernel event number", &error);
        }
    }

    /// An allow that is not durable was never one.
    fn take_back(&mut self, answers: &mut [PendingAnswer], now: Now) {
        let is_taken_back =
            |pending: &&mut PendingAnswer| pending.answer.decision != v1::Decision::Deny;
        for pending in answers.iter_mut().filter(is_taken_back) {
            self.engine.undo(pending.id);
        }
        let why = self.ledger_refused.as_deref();
        let why = why.or(self.ledger_fault.as_deref()).unwrap_or("no reason");
        let message =
            format!("the decision could not be made durable ({why}); nothing was charged");
        for pending in answers.iter_mut().filter(is_taken_back) {
            self.refuse(pending, &message, now);
        }
    }

    /// What is left of a limit after charges were taken back.
    fn tell_again(&self, limit: &mut v1::LimitState, now: Now) {
        let v1::LimitState {
            counter,
            key,
            window_s,
            max,
            ..
        } = limit;
        let row = self.engine.limit_now(counter, key, *window_s, *max, now);
        limit.remaining = row.remaining;
        limit.next_free_in_ms = row.next_free_in_ms;
    }

    /// Turns an allow into a denial for a reason of the daemon's own. Its limits are
    /// told as they are now: take back first what was charged.
    pub(super) fn refuse(&self, pending: &mut PendingAnswer, message: &str, now: Now) {
        count(&self.counters.unavailable);
        for limit in &mut pending.answer.limits {
            self.tell_again(limit, now);
        }
        pending.lease = None;
        pending.approval = None;
        // What the journal would make again says that it was allowed.
        pending.journalled = false;
        pending.answer.decision = v1::Decision::Deny;
        pending.answer.reason_code = v1::ReasonCode::Unavailable;
        message.clone_into(&mut pending.answer.message);
        pending.answer.lease = None;
        pending.answer.approval = None;
        if let Some(AuditBody::Decision(record)) = &mut pending.audit {
            record.decision = Verdict::Deny;
            record.reason_code = ReasonCode::Unavailable;
            message.clone_into(&mut record.message);
            record.lease = None;
            record.approval = None;
            record.journalled = false;
            record.charges = None;
        }
    }

    /// Gives the kernel the lease. Where it refuses, the caller is denied, and what it
    /// was charged goes back: nobody can have used what the kernel never had.
    fn put_lease(&mut self, pending: &mut PendingAnswer, now: Now) {
        // Its VM may have ended, or its holder given it back, in this very round.
        let still_live = |lease: &Lease| {
            let known = self.engine.lease(lease.id);
            known.is_some_and(|lease| lease.state.is_live())
        };
        let Some(lease) = pending.lease.take().filter(still_live) else {
            return;
        };
        let Err(error) = self.kernel.put_lease(&lease) else {
            return;
        };
        count(&self.counters.kernel_errors);
        self.complain("kernel", &error);
        // With the next round is soon enough: a start that does not find the row in the
        // kernel closes the lease, too, though it leaves it charged.
        let journal = self.engine.revoke(lease.id, now);
        self.waiting.journal(journal);
        self.refuse(
            pending,
            "the kernel did not take the lease; see the daemon's log",
            now,
        );
    }
}
