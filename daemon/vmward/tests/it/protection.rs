//! `disarm`, `arm`, and what a person needs to restart the host.

use serde_json::{Value, json};
use vmward_wire::{
    rpc::{ErrorCode, ErrorObject},
    v1::method,
};

use crate::fake::{FakeDaemon, UUID, allowed};

fn disarmed(vm: Option<&str>) -> Value {
    let mut answer = json!({
        "by": {"uid": 0, "loginuid": 1000}, "by_pid": 812, "by_comm": "vmward",
        "reason": "ticket\n4711", "since": "2026-01-02T03:04:05.006Z",
    });
    if let Some(name) = vm {
        answer["vm"] = json!({"uuid": UUID, "name": name});
        answer["pid"] = json!(4711);
        answer["ends_in_ms"] = json!(600_000);
    }
    answer
}

fn daemon() -> FakeDaemon {
    FakeDaemon::start(|request| {
        let vm = request.params.get("vm").and_then(Value::as_str);
        match (request.method.as_str(), vm) {
            (_, Some("wbe-1")) => Err(ErrorObject::new(
                ErrorCode::NotFound,
                "there is no VM wbe-1 on this host",
            )),
            (method::DISARM, vm) => Ok(disarmed(vm)),
            (method::ARM, Some("quiet")) => Ok(json!({"armed": []})),
            (method::ARM, Some(vm)) => {
                Ok(json!({"armed": [disarmed(Some(vm))], "host": disarmed(None)}))
            }
            (method::ARM, None) => Ok(json!({"armed": [disarmed(None), disarmed(Some("web-1"))]})),
            (method::AUTHORIZE, _) => Ok(allowed(1)),
            _ => Ok(json!({"ok": true})),
        }
    })
}

#[track_caller]
fn check(daemon: &FakeDaemon, arguments: &[&str], code: i32, says: &str) {
    let output = daemon.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}{why}");
    assert!(format!("{said}{why}").contains(says), "{said}{why}");
}

#[test]
fn disarm_says_for_how_long_and_how_to_put_it_back() {
    let daemon = daemon();
    let one = [
        "disarm",
        "--vm",
        "web-1",
        "--for",
        "10m",
        "--reason",
        "ticket 4711",
    ];
    check(
        &daemon,
        &one,
        0,
        "web-1 (process 4711) is disarmed by uid 0 (logged in as uid 1000) for 600 s",
    );
    check(&daemon, &one, 0, "vmward arm --vm web-1");
    let all = ["disarm", "--all", "--reason", "ticket 4711"];
    check(&daemon, &all, 0, "the whole host is disarmed");
    check(&daemon, &all, 0, "until it is armed or started again");
    assert_eq!(
        daemon.asked(method::DISARM),
        [
            json!({"vm": "web-1", "reason": "ticket 4711", "for_ms": 600_000}),
            json!({"vm": "web-1", "reason": "ticket 4711", "for_ms": 600_000}),
            json!({"all": true, "reason": "ticket 4711"}),
            json!({"all": true, "reason": "ticket 4711"}),
        ]
    );
}

#[test]
fn arm_says_what_is_protected_again_and_what_still_is_not() {
    let daemon = daemon();
    check(
        &daemon,
        &["arm", "--all"],
        0,
        "the whole host is no longer disarmed\nweb-1 is no longer disarmed\n",
    );
    let one = ["arm", "--vm", "web-1", "--reason", "done"];
    check(&daemon, &one, 0, "web-1 is no longer disarmed\n");
    check(&daemon, &one, 0, "!! the whole host is disarmed by uid 0");
    check(
        &daemon,
        &["arm", "--vm", "quiet"],
        0,
        "nothing was disarmed\n",
    );
}

#[test]
fn a_missing_reason_target_or_daemon_and_an_unknown_vm_are_told() {
    let daemon = daemon();
    let reason = ["--reason", "why"];
    check(&daemon, &["disarm", "--all"], 2, "--reason <REASON>");
    check(
        &daemon,
        &[&["disarm"], &reason[..]].concat(),
        2,
        "<--vm <VM>|--all>",
    );
    let both = [&["disarm", "--all", "--vm", "web-1"], &reason[..]].concat();
    check(&daemon, &both, 2, "cannot be used with");
    let time = [&["disarm", "--all", "--for", "10"], &reason[..]].concat();
    check(&daemon, &time, 2, "such as 10m");
    check(&daemon, &["arm"], 2, "<--vm <VM>|--all>");
    let unknown = [&["disarm", "--vm", "wbe-1"], &reason[..]].concat();
    check(&daemon, &unknown, 1, "there is no VM wbe-1 on this host");
    check(
        &daemon,
        &["arm", "--vm", "wbe-1"],
        1,
        "there is no VM wbe-1",
    );
    std::fs::remove_file(daemon.socket()).unwrap();
    let all = [&["disarm", "--all"], &reason[..]].concat();
    check(&daemon, &all, 4, "fake.sock");
}

#[test]
fn a_command_that_restarts_the_host_runs_under_the_host_s_lease() {
    let daemon = daemon();
    let output = daemon.run(&["run", "--host", "--reason", "a new kernel", "--", "true"]);
    assert_eq!(output.status.code(), Some(0));
    let asked = daemon.asked(method::AUTHORIZE);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0]["effect"], "host_reboot");
    assert_eq!(asked[0]["vm"], Value::Null);
    assert_eq!(asked[0]["reason"], "a new kernel");
    let vm = [
        "run", "--host", "--vm", "web-1", "--reason", "x", "--", "true",
    ];
    check(&daemon, &vm, 2, "cannot be used with");
    let nothing = ["run", "--reason", "x", "--", "true"];
    check(&daemon, &nothing, 2, "--vm <VM>");
}
