//! `vmward policy simulate`, on logs as the daemon writes them.

use serde_json::{Map, Value, json};
use vmward_core::{
    approval::{ApprovalConfig, Person},
    audit::{AuditBody, chain::Chain},
    clock::{LocalTime, NS_PER_S, Now},
    digest::Arguments,
    engine::{Authorized, Caller, Decision, Engine, Request, Target, Via, VmTarget},
    ids::{Process, VmUuid},
    lease::KernelLease,
    policy::Policy,
};

use super::{Folder, SEED, with};

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
        let answer = self.engine.authorize(request, at(seconds));
        self.write(&answer.audit, at(seconds));
        answer
    }

    /// What the simulation with this policy prints.
    fn simulate(&self, status: i32, policy: &str) -> String {
        self.simulate_with(status, policy, "")
    }

    /// The same with a configuration.
    fn simulate_with(&self, status: i32, policy: &str, config: &str) -> String {
        self.simulate_from(status, policy, config, &[])
    }

    /// The same with more arguments.
    fn simulate_from(&self, status: i32, policy: &str, config: &str, more: &[&str]) -> String {
        let folder = Folder::with(&[
            ("policy.json", policy),
            ("audit.jsonl", &self.log),
            ("vmward.toml", config),
        ]);
        let args = ["--log", "audit.jsonl", "--config", "vmward.toml"];
        let args = [&["simulate", "policy.json"], &args[..], more].concat();
        folder.policy(status, &args)
    }

    /// A person's yes, on record.
    fn approve(&mut self, answer: &Authorized, seconds: i64) {
        let Decision::Pending(pending) = &answer.decision else {
            panic!("must wait: {:?}", answer.decision)
        };
        let by = Person {
            uid: 0,
            loginuid: None,
        };
        let decided = self
            .engine
            .decide_approval(pending.approval, by, true, None, at(seconds));
        let (_, body) = decided.expect("it waits");
        self.write(&body, at(seconds));
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
        arguments: Arguments::new(arguments),
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
        local: LocalTime::default(),
    }
}

const NOTHING: &str = "would change; 0 left out (no such VM, a live lease, the daemon could not act, \
    or too many to record)\n";

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
fn simulate_reads_a_log_that_was_compressed_from_standard_input_alone() {
    let mut logged = Logged::under(SEED);
    logged.call("vm_stop", json!({"identifier": "web-1"}), 0);
    let folder = Folder::with(&[("policy.json", SEED), ("audit.jsonl", &logged.log)]);
    let packed = folder.0.path().join("audit.jsonl.gz");
    std::fs::write(packed, b"\x1f\x8b\x08\0\xff").unwrap();
    let said = folder.policy(1, &["simulate", "policy.json", "--log", "audit.jsonl.gz"]);
    assert!(
        said.contains("audit.jsonl.gz is compressed with gzip"),
        "{said}"
    );
    let log = std::fs::File::open(folder.0.path().join("audit.jsonl")).unwrap();
    // As a pipe, which can be read once.
    let mut cat = std::process::Command::new("cat");
    let mut cat = cat
        .stdin(log)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vmward"))
        .args(["policy", "simulate", "policy.json", "--log", "/dev/stdin"])
        .current_dir(folder.0.path())
        .stdin(cat.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(cat.wait().unwrap().success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("1 decisions"), "{text}");
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
fn simulate_has_people_say_what_they_said_when_they_said_it() {
    let once = with(&json!({"tools": {"vm_stop": {"action": "require_approval",
        "rate_limit": {"max": 1, "window": 3600}}}}));
    let mut logged = Logged::under(&once);
    let call = |logged: &mut Logged, vm, second| {
        logged.call("vm_stop", json!({"identifier": "web-1", "n": vm}), second)
    };
    for n in [1, 2] {
        let waits = call(&mut logged, n, 0);
        logged.approve(&waits, 1);
    }
    assert!(matches!(
        call(&mut logged, 1, 2).decision,
        Decision::Allow(_)
    ));
    // Its yes waits on: the limit is used up.
    assert!(matches!(
        call(&mut logged, 2, 3).decision,
        Decision::Deny(_)
    ));
    let text = logged.simulate(0, &once);
    assert_eq!(text, format!("4 decisions replayed, 0 {NOTHING}"));
}

#[test]
fn simulate_since_an_instant_goes_by_what_was_before() {
    let policy = with(
        &json!({"tools": {"vm_stop": {"rate_limit": {"max": 2, "window": 3600}},
            "vm_list": {"action": "require_approval"}}}),
    );
    let mut logged = Logged::under(&policy);
    let call = |logged: &mut Logged, second| {
        logged.call("vm_stop", json!({"identifier": "web-1"}), second)
    };
    drop(call(&mut logged, 0));
    drop(call(&mut logged, 1));
    let waits = logged.call("vm_list", json!({}), 2);
    logged.approve(&waits, 3);
    // At the time of the first that is told, the limit is used up and the yes is there.
    assert!(matches!(call(&mut logged, 60).decision, Decision::Deny(_)));
    let listed = logged.call("vm_list", json!({}), 61);
    assert!(matches!(listed.decision, Decision::Allow(_)));
    let since = ["--since", "2026-11-23T12:00:30Z"];
    let text = logged.simulate_from(0, &policy, "", &since);
    assert_eq!(text, format!("2 decisions replayed, 0 {NOTHING}"));
    // What another policy had changed before is not told.
    let tighter = policy.replace("\"max\":2", "\"max\":1");
    assert_ne!(tighter, policy);
    let text = logged.simulate_from(0, &tighter, "", &since);
    assert_eq!(text, format!("2 decisions replayed, 0 {NOTHING}"));
    let text = logged.simulate_from(0, &tighter, "", &["--since", "2026-11-23T12:00:01Z"]);
    assert!(
        text.ends_with(&format!("4 decisions replayed, 1 {NOTHING}")),
        "{text}"
    );
}

#[test]
fn simulate_goes_by_what_the_configuration_says_of_approvals() {
    let asks = with(&json!({"tools": {"vm_stop": {"action": "require_approval"}}}));
    let mut logged = Logged::under(&asks);
    logged.engine.set_approval_config(ApprovalConfig {
        cap_per_grant: 1,
        ..ApprovalConfig::default()
    });
    for n in [1, 2] {
        drop(logged.call("vm_stop", json!({"n": n}), 0));
    }
    let config = "mode = \"observe\"\n[approvals]\nper-grant = 1\n";
    let text = logged.simulate_with(0, &asks, config);
    assert_eq!(text, format!("2 decisions replayed, 0 {NOTHING}"));
    let own = "[[grants]]\nname = \"uid:1000\"\nuid = 1000\napprovals-max = 2\n";
    let text = logged.simulate_with(0, &asks, &format!("{config}{own}"));
    assert!(
        text.contains("deny (too-many-approvals)  pending"),
        "{text}"
    );
    let text = logged.simulate_with(1, &asks, "[approvals]\nper-grant = \"1\"\n");
    assert!(text.contains("vmward.toml is wrong"), "{text}");
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
        let answer = logged.engine.authorize(forced.clone(), at(minute * 60));
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
fn simulate_goes_by_the_time_of_the_decision_where_its_record_was_written_later() {
    let mut logged = Logged::under(SEED);
    let restart = at(24 * 3600);
    for hour in 0..12 {
        let decided = at(hour * 3600);
        let request = request(&logged.engine, "vm_stop", object(json!({})));
        let body = logged.engine.authorize(request, decided).audit;
        logged.write(&body.recovered(Some(decided.wall_ns)), restart);
    }
    let text = logged.simulate(0, SEED);
    assert_eq!(text, format!("12 decisions replayed, 0 {NOTHING}"));
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

#[test]
fn a_last_line_that_is_not_whole_is_left_out_and_said() {
    let mut logged = Logged::under(SEED);
    logged.call("vm_stop", json!({"identifier": "web-1"}), 0);
    logged.log += "{\"seq\":2,\"kind\":\"deci";
    let text = logged.simulate(0, SEED);
    assert!(
        text.contains("1 decisions replayed, 0 would change"),
        "{text}"
    );
    assert!(text.contains("the log's last line is incomplete"), "{text}");
    // Elsewhere it is no record.
    logged.log += "\n";
    let text = logged.simulate(1, SEED);
    assert!(text.contains("audit.jsonl:2 is no audit record"), "{text}");
}

#[test]
fn a_damaged_log_is_replayed_with_a_warning() {
    let mut logged = Logged::under(SEED);
    for second in 0..4 {
        drop(logged.call("vm_stop", json!({"identifier": "web-1"}), second));
    }
    assert!(!logged.simulate(0, SEED).contains("warning"));
    let good = logged.log.clone();
    let lines: Vec<&str> = good.split_inclusive('\n').collect();
    let altered = good.replacen("uid:1000", "uid:1001", 1);
    let missing = [lines[0], lines[2], lines[3]].concat();
    let headless = lines[1..].concat();
    for (log, place) in [(altered, ":1: "), (missing, ":2: "), (headless, ":1: ")] {
        logged.log = log;
        let text = logged.simulate(0, SEED);
        let told = "warning: the log is damaged, and what is said here may be wrong: ";
        assert!(text.contains(told) && text.contains(place), "{text}");
        let json = logged.simulate_from(0, SEED, "", &["--json"]);
        let report: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        let broken = report["chain_broken"].as_str().unwrap();
        assert!(broken.contains(place), "{json}");
    }
}
