//! `vmward policy`, on files alone.

mod simulate;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const SEED: &str = include_str!("../../../vmward-core/tests/data/policy.json");

/// A folder with files, and the command run in it.
struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            fs::write(folder.path(name), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `vmward policy` and returns its exit status and what it prints.
    #[track_caller]
    fn policy(&self, status: i32, args: &[&str]) -> String {
        let output: Output = Command::new(env!("CARGO_BIN_EXE_vmward"))
            .arg("policy")
            .args(args)
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{out}\n{err}");
        out + &err
    }
}

fn with(keys: &Value) -> String {
    let mut text = json!({"version": "1", "default": "deny", "tools": {}});
    for (key, value) in keys.as_object().unwrap() {
        text[key] = value.clone();
    }
    text.to_string()
}

#[test]
fn check_says_what_a_good_policy_holds() {
    let folder = Folder::with(&[("policy.json", SEED)]);
    let text = folder.policy(0, &["check", "--strict", "policy.json"]);
    let start = "policy.json: good; 1 tools, 1 limits, default deny, 0 to look at again; sha256 ";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn check_points_at_every_mistake() {
    let bad = "{\n  \"version\": \"1\",\n  \"default\": \"dney\",\n  \"tols\": {}\n}\n";
    let folder = Folder::with(&[("policy.json", bad)]);
    let text = folder.policy(1, &["check", "policy.json"]);
    for part in [
        "policy.json:3:14: ",
        "3 |   \"default\": \"dney\",\n   |              ^^^^^^",
        "policy.json:4:3: ",
        "4 |   \"tols\": {}\n   |   ^^^^^^",
        "did you mean \"tools\"?",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn check_fails_on_a_second_look_only_when_it_is_strict() {
    let open = with(&json!({"default": "allow"}));
    let folder = Folder::with(&[("policy.json", &open)]);
    for (status, args) in [
        (0, &["check", "policy.json"][..]),
        (1, &["check", "--strict", "policy.json"]),
    ] {
        let text = folder.policy(status, args);
        assert!(text.contains("warning: every tool that no rule names is allowed"));
    }
}

#[test]
fn the_example_of_cases_passes_against_the_first_policy() {
    let folder = Folder::with(&[("policy.json", SEED)]);
    let example = folder.policy(0, &["test", "--example"]);
    fs::write(folder.path("cases.json"), example).unwrap();
    let text = folder.policy(0, &["test", "cases.json"]);
    assert_eq!(text, "2 cases, 0 failed\n");
}

#[test]
fn a_case_that_fails_says_what_was_expected_and_what_came() {
    let cases = json!({"policy": "policy.json", "cases": [{"name": "no stops at night", "steps": [
        {"call": {"tool": "vm_stop", "arguments": {"identifier": "web-1"}}, "expect": "deny"}]}]});
    let folder = Folder::with(&[("policy.json", SEED), ("cases.json", &cases.to_string())]);
    let text = folder.policy(1, &["test", "cases.json"]);
    assert!(
        text.starts_with(
            "no stops at night: step 1, call 1\n  expected deny\n  got      allow, reason \
             allowed, rule /tools/vm_stop: vm_stop of web-1 is allowed"
        ),
        "{text}"
    );
    assert!(text.ends_with("1 cases, 1 failed\n"), "{text}");
}

#[test]
fn cases_that_could_not_fail_are_refused() {
    let call = json!({"tool": "vm_stop", "arguments": {"identifier": "web-1"}});
    for (cases, why) in [
        (json!([]), "has no cases"),
        (json!([{"name": "n", "steps": []}]), "expects nothing"),
        (
            json!([{"name": "n", "steps": [{"call": call}]}]),
            "expects nothing",
        ),
        (
            json!([{"name": "n", "steps": [{"call": call, "repeat": 0, "expect": "deny"}]}]),
            "expects nothing",
        ),
    ] {
        let cases = json!({"policy": "policy.json", "cases": cases}).to_string();
        let folder = Folder::with(&[("policy.json", SEED), ("cases.json", &cases)]);
        let text = folder.policy(1, &["test", "cases.json"]);
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_policy_that_is_no_text_is_shown_with_its_place() {
    let folder = Folder::with(&[]);
    fs::write(folder.path("policy.json"), b"{\n \"\xff\": 1}").unwrap();
    let text = folder.policy(1, &["check", "policy.json"]);
    assert!(
        text.contains("policy.json:2:3: the text is not UTF-8 here"),
        "{text}"
    );
}

#[test]
fn explain_names_the_rule_that_decides_and_each_of_its_steps() {
    let forced = json!({"deny_if": [{"path": "args.force", "op": "eq", "value": true}]});
    let text = with(&json!({"tools": {"vm_stop": forced}}));
    let folder = Folder::with(&[("policy.json", &text)]);
    let args = r#"{"identifier":"web-1","force":true}"#;
    let call = [
        "explain",
        "--policy",
        "policy.json",
        "--tool",
        "vm_stop",
        "--args",
        args,
    ];
    let text = folder.policy(3, &call);
    for part in [
        "deny: vm_stop is denied where args.force eq true (condition)\n",
        "decided by  /tools/vm_stop/deny_if/0\n",
        "effect      force_stop, by builtin:any\n",
        "  FAIL  not (args.force eq true)",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn schema_is_json_and_knows_every_key_of_a_policy() {
    let folder = Folder::with(&[]);
    let schema: Value = serde_json::from_str(&folder.policy(0, &["schema"])).unwrap();
    assert!(schema["properties"]["effect_map"].is_object(), "{schema}");
}

#[test]
fn import_writes_a_policy_that_check_takes() {
    let yaml = "version: \"1\"\ndefault: deny\ntools:\n  vm_stop:\n    rules:\n      - name: slow\n        rate_limit: 10/minute\n";
    let folder = Folder::with(&[("intercept.yaml", yaml)]);
    folder.policy(0, &["import", "intercept.yaml", "--output", "policy.json"]);
    let text = folder.policy(0, &["check", "policy.json"]);
    assert!(text.contains("good; 1 tools, 1 limits"), "{text}");
}

#[track_caller]
fn diff(old: &Value, new: &Value, expected: &str) {
    let folder = Folder::with(&[("old.json", &with(old)), ("new.json", &with(new))]);
    let same = expected.is_empty();
    let text = folder.policy(i32::from(!same), &["diff", "old.json", "new.json"]);
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
