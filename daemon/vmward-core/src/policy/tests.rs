//! The seed loads; every mistake is shown in its place, word for word.

mod lints;
mod mistakes;
mod schema;
mod whole;

use super::*;

const SEED: &str = include_str!("../../tests/data/policy.json");

/// A policy that both the parser and the published schema accept.
#[track_caller]
fn accepted(text: &str) -> Policy {
    let policy = Policy::parse(text, "policy.json");
    let policy = policy.unwrap_or_else(|errors| panic!("{errors}"));
    let found = schema::mistakes(text);
    assert!(found.is_empty(), "the schema refuses {text}: {found:?}");
    policy
}

/// One line with one limit, `edit` standing in for it.
fn with_limit(limit: &str) -> String {
    format!(
        "{{\"version\":\"1\",\"default\":\"deny\",\"tools\":{{\"t\":{{\"limits\":[{limit}]}}}}}}"
    )
}

#[track_caller]
fn check(text: &str, expected: &str) {
    let errors = Policy::parse(text, "policy.json").expect_err("a mistake");
    let found = errors.to_string();
    assert_eq!(found, expected.trim_matches('\n'), "\n{found}\n");
}

/// The first line of each error.
#[track_caller]
fn messages(text: &str) -> Vec<String> {
    let errors = Policy::parse(text, "p").expect_err("a mistake");
    let place = |error: &PolicyError| format!("{}:{}: {}", error.line, error.column, error.message);
    errors.errors().iter().map(place).collect()
}

#[test]
fn the_seed_loads_byte_for_byte() {
    let policy = accepted(SEED);
    assert!(!policy.default_allow());
    assert_eq!(policy.hash(), crate::digest::sha256_hex(SEED.as_bytes()));
    let names: Vec<&str> = policy.tools().map(|(name, _)| name).collect();
    assert_eq!(names, ["vm_stop"]);
    let rule = policy.tool("vm_stop").expect("a rule");
    assert_eq!(rule.pointer, "/tools/vm_stop");
    let limit = LimitRule {
        pointer: "/tools/vm_stop/limits/0".to_owned(),
        counter: "vm_stop_rate".to_owned(),
        window: Window::MINUTE,
        max: 10,
        scope: Scope::Grant,
        increment: rule::Increment::Fixed(1),
    };
    assert_eq!(rule.limits, [limit]);
}

#[test]
fn a_tool_without_limits_and_a_name_that_needs_escaping_load() {
    let text = r#"{"version":"1","default":"allow","tools":{"a/b~c":{},"\u00fc\ud83d\ude00":{"limits":[]}}}"#;
    let policy = accepted(text);
    assert!(policy.default_allow());
    assert_eq!(
        policy.tool("a/b~c").expect("a rule").pointer,
        "/tools/a~1b~0c"
    );
    assert!(policy.tool("ü😀").is_some());
}

#[test]
fn an_unknown_key_gets_a_caret_and_a_suggestion() {
    check(
        &SEED.replace("\"window\"", "\"widnow\""),
        r#"
policy.json:7:9: a limit lacks the key "window"
 7 |         {
   |         ^
   = help: add "window": "minute", "hour", "day" or a number of seconds

policy.json:9:11: unknown key "widnow" in a limit
 9 |           "widnow": "minute",
   |           ^^^^^^^^
   = help: did you mean "window"?
"#,
    );
}

#[test]
fn an_unknown_word_gets_a_suggestion() {
    check(
        &SEED.replace("minute", "minutes").replace("deny", "block"),
        r#"
policy.json:3:14: "default" must be "allow" or "deny", found the string "block"
 3 |   "default": "block",
   |              ^^^^^^^

policy.json:9:21: "window" must be "second", "minute", "hour", "day" or a number of seconds, found the string "minutes"
 9 |           "window": "minutes",
   |                     ^^^^^^^^^
   = help: did you mean "minute"?
"#,
    );
}

#[test]
fn the_form_with_seconds_and_an_action_loads() {
    let policy = accepted(include_str!("../../tests/data/examples/faq.json"));
    let stop = policy.tool("vm_stop").expect("a rule");
    let limit = LimitRule {
        pointer: "/tools/vm_stop/rate_limit".to_owned(),
        counter: "rate:vm_stop".to_owned(),
        window: Window::MINUTE,
        max: 10,
        scope: Scope::Grant,
        increment: rule::Increment::Fixed(1),
    };
    assert_eq!(stop.limits, [limit]);
    let terminate = policy.tool("vm_terminate").expect("a rule");
    assert_eq!(terminate.action, Action::Deny);
    check(
        "{\"version\": 1, \"default\": \"deny\"}",
        r#"
policy.json:1:13: "version" must be "1", found the number 1
 1 | {"version": 1, "default": "deny"}
   |             ^
   = help: did you mean "1"?
"#,
    );
}

#[test]
fn a_duplicate_key_is_refused_because_programs_disagree_about_it() {
    check(
        &SEED.replace("\"max\": 10", "\"max\": 10, \"max\": 1000"),
        r#"
policy.json:10:22: the key "max" is there twice
 10 |           "max": 10, "max": 1000,
    |                      ^^^^^
    = help: keep one of the two; programs disagree about which one counts
"#,
    );
}

#[test]
fn syntax_errors_point_at_the_character() {
    check(
        "{\n\t\"version\": \"1\",\n\t'default': \"deny\"\n}",
        "policy.json:3:2: expected a key in double quotes, found '\\''\n 3 | \t'default': \"deny\"\n   | \t^\n   \
         = help: JSON strings stand in double quotes",
    );
    check(
        r#"{"version": "1",}"#,
        r#"
policy.json:1:16: a trailing comma: only '}' follows it
 1 | {"version": "1",}
   |                ^
   = help: remove the comma; JSON has them between values only
"#,
    );
    check(
        "{\"tools\": [1,\n  2,\n  ]}",
        r"
policy.json:2:4: a trailing comma: only ']' follows it
 2 |   2,
   |    ^
   = help: remove the comma; JSON has them between values only
",
    );
    check(
        "",
        "policy.json:1:1: expected a value, found the end of the text\n 1 | \n   | ^",
    );
    check(
        "{} {}",
        "policy.json:1:4: there is more text after the end of the policy\n 1 | {} {}\n   |    ^^\n   \
         = help: a policy is exactly one JSON object",
    );
}

#[test]
fn every_bad_piece_of_json_is_named() {
    for (text, expected) in [
        ("\u{feff}{}", "1:1: the text begins with a byte order mark"),
        ("// x", "1:1: expected a value, found '/'"),
        (
            "[1, 2",
            "1:6: expected ',' or ']' after the value, found the end of the text",
        ),
        ("{\"a\" 1}", "1:6: expected ':' after the key, found '1'"),
        ("{\"ä\": nul}", "1:7: expected a value, found 'n'"),
        ("[01]", "1:2: a number must not begin with 0"),
        ("[-]", "1:3: expected a digit, found ']'"),
        ("[1.]", "1:4: expected a digit, found ']'"),
        ("[1e+]", "1:5: expected a digit, found ']'"),
        ("[\"a", "1:2: the string has no closing quote"),
        ("[\"a\nb\"]", "1:2: the string has no closing quote"),
        (
            "[\"\t\"]",
            "1:3: the control character '\\t' stands in a string",
        ),
        ("[\"\\x\"]", "1:3: \\x is no escape of JSON"),
        ("[\"\\u12\"]", "1:3: \\u needs four hexadecimal digits"),
        ("[\"\\u+123\"]", "1:3: \\u needs four hexadecimal digits"),
        (
            "[\"\\ud800\"]",
            "1:3: half of a surrogate pair stands alone",
        ),
        (
            "[\"\\ud800\\u0041\"]",
            "1:3: half of a surrogate pair stands alone",
        ),
        (
            "[\"\\udc00\"]",
            "1:3: half of a surrogate pair stands alone",
        ),
        ("[\"\\", "1:3: the string ends in the middle of an escape"),
    ] {
        assert_eq!(messages(text), [expected], "{text:?}");
    }
    let deep = "[".repeat(100_000);
    assert_eq!(messages(&deep), ["1:34: nested deeper than 32 levels"]);
}

#[test]
fn all_missing_keys_are_reported_at_once() {
    let found = messages("{}");
    assert_eq!(found.len(), 2, "{found:?}");
    let found = messages(&with_limit("{}"));
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_long_line_is_cut_around_the_mistake_and_control_characters_are_not_shown() {
    let padding = format!("\"{}\"", "x".repeat(500));
    let text = format!("[{padding}, \u{1b}[31m]");
    let errors = Policy::parse(&text, "p").expect_err("a mistake");
    let shown = errors.to_string();
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "p:1:506: expected a value, found '\\u{1b}'");
    assert!(
        lines
            .iter()
            .all(|line| line.chars().count() < 140 && !line.contains('\u{1b}')),
        "{shown}"
    );
    assert_eq!(errors.errors()[0].offset, 505);
    let caret = lines[2].chars().position(|c| c == '^').expect("a caret");
    assert_eq!(lines[1].chars().nth(caret), Some('\u{fffd}'));
}

#[test]
fn a_file_of_another_kind_does_not_drown_the_reader() {
    let keys: Vec<String> = (0..5000).map(|n| format!("\"k{n}\":1")).collect();
    let errors = Policy::parse(&format!("{{{}}}", keys.join(",")), "p").expect_err("mistakes");
    assert_eq!(errors.errors().len(), ERRORS_MAX);
    assert!(
        errors
            .to_string()
            .ends_with("p: 4902 more mistakes are not shown")
    );
    let huge = " ".repeat(POLICY_BYTES_MAX + 1);
    assert_eq!(messages(&huge).len(), 1);
}

#[test]
fn after_as_many_mistakes_as_are_shown_nothing_is_compiled_any_more() {
    let of = |first: &str, count: usize| {
        let bad = r#"{"require":[{"path":"args.a","op":"regex","value":"("}]}"#;
        let bad = (0..count).map(|n| format!(r#""t{n}":{bad}"#));
        let rules: Vec<String> = std::iter::once(first.to_owned()).chain(bad).collect();
        let text = format!(
            r#"{{"version":"1","default":"deny","tools":{{{}}}}}"#,
            rules.join(",")
        );
        let errors = Policy::parse(&text, "p").expect_err("mistakes");
        (errors.errors().len(), errors.to_string())
    };
    let left = "p: after 100 mistakes no pattern and no schema was looked at";
    let (found, told) = of(r#""a":{}"#, 400);
    assert_eq!(found, ERRORS_MAX);
    assert!(
        told.ends_with(left) && !told.contains("more mistakes"),
        "{told}"
    );
    let (found, told) = of(r#""a":{}"#, ERRORS_MAX);
    assert!(found == ERRORS_MAX && !told.contains(left), "{told}");
    // What takes no time is told as ever.
    let (_, told) = of(r#""a":{"maxx":1}"#, 100);
    assert!(
        told.contains("unknown key \"maxx\"") && told.contains(left),
        "{told}"
    );
}
