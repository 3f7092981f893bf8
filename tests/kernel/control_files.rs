//! A VM in another cgroup: what the attack suite's table cannot say.

use std::fs;
use std::path::Path;
use std::time::Duration;

use vmward_tests::attacks::control_files::ATTACKS;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

const FROZEN: &str = "/sys/fs/cgroup/frozen-here";

/// A cgroup that is frozen already, so that whatever comes in stops.
fn frozen_cgroup() {
    if !Path::new(FROZEN).exists() {
        fs::create_dir(FROZEN).expect("cgroup version 2 is mounted");
    }
    fs::write(format!("{FROZEN}/cgroup.freeze"), "1").expect("no VM is in it");
}

/// By the number of a thread that is not the first: the process moves all the
/// same.
fn move_by_thread(guest: &Guest) -> std::io::Result<()> {
    let thread = guest.vcpu_thread().to_string();
    fs::write(format!("{FROZEN}/cgroup.procs"), thread)
}

fn is_inside(pid: i32) -> bool {
    fs::read_to_string(format!("{FROZEN}/cgroup.procs"))
        .is_ok_and(|all| all.lines().any(|line| line == pid.to_string()))
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn control_a_vm_that_is_moved_into_a_frozen_cgroup_stops() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let guest = Guest::start("moved-0");
    frozen_cgroup();
    move_by_thread(&guest).expect("nobody refuses it");
    assert!(is_inside(guest.pid()));
    let still = run(
        "timeout",
        &[
            "5",
            "xtask",
            "guest",
            "wait-ticks",
            "moved-0",
            "--count",
            "3",
        ],
    );
    assert!(!still.status.success(), "it ticks while it is frozen");
    fs::write(format!("{FROZEN}/cgroup.freeze"), "0").expect("it can be thawed");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_that_is_moved_into_a_frozen_cgroup_is_brought_back_and_goes_on() {
    let scene = Scene::new("moved-1", Mode::Enforce);
    let pid = scene.guest.pid();
    frozen_cgroup();
    move_by_thread(&scene.guest).expect("no hook sees whose thread it is");
    wait::until("the VM to be back", Duration::from_secs(2), || {
        (!is_inside(pid)).then_some(())
    });
    scene.guest.assert_ticks();
    scene.daemon.audit().one("the move", |r| {
        is_kernel(r, "witnessed", "moved-1") && r["vector"] == "cgroup-move"
    });
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn every_write_to_a_control_file_is_refused_and_recorded_once() {
    let scene = Scene::new("control-files-1", Mode::Enforce);
    let mut wrong = Vec::new();
    for (number, attack) in ATTACKS.iter().enumerate() {
        let output = (attack.run)(&scene.guest);
        let said = text(&output);
        if output.status.success() || !said.contains("Operation not permitted") {
            wrong.push(format!("{}: {said}", attack.id));
        }
        let records = wait::until("the record", Duration::from_secs(10), || {
            let all = scene.daemon.audit();
            let found = all.select(|r| r["kind"] == "kernel" && r["verdict"] == "refused");
            (found.len() > number).then_some(found)
        });
        if records.len() != number + 1 || records[number]["vector"] != attack.vector {
            wrong.push(format!("{}: {records:#?}", attack.id));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.guest.assert_ticks();
}
