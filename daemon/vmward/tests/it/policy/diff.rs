//! `vmward policy diff`.

use serde_json::{Value, json};

use super::{Folder, with};

#[track_caller]
fn diff(old: &Value, new: &Value, expected: &str) {
    let folder = Folder::with(&[("old.json", &with(old)), ("new.json", &with(new))]);
    let same = expected.is_empty();
    let text = folder.policy(if same { 0 } else { 6 }, &["diff", "old.json", "new.json"]);
    let nothing = "the policies let the same things happen\n";
    assert_eq!(text, if same { nothing } else { expected });
}

#[test]
fn diff_of_the_same_rules_in_other_words_finds_nothing() {
    let limit = |window: Value| {
        let limit = json!({"counter": "c", "window": window, "max": 3, "scope": "grant"});
        json!({"tools": {"vm_list": {"limits": [limit]}}})
    };
    diff(&limit(json!("minute")), &limit(json!(60)), "");
}

#[test]
fn diff_tells_a_changed_limit_once() {
    let limit = |max: u32| {
        let limit = json!({"counter": "c", "window": "minute", "max": max, "scope": "grant"});
        json!({"tools": {"vm_list": {"limits": [limit]}},
            "protected": [{"name": "db-1"}]})
    };
    diff(
        &limit(3),
        &limit(4),
        "vm_list, any VM\n  - asks for at most 3 a minute on c for each grant\n  + asks for at \
         most 4 a minute on c for each grant\n",
    );
}

#[test]
fn diff_tells_what_one_call_counts() {
    let counting = |units: u32| {
        json!({"tools": {"vm_list": {"limits": [{"counter": "c", "window": "minute", "max": 9,
            "scope": "grant", "increment": units}]}}})
    };
    diff(
        &counting(1),
        &counting(3),
        "vm_list, any VM\n  - asks for at most 9 a minute on c for each grant\n  + asks for at \
         most 9 a minute on c for each grant, a call counts 3\n",
    );
}

#[test]
fn diff_of_an_unconditional_denial_is_the_verdict_alone() {
    let tool = |rule: Value| json!({"tools": {"vm_list": rule}});
    diff(
        &tool(json!({"require_reason": true})),
        &tool(json!({"action": "deny"})),
        "vm_list, any VM\n  - asks for the caller says why\n  - verdict: depends on the call\n  \
         + verdict: deny, rule-denied\n",
    );
}

#[test]
fn diff_sees_an_approval_behind_a_condition() {
    let tool = |action: &str| {
        json!({"tools": {"vm_list": {"action": action,
            "require": [{"path": "args.all", "op": "eq", "value": true}]}}})
    };
    diff(
        &tool("require_approval"),
        &tool("allow"),
        "vm_list, any VM\n  - asks for a person's approval\n",
    );
}

#[test]
fn diff_sees_what_the_effect_map_asks_of_arguments() {
    let when = |word: &str| {
        json!({"effect_map": [{"tool": "power", "effect": "none",
            "when": [{"path": "args.to", "op": "eq", "value": word}]}]})
    };
    diff(
        &when("on"),
        &when("off"),
        "the effect map\n  - power: none (args.to eq \"on\")\n  + power: none (args.to eq \
         \"off\")\n",
    );
}

#[test]
fn diff_sees_the_order_of_the_effect_map_within_a_tool() {
    let entry = |tool: &str, path: &str, effect: &str| {
        json!({"tool": tool, "effect": effect,
            "when": [{"path": path, "op": "eq", "value": true}]})
    };
    let (now, off) = (
        entry("power", "args.now", "force_stop"),
        entry("power", "args.off", "stop"),
    );
    let other = entry("switch", "args.off", "stop");
    let map = |entries: &[&Value]| json!({"effect_map": entries});
    diff(
        &map(&[&now, &off, &other]),
        &map(&[&off, &other, &now]),
        "the effect map\n  - power: force_stop (args.now eq true) is looked at before stop \
         (args.off eq true)\n  + power: stop (args.off eq true) is looked at before force_stop \
         (args.now eq true)\n",
    );
    diff(&map(&[&now, &off, &other]), &map(&[&other, &now, &off]), "");
}

/// What is told of two policies that do not let the same things happen.
#[track_caller]
fn told(old: &Value, new: &Value) -> String {
    let folder = Folder::with(&[("old.json", &with(old)), ("new.json", &with(new))]);
    folder.policy(6, &["diff", "old.json", "new.json"])
}

#[test]
fn diff_sees_what_the_schema_of_the_arguments_says() {
    let schema = |schema: Value| json!({"tools": {"vm_list": {"args_schema": schema}}});
    let force = |force: Value| schema(json!({"properties": {"force": force}}));
    let text = told(
        &force(json!({"const": false})),
        &force(json!({"type": "boolean"})),
    );
    assert!(text.contains(r#"- asks for the arguments satisfy the schema {"properties":{"force":{"const":false}}}"#), "{text}");
    told(
        &schema(json!({"maxProperties": 2})),
        &schema(json!({"maxProperties": 1})),
    );
}

#[test]
fn diff_sees_for_which_names_two_patterns_are_not_the_same() {
    let entry = |name: &str| json!({"tools": {"vm_stop": {}}, "protected": [{"name": name}]});
    let text = told(&entry("a*"), &entry("a?*"));
    let only = "vm_stop (stop), name \"a*\", called \"a\"\n  - verdict: deny, vm-protected\n";
    assert!(text.contains(only), "{text}");
    assert!(!text.contains("called \"ax"), "{text}");
    for (one, other) in [
        ("a?", "a*"),
        ("a-?", "a-??"),
        ("*", "?*x"),
        ("db-*", "db-1*"),
        ("node-?", "node-x"),
        ("node-?*", "node-x*"),
        ("node-?", "node-[xyz]"),
    ] {
        told(&entry(one), &entry(other));
    }
    diff(&entry("*"), &entry("**"), "");
}

#[test]
fn diff_sees_all_of_a_host_rules_limits() {
    let rule = |change: &dyn Fn(&mut Value)| {
        let mut limit = json!({"counter": "c", "window": "hour", "max": 9, "scope": "host"});
        change(&mut limit);
        json!({"host_rules": {"r": {"unit": "a.service", "effects": "save", "limits": [limit]}}})
    };
    let old = rule(&|_| {});
    let text = told(&old, &rule(&|limit| limit["scope"] = json!("vm")));
    assert!(
        text.contains(
            "  + r: unit a.service may save any VM, at most 9 an hour on c for each vm\n"
        ),
        "{text}"
    );
    told(&old, &rule(&|limit| limit["increment"] = json!(5)));
    told(&old, &rule(&|limit| limit["counter"] = json!("d")));
}

#[test]
fn diff_sees_how_long_a_person_has() {
    let rule = |time_s: u32| json!({"tools": {"vm_list": {"action": "require_approval", "approval_timeout": time_s}}});
    diff(
        &rule(60),
        &rule(600_000),
        "vm_list, any VM\n  - asks for a person's approval within 60 s\n  + asks for a person's \
         approval within 600000 s\n",
    );
}
