//! `vmward policy`, on files alone.

mod calls;
mod diff;
mod simulate;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const SEED: &str = include_str!("../../../vmward-core/tests/data/policy.json");
/// The question about a stop, as far as it is the same.
const EXPLAIN: [&str; 5] = ["explain", "--policy", "policy.json", "--tool", "vm_stop"];

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
    let call = [&EXPLAIN[..], &["--args", args]].concat();
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
fn explain_by_a_policy_alone_says_as_whom_and_when_it_judges() {
    let root = json!({"require": [{"path": "caller.uid", "op": "eq", "value": 0}]});
    let policy = with(&json!({"tools": {"vm_list": root}}));
    let folder = Folder::with(&[("policy.json", &policy)]);
    let explain = |status, more: &[&str]| {
        let call = ["explain", "--policy", "policy.json", "--tool", "vm_list"];
        folder.policy(status, &[&call[..], more].concat())
    };
    let text = explain(0, &[]);
    let judged = "judged      for uid 0 at 2026-11-23T12:00:00.000Z, with nothing charged yet\n";
    assert!(text.contains(judged), "{text}");
    assert!(text.contains("grant       uid:0\n"), "{text}");
    let other = ["--grant", "uid:7", "--when", "2026-11-24T09:30:00Z"];
    let text = explain(3, &other);
    assert!(
        text.contains("for uid 7 at 2026-11-24T09:30:00.000Z"),
        "{text}"
    );
    let text = explain(0, &["--grant", "agents"]);
    assert!(
        text.contains("grant       agents\njudged      for uid 0 at "),
        "{text}"
    );
    let answer: Value =
        serde_json::from_str(&explain(3, &[&other[..], &["--json"]].concat())).unwrap();
    let judged = json!({"uid": 7, "when": "2026-11-24T09:30:00.000Z"});
    assert_eq!(
        (&answer["judged"], &answer["grant"]),
        (&judged, &json!("uid:7"))
    );
    assert!(explain(0, &["--help"]).contains("uid:0 where absent"));
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

#[test]
fn hours_in_the_local_zone_are_this_hosts() {
    let hours = json!([{"from": "09:00", "to": "10:00", "zone": "local"}]);
    let text = with(&json!({"tools": {"vm_list": {"hours": hours}}}));
    let cases = json!({"policy": "policy.json", "cases": [{"name": "n", "steps": [{
        "call": {"tool": "vm_list"}, "when": "2026-11-23T14:30:00Z", "expect": "allow"}]}]});
    let folder = Folder::with(&[("policy.json", &text), ("cases.json", &cases.to_string())]);
    let explain = [
        "explain",
        "--policy",
        "policy.json",
        "--tool",
        "vm_list",
        "--when",
        "2026-11-23T14:30:00Z",
    ];
    for (zone, explained, tested) in [("EST5", 0, 0), ("UTC0", 3, 1)] {
        for (status, args) in [(explained, &explain[..]), (tested, &["test", "cases.json"])] {
            let output = in_zone(&folder, zone, args);
            assert_eq!(
                output.status.code(),
                Some(status),
                "{zone} {args:?} {output:?}"
            );
        }
    }
    // On the evening before New York's clock is put forward, and by another that is not.
    let mut explain = explain;
    explain[6] = "2026-03-07T23:00:00Z";
    for (zone, opens) in [
        ("EST5EDT,M3.2.0,M11.1.0", "2026-03-08T13:00:00.000Z"),
        ("EST5", "2026-03-08T14:00:00.000Z"),
    ] {
        let output = in_zone(&folder, zone, &explain);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.contains(opens), "{zone}: {told}");
    }
}

fn in_zone(folder: &Folder, zone: &str, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vmward"))
        .arg("policy")
        .args(args)
        .env("TZ", zone)
        .current_dir(folder.0.path())
        .output()
        .unwrap()
}

#[test]
fn a_first_step_may_be_at_any_time_and_no_other_before_the_one_before() {
    let step = |when: &str| json!({"call": {"tool": "vm_start"}, "when": when, "expect": "deny"});
    let run = |status, steps: Value| {
        let cases = json!({"policy": "policy.json", "cases": [{"name": "n", "steps": steps}]});
        let folder = Folder::with(&[("policy.json", SEED), ("cases.json", &cases.to_string())]);
        folder.policy(status, &["test", "cases.json"])
    };
    run(
        0,
        json!([step("2020-01-01T00:00:00Z"), step("2020-01-01T00:00:01Z")]),
    );
    let told = run(
        1,
        json!([step("2020-01-01T00:00:01Z"), step("2020-01-01T00:00:00Z")]),
    );
    assert!(
        told.contains("the step is earlier than the one before"),
        "{told}"
    );
}

#[test]
fn a_mistake_in_a_file_of_cases_is_told_in_its_words() {
    let cases = r#"{"policy": "policy.json", "cases": [
        {"name": "n", "steps": [{"call": {"tool": "vm_stop"}, "expect": "alow"}]}]}"#;
    let folder = Folder::with(&[("policy.json", SEED), ("cases.json", cases)]);
    let told = folder.policy(1, &["test", "cases.json"]);
    let expected = r#"`expect` is "allow", "deny" or "pending", found "alow" at line 2"#;
    assert!(told.contains(expected), "{told}");
}

#[test]
fn cases_go_by_what_the_configuration_says_of_approvals() {
    let policy = with(&json!({"tools": {"a": {"action": "require_approval"}}}));
    let cases = json!({"policy": "policy.json", "cases": [{"name": "a request lapses", "steps": [
        {"call": {"tool": "a"}, "expect": "pending"},
        {"approve": "yes", "after_s": 5},
        {"call": {"tool": "a"}, "after_s": 5, "expect": "pending"}]}]});
    let folder = Folder::with(&[
        ("policy.json", &policy),
        ("cases.json", &cases.to_string()),
        ("short.toml", "[approvals]\nexpire = 8\n"),
        ("long.toml", "[approvals]\nexpire = 60\n"),
    ]);
    folder.policy(0, &["test", "cases.json", "--config", "short.toml"]);
    folder.policy(1, &["test", "cases.json", "--config", "long.toml"]);
    let explain = ["explain", "--policy", "policy.json", "--tool", "a"];
    for (config, status) in [("short.toml", 3), ("none.toml", 1)] {
        folder.policy(status, &[&explain[..], &["--config", config]].concat());
    }
}

#[test]
fn check_and_import_give_data() {
    let open = with(&json!({"default": "allow"}));
    let yaml = "version: 1\ntools:\n  t:\n    rules:\n    - name: n\n      rate_limit: 5/hour\n";
    let folder = Folder::with(&[
        (
            "bad.json",
            "{\n  \"version\": \"1\",\n  \"default\": \"dney\",\n  \"tools\": {}\n}\n",
        ),
        ("open.json", &open),
        ("good.yaml", yaml),
        ("bad.yaml", "version: 1\ntools: {}\nhide: ['a*']\n"),
    ]);
    let data = |status, args: &[&str]| {
        let text = folder.policy(status, &[args, &["--json"]].concat());
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let bad = data(1, &["check", "bad.json"]);
    assert_eq!(bad["good"], false);
    let first = &bad["mistakes"][0];
    assert_eq!((&first["line"], &first["column"]), (&json!(3), &json!(14)));
    let open = data(0, &["check", "open.json"]);
    assert_eq!(open["good"], true);
    assert!(open["warnings"][0]["message"].is_string(), "{open}");
    assert_eq!(data(1, &["check", "--strict", "open.json"])["good"], true);

    let good = data(0, &["import", "good.yaml"]);
    assert_eq!(good["policy"]["tools"]["t"]["limits"][0]["max"], 5);
    assert!(good["notes"][0]["line"].is_u64(), "{good}");
    let bad = data(1, &["import", "bad.yaml"]);
    assert_eq!(bad["mistakes"][0]["line"], 3);
}
