//! The decision: what may happen, what to write down for it, what became of it.
//!
//! The shell asks, makes the returned journal entries durable, writes the audit
//! record, puts the lease into the kernel, and only then answers. Where it
//! cannot make them durable it calls [`Engine::undo`] and answers nothing that
//! was allowed.

mod authorize;
mod closing;
mod message;
mod recent;
mod restore;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use recent::Recent;
pub use recent::RecentDecision;
pub use types::{
    Authorized, Caller, Closed, Decision, Denial, LimitRow, Outcome, Pending, Permit, ReasonCode,
    ReleaseError, Released, ReportError, Request, Shadow, Target, Via, VmTarget,
};

use crate::{
    clock::{self, NS_PER_MS, Now},
    ids::DecisionId,
    lease::{EXECUTING_MS, Lease},
    limit::{Limiter, Want},
    policy::{LimitRule, Policy, Scope},
};

/// Most leases at a time, whatever the limits say.
pub const LEASES_MAX: usize = 4096;

/// Everything that decides: policy, counters, leases.
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Policy,
    boot_id: String,
    limiter: Limiter,
    /// Leases that are not settled: live ones, and released ones that wait for
    /// their deadline.
    leases: BTreeMap<DecisionId, Lease>,
    recent: Recent,
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
            policy,
            boot_id: boot_id.to_owned(),
            limiter,
            leases: BTreeMap::new(),
            recent: Recent::default(),
            next_id: 1,
            wall_ahead_ns: None,
        }
    }

    /// Puts another policy into force. Counters and leases stay.
    pub fn set_policy(&mut self, policy: Policy) {
        self.limiter.set_windows(&windows(&policy));
        self.policy = policy;
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

    /// The boot-time nanosecond of the next deadline, for the shell's timer.
    pub fn next_deadline(&self) -> Option<i64> {
        self.leases.values().map(|lease| lease.deadline_ns).min()
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

    /// Every limit of the policy for every key that holds a call.
    pub fn limits(&self, now: Now) -> Vec<LimitRow> {
        let mut rows = Vec::new();
        for (counter, _) in self.limiter.counters() {
            let limits = self.policy.tools().flat_map(|(_, rule)| &rule.limits);
            // Tools that share a counter may each have a max of their own.
            let mut maxima = Vec::new();
            for limit in limits.filter(|limit| limit.counter == counter.counter) {
                if maxima.contains(&limit.max) {
                    continue;
                }
                maxima.push(limit.max);
                let row = self.row(&want(limit, counter.key.clone()), now);
                if row.remaining < row.max {
                    rows.push(row);
                }
            }
        }
        rows
    }

    fn row(&self, want: &Want, now: Now) -> LimitRow {
        let view = self.limiter.state(want, now.boot_ns);
        LimitRow {
            counter: want.counter.clone(),
            key: want.key.clone(),
            window_s: u64::try_from(want.window_ns / clock::NS_PER_S).unwrap_or(0),
            max: u64::from(want.max),
            remaining: u64::from(view.remaining),
            next_free_in_ms: if view.remaining == 0 {
                clock::ceil_ms(view.next_free_in_ns)
            } else {
                0
            },
        }
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

/// A limit of the policy as the limiter wants it.
fn want(limit: &LimitRule, key: String) -> Want {
    Want {
        counter: limit.counter.clone(),
        key,
        window_ns: limit.window.ns(),
        max: limit.max,
        cost: 1,
    }
}

/// Whose counter a call of `grant` is charged to.
fn scope_key(scope: Scope, grant: &str) -> String {
    match scope {
        Scope::Grant => format!("grant:{grant}"),
        other => format!("{}:{grant}", other.name()),
    }
}

/// Until when a lease that is used from now on stays usable.
fn executing_until(now: Now) -> i64 {
    now.boot_ns.saturating_add(EXECUTING_MS * NS_PER_MS)
}
