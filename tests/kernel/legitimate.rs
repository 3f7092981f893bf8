//! What vmward must never break.

use std::fs;
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_powers_itself_off() {
    let scene = Scene::new("own-off-1", Mode::Enforce);
    let pid = scene.guest.pid();
    scene.guest.send("p");
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    let audit = scene.daemon.audit();
    let ended = audit.one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended"
    });
    assert_eq!(ended["cause"], "guest-shutdown", "{ended:#}");
    assert!(ended["lease"].is_null(), "{ended:#}");
    assert!(
        audit
            .select(|r| is_kernel(r, "refused", "own-off-1"))
            .is_empty()
    );
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_reboots_itself_and_stays_protected() {
    let scene = Scene::new("own-reset-1", Mode::Enforce);
    let pid = scene.guest.pid();
    scene.guest.send("r");
    scene.guest.assert_ticks();
    assert_eq!(scene.guest.pid(), pid);
    let output = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(!output.status.success(), "{}", text(&output));
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_saved_domain_leaves_no_process_behind() {
    let policy = r#"{"version": "1", "default": "allow"}"#;
    let scene = Scene::with_policy("save-1", Mode::Enforce, policy);
    let pid = scene.guest.pid();
    let file = "/var/tmp/save-1.image";
    let save = "run --effect save --reason test --vm save-1 -- virsh -c qemu:///system save save-1";
    let words: Vec<&str> = save.split(' ').chain([file]).collect();
    let output = run("vmward", &words);
    assert!(output.status.success(), "{}", text(&output));
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    fs::remove_file(file).expect("virsh wrote it");
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
    let left = run("pgrep", &["-f", "guest=fail-start-2,"]);
    assert!(
        left.stdout.is_empty(),
        "a QEMU was left behind: {}",
        text(&left)
    );
    scene.guest.assert_ticks();
}

/// Ends libvirtd as an upgrade does.
fn stop_libvirtd() {
    let pid = fs::read_to_string("/run/libvirtd.pid").expect("libvirtd runs");
    let output = run("/bin/kill", &["-TERM", pid.trim()]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("libvirtd to end", Duration::from_secs(20), || {
        run("pgrep", &["-x", "libvirtd"])
            .stdout
            .is_empty()
            .then_some(())
    });
}

fn start_libvirtd() {
    let output = run("libvirtd", &["-d"]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("libvirtd to answer", Duration::from_secs(30), || {
        virsh(&["list"]).status.success().then_some(())
    });
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirtd_restarts_and_everything_goes_on() {
    assert_in_vm();
    let scene = Scene::new("restart-1", Mode::Enforce);
    let pid = scene.guest.pid();
    stop_libvirtd();
    let output = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(
        !output.status.success(),
        "unprotected while libvirtd is away"
    );
    start_libvirtd();
    assert_eq!(scene.guest.state(), "running");
    assert_eq!(scene.guest.pid(), pid);
    scene.guest.assert_ticks();
    wait::until(
        "the daemon to find libvirtd again",
        Duration::from_secs(30),
        || (scene.daemon.status()["libvirt"]["connected"] == true).then_some(()),
    );
    let output = virsh(&["destroy", "restart-1"]);
    assert!(!output.status.success(), "{}", text(&output));
    // The new libvirtd is the one that may finish.
    scene.guest.send("p");
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_powers_off_while_libvirtd_is_away() {
    let scene = Scene::new("restart-2", Mode::Enforce);
    let pid = scene.guest.pid();
    stop_libvirtd();
    scene.guest.send("p");
    start_libvirtd();
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
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
