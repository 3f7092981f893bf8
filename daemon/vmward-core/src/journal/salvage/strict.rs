//! What an allow may have been charged at most, where its record does not say.

use crate::{
    audit::DecisionRecord,
    effect::Effect,
    engine::Via,
    limit::{Charge, CounterKey, Key, KeyFacts, KeyVm, key, maker_beside, window_s},
    policy::{
        LimitRule, Policy,
        facts::{CallerFacts, Facts},
        map::{Mapped, look_up},
        rule::Increment,
    },
};

/// Every limit of the policy, as if the call had passed all of its rules; one that
/// counts by arguments is used up.
pub(super) fn strictest(policy: &Policy, record: &DecisionRecord) -> Vec<Charge> {
    let facts = facts(policy, record);
    let mut all: Vec<Charge> = Vec::new();
    for limit in policy.limits() {
        let charge = charge(limit, &facts);
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

fn charge(limit: &LimitRule, facts: &KeyFacts<'_>) -> Charge {
    let Key { text: key, made_up } = key(limit.scope, facts);
    let maker = Some(facts.grant).filter(|_| made_up);
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

fn facts<'a>(policy: &Policy, record: &'a DecisionRecord) -> KeyFacts<'a> {
    let caller = &record.caller;
    KeyFacts {
        grant: &caller.grant,
        uid: caller.uid,
        process: caller.process,
        agent: caller.agent.as_deref(),
        vm: match &record.vm {
            None => KeyVm::None,
            Some(vm) => vm.uuid.map_or(KeyVm::Named(&vm.name), KeyVm::Known),
        },
        effect: mapped(policy, record).or(record.effect),
        tool: &record.tool,
    }
}

/// What the effect map gives a call of which the record has only what was claimed.
fn mapped(policy: &Policy, record: &DecisionRecord) -> Option<Effect> {
    if !record.claimed || record.via != Via::Tool {
        return None;
    }
    let arguments = record.arguments.as_deref();
    let arguments = arguments.and_then(|text| serde_json::from_str(text).ok());
    let caller = &record.caller;
    let call = Facts {
        tool: &record.tool,
        server: record.server.as_deref(),
        effect: None,
        arguments: &arguments.unwrap_or_default(),
        vm: None,
        caller: CallerFacts {
            grant: &caller.grant,
            uid: caller.uid,
            unit: caller.unit.as_deref(),
            exe: caller.exe.as_deref(),
            agent: caller.agent.as_deref(),
        },
    };
    match look_up(&policy.effect_map, &call) {
        Mapped::Known { effect, .. } => effect,
        Mapped::Suspect { .. } | Mapped::Harmless { .. } => None,
    }
}

#[cfg(test)]
mod tests;
