//! libvirtd goes away, in order or not, and comes back.

use std::fs;
use std::time::Duration;

use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use super::order;
use crate::{Scene, assert_in_vm};

/// Ends libvirtd as an upgrade does.
pub(super) fn stop() {
    end("-TERM");
}

fn end(signal: &str) {
    let pid = fs::read_to_string("/run/libvirtd.pid").expect("libvirtd runs");
    let pid = pid.trim();
    let output = run("/bin/kill", &[signal, pid]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("libvirtd to end", Duration::from_secs(20), || {
        fs::read(format!("/proc/{pid}/cmdline"))
            .map_or(true, |line| line.is_empty())
            .then_some(())
    });
}

pub(super) fn start() {
    let output = run("libvirtd", &["-d"]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("libvirtd to answer", Duration::from_secs(30), || {
        virsh(&["list"]).status.success().then_some(())
    });
}

/// The daemon follows the libvirtd that runs now.
#[track_caller]
fn wait_found(scene: &Scene) {
    wait::until(
        "the daemon to find libvirtd again",
        Duration::from_secs(30),
        || (scene.daemon.status()["libvirt"]["connected"] == true).then_some(()),
    );
}

/// Ends libvirtd by `signal`, and looks whether the next one has everything.
#[track_caller]
fn comes_back(name: &str, signal: &str) {
    assert_in_vm();
    let scene = Scene::new(name, Mode::Enforce);
    let pid = scene.guest.pid();
    end(signal);
    let output = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(
        !output.status.success(),
        "unprotected while libvirtd is away"
    );
    start();
    assert_eq!(scene.guest.state(), "running");
    assert_eq!(scene.guest.pid(), pid);
    scene.guest.assert_ticks();
    wait_found(&scene);
    order::assert_order(&scene.daemon, &[order::SYSTEM], "libvirtd's return");
    let output = virsh(&["destroy", name]);
    assert!(!output.status.success(), "{}", text(&output));
    // The new libvirtd is the one that may finish.
    scene.guest.send("p");
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    order::assert_order(&scene.daemon, &[order::SYSTEM], "a power-off after it");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirtd_restarts_and_everything_goes_on() {
    comes_back("restart-1", "-TERM");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirtd_crashes_and_everything_goes_on() {
    comes_back("restart-3", "-KILL");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_powers_off_while_libvirtd_is_away() {
    let scene = Scene::new("restart-2", Mode::Enforce);
    let pid = scene.guest.pid();
    stop();
    scene.guest.send("p");
    start();
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    order::assert_order(&scene.daemon, &[order::SYSTEM], "a power-off unseen");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_failed_start_is_cleaned_up() {
    let scene = Scene::new("fail-start-1", Mode::Enforce);
    let xml = text(&run("xtask", &["guest", "xml", "fail-start-2"]))
        .replace("</devices>", "<disk type='file' device='disk'><source file='/nowhere'/><target dev='vda' bus='virtio'/></disk></devices>");
    let file = "/var/tmp/fail-start-2.xml";
    fs::write(file, xml).expect("/var/tmp is writable");
    let output = virsh(&["create", file]);
    assert!(
        !output.status.success(),
        "a domain without its disk started"
    );
    order::assert_order(&scene.daemon, &[order::SYSTEM], "a failed start");
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_new_domain_is_protected_without_being_told() {
    let scene = Scene::new("new-1", Mode::Enforce);
    let later = Guest::start("new-2");
    scene.daemon.wait_protected("new-2");
    let output = run("/bin/kill", &["-9", &later.pid().to_string()]);
    assert!(!output.status.success(), "{}", text(&output));
    later.assert_ticks();
    drop(scene);
}
