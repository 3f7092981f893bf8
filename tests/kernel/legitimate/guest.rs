//! What the guest itself does: power-off, reboot, crash, hang.

use std::fs;
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::parts::{PANIC, watchdog, with_devices, with_on_crash};
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::progress::Progress;
use vmward_tests::{SEED, wait};

use super::{Hosted, assert_off, order, virsh_done};
use crate::Scene;

/// Where libvirt dumps a guest that has crashed.
const DUMPS: &str = "/var/lib/libvirt/qemu/dump";

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
    order::assert_order(&scene.daemon, &[order::SYSTEM], "a power-off");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_reboots_itself_and_stays_protected() {
    let scene = Scene::new("own-reset-1", Mode::Enforce);
    let pid = scene.guest.pid();
    let boots = Progress::of(&scene.guest).boots;
    scene.guest.send("r");
    wait_boot(&scene.guest, boots);
    scene.guest.assert_ticks();
    assert_eq!(scene.guest.pid(), pid);
    let output = run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(!output.status.success(), "{}", text(&output));
    scene.guest.assert_ticks();
    order::assert_order(&scene.daemon, &[order::SYSTEM], "a reboot");
}

/// The guest has booted since it had booted `before` times. What the BIOS prints
/// can look like a boot as well.
#[track_caller]
fn wait_boot(guest: &Guest, before: usize) {
    let what = format!("{} to boot again", guest.name);
    wait::until(&what, Duration::from_mins(1), || {
        (Progress::of(guest).boots > before).then_some(())
    });
}

/// The causes of the ends of a VM.
fn causes(hosted: &Hosted, name: &str) -> Vec<String> {
    let ended = hosted
        .daemon
        .audit()
        .select(|r| r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == name);
    let cause = |r: &serde_json::Value| r["cause"].as_str().unwrap_or_default().to_owned();
    ended.iter().map(cause).collect()
}

/// Nobody was refused anything.
#[track_caller]
fn assert_none_refused(hosted: &Hosted) {
    let refused = hosted
        .daemon
        .audit()
        .select(|r| r["kind"] == "kernel" && r["verdict"] == "refused");
    assert!(refused.is_empty(), "{refused:#?}");
}

fn is_dumped(name: &str) -> bool {
    let files = fs::read_dir(DUMPS).into_iter().flatten().flatten();
    files
        .filter(|file| file.file_name().to_string_lossy().contains(name))
        .any(|file| file.metadata().is_ok_and(|data| data.len() > 0))
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_answer_to_a_crash_of_the_guest_is_carried_out() {
    // The name of a dump holds twenty characters of its domain's.
    const NAMES: [&str; 5] = [
        "on-destroy",
        "on-restart",
        "on-preserve",
        "on-coredump-destroy",
        "on-coredump-restart",
    ];
    let hosted = Hosted::start(&NAMES, SEED, |name, xml| {
        let action = name.strip_prefix("on-").expect("the name says it");
        with_on_crash(&with_devices(xml, PANIC), action)
    });
    for name in NAMES {
        let guest = hosted.guest(name);
        let (pid, boots) = (guest.pid(), Progress::of(guest).boots);
        guest.send("c");
        if name.ends_with("destroy") {
            assert_off(guest, pid);
        } else if name.ends_with("restart") {
            wait_boot(guest, boots);
            guest.assert_ticks();
            assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
        } else {
            guest.wait_state("crashed");
            assert_eq!(guest.pid(), pid);
        }
        assert_eq!(is_dumped(name), name.contains("coredump"), "{name}");
        hosted.assert_order(name);
    }
    // Its guest is over: libvirt may clean up.
    let preserved = hosted.guest("on-preserve");
    let pid = preserved.pid();
    virsh_done(&["destroy", &preserved.name]);
    assert_off(preserved, pid);
    hosted.assert_order("the end of what was preserved");
    for name in NAMES.iter().filter(|name| !name.ends_with("restart")) {
        assert_eq!(causes(&hosted, name), ["guest-panic"], "{name}");
    }
    assert_none_refused(&hosted);
    // One that came back is protected as before.
    let back = hosted.guest("on-restart");
    let killed = run("/bin/kill", &["-9", &back.pid().to_string()]);
    assert!(!killed.status.success(), "{}", text(&killed));
    back.assert_ticks();
}

/// The record that a guest stands still, or goes on.
#[track_caller]
fn turned(hosted: &Hosted, name: &str, event: &str) -> serde_json::Value {
    hosted.daemon.audit().one(event, |r| {
        r["kind"] == "vm" && r["event"] == event && r["vm"]["name"] == name
    })
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_action_of_a_watchdog_is_carried_out() {
    const NAMES: [&str; 6] = [
        "dog-none",
        "dog-inject-nmi",
        "dog-reset",
        "dog-poweroff",
        "dog-pause",
        "dog-shutdown",
    ];
    let hosted = Hosted::start(&NAMES, SEED, |name, xml| {
        let action = name.strip_prefix("dog-").expect("the name says it");
        with_devices(xml, &watchdog(action))
    });
    let pids = NAMES.map(|name| hosted.guest(name).pid());
    let reset = hosted.guest("dog-reset");
    let boots = Progress::of(reset).boots;
    for name in NAMES {
        hosted.guest(name).send("w");
    }
    // The first two have run out when the third has.
    wait_boot(reset, boots);
    for (name, pid) in NAMES.into_iter().zip(pids) {
        let guest = hosted.guest(name);
        match name {
            "dog-poweroff" | "dog-shutdown" => assert_off(guest, pid),
            "dog-pause" => {
                guest.wait_state("paused");
                // QEMU did it itself, and no wall was asked.
                let paused = turned(&hosted, name, "paused");
                assert_eq!(paused["cause"], "watchdog", "{paused:#}");
                virsh_done(&["resume", name]);
                guest.assert_ticks();
                turned(&hosted, name, "resumed");
            }
            _ => {
                guest.assert_ticks();
                assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
            }
        }
        hosted.assert_order(name);
    }
    assert_eq!(causes(&hosted, "dog-poweroff"), ["exited"]);
    assert_eq!(causes(&hosted, "dog-shutdown"), ["guest-shutdown"]);
    assert_none_refused(&hosted);
}
