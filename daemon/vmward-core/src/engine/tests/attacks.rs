//! Ways around the rules that a caller might try, and mistakes that would have
//! let them work.

use serde_json::{Value, json};

use super::*;

fn engine_with(keys: &Value) -> Engine {
    let mut text = json!({"version": "1", "default": "deny", "tools": {}});
    for (key, value) in keys.as_object().expect("an object") {
        text[key] = value.clone();
    }
    Engine::new(policy(&text.to_string()), BOOT)
}

fn one_an_hour(counter: &str, scope: &str) -> Value {
    json!({"limits": [{"counter": counter, "window": "hour", "max": 1, "scope": scope}]})
}

#[test]
fn a_vm_of_another_host_is_no_obstacle_to_a_call_that_stops_nothing() {
    let deny_if = json!([{"path": "vm.name", "op": "eq", "value": "secret"}]);
    let mut engine = engine_with(&json!({"tools": {"vm_status": {"deny_if": deny_if}}}));
    let status = |name: &str| request("vm_status", None, Target::Unknown(name.to_owned()));
    allowed(&engine.authorize(&status("far-1"), at(0)));
    denied(
        &engine.authorize(&status("secret"), at(0)),
        ReasonCode::Condition,
    );
    let stop = request(
        "vm_stop",
        Some(Effect::Stop),
        Target::Unknown("far-1".to_owned()),
    );
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {}}}));
    denied(&engine.authorize(&stop, at(0)), ReasonCode::VmUnknown);
}

#[test]
fn where_no_hypervisor_is_asked_a_uuid_is_still_that_vm() {
    let uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
    let by = |name: &str| {
        let target = Target::Unchecked(name.to_owned());
        request("vm_stop", Some(Effect::Stop), target)
    };
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {}}, "protected": [{"uuid": uuid}]}));
    for name in [uuid.to_owned(), uuid.to_uppercase()] {
        denied(
            &engine.authorize(&by(&name), at(0)),
            ReasonCode::VmProtected,
        );
    }
    let mut engine = engine_with(&json!({"tools": {"vm_stop": one_an_hour("c", "vm")}}));
    allowed(&engine.authorize(&by(uuid), at(0)));
    denied(
        &engine.authorize(&by(&uuid.to_uppercase()), at(0)),
        ReasonCode::RateLimited,
    );
}

fn approve(engine: &mut Engine, answer: &Authorized, now: Now) {
    let Decision::Pending(pending) = &answer.decision else {
        panic!("{:?}", answer.decision)
    };
    let by = crate::approval::Person {
        uid: 4242,
        loginuid: None,
    };
    let decided = engine.decide_approval(pending.approval, by, true, None, now);
    decided.expect("another person");
}

#[track_caller]
fn is_pending(answer: &Authorized) {
    let decision = &answer.decision;
    assert!(matches!(decision, Decision::Pending(_)), "{decision:?}");
}

#[test]
fn a_yes_for_a_vm_that_nobody_knows_is_for_that_vm_only() {
    type Named = fn(String) -> Target;
    let asks = json!({"tools": {"vm_stop": {"action": "require_approval"},
        "vm_status": {"action": "require_approval"}}});
    let targets: [(&str, Option<Effect>, Named); 2] = [
        ("vm_stop", Some(Effect::Stop), Target::Unchecked),
        ("vm_status", None, Target::Unknown),
    ];
    for (tool, effect, target) in targets {
        let mut engine = engine_with(&asks);
        let by = |name: &str| request(tool, effect, target(name.to_owned()));
        let answer = engine.authorize(&by("test-1"), at(0));
        approve(&mut engine, &answer, at(1));
        is_pending(&engine.authorize(&by("db-1"), at(2)));
        allowed(&engine.authorize(&by("test-1"), at(2)));
    }
}

#[test]
fn a_yes_for_a_tool_of_one_server_is_not_for_the_same_name_on_another() {
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {"action": "require_approval"}}}));
    let on = |server: &str| Request {
        server: Some(server.to_owned()),
        ..stop(1)
    };
    let answer = engine.authorize(&on("test"), at(0));
    approve(&mut engine, &answer, at(1));
    is_pending(&engine.authorize(&on("production"), at(2)));
    allowed(&engine.authorize(&on("test"), at(2)));
}

/// The effect map says that `zap` cuts the power; the caller says otherwise.
fn claiming(effect: Effect, n: u8) -> Request {
    Request {
        effect: Some(effect),
        ..request("zap", Some(Effect::ForceStop), Target::Vm(vm(n)))
    }
}

#[test]
fn claiming_another_effect_does_not_save_the_quota_of_the_true_one() {
    let mut engine = engine_with(&json!({"tools":
        {"zap": {}, "vm_pause": {}, "vm_stop": one_an_hour("stops", "grant")}}));
    allowed(&engine.authorize(&claiming(Effect::ForceStop, 1), at(0)));
    let answer = engine.authorize(&claiming(Effect::Pause, 2), at(0));
    assert_eq!(
        denied(&answer, ReasonCode::RateLimited).rule,
        "/tools/vm_stop/limits/0"
    );
}

#[test]
fn a_condition_on_the_effect_sees_the_true_one_behind_a_claim() {
    let forced = json!([{"path": "effect", "op": "eq", "value": "force_stop"}]);
    let mild = json!([{"path": "effect", "op": "in", "value": ["pause", "stop"]}]);
    for rule in [json!({"deny_if": forced}), json!({"require": mild})] {
        let mut engine = engine_with(&json!({"tools": {"zap": {}, "vm_pause": {}, "vm_stop": {}},
            "all_tools": rule}));
        for claimed in [Effect::Pause, Effect::Stop, Effect::ForceStop] {
            let answer = engine.authorize(&claiming(claimed, 1), at(0));
            denied(&answer, ReasonCode::Condition);
        }
    }
}

#[test]
fn another_name_for_the_same_effect_has_no_counter_of_its_own() {
    let text = json!({"version": "1", "default": "allow",
        "tools": {"vm_stop": one_an_hour("t", "tool")},
        "effects": {"stop": one_an_hour("e", "tool")}});
    let stop = Some(Effect::Stop);
    let unmapped = |tool| Request {
        mapped: Mapped::Harmless { vm: None },
        ..request(tool, stop, Target::Vm(vm(2)))
    };
    for other in [
        request("stop_domain", stop, Target::Vm(vm(2))),
        unmapped("tidy"),
    ] {
        let mut engine = Engine::new(policy(&text.to_string()), BOOT);
        allowed(&engine.authorize(&request("vm_stop", stop, Target::Vm(vm(1))), at(0)));
        denied(&engine.authorize(&other, at(0)), ReasonCode::RateLimited);
    }
}

fn with(arguments: &Value, request: Request) -> Request {
    let arguments = arguments.as_object().expect("an object").clone();
    Request {
        arguments,
        ..request
    }
}

/// Servers in Go read `Force` as `force`, and a long s as an `s`.
#[test]
fn an_argument_in_another_spelling_does_not_slip_past_a_condition() {
    let deny_if = json!([{"path": "args.options.force", "op": "eq", "value": true}]);
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {"deny_if": deny_if}}}));
    for arguments in [
        json!({"options": {"Force": true}}),
        json!({"Options": {"force": true}}),
        json!({"options": {"force": false, "FORCE": true}}),
    ] {
        let answer = engine.authorize(&with(&arguments, stop(1)), at(0));
        denied(&answer, ReasonCode::Condition);
    }
    let other = with(&json!({"options": {"forces": true}}), stop(1));
    allowed(&engine.authorize(&other, at(0)));
    let counted = json!({"limits": [{"counter": "c", "window": "hour", "max": 9,
        "scope": "grant", "increment_from": "args.disks"}]});
    let mut engine = engine_with(&json!({"tools": {"vm_stop": counted}}));
    let two = with(&json!({"disks": 1, "di\u{17f}ks": 8}), stop(1));
    denied(&engine.authorize(&two, at(0)), ReasonCode::BadArguments);
}
