//! What the kernel saw, into the audit log; and what it says about why a VM
//! ended.

use vmward_abi::{HOST_UUID, finishing_cause, vector};
use vmward_core::audit::{
    Actor, AuditBody, KernelRecord, KernelVerdict, LossRecord, OutOfBandCharge, Requester,
    VmRecord, VmRef,
};
use vmward_core::clock::Now;
use vmward_core::effect::Effect;
use vmward_core::engine::VmTarget;
use vmward_core::grant::Credentials;
use vmward_core::ids::{DecisionId, Process, VmUuid};

use super::batch::Batch;
use super::evidence::{HOST_RULE, KERNEL_SIGNAL, LEASE, Last, OBSERVED};
use super::flood::Source;
use super::seq::Loss;
use super::shell::Shell;
use crate::counters::{count, count_by};
use crate::kernel::{CANARY_UUID, EventKind, KernelEvent};
use crate::process::ProcHandle;
use crate::record::{Witnessed, signal};

/// Highest signal number in a wait status.
const STATUS_SIGNAL_MASK: u32 = 0x7f;

impl Shell {
    pub(super) fn witnessed(&mut self, events: Vec<Witnessed>, now: Now, batch: &mut Batch) {
        for witnessed in events {
            self.seq.reached(witnessed.event.seq, now.boot_ns);
            // The self-test attacks the host as this very process.
            let of_host = witnessed.event.vm_uuid == HOST_UUID;
            let own = of_host && witnessed.event.actor.tgid == std::process::id();
            if witnessed.event.vm_uuid != CANARY_UUID && !own {
                self.take_down_event(witnessed, now, batch);
            }
        }
    }

    /// Events that nobody will ever see.
    pub(super) fn lost(&mut self, loss: Loss, batch: &mut Batch) {
        let Loss { from, to, count } = loss;
        count_by(&self.counters.lost_events, count);
        tracing::error!(from, to, count, "kernel events were lost");
        batch.audit(AuditBody::Loss(LossRecord { from, to, count }));
    }

    fn take_down_event(&mut self, witnessed: Witnessed, now: Now, batch: &mut Batch) {
        let Witnessed {
            event,
            actor,
            requester,
        } = witnessed;
        let lease = Some(DecisionId(event.lease)).filter(|id| id.0 != 0);
        let verdict = match event.kind {
            EventKind::Refused => KernelVerdict::Refused,
            EventKind::WouldRefuse => {
                count(&self.counters.let_through);
                self.remember(&event, OBSERVED, &actor, None);
                KernelVerdict::WouldRefuse
            }
            EventKind::LeaseClaimed | EventKind::LeaseUsed => {
                if let Some(id) = lease {
                    self.claimed(id, now, batch);
                }
                self.remember(&event, LEASE, &actor, lease);
                KernelVerdict::AllowedLease
            }
            EventKind::HostRule => {
                count(&self.counters.host_rule_uses);
                self.host.used();
                self.remember(&event, HOST_RULE, &actor, None);
                KernelVerdict::AllowedHostRule
            }
            EventKind::HostRuleUsedUp => KernelVerdict::RefusedHostLimit,
            EventKind::FinishingKill => KernelVerdict::AllowedFinishing,
            EventKind::KernelSignal => {
                self.remember(&event, KERNEL_SIGNAL, &actor, None);
                KernelVerdict::Witnessed
            }
            EventKind::Witnessed => {
                if event.vector == vector::CGROUP_MOVE {
                    self.moved(&event);
                }
                KernelVerdict::Witnessed
            }
            EventKind::Finishing => return self.finishing(&event, batch),
            EventKind::Resumed => return self.resumed(&event, batch),
            EventKind::Exited => return self.exited(&event, now, batch),
        };
        let source = Source {
            vm: event.vm,
            actor: Some(Process {
                pid: event.actor.tgid,
                start_ticks: event.actor.start_ticks,
            }),
            vector: event.vector,
        };
        if is_refusal(verdict) {
            self.tell_refusal(&event, &actor, now);
        }
        let record = self.record(verdict, &event, actor, requester, now);
        // What stops a VM has a record of its own; what does not can be tried
        // without end.
        if is_refusal(verdict)
            || matches!(
                verdict,
                KernelVerdict::WouldRefuse | KernelVerdict::Witnessed
            )
        {
            let records = self.flood.take(source, record, now.boot_ns);
            self.take_down_held(records, batch);
        } else {
            let held = self.flood.drain();
            self.take_down_held(held, batch);
            batch.audit(AuditBody::Kernel(Box::new(record)));
        }
    }

    /// A VM that somebody moved to another cgroup goes back at once.
    fn moved(&mut self, event: &KernelEvent) {
        // Whoever moves a VM that is disarmed may.
        let disarmed = self.engine.disarms().of_vm(event.vm).is_some();
        let may = event.actor.deputy || disarmed;
        match self.kernel.moved(event.vm, may) {
            Ok(true) => {
                let vm = self.reference(event).name;
                let (pid, comm) = (event.actor.tgid, &event.actor.comm);
                tracing::warn!(vm, pid, comm, "moved to another cgroup, and brought back");
            }
            Ok(false) => {}
            Err(error) => {
                count(&self.counters.kernel_errors);
                self.complain("kernel", &error);
            }
        }
    }

    fn record(
        &self,
        verdict: KernelVerdict,
        event: &KernelEvent,
        actor: Actor,
        requester: Option<Requester>,
        now: Now,
    ) -> KernelRecord {
        KernelRecord {
            verdict,
            vm: self.reference(event),
            pid: event.vm.pid,
            vector: vector_name(event.vector),
            word: word(event),
            effect: Effect::from_bit(event.effect),
            signal: (event.signal != 0).then(|| signal(event.signal)),
            actor,
            requester,
            lease: Some(DecisionId(event.lease)).filter(|id| id.0 != 0),
            rode: event.rode,
            host_rule: self.host.name_of(event.host_rule),
            count: None,
            seen: seen_at(event, now),
            kernel_seq: event.seq,
            vm_seq: event.vm_seq,
        }
    }

    fn tell_refusal(&mut self, event: &KernelEvent, actor: &Actor, now: Now) {
        count(&self.counters.refusals);
        let Some(more) = self.refusals.pass(now.boot_ns) else {
            return;
        };
        let vm = self.reference(event).name;
        let vector = vector_name(event.vector);
        let word = match event.signal {
            0 => event.word.clone(),
            number => signal(number).name,
        };
        let (pid, comm) = (actor.tgid, &actor.comm);
        tracing::warn!(vm, vector, word, pid, comm, more, "refused");
    }

    /// Records of which some stand for several events.
    pub(super) fn take_down_held(&self, records: Vec<KernelRecord>, batch: &mut Batch) {
        for record in records {
            count_by(&self.counters.summarised, record.count.unwrap_or(0));
            batch.audit(AuditBody::Kernel(Box::new(record)));
        }
    }

    fn reference(&self, event: &KernelEvent) -> VmRef {
        if event.vm_uuid == HOST_UUID {
            return VmRef {
                uuid: None,
                name: VmTarget::HOST_NAME.to_owned(),
            };
        }
        self.vms
            .reference(event.vm, VmUuid::from_bytes(event.vm_uuid))
    }

    fn remember(
        &mut self,
        event: &KernelEvent,
        cause: &'static str,
        actor: &Actor,
        lease: Option<DecisionId>,
    ) {
        let last = Last {
            cause,
            signal: event.signal,
            actor: actor.clone(),
            lease,
        };
        self.evidence.remember(event.vm, last);
    }

    fn finishing(&mut self, event: &KernelEvent, batch: &mut Batch) {
        let why = finishing_name(event.signal);
        let Some(cause) = self.evidence.finishing(event.vm, why) else {
            return;
        };
        self.vm_event("finishing", event, Some(cause), batch);
    }

    fn resumed(&mut self, event: &KernelEvent, batch: &mut Batch) {
        self.evidence.resumed(event.vm);
        self.vm_event("resumed", event, None, batch);
    }

    fn vm_event(&self, name: &str, event: &KernelEvent, cause: Option<&str>, batch: &mut Batch) {
        batch.audit(AuditBody::Vm(Box::new(VmRecord {
            event: name.to_owned(),
            vm: self.reference(event),
            pid: event.vm.pid,
            cause: cause.map(str::to_owned),
            signal: None,
            exit_code: None,
            lease: None,
            charged: None,
            actor: None,
        })));
    }

    fn exited(&mut self, event: &KernelEvent, now: Now, batch: &mut Batch) {
        let died_of = event.exit_code & STATUS_SIGNAL_MASK;
        let seen = self.evidence.take(event.vm);
        let cause = seen.cause(died_of);
        let last = seen.last.filter(|last| last.cause == cause);
        let charged = last
            .as_ref()
            .filter(|_| [OBSERVED, HOST_RULE].contains(&cause))
            .and_then(|last| self.charge_stop(event, &last.actor, now, batch));
        let code = i32::try_from((event.exit_code >> 8) & 0xff).ok();
        // A VM ends once in the log; what comes late only adds to it.
        let name = if self.evidence.was_unseen(event.vm) {
            "end-explained"
        } else {
            "ended"
        };
        let record = VmRecord {
            event: name.to_owned(),
            vm: self.reference(event),
            pid: event.vm.pid,
            cause: Some(cause.to_owned()),
            signal: (died_of != 0).then(|| signal(died_of)),
            exit_code: code.filter(|_| died_of == 0),
            lease: self.lease_of(event, last.as_ref()),
            charged,
            actor: last.map(|last| last.actor),
        };
        tracing::info!(vm = record.vm.name, pid = record.pid, cause, "the VM ended");
        batch.audit(AuditBody::Vm(Box::new(record)));
        self.leases_of_ended(event.vm, now, batch);
        self.unprotect(event.vm);
    }

    /// A stop beside the gateway counts as if it had been asked for, by the grant
    /// of whoever did it: the one that its user, its primary group and its unit
    /// give it without a claim. Returns what its record has to say of that.
    fn charge_stop(
        &mut self,
        event: &KernelEvent,
        by: &Actor,
        now: Now,
        batch: &mut Batch,
    ) -> Option<OutOfBandCharge> {
        let VmRef { uuid, name } = self.reference(event);
        let uuid = uuid.unwrap_or_else(|| VmUuid::from_bytes(event.vm_uuid));
        let vm = VmTarget {
            labels: self.vms.labels(uuid),
            uuid,
            name,
            process: Some(event.vm),
            protected: true,
        };
        let effect = Effect::ForceStop;
        let grant = self.grants.by_credentials(&Credentials {
            uid: by.uid,
            gids: &[by.gid],
            unit: by.unit.as_deref(),
        });
        let (journal, rows) = self
            .engine
            .charge_out_of_band(effect, &vm, by.uid, grant, now);
        let charged = journal.iter().find_map(OutOfBandCharge::of);
        batch.journal(journal);
        let over = rows.iter().filter(|row| row.remaining == 0);
        for row in over {
            let (counter, key) = (&row.counter, &row.key);
            tracing::info!(
                vm = vm.name,
                counter,
                key,
                "a stop beside the gateway used up"
            );
        }
        charged
    }

    /// The lease under which it ended: the one used, or one that was live. Where
    /// it ended without a daemon, only the kernel still knows.
    fn lease_of(&self, event: &KernelEvent, last: Option<&Last>) -> Option<DecisionId> {
        let of_kernel = Some(DecisionId(event.lease)).filter(|id| id.0 != 0);
        last.and_then(|last| last.lease).or(of_kernel).or_else(|| {
            let live = self
                .engine
                .leases()
                .find(|lease| lease.process == event.vm && lease.state.is_live());
            live.map(|lease| lease.id)
        })
    }

    /// A process is gone and no event said so.
    pub(super) fn ended_unseen(&mut self, process: Process, now: Now, batch: &mut Batch) {
        let guarded = self.vms.guarded().find(|(other, _)| *other == process);
        let Some(uuid) = guarded.map(|(_, guarded)| guarded.uuid) else {
            return;
        };
        self.evidence.ended_unseen(process);
        batch.audit(AuditBody::Vm(Box::new(VmRecord {
            event: "ended".to_owned(),
            vm: self.vms.reference(process, uuid),
            pid: process.pid,
            cause: Some("unseen".to_owned()),
            signal: None,
            exit_code: None,
            lease: None,
            charged: None,
            actor: None,
        })));
        self.leases_of_ended(process, now, batch);
        self.unprotect(process);
        count(&self.counters.ends_unseen);
    }
}

fn is_refusal(verdict: KernelVerdict) -> bool {
    matches!(
        verdict,
        KernelVerdict::Refused | KernelVerdict::RefusedHostLimit
    )
}

fn vector_name(vector: u32) -> String {
    vector::name(vector).map_or_else(|| format!("vector {vector}"), str::to_owned)
}

/// What was tried, in a word. A signal to one of a VM's helpers has none from the
/// kernel: it is the helper's name, where it lives.
pub(super) fn word(event: &KernelEvent) -> Option<String> {
    let (is_signal, helper) = (event.vector == vector::SIGNAL, event.detail);
    if event.word.is_empty() && is_signal && helper != 0 {
        return Some(ProcHandle::open(helper)?.stat()?.comm);
    }
    Some(event.word.clone()).filter(|word| !word.is_empty())
}

/// The wall-clock time of an event, by today's clock.
fn seen_at(event: &KernelEvent, now: Now) -> String {
    let then = i64::try_from(event.boot_ns).unwrap_or(now.boot_ns);
    let ago = now.boot_ns.saturating_sub(then).max(0);
    vmward_core::clock::rfc3339(now.wall_ns.saturating_sub(ago))
}

fn finishing_name(cause: u32) -> &'static str {
    match cause {
        finishing_cause::SHUTDOWN => "guest-shutdown",
        finishing_cause::HOST_SHUTDOWN => "host-shutdown",
        finishing_cause::PANICKED => "guest-panic",
        finishing_cause::MIGRATED => "migrated",
        finishing_cause::STATUS => "not-running",
        _ => "finishing",
    }
}
