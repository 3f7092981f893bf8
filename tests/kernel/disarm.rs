//! Protection that a person takes away, as the kernel sees it: refused before,
//! let through and recorded meanwhile, refused again after.

use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::attack;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::Scene;

#[track_caller]
fn vmward(args: &[&str]) {
    let output = run("vmward", args);
    assert!(output.status.success(), "{args:?}: {}", text(&output));
}

fn kill(signal: &str, guest: &Guest) -> Output {
    run("/bin/kill", &[signal, &guest.pid().to_string()])
}

/// A harm that can be undone, so that one guest shows it many times.
fn is_let_through(guest: &Guest) -> bool {
    let stopped = kill("-STOP", guest).status.success();
    assert!(
        kill("-CONT", guest).status.success(),
        "SIGCONT harms nobody"
    );
    stopped
}

#[track_caller]
fn assert_refused(what: &str, output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "{what} was let through: {said}");
    assert!(said.contains("not permitted"), "{what}: {said}");
}

fn events(scene: &Scene) -> Vec<String> {
    let records = scene.daemon.audit().select(|r| r["kind"] == "protection");
    let event = |record: &Value| record["event"].as_str().map(str::to_owned);
    records.iter().filter_map(event).collect()
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn one_vm_is_disarmed_and_no_other_until_it_is_armed_or_ends() {
    let mut scene = Scene::new("disarm-1", Mode::Enforce);
    let other = Guest::start("disarm-2");
    scene.daemon.wait_protected("disarm-2");
    assert!(!is_let_through(&scene.guest), "control: it is protected");

    let disarm = ["disarm", "--vm", "disarm-1", "--reason", "ticket 4711"];
    vmward(&disarm);
    assert!(is_let_through(&scene.guest));
    assert!(virsh(&["suspend", "disarm-1"]).status.success());
    assert!(virsh(&["resume", "disarm-1"]).status.success());
    let audit = scene.daemon.audit();
    let record = audit.one("what was let through", |r| {
        is_kernel(r, "would-refuse", "disarm-1") && r["signal"]["name"] == "SIGSTOP"
    });
    assert_eq!(record["actor"]["comm"], "kill", "{record:#}");
    assert!(!is_let_through(&other), "the other VM's protection stays");
    assert_refused("reboot", &attack("host", "reboot", &[]));
    let status = scene.daemon.status();
    let vms = status["vms"].as_array().expect("VMs");
    let row = |name| vms.iter().find(|vm| vm["name"] == name);
    assert_eq!(row("disarm-1").expect("a row")["protected"], false);
    assert_eq!(row("disarm-2").expect("a row")["protected"], true);
    assert_eq!(status["disarmed"][0]["reason"], "ticket 4711");

    vmward(&["arm", "--vm", "disarm-1"]);
    assert!(!is_let_through(&scene.guest), "armed again");
    scene.guest.assert_ticks();

    // A restart changes nothing; the end of the process does.
    vmward(&disarm);
    scene.daemon.kill_9();
    assert!(is_let_through(&scene.guest), "without the daemon");
    scene.daemon.start_again(&[]);
    assert!(is_let_through(&scene.guest), "with the next one");
    let pid = scene.guest.pid();
    assert!(kill("-KILL", &scene.guest).status.success());
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    scene.guest.start_again();
    scene.daemon.wait_protected("disarm-1");
    assert!(!is_let_through(&scene.guest), "it is another process");
    assert_eq!(
        events(&scene),
        ["disarmed", "armed", "disarmed", "still-disarmed", "ended"]
    );
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn protection_comes_back_at_the_deadline_also_without_a_daemon() {
    let mut scene = Scene::new("disarm-3", Mode::Enforce);
    assert!(!is_let_through(&scene.guest), "control: it is protected");
    for target in [&["--vm", "disarm-3"][..], &["--all"]] {
        let time = ["disarm", "--for", "15s", "--reason", "a test"];
        vmward(&[&time[..], target].concat());
        scene.daemon.kill_9();
        assert!(is_let_through(&scene.guest), "{target:?}");
        wait::until("the deadline", Duration::from_mins(1), || {
            (!is_let_through(&scene.guest)).then_some(())
        });
        scene.daemon.start_again(&[]);
        assert!(!is_let_through(&scene.guest), "{target:?}: after a restart");
    }
    assert_eq!(
        events(&scene),
        ["disarmed", "expired", "disarmed", "expired"]
    );
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_whole_host_is_disarmed_with_the_vms_that_start_meanwhile_and_vmward_is_not() {
    let scene = Scene::new("disarm-4", Mode::Enforce);
    assert_refused("reboot", &attack("host", "reboot", &[]));
    vmward(&["disarm", "--all", "--reason", "the wall misbehaves"]);
    assert!(is_let_through(&scene.guest));
    let later = Guest::start("disarm-5");
    wait::until("the new VM to be seen", Duration::from_secs(30), || {
        let status = scene.daemon.status();
        let vms = status["vms"].as_array()?;
        vms.iter()
            .any(|vm| vm["name"] == "disarm-5" && vm["note"].is_string())
            .then_some(())
    });
    assert!(is_let_through(&later));
    let reboot = text(&attack("host", "reboot", &[]));
    assert!(!reboot.contains("not permitted"), "{reboot}");
    scene.daemon.audit().one("the restart", |r| {
        r["verdict"] == "would-refuse" && r["vector"] == "reboot"
    });
    let daemon = scene.daemon.pid().to_string();
    assert_refused("kill vmwardd", &run("/bin/kill", &["-9", &daemon]));

    vmward(&["arm", "--all", "--reason", "mended"]);
    for guest in [&scene.guest, &later] {
        assert!(!is_let_through(guest), "armed again");
        guest.assert_ticks();
    }
    assert_refused("reboot", &attack("host", "reboot", &[]));
    let armed = scene
        .daemon
        .audit()
        .one("the arming", |r| r["event"] == "armed");
    assert_eq!(armed["reason"], "mended", "{armed:#}");
}
