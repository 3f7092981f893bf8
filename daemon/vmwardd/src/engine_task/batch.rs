//! What a round of messages led to, and the order in which it becomes real:
//! journal (durable), audit, kernel, answers.

use tokio::sync::oneshot;
use vmward_core::audit::{AuditBody, Verdict};
use vmward_core::clock::Now;
use vmward_core::engine::ReasonCode;
use vmward_core::ids::DecisionId;
use vmward_core::journal::{JournalEntry, encode_line};
use vmward_core::lease::{KernelLease, Lease};
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;

use super::approvals::Ruled;
use super::shell::Shell;
use super::{Message, Reply};
use crate::convert;
use crate::counters::count;
use crate::crash::{self, Point};

/// An answer to `authorize` that waits for its turn.
pub(super) struct PendingAnswer {
    pub(super) id: DecisionId,
    pub(super) answer: v1::AuthorizeResult,
    pub(super) audit: AuditBody,
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
        self.answers.push(pending);
    }

    pub(super) fn ruled(&mut self, ruled: Ruled) {
        self.ruled.push(ruled);
    }

    /// Answers "done" once this round is durable.
    pub(super) fn done(&mut self, reply: Reply<v1::Done>) {
        self.done.push(reply);
    }
}

impl Shell {
    /// Takes a round of messages from decision to answer. Returns who waits for
    /// the end, where this round asked for it.
    pub(super) fn step(&mut self, messages: Vec<Message>) -> Option<oneshot::Sender<()>> {
        let now = convert::now();
        let mut batch = Batch::default();
        for message in messages {
            self.handle(message, now, &mut batch);
        }
        self.tick(now, &mut batch);
        let stop = batch.stop.take();
        self.commit(batch, now);
        stop
    }

    /// Makes a round real.
    pub(super) fn commit(&mut self, batch: Batch, now: Now) {
        let Batch {
            journal,
            audit,
            mut answers,
            done,
            ruled,
            stop: _,
        } = batch;
        let durable = self.make_durable(&journal);
        if !durable {
            for pending in &mut answers {
                self.take_back(pending);
            }
        }
        for body in audit {
            self.audit.append(body, now);
        }
        for pending in &answers {
            self.audit.append(pending.audit.clone(), now);
            if let Some(approval) = &pending.approval {
                self.audit.append(approval.clone(), now);
            }
        }
        self.conclude_rulings(ruled, durable, now);
        self.keep_seq();
        crash::point(Point::AfterAudit);
        for pending in &mut answers {
            self.put_lease(pending, now);
        }
        crash::point(Point::AfterLease);
        crash::point(Point::BeforeAnswer);
        for PendingAnswer { answer, reply, .. } in answers {
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

    /// Only now: the number of an event whose record a crash keeps from the log
    /// must show up as a gap at the next start.
    fn keep_seq(&mut self) {
        if self.audit.fault().is_none()
            && let Err(error) = self.seq.store()
        {
            self.complain("kernel event number", &error);
        }
    }

    /// Writes journal lines and waits for the disk; false when that failed.
    pub(super) fn make_durable(&mut self, entries: &[JournalEntry]) -> bool {
        let mut lines = Vec::new();
        for entry in entries {
            match encode_line(entry) {
                Ok(line) => lines.extend_from_slice(&line),
                Err(error) => {
                    tracing::error!(%error, "a journal entry cannot be written as JSON");
                    return false;
                }
            }
        }
        match self.ledger.commit(&lines) {
            Ok(()) => true,
            Err(error) => {
                count(&self.counters.journal_errors);
                self.complain("journal", &error);
                false
            }
        }
    }

    /// An allow that is not durable was never one.
    fn take_back(&mut self, pending: &mut PendingAnswer) {
        if pending.answer.decision == v1::Decision::Deny {
            return;
        }
        self.engine.undo(pending.id);
        let message = "the decision could not be made durable; nothing was charged";
        self.refuse(pending, message);
    }

    /// Turns an allow into a denial for a reason of the daemon's own.
    pub(super) fn refuse(&self, pending: &mut PendingAnswer, message: &str) {
        count(&self.counters.unavailable);
        pending.lease = None;
        pending.approval = None;
        pending.answer.decision = v1::Decision::Deny;
        pending.answer.reason_code = v1::ReasonCode::Unavailable;
        message.clone_into(&mut pending.answer.message);
        pending.answer.lease = None;
        pending.answer.approval = None;
        if let AuditBody::Decision(record) = &mut pending.audit {
            record.decision = Verdict::Deny;
            record.reason_code = ReasonCode::Unavailable;
            message.clone_into(&mut record.message);
            record.lease = None;
            record.approval = None;
        }
    }

    /// Gives the kernel the lease. Where it refuses, the caller is denied and
    /// the lease ends as lost: it stays charged, because it was allowed.
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
        let closed = self.engine.close(lease.id, KernelLease::Missing, true, now);
        self.make_durable(&closed.journal);
        for body in closed.audit {
            self.audit.append(body, now);
        }
        self.refuse(
            pending,
            "the kernel did not take the lease; see the daemon's log",
        );
    }
}
