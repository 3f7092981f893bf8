//! Defects that were found in other gateways' engines, by the numbers under
//! which the project keeps them. None of them may come back here. The wire, the
//! proxy and the daemon have theirs in files of the same name.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vmward_core::{
    clock::{LocalTime, NS_PER_S, Now},
    digest::Arguments,
    effect::Effect,
    engine::{Authorized, Caller, Decision, Engine, ReasonCode, Request, Target, Via, VmTarget},
    ids::{DecisionId, Process, VmUuid},
    lease::KernelLease,
    limit::COUNTERS_MAX,
    policy::{Policy, map::Mapped},
};

const SEED: &str = include_str!("data/policy.json");

fn engine(policy: &str) -> Engine {
    let policy = Policy::parse(policy, "policy.json").expect("no mistake");
    Engine::new(policy, "boot-one")
}

fn at(seconds: i64) -> Now {
    Now {
        boot_ns: seconds * NS_PER_S,
        wall_ns: (1_795_397_562 + seconds) * NS_PER_S,
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        start_ticks: u64::from(pid),
    }
}

/// A call of `tool` for a VM that only the policy protects.
fn call(tool: &str, arguments: Map<String, Value>) -> Request {
    Request {
        tool: tool.to_owned(),
        via: Via::Tool,
        server: None,
        arguments: Arguments::new(arguments),
        mapped: Mapped::Harmless { vm: None },
        local: LocalTime::default(),
        effect: None,
        target: Target::Unchecked("web-1".to_owned()),
        caller: Caller {
            grant: "uid:1000".to_owned(),
            process: process(500),
            uid: 1000,
            comm: "agent".to_owned(),
            exe: None,
            agent: None,
            unit: None,
            loginuid: None,
        },
        holder: process(500),
        reason: None,
    }
}

fn stop() -> Request {
    call("vm_stop", Map::new())
}

/// Stops VM number `n` by force, with a lease.
fn leased_stop(n: u8) -> Request {
    let vm = VmTarget {
        uuid: VmUuid::from_bytes([n; 16]),
        name: format!("web-{n}"),
        process: Some(process(1000 + u32::from(n))),
        protected: true,
        labels: BTreeMap::new(),
    };
    Request {
        effect: Some(Effect::ForceStop),
        target: Target::Vm(vm),
        ..stop()
    }
}

fn allowed(answer: &Authorized) -> Option<DecisionId> {
    match &answer.decision {
        Decision::Allow(permit) => Some(permit.id()),
        Decision::Deny(_) | Decision::Pending(_) => None,
    }
}

fn is_allowed(engine: &mut Engine, request: &Request, now: Now) -> bool {
    allowed(&engine.authorize(request.clone(), now)).is_some()
}

fn reason(answer: &Authorized) -> ReasonCode {
    match &answer.decision {
        Decision::Allow(_) => ReasonCode::Allowed,
        Decision::Deny(denial) => denial.reason,
        Decision::Pending(_) => ReasonCode::ApprovalRequired,
    }
}

/// Windows that begin on the minute let twice the maximum through around it, and
/// counted by the wall clock they begin anew when it is set.
#[test]
fn d03_no_burst_around_the_minute_and_no_quota_from_a_clock_that_is_set() {
    let mut engine = engine(SEED);
    for _ in 0..10 {
        assert!(is_allowed(&mut engine, &stop(), at(59)));
    }
    for second in 60..119 {
        assert!(!is_allowed(&mut engine, &stop(), at(second)), "{second}");
    }
    for hours in [1, -1] {
        let set = Now {
            wall_ns: at(118).wall_ns + hours * 3600 * NS_PER_S,
            ..at(118)
        };
        assert!(!is_allowed(&mut engine, &stop(), set), "{hours} h");
    }
    assert!(is_allowed(&mut engine, &stop(), at(119)));
}

/// What a policy is refused for, each with the line that it points at.
fn mistakes(policy: &Value) -> Vec<String> {
    let text = serde_json::to_string_pretty(policy).expect("JSON");
    let errors = Policy::parse(&text, "policy.json").expect_err("it has a mistake");
    let shown = errors.errors().iter();
    shown
        .map(|error| error.show("policy.json").to_string())
        .collect()
}

fn policy_with(rule: &Value) -> Value {
    json!({"version": "1", "default": "deny", "tools": {"vm_stop": rule}})
}

/// A policy with one limit whose members are changed.
fn policy_with_limit(change: impl FnOnce(&mut Map<String, Value>)) -> Value {
    let limit = json!({"counter": "stops", "window": "minute", "max": 10, "scope": "grant"});
    let Value::Object(mut limit) = limit else {
        unreachable!("it is an object")
    };
    change(&mut limit);
    policy_with(&json!({"limits": [limit]}))
}

fn arguments(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other} is no object"),
    }
}

/// A counter whose rule was not of the one expected shape was never counted, and
/// nobody was told. Here a limit without its maximum is a mistake, and a counter
/// is nothing that a condition could compare.
#[test]
fn d05_a_limit_that_would_never_count_is_refused() {
    for key in ["max", "window", "counter"] {
        let found = mistakes(&policy_with_limit(|limit| drop(limit.remove(key))));
        assert!(found.iter().any(|text| text.contains(key)), "{found:?}");
    }
    for op in ["lt", "gte", "eq"] {
        let state = json!({"path": "state.vm_stop.stops", "op": op, "value": 10});
        let found = mistakes(&policy_with(&json!({"require": [state]})));
        assert!(found.iter().any(|text| text.contains("state")), "{found:?}");
    }
}

/// A negative increment gave quota back, a fraction counted as nothing.
#[test]
fn d06_no_increment_counts_less_than_one() {
    for increment in [json!(-1), json!(0), json!(0.5), json!("1")] {
        let change = |limit: &mut Map<String, Value>| {
            limit.insert("increment".to_owned(), increment.clone());
        };
        let found = mistakes(&policy_with_limit(change));
        assert!(
            found.iter().any(|text| text.contains("increment")),
            "{found:?}"
        );
    }
    let policy = policy_with_limit(|limit| {
        limit.insert("increment_from".to_owned(), json!("args.count"));
    });
    let mut engine = engine(&policy.to_string());
    let mut ask = |count: Value| {
        let request = call("vm_stop", arguments(json!({"count": count})));
        reason(&engine.authorize(request.clone(), at(0)))
    };
    assert_eq!(ask(json!(9)), ReasonCode::Allowed);
    for bad in [
        json!(-9),
        json!(0),
        json!(0.5),
        json!("1"),
        json!(null),
        json!(1e30),
    ] {
        assert_eq!(ask(bad.clone()), ReasonCode::BadArguments, "{bad}");
    }
    assert_eq!(ask(json!(2)), ReasonCode::RateLimited);
    assert_eq!(ask(json!(1)), ReasonCode::Allowed);
    assert_eq!(ask(json!(1)), ReasonCode::RateLimited);
}

/// A misspelled key was passed over, and with it the limit that stood under it.
#[test]
fn d08_a_misspelled_key_is_refused_with_the_word_that_was_meant() {
    for (misspelled, meant) in [("limts", "limits"), ("require_reasn", "require_reason")] {
        let found = mistakes(&policy_with(&json!({misspelled: []}))).join("\n");
        assert!(found.contains(misspelled), "{found}");
        assert!(found.contains(&format!("\"{meant}\"")), "{found}");
    }
}

/// A call that is given back after its window must not be taken off the calls of
/// the next one.
#[test]
fn d04_a_late_refund_gives_nothing_back_twice() {
    let mut engine = engine(SEED);
    let first = allowed(&engine.authorize(leased_stop(1), at(0))).expect("allowed");
    for _ in 0..10 {
        assert!(is_allowed(&mut engine, &stop(), at(70)));
    }
    let closed = engine.close(first, KernelLease::Granted, true, at(75));
    assert_eq!(closed.leases.len(), 1, "the lease lapsed unused");
    assert!(!is_allowed(&mut engine, &stop(), at(76)));
    assert!(is_allowed(&mut engine, &stop(), at(130)));
}

/// Where calls cannot be counted they are denied, not let through uncounted.
#[test]
fn d10_without_room_to_count_a_call_is_denied() {
    let mut engine = engine(SEED);
    let by = |n: usize| {
        let mut request = stop();
        request.caller.grant = format!("uid:{n}");
        request
    };
    for n in 0..COUNTERS_MAX {
        assert!(is_allowed(&mut engine, &by(n), at(0)));
    }
    let refused = engine.authorize(by(COUNTERS_MAX), at(1));
    assert_eq!(reason(&refused), ReasonCode::Unavailable);
    assert!(refused.journal.is_empty());
    // Nobody's calls were dropped to make room.
    for _ in 1..10 {
        assert!(is_allowed(&mut engine, &by(0), at(2)));
    }
    assert!(!is_allowed(&mut engine, &by(0), at(2)));
    // They lapse like any other.
    assert!(is_allowed(&mut engine, &by(COUNTERS_MAX), at(60)));
}

/// Counters of a tool each, the same for every caller, let four tools stop four
/// times the maximum, and let one caller use up another's.
#[test]
fn d12_tools_can_share_a_counter_and_callers_do_not() {
    let limits = json!([{"counter": "stops", "window": "minute", "max": 3, "scope": "grant"}]);
    let tools = ["vm_stop", "vm_shutdown", "vm_reboot", "vm_delete"];
    let rules = tools.map(|tool| (tool.to_owned(), json!({"limits": limits})));
    let policy = json!({
        "version": "1", "default": "deny", "tools": Map::from_iter(rules),
    });
    let mut engine = engine(&policy.to_string());
    let mut by = |grant: &str| {
        let asked = (0..12).filter(|n| {
            let mut request = call(tools[n % tools.len()], Map::new());
            request.caller.grant = grant.to_owned();
            is_allowed(&mut engine, &request, at(0))
        });
        asked.count()
    };
    assert_eq!(by("uid:1000"), 3);
    assert_eq!(by("uid:1001"), 3);
}

/// The same by effect: a policy that limits stops limits them under every name.
#[test]
fn d12_a_limit_on_an_effect_counts_every_tool_that_has_it() {
    let limits = json!([{"counter": "stops", "window": "minute", "max": 3, "scope": "host"}]);
    let policy = json!({
        "version": "1", "default": "allow", "effects": {"force_stop": {"limits": limits}},
    });
    let mut engine = engine(&policy.to_string());
    let tools = ["vm_stop", "stop_domain", "destroy", "qm_stop"];
    let asked = (0..12_u8).filter(|n| {
        let mut request = leased_stop(*n);
        tools[usize::from(*n) % tools.len()].clone_into(&mut request.tool);
        is_allowed(&mut engine, &request, at(0))
    });
    assert_eq!(asked.count(), 3);
}

/// What was handed out as a first policy allowed whatever it did not name. Here
/// that has to be written out, and is told wherever it is.
#[test]
fn d13_to_allow_what_no_rule_names_must_be_written_out_and_is_told() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/examples");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        texts.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let document = include_str!("../POLICY.md").split("```json\n").skip(1);
    let fenced = |rest: &str| rest.split("```").next().unwrap_or_default().to_owned();
    texts.extend(document.map(fenced));
    assert!(texts.len() > 15, "{}", texts.len());
    for text in texts {
        let policy = Policy::parse(&text, "policy.json").expect("no mistake");
        let lints = policy.lints_text("p");
        let told = lints.contains("every tool that no rule names is allowed");
        assert_eq!(policy.default_allow(), told, "{text}");
    }
    let seed = Policy::parse(SEED, "policy.json").expect("no mistake");
    assert!(!seed.default_allow());
    let silent = mistakes(&json!({"version": "1", "tools": {}})).join("\n");
    assert!(silent.contains("add \"default\": \"deny\""), "{silent}");
}

/// A pattern matched a part of the text, and a name with dots could not be
/// reached at all.
#[test]
fn d14_patterns_are_for_the_whole_text_and_names_with_dots_can_be_reached() {
    let whole = json!({"path": "args.identifier", "op": "regex", "value": "test-[0-9]+"});
    let dotted = json!({"path": "/args/vm.name", "op": "eq", "value": "web-1"});
    let policy = json!({"version": "1", "default": "deny", "tools": {
        "vm_stop": {"require": [whole]}, "vm_pause": {"require": [dotted]},
    }});
    let mut engine = engine(&policy.to_string());
    let mut ask =
        |tool: &str, value: Value| reason(&engine.authorize(call(tool, arguments(value)), at(0)));
    let mut stop = |name: &str| ask("vm_stop", json!({"identifier": name}));
    assert_eq!(stop("test-1"), ReasonCode::Allowed);
    for name in [
        "test-1; web-1",
        "web-1 test-1",
        "test-1\nweb-1",
        "test-1\n",
        "",
    ] {
        assert_eq!(stop(name), ReasonCode::Condition, "{name:?}");
    }
    let pause = |name: &str| json!({"vm.name": name});
    assert_eq!(ask("vm_pause", pause("web-1")), ReasonCode::Allowed);
    assert_eq!(ask("vm_pause", pause("web-2")), ReasonCode::Condition);
    let nested = json!({"vm": {"name": "web-1"}});
    assert_eq!(ask("vm_pause", nested), ReasonCode::Condition);
}
