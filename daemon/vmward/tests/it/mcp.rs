//! `vmward mcp` with a stand-in for virsh, whose one VM is a file.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use serde_json::{Value, json};
use vmward_wire::{
    rpc::{ErrorCode, ErrorObject},
    v1::method,
};

use crate::fake::{FakeDaemon, McpClient, UUID, denied};

const VIRSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/fake_virsh.sh");

fn start(daemon: &FakeDaemon, state: &str, stop_timeout: &str) -> McpClient {
    let virsh = daemon.folder.path().join("virsh");
    fs::copy(VIRSH, &virsh).unwrap();
    fs::set_permissions(&virsh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(daemon.folder.path().join("state"), state).unwrap();
    let mut command = daemon.command(&[
        "mcp",
        "--connect",
        "test:///fake",
        "--stop-timeout",
        stop_timeout,
    ]);
    command.arg("--virsh").arg(virsh);
    McpClient::start(command)
}

/// The commands that reached libvirt, queries aside.
fn commands(daemon: &FakeDaemon) -> Vec<String> {
    let path: PathBuf = daemon.folder.path().join("commands");
    let text = fs::read_to_string(path).unwrap_or_default();
    let changes = |line: &&str| !line.starts_with("dom") && !line.starts_with("list");
    text.lines().filter(changes).map(str::to_owned).collect()
}

fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap()
}

fn web() -> Value {
    json!({ "identifier": "web-1" })
}

#[track_caller]
fn assert_listed(daemon: &FakeDaemon, expected: &[&str]) {
    let mut client = start(daemon, "running", "30");
    let list = client.ask(&json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
    let tools = list["result"]["tools"].as_array().unwrap();
    let names = tools
        .iter()
        .map(|tool| tool["name"].as_str().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(names, expected);
    assert_eq!(client.leave().0, Some(0));
}

#[test]
fn the_tools_that_the_policy_shows_are_listed() {
    let daemon = FakeDaemon::start(|_request| {
        Ok(json!({ "visible": ["vm_list", "vm_stop"], "hidden": [], "policy_hash": "" }))
    });
    assert_listed(&daemon, &["vm_list", "vm_stop"]);
    assert_eq!(
        daemon.asked(method::TOOLS_FILTER),
        [json!({ "tools": ["vm_list", "vm_start", "vm_stop"], "server": "vmward" })]
    );
}

#[test]
fn every_tool_is_listed_where_the_policy_cannot_be_asked() {
    let daemon =
        FakeDaemon::start(|_request| Err(ErrorObject::new(ErrorCode::Unavailable, "starting")));
    assert_listed(&daemon, &["vm_list", "vm_start", "vm_stop"]);
}

#[test]
fn a_stop_is_reported_when_the_vm_was_seen_to_stop() {
    let daemon = FakeDaemon::with_quota(1);
    let mut client = start(&daemon, "running", "30");
    let result = client.call(1, "vm_stop", &web());
    assert!(
        text(&result).starts_with("web-1: stopped after "),
        "{result}"
    );
    assert_ne!(result["isError"], true);
    let data = &result["structuredContent"];
    assert_eq!(
        (&data["sent"], &data["stopped"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(data["state"], "shut off");
    assert_eq!(commands(&daemon), [format!("shutdown --domain {UUID}")]);
    assert_eq!(daemon.asked(method::AUTHORIZE)[0]["agent"], "test-agent");
    assert_eq!(daemon.asked(method::AUTHORIZE)[0]["holder"], "caller");
    assert_eq!(daemon.asked(method::COMPLETE)[0]["outcome"], "stopped");
    client.leave();
}

#[test]
fn a_denied_stop_does_not_touch_libvirt() {
    let daemon = FakeDaemon::with_quota(0);
    let mut client = start(&daemon, "running", "30");
    let result = client.call(1, "vm_stop", &web());
    assert_eq!(result["isError"], true);
    assert!(text(&result).ends_with("Retry after 41 s."), "{result}");
    assert_eq!(result["structuredContent"]["reason_code"], "rate-limited");
    assert!(!daemon.folder.path().join("commands").exists());
    client.leave();
}

#[test]
fn a_guest_that_ignores_the_shutdown_is_reported_as_still_running() {
    let daemon = FakeDaemon::with_quota(1);
    fs::write(daemon.folder.path().join("stubborn"), "").unwrap();
    let mut client = start(&daemon, "running", "1");
    let result = client.call(1, "vm_stop", &web());
    assert_eq!(result["isError"], true);
    assert!(
        text(&result).starts_with("web-1: shutdown was sent, still running after "),
        "{result}"
    );
    assert_eq!(result["structuredContent"]["stopped"], false);
    assert_eq!(
        daemon.asked(method::COMPLETE)[0]["outcome"],
        "still_running"
    );
    // The guest may be on its way down, so the lease stays until its deadline.
    assert_eq!(daemon.asked(method::LEASE_RELEASE), [] as [Value; 0]);
    client.leave();
}

#[test]
fn a_forced_stop_that_the_host_refuses_is_reported_with_its_reason() {
    let daemon = FakeDaemon::with_quota(2);
    fs::write(daemon.folder.path().join("refused"), "").unwrap();
    let mut client = start(&daemon, "running", "30");
    let force = json!({ "identifier": "web-1", "force": true });
    let result = client.call(1, "vm_stop", &force);
    assert!(
        text(&result).starts_with("web-1: not stopped, it is running: "),
        "{result}"
    );
    assert!(
        text(&result).contains("Operation not permitted"),
        "{result}"
    );
    assert_eq!(daemon.asked(method::COMPLETE)[0]["outcome"], "failed");
    fs::remove_file(daemon.folder.path().join("refused")).unwrap();
    let result = client.call(2, "vm_stop", &force);
    assert!(text(&result).contains("(virsh destroy)"), "{result}");
    client.leave();
}

#[test]
fn a_transient_vm_that_is_gone_has_stopped() {
    let daemon = FakeDaemon::with_quota(1);
    fs::write(daemon.folder.path().join("transient"), "").unwrap();
    let mut client = start(&daemon, "running", "30");
    let result = client.call(
        1,
        "vm_stop",
        &json!({ "identifier": "web-1", "force": true }),
    );
    assert!(
        text(&result).starts_with("web-1: stopped after "),
        "{result}"
    );
    client.leave();
}

#[test]
fn a_vm_that_is_off_already_is_said_to_be_off() {
    let daemon = FakeDaemon::start(|_| Ok(denied("vm-not-running", "web-1 is not running")));
    let mut client = start(&daemon, "shut off", "30");
    let result = client.call(1, "vm_stop", &web());
    assert_eq!(text(&result), "web-1: already stopped, no quota was used");
    assert_ne!(result["isError"], true);
    // Where libvirt disagrees with the daemon, the denial stands.
    fs::write(daemon.folder.path().join("state"), "running").unwrap();
    let result = client.call(2, "vm_stop", &web());
    assert_eq!(
        text(&result),
        "vmward denied vm_stop: web-1 is not running."
    );
    assert_eq!(commands(&daemon), [] as [String; 0]);
    client.leave();
}

#[test]
fn listing_and_starting_ask_the_policy_too() {
    let daemon = FakeDaemon::with_quota(2);
    let mut client = start(&daemon, "shut off", "30");
    let result = client.call(1, "vm_list", &json!({}));
    assert_eq!(text(&result), format!("web-1 (shut off) {UUID}"));
    let result = client.call(2, "vm_start", &web());
    assert_eq!(text(&result), "web-1: running");
    let result = client.call(3, "vm_list", &json!({}));
    assert_eq!(result["isError"], true);
    client.leave();
}

#[test]
fn arguments_that_virsh_could_misread_are_refused_without_asking() {
    let daemon = FakeDaemon::with_quota(9);
    let mut client = start(&daemon, "running", "30");
    for (id, identifier) in [(1, "--all"), (2, ""), (3, "web\n1")] {
        let result = client.call(id, "vm_stop", &json!({ "identifier": identifier }));
        assert_eq!(result["isError"], true);
        assert!(
            text(&result).starts_with("vm_stop was not called: the identifier"),
            "{result}"
        );
    }
    assert_eq!(daemon.asked(method::AUTHORIZE), [] as [Value; 0]);
    client.leave();
}
