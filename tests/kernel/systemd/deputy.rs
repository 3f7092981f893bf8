//! PID 1 and machined do to a VM what somebody asks of them: as root, with every
//! right, and as the parent of all.

use std::process::Output;

use serde_json::Value;
use vmward_tests::audit::{events, is_kernel};
use vmward_tests::guest::{run, text, virsh};
use vmward_tests::wait;

use super::{Guarded, SOON, audit, systemctl};

/// What somebody asks, and what the record of it says.
struct Row {
    what: &'static str,
    ask: fn(&Guarded) -> Output,
    /// None where nothing reaches the kernel: the asking itself is refused.
    vectors: &'static [&'static str],
}

/// systemd kills a unit in one of these ways, by its version.
const KILLED: &[&str] = &["signal", "cgroup-kill"];

/// Each is told that it did not happen.
const REFUSED: &[Row] = &[
    Row {
        what: "virsh destroy",
        ask: |vm| virsh(&["destroy", &vm.guest.name]),
        vectors: KILLED,
    },
    Row {
        what: "virsh shutdown",
        ask: |vm| virsh(&["shutdown", &vm.guest.name]),
        vectors: &["monitor-command"],
    },
    Row {
        what: "machinectl terminate",
        ask: |vm| run("machinectl", &["terminate", &vm.machine()]),
        vectors: &[],
    },
    Row {
        what: "machinectl kill",
        ask: |vm| run("machinectl", &["kill", "-s", "KILL", &vm.machine()]),
        vectors: KILLED,
    },
    Row {
        what: "machinectl poweroff",
        ask: |vm| run("machinectl", &["poweroff", &vm.machine()]),
        vectors: KILLED,
    },
    Row {
        what: "systemctl kill",
        ask: |vm| systemctl(&["kill", "-s", "KILL", &vm.scope()]),
        vectors: KILLED,
    },
    Row {
        what: "systemctl stop",
        ask: |vm| systemctl(&["stop", &vm.scope()]),
        vectors: &[],
    },
    Row {
        what: "systemctl stop of the slice",
        ask: |_| systemctl(&["stop", "machine.slice"]),
        vectors: &[],
    },
    Row {
        what: "systemctl freeze",
        ask: |vm| systemctl(&["freeze", &vm.scope()]),
        vectors: &["cgroup-freeze"],
    },
    Row {
        what: "systemctl freeze of the slice",
        ask: |_| systemctl(&["freeze", "machine.slice"]),
        vectors: &["cgroup-freeze"],
    },
    Row {
        what: "a move into vmwardd's own cgroup",
        ask: |vm| {
            let folder = "/sys/fs/cgroup/system.slice/vmwardd.service";
            let script = format!("echo {} > {folder}/cgroup.procs", vm.guest.pid());
            run("sh", &["-c", &script])
        },
        vectors: &["cgroup-move"],
    },
];

fn refused(vm: &Guarded, vectors: &[&str]) -> u64 {
    let name = vm.guest.name.as_str();
    let by = |r: &Value| {
        let vector = r["vector"].as_str().unwrap_or_default();
        is_kernel(r, "refused", name) && vectors.contains(&vector)
    };
    events(&audit().select(by))
}

/// Waits for one more record of one of the vectors.
#[track_caller]
fn wait_refused(vm: &Guarded, vectors: &[&str], before: u64, what: &str) {
    wait::until(&format!("the record of {what}"), SOON, || {
        (refused(vm, vectors) > before).then_some(())
    });
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_asked_of_pid_1_and_machined_is_refused_and_the_scope_stays() {
    let vm = Guarded::start("deputy-sys-1");
    for row in REFUSED {
        let before = refused(&vm, row.vectors);
        let output = (row.ask)(&vm);
        eprintln!("{}: {} {}", row.what, output.status, text(&output));
        assert!(!output.status.success(), "{}: {}", row.what, text(&output));
        vm.assert_in_order(row.what);
        if !row.vectors.is_empty() {
            wait_refused(&vm, row.vectors, before, row.what);
        }
    }
    audit().verify();
}

/// systemd takes a property down, and then says nothing of a file that it could
/// not write.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn limits_on_the_scope_and_the_slice_do_not_reach_the_vm_and_are_recorded() {
    let vm = Guarded::start("deputy-sys-2");
    let scope = vm.scope();
    let limits = ["cpu.max", "memory.max"].map(|file| vm.control(file));
    for unit in [scope.as_str(), "machine.slice"] {
        for property in ["CPUQuota=1%", "MemoryMax=1M", "CPUWeight=1", "IOWeight=1"] {
            let what = format!("{property} on {unit}");
            let before = refused(&vm, &["cgroup-limit"]);
            let _accepted = systemctl(&["set-property", "--runtime", unit, property]);
            wait_refused(&vm, &["cgroup-limit"], before, &what);
            vm.assert_in_order(&what);
        }
        let undone = ["CPUQuota=", "MemoryMax=", "CPUWeight=", "IOWeight="];
        let undo = [&["set-property", "--runtime", unit], &undone[..]].concat();
        let _undone = systemctl(&undo);
    }
    assert_eq!(
        ["cpu.max", "memory.max"].map(|file| vm.control(file)),
        limits
    );
    audit().verify();
}

/// Every VM whose console it reads would wait for it.
/// In order, PID 1 has become another program by then; at a unit's word, it has not.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn no_unit_has_pid_1_restart_the_host_at_once() {
    let vm = Guarded::start("deputy-sys-4");
    let property = "--property=SuccessAction=reboot-immediate";
    let output = run("systemd-run", &["--wait", property, "true"]);
    assert!(output.status.success(), "{}", text(&output));
    let record = wait::until("the refusal", SOON, || {
        let is_it = |r: &Value| r["verdict"] == "refused" && r["vector"] == "reboot";
        audit().select(is_it).pop()
    });
    assert_eq!(record["actor"]["tgid"], 1, "{record:#}");
    vm.assert_in_order("a restart at once");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn virtlogd_is_not_held_up_by_its_service_manager_and_may_be_restarted() {
    let vm = Guarded::start("deputy-sys-3");
    let told = |vector: &str| {
        events(&audit().select(|r| is_kernel(r, "refused", "(host)") && r["vector"] == vector))
    };
    let before = told("cgroup-freeze");
    let frozen = systemctl(&["freeze", "virtlogd.service"]);
    assert!(!frozen.status.success(), "{}", text(&frozen));
    wait::until("the record of it", SOON, || {
        (told("cgroup-freeze") > before).then_some(())
    });
    let before = told("cgroup-limit");
    let _accepted = systemctl(&[
        "set-property",
        "--runtime",
        "virtlogd.service",
        "CPUQuota=1%",
    ]);
    wait::until("the record of the limit", SOON, || {
        (told("cgroup-limit") > before).then_some(())
    });
    let undone = systemctl(&["set-property", "--runtime", "virtlogd.service", "CPUQuota="]);
    assert!(undone.status.success(), "{}", text(&undone));
    vm.assert_in_order("after virtlogd was asked to stand still");
    let again = systemctl(&["reload", "virtlogd.service"]);
    assert!(again.status.success(), "{}", text(&again));
    vm.assert_in_order("after virtlogd renewed itself");
    audit().verify();
}
