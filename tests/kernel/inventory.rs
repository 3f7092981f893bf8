//! The program that asks libvirt is killed; the VMs that it told of stay
//! protected, and the next one tells of more.

use std::time::Duration;

use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::Scene;
use crate::attacks::{ATTACKS, assert_refused};

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_killed_inventory_takes_no_protection_away_and_the_next_one_adds() {
    // Declared first, so that it is ended when nothing refuses it any more.
    let late;
    let scene = Scene::new("inventory-1", Mode::Enforce);
    let asks = || scene.daemon.status()["libvirt"]["inventory_pid"].as_u64();
    let first = asks().expect("it runs");
    let killed = run("/bin/kill", &["-9", &first.to_string()]);
    assert!(killed.status.success(), "{}", text(&killed));
    for attack in &ATTACKS {
        assert_refused(attack, &(attack.run)(&scene.guest));
    }
    scene.guest.assert_ticks();
    wait::until("another to run", Duration::from_secs(30), || {
        asks().filter(|pid| *pid != first)
    });
    late = Guest::start("inventory-2");
    scene.daemon.wait_protected("inventory-2");
    for attack in &ATTACKS {
        assert_refused(attack, &(attack.run)(&late));
    }
    late.assert_ticks();
    let status = scene.daemon.status();
    assert_eq!(status["counters"]["inventory-ends"], 1, "{status}");
    assert_eq!(status["libvirt"]["connected"], true, "{status}");
}
