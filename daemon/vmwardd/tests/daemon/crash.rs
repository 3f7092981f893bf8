//! The daemon is ended between any two steps of an allow, as `kill -9` would
//! end it. Whatever the step: a call that was answered stays charged, and one
//! that was not answered never gives quota that was not there.

use serde_json::json;
use vmward_wire::v1::Decision;

use crate::harness::{Daemon, Options};

const STEPS: [&str; 6] = [
    "before-journal",
    "after-journal-write",
    "after-fsync",
    "after-audit",
    "after-lease",
    "before-answer",
];

/// Calls that were journalled when the daemon ends at this step.
fn charged_at(step: &str) -> usize {
    // A process that dies loses nothing that it handed to the kernel, so a line
    // that was written counts, synced or not.
    usize::from(step != "before-journal")
}

#[test]
fn no_step_at_which_the_daemon_dies_gives_quota_back() {
    for step in STEPS {
        let mut daemon = Daemon::start(&Options::default());
        for _ in 0..3 {
            assert_eq!(daemon.stop_test().decision, Decision::Allow);
        }
        daemon.kill();
        daemon.restart_with(&[("VMWARD_CRASH_AT", step)]);
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "authorize", "params":
            {"tool": "vm_stop", "arguments": {"identifier": "test"}}});
        assert_eq!(
            daemon.try_send(call.to_string().as_bytes()),
            None,
            "{step}: not answered"
        );
        assert_eq!(daemon.wait_exit(), None, "{step}: ended by a signal");
        daemon.restart();

        let mut allowed = 0;
        while daemon.stop_test().decision == Decision::Allow {
            allowed += 1;
        }
        assert_eq!(allowed, 7 - charged_at(step), "{step}");
        let recorded = daemon
            .decisions()
            .iter()
            .filter(|record| record["decision"] == "allow")
            .count();
        assert_eq!(
            recorded, 10,
            "{step}: every charged call has its audit record"
        );
        daemon.verify_audit();
    }
}
