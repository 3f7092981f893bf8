//! What the kernel saw, into the audit log; and what it says about why a VM
//! ended.

use std::collections::{BTreeMap, BTreeSet};

use vmward_abi::finishing_cause;
use vmward_core::audit::{Actor, AuditBody, KernelRecord, KernelVerdict, LossRecord, VmRecord};
use vmward_core::clock::Now;
use vmward_core::ids::{DecisionId, Process, VmUuid};

use super::batch::Batch;
use super::seq::Gap;
use super::shell::Shell;
use crate::counters::{count, count_by};
use crate::kernel::{CANARY_UUID, EventKind, KernelEvent};
use crate::record::{Witnessed, signal};

/// STOP, TSTP, TTIN and TTOU: they end nothing.
const PAUSING: [u32; 4] = [19, 20, 21, 22];
/// The cause of an end by a signal of the kernel's own.
const KERNEL_SIGNAL: &str = "kernel-signal";
/// The cause of an end by a signal that a host rule let through.
const HOST_RULE: &str = "host-rule";
/// The cause of an end by a signal that was only observed.
const OBSERVED: &str = "observed";
/// Highest signal number in a wait status.
const STATUS_SIGNAL_MASK: u32 = 0x7f;
/// HUP, INT and TERM: on these QEMU announces a shutdown and ends in order.
const ORDERLY_SIGNALS: [u32; 3] = [1, 2, 15];

/// What was seen about each VM that still runs.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    seen: BTreeMap<Process, Seen>,
    missing: BTreeSet<Process>,
    /// Ends that were taken down without their event, which may only be late.
    unseen: BTreeSet<Process>,
}

/// What was seen about one VM.
#[derive(Clone, Debug, Default)]
struct Seen {
    finishing: Option<&'static str>,
    /// The last signal that was let through, or came from the kernel, and that
    /// ends a process.
    last: Option<Last>,
}

impl Seen {
    /// Why the VM ends or ended; `died_of` is the signal in its wait status, 0
    /// for none. QEMU also announces a shutdown when it was sent a TERM, so a
    /// signal that came before the announcement is the cause of it.
    fn cause(&self, died_of: u32) -> &'static str {
        // QEMU survives most signals of the kernel's own; only one that it died
        // of, or shut down on, counts.
        let shut_down_on = |signal| self.finishing.is_some() && ORDERLY_SIGNALS.contains(&signal);
        let last = self.last.as_ref().filter(|last| {
            last.cause != KERNEL_SIGNAL || last.signal == died_of || shut_down_on(last.signal)
        });
        match (last, self.finishing) {
            (Some(last), _) => last.cause,
            (None, Some(finishing)) => finishing,
            (None, None) if died_of == 0 => "exited",
            (None, None) => "signal",
        }
    }
}

#[derive(Clone, Debug)]
struct Last {
    cause: &'static str,
    signal: u32,
    actor: Actor,
    lease: Option<DecisionId>,
}

impl Evidence {
    /// True when this is the second sweep in a row that misses the process.
    pub(super) fn missing_since_last_sweep(&mut self, process: Process) -> bool {
        !self.missing.insert(process)
    }

    /// True when the end of this process was taken down as unseen; once.
    fn was_unseen(&mut self, process: Process) -> bool {
        self.unseen.remove(&process)
    }

    /// True when QEMU has announced the end of its guest.
    pub(super) fn is_over(&self, process: Process) -> bool {
        self.seen
            .get(&process)
            .is_some_and(|seen| seen.finishing.is_some())
    }

    fn take(&mut self, process: Process) -> Seen {
        self.missing.remove(&process);
        self.seen.remove(&process).unwrap_or_default()
    }
}

impl Shell {
    pub(super) fn witnessed(&mut self, events: Vec<Witnessed>, now: Now, batch: &mut Batch) {
        for witnessed in events {
            self.seq.reached(witnessed.event.seq, now.boot_ns);
            if witnessed.event.vm_uuid != CANARY_UUID {
                self.take_down_event(witnessed, now, batch);
            }
        }
    }

    /// Events that nobody will ever see.
    pub(super) fn lost(&mut self, gap: Gap, batch: &mut Batch) {
        let events = gap.to.saturating_sub(gap.from).saturating_add(1);
        count_by(&self.counters.lost_events, events);
        tracing::error!(from = gap.from, to = gap.to, "kernel events were lost");
        batch.audit(AuditBody::Loss(LossRecord {
            from: gap.from,
            to: gap.to,
            count: events,
        }));
    }

    fn take_down_event(&mut self, witnessed: Witnessed, now: Now, batch: &mut Batch) {
        let Witnessed { event, actor } = witnessed;
        let lease = Some(DecisionId(event.lease)).filter(|id| id.0 != 0);
        let verdict = match event.kind {
            EventKind::Refused => KernelVerdict::Refused,
            EventKind::WouldRefuse => {
                self.remember(&event, OBSERVED, &actor, None);
                KernelVerdict::WouldRefuse
            }
            EventKind::LeaseClaimed | EventKind::LeaseUsed => {
                if let Some(id) = lease {
                    self.claimed(id, now, batch);
                }
                self.remember(&event, "lease", &actor, lease);
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
            EventKind::Finishing => return self.finishing(&event, batch),
            EventKind::Resumed => return self.resumed(&event, batch),
            EventKind::Exited => return self.exited(&event, now, batch),
        };
        let by = Process {
            pid: event.actor.tgid,
            start_ticks: event.actor.start_ticks,
        };
        if is_refusal(verdict) {
            self.tell_refusal(&event, &actor, now);
        }
        let record = KernelRecord {
            verdict,
            vm: self.reference(&event),
            pid: event.vm.pid,
            vector: "signal".to_owned(),
            signal: Some(signal(event.signal)),
            actor,
            lease,
            host_rule: self.host.name_of(event.host_rule),
            count: None,
            seen: seen_at(&event, now),
            kernel_seq: event.seq,
            vm_seq: event.vm_seq,
        };
        // What stops a VM has a record of its own; what does not can be tried
        // without end.
        if is_refusal(verdict)
            || matches!(
                verdict,
                KernelVerdict::WouldRefuse | KernelVerdict::Witnessed
            )
        {
            let records = self.flood.take(event.vm, by, record, now.boot_ns);
            self.take_down_held(records, batch);
        } else {
            let held = self.flood.drain();
            self.take_down_held(held, batch);
            batch.audit(AuditBody::Kernel(Box::new(record)));
        }
    }

    fn tell_refusal(&mut self, event: &KernelEvent, actor: &Actor, now: Now) {
        count(&self.counters.refusals);
        let Some(more) = self.refusals.pass(now.boot_ns) else {
            return;
        };
        let vm = self.reference(event).name;
        let signal = signal(event.signal).name;
        let (pid, comm) = (actor.tgid, &actor.comm);
        tracing::warn!(vm, signal, pid, comm, more, "refused");
    }

    /// Records of which some stand for several events.
    pub(super) fn take_down_held(&self, records: Vec<KernelRecord>, batch: &mut Batch) {
        for record in records {
            count_by(&self.counters.summarised, record.count.unwrap_or(0));
            batch.audit(AuditBody::Kernel(Box::new(record)));
        }
    }

    fn reference(&self, event: &KernelEvent) -> vmward_core::audit::VmRef {
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
        // A VM that was paused is still there to end otherwise.
        if PAUSING.contains(&event.signal) {
            return;
        }
        let seen = self.evidence.seen.entry(event.vm).or_default();
        // The finishing kill is no cause: the guest was over before.
        if seen.finishing.is_some() && seen.last.is_none() {
            return;
        }
        seen.last = Some(Last {
            cause,
            signal: event.signal,
            actor: actor.clone(),
            lease,
        });
    }

    fn finishing(&mut self, event: &KernelEvent, batch: &mut Batch) {
        let seen = self.evidence.seen.entry(event.vm).or_default();
        // QEMU announces once more when libvirt ends it afterwards; the first
        // announcement is the cause.
        if seen.finishing.is_some() {
            return;
        }
        seen.finishing = Some(finishing_name(event.signal));
        let cause = seen.cause(0);
        self.vm_event("finishing", event, Some(cause), batch);
    }

    fn resumed(&mut self, event: &KernelEvent, batch: &mut Batch) {
        self.evidence.seen.entry(event.vm).or_default().finishing = None;
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
            actor: None,
        })));
    }

    fn exited(&mut self, event: &KernelEvent, now: Now, batch: &mut Batch) {
        let died_of = event.exit_code & STATUS_SIGNAL_MASK;
        let seen = self.evidence.take(event.vm);
        let cause = seen.cause(died_of);
        let last = seen.last.filter(|last| last.cause == cause);
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
            actor: last.map(|last| last.actor),
        };
        tracing::info!(vm = record.vm.name, pid = record.pid, cause, "the VM ended");
        batch.audit(AuditBody::Vm(Box::new(record)));
        self.leases_of_ended(event.vm, now, batch);
        self.unprotect(event.vm);
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
        drop(self.evidence.take(process));
        self.evidence.unseen.insert(process);
        batch.audit(AuditBody::Vm(Box::new(VmRecord {
            event: "ended".to_owned(),
            vm: self.vms.reference(process, uuid),
            pid: process.pid,
            cause: Some("unseen".to_owned()),
            signal: None,
            exit_code: None,
            lease: None,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(finishing: Option<&'static str>, last: Option<(&'static str, u32)>) -> Seen {
        Seen {
            finishing,
            last: last.map(|(cause, signal)| Last {
                cause,
                signal,
                actor: Actor::default(),
                lease: None,
            }),
        }
    }

    #[test]
    fn a_shutdown_that_follows_a_leased_signal_is_the_lease_s() {
        let both = seen(Some("guest-shutdown"), Some(("lease", 15)));
        assert_eq!(both.cause(0), "lease");
        assert_eq!(
            seen(Some("guest-shutdown"), None).cause(0),
            "guest-shutdown"
        );
    }

    #[test]
    fn a_kernel_signal_counts_only_when_the_vm_died_of_it() {
        let segv = seen(None, Some((KERNEL_SIGNAL, 11)));
        assert_eq!(segv.cause(11), KERNEL_SIGNAL);
        assert_eq!(segv.cause(0), "exited");
        let pipe = seen(Some("guest-shutdown"), Some((KERNEL_SIGNAL, 13)));
        assert_eq!(pipe.cause(0), "guest-shutdown");
    }

    #[test]
    fn an_end_without_evidence_is_told_by_the_wait_status_alone() {
        assert_eq!(Seen::default().cause(9), "signal");
        assert_eq!(Seen::default().cause(0), "exited");
    }
}
