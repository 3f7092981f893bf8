//! After a reboot that was asked for while protected VMs ran.

use std::fs;

use vmward_tests::audit::{AuditLog, is_kernel};
use vmward_tests::guest::{run, text};

use super::going_down::{BEGAN, DEAF, OBEDIENT};
use super::{Guarded, assert_on_host, audit, property};

/// Seconds from the order to the end of the journal. libvirt-guests waits 20 s for
/// the guest that is deaf; systemd takes a minute under emulation.
const DOWN_MAX: u64 = 240;

/// The journal of the boot before.
#[track_caller]
fn journal(args: &[&str]) -> String {
    let output = run(
        "journalctl",
        &[&["-b", "-1", "--no-pager"][..], args].concat(),
    );
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

/// The records about `vm` whose monitor had an order of libvirt-guests.
fn let_through(audit: &AuditLog, vm: &str) -> usize {
    let records = audit
        .select(|r| is_kernel(r, "allowed-host-rule", vm) && r["host_rule"] == "libvirt-guests");
    records.len()
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_host_went_down_in_time_and_in_order() {
    assert_on_host();
    let began = fs::read_to_string(BEGAN).expect("the reboot was asked for");
    let began: u64 = began.trim().parse().expect("a number");
    let all = journal(&["-o", "short-unix"]);
    let last = all.lines().last().expect("the journal is not empty");
    let ended = last.split('.').next().and_then(|s| s.parse::<u64>().ok());
    let took = ended.expect("a time").saturating_sub(began);
    assert!(took <= DOWN_MAX, "the host took {took} s to go down");
    let shutdown = journal(&["-u", "vmwardd-shutdown.service", "-o", "cat"]);
    assert!(shutdown.contains("Deactivated successfully"), "{shutdown}");
    // Nothing was waited for in vain, and nothing kept the disk busy.
    let systemd = journal(&["_PID=1", "-o", "cat"]);
    assert!(!systemd.contains("timed out"), "{systemd}");
    let kernel = text(&run("dmesg", &[]));
    assert!(!kernel.contains("mounting unchecked fs"), "{kernel}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirt_guests_had_its_way_and_all_of_it_is_on_record() {
    assert_on_host();
    let audit = audit();
    audit.verify();
    for vm in [OBEDIENT, DEAF] {
        assert!(
            let_through(&audit, vm) > 0,
            "libvirt-guests could not ask {vm}"
        );
    }
    let ended =
        audit.select(|r| r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == OBEDIENT);
    assert_eq!(ended.len(), 1, "{ended:#?}");
    // This one outlived the daemon, and was ended by systemd.
    let lost =
        audit.select(|r| r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == DEAF);
    assert_eq!(lost.len(), 1, "{lost:#?}");
    assert_eq!(lost[0]["cause"], "host-restarted", "{lost:#?}");
    let detached = audit.select(|r| r["kind"] == "daemon" && r["event"] == "detached");
    assert_eq!(detached.len(), 1, "{detached:#?}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_new_boot_protects_again() {
    assert_on_host();
    assert_eq!(property("vmwardd.service", "ActiveState"), "active");
    assert_eq!(property("vmwardd.service", "NRestarts"), "0");
    let vm = Guarded::start("up-again-1");
    let output = run("kill", &["-9", &vm.guest.pid().to_string()]);
    assert!(!output.status.success(), "{}", text(&output));
    vm.assert_in_order("kill -9");
}
