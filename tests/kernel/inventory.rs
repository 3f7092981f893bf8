//! The program that asks libvirt: root neither ends it nor holds it up, and where it
//! is silent all the same, new VMs come under protection without it.

use std::os::unix::net::UnixListener;
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::attack;
use vmward_tests::daemon::{Daemon, Mode};
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::Scene;
use crate::assert_in_vm;
use crate::attacks::{ATTACKS, assert_refused};

/// Longer than the daemon waits for a program that says nothing.
const REPLACED_LIMIT: Duration = Duration::from_secs(90);

fn asks(daemon: &Daemon) -> Option<u64> {
    daemon.status()["libvirt"]["inventory_pid"].as_u64()
}

fn sh(command: &str) -> Output {
    run("sh", &["-c", command])
}

#[track_caller]
fn assert_not_permitted(what: &str, output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "{what} succeeded: {said}");
    // dash has words of its own for EPERM.
    let denied = ["Operation not permitted", "I/O error"];
    assert!(
        denied.iter().any(|word| said.contains(word)),
        "{what}: {said}"
    );
}

fn is_refused(record: &Value, vector: &str) -> bool {
    record["verdict"] == "refused" && record["vector"] == vector && record["vm"]["name"] == "(host)"
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn root_neither_ends_nor_holds_up_the_inventory_and_each_attempt_is_on_record() {
    // Declared first, so that it is ended when nothing refuses it any more.
    let late;
    let mut scene = Scene::new("inventory-1", Mode::Enforce);
    let first = asks(&scene.daemon).expect("it runs");
    let pid = first.to_string();
    let audit = scene.daemon.audit();
    for (flag, signal) in [
        ("-STOP", "SIGSTOP"),
        ("-9", "SIGKILL"),
        ("-TERM", "SIGTERM"),
    ] {
        assert_not_permitted(flag, &run("/bin/kill", &[flag, &pid]));
        let record = audit.one(signal, |r| {
            is_refused(r, "signal") && r["signal"]["name"] == signal
        });
        assert_eq!(record["actor"]["comm"], "kill", "{record:#}");
    }
    assert_not_permitted("seize", &attack("tampering", "seize", &[&pid]));
    audit.one("the tracer", |r| is_refused(r, "ptrace"));
    assert_not_permitted("renice", &run("renice", &["-n", "19", "-p", &pid]));
    audit.one("the priority", |r| is_refused(r, "sched"));
    let moved = format!(
        "mkdir -p /sys/fs/cgroup/elsewhere && echo {pid} >/sys/fs/cgroup/elsewhere/cgroup.procs"
    );
    assert_not_permitted("a move", &sh(&moved));
    audit.one("the move", |r| is_refused(r, "cgroup-move"));
    assert_eq!(asks(&scene.daemon), Some(first), "it is the same");
    late = Guest::start("inventory-2");
    scene.daemon.wait_protected("inventory-2");
    for attack in &ATTACKS {
        assert_refused(attack, &(attack.run)(&late));
    }
    late.assert_ticks();
    // It ends with the daemon, however that ends, and nothing refuses it then.
    scene.daemon.kill_9();
    wait::until("its end", Duration::from_secs(10), || {
        (!vmward_tests::guest::lives(i32::try_from(first).ok()?)).then_some(())
    });
    scene.daemon.start_again(&[]);
    let kills = scene
        .daemon
        .audit()
        .select(|r| is_refused(r, "signal") && r["signal"]["name"] == "SIGKILL");
    assert_eq!(kills.len(), 1, "only the one above: {kills:#?}");
    assert_eq!(scene.daemon.stop(), Some(0));
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_that_starts_while_libvirt_is_silent_is_protected_by_its_status_file() {
    assert_in_vm();
    // A libvirt that takes the call and never answers.
    let socket = "/var/tmp/vmward-silent-libvirt.sock";
    let _former = std::fs::remove_file(socket);
    let _silent = UnixListener::bind(socket).expect("a socket");
    let uri = format!("libvirt_uri = \"qemu+unix:///system?socket={socket}\"\n");
    // The guests are declared first: see above.
    let early = Guest::start("silent-1");
    let late;
    let daemon = Daemon::start_configured(Mode::Enforce, vmward_tests::SEED, &uri);
    let first = asks(&daemon).expect("it runs");
    let is_protected = |name: &str| {
        let status = daemon.status();
        assert_eq!(status["libvirt"]["connected"], false, "{status}");
        let vms = status["vms"].as_array()?;
        vms.iter()
            .any(|vm| vm["name"] == name && vm["protected"] == true)
            .then_some(())
    };
    let limit = Duration::from_secs(10);
    wait::until("silent-1 to be protected", limit, || {
        is_protected("silent-1")
    });
    late = Guest::start("silent-2");
    wait::until("silent-2 to be protected", limit, || {
        is_protected("silent-2")
    });
    for guest in [&early, &late] {
        for attack in &ATTACKS {
            assert_refused(attack, &(attack.run)(guest));
        }
        guest.assert_ticks();
    }
    let audit = daemon.audit();
    for name in ["silent-1", "silent-2"] {
        audit.one("its protection", |r| {
            r["event"] == "protected" && r["vm"]["name"] == name
        });
    }
    let log = daemon.log();
    assert!(log.contains("by its status file"), "{log}");
    // The daemon itself may still end what says nothing.
    wait::until("another to run", REPLACED_LIMIT, || {
        asks(&daemon).filter(|pid| *pid != first)
    });
    assert!(daemon.log().contains("said nothing for 60 s and was ended"));
    let status = daemon.status();
    assert_eq!(status["counters"]["inventory-ends"], 1, "{status}");
    audit.verify();
    drop(daemon);
}
