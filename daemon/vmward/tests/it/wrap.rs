//! `vmward wrap` before a real MCP server, a small one in Python.

use serde_json::{Value, json};
use vmward_wire::v1::method;

use crate::fake::{FakeDaemon, McpClient};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vm_stop_server.py");

pub(crate) fn start(daemon: &FakeDaemon) -> McpClient {
    let seen = daemon.folder.path().join("seen");
    let mut command = daemon.command(&["wrap", "--", "python3", SERVER]);
    command.arg(seen);
    McpClient::start(command)
}

/// The tool calls that reached the server.
pub(crate) fn reached(daemon: &FakeDaemon) -> Vec<Value> {
    let seen = std::fs::read_to_string(daemon.folder.path().join("seen")).unwrap();
    let messages = seen
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    messages
        .filter(|message| message["method"] == "tools/call")
        .collect()
}

#[test]
fn the_eleventh_call_is_answered_by_the_proxy_and_never_reaches_the_server() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    for id in 1..=10 {
        let result = client.call(id, "vm_stop", &json!({ "identifier": format!("web-{id}") }));
        assert_eq!(result["content"][0]["text"], format!("stopped web-{id}"));
    }
    let result = client.call(11, "vm_stop", &json!({ "identifier": "web-11" }));
    assert_eq!(result["isError"], true);
    assert_eq!(
        result["content"][0]["text"],
        "vmward denied vm_stop: vm_stop is limited to 10 a minute. Retry after 41 s."
    );
    let data = &result["structuredContent"];
    assert_eq!(data["decision"], "deny");
    assert_eq!(data["retry_after_ms"], 41_000);
    assert_eq!(data["rule"], "/tools/vm_stop/limits/0");
    assert_eq!(data["limits"][0]["max"], 10);
    assert_eq!(client.leave().0, Some(0));

    assert_eq!(reached(&daemon).len(), 10);
    let asked = daemon.asked(method::AUTHORIZE);
    assert_eq!(asked.len(), 11);
    assert_eq!(asked[10]["arguments"], json!({ "identifier": "web-11" }));
    assert_eq!(asked[10]["agent"], "test-agent");
    let reported = daemon.asked(method::COMPLETE);
    assert_eq!(reported.len(), 10);
    assert_eq!(reported[0]["outcome"], "unknown");
    assert_eq!(daemon.asked(method::LEASE_RELEASE).len(), 10);
}

#[test]
fn a_call_that_the_client_cancels_waits_no_more_and_its_late_answer_is_passed_on() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    let cancelled = |client: &mut McpClient, id: u64, identifier: &str| {
        let params = json!({ "name": "vm_stop", "arguments": { "identifier": identifier } });
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        client.send(&call.to_string());
        let params = json!({ "requestId": id, "reason": "no more" });
        let cancel =
            json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
        client.send(&cancel.to_string());
    };
    cancelled(&mut client, 1, "hangs");
    let again = client.call(1, "vm_stop", &json!({ "identifier": "web-1" }));
    assert_eq!(again["content"][0]["text"], "stopped web-1", "{again}");
    cancelled(&mut client, 2, "late");
    let late = client.receive();
    assert_eq!(late["id"], 2, "{late}");
    assert_eq!(late["result"]["content"][0]["text"], "stopped late");
    assert_eq!(client.leave().0, Some(0));

    let mut reported = daemon.asked(method::COMPLETE);
    // What comes of a cancel and of an answer is reported side by side.
    reported.sort_by_key(|report| report["decision_id"].as_u64());
    let details: Vec<_> = reported.iter().map(|report| &report["detail"]).collect();
    let of_the_cancelled = json!("the client cancelled the call");
    let of_the_answered = json!("the server answered that the tool succeeded");
    assert_eq!(
        details,
        [&of_the_cancelled, &of_the_answered, &of_the_cancelled]
    );
    assert_eq!(reported[0]["outcome"], "unknown");
    assert_eq!(daemon.asked(method::LEASE_RELEASE).len(), 3);
}

#[test]
fn without_a_daemon_every_call_is_denied_and_other_messages_pass() {
    let daemon = FakeDaemon::with_quota(10);
    let seen = daemon.folder.path().join("seen");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vmward"));
    let missing = daemon.folder.path().join("missing.sock");
    command
        .arg("--socket")
        .arg(missing)
        .args(["wrap", "--", "python3", SERVER])
        .arg(seen);
    let mut client = McpClient::start(command);
    let result = client.call(1, "vm_stop", &json!({ "identifier": "web-1" }));
    assert_eq!(result["isError"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("systemctl start vmwardd"), "{text}");
    assert_eq!(result["structuredContent"]["reason_code"], "unavailable");
    client.leave();
    assert_eq!(reached(&daemon), [] as [Value; 0]);
}

#[test]
fn the_proxy_ends_with_the_status_of_the_server_and_reports_the_open_call() {
    let daemon = FakeDaemon::with_quota(10);
    let mut client = start(&daemon);
    client.send(
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"exit","arguments":{}}}"#,
    );
    // The client stays: it is the server that ends.
    let status = client.child.wait().unwrap();
    assert_eq!(status.code(), Some(7));
    let reported = daemon.asked(method::COMPLETE);
    assert_eq!(reported[0]["detail"], "the server ended without an answer");
    assert_eq!(daemon.asked(method::LEASE_RELEASE).len(), 1);
}

#[test]
fn a_server_that_does_not_start_is_named() {
    let daemon = FakeDaemon::with_quota(10);
    let output = daemon.run(&["wrap", "--", "/no/such/server"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("Failed to start the server \"/no/such/server\""),
        "{said}"
    );
}
