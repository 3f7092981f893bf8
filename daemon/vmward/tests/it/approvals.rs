//! What people and agents see of calls that a person must approve, and of tools
//! that an agent should not see.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use vmward_wire::{
    rpc::{ErrorCode, ErrorObject},
    v1::method,
};

use crate::fake::{FakeDaemon, McpClient, UUID, allowed};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vm_stop_server.py");

fn approval(state: &str) -> Value {
    json!({
        "id": 7, "state": state, "grant": "uid:1000", "requester": {"uid": 1000},
        "tool": "vm_stop", "effect": "stop", "vm": {"uuid": UUID, "name": "web-1"},
        "arguments": "{\"identifier\":\"web-1\"}", "args_digest": "aa", "reason": "patching",
        "rule": "/tools/vm_stop", "policy_hash": "ff", "opened": "2026-01-02T03:04:05.006Z",
        "expires_in_ms": 60_000,
    })
}

fn pending() -> Value {
    json!({
        "decision": "pending", "decision_id": 7, "reason_code": "approval-required",
        "message": "vm_stop of web-1 waits for a person's approval", "rule": "/tools/vm_stop",
        "limits": [], "approval": {"id": 7, "expires_in_ms": 60_000},
        "args_digest": "", "policy_hash": "",
    })
}

/// Somebody says yes as soon as anybody waits for it.
fn daemon() -> FakeDaemon {
    let approved = AtomicBool::new(false);
    FakeDaemon::start(move |request| match request.method.as_str() {
        method::AUTHORIZE if approved.load(Ordering::SeqCst) => Ok(allowed(8)),
        method::AUTHORIZE => Ok(pending()),
        method::APPROVAL_WAIT => {
            approved.store(true, Ordering::SeqCst);
            Ok(json!({"state": "approved", "expires_in_ms": 1000}))
        }
        method::APPROVAL_LIST => Ok(json!({"approvals": [approval("pending")]})),
        method::APPROVAL_SHOW => Ok(approval("pending")),
        method::APPROVAL_APPROVE => Ok(approval("approved")),
        method::APPROVAL_DENY => Err(ErrorObject::new(
            ErrorCode::Settled,
            "request 7 is used already; a request is decided once",
        )),
        method::TOOLS_FILTER => Ok(json!({"visible": [], "hidden": [], "policy_hash": ""})),
        _ => Ok(json!({"ok": true})),
    })
}

fn out(daemon: &FakeDaemon, arguments: &[&str]) -> (Option<i32>, String) {
    let output = daemon.run(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said + &why)
}

#[test]
fn a_person_lists_shows_and_decides() {
    let daemon = daemon();
    let (code, list) = out(&daemon, &["approvals", "list"]);
    assert_eq!(code, Some(0), "{list}");
    assert!(list.contains("7        pending  web-1  vm_stop"), "{list}");
    let (_, shown) = out(&daemon, &["approvals", "show", "7"]);
    assert!(shown.contains(UUID), "{shown}");
    let (code, yes) = out(&daemon, &["approvals", "approve", "7", "--note", "go"]);
    assert_eq!(code, Some(0), "{yes}");
    assert!(yes.contains("request   7, approved"), "{yes}");
    let sent = daemon.asked(method::APPROVAL_APPROVE);
    assert_eq!(sent, [json!({"approval": 7, "note": "go"})]);
    let (code, late) = out(&daemon, &["approvals", "deny", "7"]);
    assert_eq!(code, Some(1), "{late}");
    assert!(late.contains("decided once"), "{late}");
}

#[test]
fn authorize_says_what_to_do_and_waits_when_it_is_told_to() {
    let daemon = daemon();
    let ask = ["authorize", "--tool", "vm_stop", "--vm", "web-1"];
    let (code, said) = out(&daemon, &ask);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.starts_with("pending: "), "{said}");
    assert!(said.contains("vmward approvals approve 7"), "{said}");
    let (code, said) = out(&daemon, &[&ask[..], &["--wait", "30"]].concat());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("allowed: "), "{said}");
}

#[test]
fn a_wait_that_is_longer_than_the_clock_can_tell_is_a_wait() {
    let daemon = daemon();
    let for_ever = u64::MAX.to_string();
    let ask = ["authorize", "--tool", "vm_stop", "--wait", &for_ever];
    let (code, said) = out(&daemon, &ask);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn run_waits_for_the_person_before_it_starts_the_command() {
    let daemon = daemon();
    let run = ["run", "--vm", "web-1", "--effect", "stop", "--reason", "x"];
    let (code, said) = out(&daemon, &[&run[..], &["--", "echo", "ran"]].concat());
    assert_eq!(code, Some(3), "{said}");
    assert!(!said.contains("ran\n"), "{said}");
    let (code, said) = out(
        &daemon,
        &[&run[..], &["--wait", "30", "--", "echo", "ran"]].concat(),
    );
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ran\n"), "{said}");
}

fn wrap(daemon: &FakeDaemon, options: &[&str]) -> McpClient {
    let mut command = daemon.command(&["wrap"]);
    command.args(options).args(["--", "python3", SERVER]);
    command.arg(daemon.folder.path().join("seen"));
    McpClient::start(command)
}

#[test]
fn an_agent_is_told_to_call_again_and_a_held_call_goes_through() {
    let daemon = daemon();
    let mut client = wrap(&daemon, &[]);
    let result = client.call(1, "vm_stop", &json!({"identifier": "web-1"}));
    assert_eq!(result["isError"], true, "{result}");
    let approval = &result["structuredContent"]["approval"];
    assert_eq!(approval, &json!({"id": 7, "expires_in_ms": 60_000}));
    client.leave();
    let mut client = wrap(&daemon, &["--approval-wait", "30"]);
    let result = client.call(1, "vm_stop", &json!({"identifier": "web-1"}));
    assert_eq!(result["content"][0]["text"], "stopped web-1");
    client.leave();
    let asked = daemon.asked(method::AUTHORIZE);
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0]["server"], "vm-stop-test-server", "by its own name");
}

fn tools(client: &mut McpClient) -> Value {
    let list = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/list"});
    client.ask(&list)["result"]["tools"].clone()
}

#[test]
fn a_hidden_tool_is_not_in_the_list_and_a_failing_filter_leaves_the_list_alone() {
    let daemon = daemon();
    let mut client = wrap(&daemon, &["--server-name", "mine"]);
    assert_eq!(tools(&mut client), json!([]));
    client.leave();
    let sent = daemon.asked(method::TOOLS_FILTER);
    assert_eq!(sent, [json!({"tools": ["vm_stop"], "server": "mine"})]);

    let broken = FakeDaemon::with_quota(1);
    let mut client = wrap(&broken, &[]);
    assert_eq!(tools(&mut client)[0]["name"], "vm_stop");
    client.leave();
}

#[test]
fn lists_that_were_cancelled_keep_no_later_one_from_being_filtered() {
    let daemon = daemon();
    let mut client = wrap(&daemon, &[]);
    // More than the proxy remembers of what waits for an answer.
    for id in 100..1200 {
        let more = json!({"jsonrpc": "2.0", "id": id, "method": "tools/list",
            "params": {"cursor": "2"}});
        client.send(&more.to_string());
        let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
            "params": {"requestId": id}});
        client.send(&cancel.to_string());
    }
    assert_eq!(tools(&mut client), json!([]));
    client.leave();
}
