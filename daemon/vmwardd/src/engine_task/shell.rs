//! The engine's state, and which message does what to it.

use std::fmt::Display;
use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vmward_core::audit::AuditBody;
use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::engine::Engine;
use vmward_core::grant::Grants;
use vmward_core::journal::JournalEntry;
use vmward_wire::rpc::{ErrorCode, ErrorObject};
use vmward_wire::v1;

use super::authorize::TEXT_CHARS_MAX;
use super::batch::Batch;
use super::denials::Denials;
use super::evidence::Evidence;
use super::flood::Flood;
use super::host_side::HostSide;
use super::policy_state::PolicyState;
use super::running::Running;
use super::seq::Seq;
use super::vms::Vms;
use super::{CallerFacts, KernelSide, Loaded, Message, Reply};
use crate::audit_file::Rotation;
use crate::audit_log::AuditLog;
use crate::convert;
use crate::counters::{SharedCounters, count};
use crate::feed::Feed;
use crate::ledger_file::Ledger;
use crate::log::Throttle;
use crate::memory;

/// How long written audit records may wait for their sync.
const AUDIT_SYNC_NS: i64 = NS_PER_S;

/// Everything that decisions are made from, and what they act on.
pub struct Shell {
    pub(super) engine: Engine,
    /// Whoever writes holds this lock and not the shell's: see `desk.rs`.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Why the journal takes nothing, as it was after the last write.
    pub(super) ledger_fault: Option<String>,
    /// What its disk said to the last lines, where it did not take them.
    pub(super) ledger_refused: Option<String>,
    /// Decided, and waiting for the journal.
    pub(super) waiting: Batch,
    /// What has happened and the journal did not take: it goes before the next lines.
    pub(super) kept: Vec<JournalEntry>,
    /// Nothing is decided any more.
    pub(super) ended: bool,
    pub(super) audit: Arc<AuditLog>,
    pub(super) rotation: Rotation,
    pub(super) kernel: KernelSide,
    pub(super) vms: Vms,
    pub(super) running: Running,
    pub(super) policy: PolicyState,
    pub(super) seq: Seq,
    pub(super) evidence: Evidence,
    pub(super) flood: Flood,
    pub(super) denials: Denials,
    pub(super) grants: Grants,
    pub(super) host: HostSide,
    pub(super) counters: SharedCounters,
    pub(super) feed: Arc<Feed>,
    pub(super) observe: bool,
    pub(super) libvirt_uri: String,
    /// What was not as it should be at start, for `status`.
    pub(super) warnings: Vec<String>,
    pub(super) ready_at: Now,
    pub(super) complaints: Throttle,
    pub(super) refusals: Throttle,
    pub(super) audit_synced_ns: i64,
    pub(super) snapshot_failed_ns: Option<i64>,
}

impl Shell {
    /// Where audit records go besides the log.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// How long to wait for a message at most.
    pub(super) fn pause(&self, tick: Duration) -> Duration {
        let now = convert::now();
        let until = self
            .engine
            .next_deadline()
            .map(|deadline| deadline.saturating_sub(now.boot_ns).max(0))
            .and_then(|ns| u64::try_from(ns).ok())
            .map_or(tick, Duration::from_nanos);
        // A deadline whose lease could not be closed must not make this spin.
        until.clamp(Duration::from_millis(10), tick)
    }

    pub(super) fn handle(&mut self, message: Message, now: Now, batch: &mut Batch) {
        match message {
            Message::Authorize(call) => self.authorize(*call, now, batch),
            Message::Complete {
                params,
                caller,
                reply,
            } => self.complete(params, caller, reply, now, batch),
            Message::Release {
                params,
                caller,
                reply,
            } => self.release(&params, caller, reply, now, batch),
            Message::Explain {
                params,
                caller,
                reply,
            } => drop(reply.send(self.explain(params, caller, now))),
            Message::Filter {
                params,
                caller,
                reply,
            } => drop(reply.send(self.filter(&params, caller))),
            Message::Approval(call) => self.approval(call, now, batch),
            Message::Protection(call) => self.protection(*call, now, batch),
            Message::Status { viewer, reply } => {
                // Whoever reads the log after it finds all that was answered before.
                self.audit.flush();
                drop(reply.send(self.status(viewer.as_ref(), now)));
            }
            Message::Sighting(sighting) => {
                self.sighted(sighting, batch);
                self.host.stale();
            }
            Message::Kernel(events, _credit) => self.witnessed(events, now, batch),
            Message::KernelCaughtUp(at_ns) => self.seq.caught_up(at_ns, now.boot_ns),
            Message::Units => self.host.stale(),
            Message::Policy(loaded, reply) => {
                drop(reply.send(self.take_policy(*loaded, now, batch)));
            }
            // What waits is part of every round.
            Message::Waiting => {}
            Message::Ping(reply) => drop(reply.send(())),
            Message::Stop(reply) => {
                batch.audit(AuditBody::daemon("stopping", None));
                batch.stop = Some(reply);
            }
        }
    }

    fn complete(
        &mut self,
        params: v1::CompleteParams,
        caller: CallerFacts,
        reply: Reply<v1::Done>,
        now: Now,
        batch: &mut Batch,
    ) {
        let v1::CompleteParams {
            decision_id,
            outcome,
            detail,
        } = params;
        let detail = detail.map(|text| text.chars().take(TEXT_CHARS_MAX).collect());
        let by = convert::caller(caller, None);
        let id = vmward_core::ids::DecisionId(decision_id);
        match self
            .engine
            .report(id, &by, convert::outcome(outcome), detail, now)
        {
            Ok((journal, audit)) => {
                batch.journal(journal);
                batch.audit(audit);
                batch.done(reply);
            }
            Err(error) => {
                use vmward_core::engine::ReportError;
                let code = match error {
                    ReportError::Unknown(_) => ErrorCode::NotFound,
                    ReportError::NotYours(_) => ErrorCode::NotYours,
                    ReportError::AlreadyReported(_) => ErrorCode::InvalidParams,
                };
                drop(reply.send(Err(ErrorObject::new(code, error.to_string()))));
            }
        }
    }

    fn take_policy(&mut self, loaded: Loaded, now: Now, batch: &mut Batch) -> Result<(), String> {
        match loaded {
            Ok(policy) => {
                let detail = format!("policy {}", policy.hash());
                self.engine.set_policy(policy);
                self.policy.taken(now);
                self.host.stale();
                batch.audit(AuditBody::daemon("policy-loaded", Some(detail)));
                Ok(())
            }
            Err(error) => {
                let why = chain(&error);
                self.policy.rejected(why.clone());
                batch.audit(AuditBody::daemon("policy-rejected", Some(why.clone())));
                Err(why)
            }
        }
    }

    /// What is due by time alone.
    pub(super) fn tick(&mut self, now: Now, batch: &mut Batch) {
        batch.journal(self.engine.clock_mark(now).into_iter().collect());
        self.close_due(now, batch);
        self.expire_approvals(now, batch);
        self.expire_disarms(now, batch);
        self.sweep(now, batch);
        self.keep_running();
        self.beat(now);
        let held = self.flood.due(now.boot_ns);
        self.take_down_held(held, batch);
        for record in self.denials.due(now.boot_ns) {
            batch.audit(AuditBody::Denials(Box::new(record)));
        }
        self.look_for_losses(now, batch);
        if self.audit.fault().is_some() {
            self.audit.flush();
        }
        if let Err(error) = self.audit.rotate(self.rotation, now) {
            count(&self.counters.audit_errors);
            self.complain("audit rotation", &error);
        }
    }

    fn look_for_losses(&mut self, now: Now, batch: &mut Batch) {
        if self.seq.wants_newest(now.boot_ns) {
            match self.kernel.totals() {
                Ok(totals) => self.seq.given_out(totals.events, now.boot_ns),
                Err(error) => {
                    count(&self.counters.kernel_errors);
                    self.complain("kernel", &error);
                }
            }
        }
        if let Some(loss) = self.seq.lost(now.boot_ns) {
            self.lost(loss, batch);
        }
    }

    /// Tells the kernel that this daemon is well.
    fn beat(&mut self, now: Now) {
        if let Err(error) = self.kernel.beat(now.boot_ns) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
        }
    }

    /// The audit log's file, where its sync is due.
    pub(super) fn audit_due(&mut self, now: Now) -> Option<Arc<File>> {
        if now.boot_ns.saturating_sub(self.audit_synced_ns) < AUDIT_SYNC_NS {
            return None;
        }
        self.audit_synced_ns = now.boot_ns;
        self.audit.to_sync()
    }

    /// Takes note of a sync of the audit log that failed.
    pub(super) fn audit_unsynced(&mut self, error: &std::io::Error) {
        self.audit.unsynced();
        count(&self.counters.audit_errors);
        self.complain("audit", error);
    }

    /// Puts a snapshot in the journal's place. The audit log is made durable
    /// first, because the snapshot no longer holds its records.
    pub(super) fn compact(&mut self, ledger: &mut Ledger, now: Now) {
        let waited = self
            .snapshot_failed_ns
            .is_none_or(|at| now.boot_ns.saturating_sub(at) > 60 * NS_PER_S);
        if !waited {
            return;
        }
        let synced = self.audit.sync();
        if self.audit.fault().is_some() {
            return;
        }
        let outcome = synced.map_err(|error| chain(&error)).and_then(|()| {
            let lines = vmward_core::journal::encode_batch(self.engine.snapshot(now), 1);
            let lines = lines.map_err(|error| chain(&error))?;
            ledger.compact(&lines).map_err(|error| chain(&error))
        });
        memory::give_back();
        self.ledger_fault = ledger.fault().map(str::to_owned);
        match outcome {
            Ok(()) => {
                self.snapshot_failed_ns = None;
                tracing::info!("the journal was compacted");
            }
            Err(error) => {
                self.snapshot_failed_ns = Some(now.boot_ns);
                count(&self.counters.journal_errors);
                tracing::error!(error, "cannot compact the journal");
            }
        }
    }

    /// The last act: everything durable.
    pub(super) fn finish(&mut self) {
        let mut batch = std::mem::take(&mut self.waiting);
        let held = self.flood.drain();
        self.take_down_held(held, &mut batch);
        for record in self.denials.drain() {
            batch.audit(AuditBody::Denials(Box::new(record)));
        }
        if let Some(loss) = self.seq.lost_at_end() {
            self.lost(loss, &mut batch);
        }
        self.commit(batch, convert::now());
        self.drop_kept();
        if let Err(error) = self.audit.sync() {
            tracing::error!(%error, "cannot sync the audit log");
        }
        tracing::info!("journal and audit log are durable");
    }

    /// Why no allow can be given, where that is so.
    pub(super) fn fault(&self) -> Option<String> {
        self.ledger_fault
            .as_ref()
            .map(|why| format!("the journal takes no entries: {why}"))
            .or_else(|| self.audit.fault())
    }

    /// Logs an error of a path that callers or VMs can trigger.
    pub(super) fn complain(&mut self, what: &str, error: &dyn std::error::Error) {
        let error = chain(error);
        if let Some(more) = self.complaints.pass(crate::clock::boot_ns()) {
            tracing::error!(what, error, more, "a call failed");
        }
    }
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        push_cause(&mut text, cause);
        source = cause.source();
    }
    text
}

fn push_cause(text: &mut String, cause: &dyn Display) {
    text.push_str(": ");
    text.push_str(&cause.to_string());
}
