//! What an allow may have been charged at most, where its record does not say.

use crate::{
    audit::DecisionRecord,
    limit::{Charge, CounterKey, maker_beside, window_s},
    policy::{LimitRule, Policy, Scope, rule::Increment},
};

/// Every limit of the policy, as if the call had passed all of its rules; one that
/// counts by arguments is used up.
pub(super) fn strictest(policy: &Policy, record: &DecisionRecord) -> Vec<Charge> {
    let mut all: Vec<Charge> = Vec::new();
    for limit in policy.limits() {
        let charge = charge(limit, record);
        match all.iter_mut().find(|other| other.key == charge.key) {
            Some(other) => {
                other.cost = other.cost.max(charge.cost);
                other.window_s = other.window_s.max(charge.window_s);
            }
            None => all.push(charge),
        }
    }
    all
}

fn charge(limit: &LimitRule, record: &DecisionRecord) -> Charge {
    let (key, made_up) = key(limit.scope, record);
    let maker = Some(record.caller.grant.as_str()).filter(|_| made_up);
    Charge {
        maker: maker_beside(&key, maker),
        key: CounterKey {
            counter: limit.counter.clone(),
            key,
        },
        cost: match limit.increment {
            Increment::Fixed(cost) => cost,
            Increment::From(_) => limit.max,
        },
        window_s: window_s(limit.window.ns()),
    }
}

/// Whose counter, and whether the caller could have chosen another.
fn key(scope: Scope, record: &DecisionRecord) -> (String, bool) {
    let caller = &record.caller;
    let grant = &caller.grant;
    match scope {
        Scope::Grant => (format!("grant:{grant}"), false),
        Scope::Session => {
            let process = caller.process;
            let text = format!("session:{grant}/{}.{}", process.pid, process.start_ticks);
            (text, true)
        }
        Scope::Agent => {
            let agent = caller.agent.as_deref().unwrap_or("-");
            (format!("agent:{grant}/{agent}"), true)
        }
        Scope::Uid => (format!("uid:{}", caller.uid), false),
        Scope::Vm => match &record.vm {
            None => ("vm:-".to_owned(), false),
            Some(vm) => match vm.uuid {
                Some(uuid) => (format!("vm:{uuid}"), false),
                None => (format!("vm:{}", vm.name), true),
            },
        },
        Scope::Host => ("host:".to_owned(), false),
        Scope::Tool => match record.effect {
            Some(effect) => (format!("tool:{}", effect.tool()), false),
            None => (format!("tool:{}", record.tool), true),
        },
    }
}
