//! `kill -9` of the daemon gives no quota back and loses no decision.

use vmward_tests::CRASH_STEPS;

use crate::host::{Host, STOP};

#[test]
fn kill_9_after_every_answer_frees_no_quota() {
    let mut host = Host::start_for_a_day();
    for n in 1..=10 {
        assert_eq!(host.vmward_json(&STOP)["decision"], "allow", "stop {n}");
        host.kill_9().expect("our own child can be killed");
        host.start_again(&[]);
    }
    assert_eq!(
        host.vmward_json(&STOP)["decision"],
        "deny",
        "{}",
        host.log()
    );
    assert_eq!(host.audit().select(|r| r["decision"] == "allow").len(), 10);
    host.audit().verify();
}

#[test]
fn a_crash_between_any_two_steps_frees_no_quota() {
    let mut host = Host::start_for_a_day();
    assert_eq!(host.vmward_json(&STOP)["decision"], "allow");
    let mut remaining = 9;
    for step in CRASH_STEPS {
        host.kill_9().expect("our own child can be killed");
        host.start_again(&[("VMWARD_CRASH_AT", step)]);
        let output = host.vmward(&STOP);
        assert!(!output.status.success(), "{step}: it answered");
        host.wait_end();
        host.start_again(&[]);
        let left = host.vmward_json(&["status"])["limits"][0]["remaining"]
            .as_u64()
            .expect("a counter is in use");
        assert!(
            left <= remaining,
            "{step} gave quota back: {left} of {remaining}"
        );
        if step != "before-journal" {
            assert!(
                left < remaining || step == "after-journal-write",
                "{step} was not charged"
            );
        }
        remaining = left;
        host.audit().verify();
    }
    assert!(
        remaining <= 5,
        "the crash points do not work: {remaining} left"
    );
}
