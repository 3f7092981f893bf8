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
