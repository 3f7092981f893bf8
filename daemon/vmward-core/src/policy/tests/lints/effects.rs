//! Conditions on the effect where each call has one that decides them.

use super::*;

/// What is said of a condition on the effect, and of nothing else, by a policy with
/// these members.
#[track_caller]
fn of_effect(rest: &str) -> Vec<String> {
    let all = lints("deny", rest).into_iter();
    all.filter(|said| said.contains("each that comes here has "))
        .collect()
}

fn asks(key: &str, op: &str, value: &str) -> String {
    format!(r#""{key}":[{{"path":"effect","op":"{op}","value":{value}}}]"#)
}

#[test]
fn a_condition_that_the_rules_own_effect_decides_is_named() {
    let none = "denies no call, unless its caller claims another effect";
    let all = "denies every call";
    let passes = "lets every call pass, unless its caller claims another effect";
    for (key, op, value, said) in [
        ("deny_if", "eq", r#""reset""#, Some(none)),
        ("deny_if", "eq", r#""save""#, Some(all)),
        ("deny_if", "in", r#"["reset","pause"]"#, Some(none)),
        ("deny_if", "in", r#"["reset","save"]"#, Some(all)),
        ("deny_if", "neq", r#""save""#, Some(none)),
        ("deny_if", "not_in", r#"["save","reset"]"#, Some(none)),
        ("deny_if", "not_in", r#"["reset"]"#, Some(all)),
        ("deny_if", "regex", r#""force_.*""#, Some(none)),
        ("deny_if", "contains", r#""av""#, Some(all)),
        ("deny_if", "exists", "false", Some(none)),
        ("require", "eq", r#""reset""#, Some("lets no call pass")),
        ("require", "eq", r#""save""#, Some(passes)),
        ("require", "neq", r#""save""#, Some("lets no call pass")),
        ("require", "not_in", r#"["reset"]"#, Some(passes)),
        ("require", "exists", "true", Some(passes)),
    ] {
        let asks = asks(key, op, value);
        let expected: Vec<String> = said
            .map(|said| {
                format!(
                    "{value}: /effects/save/{key}/0 {said}: each that comes here has the effect save"
                )
            })
            .into_iter()
            .collect();
        assert_eq!(
            of_effect(&format!(r#""effects":{{"save":{{{asks}}}}}"#)),
            expected
        );
        // Where calls with any effect come, and with none, nothing is decided.
        assert_eq!(of_effect(&format!(r#""all_tools":{{{asks}}}"#)), [""; 0]);
    }
}

#[test]
fn a_tools_rule_and_an_entry_of_protected_have_the_effects_of_their_calls() {
    let never = asks("deny_if", "eq", r#""reset""#);
    let said = |pointer: &str, effects: &str| {
        format!(
            "\"reset\": {pointer}/deny_if/0 denies no call, unless its caller claims another \
             effect: each that comes here has the effect {effects}"
        )
    };
    let own = r#""effect_map":[{"tool":"halt","effect":"stop"}]"#;
    let tool =
        |name: &str, map: &str| of_effect(&format!(r#""tools":{{"{name}":{{{never}}}}},{map}"#));
    assert_eq!(tool("halt", own), [said("/tools/halt", "stop")]);
    // One that could do nothing, or something else.
    for map in [
        r#""effect_map":[{"tool":"halt","effect":"none"}]"#,
        r#""effect_map":[{"tool":"halt","server":"s","effect":"stop"}]"#,
        r#""effect_map":[{"tool":"halt","effect":"stop","when":[{"path":"args.x","op":"eq","value":1}]}]"#,
        r#""effect_map":[]"#,
    ] {
        assert_eq!(tool("halt", map), [""; 0], "{map}");
    }
    // Whoever claims an effect without a tool, or with an unknown one, comes to the
    // rule of the tool that stands for it.
    assert_eq!(
        tool("vm_stop", r#""effect_map":[]"#),
        [said("/tools/vm_stop", "stop or force_stop")]
    );
    let map = r#""effect_map":[{"tool":"vm_reset","effect":"stop"}]"#;
    assert_eq!(tool("vm_reset", map), [""; 0]);
    let entry = |effects: &str| {
        of_effect(&format!(
            r#""protected":[{{"name":"db","action":"allow",{never}{effects}}}]"#
        ))
    };
    assert_eq!(
        entry(r#","effects":["stop","save"]"#),
        [said("/protected/0", "stop or save")]
    );
    assert_eq!(entry(r#","effects":["stop","reset"]"#), [""; 0]);
    assert_eq!(entry(""), [""; 0]);
    let any = asks("require", "exists", "true");
    assert_eq!(
        of_effect(&format!(
            r#""protected":[{{"name":"db","action":"allow",{any}}}]"#
        )),
        [
            "true: /protected/0/require/0 lets every call pass, unless its caller claims another \
             effect: each that comes here has an effect"
        ]
    );
}

#[test]
fn where_the_map_may_not_know_what_a_call_does_no_effect_counts_as_well() {
    let on = r#""effect_map":[
        {"tool":"halt","effect":"stop","when":[{"path":"args.x","op":"lt","value":1}]},
        {"tool":"halt","effect":"save"}]"#;
    let rule = |asks: &str| of_effect(&format!(r#""tools":{{"halt":{{{asks}}}}},{on}"#));
    // The first entry cannot be judged where x is text.
    assert_eq!(rule(&asks("require", "neq", r#""save""#)), [""; 0]);
    assert_eq!(rule(&asks("require", "in", r#"["save","stop"]"#)), [""; 0]);
    assert_eq!(rule(&asks("require", "eq", r#""reset""#)).len(), 1);
}
