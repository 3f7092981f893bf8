//! What `status` shows to whom.

use serde_json::json;
use vmward_wire::v1::StatusResult;

use crate::approvals::{ask_as, daemon};
use crate::harness::{Daemon, wait_until};

const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "tools": {
        "vm_stop": {"action": "require_approval"},
        "vm_list": {"limits": [
            {"counter": "lists", "window": "hour", "max": 9, "scope": "grant"},
            {"counter": "each", "window": "hour", "max": 9, "scope": "agent"},
            {"counter": "all", "window": "hour", "max": 9, "scope": "host"}
        ]}
    }
}"#;
/// Two that are not root.
const ONE: u32 = 1000;
const OTHER: u32 = 1001;

/// A daemon that both have asked something; `None` where nobody can become them.
fn asked() -> Option<Daemon> {
    let daemon = daemon("")?;
    let before = daemon.status().policy.hash;
    daemon.write_policy(POLICY);
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    wait_until("the policy is in force", || {
        daemon.status().policy.hash != before
    });
    for (uid, agent, times) in [(ONE, "mine", 1), (OTHER, "secret-agent", 2)] {
        for _ in 0..times {
            let call = json!({"tool": "vm_list", "agent": agent});
            let answer = ask_as(uid, &daemon.socket(), "authorize", &call);
            assert_eq!(answer["result"]["decision"], "allow", "{answer}");
        }
        let stop = json!({"tool": "vm_stop", "arguments": {"identifier": agent}});
        let answer = ask_as(uid, &daemon.socket(), "authorize", &stop);
        assert_eq!(answer["result"]["decision"], "pending", "{answer}");
    }
    Some(daemon)
}

fn keys(status: &StatusResult) -> Vec<&str> {
    status
        .limits
        .iter()
        .map(|limit| limit.key.as_str())
        .collect()
}

#[test]
fn a_caller_is_shown_its_own_counters_and_requests_and_of_others_how_many() {
    let Some(daemon) = asked() else { return };
    let answer = ask_as(ONE, &daemon.socket(), "status", &json!({}));
    let text = answer.to_string();
    assert!(!text.contains("uid:1001"), "{text}");
    assert!(!text.contains("secret-agent"), "{text}");
    let status: StatusResult = serde_json::from_value(answer["result"].clone()).unwrap();
    assert_eq!(
        keys(&status),
        ["host:", "agent:uid:1000/mine", "grant:uid:1000"]
    );
    assert_eq!(status.approvals_waiting, Some(1));
    let others = status.others.expect("there are others");
    assert_eq!(
        (others.leases, others.limits, others.approvals_waiting),
        (0, 2, 1)
    );
    // How well the host is guarded is for everybody.
    let all = daemon.status();
    assert_eq!(status.policy.hash, all.policy.hash);
    assert_eq!(
        (status.mode, status.degraded.len()),
        (all.mode, all.degraded.len())
    );
    assert_eq!(
        status.counters["decisions-pending"], 2,
        "{:?}",
        status.counters
    );
}

#[test]
fn root_and_the_admin_socket_are_shown_everything() {
    let Some(daemon) = asked() else { return };
    let admin = Daemon::call_at(&daemon.admin_socket(), "status", &json!({}));
    let admin: StatusResult = serde_json::from_value(admin["result"].clone()).unwrap();
    for status in [daemon.status(), admin] {
        assert_eq!(status.limits.len(), 5, "{:?}", keys(&status));
        assert_eq!((status.approvals_waiting, status.others), (Some(2), None));
    }
}
