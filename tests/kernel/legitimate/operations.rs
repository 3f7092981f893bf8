//! libvirt's operations that end a VM or stop it for a while, under their lease.

use std::fs;

use vmward_tests::guest::{parts, run, text};
use vmward_tests::progress;

use super::{ANYTHING, Hosted, assert_done, assert_off, leased, virsh_done};

fn with_a_disk(name: &str, xml: &str) -> String {
    parts::with_devices(xml, &parts::disk(name))
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_saved_under_a_lease_ends_and_comes_back_protected() {
    const NAMES: [&str; 2] = ["op-save", "op-managed"];
    let hosted = Hosted::start(&NAMES, ANYTHING, |_, xml| xml.to_owned());
    let file = "/var/tmp/op-save.image";
    let orders: [(&[&str], &[&str]); 2] = [
        (&["save", "op-save", file], &["restore", file]),
        (&["managedsave", "op-managed"], &["start", "op-managed"]),
    ];
    for (name, (out, back)) in NAMES.into_iter().zip(orders) {
        let guest = hosted.guest(name);
        let pid = guest.pid();
        assert_done(&leased(name, "save", out));
        assert_off(guest, pid);
        hosted.assert_order(name);
        virsh_done(back);
        progress::assert_goes_on(guest);
        hosted.daemon.wait_protected(name);
        let killed = run("/bin/kill", &["-9", &guest.pid().to_string()]);
        assert!(!killed.status.success(), "{}", text(&killed));
        progress::assert_goes_on(guest);
        hosted.assert_order("its return");
    }
    fs::remove_file(file).expect("virsh wrote it");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn snapshots_and_dumps_under_a_lease_leave_the_guest_running() {
    const NAMES: [&str; 2] = ["op-snapshot", "op-dump"];
    let hosted = Hosted::start(&NAMES, ANYTHING, with_a_disk);
    let orders: [&[&str]; 2] = [
        &["snapshot-create-as", "op-snapshot", "one"],
        &["dump", "op-dump", "/var/tmp/op-dump.core"],
    ];
    for (name, order) in NAMES.into_iter().zip(orders) {
        let guest = hosted.guest(name);
        let pid = guest.pid();
        assert_done(&leased(name, "save", order));
        guest.assert_ticks();
        assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
        hosted.assert_order(name);
        // What was written away under a lease does not count for a guest that
        // goes on.
        let killed = run("/bin/kill", &["-9", &pid.to_string()]);
        assert!(!killed.status.success(), "{}", text(&killed));
    }
}

/// QEMU announces none of these ends; only the first is announced by what comes
/// before.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn dumps_and_snapshots_that_end_the_vm_leave_no_process_behind() {
    const NAMES: [&str; 3] = ["op-crash", "op-crash-memory", "op-halt"];
    let hosted = Hosted::start(&NAMES, ANYTHING, with_a_disk);
    let orders: [&[&str]; 3] = [
        &["dump", "op-crash", "/var/tmp/op-crash.core", "--crash"],
        &[
            "dump",
            "op-crash-memory",
            "/var/tmp/op-crash-memory.core",
            "--crash",
            "--memory-only",
        ],
        &["snapshot-create-as", "op-halt", "one", "--halt"],
    ];
    for (name, order) in NAMES.into_iter().zip(orders) {
        let guest = hosted.guest(name);
        let pid = guest.pid();
        assert_done(&leased(name, "save", order));
        assert_off(guest, pid);
        hosted.assert_order(name);
        let ended = hosted.daemon.audit().one("the end of the VM", |r| {
            r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == name
        });
        assert!(ended["lease"].is_number(), "{ended:#}");
    }
}
