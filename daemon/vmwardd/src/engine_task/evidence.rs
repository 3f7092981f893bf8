//! Why a VM ended: what was seen about it before its end.

use std::collections::{BTreeMap, BTreeSet};

use vmward_core::audit::Actor;
use vmward_core::ids::{DecisionId, Process};

/// STOP, TSTP, TTIN and TTOU: they end nothing.
const PAUSING: [u32; 4] = [19, 20, 21, 22];
/// HUP, INT and TERM: on these QEMU announces a shutdown and ends in order.
const ORDERLY_SIGNALS: [u32; 3] = [1, 2, 15];
/// The cause of an end under a lease.
pub(super) const LEASE: &str = "lease";
/// The cause of an end by a signal of the kernel's own.
pub(super) const KERNEL_SIGNAL: &str = "kernel-signal";
/// The cause of an end by a signal that a host rule let through.
pub(super) const HOST_RULE: &str = "host-rule";
/// The cause of an end by a signal that was only observed.
pub(super) const OBSERVED: &str = "observed";

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
pub(super) struct Seen {
    finishing: Option<&'static str>,
    /// The last signal that was let through, or came from the kernel, and that
    /// ends a process.
    pub(super) last: Option<Last>,
}

impl Seen {
    /// Why the VM ends or ended; `died_of` is the signal in its wait status, 0
    /// for none. QEMU also announces a shutdown when it was sent a TERM, so a
    /// signal that came before the announcement is the cause of it.
    pub(super) fn cause(&self, died_of: u32) -> &'static str {
        // QEMU survives most signals; only one that it died of, or shut down on,
        // counts, but what a lease covers is the lease's to the end.
        let shut_down_on = |signal| self.finishing.is_some() && ORDERLY_SIGNALS.contains(&signal);
        let last = self.last.as_ref().filter(|last| {
            last.lease.is_some() || last.signal == died_of || shut_down_on(last.signal)
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
pub(super) struct Last {
    pub(super) cause: &'static str,
    pub(super) signal: u32,
    pub(super) actor: Actor,
    pub(super) lease: Option<DecisionId>,
}

impl Evidence {
    /// True when this is the second sweep in a row that misses the process.
    pub(super) fn missing_since_last_sweep(&mut self, process: Process) -> bool {
        !self.missing.insert(process)
    }

    /// True when the end of this process was taken down as unseen; once.
    pub(super) fn was_unseen(&mut self, process: Process) -> bool {
        self.unseen.remove(&process)
    }

    /// True when QEMU has announced the end of its guest.
    pub(super) fn is_over(&self, process: Process) -> bool {
        self.seen
            .get(&process)
            .is_some_and(|seen| seen.finishing.is_some())
    }

    pub(super) fn take(&mut self, process: Process) -> Seen {
        self.missing.remove(&process);
        self.seen.remove(&process).unwrap_or_default()
    }

    /// The end of this process was taken down without its event.
    pub(super) fn ended_unseen(&mut self, process: Process) {
        drop(self.take(process));
        self.unseen.insert(process);
    }

    /// A signal that may end the process was let through, or came from the
    /// kernel.
    pub(super) fn remember(&mut self, process: Process, last: Last) {
        // A VM that was paused is still there to end otherwise.
        if PAUSING.contains(&last.signal) {
            return;
        }
        let seen = self.seen.entry(process).or_default();
        // The finishing kill is no cause: the guest was over before.
        if seen.finishing.is_some() && seen.last.is_none() {
            return;
        }
        seen.last = Some(last);
    }

    /// QEMU has announced the end of its guest. Gives the cause; nothing when it
    /// had announced it before: it does so once more when libvirt ends it
    /// afterwards, and the first announcement is the cause.
    pub(super) fn finishing(
        &mut self,
        process: Process,
        why: &'static str,
    ) -> Option<&'static str> {
        let seen = self.seen.entry(process).or_default();
        if seen.finishing.is_some() {
            return None;
        }
        seen.finishing = Some(why);
        Some(seen.cause(0))
    }

    /// The guest runs again.
    pub(super) fn resumed(&mut self, process: Process) {
        self.seen.entry(process).or_default().finishing = None;
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
                lease: (cause == LEASE).then_some(DecisionId(7)),
            }),
        }
    }

    #[test]
    fn a_shutdown_that_follows_a_leased_signal_is_the_lease_s() {
        let both = seen(Some("guest-shutdown"), Some((LEASE, 15)));
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

    #[test]
    fn a_signal_that_qemu_survived_is_not_why_the_guest_powered_off() {
        let term = seen(Some("host-shutdown"), Some((OBSERVED, 15)));
        assert_eq!(term.cause(0), OBSERVED);
        assert_eq!(seen(None, Some((HOST_RULE, 9))).cause(9), HOST_RULE);
        let survived = seen(Some("guest-shutdown"), Some((OBSERVED, 10)));
        assert_eq!(survived.cause(0), "guest-shutdown");
    }
}
