//! Which rules apply, in which order, and what each kind of no says.

use serde_json::{Value, json};

use super::*;

/// A request with these arguments.
fn with(arguments: &Value, request: Request) -> Request {
    let arguments = arguments.as_object().expect("an object").clone();
    Request {
        arguments: Arguments::new(arguments),
        ..request
    }
}

fn by_effect(effect: Effect, n: u8) -> Request {
    Request {
        via: Via::Effect,
        mapped: Mapped::Harmless { vm: None },
        ..request(effect.tool(), Some(effect), Target::Vm(vm(n)))
    }
}

/// The code, the rule and the message of the answer, for a policy with these
/// keys beside version, default and tools.
#[track_caller]
fn check(keys: &Value, request: &Request, code: ReasonCode, rule: &str, message: &str) {
    let mut text = json!({"version": "1", "default": "deny", "tools": {}});
    for (key, value) in keys.as_object().expect("an object") {
        text[key] = value.clone();
    }
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    let explained = engine.explain(request, at(0));
    let answer = engine.authorize(request.clone(), at(0));
    let (found, by, said) = match &answer.decision {
        Decision::Allow(permit) => (ReasonCode::Allowed, permit.rule(), permit.message()),
        Decision::Deny(denial) => (denial.reason, &*denial.rule, &*denial.message),
        Decision::Pending(pending) => (
            ReasonCode::ApprovalRequired,
            &*pending.rule,
            &*pending.message,
        ),
    };
    assert_eq!((found, by), (code, rule), "{said}");
    assert_eq!((explained.reason_code, &*explained.rule), (code, rule));
    if !message.is_empty() {
        assert_eq!(said, message);
    }
}

#[test]
fn each_thing_that_a_rule_asks_for_has_its_own_code_and_says_what_to_do() {
    let stop = |rule: Value| json!({"tools": {"vm_stop": rule}});
    let forced = with(
        &json!({"identifier": "web-1", "force": true}),
        self::stop(1),
    );
    let silent = Request {
        reason: Some("  ".to_owned()),
        ..self::stop(1)
    };
    let rule = "/tools/vm_stop";
    check(
        &stop(json!({"action": "deny"})),
        &forced,
        ReasonCode::RuleDenied,
        rule,
        "the policy denies vm_stop",
    );
    check(
        &stop(json!({"action": "deny", "reason": "ask the owner"})),
        &forced,
        ReasonCode::RuleDenied,
        rule,
        "ask the owner",
    );
    check(
        &stop(json!({"require": [{"path": "args.force", "op": "neq", "value": true}]})),
        &forced,
        ReasonCode::Condition,
        "/tools/vm_stop/require/0",
        "vm_stop is allowed only where args.force neq true",
    );
    check(
        &stop(
            json!({"deny_if": [{"path": "vm.name", "op": "regex", "value": "web-.*",
            "on_deny": "not the web servers"}]}),
        ),
        &forced,
        ReasonCode::Condition,
        "/tools/vm_stop/deny_if/0",
        "not the web servers",
    );
    check(
        &stop(json!({"on_deny": "small ones only",
            "deny_if": [{"path": "args.force", "op": "lt", "value": 3}]})),
        &forced,
        ReasonCode::Condition,
        "/tools/vm_stop/deny_if/0",
        "",
    );
    check(
        &stop(json!({"args_schema": {"required": ["ticket"]}})),
        &forced,
        ReasonCode::BadArguments,
        "/tools/vm_stop/args_schema",
        "",
    );
    check(
        &stop(json!({"require_reason": true})),
        &silent,
        ReasonCode::ReasonRequired,
        "/tools/vm_stop/require_reason",
        "vm_stop needs a reason: make the call again and say why",
    );
    check(
        &stop(json!({"require_reason": true})),
        &forced,
        ReasonCode::Allowed,
        rule,
        "",
    );
}

#[test]
fn a_reason_that_nobody_can_read_is_none() {
    let rule = json!({"tools": {"vm_stop": {"require_reason": true}}});
    let asks = "/tools/vm_stop/require_reason";
    for reason in ["  ", "\u{200b}", "\u{2060}\u{feff} ."] {
        let mut request = stop(1);
        request.reason = Some(reason.to_owned());
        check(&rule, &request, ReasonCode::ReasonRequired, asks, "");
    }
    for reason in ["\u{200b}7", "保守"] {
        let mut request = stop(1);
        request.reason = Some(reason.to_owned());
        check(&rule, &request, ReasonCode::Allowed, "/tools/vm_stop", "");
    }
}

#[test]
fn outside_the_hours_the_answer_says_when_they_begin() {
    // 0 s is Monday 01:32:42 UTC.
    let hours = json!({"tools": {"vm_stop": {"hours":
        [{"days": ["mon", "tue"], "from": "09:00", "to": "17:30"}]}}});
    check(
        &hours,
        &stop(1),
        ReasonCode::OutsideHours,
        "/tools/vm_stop/hours",
        "vm_stop is allowed only mon-tue 09:00-17:30 utc; that begins at 2026-11-23T09:00:00.000Z",
    );
    let east = Request {
        local: LocalTime::fixed(8 * 3600),
        ..stop(1)
    };
    let local = json!({"tools": {"vm_stop": {"hours":
        [{"from": "09:00", "to": "17:30", "zone": "local"}]}}});
    check(&local, &east, ReasonCode::Allowed, "/tools/vm_stop", "");
}

#[test]
fn a_call_must_pass_every_rule_that_applies() {
    let tools = json!({"vm_stop": {}, "stop_domain": {}});
    let other = request("stop_domain", Some(Effect::ForceStop), Target::Vm(vm(1)));
    let deny = json!({"action": "deny"});
    for request in [stop(1), other.clone()] {
        check(
            &json!({"tools": tools, "effects": {"force_stop": deny}}),
            &request,
            ReasonCode::RuleDenied,
            "/effects/force_stop",
            "the policy denies force_stop of any VM",
        );
        check(
            &json!({"tools": tools, "all_tools": deny}),
            &request,
            ReasonCode::RuleDenied,
            "/all_tools",
            "the policy denies every tool",
        );
        check(
            &json!({"tools": tools, "protected": [{"name": "web-*"}]}),
            &request,
            ReasonCode::VmProtected,
            "/protected/0",
            "web-1 is protected by the policy: force_stop is denied",
        );
        check(
            &json!({"tools": tools, "protected": [{"name": "db-*"},
                {"name": "web-*", "effects": ["save"]}]}),
            &request,
            ReasonCode::Allowed,
            &format!("/tools/{}", request.tool),
            "",
        );
    }
    let list = request("vm_list", None, Target::Vm(vm(1)));
    check(
        &json!({"tools": {"vm_list": {}}, "protected": [{"name": "*"}]}),
        &list,
        ReasonCode::Allowed,
        "/tools/vm_list",
        "",
    );
    check(
        &json!({"tools": {"vm_stop": {}}, "hide": ["stop_domain"]}),
        &other,
        ReasonCode::Hidden,
        "/hide",
        "the policy hides \"stop_domain\" from agents: it may not be called",
    );
}

#[test]
fn a_claimed_effect_is_governed_beside_the_mapped_one() {
    let claims = Request {
        effect: Some(Effect::Pause),
        ..stop(1)
    };
    let tools = json!({"vm_stop": {}, "vm_pause": {}});
    for effect in ["force_stop", "pause"] {
        check(
            &json!({"tools": tools, "effects": {effect: {"action": "deny"}}}),
            &claims,
            ReasonCode::RuleDenied,
            &format!("/effects/{effect}"),
            "",
        );
    }
    check(
        &json!({"tools": {"vm_stop": {}}, "default": "deny"}),
        &claims,
        ReasonCode::DefaultDeny,
        "/default",
        "",
    );
    check(
        &json!({"default": "allow", "hide": ["vm_pause"]}),
        &claims,
        ReasonCode::Hidden,
        "/hide",
        "",
    );
}

#[test]
fn a_tool_that_could_stop_a_vm_and_is_not_mapped_is_denied_by_default() {
    let suspect = Request {
        mapped: Mapped::Suspect {
            why: "its name has \"kill\"".to_owned(),
            vm: None,
        },
        ..request("guest_kill_all", None, Target::None)
    };
    let tools = json!({"guest_kill_all": {}});
    check(
        &json!({"tools": tools}),
        &suspect,
        ReasonCode::UnmappedTool,
        "/effect_map",
        "",
    );
    check(
        &json!({"tools": tools, "default": "allow"}),
        &suspect,
        ReasonCode::Allowed,
        "/tools/guest_kill_all",
        "",
    );
}

#[test]
fn a_caller_that_names_only_an_effect_is_governed_by_effect_tool_or_default() {
    let stop = by_effect(Effect::Stop, 1);
    for (keys, code, rule) in [
        (json!({}), ReasonCode::DefaultDeny, "/default"),
        (json!({"default": "allow"}), ReasonCode::Allowed, "/default"),
        (
            json!({"effects": {"stop": {}}}),
            ReasonCode::Allowed,
            "/effects/stop",
        ),
        (
            json!({"tools": {"vm_stop": {}}}),
            ReasonCode::Allowed,
            "/tools/vm_stop",
        ),
        (
            json!({"tools": {"vm_stop": {"action": "deny"}}, "effects": {"stop": {}}}),
            ReasonCode::RuleDenied,
            "/tools/vm_stop",
        ),
        (
            json!({"default": "allow", "hide": "*"}),
            ReasonCode::Hidden,
            "/hide",
        ),
    ] {
        check(&keys, &stop, code, rule, "");
    }
}

#[test]
fn a_host_rule_lets_its_service_pass_under_its_own_limits() {
    let mut service = by_effect(Effect::Stop, 1);
    service.caller.unit = Some("backup.service".to_owned());
    let backup = |more: &Value| {
        let mut rule = json!({"unit": "backup.service", "effects": ["stop"],
            "limits": [{"counter": "b", "window": "hour", "max": 1, "scope": "host"}]});
        for (key, value) in more.as_object().expect("an object") {
            rule[key] = value.clone();
        }
        json!({"hide": "*", "protected": [{"name": "*"}], "host_rules": {"backup": rule}})
    };
    let rule = "/host_rules/backup";
    check(&backup(&json!({})), &service, ReasonCode::Allowed, rule, "");
    for no in [
        json!({"enabled": false}),
        json!({"mode": "shadow"}),
        json!({"effects": ["save"]}),
        json!({"vms": [{"name": "db-*"}]}),
    ] {
        check(&backup(&no), &service, ReasonCode::Hidden, "/hide", "");
    }
    let as_tool = Request {
        via: Via::Tool,
        ..service.clone()
    };
    check(
        &backup(&json!({})),
        &as_tool,
        ReasonCode::Hidden,
        "/hide",
        "",
    );

    let mut text = backup(&json!({}));
    text["version"] = json!("1");
    text["default"] = json!("deny");
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    allowed(&engine.authorize(service.clone(), at(0)));
    service.target = Target::Vm(vm(2));
    let answer = engine.authorize(service.clone(), at(1));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(denial.rule, "/host_rules/backup/limits/0");
    assert_eq!(
        denial.message,
        "vm_stop is limited to 1 an hour for the whole host; 1 were used, the next is free in 3599 s"
    );
}

#[test]
fn a_path_proves_the_executable_of_root_only() {
    let text = r#"{"version":"1","default":"deny","host_rules":{"fence":
        {"exe":"/usr/sbin/fence","effects":["force_stop"]}}}"#;
    let mut engine = Engine::new(policy(text), BOOT);
    let mut service = by_effect(Effect::ForceStop, 1);
    service.caller.exe = Some("/usr/sbin/fence".to_owned());
    denied(
        &engine.authorize(service.clone(), at(0)),
        ReasonCode::DefaultDeny,
    );
    service.caller.uid = 0;
    allowed(&engine.authorize(service.clone(), at(0)));
}

#[test]
fn an_allow_that_takes_nothing_needs_no_journal_and_can_be_reported_on() {
    let text = r#"{"version":"1","default":"deny","tools":{"vm_list":{}}}"#;
    let mut engine = Engine::new(policy(text), BOOT);
    let answer = engine.authorize(request("vm_list", None, Target::None), at(0));
    assert!(answer.journal.is_empty());
    let id = allowed(&answer).id();
    engine
        .report(id, &caller("uid:0"), Outcome::Stopped, None, at(1))
        .expect("known");
}
