//! Everything that was refused, dropped or degraded is counted here, and
//! `status` shows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident => $name:literal,)*) => {
        /// Shared counters; each only grows.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: AtomicU64,)*
        }

        impl Counters {
            /// Every counter under its fixed name.
            pub fn all(&self) -> BTreeMap<String, u64> {
                let mut all = BTreeMap::new();
                $(all.insert($name.to_owned(), self.$field.load(Ordering::Relaxed));)*
                all
            }
        }
    };
}

counters! {
    /// Answers `allow`.
    allowed => "decisions-allowed",
    /// Answers `deny`.
    denied => "decisions-denied",
    /// Answers `pending`.
    pending => "decisions-pending",
    /// Denied because the daemon could not do its part: write it down, count it,
    /// give the lease to the kernel.
    unavailable => "decisions-unavailable",
    /// Denied calls that share a record with others of their account.
    denials_summarised => "denials-summarised",
    /// Clients turned away because too many were connected.
    clients_refused => "clients-refused",
    /// Connections closed because a deadline passed.
    clients_timed_out => "clients-timed-out",
    /// Frames that were no valid request.
    bad_frames => "bad-frames",
    /// Calls answered with an error instead of a decision or a result.
    failed_calls => "calls-failed",
    /// Tokens and claims of grants that were refused.
    grants_refused => "grants-refused",
    /// Methods of the admin socket that were asked for on the policy socket.
    admin_only => "admin-methods-refused",
    /// Records that subscribers were too slow for.
    events_missed => "events-missed",
    /// Commands about requests for approval that failed or were not run.
    notices_failed => "approval-notices-failed",
    /// Requests turned away because the engine's queue was full.
    queue_full => "queue-full",
    /// Kernel events of a kind that this daemon does not know.
    unknown_events => "kernel-events-unknown",
    /// Kernel events lost between the kernel and this daemon.
    lost_events => "kernel-events-lost",
    /// Signals that the kernel refused.
    refusals => "kernel-refusals",
    /// What the kernel let through and would have refused, were it not disarmed or
    /// in observe mode.
    let_through => "kernel-let-through",
    /// Times that a person took protection away.
    disarms => "disarms",
    /// Kernel events that share a record with others.
    summarised => "kernel-events-summarised",
    /// Signals that a host rule let through.
    host_rule_uses => "host-rule-uses",
    /// Ends of VMs that were noticed only because the process was gone.
    ends_unseen => "vm-ends-unseen",
    /// Times that a VM's process could not be looked at and stayed protected.
    vms_hidden => "vms-hidden",
    /// Times that the thread which decides said nothing for ten seconds.
    engine_silences => "engine-silences",
    /// Answers that waited for the audit log, because too many records were on
    /// their way into it.
    audit_waits => "audit-log-waits",
    /// Writes to the audit log that failed.
    audit_errors => "audit-write-errors",
    /// Writes to the journal that failed.
    journal_errors => "journal-write-errors",
    /// Entries about what has happened that never came into the journal.
    journal_dropped => "journal-entries-dropped",
    /// Calls into the kernel side that failed.
    kernel_errors => "kernel-call-errors",
    /// Times that libvirt went away.
    libvirt_lost => "libvirt-connections-lost",
    /// Times that the program which asks libvirt ended, or could not be started.
    inventory_ends => "inventory-ends",
    /// Helpers of VMs that are not guarded, because one VM has too many.
    helpers_left_out => "helpers-left-out",
}

/// Counters as every part of the daemon holds them.
pub type SharedCounters = Arc<Counters>;

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Adds `n`.
pub fn count_by(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
