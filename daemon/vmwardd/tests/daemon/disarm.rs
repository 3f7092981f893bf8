//! Protection taken away and put back over the admin socket. There is no kernel
//! side here, so it is the host's that these tests take away: what the kernel
//! does then is in `tests/kernel/disarm.rs`.

use serde_json::{Value, json};

use crate::harness::{Daemon, Options, wait_until};

const INVALID_PARAMS: i32 = -32602;
const NOT_FOUND: i32 = -32005;
const ADMIN_ONLY: i32 = -32007;

#[track_caller]
fn admin(daemon: &Daemon, method: &str, params: &Value) -> Value {
    Daemon::call_at(&daemon.admin_socket(), method, params)
}

fn protection(daemon: &Daemon) -> Vec<Value> {
    let mut records = daemon.audit();
    records.retain(|record| record["kind"] == "protection");
    records
}

fn events(daemon: &Daemon) -> Vec<String> {
    let event = |record: &Value| record["event"].as_str().unwrap().to_owned();
    protection(daemon).iter().map(event).collect()
}

#[test]
fn a_disarm_is_on_record_shows_in_status_and_ends_when_a_person_arms() {
    let mut daemon = Daemon::start(&Options::default());
    let params = json!({"all": true, "reason": "the wall misbehaves", "for_ms": 600_000});
    let answer = admin(&daemon, "disarm", &params);
    let result = &answer["result"];
    assert_eq!(result["reason"], "the wall misbehaves", "{answer}");
    assert_eq!(result["by"]["uid"], nix::unistd::geteuid().as_raw());
    assert_eq!(result["by_pid"], std::process::id());
    assert!(result["ends_in_ms"].as_u64().unwrap() > 590_000, "{answer}");
    let status = daemon.status();
    assert_eq!(status.disarmed.len(), 1);
    assert_eq!(status.disarmed[0].vm, None);
    assert_eq!(status.counters["disarms"], 1);

    let answer = admin(&daemon, "arm", &json!({"all": true, "reason": "mended"}));
    assert_eq!(answer["result"]["armed"].as_array().unwrap().len(), 1);
    assert_eq!(answer["result"]["host"], Value::Null);
    assert!(daemon.status().disarmed.is_empty());
    let nothing = admin(&daemon, "arm", &json!({"all": true}));
    assert_eq!(nothing["result"]["armed"], json!([]), "{nothing}");

    let records = protection(&daemon);
    assert_eq!(events(&daemon), ["disarmed", "armed"]);
    assert_eq!(records[0]["reason"], "the wall misbehaves");
    assert_eq!(records[0]["by"]["pid"], std::process::id());
    assert!(records[0]["until"].is_string());
    assert_eq!(records[1]["reason"], "mended");
    assert_eq!(daemon.terminate(), Some(0));
    daemon.verify_audit();
}

#[test]
fn a_disarm_survives_the_daemon_s_death_and_ends_by_itself() {
    let mut daemon = Daemon::start(&Options::default());
    // Long enough for a restart on a machine that is busy.
    let params = json!({"all": true, "reason": "a test", "for_ms": 20_000});
    let answer = admin(&daemon, "disarm", &params);
    assert_eq!(answer["error"], Value::Null, "{answer}");
    daemon.kill();
    daemon.restart();
    assert_eq!(daemon.status().disarmed.len(), 1);
    assert_eq!(events(&daemon), ["disarmed", "still-disarmed"]);
    wait_until("protection comes back", || {
        daemon.status().disarmed.is_empty()
    });
    assert_eq!(events(&daemon), ["disarmed", "still-disarmed", "expired"]);
    daemon.kill();
    daemon.restart();
    assert!(daemon.status().disarmed.is_empty());
    assert_eq!(events(&daemon).len(), 3, "an end is told once");
}

#[test]
fn nothing_is_disarmed_without_a_reason_a_target_or_the_admin_socket() {
    let daemon = Daemon::start(&Options::default());
    for (params, says) in [
        (json!({"all": true}), "missing field `reason`"),
        (json!({"all": true, "reason": " "}), "`reason` must have"),
        (
            json!({"all": true, "reason": "x".repeat(2049)}),
            "`reason` must have",
        ),
        (
            json!({"reason": "why"}),
            "either `vm` must be given, or `all`",
        ),
        (
            json!({"vm": "test", "all": true, "reason": "why"}),
            "either `vm` must be given, or `all`",
        ),
        (
            json!({"all": true, "reason": "why", "for_ms": 0}),
            "`for_ms` must be",
        ),
        (
            json!({"all": true, "reason": "why", "for_ms": 2_592_000_001_u64}),
            "`for_ms` must be",
        ),
        (
            json!({"all": true, "reason": "why", "for": 5}),
            "unknown field `for`",
        ),
    ] {
        let answer = admin(&daemon, "disarm", &params);
        assert_eq!(answer["error"]["code"], INVALID_PARAMS, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message}");
    }
    for (vm, says) in [
        ("wbe-1", "there is no VM wbe-1"),
        // The test driver's domain has no process to protect.
        ("test", "test is not under protection"),
    ] {
        for method in ["disarm", "arm"] {
            let answer = admin(&daemon, method, &json!({"vm": vm, "reason": "why"}));
            assert_eq!(answer["error"]["code"], NOT_FOUND, "{answer}");
            let message = answer["error"]["message"].as_str().unwrap();
            assert!(message.contains(says), "{message}");
        }
    }
    for method in ["disarm", "arm"] {
        let answer = daemon.call_raw(method, &json!({"all": true, "reason": "why"}));
        assert_eq!(answer["error"]["code"], ADMIN_ONLY, "{answer}");
    }
    assert!(protection(&daemon).is_empty());
    assert!(daemon.status().disarmed.is_empty());
}

#[test]
fn a_restart_of_the_host_is_asked_for_without_a_vm() {
    let daemon = Daemon::start(&Options::default());
    let both = json!({"effect": "host_reboot", "vm": "test"});
    let answer = daemon.call_raw("authorize", &both);
    assert_eq!(answer["error"]["code"], INVALID_PARAMS, "{answer}");
    let host = json!({"effect": "host_reboot", "reason": "a new kernel"});
    let denied = daemon.authorize(&host);
    assert_eq!(
        denied.rule, "/default",
        "the seed's policy names no such rule"
    );
    daemon.write_policy(
        r#"{"version": "1", "default": "deny", "effects": {"host_reboot": {"require_reason": true}}}"#,
    );
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the policy is in force", || {
        daemon.authorize(&host).decision == vmward_wire::v1::Decision::Allow
    });
    let decision = daemon.decisions().pop().unwrap();
    assert_eq!(decision["effect"], "host_reboot");
    assert_eq!(decision["vm"]["name"], "(host)");
}
