//! `status`, `authorize` and `run`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use vmward_wire::v1::method;

use crate::fake::{FakeDaemon, allowed, denied};

fn status(mode: &str, ready: bool) -> FakeDaemon {
    let answer = json!({
        "version": "0.1.0", "pid": 77, "mode": mode, "ready_s": 5,
        "kernel": {
            "release": "6.12.0", "ready": ready, "events": 3, "events_lost": 0,
            "hooks": [{
                "name": "task_kill", "kind": "wall", "attached": true, "self_test": "passed",
                "detail": "SIGKILL was refused",
            }],
        },
        "policy": { "path": "/etc/vmward/policy.json", "hash": "ff", "loaded_at": "T" },
        "libvirt": { "uri": "qemu:///system", "connected": true },
        "vms": [{ "uuid": "u", "name": "web-1", "pid": 4711, "protected": true, "events": 2 }],
        "host_rules": [
            { "name": "backup", "who": "unit b.service", "actors": 1, "uses": 2, "left": 98 },
            { "name": "fencing", "who": "program /sbin/f", "actors": 3, "uses": 0 },
        ],
        "leases": [], "limits": [], "counters": { "refused": 2, "zero": 0 }, "degraded": [],
        "from_the_future": 1,
    });
    FakeDaemon::start(move |_| Ok(answer.clone()))
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn status_shows_hooks_vms_and_counters_as_a_table() {
    let output = status("enforce", true).run(&["status"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert!(text.starts_with("mode     enforce\n"), "{text}");
    assert!(
        text.contains("task_kill  wall  yes       passed     SIGKILL was refused"),
        "{text}"
    );
    assert!(text.contains("web-1  4711  yes        2       u"), "{text}");
    for rule in [
        "backup     1       2     98    unit b.service",
        "fencing    3       0     any   program /sbin/f",
    ] {
        assert!(text.contains(rule), "{text}");
    }
    assert!(
        text.contains("refused  2") && !text.contains("zero"),
        "{text}"
    );
}

#[test]
fn status_says_what_it_does_not_show() {
    let output = status("enforce", true).run(&["status", "--json"]);
    assert!(!out(&status("enforce", true).run(&["status"])).contains("others"));
    let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    answer["others"] = json!({"leases": 1, "limits": 20, "approvals_waiting": 3});
    let daemon = FakeDaemon::start(move |_| Ok(answer.clone()));
    let text = out(&daemon.run(&["status"]));
    let told = "others   1 leases, 20 limits and 3 requests for approval are not shown";
    assert!(text.contains(told), "{text}");
}

#[test]
fn status_begins_with_an_alarm_when_nothing_is_refused() {
    for (mode, ready, alarm) in [
        ("observe", true, "!! OBSERVE MODE"),
        ("policy-only", false, "!! POLICY ONLY"),
        ("enforce", false, "!! THE KERNEL SIDE IS NOT READY"),
    ] {
        let text = out(&status(mode, ready).run(&["status"]));
        assert!(text.starts_with(alarm), "{text}");
    }
}

#[test]
fn status_begins_with_what_is_disarmed_and_counts_it() {
    let disarmed = |vm: Value| {
        let mut one = json!({
            "by": {"uid": 0}, "by_pid": 812, "by_comm": "vmward", "reason": "ticket\n4711",
            "since": "T", "ends_in_ms": 60_000,
        });
        if !vm.is_null() {
            one["vm"] = vm;
            one["pid"] = json!(4711);
        }
        one
    };
    let shown = |one: Value| {
        let answer = status("enforce", true);
        let output = answer.run(&["status", "--json"]);
        let mut answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        answer["disarmed"] = json!([one]);
        answer["vms"][0]["protected"] = json!(false);
        let daemon = FakeDaemon::start(move |_| Ok(answer.clone()));
        out(&daemon.run(&["status"]))
    };
    let text = shown(disarmed(json!({"uuid": "u", "name": "web-1"})));
    let alarm = "!! DISARMED: web-1 (process 4711) is disarmed by uid 0 for 60 s: ticket\\n4711\n";
    assert!(text.starts_with(alarm), "{text}");
    assert!(
        text.contains("1 running, 0 protected, 1 DISARMED"),
        "{text}"
    );
    let text = shown(disarmed(Value::Null));
    assert!(text.starts_with("!! DISARMED: the whole host"), "{text}");
    assert!(text.contains("0 protected, ALL DISARMED"), "{text}");
}

#[test]
fn status_as_json_keeps_what_this_version_does_not_know() {
    let output = status("enforce", true).run(&["status", "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["from_the_future"], 1);
}

#[test]
fn no_daemon_ends_with_4_and_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vmward"))
        .args(["status", "--socket"])
        .arg(&socket)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let said = err(&output);
    assert!(said.starts_with("vmward: No vmwardd at "), "{said}");
    assert!(said.contains("systemctl start vmwardd"), "{said}");
}

#[test]
fn authorize_sends_tool_and_arguments_and_lets_the_parent_hold_the_lease() {
    let daemon = FakeDaemon::with_quota(1);
    let arguments = r#"{"identifier":"web-1"}"#;
    let output = daemon.run(&["authorize", "--tool", "vm_stop", "--args", arguments]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(
        out(&output).starts_with("allowed: vm_stop is allowed\n"),
        "{}",
        out(&output)
    );
    assert!(
        out(&output).contains("lease 1: stop of web-1 within 120 s"),
        "{}",
        out(&output)
    );
    let asked = json!({
        "tool": "vm_stop", "arguments": { "identifier": "web-1" }, "holder": "parent",
    });
    assert_eq!(daemon.asked(method::AUTHORIZE), [asked]);
}

#[test]
fn authorize_says_which_server_and_on_whose_behalf() {
    let daemon = FakeDaemon::with_quota(1);
    let question = ["authorize", "--tool", "vm_stop", "--server", "libvirt-mcp"];
    let output = daemon.run(&[&question[..], &["--agent", "night"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let asked = json!({"tool": "vm_stop", "server": "libvirt-mcp", "agent": "night",
        "holder": "parent"});
    assert_eq!(daemon.asked(method::AUTHORIZE), [asked]);
}

#[test]
fn a_denial_ends_with_3_and_says_how_long_to_wait() {
    let daemon = FakeDaemon::with_quota(0);
    let question = ["authorize", "--effect", "force-stop", "--vm", "web-1"];
    let output = daemon.run(&question);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        out(&output).contains("denied: vm_stop is limited to 10 a minute"),
        "{}",
        out(&output)
    );
    assert!(
        out(&output).contains("retry after 41 s"),
        "{}",
        out(&output)
    );
    let asked = json!({ "vm": "web-1", "effect": "force_stop", "holder": "parent" });
    assert_eq!(daemon.asked(method::AUTHORIZE), [asked]);
    let output = daemon.run(&[&question[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(3));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["reason_code"], "rate-limited");
}

#[test]
fn questions_that_make_no_sense_are_wrong_usage_and_never_asked() {
    let daemon = FakeDaemon::with_quota(9);
    for arguments in [
        &["authorize"][..],
        &["authorize", "--effect", "stop"],
        &["authorize", "--effect", "explode", "--vm", "web-1"],
        &[
            "authorize",
            "--tool",
            "vm_stop",
            "--effect",
            "stop",
            "--vm",
            "web-1",
        ],
        &["authorize", "--tool", "vm_stop", "--args", "[]"],
        &[
            "authorize",
            "--tool",
            "vm_stop",
            "--args",
            r#"{"a":1,"a":2}"#,
        ],
        &["run", "--vm", "web-1", "--effect", "stop", "--reason", "r"],
        &[
            "run", "--vm", "v", "--effect", "stop", "--reason", "", "--", "true",
        ],
    ] {
        let output = daemon.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            err(&output)
        );
    }
    assert_eq!(daemon.asked(method::AUTHORIZE), [] as [Value; 0]);
}

#[test]
fn options_that_contradict_each_other_are_wrong_usage() {
    for (arguments, why) in [
        (&["events", "--admin"][..], "is for the admin socket"),
        (&["audit", "verify"], "asks no daemon"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_vmward"))
            .args(arguments)
            .args(["--socket", "/nonexistent/policy.sock"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", err(&output));
        assert!(err(&output).contains(why), "{}", err(&output));
    }
}

fn run(daemon: &FakeDaemon, command: &[&str]) -> Output {
    let ask = [
        "run", "--vm", "web-1", "--effect", "stop", "--reason", "update", "--",
    ];
    daemon.run(&[&ask[..], command].concat())
}

#[test]
fn run_returns_the_status_of_the_command_reports_it_and_gives_the_lease_back() {
    let daemon = FakeDaemon::with_quota(9);
    let output = run(&daemon, &["sh", "-c", "echo from the command; exit 7"]);
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(out(&output), "from the command\n");
    let asked = json!({ "vm": "web-1", "effect": "stop", "reason": "update", "holder": "caller" });
    assert_eq!(daemon.asked(method::AUTHORIZE), [asked]);
    assert_eq!(daemon.asked(method::COMPLETE)[0]["outcome"], "failed");
    assert_eq!(daemon.asked(method::LEASE_RELEASE), [json!({ "lease": 1 })]);

    assert_eq!(run(&daemon, &["true"]).status.code(), Some(0));
    assert_eq!(daemon.asked(method::COMPLETE)[1]["outcome"], "unknown");
    assert_eq!(
        run(&daemon, &["sh", "-c", "kill -9 $$"]).status.code(),
        Some(137)
    );
}

#[test]
fn run_does_not_start_a_command_that_is_denied() {
    let daemon = FakeDaemon::start(|_| Ok(denied("default-deny", "nothing allows this")));
    let output = run(&daemon, &["echo", "started"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(out(&output), "");
    assert!(
        err(&output).contains("denied: nothing allows this"),
        "{}",
        err(&output)
    );
}

#[test]
fn run_reports_a_command_that_could_not_start_as_not_attempted() {
    let daemon = FakeDaemon::with_quota(1);
    // Only the kernel finds that the program's interpreter is missing.
    let program = daemon.folder.path().join("program");
    std::fs::write(&program, "#!/no/such/interpreter\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = run(&daemon, &[program.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(127));
    assert_eq!(
        daemon.asked(method::COMPLETE)[0]["outcome"],
        "not_attempted"
    );
    assert_eq!(daemon.asked(method::LEASE_RELEASE), [json!({ "lease": 1 })]);
}

/// An allow is charged: nobody pays for a typing error.
#[test]
fn run_asks_nothing_for_a_program_that_is_not_there() {
    let daemon = FakeDaemon::with_quota(1);
    let plain = daemon.folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    let plain = plain.to_str().unwrap();
    for (program, status, why) in [
        ("/no/such/command", 127, "there is no such file"),
        ("no-such-command", 127, "it is in no folder of PATH"),
        (plain, 126, "Permission denied"),
        ("/", 126, "it is no file"),
    ] {
        let output = run(&daemon, &[program]);
        assert_eq!(output.status.code(), Some(status), "{}", err(&output));
        let said = err(&output);
        assert!(
            said.contains(&format!("Failed to start {program}: {why}")),
            "{said}"
        );
        assert!(said.contains("vmwardd was not asked"), "{said}");
    }
    assert_eq!(daemon.asked(method::AUTHORIZE), [] as [Value; 0]);
}

#[test]
fn run_passes_a_termination_on_and_still_reports_the_outcome() {
    let daemon = FakeDaemon::start(|request| match request.method.as_str() {
        method::AUTHORIZE => Ok(allowed(1)),
        _ => Ok(json!({ "ok": true })),
    });
    // `sleep` in the background, so that the shell can take the signal.
    let script = "trap 'exit 9' TERM; sleep 60 & echo ready; wait";
    let mut command = daemon.command(&[
        "run", "--vm", "web-1", "--effect", "stop", "--reason", "r", "--", "sh", "-c", script,
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-s", "TERM", &pid])
        .status()
        .unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(daemon.asked(method::COMPLETE)[0]["outcome"], "failed");
    assert_eq!(daemon.asked(method::LEASE_RELEASE), [json!({ "lease": 1 })]);
}
