//! Why, and what an agent should see.

use serde_json::json;

use super::*;

#[test]
fn an_explanation_names_every_rule_and_step_and_charges_nothing() {
    let text = json!({"version": "1", "default": "deny",
        "tools": {"vm_stop": {
            "require": [{"path": "args.force", "op": "neq", "value": true},
                        {"path": "vm.name", "op": "eq", "value": "db-1"}],
            "limits": [{"counter": "c", "window": "hour", "max": 2, "scope": "grant"}]}},
        "effects": {"force_stop": {"mode": "shadow", "action": "require_approval"}}});
    let mut engine = Engine::new(policy(&text.to_string()), BOOT);
    let why = engine.explain(&stop(1), at(0));
    assert_eq!(
        (why.decision, why.reason_code, &*why.rule),
        (
            Verdict::Deny,
            ReasonCode::Condition,
            "/tools/vm_stop/require/1"
        )
    );
    let [tool, effect] = why.rules.as_slice() else {
        panic!("{:?}", why.rules)
    };
    assert_eq!((tool.applies, tool.decision), (Origin::Tool, Verdict::Deny));
    let steps: Vec<(&str, bool)> = tool
        .steps
        .iter()
        .map(|step| (step.asks.as_str(), step.passes))
        .collect();
    assert_eq!(
        steps,
        [
            ("args.force neq true", true),
            ("vm.name eq \"db-1\"", false),
            ("at most 2 an hour on c for each grant", true),
        ]
    );
    assert_eq!(tool.limits[0].remaining, 2);
    assert_eq!(
        (effect.applies, effect.shadow, effect.decision),
        (Origin::Effect, true, Verdict::Pending)
    );
    assert_eq!(
        why.shadow.expect("a shadow").reason_code,
        ReasonCode::ApprovalRequired
    );
    assert!(engine.limits(at(0)).is_empty());
    let answer = engine.authorize(stop(1), at(0));
    assert_eq!(denied(&answer, ReasonCode::Condition).id, DecisionId(1));
}

#[test]
fn an_explanation_of_a_used_up_limit_agrees_with_the_denial() {
    let mut engine = engine();
    for n in 0..10 {
        allowed(&engine.authorize(stop(n), at(0)));
    }
    let why = engine.explain(&stop(10), at(20));
    let answer = engine.authorize(stop(10), at(20));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(
        (&why.message, &why.rule, why.retry_after_ms),
        (&denial.message, &denial.rule, denial.retry_after_ms)
    );
}

#[test]
fn an_agent_sees_the_tools_of_which_some_call_may_be_allowed() {
    let text = json!({"version": "1", "default": "deny", "hide": ["vm_create"],
        "tools": {"vm_list": {}, "vm_stop": {"hours": [{"from": "01:00", "to": "02:00"}]},
                  "vm_reset": {"action": "deny"}, "vm_pause": {}, "zap_all_vms_kill": {}},
        "effects": {"pause": {"action": "deny"}, "stop": {"action": "deny"}}});
    let engine = Engine::new(policy(&text.to_string()), BOOT);
    let tools = [
        "vm_create",
        "vm_list",
        "vm_stop",
        "vm_reset",
        "vm_pause",
        "zap_all_vms_kill",
        "qemu_monitor",
        "vm_start",
    ];
    let answer = engine.filter(&tools.map(ToOwned::to_owned), &caller("uid:0"), None);
    let codes: Vec<(&str, Option<(ReasonCode, &str)>)> = answer
        .iter()
        .map(|(tool, visibility)| match visibility {
            Visibility::Visible => (tool.as_str(), None),
            Visibility::Hidden { reason_code, rule } => {
                (tool.as_str(), Some((*reason_code, rule.as_str())))
            }
        })
        .collect();
    assert_eq!(
        codes,
        [
            ("vm_create", Some((ReasonCode::Hidden, "/hide"))),
            ("vm_list", None),
            ("vm_stop", None),
            (
                "vm_reset",
                Some((ReasonCode::RuleDenied, "/tools/vm_reset"))
            ),
            ("vm_pause", Some((ReasonCode::RuleDenied, "/effects/pause"))),
            (
                "zap_all_vms_kill",
                Some((ReasonCode::UnmappedTool, "/effect_map"))
            ),
            // As `authorize` says it, though no rule names it either.
            (
                "qemu_monitor",
                Some((ReasonCode::UnmappedTool, "/effect_map"))
            ),
            ("vm_start", Some((ReasonCode::DefaultDeny, "/default"))),
        ]
    );
}
