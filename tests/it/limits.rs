//! The seed's promise, over the socket: ten stops a minute, and no way around.

use crate::host::{Host, STOP};

#[test]
fn the_eleventh_stop_is_denied_and_told_when_to_come_back() {
    let host = Host::start();
    for n in 1..=10 {
        let answer = host.vmward_json(&STOP);
        assert_eq!(answer["decision"], "allow", "stop {n}: {answer:#}");
        assert_eq!(answer["limits"][0]["remaining"], 10 - n);
    }
    let denied = host.vmward_json(&STOP);
    assert_eq!(denied["decision"], "deny");
    assert_eq!(denied["reason_code"], "rate-limited");
    assert_eq!(denied["rule"], "/tools/vm_stop/limits/0");
    let wait = denied["retry_after_ms"].as_u64().expect("a time to wait");
    assert!((1..=60_000).contains(&wait), "{wait}");
    let exit = host.vmward(&STOP).status.code();
    assert_eq!(exit, Some(3), "denied is exit status 3");
    host.audit().verify();
}

#[test]
fn every_other_tool_is_denied_by_default() {
    let host = Host::start();
    let answer = host.vmward_json(&["authorize", "--tool", "vm_terminate"]);
    assert_eq!(answer["decision"], "deny");
    assert_eq!(answer["reason_code"], "default-deny");
    assert_eq!(answer["rule"], "/default");
}

#[test]
fn policy_only_is_said_loudly() {
    let host = Host::start();
    let output = host.vmward(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.to_lowercase().contains("policy-only"), "{text}");
    let status = host.vmward_json(&["status"]);
    assert_eq!(status["mode"], "policy-only");
    assert_ne!(
        status["degraded"].as_array().map(Vec::len),
        Some(0),
        "{status:#}"
    );
}

#[test]
fn many_callers_at_once_get_exactly_the_maximum() {
    let host = Host::start();
    let allowed: usize = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..32)
            .map(|_| {
                scope.spawn(|| {
                    let answer = host.vmward_json(&STOP);
                    usize::from(answer["decision"] == "allow")
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|c| c.join().expect("no caller panics"))
            .sum()
    });
    assert_eq!(allowed, 10);
    assert_eq!(host.audit().select(|r| r["decision"] == "allow").len(), 10);
    host.audit().verify();
}
