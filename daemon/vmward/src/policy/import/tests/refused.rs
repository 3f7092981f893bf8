//! What is refused, because nobody could say what it means.

use super::*;

#[test]
fn a_misspelled_key_is_an_error_and_no_missing_limit() {
    let yaml = "version: '1'\ndefalt: deny\ntools:\n  t:\n    ruls: []\n  u:\n    rules:\n      \
                - name: n\n        ratelimit: 5/hour\n        state: {conter: c, window: day}\n";
    assert_eq!(
        errors(yaml),
        [
            "line 2: unknown key \"defalt\" in the policy, which knows version, description, \
             default, hide, tools, approvals; Intercept would overlook it",
            "line 5: unknown key \"ruls\" in the tool \"t\", which knows rules; Intercept would \
             overlook it",
            "line 8: the rule \"n\" has no condition and does nothing",
            "line 9: unknown key \"ratelimit\" in a rule, which knows name, action, rate_limit, \
             conditions, state, on_deny, approval_timeout; Intercept would overlook it",
            "line 10: \"state\" has no \"counter\"",
            "line 10: unknown key \"conter\" in \"state\", which knows counter, window, \
             increment, increment_from; Intercept would overlook it",
        ]
    );
}

#[track_caller]
fn refused(yaml: &str, expected: &str) {
    let found = errors(yaml);
    let hit = found.iter().any(|error| error.contains(expected));
    assert!(hit, "{yaml}\n{found:#?}");
}

#[test]
fn a_document_that_is_no_policy_is_refused() {
    for (yaml, expected) in [
        ("tools: {}", "there is no \"version\""),
        ("version: 2\ntools: {}", "\"version\" is \"2\""),
        ("version: 1\ndefault: ask\ntools: {}", "found \"ask\""),
        (
            "version: 1\nhide: [a, a]\ntools: {}",
            "\"a\" is hidden twice",
        ),
        ("version: 1\nhide: ['']\ntools: {}", "has no name"),
        (
            "version: 1\ntools: {t: {rules: 5}}",
            "\"rules\" must be a list",
        ),
        ("version: 1\ntools: {t: {rules: [{}]}}", "no \"name\""),
        ("version: 1", "there is no \"tools\""),
    ] {
        refused(yaml, expected);
    }
}

#[test]
fn a_rule_that_the_gateway_refuses_is_refused() {
    for (rule, expected) in [
        ("action: block", "found \"block\""),
        (
            "action: deny, rate_limit: 5/hour",
            "a rule that denies every call",
        ),
        (
            "rate_limit: 5/second",
            "must be a number and minute, hour or day",
        ),
        (
            "rate_limit: 0/hour",
            "must be a number and minute, hour or day",
        ),
        (
            "rate_limit: 5/day, state: {counter: c, window: day}",
            "in a rule of its own",
        ),
        (
            "rate_limit: 5/day, approval_timeout: 9s",
            "means nothing without",
        ),
        (
            "action: require_approval, approval_timeout: 10x",
            "must be whole seconds",
        ),
    ] {
        let yaml = format!("version: 1\ntools: {{t: {{rules: [{{name: n, {rule}}}]}}}}");
        refused(&yaml, expected);
    }
    let twice = "{name: n, rate_limit: 5/day}, {name: m, rate_limit: 6/day}";
    let yaml = format!("version: 1\ntools: {{t: {{rules: [{twice}]}}}}");
    refused(&yaml, "the counter \"rate_day\" is there twice");
}

#[test]
fn a_condition_that_the_gateway_refuses_is_refused() {
    for (condition, expected) in [
        ("path: arg.a, op: eq, value: 1", "found \"arg.a\""),
        ("path: args., op: eq, value: 1", "found \"args.\""),
        (
            "path: args.a, op: is, value: 1",
            "\"op\" must be one of eq, neq",
        ),
        ("path: args.a, op: eq", "no \"value\""),
        (
            "path: args.a, op: in, value: 1",
            "in cannot be used with the value 1",
        ),
        (
            "path: args.a, op: lt, value: '1'",
            "lt cannot be used with the value \"1\"",
        ),
        (
            "path: args.a, op: exists, value: 1",
            "exists cannot be used with",
        ),
        (
            "path: args.a, op: regex, value: 1",
            "regex cannot be used with",
        ),
    ] {
        let rule = format!("{{name: n, conditions: [{{{condition}}}]}}");
        let yaml = format!("version: 1\ntools: {{t: {{rules: [{rule}]}}}}");
        refused(&yaml, expected);
    }
}

#[test]
fn a_counter_that_counts_backwards_or_in_parts_is_refused() {
    for (state, condition, expected) in [
        (
            "window: second",
            "op: lt, value: 5",
            "must be minute, hour or day",
        ),
        (
            "window: day, increment: -5",
            "op: lt, value: 5",
            "a whole number from 1",
        ),
        (
            "window: day, increment: 1.5",
            "op: lt, value: 5",
            "a whole number from 1",
        ),
        (
            "window: day",
            "op: lt, value: 1",
            "this maximum denies every call",
        ),
        (
            "window: day",
            "op: lte, value: 2.5",
            "must be a whole number",
        ),
        (
            "window: day",
            "op: lte, value: -1",
            "must be a whole number",
        ),
    ] {
        let condition = format!("conditions: [{{path: state.t.c, {condition}}}]");
        let rule = format!("{{name: n, state: {{counter: c, {state}}}, {condition}}}");
        let yaml = format!("version: 1\ntools: {{t: {{rules: [{rule}]}}}}");
        refused(&yaml, expected);
    }
}

/// Without it, more calls would pass than Intercept lets pass.
#[test]
fn a_condition_on_a_counter_that_is_no_limit_here_is_refused() {
    for (all, t, line) in [
        // Nothing counts it.
        (
            "{path: args.a, op: eq, value: 1}",
            "{path: state._global.c, op: lte, value: 5}",
            7,
        ),
        (
            "{path: state._global.c, op: lte, value: 5}",
            "{path: state._global.d, op: lte, value: 5}",
            7,
        ),
        (
            "{path: state._global.c, op: lte, value: 5}",
            "{path: state._global.c, op: neq, value: 5}",
            7,
        ),
        // A limit would count the calls of this tool, too.
        (
            "{path: state.u.c, op: lte, value: 5}",
            "{path: args.a, op: eq, value: 1}",
            12,
        ),
        (
            "{path: state._global.c, op: gt, value: 5}",
            "{path: args.a, op: eq, value: 1}",
            12,
        ),
    ] {
        let yaml = of_all_and_of_t(all, t);
        let expected = format!("line {line}: cannot be carried over: the condition state.");
        refused(&yaml, &expected);
    }
    // What is denied anyway is not let through.
    let denied = "version: 1\ndefault: deny\ntools: {t: {rules: [{name: n, conditions: \
                  [{path: state.u.c, op: lte, value: 5}]}, {name: m, action: deny}]}}";
    assert!(import(denied).is_ok());
}

/// What Intercept takes and vmward's own reader does not.
#[test]
fn what_vmward_would_refuse_is_no_outcome_and_is_told_with_its_line() {
    let rule = |rule: &str| format!("version: 1\ntools:\n  t:\n    rules:\n    - name: n\n{rule}");
    let limit = |n: i32| {
        format!(
            "    - name: n{n}\n      state: {{counter: c{n}, window: day}}\n      conditions: \
             [{{path: state.t.c{n}, op: lte, value: 5}}]"
        )
    };
    let limits = (0..40).map(limit).collect::<Vec<_>>().join("\n");
    let long = "x".repeat(1_200);
    for (yaml, line) in [
        ("version: 1\nhide:\n- a\n- 'vm_*'\ntools: {}".to_owned(), 4),
        (
            "version: 1\ntools:\n  t: {}\n  a.*: {rules: [{name: x, action: deny}]}".to_owned(),
            4,
        ),
        (
            rule("      action: require_approval\n      approval_timeout: 400h"),
            7,
        ),
        (
            rule(
                "      conditions:\n      - {path: args.ok, op: eq, value: 1}\n      \
                 - {path: args.x, op: regex, value: '(?=a)'}",
            ),
            8,
        ),
        (
            rule("      conditions: [{path: args.x, op: in, value: []}]"),
            6,
        ),
        (
            rule("      conditions: [{path: args.x, op: contains, value: [a]}]"),
            6,
        ),
        (
            rule(
                "      state: {counter: c, window: day, increment: 7}\n      conditions: \
                 [{path: state.t.c, op: lte, value: 5}]",
            ),
            5,
        ),
        (
            rule(&format!("      action: deny\n      on_deny: {long}")),
            5,
        ),
        (
            format!("version: 1\ntools:\n  t:\n    rules:\n{limits}"),
            101,
        ),
    ] {
        let found = errors(&yaml);
        let expected = format!("line {line}: cannot be carried over: ");
        let hit = found.iter().any(|error| error.starts_with(&expected));
        assert!(hit, "{yaml}\n{found:#?}");
    }
}
