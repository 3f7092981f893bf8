//! Defects of other gateways' reload, by the project's numbers for them.

use nix::sys::signal::Signal;
use serde_json::json;
use vmward_wire::v1::Decision;

use crate::harness::{Daemon, Options, SEED, wait_until};

const WITHOUT_HYPERVISOR: Options = Options {
    libvirt_uri: "none",
    more: String::new(),
};

impl Daemon {
    /// Puts a policy in the place of the old one, as an editor does, and says so.
    fn edit(&self, text: &str) {
        self.write_policy(text);
        self.signal(Signal::SIGHUP);
    }

    fn edit_and_wait(&self, text: &str) {
        let before = self.status().policy.hash;
        self.edit(text);
        wait_until("the policy is in force", || {
            self.status().policy.hash != before
        });
    }
}

/// The engine's policy and the handler's were two: a call could be judged by one
/// and told, or counted, by the other.
#[test]
fn d09_a_call_is_judged_and_told_by_one_and_the_same_policy() {
    let daemon = Daemon::start(&WITHOUT_HYPERVISOR);
    let without_pause = daemon.status().policy.hash;
    let with_pause = SEED.replace("\"vm_stop\":", "\"vm_pause\": {}, \"vm_stop\":");
    let ask = || daemon.authorize(&json!({"tool": "vm_pause", "vm": "web-1"}));
    let mut seen = (0, 0);
    for round in 0..20 {
        let text = if round % 2 == 0 { &with_pause } else { SEED };
        let before = daemon.status().policy.hash;
        daemon.edit(text);
        wait_until("another policy decides", || {
            let answer = ask();
            let denied = answer.decision == Decision::Deny;
            assert_eq!(
                denied,
                answer.policy_hash == without_pause,
                "{}",
                answer.message
            );
            let count = if denied { &mut seen.0 } else { &mut seen.1 };
            *count += 1;
            answer.policy_hash != before
        });
    }
    assert!(seen.0 >= 10 && seen.1 >= 10, "{seen:?}");
    for record in daemon.decisions() {
        let denied = record["decision"] == "deny";
        assert_eq!(denied, record["policy_hash"] == without_pause, "{record}");
    }
}

/// One bad edit ended reloading for good.
#[test]
fn d11_a_bad_edit_keeps_the_old_policy_and_the_next_good_one_is_taken() {
    let daemon = Daemon::start(&WITHOUT_HYPERVISOR);
    for max in [3, 4] {
        let good = daemon.status().policy.hash;
        daemon.edit("{ \"version\": \"1\", ");
        wait_until("the bad policy is reported", || {
            daemon.status().policy.rejected.is_some()
        });
        assert_eq!(daemon.status().policy.hash, good);
        daemon.edit_and_wait(&SEED.replace("\"max\": 10", &format!("\"max\": {max}")));
        assert_eq!(daemon.status().policy.rejected, None);
        assert_eq!(daemon.stop_test().limits[0].max, max);
    }
}
