//! What a rule says and what comes of nothing.

use super::*;

fn of_rule(rule: &str) -> Vec<String> {
    lints("deny", &format!(r#""tools":{{"t":{rule}}}"#))
}

#[test]
fn conditions_that_never_hold_together_are_named() {
    let eq = |path: &str, value: &str| format!(r#"{{"path":"{path}","op":"eq","value":{value}}}"#);
    let (a, b) = (eq("args.x", r#""a""#), eq("args.x", r#""b""#));
    let said = |first: &str| format!("no call ever passes both this and {first}");
    assert_eq!(
        of_rule(&format!(r#"{{"require":[{a},{b}]}}"#)),
        [format!("{b}: {}", said("/tools/t/require/0"))]
    );
    let either = r#"{"path":"args.x","op":"in","value":["a","b"]}"#;
    assert_eq!(
        of_rule(&format!(r#"{{"require":[{a}],"deny_if":[{either}]}}"#)),
        [format!("{a}: {}", said("/tools/t/deny_if/0"))]
    );
    for (one, op, value) in [
        (r#""a""#, "neq", r#""a""#),
        (r#""a""#, "regex", r#""b.*""#),
        (r#""a""#, "lt", "5"),
        ("1", "gt", "5"),
        ("1", "exists", "false"),
    ] {
        let one = eq("args.x", one);
        let other = format!(r#"{{"path":"args.x","op":"{op}","value":{value}}}"#);
        for (first, second) in [(&one, &other), (&other, &one)] {
            assert_eq!(
                of_rule(&format!(r#"{{"require":[{first},{second}]}}"#)),
                [format!("{second}: {}", said("/tools/t/require/0"))]
            );
        }
    }
    let (there, missing) = (
        r#"{"path":"args.x","op":"exists"}"#,
        r#"{"path":"args.x","op":"exists","value":false}"#,
    );
    assert_eq!(
        of_rule(&format!(r#"{{"require":[{there},{missing}]}}"#)),
        [format!("{missing}: {}", said("/tools/t/require/0"))]
    );
    let (one, same) = (eq("args.x", "1"), eq("args.x", "1.0"));
    for harmless in [
        format!(r#"{{"require":[{a},{either}]}}"#),
        format!(r#"{{"require":[{either}],"deny_if":[{a}]}}"#),
        format!(r#"{{"require":[{a},{}]}}"#, eq("args.y", r#""b""#)),
        format!(r#"{{"require":[{one},{same}]}}"#),
    ] {
        assert_eq!(of_rule(&harmless), [""; 0], "{harmless}");
    }
}

fn on(path: &str, op: &str, value: &str) -> String {
    format!(r#"{{"path":"{path}","op":"{op}","value":{value}}}"#)
}

#[test]
fn bounds_and_kinds_that_have_nothing_in_common_are_named() {
    let said = |first: &str| format!("no call ever passes both this and {first}");
    for (one, value, other, other_value) in [
        ("gt", "5", "lt", "3"),
        ("gt", "5", "lt", "5"),
        ("gte", "5", "lt", "5"),
        ("gt", "5", "lte", "5"),
        ("gte", "5.5", "lte", "5.25"),
        ("gt", "18446744073709551615", "lte", "9007199254740993"),
        ("regex", r#""a.*""#, "lt", "3"),
        ("regex", r#""a.*""#, "exists", "false"),
        ("contains", "7", "regex", r#""a""#),
        ("neq", r#""a""#, "gt", "3"),
        ("not_in", "[true,false]", "eq", "true"),
        ("in", r#"["a","b"]"#, "not_in", r#"["b","a","c"]"#),
    ] {
        let (one, other) = (on("args.x", one, value), on("args.x", other, other_value));
        for (first, second) in [(&one, &other), (&other, &one)] {
            assert_eq!(
                of_rule(&format!(r#"{{"require":[{first},{second}]}}"#)),
                [format!("{second}: {}", said("/tools/t/require/0"))]
            );
        }
    }
    for (one, value, other, other_value) in [
        ("gt", "3", "lt", "5"),
        // An argument may be 5.5.
        ("gt", "5", "lt", "6"),
        ("gte", "5", "lte", "5"),
        ("gt", "5", "gt", "3"),
        ("neq", "4", "gt", "3"),
        ("neq", "null", "regex", r#""a.*""#),
        ("contains", r#""a""#, "regex", r#""b.*""#),
        ("not_in", r#"["a"]"#, "exists", "false"),
        ("regex", r#""a.*""#, "regex", r#""b.*""#),
    ] {
        let (one, other) = (on("args.x", one, value), on("args.x", other, other_value));
        let harmless = format!(r#"{{"require":[{one},{other}]}}"#);
        assert_eq!(of_rule(&harmless), [""; 0], "{harmless}");
    }
    // A user is a whole number; and a place has two spellings.
    let (low, high) = (on("caller.uid", "gt", "5"), on("/caller/uid", "lt", "6"));
    assert_eq!(
        of_rule(&format!(r#"{{"require":[{low},{high}]}}"#)),
        [format!("{high}: {}", said("/tools/t/require/0"))]
    );
}

#[test]
fn what_deny_if_takes_away_altogether_is_named() {
    let said = "no call ever passes both this and /tools/t/deny_if/0";
    for (one, value, denied, denied_value) in [
        ("gt", "5", "gt", "3"),
        ("gt", "5", "gte", "5"),
        ("lte", "5", "lt", "6"),
        ("eq", "7", "gte", "7"),
        ("eq", r#""a""#, "regex", "\"[ab]\""),
        ("regex", r#""a.*""#, "exists", "true"),
        // It cannot be judged of a text, and then denies.
        ("regex", r#""a.*""#, "gt", "3"),
        ("in", "[1,2]", "not_in", "[3]"),
        ("exists", "false", "neq", r#""a""#),
    ] {
        let (one, denied) = (on("args.x", one, value), on("args.x", denied, denied_value));
        let rule = format!(r#"{{"require":[{one}],"deny_if":[{denied}]}}"#);
        assert_eq!(of_rule(&rule), [format!("{one}: {said}")], "{rule}");
    }
    for (one, value, denied, denied_value) in [
        ("gt", "3", "gt", "5"),
        ("gte", "5", "gt", "5"),
        ("gt", "3", "lt", "5"),
        ("neq", r#""a""#, "eq", r#""b""#),
        ("exists", "true", "gt", "3"),
        ("exists", "false", "eq", r#""a""#),
    ] {
        let (one, denied) = (on("args.x", one, value), on("args.x", denied, denied_value));
        let rule = format!(r#"{{"require":[{one}],"deny_if":[{denied}]}}"#);
        assert_eq!(of_rule(&rule), [""; 0], "{rule}");
    }
    // Each of them denies by itself, so these say what lies between.
    let (low, high) = (on("args.x", "lt", "3"), on("args.x", "gt", "5"));
    let between = format!(r#"{{"deny_if":[{low},{high}]}}"#);
    assert_eq!(of_rule(&between), [""; 0]);
}

#[test]
fn values_that_several_conditions_take_away_are_named() {
    let (a, b) = (on("args.x", "neq", r#""a""#), on("args.x", "neq", r#""b""#));
    let either = on("args.x", "in", r#"["a","b"]"#);
    let said = "no call ever passes this and all the other conditions on args.x";
    for rule in [
        format!(r#"{{"require":[{a},{b},{either}]}}"#),
        format!(r#"{{"require":[{either},{a},{b}]}}"#),
        format!(
            r#"{{"require":[{either},{a}],"deny_if":[{}]}}"#,
            on("args.x", "eq", r#""b""#)
        ),
    ] {
        assert_eq!(of_rule(&rule), [format!("{either}: {said}")], "{rule}");
    }
    assert_eq!(
        of_rule(&format!(r#"{{"require":[{either},{a}]}}"#)),
        [""; 0]
    );
}

#[test]
fn an_entry_of_the_map_that_matches_no_call_is_named() {
    let (low, high) = (on("args.x", "gt", "5"), on("args.x", "lt", "3"));
    let map = format!(
        r#""effect_map":[{{"tool":"t","when":[{low},{high}],"effect":"stop"}}],"tools":{{"t":{}}}"#,
        r#"{"rate_limit":{"max":1,"window":60}}"#
    );
    let said = "no call ever matches both this and /effect_map/0/when/0";
    assert_eq!(lints("deny", &map), [format!("{high}: {said}")]);
}

#[test]
fn a_tool_that_is_asked_for_another_name_is_named() {
    let asked = |key: &str, op: &str, value: &str| {
        let condition = on("tool", op, value);
        of_rule(&format!(r#"{{"{key}":[{condition}]}}"#))
    };
    let said = |key: &str, does: &str| {
        format!("/tools/t/{key}/0 {does}: those that come here are of \"t\"")
    };
    for (key, op, value, does) in [
        ("require", "eq", r#""x""#, "lets no call pass"),
        ("require", "regex", r#""vm_.*""#, "lets no call pass"),
        ("require", "in", r#"["t","u"]"#, "lets every call pass"),
        ("deny_if", "neq", r#""x""#, "denies every call"),
        ("deny_if", "eq", r#""x""#, "denies no call"),
    ] {
        let found = asked(key, op, value);
        let says = said(key, does);
        assert!(
            found.len() == 1 && found[0].ends_with(&says),
            "{found:?} {says}"
        );
    }
    // What claims its effect comes here under another name.
    let stop = |condition: &str| {
        let limit = r#""rate_limit":{"max":1,"window":60}"#;
        lints(
            "deny",
            &format!(r#""tools":{{"vm_stop":{{{limit},{condition}}}}}"#),
        )
    };
    let own = on("tool", "eq", r#""vm_stop""#);
    assert_eq!(stop(&format!(r#""require":[{own}]"#)), [""; 0]);
    let found = stop(&format!(r#""deny_if":[{own}]"#));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].ends_with("but for those of others that claim its effect"),
        "{found:?}"
    );
}

#[test]
fn a_reason_where_the_action_neither_denies_nor_asks_is_named() {
    let said = r#""slowly": "reason" is never told: the action neither denies nor asks"#;
    let rated = r#"{"rate_limit":{"max":1,"window":60},"reason":"slowly"}"#;
    assert_eq!(of_rule(rated), [said]);
    for heard in ["deny", "require_approval"] {
        let rule = format!(r#"{{"action":"{heard}","reason":"slowly"}}"#);
        assert_eq!(of_rule(&rule), [""; 0]);
    }
}

#[test]
fn a_protected_entry_that_lets_everything_pass_is_named() {
    let entry = |entry: &str| lints("deny", &format!(r#""protected":[{entry}]"#));
    assert_eq!(
        entry(r#"{"name":"a","action":"allow"}"#),
        [r#""allow": /protected/0 lets every call pass and changes nothing"#]
    );
    let asks = r#"{"name":"a","action":"allow","require_reason":true}"#;
    assert_eq!(entry(asks), [""; 0]);
}
