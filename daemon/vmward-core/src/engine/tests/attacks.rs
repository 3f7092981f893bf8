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
    allowed(&engine.authorize(status("far-1"), at(0)));
    denied(
        &engine.authorize(status("secret"), at(0)),
        ReasonCode::Condition,
    );
    let stop = request(
        "vm_stop",
        Some(Effect::Stop),
        Target::Unknown("far-1".to_owned()),
    );
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {}}}));
    denied(
        &engine.authorize(stop.clone(), at(0)),
        ReasonCode::VmUnknown,
    );
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
        denied(&engine.authorize(by(&name), at(0)), ReasonCode::VmProtected);
    }
    let mut engine = engine_with(&json!({"tools": {"vm_stop": one_an_hour("c", "vm")}}));
    allowed(&engine.authorize(by(uuid), at(0)));
    denied(
        &engine.authorize(by(&uuid.to_uppercase()), at(0)),
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
    let asks = json!({"tools": {"vm_stop": {"action": "require_approval"},
        "vm_status": {"action": "require_approval"}}});
    let stop = |name: &str| {
        let target = Target::Unchecked(name.to_owned());
        request("vm_stop", Some(Effect::Stop), target)
    };
    let look = |name: &str| request("vm_status", None, Target::Unknown(name.to_owned()));
    for by in [&stop as &dyn Fn(&str) -> Request, &look] {
        let mut engine = engine_with(&asks);
        let answer = engine.authorize(by("test-1"), at(0));
        approve(&mut engine, &answer, at(1));
        is_pending(&engine.authorize(by("db-1"), at(2)));
        allowed(&engine.authorize(by("test-1"), at(2)));
    }
}

#[test]
fn a_yes_for_a_tool_of_one_server_is_not_for_the_same_name_on_another() {
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {"action": "require_approval"}}}));
    let on = |server: &str| Request {
        server: Some(server.to_owned()),
        ..stop(1)
    };
    let answer = engine.authorize(on("test"), at(0));
    approve(&mut engine, &answer, at(1));
    is_pending(&engine.authorize(on("production"), at(2)));
    allowed(&engine.authorize(on("test"), at(2)));
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
    allowed(&engine.authorize(claiming(Effect::ForceStop, 1), at(0)));
    let answer = engine.authorize(claiming(Effect::Pause, 2), at(0));
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
            let answer = engine.authorize(claiming(claimed, 1), at(0));
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
        allowed(&engine.authorize(request("vm_stop", stop, Target::Vm(vm(1))), at(0)));
        denied(
            &engine.authorize(other.clone(), at(0)),
            ReasonCode::RateLimited,
        );
    }
}

fn with(arguments: &Value, request: Request) -> Request {
    let arguments = arguments.as_object().expect("an object").clone();
    Request {
        arguments: Arguments::new(arguments),
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
        let answer = engine.authorize(with(&arguments, stop(1)), at(0));
        denied(&answer, ReasonCode::Condition);
    }
    let other = with(&json!({"options": {"forces": true}}), stop(1));
    allowed(&engine.authorize(other.clone(), at(0)));
    let counted = json!({"limits": [{"counter": "c", "window": "hour", "max": 9,
        "scope": "grant", "increment_from": "args.disks"}]});
    let mut engine = engine_with(&json!({"tools": {"vm_stop": counted}}));
    let two = with(&json!({"disks": 1, "di\u{17f}ks": 8}), stop(1));
    denied(
        &engine.authorize(two.clone(), at(0)),
        ReasonCode::BadArguments,
    );
}

#[test]
fn an_explanation_names_the_limit_that_takes_longest_and_the_true_wait() {
    let limits = json!([
        {"counter": "short", "window": "minute", "max": 4, "scope": "grant",
            "increment_from": "args.count"},
        {"counter": "long", "window": "hour", "max": 4, "scope": "grant",
            "increment_from": "args.count"}]);
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {"limits": limits}}}));
    let counting = |n: u8, count: u32| with(&json!({"count": count}), stop(n));
    allowed(&engine.authorize(counting(1, 1), at(0)));
    allowed(&engine.authorize(counting(2, 2), at(30)));
    let why = engine.explain(&counting(3, 3), at(31));
    let answer = engine.authorize(counting(3, 3), at(31));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(denial.rule, "/tools/vm_stop/limits/1");
    assert_eq!(denial.retry_after_ms, Some(3_599_000));
    assert_eq!(
        (&why.message, &why.rule, why.retry_after_ms),
        (&denial.message, &denial.rule, denial.retry_after_ms)
    );
}

#[test]
fn a_person_who_is_shown_only_a_part_of_the_arguments_is_told_so() {
    let mut engine = engine_with(&json!({"tools": {"vm_stop": {"action": "require_approval"}}}));
    for (padding, mark) in [(10, None), (3000, Some("... (981 characters more)"))] {
        let arguments = json!({"a": "x".repeat(padding), "force": true, "z": "y"});
        is_pending(&engine.authorize(with(&arguments, stop(1)), at(0)));
        let shown = engine
            .approvals()
            .next()
            .map(|approval| &approval.arguments);
        let shown = shown.expect("it waits").clone();
        match mark {
            None => assert!(shown.ends_with("\"z\":\"y\"}"), "{shown}"),
            Some(mark) => assert!(shown.ends_with(mark), "{shown}"),
        }
        engine = Engine::new(engine.policy().clone(), BOOT);
    }
}

#[test]
fn a_host_rule_that_is_recorded_only_says_nothing_beside_an_allow() {
    let mut engine = engine_with(&json!({"tools": {"vm_stop": one_an_hour("c", "grant")},
        "host_rules": {"me": {"uid": 1000, "effects": "stop", "mode": "shadow"}}}));
    let by_effect = |n| Request {
        via: Via::Effect,
        mapped: Mapped::Harmless { vm: None },
        ..request("vm_stop", Some(Effect::Stop), Target::Vm(vm(n)))
    };
    assert_eq!(engine.explain(&by_effect(1), at(0)).shadow, None);
    let first = engine.authorize(by_effect(1), at(0));
    allowed(&first);
    assert_eq!(first.shadow, None);
    let second = engine.authorize(by_effect(2), at(0));
    denied(&second, ReasonCode::RateLimited);
    let shadow = second.shadow.expect("it would have passed");
    assert_eq!(shadow.reason_code, ReasonCode::Allowed);
}

#[test]
fn arguments_that_would_take_forever_to_check_are_denied_unchecked() {
    let branch = json!({"properties": {"not": {"$ref": "#/$defs/filter"}}, "required": ["not"]});
    let schema = json!({
        "$defs": {"filter": {"anyOf": [branch, branch]}},
        "properties": {"filter": {"$ref": "#/$defs/filter"}},
    });
    let mut engine = engine_with(&json!({"tools": {
        "vm_stop": {"args_schema": schema, "on_deny": "this is no filter"},
    }}));
    let nested = |levels| (0..levels).fold(json!({}), |inner, _| json!({"not": inner}));
    for (levels, message) in [
        (3, "this is no filter"),
        (
            28,
            "the arguments of vm_stop are too many, or nested too deeply, for the policy's \
             schema: checking them could take more than 250000 steps; send fewer",
        ),
    ] {
        let request = with(&json!({"filter": nested(levels)}), stop(1));
        let answer = engine.authorize(request.clone(), at(0));
        let denial = denied(&answer, ReasonCode::BadArguments);
        assert_eq!(denial.rule, "/tools/vm_stop/args_schema");
        assert_eq!(denial.message, message);
        let explained = engine.explain(&request, at(0));
        assert!(format!("{explained:?}").contains(message));
    }
}

#[test]
fn patterns_that_would_take_too_long_together_deny_the_call() {
    let condition = |n: usize| json!({"path": "args.x", "op": "regex", "value": format!("[ab]*a[ab]{{300}}z{n}")});
    let deny_if: Vec<Value> = (0..450).map(condition).collect();
    let text = "ab".repeat(32_000);
    let with = |tool: &str, text: &str| {
        let arguments = json!({"x": text});
        Request {
            arguments: Arguments::new(arguments.as_object().expect("an object").clone()),
            ..request(tool, None, Target::None)
        }
    };
    let rules = json!({"tools": {"vm_list": {"deny_if": deny_if}}});
    let mut engine = engine_with(&rules);
    let answer = engine.authorize(with("vm_list", &text), at(0));
    let message = &denied(&answer, ReasonCode::Condition).message;
    assert!(
        message.contains("cannot be judged: args.x is too long"),
        "{message}"
    );
    allowed(&engine.authorize(with("vm_list", "web-1"), at(0)));

    // What is only recorded takes nothing from the rules that decide.
    let own = json!({"deny_if": [{"path": "args.x", "op": "regex", "value": ".*stop.*"}]});
    let shadow = json!({"mode": "shadow", "deny_if": deny_if});
    let rules = json!({"tools": {"vm_list": own}, "all_tools": shadow});
    let mut engine = engine_with(&rules);
    allowed(&engine.authorize(with("vm_list", &text), at(0)));
    let explained = engine.explain(&with("vm_list", &text), at(0));
    assert_eq!(explained.decision, Verdict::Allow);
    let own = explained.rules.first().expect("the tool's rule");
    assert!(own.steps.iter().all(|step| step.passes), "{own:?}");
}
