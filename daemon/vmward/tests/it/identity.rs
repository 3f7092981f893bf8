//! Tokens and grants: how one is made, and how it reaches the daemon.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use vmward_core::grant::TokenHash;
use vmward_wire::v1::method;

use crate::fake::{FakeDaemon, McpClient};

const ASK: [&str; 3] = ["authorize", "--tool", "vm_stop"];

fn token_file(folder: &Path, text: &str, mode: u32) -> PathBuf {
    let path = folder.join("token");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_new_token_is_printed_alone_and_its_hash_is_what_the_lines_say() {
    let vmward = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_vmward"))
            .args(arguments)
            .output()
            .unwrap()
    };
    let made = vmward(&["token", "alice-laptop"]);
    assert_eq!(made.status.code(), Some(0));
    let token = text(&made.stdout);
    let hash = TokenHash::of(token.trim_end());
    let lines = format!("[[grants]]\nname = \"alice-laptop\"\ntoken-sha256 = \"{hash}\"\n");
    assert!(text(&made.stderr).contains(&lines), "{made:?}");

    let other: Value = serde_json::from_slice(&vmward(&["token", "x", "--json"]).stdout).unwrap();
    assert_ne!(other["token"], token.trim_end(), "each is new");
    let hash = TokenHash::of(other["token"].as_str().unwrap());
    assert_eq!(other["token_sha256"], hash.to_string());

    assert_eq!(vmward(&["token", "uid:0"]).status.code(), Some(2));
}

#[test]
fn grant_and_token_are_presented_by_authorize_run_and_mcp() {
    let daemon = FakeDaemon::with_quota(9);
    let file = token_file(daemon.folder.path(), "vmwt_12\n", 0o600);
    let presented = |daemon: &FakeDaemon| {
        let hello = daemon.asked(method::HELLO).pop().unwrap();
        (hello["grant"].clone(), hello["token"].clone())
    };
    let expected = (Value::from("ci"), Value::from("vmwt_12"));

    let mut flags = vec!["--grant", "ci", "--token-file", file.to_str().unwrap()];
    flags.extend(ASK);
    assert_eq!(daemon.run(&flags).status.code(), Some(0));
    assert_eq!(presented(&daemon), expected);

    let asked = daemon.asked(method::HELLO).len();
    let mut run = daemon.command(&["run", "--vm", "web-1", "--effect", "stop"]);
    run.args(["--reason", "test", "--", "true"])
        .env("VMWARD_GRANT", "ci")
        .env("VMWARD_TOKEN_FILE", &file);
    assert_eq!(run.output().unwrap().status.code(), Some(0));
    assert!(daemon.asked(method::HELLO).len() > asked);
    assert_eq!(presented(&daemon), expected);

    let mut mcp = daemon.command(&["mcp", "--virsh", "false"]);
    mcp.env("VMWARD_GRANT", "mcp")
        .env("VMWARD_TOKEN_FILE", &file);
    let mut client = McpClient::start(mcp);
    client.call(1, "vm_stop", &serde_json::json!({"identifier": "web-1"}));
    assert_eq!(presented(&daemon).0, "mcp");
    assert_eq!(client.leave().0, Some(0));
}

#[test]
fn a_token_that_others_may_read_is_not_sent() {
    let daemon = FakeDaemon::with_quota(9);
    for (content, mode, why) in [
        ("vmwt_12", 0o640, "chmod 600"),
        ("vmwt_12", 0o604, "mode 0604"),
        ("", 0o600, "must hold one token"),
        ("one two", 0o600, "must hold one token"),
    ] {
        let file = token_file(daemon.folder.path(), content, mode);
        let mut command = daemon.command(&ASK);
        command.env("VMWARD_TOKEN_FILE", &file);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{content:?} {mode:o}");
        let said = text(&output.stderr);
        assert!(said.contains(why), "{said}");
        assert!(!said.contains("vmwt_12"), "{said}");
    }
    assert_eq!(daemon.asked(method::HELLO).len(), 0);
}

#[test]
fn a_credential_that_systemd_handed_over_is_taken() {
    let daemon = FakeDaemon::with_quota(9);
    let file = token_file(daemon.folder.path(), "vmwt_12", 0o440);
    let mut command = daemon.command(&ASK);
    command
        .env("VMWARD_TOKEN_FILE", &file)
        .env("CREDENTIALS_DIRECTORY", daemon.folder.path());
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn status_asks_as_the_grant_whose_counters_it_shows() {
    let daemon = FakeDaemon::with_quota(9);
    let file = token_file(daemon.folder.path(), "vmwt_12\n", 0o600);
    let mut command = daemon.command(&["status", "--json", "--grant", "ci"]);
    command.env("VMWARD_TOKEN_FILE", &file);
    assert_eq!(command.output().unwrap().status.code(), Some(0));
    let hello = &daemon.asked(method::HELLO)[0];
    assert_eq!(
        (&hello["grant"], &hello["token"]),
        (&"ci".into(), &"vmwt_12".into())
    );
}

#[test]
fn status_asks_as_nobody_so_that_a_lost_token_does_not_hide_it() {
    let daemon = FakeDaemon::with_quota(9);
    let mut command = daemon.command(&["status", "--json"]);
    command.env("VMWARD_TOKEN_FILE", "/nonexistent/token");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert!(
        said.contains("Asked without grant and token: Failed to open"),
        "{said}"
    );
    assert_eq!(daemon.asked(method::STATUS).len(), 1);
    assert_eq!(daemon.asked(method::HELLO)[0].get("token"), None);
}
