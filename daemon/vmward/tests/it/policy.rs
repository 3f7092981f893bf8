//! `vmward policy`, on files alone.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use vmward_core::{
    approval::Person,
    audit::{AuditBody, chain::Chain},
    clock::{NS_PER_S, Now},
    digest::args_digest,
    engine::{Authorized, Caller, Decision, Engine, Request, Target, Via, VmTarget},
    ids::{Process, VmUuid},
    lease::KernelLease,
    policy::Policy,
};

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

/// An engine that writes a log.
struct Logged {
    engine: Engine,
    chain: Chain,
    log: String,
}

impl Logged {
    fn under(policy: &str) -> Self {
        let policy = Policy::parse(policy, "policy.json").unwrap();
        Self {
            engine: Engine::new(policy, "boot"),
            chain: Chain::new(),
            log: String::new(),
        }
    }

    fn write(&mut self, body: &AuditBody, at: Now) {
        self.log += &self.chain.append(body, "boot", at);
        self.log.push('\n');
    }

    fn call(&mut self, tool: &str, arguments: Value, seconds: i64) -> Authorized {
        let request = request(&self.engine, tool, object(arguments));
        let answer = self.engine.authorize(&request, at(seconds));
        self.write(&answer.audit, at(seconds));
        answer
    }

    /// What the simulation with this policy prints.
    fn simulate(&self, status: i32, policy: &str) -> String {
        let folder = Folder::with(&[("policy.json", policy), ("audit.jsonl", &self.log)]);
        folder.policy(status, &["simulate", "policy.json", "--log", "audit.jsonl"])
    }
}

fn at(seconds: i64) -> Now {
    let ns = (1_795_435_200 + seconds) * NS_PER_S;
    Now {
        boot_ns: ns,
        wall_ns: ns,
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        other => panic!("{other}"),
    }
}

fn request(engine: &Engine, tool: &str, arguments: Map<String, Value>) -> Request {
    let process = Process {
        pid: 7,
        start_ticks: 7,
    };
    let caller = Caller {
        grant: "uid:1000".to_owned(),
        process,
        uid: 1000,
        comm: "agent".to_owned(),
        exe: None,
        agent: None,
        unit: None,
        loginuid: None,
    };
    let mapped = engine.mapped(tool, None, &arguments, &caller);
    Request {
        tool: tool.to_owned(),
        via: Via::Tool,
        server: None,
        args_digest: args_digest(&arguments),
        arguments,
        effect: mapped.effect(),
        mapped,
        target: Target::Vm(VmTarget {
            uuid: VmUuid::from_bytes([1; 16]),
            name: "web-1".to_owned(),
            process: Some(process),
            protected: false,
            labels: std::collections::BTreeMap::new(),
        }),
        caller,
        holder: process,
        reason: None,
        local_offset_s: 0,
    }
}

const NOTHING: &str = "would change; 0 left out (no such VM, a live lease, or the daemon could not \
    act)\n";

#[test]
fn simulate_shows_which_decisions_another_policy_would_change() {
    let mut logged = Logged::under(SEED);
    for second in 0..4 {
        drop(logged.call("vm_stop", json!({"identifier": "web-1"}), second));
    }
    let tighter = SEED.replace("\"max\": 10", "\"max\": 3");
    assert_ne!(tighter, SEED);
    let text = logged.simulate(0, &tighter);
    assert!(text.contains("1      vm_stop  uid:1000  allow  deny (rate-limited)  decision 4 at "));
    assert!(
        text.ends_with(&format!("4 decisions replayed, 1 {NOTHING}")),
        "{text}"
    );
}

#[test]
fn simulate_of_the_policy_in_force_changes_nothing() {
    let asks = with(
        &json!({"tools": {"vm_stop": {"action": "require_approval"}, "power": {}},
        "effect_map": [{"tool": "power", "effect": "stop"}]}),
    );
    let mut logged = Logged::under(&asks);
    let call = |logged: &mut Logged, second| {
        logged.call("vm_stop", json!({"identifier": "web-1"}), second)
    };
    let Decision::Pending(pending) = call(&mut logged, 0).decision else {
        panic!("must wait")
    };
    let by = Person {
        uid: 0,
        loginuid: None,
    };
    let decided = logged
        .engine
        .decide_approval(pending.approval, by, true, None, at(1));
    assert!(decided.is_ok());
    assert!(matches!(call(&mut logged, 2).decision, Decision::Allow(_)));
    drop(logged.call("power", json!({}), 3));
    let text = logged.simulate(0, &asks);
    assert_eq!(text, format!("3 decisions replayed, 0 {NOTHING}"));
    // What the map said then is not the caller's own word.
    let unmapped = with(
        &json!({"tools": {"vm_stop": {"action": "require_approval"}, "power": {}},
        "effects": {"stop": {}, "force_stop": {}},
        "effect_map": [{"tool": "power", "effect": "none"}],
        "protected": [{"name": "web-*", "effects": "stop", "action": "require_approval"}]}),
    );
    let text = logged.simulate(0, &unmapped);
    assert_eq!(text, format!("3 decisions replayed, 0 {NOTHING}"));
}

#[test]
fn simulate_gives_back_what_was_given_back() {
    let one = with(&json!({"tools": {"vm_stop": {"rate_limit": {"max": 1, "window": 3600}}}}));
    let mut logged = Logged::under(&one);
    for minute in [0, 5] {
        let arguments = json!({"identifier": "web-1", "force": true});
        let mut forced = request(&logged.engine, "vm_stop", object(arguments));
        if let Target::Vm(vm) = &mut forced.target {
            vm.protected = true;
        }
        let answer = logged.engine.authorize(&forced, at(minute * 60));
        logged.write(&answer.audit, at(minute * 60));
        let lease = answer.lease.unwrap();
        let late = at(minute * 60 + 60);
        let closed = logged
            .engine
            .close(lease.id, KernelLease::Granted, true, late);
        for body in &closed.audit {
            logged.write(body, late);
        }
    }
    let text = logged.simulate(0, &one);
    assert_eq!(text, format!("2 decisions replayed, 0 {NOTHING}"));
}

#[test]
fn simulate_says_that_the_log_has_no_labels() {
    let logged = Logged::under(SEED);
    let labelled = with(&json!({"protected": [{"metadata": {"tier": "prod"}}]}));
    let text = logged.simulate(0, &labelled);
    assert!(
        text.contains("labels of VMs, which the log does not have"),
        "{text}"
    );
}
