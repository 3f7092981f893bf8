//! Reverting to a snapshot, and one of the disks that ends the VM: libvirt's first act is
//! its last kill, and it takes no refusal. So it is refused where it is asked for.

use std::process::Output;
use std::time::Duration;

use vmward_tests::attacks::{attack, rpc};
use vmward_tests::audit::is_kernel;
use vmward_tests::guest::{Guest, parts, text, virsh};
use vmward_tests::{progress, wait};

use super::{ANYTHING, Hosted, assert_done, assert_off, leased, libvirtd, virsh_done};

/// Guests of which each has a snapshot.
#[track_caller]
fn with_snapshots(names: &[&str]) -> Hosted {
    Hosted::start_after(
        names,
        ANYTHING,
        |name, xml| parts::with_devices(xml, &parts::disk(name)),
        |guest| virsh_done(&["snapshot-create-as", &guest.name, "one"]),
    )
}

/// Its caller was told so, and the guest's process `before` runs as it did.
#[track_caller]
fn assert_refused(hosted: &Hosted, guest: &Guest, before: i32, output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "it was let through: {said}");
    assert!(said.contains("Operation not permitted"), "{said}");
    guest.assert_ticks();
    assert_eq!((guest.pid(), guest.state().as_str()), (before, "running"));
    hosted.assert_order("a refusal");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_revert_is_refused_before_it_begins_and_done_under_a_lease() {
    let hosted = with_snapshots(&["revert-1"]);
    let guest = hosted.guest("revert-1");
    let before = guest.pid();
    let output = virsh(&["snapshot-revert", "revert-1", "one"]);
    assert_refused(&hosted, guest, before, &output);
    hosted.daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "revert-1") && r["word"] == "revert-to-snapshot"
    });

    // The process ends: a power cut, by libvirt's and by the policy's word.
    assert_done(&leased(
        "revert-1",
        "force_stop",
        &["snapshot-revert", "revert-1", "one"],
    ));
    Guest::wait_gone(before);
    assert_ne!(guest.pid(), before);
    progress::assert_goes_on(guest);
    hosted.daemon.wait_protected("revert-1");
    hosted.assert_order("a revert");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_snapshot_of_disks_that_halts_is_refused_before_it_begins_and_done_under_a_lease() {
    let hosted = with_snapshots(&["halt-1"]);
    let guest = hosted.guest("halt-1");
    let before = guest.pid();
    let order = |name| {
        [
            "snapshot-create-as",
            "halt-1",
            name,
            "--disk-only",
            "--halt",
        ]
    };
    // A lease for less does not open it.
    for refused in [
        virsh(&order("two")),
        leased("halt-1", "save", &order("two")),
    ] {
        assert_refused(&hosted, guest, before, &refused);
    }
    let refusals = hosted
        .daemon
        .audit()
        .select(|r| is_kernel(r, "refused", "halt-1") && r["word"] == "snapshot-create");
    assert_eq!(refusals.len(), 2, "{refusals:#?}");

    // Without an end it is nobody's business, nor is what a backup does after it: the
    // disk's former image is written to again, and takes the place of the new one.
    virsh_done(&["snapshot-create-as", "halt-1", "three", "--disk-only"]);
    guest.assert_ticks();
    virsh_done(&[
        "blockcommit",
        "halt-1",
        "vda",
        "--active",
        "--pivot",
        "--wait",
    ]);
    guest.assert_ticks();
    assert_done(&leased("halt-1", "force_stop", &order("four")));
    assert_off(guest, before);
    hosted.assert_order("a snapshot that halts");
}

/// A client can send its call so that nobody reads it. Then the kill is refused
/// and libvirt lets go of a VM that runs: it must not start a second process for
/// it, and the next libvirtd must find it again.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_revert_that_nobody_could_read_ends_nothing_and_libvirt_finds_the_vm_again() {
    let hosted = with_snapshots(&["revert-2"]);
    let guest = hosted.guest("revert-2");
    let before = guest.pid();
    let output = attack("rpc", "revert", &[&rpc::uuid(guest), "one"]);
    assert!(!output.status.success(), "{}", text(&output));
    guest.assert_ticks();
    let again = virsh(&["start", "revert-2"]);
    assert!(
        !again.status.success(),
        "a second process: {}",
        text(&again)
    );
    guest.assert_ticks();

    libvirtd::stop();
    libvirtd::start();
    assert_eq!((guest.pid(), guest.state().as_str()), (before, "running"));
    wait::until(
        "the daemon to find libvirtd",
        Duration::from_secs(30),
        || (hosted.daemon.status()["libvirt"]["connected"] == true).then_some(()),
    );
    hosted.assert_order("a revert that nobody could read");
    assert_done(&leased("revert-2", "force_stop", &["destroy", "revert-2"]));
    assert_off(guest, before);
    hosted.assert_order("its end under a lease");
}
