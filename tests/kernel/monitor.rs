//! Orders on the monitor: refused with an error that libvirt understands, and
//! the domain stays in good order.

use std::fs;
use std::time::Duration;

use vmward_tests::attacks::{self, Attack, Harm, Refusal};
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

/// Who asks gets a lease.
const ANYTHING: &str = r#"{"version": "1", "default": "allow"}"#;

fn rows() -> impl Iterator<Item = &'static Attack> {
    attacks::all().filter(|row| row.vector == "monitor-command")
}

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

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn every_order_without_a_lease_is_refused_and_recorded() {
    let scene = Scene::new("mon-1", Mode::Enforce);
    let mut wrong = Vec::new();
    for row in rows() {
        let output = (row.run)(&scene.guest);
        let said = text(&output);
        let told = match row.refusal {
            Refusal::NotPermitted => said.contains("Operation not permitted"),
            Refusal::Says(what) => said.contains(what),
            Refusal::Silent => true,
        };
        eprintln!("{}: {} {said}", row.id, output.status);
        if !told {
            wrong.push(format!("{}: {said}", row.id));
        }
        assert_in_order(&scene.guest, row.id);
    }
    scene.guest.assert_ticks();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let records = scene
        .daemon
        .audit()
        .select(|r| is_kernel(r, "refused", "mon-1") && r["vector"] == "monitor-command");
    let events = vmward_tests::audit::events(&records);
    assert_eq!(events, rows().count() as u64, "{records:#?}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_order_works_without_vmward() {
    assert_in_vm();
    let guest = Guest::start("mon-2");
    for row in rows().filter(|row| matches!(row.harm, Harm::Ends)) {
        let pid = guest.pid();
        let output = (row.run)(&guest);
        eprintln!("{}: {} {}", row.id, output.status, text(&output));
        Guest::wait_gone(pid);
        guest.wait_state("shut off");
        // A saved state would be resumed, and paused where it was.
        let _none = virsh(&["managedsave-remove", &guest.name]);
        guest.start_again();
    }
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
