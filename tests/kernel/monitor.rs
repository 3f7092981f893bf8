//! Orders on the monitor with a lease: each works, and the domain stays in good
//! order. That each is refused without one is a part of the table of attacks.

use std::fs;
use std::time::Duration;

use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::Scene;

/// Who asks gets a lease.
const ANYTHING: &str = r#"{"version": "1", "default": "allow"}"#;

/// libvirt and QEMU speak to each other, and the guest runs.
#[track_caller]
fn assert_in_order(guest: &Guest, after: &str) {
    let control = text(&virsh(&["domcontrol", &guest.name]));
    assert!(control.contains("ok"), "after {after}: {control}");
    let status = virsh(&[
        "qemu-monitor-command",
        &guest.name,
        r#"{"execute":"query-status"}"#,
    ]);
    let status = text(&status);
    assert!(
        status.contains("\"status\":\"running\""),
        "after {after}: {status}"
    );
    assert_eq!(guest.state(), "running", "after {after}");
}

/// `vmward run` with a lease for `effect`.
fn leased(guest: &Guest, effect: &str, words: &[&str]) -> std::process::Output {
    let mut args = vec![
        "run",
        "--effect",
        effect,
        "--reason",
        "test",
        "--vm",
        &guest.name,
        "--",
    ];
    args.extend(["virsh", "-c", "qemu:///system"]);
    args.extend(words);
    run("vmward", &args)
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_of_libvirt_s_operations_works_with_its_lease() {
    let scene = Scene::with_policy("mon-3", Mode::Enforce, ANYTHING);
    let guest = &scene.guest;
    let done = |effect: &str, words: &[&str]| {
        let output = leased(guest, effect, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    };
    // What has begun is covered for a minute: one lease a VM at a time.
    let over = || {
        wait::until("the lease to be over", Duration::from_secs(150), || {
            let leases = scene.daemon.status()["leases"].clone();
            leases.as_array().is_none_or(Vec::is_empty).then_some(())
        });
    };
    done("reset", &["reset", "mon-3"]);
    guest.assert_ticks();
    over();
    done("pause", &["suspend", "mon-3"]);
    assert_eq!(guest.state(), "paused");
    assert!(virsh(&["resume", "mon-3"]).status.success());
    guest.assert_ticks();
    over();
    done("save", &["dump", "mon-3", "/var/tmp/mon-3.dump"]);
    assert_in_order(guest, "dump");
    guest.assert_ticks();
    over();

    let again = |pid: i32| {
        Guest::wait_gone(pid);
        guest.wait_state("shut off");
        guest.start_again();
        scene.daemon.wait_protected("mon-3");
    };
    let pid = guest.pid();
    done("stop", &["shutdown", "mon-3"]);
    again(pid);
    let pid = guest.pid();
    done("save", &["save", "mon-3", "/var/tmp/mon-3.image"]);
    again(pid);
    fs::remove_file("/var/tmp/mon-3.image").expect("virsh wrote it");
    let pid = guest.pid();
    // QEMU is gone before it can answer.
    leased(
        guest,
        "force_stop",
        &["qemu-monitor-command", "mon-3", r#"{"execute":"quit"}"#],
    );
    again(pid);
}
