use super::*;

mod patterns;
mod refused;
mod yaml;

const STRIPE: &str = r#"version: "1"
description: "Stripe MCP server policies"

tools:
  create_charge:
    rules:
      - name: "max single charge"
        conditions:
          - path: "args.amount"
            op: "lte"
            value: 50000
        on_deny: "Single charge cannot exceed $500.00"

      - name: "daily spend cap"
        conditions:
          - path: "state.create_charge.daily_spend"
            op: "lt"
            value: 1000000
        on_deny: "Daily spending cap of $10,000.00 reached"
        state:
          counter: "daily_spend"
          window: "day"
          increment_from: "args.amount"

      - name: "allowed currencies"
        conditions:
          - path: "args.currency"
            op: "in"
            value: ["usd", "eur"]
        on_deny: "Only USD and EUR charges are permitted"

  create_issue:
    rules:
      - name: "hourly issue limit"
        rate_limit: 5/hour
        on_deny: "Hourly limit of 5 new issues reached"

  delete_customer:
    rules:
      - name: "block destructive action"
        action: "deny"
        on_deny: "Customer deletion is not permitted via AI agents"

  "*":
    rules:
      - name: "global rate limit"
        conditions:
          - path: "state._global.calls_per_minute"
            op: "lte"
            value: 60
        on_deny: "Rate limit: maximum 60 tool calls per minute"
        state:
          counter: "calls_per_minute"
          window: "minute"
"#;

const STRIPE_IMPORTED: &str = r#"{
  "version": "1",
  "description": "Stripe MCP server policies",
  "default": "allow",
  "all_tools": {
    "description": "global rate limit",
    "on_deny": "Rate limit: maximum 60 tool calls per minute",
    "limits": [
      {
        "counter": "all_tools.calls_per_minute",
        "window": "minute",
        "max": 60,
        "scope": "host"
      }
    ]
  },
  "tools": {
    "create_charge": {
      "description": "max single charge; daily spend cap; allowed currencies",
      "on_deny": "Daily spending cap of $10,000.00 reached",
      "require": [
        {
          "path": "args.amount",
          "op": "lte",
          "value": 50000,
          "on_deny": "Single charge cannot exceed $500.00"
        },
        {
          "path": "args.currency",
          "op": "in",
          "value": [
            "usd",
            "eur"
          ],
          "on_deny": "Only USD and EUR charges are permitted"
        }
      ],
      "limits": [
        {
          "counter": "create_charge.daily_spend",
          "window": "day",
          "max": 999999,
          "scope": "host",
          "increment_from": "args.amount"
        }
      ]
    },
    "create_issue": {
      "description": "hourly issue limit",
      "on_deny": "Hourly limit of 5 new issues reached",
      "limits": [
        {
          "counter": "create_issue.rate_hour",
          "window": "hour",
          "max": 5,
          "scope": "host"
        }
      ]
    },
    "delete_customer": {
      "description": "block destructive action",
      "action": "deny",
      "reason": "Customer deletion is not permitted via AI agents"
    }
  }
}
"#;

#[test]
fn the_gateways_own_example_is_imported_whole() {
    let imported = import(STRIPE).expect("a valid policy");
    assert_eq!(imported.policy, STRIPE_IMPORTED);
    let lines: Vec<usize> = imported.notes.iter().map(|note| note.line).collect();
    // The default, the windows, the scope, the amounts.
    assert_eq!(lines, [1, 14, 14, 23], "{:#?}", imported.notes);
}

/// The one tool `t` of an imported policy, and the notes about it.
#[track_caller]
fn rules(rules: &str) -> (Value, Vec<String>) {
    let yaml = format!("version: '1'\ndefault: deny\ntools:\n  t:\n    rules:\n{rules}");
    let imported = import(&yaml).unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
    let policy: Value = serde_json::from_str(&imported.policy).expect("JSON");
    let notes = imported.notes.iter().map(ToString::to_string).collect();
    (policy["tools"]["t"].clone(), notes)
}

#[track_caller]
fn errors(yaml: &str) -> Vec<String> {
    let errors = import(yaml).expect_err("must be refused");
    assert!(!errors.0.is_empty());
    errors.0.iter().map(ToString::to_string).collect()
}

#[test]
fn patterns_still_match_anywhere() {
    for (pattern, expected) in [
        ("feat", "(?s:.*)feat(?s:.*)"),
        ("^feat/", "^feat/(?s:.*)"),
        ("-prod$", "(?s:.*)-prod$"),
        ("^web-[0-9]+$", "^web-[0-9]+$"),
        (r"cost\$", r"(?s:.*)cost\$(?s:.*)"),
        ("^a|b$", "(?s:.*)(?:^a|b$)(?s:.*)"),
        // Flags change what an anchor is: here `$` is the end of a line.
        ("(?m)^b$", "(?s:.*)(?:(?m)^b$)(?s:.*)"),
        ("^(?i)B(?m)$", "(?s:.*)(?:^(?i)B(?m)$)(?s:.*)"),
    ] {
        let (rule, _) = rules(&format!(
            "      - name: n\n        conditions: [{{path: args.a, op: regex, value: '{pattern}'}}]\n"
        ));
        assert_eq!(rule["require"][0]["value"], expected);
    }
}

#[test]
fn no_message_is_lost_in_silence() {
    let same = "conditions: [{path: args.a, op: eq, value: 1}]";
    let (rule, notes) = rules(&format!(
        "      - name: one\n        {same}\n      - name: two\n        on_deny: second\n        \
         {same}\n      - name: three\n        on_deny: third\n        {same}\n"
    ));
    let require = json!([{"path": "args.a", "op": "eq", "value": 1, "on_deny": "second"}]);
    assert_eq!(rule["require"], require);
    let lost = |line: u8, message: &str, whose: &str| {
        format!(
            "line {line}: the message {message:?} is not carried over: an earlier rule {whose} the \
             same, and its message stands"
        )
    };
    assert_eq!(notes, [lost(11, "third", "asks for")]);

    let (rule, notes) = rules(
        "      - name: one\n        action: deny\n        on_deny: first\n      - name: two\n        \
         action: deny\n        on_deny: second\n      - name: three\n        action: deny\n",
    );
    assert_eq!(rule["reason"], "first");
    assert_eq!(notes, [lost(9, "second", "does")]);

    // What is only asked for beside a neq has no message to lose.
    let (rule, notes) = rules(
        "      - name: one\n        on_deny: first\n        conditions: [{path: args.a, op: neq, \
         value: 1}]\n      - name: two\n        on_deny: second\n        conditions: [{path: args.a, \
         op: neq, value: 2}]\n",
    );
    assert_eq!(rule["require"].as_array().map(Vec::len), Some(3));
    assert!(!notes.concat().contains("message"), "{notes:?}");
}

#[test]
fn a_condition_that_says_not_needs_the_argument_to_be_there() {
    let (rule, notes) = rules(
        "      - name: n\n        on_deny: no\n        conditions:\n          \
         - {path: args.to, op: not_in, value: [a]}\n          \
         - {path: args.to, op: neq, value: b}\n",
    );
    let require = json!([
        { "path": "args.to", "op": "exists", "value": true, "on_deny": "no" },
        { "path": "args.to", "op": "not_in", "value": ["a"], "on_deny": "no" },
        { "path": "args.to", "op": "neq", "value": "b", "on_deny": "no" },
    ]);
    assert_eq!(rule["require"], require);
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].starts_with("line 9: values are compared with their types"));
}

#[test]
fn an_approval_is_asked_for_on_every_call() {
    let (rule, notes) = rules(
        "      - name: ask\n        action: require_approval\n        approval_timeout: 1h30m\n        \
         on_deny: wait\n        rate_limit: 3/day\n        conditions:\n          \
         - {path: args.force, op: eq, value: true}\n",
    );
    let expected = json!({
        "description": "ask",
        "action": "require_approval",
        "reason": "wait",
        "approval_timeout": 5400,
        "on_deny": "wait",
        "limits": [{ "counter": "t.rate_day", "window": "day", "max": 3, "scope": "host" }],
    });
    assert_eq!(rule, expected);
    assert_eq!(
        notes[2],
        "line 12: the conditions for when to ask are not carried over: every call of the tool \
         asks for approval"
    );
}

#[test]
fn what_cannot_be_carried_over_is_named_with_its_line() {
    let (rule, notes) = rules(
        "      - name: one\n        state: {counter: c, window: hour}\n        on_deny: first\n        \
         conditions:\n          - {path: state.t.c, op: lte, value: 2000000}\n      \
         - name: two\n        rate_limit: 5/day\n        on_deny: second\n      \
         - name: three\n        state: {counter: idle, window: day}\n        \
         conditions: [{path: args.a, op: eq, value: ~}]\n",
    );
    assert_eq!(rule["limits"][0]["max"], 1_000_000);
    assert_eq!(rule.get("on_deny"), None);
    for expected in [
        "line 6: the message \"first\" is not carried over",
        "line 10: the maximum 2000000 is more than can be counted: 1000000 is written",
        "line 11: the message \"second\" is not carried over",
        "line 15: the counter \"idle\" is counted and nothing limits it; it is left out",
    ] {
        assert!(
            notes.iter().any(|note| note.starts_with(expected)),
            "{expected}\n{notes:#?}"
        );
    }
}

/// The conditions of Intercept's rules for `*` and for `t`.
fn of_all_and_of_t(all: &str, t: &str) -> String {
    format!(
        "version: '1'\ndefault: deny\ntools:\n  t:\n    rules:\n      - name: n\n        \
         conditions: [{t}]\n  '*':\n    rules:\n      - name: all\n        \
         state: {{counter: c, window: hour, increment: 2}}\n        conditions: [{all}]\n"
    )
}

#[test]
fn a_limit_on_the_counter_of_all_tools_shares_it() {
    let imported = import(&of_all_and_of_t(
        "{path: state._global.c, op: lte, value: 100}",
        "{path: state._global.c, op: lt, value: 6}",
    ));
    let policy: Value = serde_json::from_str(&imported.expect("valid").policy).expect("JSON");
    let limit = |max: u32| {
        json!([{"counter": "all_tools.c", "window": "hour", "max": max, "scope": "host",
            "increment": 2}])
    };
    assert_eq!(policy["all_tools"]["limits"], limit(100));
    assert_eq!(policy["tools"]["t"]["limits"], limit(5));
}

#[test]
fn a_denied_tool_keeps_nothing_that_is_never_reached() {
    let (rule, notes) = rules(
        "      - name: slow\n        rate_limit: 5/day\n      - name: never\n        action: deny\n",
    );
    assert_eq!(
        rule,
        json!({ "description": "slow; never", "action": "deny" })
    );
    assert!(
        notes
            .iter()
            .any(|note| note.starts_with("line 8: this denies every call of \"t\""))
    );
}

#[test]
fn hidden_tools_are_hidden_and_their_rules_left_out() {
    let imported = import(
        "version: 1\ndefault: deny\nhide:\n  - vm_terminate\ntools:\n  vm_terminate:\n    \
         rules: []\n  vm_list:\n    rules:\napprovals:\n  dedupe_window: 60s\n",
    )
    .expect("a valid policy");
    let policy: Value = serde_json::from_str(&imported.policy).expect("JSON");
    let expected = json!({
        "version": "1",
        "default": "deny",
        "hide": ["vm_terminate"],
        "tools": { "vm_list": {} },
    });
    assert_eq!(policy, expected);
    let lines: Vec<usize> = imported.notes.iter().map(|note| note.line).collect();
    assert_eq!(lines, [6, 11]);
    let all = import("version: 1\ndefault: deny\nhide: '*'\ntools:\n").expect("a valid policy");
    assert!(
        all.policy.contains("\"hide\": [\n    \"*\"\n  ]"),
        "{}",
        all.policy
    );
}

#[test]
fn what_is_imported_is_a_policy() {
    let rules = "      - name: n\n        on_deny: no\n        conditions:\n          \
                 - {path: args.to, op: not_in, value: [a]}\n          \
                 - {path: args.to, op: regex, value: '^a|b$'}\n          \
                 - {path: args.n, op: exists, value: true}\n      \
                 - name: m\n        rate_limit: 5/day\n      - name: ask\n        \
                 action: require_approval\n        approval_timeout: 15m\n";
    let yaml = format!("version: '1'\ndefault: deny\nhide: [u]\ntools:\n  t:\n    rules:\n{rules}");
    for yaml in [STRIPE, &yaml] {
        let imported = import(yaml).expect("a valid policy");
        if let Err(errors) = vmward_core::policy::Policy::parse(&imported.policy, "policy.json") {
            panic!("{errors}\n{}", imported.policy);
        }
    }
}
