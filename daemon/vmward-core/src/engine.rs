//! The decision: what may happen, what to write down for it, what became of it.
//!
//! The shell asks, makes the returned journal entries durable, puts the lease into
//! the kernel, writes the audit record, and only then answers. Where it cannot make
//! them durable it calls [`Engine::undo`], where the kernel does not take the lease
//! [`Engine::revoke`], and answers nothing that was allowed.

mod approvals;
mod authorize;
mod charge;
mod closing;
mod disarming;
mod explain;
mod filter;
mod govern;
mod host_rules;
mod judge;
mod mapping;
mod message;
mod opening;
mod out_of_band;
mod recent;
mod record;
mod refusal;
mod restore;
#[cfg(test)]
mod tests;
mod types;
mod view;
mod weigh;

use std::{collections::BTreeMap, sync::Arc};

pub use explain::{ExplainedRule, ExplainedStep, Explanation};
pub use filter::Visibility;
pub use govern::Origin;
pub use mapping::one_vm;
use recent::Recent;
pub use recent::RecentDecision;
pub use types::{
    Authorized, Caller, Closed, Decision, Denial, LimitRow, Outcome, Pending, Permit, Rearmed,
    ReasonCode, ReleaseError, Released, ReportError, Request, Shadow, Target, Via, VmTarget,
};
pub use view::Viewer;

use crate::{
    approval::{ApprovalConfig, Approvals},
    clock::{NS_PER_MS, Now},
    disarm::Disarms,
    ids::DecisionId,
    lease::{EXECUTING_MS, Lease},
    limit::Limiter,
    policy::Policy,
};

/// Most live leases at a time, whatever the limits say.
pub const LEASES_MAX: usize = 4096;
/// Most leases of one grant that were given back and wait for their refund.
const RELEASED_MAX: usize = LEASES_MAX / 16;

/// Everything that decides: policy, counters, leases, approvals.
#[derive(Clone, Debug)]
pub struct Engine {
    /// Shared, so that a decision can hold on to its rules while it charges.
    policy: Arc<Policy>,
    boot_id: String,
    limiter: Limiter,
    /// Leases that are not settled: live ones, and released ones that wait for
    /// their deadline.
    leases: BTreeMap<DecisionId, Lease>,
    recent: Recent,
    approvals: Approvals,
    approval_config: ApprovalConfig,
    /// The only user who approves, where that is certain.
    approver_uid: Option<u32>,
    disarms: Disarms,
    /// Do records of decisions hold the arguments?
    records_arguments: bool,
    next_id: u64,
    /// What the wall clock is ahead of boot time, in nanoseconds, as the journal
    /// has it.
    wall_ahead_ns: Option<i64>,
}

impl Engine {
    /// With no call charged: for a host without a journal. `boot_id` is the
    /// kernel's `/proc/sys/kernel/random/boot_id`.
    pub fn new(policy: Policy, boot_id: &str) -> Self {
        let mut limiter = Limiter::new();
        limiter.set_windows(&windows(&policy));
        Self {
            policy: Arc::new(policy),
            boot_id: boot_id.to_owned(),
            limiter,
            leases: BTreeMap::new(),
            recent: Recent::default(),
            approvals: Approvals::default(),
            approval_config: ApprovalConfig::default(),
            approver_uid: None,
            disarms: Disarms::default(),
            records_arguments: true,
            next_id: 1,
            wall_ahead_ns: None,
        }
    }

    /// Puts another policy into force. Counters and leases stay; requests for
    /// approval are bound to the former one and end with the next
    /// [`Engine::expire_approvals`], unless the policy is the same text.
    pub fn set_policy(&mut self, policy: Policy) {
        self.limiter.set_windows(&windows(&policy));
        self.policy = Arc::new(policy);
    }

    /// Should records of decisions hold the arguments, too, for those who later
    /// want to know what another policy would have said? They do unless told
    /// otherwise; where arguments hold secrets, they should not.
    pub fn set_records_arguments(&mut self, yes: bool) {
        self.records_arguments = yes;
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Never hands out `id` or a smaller one again. The journal knows only what
    /// was allowed; the shell calls this with the newest decision in the audit
    /// log, so that a denial's number is not used twice either.
    pub fn skip_ids(&mut self, id: DecisionId) {
        self.next_id = self.next_id.max(id.0.saturating_add(1));
    }

    /// Every lease that is not settled. A released one is still here until its
    /// deadline, see [`crate::lease::LeaseState::is_live`].
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.values()
    }

    /// The lease with this id, if it is not settled.
    pub fn lease(&self, id: DecisionId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// The boot-time nanosecond of the next deadline, for the shell's timer:
    /// that of a lease ([`Engine::due`]), of a request for approval
    /// ([`Engine::expire_approvals`]) or of a disarm ([`Engine::expire_disarms`]).
    pub fn next_deadline(&self) -> Option<i64> {
        let leases = self.leases.values().map(|lease| lease.deadline_ns);
        let approvals = self.approvals.next_deadline(self.policy.hash());
        let disarms = self.disarms.next_deadline();
        leases.chain(approvals).chain(disarms).min()
    }

    /// Leases past their deadline, which the shell must look up in the kernel
    /// and [`Engine::close`].
    pub fn due(&self, now: Now) -> Vec<DecisionId> {
        let due = self
            .leases
            .values()
            .filter(|lease| lease.deadline_ns <= now.boot_ns);
        due.map(|lease| lease.id).collect()
    }

    fn take_id(&mut self) -> DecisionId {
        let id = DecisionId(self.next_id);
        self.next_id = self.next_id.saturating_add(1);
        id
    }
}

/// The longest window of each counter, in nanoseconds.
fn windows(policy: &Policy) -> BTreeMap<String, i64> {
    let mut windows = BTreeMap::new();
    for limit in policy.limits() {
        let longest = windows.entry(limit.counter.clone()).or_insert(0);
        *longest = limit.window.ns().max(*longest);
    }
    windows
}

/// Until when a lease that is used from now on stays usable.
fn executing_until(now: Now) -> i64 {
    now.boot_ns.saturating_add(EXECUTING_MS * NS_PER_MS)
}
