//! Records as the daemon writes them, through the same types and chain.

use serde_json::json;
use vmward_core::{audit::chain::Chain, clock::Now};

use super::line;

/// 2026-01-02T03:04:05.678Z
const AT: Now = Now {
    boot_ns: 1,
    wall_ns: 1_767_323_045_678_000_000,
};

#[track_caller]
fn check(body: serde_json::Value, expected: &str) {
    let body = serde_json::from_value(body).expect("the record is one of core's");
    let written = Chain::new().append(&body, "boot", AT);
    assert_eq!(
        line(&written),
        format!("2026-01-02T03:04:05.678Z  {expected}")
    );
}

#[test]
fn a_flood_at_a_host_rule_that_is_used_up_is_one_line_with_its_count() {
    check(
        json!({
            "kind": "kernel", "verdict": "refused-host-limit", "vector": "signal",
            "vm": { "name": "web-1" }, "pid": 4711,
            "signal": { "number": 9, "name": "SIGKILL" },
            "actor": { "pid": 900, "tgid": 900, "uid": 0, "gid": 0, "comm": "sanlock" },
            "host_rule": "fencing", "count": 300,
            "kernel_seq": 1, "vm_seq": 1, "seen": "2026-01-02T03:04:05.677Z",
        }),
        "REFUSED       web-1  SIGKILL  sanlock[900] uid 0  host rule fencing is used up  300 times",
    );
}

#[test]
fn a_refused_kill_names_the_signal_and_everybody_behind_it() {
    check(
        json!({
            "kind": "kernel", "verdict": "refused", "vector": "signal",
            "vm": { "uuid": "4dea22b3-1d52-d8f3-2516-782e98ab3fa0", "name": "web-1" },
            "pid": 4711, "signal": { "number": 9, "name": "SIGKILL" },
            "actor": {
                "pid": 900, "tgid": 900, "uid": 0, "gid": 0, "comm": "kill", "loginuid": 1000,
                "ancestors": [{ "pid": 800, "comm": "bash" }, { "pid": 700, "comm": "sshd" }],
            },
            "kernel_seq": 1, "vm_seq": 1, "seen": "2026-01-02T03:04:05.677Z",
        }),
        "REFUSED       web-1  SIGKILL  kill[900] uid 0 (logged in as uid 1000) < bash[800] < sshd[700]",
    );
}

#[test]
fn a_denied_call_names_the_agent_and_the_reason() {
    check(
        json!({
            "kind": "decision", "decision": "deny", "decision_id": 11,
            "reason_code": "rate-limited", "tool": "vm_stop", "effect": "stop",
            "vm": { "name": "web-1" },
            "caller": {
                "grant": "uid:0", "pid": 55, "start_ticks": 1, "uid": 0, "comm": "vmward",
                "agent": "claude\n",
            },
            "rule": "/tools/vm_stop/limits/0", "message": "the next is free in 41 s",
            "policy_hash": "", "args_digest": "",
        }),
        "DENIED        web-1  vm_stop (stop)  vmward[55] uid 0 for agent \"claude\\n\"  \
         decision 11: the next is free in 41 s",
    );
}

#[test]
fn a_vm_that_ended_says_why_and_under_which_lease() {
    check(
        json!({
            "kind": "vm", "event": "ended", "vm": { "name": "web\u{1b}[2K" }, "pid": 4711,
            "cause": "lease", "signal": { "number": 15, "name": "SIGTERM" }, "lease": 7,
        }),
        "VM            web\\u{1b}[2K  ended  process 4711  cause lease  by SIGTERM  lease 7",
    );
}

#[test]
fn protection_taken_away_and_put_back_says_by_whom_why_and_until_when() {
    let by = json!({ "uid": 0, "loginuid": 1000, "pid": 812, "comm": "vmward" });
    check(
        json!({
            "kind": "protection", "event": "disarmed", "vm": { "name": "web-1" }, "pid": 4711,
            "by": by, "reason": "ticket 4711", "until": "2026-01-02T03:14:05.678Z",
        }),
        "DISARMED      web-1  vmward[812] uid 0 (logged in as uid 1000)  \
         until 2026-01-02T03:14:05.678Z  because \"ticket 4711\"",
    );
    check(
        json!({
            "kind": "protection", "event": "expired", "disarmed_by": by, "reason": "ticket 4711",
        }),
        "ARMED         the whole host  at the deadline  because \"ticket 4711\"",
    );
}

#[test]
fn every_other_kind_has_its_line() {
    check(
        json!({ "kind": "genesis", "format": 1, "daemon": "0.1.0" }),
        "LOG           begins, format 1, vmwardd 0.1.0",
    );
    check(
        json!({ "kind": "daemon", "event": "started", "detail": "enforce" }),
        "DAEMON        started: enforce",
    );
    check(
        json!({ "kind": "outcome", "decision_id": 7, "outcome": "stopped" }),
        "OUTCOME       decision 7: reported stopped",
    );
    check(
        json!({ "kind": "loss", "from": 3, "to": 5, "count": 3 }),
        "LOST          3 kernel events, 3 to 5",
    );
    check(
        json!({ "kind": "lease", "lease": 7, "vm": { "name": "web-1" }, "state": "executing",
            "refunded": false }),
        "LEASE         web-1  executing  lease 7",
    );
}

#[test]
fn an_unknown_kind_is_shown_as_it_stands_and_garbage_is_named() {
    let unknown = r#"{"time":"T","kind":"moon","phase":3}"#;
    assert_eq!(line(unknown), format!("T  MOON          {unknown}"));
    assert_eq!(line("garbage\u{7}"), "NOT A RECORD  garbage\\u{7}");
}

#[test]
fn a_step_of_a_request_that_a_crash_kept_back_says_so() {
    check(
        json!({
            "kind": "approval", "approval": 7, "event": "approved", "grant": "uid:1000",
            "requester": { "uid": 1000 }, "tool": "vm_stop", "args_digest": "d",
            "rule": "/tools/vm_stop", "decided_by": { "uid": 0, "loginuid": 1001 },
            "recovered": true,
        }),
        "APPROVAL      vm_stop for uid:1000  request 7 approved by uid 1001 [written again after \
         a crash]",
    );
}
