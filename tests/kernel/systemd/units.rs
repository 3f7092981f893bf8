//! vmward's own units, as installed: their sandbox, and what stopping and
//! starting them does to the VMs.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;

use vmward_tests::guest::{run, text, virsh};
use vmward_tests::wait;

use super::{Guarded, SOON, assert_on_host, audit, property, status, systemctl, wait_protected};

const POLICY_SOCKET: &str = "/run/vmward/policy.sock";

#[track_caller]
fn wait_active(unit: &str) {
    wait::until(&format!("{unit} to be active"), SOON, || {
        (property(unit, "ActiveState") == "active").then_some(())
    });
}

#[track_caller]
fn assert_kill_is_refused(vm: &Guarded) {
    let output = run("kill", &["-9", &vm.guest.pid().to_string()]);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    vm.guest.assert_ticks();
}

#[track_caller]
fn done(what: &[&str]) {
    let output = systemctl(what);
    assert!(output.status.success(), "{what:?}: {}", text(&output));
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_service_is_ready_in_its_sandbox_and_its_sockets_are_their_users_own() {
    assert_on_host();
    for unit in [
        "vmwardd.service",
        "vmwardd.socket",
        "vmwardd-admin.socket",
        "vmwardd-shutdown.service",
    ] {
        assert_eq!(property(unit, "ActiveState"), "active", "{unit}");
        assert_eq!(property(unit, "Result"), "success", "{unit}");
    }
    assert_eq!(property("vmwardd.service", "NRestarts"), "0");
    assert_eq!(status()["kernel"]["ready"], true);
    let pid = property("vmwardd.service", "MainPID");
    let proc = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    assert!(proc.contains("NoNewPrivs:\t1"), "{proc}");
    let groups = fs::read_to_string("/etc/group").expect("every host has one");
    let gid = groups.lines().find_map(|l| l.strip_prefix("vmward:x:"));
    let gid = gid
        .expect("the group was made")
        .trim_end_matches(':')
        .to_owned();
    for (path, mode, group) in [
        (POLICY_SOCKET, 0o660, &*gid),
        ("/run/vmward/admin.sock", 0o600, "0"),
    ] {
        let meta = fs::metadata(path).unwrap_or_else(|e| panic!("{path}: {e}"));
        assert_eq!(meta.permissions().mode() & 0o777, mode, "{path}");
        assert_eq!(
            (meta.uid(), meta.gid().to_string().as_str()),
            (0, group),
            "{path}"
        );
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn restarts_of_libvirt_and_of_vmwardd_keep_the_vm_and_its_protection() {
    let vm = Guarded::start("unit-1");
    let pid = vm.guest.pid();
    done(&["restart", "libvirtd.service"]);
    vm.assert_in_order("the restart of libvirtd");
    assert_kill_is_refused(&vm);
    // Each time the service gets a mount namespace, and the number of one that is gone.
    for _ in 0..3 {
        done(&["restart", "vmwardd.service"]);
        wait_protected("unit-1");
        assert_kill_is_refused(&vm);
    }
    let refused = virsh(&["shutdown", "unit-1"]);
    assert!(!refused.status.success(), "{}", text(&refused));
    vm.assert_in_order("the restart of vmwardd");
    assert_eq!(vm.guest.pid(), pid);
    let lost = audit().select(|r| r["kind"] == "loss");
    assert_eq!(lost, Vec::<serde_json::Value>::new());
    audit().verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn nobody_hides_libvirt_from_the_service_in_its_own_mount_namespace() {
    let vm = Guarded::start("unit-5");
    let pid = property("vmwardd.service", "MainPID");
    let mounts = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("root reads it");
    assert_ne!(
        mounts(&pid),
        mounts("1"),
        "its unit gives it one of its own"
    );
    let inside = |words: &[&str]| {
        let output = run("nsenter", &[&["-t", &pid, "-m"], words].concat());
        assert!(!output.status.success(), "{words:?}");
        text(&output)
    };
    let answer = inside(&["mount", "-t", "tmpfs", "none", "/run/libvirt/qemu"]);
    assert!(answer.contains("permission denied"), "{answer}");
    let answer = inside(&["umount", "--lazy", "/sys/fs/bpf"]);
    assert!(answer.contains("must be superuser"), "{answer}");
    assert_kill_is_refused(&vm);
    // One that is started now is found as before.
    assert_kill_is_refused(&Guarded::start("unit-6"));
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_stopped_service_leaves_the_walls_and_comes_back_for_who_asks() {
    let vm = Guarded::start("unit-2");
    done(&["stop", "vmwardd.service"]);
    assert_kill_is_refused(&vm);
    assert_eq!(property("vmwardd.service", "ActiveState"), "inactive");
    // systemd listens, and starts it for the first who comes.
    let _asking = UnixStream::connect(POLICY_SOCKET).expect("the socket is systemd's");
    wait_active("vmwardd.service");
    wait_protected("unit-2");
    assert_kill_is_refused(&vm);
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_unit_that_lets_go_at_shutdown_cannot_be_stopped() {
    let vm = Guarded::start("unit-3");
    let unit = "vmwardd-shutdown.service";
    let output = systemctl(&["stop", unit]);
    assert!(!output.status.success(), "{}", text(&output));
    let output = systemctl(&["restart", unit]);
    assert!(!output.status.success(), "{}", text(&output));
    // Nor by what it stands on, nor can libvirt-guests be told to stop every VM.
    for other in ["virt-guest-shutdown.target", "libvirt-guests.service"] {
        let output = systemctl(&["stop", other]);
        assert!(!output.status.success(), "{other}: {}", text(&output));
    }
    assert_eq!(property(unit, "ActiveState"), "active");
    assert_kill_is_refused(&vm);
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn with_a_lease_the_guest_is_shut_down() {
    let vm = Guarded::start("unit-4");
    let pid = vm.guest.pid();
    let output = vm.leased("stop", "shutdown");
    assert!(output.status.success(), "{}", text(&output));
    vmward_tests::guest::Guest::wait_gone(pid);
    vm.guest.wait_state("shut off");
    wait::until("machined to forget it", SOON, || {
        let machines = text(&run("machinectl", &["list", "--no-legend"]));
        (!machines.contains("unit-4")).then_some(())
    });
}
