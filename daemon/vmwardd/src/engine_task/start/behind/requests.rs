//! Requests for approval that the audit log has further on than the journal, or
//! that the journal does not know: what a person said, or that a yes was used, would
//! count no more.
//!
//! The record of each step is written after the journal's line of it is on disk, so
//! a good journal is never behind the log, whatever a crash keeps from either. What
//! it does not know although its numbers have come past it is forgotten rightly:
//! used, or over, and left out when the journal was written anew.

use std::collections::BTreeMap;

use vmward_core::approval::{Approval, ApprovalConfig, ApprovalState};
use vmward_core::audit::ApprovalEvent;
use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::ids::DecisionId;
use vmward_core::journal::ReplayedState;
use vmward_core::policy::Policy;

use super::age_ns;
use crate::audit_file::{Requests, Said};

/// Requests of which log and journal may not say the same, by the decisions that opened
/// them: the log's records of these are looked for. What was denied when the journal
/// was written anew has come to its end, is in the log, and stays in the journal for
/// long.
pub(super) fn unsettled(replayed: &ReplayedState) -> impl Iterator<Item = DecisionId> {
    let all = replayed.approvals.iter();
    let open = all.filter(|one| one.state != ApprovalState::Denied);
    let steps = replayed.steps.iter().map(|step| step.approval.id);
    open.map(|one| one.id).chain(steps)
}

/// What the journal lacks of the newest such request, if there is one.
pub(super) fn lacks(
    replayed: &ReplayedState,
    requests: &Requests,
    policy: &Policy,
    approvals: &ApprovalConfig,
    now: Now,
) -> Option<String> {
    let known = replayed.approvals.iter();
    let known: BTreeMap<DecisionId, &Approval> = known.map(|one| (one.id, one)).collect();
    let longest_ns = longest_ns(policy, approvals);
    requests.iter().rev().find_map(|(id, said)| {
        let known = known.get(&id).copied();
        let life_ns = known.map_or(0, |one| one.deadline_ns.saturating_sub(one.opened.boot_ns));
        let age_ns = age_ns(&said.written, &replayed.boot_id, now);
        if age_ns > longest_ns.max(life_ns) {
            return None;
        }
        is_behind(id, said, known, replayed.next_id).then(|| sentence(id, said, known))
    })
}

fn is_behind(id: DecisionId, said: &Said, known: Option<&Approval>, next_id: u64) -> bool {
    // Also recorded where the journal could not be written; and nothing is left of it.
    if said.event == ApprovalEvent::Expired {
        return false;
    }
    match known {
        Some(known) => ApprovalEvent::from(known.state).stage() < said.event.stage(),
        None => id.0 >= next_id,
    }
}

fn sentence(id: DecisionId, said: &Said, known: Option<&Approval>) -> String {
    let did = match said.event {
        ApprovalEvent::Opened => "it was opened",
        ApprovalEvent::Approved => "a person approved it",
        ApprovalEvent::Denied => "a person denied it",
        ApprovalEvent::Used => "it was used",
        ApprovalEvent::Expired => "its time was over",
    };
    let has = match known {
        Some(known) => format!("has request {id} for approval as {}", known.state.name()),
        None => format!("lacks request {id} for approval"),
    };
    format!("{has}, and the audit log says that {did}")
}

/// Nothing that was said of a request counts for longer.
fn longest_ns(policy: &Policy, approvals: &ApprovalConfig) -> i64 {
    let own = policy.rules().filter_map(|rule| rule.approval_timeout_s);
    let all = own.chain([approvals.ttl_s, approvals.denied_memory_s]);
    i64::from(all.max().unwrap_or(0)) * NS_PER_S
}

#[cfg(test)]
mod tests;
