//! The daemon dies between any two steps of an allow.

use vmward_tests::daemon::{Mode, client};
use vmward_tests::guest::run;
use vmward_tests::{CRASH_STEPS, ten_stops_a_day};

use crate::Scene;

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn no_step_leaves_a_lease_without_its_journal_entry() {
    let mut scene = Scene::with_policy("crash-1", Mode::Enforce, &ten_stops_a_day());
    let mut charged = 0;
    for step in CRASH_STEPS {
        assert_eq!(scene.daemon.stop(), Some(0), "{}", scene.daemon.log());
        scene.daemon.start_again(&[("VMWARD_CRASH_AT", step)]);
        let asked = run(
            "vmward",
            &[
                "authorize",
                "--effect",
                "force_stop",
                "--vm",
                "crash-1",
                "--json",
            ],
        );
        // By then the answer is sent.
        let answers = step == "after-answer";
        assert_eq!(asked.status.success(), answers, "{step}");
        scene.daemon.wait_end();
        scene.daemon.start_again(&[]);
        let status = scene.daemon.status();
        let journal = scene.daemon.journal();
        for lease in status["leases"].as_array().expect("a list") {
            let id = lease["id"].as_u64().expect("a number");
            assert!(
                journal.contains(&format!("\"id\":{id}")),
                "{step}: {lease}\n{journal}"
            );
        }
        // On a slow machine the quota of an earlier step's lease comes back
        // meanwhile: what is left is what the journal says, no more.
        let (gone, back) = (entries(&journal, "allow"), entries(&journal, "release"));
        assert!(gone >= charged, "{step} lost an entry:\n{journal}");
        let left = status["limits"]
            .as_array()
            .and_then(|limits| limits.first())
            .map_or(10, |limit| limit["remaining"].as_u64().expect("a number"));
        assert!(
            left + gone <= 10 + back,
            "{step} gave quota back: {left} left\n{journal}"
        );
        charged = gone;
        scene.daemon.audit().verify();
        scene.guest.assert_ticks();
        // A lease that was never answered must not block the next step.
        for lease in status["leases"].as_array().expect("a list") {
            let id = lease["id"].as_u64().expect("a number");
            assert!(client().release(id).expect("ours to give back").ok);
        }
    }
    assert!(
        charged > 0,
        "no step ever charged: the crash points do not work"
    );
}

/// How many entries of this kind a journal has.
fn entries(journal: &str, kind: &str) -> u64 {
    journal.matches(&format!("\"t\":\"{kind}\"")).count() as u64
}
