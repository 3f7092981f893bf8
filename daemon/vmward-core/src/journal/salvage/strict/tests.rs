//! What a repair charges for a record must be the counters that the call itself was
//! charged to, or nobody will ever ask them.

use std::collections::BTreeMap;

use serde_json::{Map, json};

use super::strictest;
use crate::{
    audit::AuditBody,
    clock::{LocalTime, Now},
    digest::Arguments,
    effect::Effect,
    engine::{Caller, Engine, Request, Target, Via, VmTarget},
    ids::{Process, VmUuid},
    policy::Policy,
};

const UUID: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";

/// One limit of each scope, and a tool whose effect the policy knows.
fn policy() -> Policy {
    let scopes = ["grant", "session", "agent", "uid", "vm", "host", "tool"];
    let limits =
        scopes.map(|scope| json!({"counter": scope, "window": "day", "max": 9, "scope": scope}));
    let policy = json!({
        "version": "1", "default": "allow", "all_tools": {"limits": limits},
        "effect_map": [{"tool": "turn", "effect": "reset", "vm": "args.machine"}],
    });
    Policy::parse(&policy.to_string(), "policy.json").unwrap()
}

fn caller() -> Caller {
    Caller {
        grant: "uid:1000".to_owned(),
        process: Process {
            pid: 500,
            start_ticks: 7,
        },
        uid: 1000,
        comm: "agent".to_owned(),
        exe: None,
        agent: Some("helper".to_owned()),
        unit: None,
        loginuid: None,
    }
}

/// The counters that a call is charged to by its decision, and by a repair that has
/// its record without them.
#[track_caller]
fn check(tool: &str, effect: Option<Effect>, target: Target) {
    let mut engine = Engine::new(policy(), "boot");
    let arguments = Map::from_iter([("machine".to_owned(), json!("web-1"))]);
    let mapped = engine.mapped(tool, None, &arguments, &caller());
    let request = Request {
        tool: tool.to_owned(),
        via: Via::Tool,
        server: None,
        effect: effect.or(mapped.effect()),
        mapped,
        arguments: Arguments::new(arguments),
        local: LocalTime::default(),
        holder: caller().process,
        caller: caller(),
        target,
        reason: None,
    };
    let AuditBody::Decision(mut record) = engine.authorize(request, Now::default()).audit else {
        panic!("a decision")
    };
    let charged = record.charges.take().expect("it is allowed");
    let again = strictest(&policy(), &record);
    let keys = |charges: &[crate::limit::Charge]| -> BTreeMap<String, (String, Option<String>)> {
        let keys = charges.iter();
        keys.map(|charge| {
            let key = (charge.key.key.clone(), charge.maker.clone());
            (charge.key.counter.clone(), key)
        })
        .collect()
    };
    assert_eq!(keys(&charged).len(), 7, "{charged:?}");
    assert_eq!(keys(&again), keys(&charged));
}

#[test]
fn a_repair_charges_the_counters_that_the_decision_charged() {
    let vm = VmTarget {
        uuid: VmUuid::from_bytes([1; 16]),
        name: "web-1".to_owned(),
        process: None,
        protected: false,
        labels: BTreeMap::new(),
    };
    let unhyphened = UUID.replace('-', "");
    check("list", None, Target::None);
    check("list", None, Target::Vm(vm));
    check("list", None, Target::Unchecked("web-1".to_owned()));
    // Another spelling of a UUID is the same VM.
    check("list", None, Target::Unchecked(UUID.to_owned()));
    check("list", None, Target::Unchecked(unhyphened.to_uppercase()));
    // Tools for one effect share a counter, whatever else is claimed of them.
    check("turn", None, Target::Unchecked("web-1".to_owned()));
    let claims = Some(Effect::ForceStop);
    check("turn", claims, Target::Unchecked("web-1".to_owned()));
    check("list", claims, Target::Unchecked("web-1".to_owned()));
}
