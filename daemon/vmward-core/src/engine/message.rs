//! The sentences of an answer, for agents and people.

use std::{borrow::Cow, fmt};

use super::{LimitRow, Request, Target, VmTarget};
use crate::{
    ids::DecisionId,
    lease::Lease,
    limit::{SHARE_COUNTERS_MAX, Whose},
    policy::{LimitRule, Scope},
};

/// Room for a sentence; most are shorter.
const SENTENCE_BYTES: usize = 200;

/// As in `vm_stop of web-1`.
pub(super) fn call(request: &Request) -> impl fmt::Display {
    let tool = &request.tool;
    fmt::from_fn(move |out| match &request.target {
        Target::Vm(VmTarget { name, .. }) | Target::Unchecked(name) => {
            write!(out, "{tool} of {name}")
        }
        Target::None | Target::Unknown(_) => out.write_str(tool),
    })
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
    let mut text = sentence(format_args!("{} is allowed", call(request)));
    if let Some(id) = approval {
        add(
            &mut text,
            format_args!("; request {id} for approval is used up"),
        );
    }
    if let Some(tightest) = limits.iter().min_by_key(|row| row.remaining) {
        let (left, max) = (tightest.remaining, tightest.max);
        add(&mut text, format_args!("; {left} of {max} are left"));
    }
    match (lease, &request.target, request.effect) {
        (Some(lease), _, _) => {
            let (effect, ttl_s) = (lease.effect.name(), lease.effect.ttl_ms() / 1000);
            add(
                &mut text,
                format_args!("; the lease for {effect} lapses in {ttl_s} s"),
            );
        }
        (None, Target::Vm(vm), Some(_)) => {
            let name = &vm.name;
            add(
                &mut text,
                format_args!("; {name} is not protected by the kernel, so it needs no lease"),
            );
        }
        (None, Target::Unchecked(_), Some(_)) => {
            text.push_str("; only the policy decides here, the kernel protects no VM");
        }
        (None, _, _) => {}
    }
    text
}

pub(super) fn limited(
    request: &Request,
    limit: &LimitRule,
    row: &LimitRow,
    cost: u32,
    wait_ms: Option<u64>,
) -> String {
    let mut text = sentence(format_args!(
        "{} is limited to {} {} for {}; ",
        request.tool,
        limit.max,
        limit.window.with_article(),
        whom(limit.scope, &row.key, request)
    ));
    let used = row.max - row.remaining;
    match wait_ms.map(seconds) {
        None => add(
            &mut text,
            format_args!("this call alone counts {cost}: ask for less"),
        ),
        Some(wait) if cost == 1 => add(
            &mut text,
            format_args!("{used} were used, the next is free in {wait}"),
        ),
        Some(wait) => add(
            &mut text,
            format_args!("{used} were used, this call counts {cost} and fits in {wait}"),
        ),
    }
    text
}

/// Text with room for most sentences from the start.
fn sentence(text: fmt::Arguments<'_>) -> String {
    let mut sentence = String::with_capacity(SENTENCE_BYTES);
    add(&mut sentence, text);
    sentence
}

fn add(sentence: &mut String, text: fmt::Arguments<'_>) {
    // Nothing of it can fail to be written.
    fmt::write(sentence, text).unwrap_or_default();
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
fn whom<'a>(scope: Scope, key: &str, request: &'a Request) -> Cow<'a, str> {
    let caller = &request.caller;
    let grant = &caller.grant;
    match scope {
        Scope::Grant => grant.into(),
        Scope::Session => format!("this session of {grant}").into(),
        Scope::Agent => match &caller.agent {
            Some(agent) => format!("agent {agent} of {grant}").into(),
            None => format!("all nameless agents of {grant}").into(),
        },
        Scope::Uid => format!("user {}", caller.uid).into(),
        Scope::Vm => vm_or_none(request).into(),
        Scope::Host => "the whole host".into(),
        // Tools for the same thing share one counter: see `scope_key`.
        Scope::Tool => match (request.effect, key.strip_prefix("tool:")) {
            (Some(_), Some(tool)) => {
                format!("all calls of {tool} and of what does the same").into()
            }
            _ => "all callers together".into(),
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

pub(super) fn seconds(ms: u64) -> impl fmt::Display {
    fmt::from_fn(move |out| write!(out, "{} s", ms.div_ceil(1000)))
}
