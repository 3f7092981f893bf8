//! A VM in its first moments: while libvirt starts it, and as soon as it has.

use std::fs;
use std::process::Output;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, lives, run, text, virsh};
use vmward_tests::wait;

use crate::assert_in_vm;

const LIMIT: Duration = Duration::from_mins(1);

fn start_in_background(guest: &Guest) -> JoinHandle<Output> {
    let name = guest.name.clone();
    thread::spawn(move || virsh(&["start", &name]))
}

/// Defines a domain and does not start it.
fn defined(name: &str) -> Guest {
    let guest = Guest {
        name: name.to_owned(),
    };
    let file = format!("/var/tmp/{name}.xml");
    fs::write(&file, run("xtask", &["guest", "xml", name]).stdout).unwrap();
    let output = virsh(&["define", &file]);
    assert!(output.status.success(), "{}", text(&output));
    guest
}

/// Its QEMU, while libvirt's file says that it starts.
fn starting_process(guest: &Guest) -> Option<i32> {
    let status = format!("/run/libvirt/qemu/{}.xml", guest.name);
    let status = fs::read_to_string(status).ok()?;
    if !status.contains("'starting up'") {
        return None;
    }
    let (_, rest) = status.split_once(" pid='")?;
    let pid: i32 = rest.split_once('\'')?.0.parse().ok()?;
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    exe.to_string_lossy().contains("qemu").then_some(pid)
}

fn wait_guarded(daemon: &Daemon) {
    wait::until("its guard", LIMIT, || {
        let is_told = daemon.log().contains("guarded while it starts");
        is_told.then_some(())
    });
}

fn kill_9(pid: i32) -> Output {
    run("kill", &["-9", &pid.to_string()])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_that_starts_is_ended_by_libvirt_alone() {
    assert_in_vm();
    take_enforcement_out();
    let guest = defined("starting-1");
    let seen = || wait::until("a QEMU that starts", LIMIT, || starting_process(&guest));

    // The control: the start fails.
    let starts = start_in_background(&guest);
    let pid = seen();
    assert!(kill_9(pid).status.success());
    let output = starts.join().unwrap();
    assert!(!output.status.success(), "{}", text(&output));

    let mut daemon = Daemon::start(Mode::Enforce);
    let starts = start_in_background(&guest);
    let pid = seen();
    wait::until("its guard", LIMIT, || {
        daemon
            .log()
            .contains("guarded while it starts")
            .then_some(())
    });
    let refused = kill_9(pid);
    let output = starts.join().unwrap();
    assert!(!refused.status.success(), "{}", text(&refused));
    assert!(
        text(&refused).contains("Operation not permitted"),
        "{}",
        text(&refused)
    );
    assert!(output.status.success(), "{}", text(&output));
    let record = daemon.audit().one("the refusal", |record| {
        is_kernel(record, "refused", &guest.name) && record["actor"]["comm"] == "kill"
    });
    assert_eq!(record["pid"], pid, "{record}");

    // And as soon as `virsh start` has returned: there is no moment between.
    let refused = kill_9(pid);
    assert!(!refused.status.success(), "{}", text(&refused));
    guest.assert_ticks();
    daemon.wait_protected(&guest.name);
    daemon.give_up();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_end_of_a_vm_that_starts_is_on_record_where_libvirt_ends_it() {
    assert_in_vm();
    take_enforcement_out();
    let guest = defined("starting-2");
    let mut daemon = Daemon::start(Mode::Enforce);
    let starts = start_in_background(&guest);
    let pid = wait::until("a QEMU that starts", LIMIT, || starting_process(&guest));
    wait_guarded(&daemon);
    let destroyed = virsh(&["destroy", &guest.name]);
    assert!(destroyed.status.success(), "{}", text(&destroyed));
    let started = starts.join().unwrap();
    assert!(!started.status.success(), "{}", text(&started));
    assert!(!lives(pid), "libvirt cleans up");
    let record = daemon.audit().one("its end", |record| {
        is_kernel(record, "witnessed", &guest.name) && record["pid"] == pid
    });
    assert_eq!(record["word"], "a VM that starts", "{record}");
    assert_eq!(record["actor"]["exe"], "/usr/sbin/libvirtd", "{record}");

    guest.start_again();
    daemon.wait_protected(&guest.name);
    daemon.give_up();
}
