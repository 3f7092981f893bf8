//! The records as they stand in the log: what other programs parse.

use serde_json::json;

use super::*;

#[track_caller]
fn check(body: &AuditBody, expected: &serde_json::Value) {
    assert_eq!(&serde_json::to_value(body).expect("JSON"), expected);
    let back: AuditBody = serde_json::from_value(expected.clone()).expect("the same record");
    assert_eq!(&back, body);
}

fn vm() -> VmRef {
    VmRef {
        uuid: Some(VmUuid::from_bytes([0xab; 16])),
        name: "web-1".to_owned(),
    }
}

#[test]
fn a_refused_signal_names_the_vm_the_signal_and_the_actor() {
    let actor = Actor {
        pid: 4711,
        tgid: 4711,
        uid: 0,
        gid: 0,
        comm: "bash".to_owned(),
        exe: Some("/usr/bin/bash".to_owned()),
        loginuid: Some(1000),
        ancestors: vec![Ancestor {
            pid: 4000,
            comm: "sshd".to_owned(),
        }],
        ..Actor::default()
    };
    let record = KernelRecord {
        verdict: KernelVerdict::Refused,
        vm: vm(),
        pid: 900,
        vector: "signal".to_owned(),
        word: None,
        effect: None,
        signal: Some(Signal {
            number: 9,
            name: "SIGKILL".to_owned(),
        }),
        actor,
        requester: None,
        lease: None,
        rode: false,
        host_rule: None,
        count: None,
        seen: "2026-01-01T00:00:00.000Z".to_owned(),
        kernel_seq: u64::MAX,
        vm_seq: 3,
    };
    check(
        &AuditBody::Kernel(Box::new(record)),
        &json!({
            "kind": "kernel",
            "verdict": "refused",
            "vm": { "uuid": "abababab-abab-abab-abab-abababababab", "name": "web-1" },
            "pid": 900,
            "vector": "signal",
            "signal": { "number": 9, "name": "SIGKILL" },
            "actor": {
                "pid": 4711, "tgid": 4711, "uid": 0, "gid": 0, "comm": "bash",
                "exe": "/usr/bin/bash", "loginuid": 1000,
                "ancestors": [{ "pid": 4000, "comm": "sshd" }],
            },
            "seen": "2026-01-01T00:00:00.000Z",
            "kernel_seq": u64::MAX,
            "vm_seq": 3,
        }),
    );
}

#[test]
fn a_decision_names_the_caller_and_its_lease() {
    let process = Process {
        pid: 7,
        start_ticks: 70,
    };
    let record = DecisionRecord {
        decision: Verdict::Allow,
        decision_id: DecisionId(12),
        reason_code: ReasonCode::Allowed,
        tool: "vm_stop".to_owned(),
        via: Via::Tool,
        server: Some("libvirt-mcp".to_owned()),
        arguments: Some("{\"force\":true}".to_owned()),
        effect: Some(Effect::ForceStop),
        claimed: false,
        vm: Some(vm()),
        caller: CallerRecord {
            grant: "uid:0".to_owned(),
            process,
            uid: 0,
            comm: "agent".to_owned(),
            exe: None,
            agent: None,
            unit: None,
        },
        rule: "/tools/vm_stop".to_owned(),
        message: "vm_stop of web-1 is allowed".to_owned(),
        reason: Some("patching".to_owned()),
        lease: Some(LeaseNote {
            holder: process,
            deadline_ns: 5,
        }),
        approval: None,
        shadow: None,
        policy_hash: "p".to_owned(),
        args_digest: "a".to_owned(),
        recovered: false,
        journalled: false,
        charges: None,
        decided: None,
    };
    check(
        &AuditBody::Decision(Box::new(record)),
        &json!({
            "kind": "decision",
            "decision": "allow",
            "decision_id": 12,
            "reason_code": "allowed",
            "tool": "vm_stop",
            "via": "tool",
            "server": "libvirt-mcp",
            "arguments": "{\"force\":true}",
            "effect": "force_stop",
            "vm": { "uuid": "abababab-abab-abab-abab-abababababab", "name": "web-1" },
            "caller": { "grant": "uid:0", "pid": 7, "start_ticks": 70, "uid": 0, "comm": "agent" },
            "rule": "/tools/vm_stop",
            "message": "vm_stop of web-1 is allowed",
            "reason": "patching",
            "lease": { "holder": { "pid": 7, "start_ticks": 70 }, "deadline_ns": 5 },
            "policy_hash": "p",
            "args_digest": "a",
            "recovered": false,
        }),
    );
}

#[test]
fn the_small_records_keep_their_names() {
    let lease = LeaseRecord {
        lease: DecisionId(12),
        vm: vm(),
        state: LeaseState::Expired,
        refunded: true,
    };
    let value = serde_json::to_value(AuditBody::Lease(lease)).expect("JSON");
    assert_eq!(
        (&value["kind"], &value["state"]),
        (&json!("lease"), &json!("expired"))
    );
    let loss = AuditBody::Loss(LossRecord {
        from: 4,
        to: 6,
        count: 3,
    });
    check(
        &loss,
        &json!({ "kind": "loss", "from": 4, "to": 6, "count": 3 }),
    );
    let charged = OutOfBandCharge {
        id: DecisionId(12),
        charges: Vec::new(),
    };
    check(
        &AuditBody::host_rule_charged("fence", 2, charged),
        &json!({
            "kind": "daemon", "event": "host-rule-charged", "detail": "fence, used 2 times",
            "charged": { "id": 12, "charges": [] },
        }),
    );
    let outcome = OutcomeRecord {
        decision_id: DecisionId(12),
        grant: Some("uid:0".to_owned()),
        outcome: Outcome::StillRunning,
        detail: None,
    };
    let expected = json!({
        "kind": "outcome", "decision_id": 12, "grant": "uid:0", "outcome": "still_running",
    });
    check(&AuditBody::Outcome(outcome), &expected);
}
