//! Questions that change nothing, and the clients that `PROTOCOL.md` shows.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use vmward_wire::v1::Decision;

use crate::harness::{Daemon, Options, wait_until};

const PROTOCOL: &str = include_str!("../../../vmward-wire/PROTOCOL.md");
const POLICY: &str = r#"{
    "version": "1", "default": "deny", "hide": ["vm_terminate"],
    "tools": {
        "vm_stop": {
            "limits": [{"counter": "stops", "window": "hour", "max": 2, "scope": "grant"}]
        },
        "vm_reboot": {"action": "deny"},
        "vm_pause": {"require": [{"path": "args.sure", "op": "eq", "value": true}]},
        "vm_reset": {"require_reason": true, "mode": "shadow"},
        "vm_save": {"require_reason": true}
    },
    "effects": {"reset": {"action": "allow"}}
}"#;

fn daemon() -> Daemon {
    let daemon = Daemon::start(&Options {
        libvirt_uri: "none",
        ..Options::default()
    });
    let before = daemon.status().policy.hash;
    daemon.write_policy(POLICY);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the policy is in force", || {
        daemon.status().policy.hash != before
    });
    daemon
}

#[test]
fn an_agent_sees_the_tools_that_it_may_call_at_all() {
    let daemon = daemon();
    let answer = daemon.call_raw(
        "tools.filter",
        &json!({
            "tools": ["vm_stop", "vm_terminate", "vm_reboot", "vm_pause", "vm_list"],
            "server": "libvirt-mcp"
        }),
    );
    let result = &answer["result"];
    assert_eq!(
        result["visible"],
        json!(["vm_stop", "vm_pause"]),
        "{answer}"
    );
    let hidden =
        |tool, reason_code, rule| json!({"tool": tool, "reason_code": reason_code, "rule": rule});
    assert_eq!(
        result["hidden"],
        json!([
            hidden("vm_terminate", "hidden", "/hide"),
            hidden("vm_reboot", "rule-denied", "/tools/vm_reboot"),
            hidden("vm_list", "default-deny", "/default"),
        ])
    );
    assert_eq!(result["policy_hash"], daemon.status().policy.hash);
    let many = json!({"tools": vec!["x"; 1001]});
    let refused = daemon.call_raw("tools.filter", &many);
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[test]
fn explain_says_what_authorize_then_says_and_charges_nothing() {
    let daemon = daemon();
    let call = |tool: &str, more: Value| {
        let mut arguments = json!({"identifier": "web-1"});
        arguments
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"tool": tool, "arguments": arguments})
    };
    let calls = [
        call("vm_stop", json!({})),
        call("vm_stop", json!({"force": true})),
        call("vm_stop", json!({})),
        call("vm_reboot", json!({})),
        call("vm_terminate", json!({})),
        call("vm_pause", json!({})),
        call("vm_pause", json!({"sure": true})),
        call("vm_pause", json!({"sure": 1})),
        call("vm_save", json!({})),
        call("vm_reset", json!({})),
        call("nuke", json!({})),
        json!({"effect": "stop", "vm": "web-1"}),
        json!({"effect": "migrate", "vm": "web-1"}),
    ];
    for params in calls {
        let explained = daemon.call_raw("explain", &params);
        // Had it charged anything, the limit of two would be used up.
        daemon.call_raw("explain", &params);
        let explained = &explained["result"];
        let said = daemon.call_raw("authorize", &params);
        for field in ["decision", "reason_code", "rule", "shadow", "policy_hash"] {
            assert_eq!(
                explained[field], said["result"][field],
                "{field} of {params}: {said}"
            );
        }
    }
    let refused = daemon.call_raw("explain", &json!({}));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
}

#[test]
fn a_record_has_what_it_takes_to_judge_the_call_again() {
    let daemon = daemon();
    daemon.authorize(&json!({
        "tool": "vm_stop", "arguments": {"identifier": "web-1", "force": true}, "server": "mine"
    }));
    let long = "x".repeat(5000);
    daemon.authorize(&json!({"tool": "vm_stop", "arguments": {"identifier": "b", "why": long}}));
    daemon.authorize(&json!({"effect": "stop", "vm": "web-1"}));
    let records = daemon.decisions();
    assert_eq!(
        records[0]["arguments"],
        r#"{"force":true,"identifier":"web-1"}"#
    );
    assert_eq!(records[0]["server"], "mine");
    assert_eq!(records[0]["via"], "tool");
    assert_eq!(records[1]["arguments"], Value::Null, "too long to be kept");
    assert_eq!(records[2]["via"], "effect");

    let silent = Daemon::start(&Options {
        more: "audit-arguments = false\n".to_owned(),
        ..Options::default()
    });
    assert_eq!(silent.stop_test().decision, Decision::Allow);
    assert_eq!(silent.decisions()[0]["arguments"], Value::Null);
}

/// The first code block of a language in the protocol's document.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, rest) = PROTOCOL.split_once(&begin).unwrap();
    rest.split_once("```").unwrap().0
}

#[test]
fn the_clients_of_the_document_work_as_it_says() {
    let daemon = daemon();
    let run = |program: &str, text: &str| {
        let file = daemon.dir().join(program);
        std::fs::write(&file, text).unwrap();
        let output = Command::new(program)
            .arg(file)
            .arg("web-1")
            .env("VMWARD_SOCKET", daemon.socket())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said + &why)
    };
    let clients = [("python3", block("python")), ("node", block("js"))];
    // The policy allows two stops an hour: one for each client.
    for (code, word) in [(Some(0), "allow "), (Some(3), "deny ")] {
        for (program, text) in clients {
            let (ended, said) = run(program, text);
            assert_eq!(ended, code, "{program}: {said}");
            assert!(said.starts_with(word), "{program}: {said}");
        }
    }
}

#[test]
fn no_spelling_of_a_name_gets_past_a_protected_uuid() {
    let daemon = daemon();
    let uuid = "6695eb01-f6a4-8304-79aa-97f2502e193f";
    let before = daemon.status().policy.hash;
    daemon.write_policy(&format!(
        r#"{{"version": "1", "default": "deny", "tools": {{"vm_stop": {{}}}},
            "protected": [{{"uuid": "{uuid}", "reason": "gateway"}}]}}"#
    ));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the policy is in force", || {
        daemon.status().policy.hash != before
    });
    let hyphenless = uuid.replace('-', "").to_uppercase();
    for (name, reason_code) in [
        (uuid, "vm-protected"),
        (&hyphenless, "vm-protected"),
        (&format!("\t{hyphenless} "), "vm-protected"),
        (&format!("urn:uuid:{uuid}"), "vm-protected"),
        ("web-1 ", "vm-unknown"),
        ("web-1", "allowed"),
    ] {
        let call = json!({"tool": "vm_stop", "arguments": {"identifier": name}});
        let answer = daemon.call_raw("explain", &call);
        assert_eq!(
            answer["result"]["reason_code"], reason_code,
            "{name:?}: {answer}"
        );
    }
}
