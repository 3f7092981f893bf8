//! Requests for approval, from the call that opens one to the call that uses
//! it. The one who asks must be another user than the one who approves, so most
//! of this needs root.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::{Value, json};
use vmward_wire::v1::ReasonCode;

use crate::harness::{Daemon, Options, wait_until};
use crate::journal::lines_of;

/// Asks approval of every stop; `vm_pause` is denied, `vm_reset` is for agents
/// that can wait a second.
const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {
        "vm_stop": {
            "action": "require_approval", "reason": "production",
            "limits": [{"counter": "stops", "window": "hour", "max": 3, "scope": "grant"}]
        },
        "vm_reset": {"action": "require_approval", "approval_timeout": 1}
    }
}"#;
/// Somebody else than whoever runs the tests.
const AGENT: u32 = 1000;
/// One question, asked by whoever runs it.
const CLIENT: &str = "
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
lines = sock.makefile('rw')
print(sys.argv[2], file=lines, flush=True)
print(lines.readline(), end='')
";

const NOT_FOUND: i32 = -32005;
const NOT_YOURS: i32 = -32006;
const ADMIN_ONLY: i32 = -32007;
const SETTLED: i32 = -32008;

/// `None`, with a note, where the tests cannot become somebody else.
pub(crate) fn daemon(more: &str) -> Option<Daemon> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: asking as another user takes root");
        return None;
    }
    let daemon = Daemon::start(&Options {
        libvirt_uri: "none",
        more: more.to_owned(),
    });
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(daemon.dir(), open).unwrap();
    let before = daemon.status().policy.hash;
    daemon.write_policy(POLICY);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the policy is in force", || {
        daemon.status().policy.hash != before
    });
    Some(daemon)
}

/// Asks as another user, through the policy socket.
#[track_caller]
pub(crate) fn ask_as(uid: u32, socket: &Path, method: &str, params: &Value) -> Value {
    let answer = try_ask_as(uid, socket, method, params);
    answer.unwrap_or_else(|why| panic!("{why}"))
}

/// The same, where there may be no answer.
fn try_ask_as(uid: u32, socket: &Path, method: &str, params: &Value) -> Result<Value, String> {
    let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let output = Command::new("setpriv")
        .args([&format!("--reuid={uid}"), "--clear-groups", "--"])
        // The system's own: another may lie where nobody else gets in.
        .args(["/usr/bin/python3", "-c", CLIENT])
        .arg(socket)
        .arg(request.to_string())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let answer = serde_json::from_slice(&output.stdout);
    answer.map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

fn call(tool: &str, vm: &str) -> Value {
    json!({"tool": tool, "arguments": {"identifier": vm}, "reason": "patching", "agent": "tester"})
}

#[track_caller]
pub(crate) fn authorize(daemon: &Daemon, tool: &str, vm: &str) -> Value {
    let answer = ask_as(AGENT, &daemon.socket(), "authorize", &call(tool, vm));
    assert_eq!(answer["error"], Value::Null, "{answer}");
    answer["result"].clone()
}

/// Asks as the administrator.
#[track_caller]
pub(crate) fn admin(daemon: &Daemon, method: &str, params: &Value) -> Value {
    Daemon::call_at(&daemon.admin_socket(), method, params)
}

/// Has a stop approved, after which the daemon dies at a step of its allow. Returns the
/// request's number.
#[cfg(feature = "crash-points")]
pub(crate) fn dies_with_an_approved_call(daemon: &mut Daemon, step: &str) -> u64 {
    let id = pending(daemon, "web-1");
    let approved = admin(daemon, "approval.approve", &json!({"approval": id}));
    assert_eq!(approved["result"]["state"], "approved", "{approved}");
    daemon.kill();
    daemon.restart_with(&[("VMWARD_CRASH_AT", step)]);
    let asked = call("vm_stop", "web-1");
    // It may have been answered by then.
    drop(try_ask_as(AGENT, &daemon.socket(), "authorize", &asked));
    assert_eq!(daemon.wait_exit(), None, "{step}: ended by a signal");
    id
}

#[track_caller]
pub(crate) fn pending(daemon: &Daemon, vm: &str) -> u64 {
    let answer = authorize(daemon, "vm_stop", vm);
    assert_eq!(answer["decision"], "pending", "{answer}");
    answer["approval"]["id"].as_u64().unwrap()
}

#[test]
fn an_approved_call_is_allowed_once_and_the_whole_way_is_on_record() {
    let Some(mut daemon) = daemon("") else { return };
    let first = authorize(&daemon, "vm_stop", "web-1");
    assert_eq!(first["decision"], "pending", "{first}");
    assert_eq!(first["reason_code"], "approval-required");
    let message = first["message"].as_str().unwrap();
    assert!(message.contains("production"), "{message}");
    let id = first["approval"]["id"].as_u64().unwrap();
    assert_eq!(
        pending(&daemon, "web-1"),
        id,
        "the same call, the same request"
    );
    assert_eq!(daemon.status().approvals_waiting, Some(1));

    let list = admin(&daemon, "approval.list", &json!({}));
    let shown = &list["result"]["approvals"][0];
    assert_eq!(shown["id"], id, "{list}");
    assert_eq!(shown["arguments"], r#"{"identifier":"web-1"}"#);
    assert_eq!(shown["vm"]["name"], "web-1");
    assert_eq!(shown["reason"], "patching");
    assert_eq!(shown["requester"]["uid"], AGENT);

    // A person's yes, and what it led to, outlive the daemon.
    daemon.kill();
    daemon.restart();
    let about = json!({"approval": id, "note": "go ahead"});
    let approved = admin(&daemon, "approval.approve", &about);
    assert_eq!(approved["result"]["state"], "approved", "{approved}");
    assert_eq!(approved["result"]["decided_by"]["uid"], 0);
    let again = admin(&daemon, "approval.approve", &about);
    assert_eq!(again["error"]["code"], SETTLED, "{again}");
    daemon.kill();
    daemon.restart();

    let other = authorize(&daemon, "vm_stop", "web-2");
    assert_eq!(other["decision"], "pending", "another VM: {other}");
    let allowed = authorize(&daemon, "vm_stop", "web-1");
    assert_eq!(allowed["decision"], "allow", "{allowed}");
    assert_eq!(allowed["limits"][0]["remaining"], 2);
    let used = pending(&daemon, "web-1");
    assert_ne!(used, id, "a yes is for one call");

    let mut events = daemon.audit();
    events.retain(|record| record["kind"] == "approval" && record["approval"] == id);
    let events: Vec<&Value> = events.iter().map(|record| &record["event"]).collect();
    assert_eq!(events, ["opened", "approved", "used"]);
    daemon.verify_audit();
}

#[test]
fn a_denied_call_stays_denied_and_the_reason_reaches_the_agent() {
    let Some(daemon) = daemon("") else { return };
    let id = pending(&daemon, "web-1");
    let denied = admin(
        &daemon,
        "approval.deny",
        &json!({"approval": id, "note": "not before the backup"}),
    );
    assert_eq!(denied["result"]["state"], "denied", "{denied}");
    let answer = authorize(&daemon, "vm_stop", "web-1");
    assert_eq!(answer["decision"], "deny", "{answer}");
    assert_eq!(answer["reason_code"], "approval-denied");
    let params = json!({"approval": id});
    let waited = ask_as(AGENT, &daemon.socket(), "approval.wait", &params);
    assert_eq!(waited["result"]["state"], "denied", "{waited}");
    assert_eq!(waited["result"]["note"], "not before the backup");
}

/// What the audit log says last of a request, and by which methods it came to that.
type Said = (&'static str, &'static [&'static str]);

const SAID: [Said; 4] = [
    ("opened", &[]),
    ("denied", &["approval.deny"]),
    ("approved", &["approval.approve"]),
    ("denied", &["approval.approve", "approval.deny"]),
];

#[test]
fn what_a_person_said_and_a_cut_journal_lost_is_noticed_at_the_start() {
    let Some(mut daemon) = daemon("") else { return };
    let journal = daemon.dir().join("state/journal.jsonl");
    for (state, methods) in SAID {
        let id = pending(&daemon, "web-1");
        for method in methods {
            let said = admin(&daemon, method, &json!({"approval": id}));
            assert_eq!(said["error"], Value::Null, "{said}");
        }
        // As it is, it is good, whatever way the daemon ended.
        daemon.kill();
        daemon.restart();
        let degraded = daemon.status().degraded;
        assert!(!degraded.concat().contains("journal"), "{degraded:?}");
        daemon.kill();
        let lines = lines_of(&journal);
        // The last line that is about the request, and the start's behind it.
        let kept = lines.rfind(r#""t":"approval""#).unwrap();
        let kept = lines.get(..kept).unwrap().rfind('\n').unwrap();
        std::fs::write(&journal, lines.get(..=kept).unwrap()).unwrap();
        daemon.restart();
        let answer = authorize(&daemon, "vm_stop", "web-1");
        assert_eq!(answer["reason_code"], "unavailable", "{state}: {answer}");
        let message = answer["message"].as_str().unwrap();
        for said in [&format!("request {id} "), state, "--new-journal"] {
            assert!(message.contains(said), "{message}");
        }
        daemon.terminate();
        let anew = daemon.run_another(&["--new-journal"]);
        assert!(anew.status.success(), "{anew:?}");
        daemon.restart();
    }
    assert_eq!(
        authorize(&daemon, "vm_stop", "web-1")["decision"],
        "pending"
    );
}

#[test]
fn a_wait_ends_with_the_decision_and_is_only_for_the_grant_that_asked() {
    let Some(daemon) = daemon("") else { return };
    let id = pending(&daemon, "web-1");
    let wait = |timeout_ms: u64| json!({"approval": id, "timeout_ms": timeout_ms});
    let soon = ask_as(AGENT, &daemon.socket(), "approval.wait", &wait(1));
    assert_eq!(soon["result"]["state"], "pending", "{soon}");
    for (uid, params, code) in [
        (AGENT + 1, wait(1), NOT_YOURS),
        (AGENT, json!({"approval": id + 100}), NOT_FOUND),
        (AGENT, wait(50_001), -32602),
    ] {
        let refused = ask_as(uid, &daemon.socket(), "approval.wait", &params);
        assert_eq!(refused["error"]["code"], code, "{refused}");
    }
    let decided = thread::scope(|scope| {
        let waiting =
            scope.spawn(|| ask_as(AGENT, &daemon.socket(), "approval.wait", &wait(30_000)));
        let about = json!({"approval": id});
        let approved = admin(&daemon, "approval.approve", &about);
        assert_eq!(approved["result"]["state"], "approved", "{approved}");
        waiting.join().unwrap()
    });
    assert_eq!(decided["result"]["state"], "approved", "{decided}");
}

#[test]
fn nobody_waits_longer_than_the_request_lives_or_the_daemon() {
    let Some(mut daemon) = daemon("") else { return };
    let opened = authorize(&daemon, "vm_reset", "web-1");
    let id = opened["approval"]["id"].as_u64().unwrap();
    let params = json!({"approval": id, "timeout_ms": 30_000});
    let lapsed = ask_as(AGENT, &daemon.socket(), "approval.wait", &params);
    assert_eq!(lapsed["result"]["state"], "expired", "{lapsed}");
    let late = admin(&daemon, "approval.approve", &json!({"approval": id}));
    assert_eq!(late["error"]["code"], NOT_FOUND, "{late}");
    let mut events = daemon.audit();
    events.retain(|record| record["event"] == "expired");
    assert_eq!(events.len(), 1, "{events:?}");

    let id = pending(&daemon, "web-1");
    let socket = daemon.socket();
    let params = json!({"approval": id, "timeout_ms": 50_000});
    let waiting = thread::spawn(move || ask_as(AGENT, &socket, "approval.wait", &params));
    assert_eq!(daemon.terminate(), Some(0), "{}", daemon.log());
    // It may have come too late to be heard at all; what it must not is hang.
    drop(waiting.join());
}

#[test]
fn root_without_a_login_asks_for_nothing_and_the_policy_socket_decides_nothing() {
    let Some(daemon) = daemon("") else { return };
    let id = pending(&daemon, "web-1");
    for method in [
        "approval.list",
        "approval.show",
        "approval.approve",
        "approval.deny",
    ] {
        let refused = daemon.call_raw(method, &json!({"approval": id}));
        assert_eq!(refused["error"]["code"], ADMIN_ONLY, "{refused}");
    }
    assert_eq!(daemon.status().counters["admin-methods-refused"], 4);
    let own = daemon.authorize(&json!({"tool": "vm_stop", "arguments": {"identifier": "db-1"}}));
    // Everybody who approves is root, too, and could be the one who asks.
    assert_eq!(own.reason_code, ReasonCode::ApprovalRequired, "{own:?}");
    assert!(own.message.contains("a user of its own"), "{own:?}");
    assert!(own.approval.is_none(), "{own:?}");
}

#[test]
fn who_could_not_be_told_from_who_approves_joins_no_request_of_a_shared_grant() {
    let more = "[[grants]]\nname = \"all\"\ngroup = \"root\"\n";
    let Some(mut daemon) = daemon(more) else {
        return;
    };
    let id = pending(&daemon, "web-1");
    let joined = daemon.authorize(&call("vm_stop", "web-1"));
    assert_eq!(
        joined.reason_code,
        ReasonCode::ApprovalRequired,
        "{joined:?}"
    );
    assert!(joined.approval.is_none(), "{joined:?}");
    daemon.kill();
    daemon.restart();
    let approved = admin(&daemon, "approval.approve", &json!({"approval": id}));
    assert_eq!(approved["result"]["state"], "approved", "{approved}");
    assert_eq!(approved["result"]["also_asked"], Value::Null, "{approved}");
}

#[test]
fn a_grant_has_few_requests_open_and_people_are_told_of_each() {
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("told");
    let program = dir.path().join("tell");
    std::fs::write(&program, "#!/bin/sh\ncat >>\"$1\"\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let more = format!("[approvals]\nper-grant = 2\nnotify = [{program:?}, {told:?}]\n");
    let Some(daemon) = daemon(&more) else { return };
    let ids = [pending(&daemon, "web-1"), pending(&daemon, "web-2")];
    let third = authorize(&daemon, "vm_stop", "web-3");
    assert_eq!(third["reason_code"], "too-many-approvals", "{third}");
    let lines = || std::fs::read_to_string(&told).unwrap_or_default();
    wait_until("both were told", || lines().lines().count() == 2);
    for (line, id) in lines().lines().zip(ids) {
        let approval: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&approval["id"], &approval["state"]),
            (&json!(id), &json!("pending"))
        );
    }
}

#[test]
fn a_grant_that_may_ask_less_often_is_told_its_own_number() {
    let careful = AGENT + 1;
    let more = format!("[[grants]]\nname = \"careful\"\nuid = {careful}\napprovals-max = 1\n");
    let Some(daemon) = daemon(&more) else { return };
    let ask = |vm| {
        let call = json!({"tool": "vm_stop", "arguments": {"identifier": vm}});
        ask_as(careful, &daemon.socket(), "authorize", &call)["result"].clone()
    };
    assert_eq!(ask("web-1")["decision"], "pending");
    let second = ask("web-2");
    assert_eq!(second["reason_code"], "too-many-approvals", "{second}");
    let message = second["message"].as_str().unwrap();
    assert!(
        message.starts_with("careful has 1 request for approval waiting"),
        "{message}"
    );
    assert_eq!(
        authorize(&daemon, "vm_stop", "web-1")["decision"],
        "pending"
    );
    assert_eq!(
        authorize(&daemon, "vm_stop", "web-2")["decision"],
        "pending"
    );
}
