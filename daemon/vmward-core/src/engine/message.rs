//! The sentences of an answer, for agents and people.

use super::{LimitRow, Request, Target};
use crate::{
    ids::DecisionId,
    lease::Lease,
    limit::{SHARE_COUNTERS_MAX, Whose},
    policy::{LimitRule, Scope},
};

/// As in `vm_stop of web-1`.
pub(super) fn call(request: &Request) -> String {
    match &request.target {
        Target::Vm(vm) => format!("{} of {}", request.tool, vm.name),
        Target::Unchecked(name) => format!("{} of {name}", request.tool),
        Target::None | Target::Unknown(_) => request.tool.clone(),
    }
}

pub(super) fn vm_or_none(request: &Request) -> &str {
    match &request.target {
        Target::Vm(vm) => &vm.name,
        Target::Unchecked(name) | Target::Unknown(name) => name,
        Target::None => "no VM",
    }
}

pub(super) fn effect_or_tool(request: &Request) -> &str {
    request
        .effect
        .map_or(request.tool.as_str(), |effect| effect.name())
}

pub(super) fn allowed(
    request: &Request,
    limits: &[LimitRow],
    lease: Option<&Lease>,
    approval: Option<DecisionId>,
) -> String {
    let what = call(request);
    let approved = match approval {
        Some(id) => format!("; request {id} for approval is used up"),
        None => String::new(),
    };
    let left = match limits.iter().min_by_key(|row| row.remaining) {
        Some(tightest) => format!("; {} of {} are left", tightest.remaining, tightest.max),
        None => String::new(),
    };
    let lease = match (lease, &request.target, request.effect) {
        (Some(lease), _, _) => {
            let ttl_s = lease.effect.ttl_ms() / 1000;
            format!(
                "; the lease for {} lapses in {ttl_s} s",
                lease.effect.name()
            )
        }
        (None, Target::Vm(vm), Some(_)) => {
            format!(
                "; {} is not protected by the kernel, so it needs no lease",
                vm.name
            )
        }
        (None, Target::Unchecked(_), Some(_)) => {
            "; only the policy decides here, the kernel protects no VM".to_owned()
        }
        (None, _, _) => String::new(),
    };
    format!("{what} is allowed{approved}{left}{lease}")
}

pub(super) fn limited(
    request: &Request,
    limit: &LimitRule,
    row: &LimitRow,
    cost: u32,
    wait_ms: Option<u64>,
) -> String {
    let limited = format!(
        "{} is limited to {} {} for {}",
        request.tool,
        limit.max,
        limit.window.with_article(),
        whom(limit.scope, &row.key, request)
    );
    let Some(wait_ms) = wait_ms else {
        return format!("{limited}; this call alone counts {cost}: ask for less");
    };
    let used = row.max - row.remaining;
    let wait = seconds(wait_ms);
    if cost == 1 {
        format!("{limited}; {used} were used, the next is free in {wait}")
    } else {
        format!("{limited}; {used} were used, this call counts {cost} and fits in {wait}")
    }
}

/// There is no memory to count the call in.
pub(super) fn no_room(
    request: &Request,
    limit: &LimitRule,
    whose: Whose,
    wait_ms: Option<u64>,
) -> String {
    let (counter, scope) = (&limit.counter, limit.scope.name());
    let why = match whose {
        Whose::Share => format!(
            "its account has used up its share of the limiter, {SHARE_COUNTERS_MAX} counters \
             under names of its own choosing (agents, sessions, VMs, tools)"
        ),
        Whose::MadeUp => {
            "all accounts together have used up the limiter's room for names of their own \
             choosing (agents, sessions, VMs, tools)"
                .to_owned()
        }
        Whose::All => "the limiter's room for counters is used up".to_owned(),
    };
    let wait = match wait_ms {
        Some(wait_ms) => format!("the first is free again in {} or later", seconds(wait_ms)),
        None => "it is not known when one is free again".to_owned(),
    };
    format!(
        "{} cannot be counted by {counter} (scope {scope}): {why}; use names that were used \
         before, or wait: {wait}",
        request.tool
    )
}

/// Whose limit it is. `key`: the counter's.
fn whom(scope: Scope, key: &str, request: &Request) -> String {
    let caller = &request.caller;
    let grant = &caller.grant;
    match scope {
        Scope::Grant => grant.clone(),
        Scope::Session => format!("this session of {grant}"),
        Scope::Agent => match &caller.agent {
            Some(agent) => format!("agent {agent} of {grant}"),
            None => format!("all nameless agents of {grant}"),
        },
        Scope::Uid => format!("user {}", caller.uid),
        Scope::Vm => vm_or_none(request).to_owned(),
        Scope::Host => "the whole host".to_owned(),
        // Tools for the same thing share one counter: see `scope_key`.
        Scope::Tool => match (request.effect, key.strip_prefix("tool:")) {
            (Some(_), Some(tool)) => format!("all calls of {tool} and of what does the same"),
            _ => "all callers together".to_owned(),
        },
    }
}

pub(super) fn busy(vm: &str, lease: &Lease, wait_ms: u64) -> String {
    format!(
        "{vm} already has a live lease (decision {}, {} for {}); it ends in {} at the latest",
        lease.id,
        lease.effect.name(),
        lease.grant,
        seconds(wait_ms)
    )
}

pub(super) fn seconds(ms: u64) -> String {
    format!("{} s", ms.div_ceil(1000))
}
