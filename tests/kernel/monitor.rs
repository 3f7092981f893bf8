//! Orders on the monitor with a lease: each works, and the domain stays in good
//! order. That each is refused without one is a part of the table of attacks.

use std::fs;
use std::time::Duration;

use vmward_tests::daemon::{Daemon, Mode};
use vmward_tests::guest::{Guest, parts, run, text, virsh};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

/// Who asks gets a lease.
const ANYTHING: &str = r#"{"version": "1", "default": "allow"}"#;

/// libvirt and QEMU speak to each other, and the guest runs.
#[track_caller]
fn assert_in_order(guest: &Guest, after: &str) {
    let control = text(&virsh(&["domcontrol", &guest.name]));
    assert!(control.contains("ok"), "after {after}: {control}");
    let status = virsh(&[
        "qemu-monitor-command",
        &guest.name,
        r#"{"execute":"query-status"}"#,
    ]);
    let status = text(&status);
    assert!(
        status.contains("\"status\":\"running\""),
        "after {after}: {status}"
    );
    assert_eq!(guest.state(), "running", "after {after}");
}

/// `vmward run` with a lease for `effect`.
fn leased(guest: &Guest, effect: &str, words: &[&str]) -> std::process::Output {
    let mut args = vec![
        "run",
        "--effect",
        effect,
        "--reason",
        "test",
        "--vm",
        &guest.name,
        "--",
    ];
    args.extend(["virsh", "-c", "qemu:///system"]);
    args.extend(words);
    run("vmward", &args)
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn each_of_libvirt_s_operations_works_with_its_lease() {
    let scene = Scene::with_policy("mon-3", Mode::Enforce, ANYTHING);
    let guest = &scene.guest;
    let done = |effect: &str, words: &[&str]| {
        let output = leased(guest, effect, words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
    };
    // What has begun is covered for a minute: one lease a VM at a time.
    let over = || {
        wait::until("the lease to be over", Duration::from_secs(150), || {
            let leases = scene.daemon.status()["leases"].clone();
            leases.as_array().is_none_or(Vec::is_empty).then_some(())
        });
    };
    done("reset", &["reset", "mon-3"]);
    guest.assert_ticks();
    over();
    done("pause", &["suspend", "mon-3"]);
    assert_eq!(guest.state(), "paused");
    assert!(virsh(&["resume", "mon-3"]).status.success());
    guest.assert_ticks();
    over();
    done("save", &["dump", "mon-3", "/var/tmp/mon-3.dump"]);
    assert_in_order(guest, "dump");
    guest.assert_ticks();
    over();

    let again = |pid: i32| {
        Guest::wait_gone(pid);
        guest.wait_state("shut off");
        guest.start_again();
        scene.daemon.wait_protected("mon-3");
    };
    let pid = guest.pid();
    done("stop", &["shutdown", "mon-3"]);
    again(pid);
    let pid = guest.pid();
    done("save", &["save", "mon-3", "/var/tmp/mon-3.image"]);
    again(pid);
    fs::remove_file("/var/tmp/mon-3.image").expect("virsh wrote it");
    let pid = guest.pid();
    // QEMU is gone before it can answer.
    leased(
        guest,
        "force_stop",
        &["qemu-monitor-command", "mon-3", r#"{"execute":"quit"}"#],
    );
    again(pid);
}

/// In libvirt's own words, as far as no virsh command leads to them. Whether QEMU
/// can do it is not asked; only that nothing was made harmless on its way.
const AS_LIBVIRT_SAYS: [&str; 11] = [
    r#"{"execute":"chardev-add","arguments":{"id":"charserial9","backend":{"type":"pty","data":{}}}}"#,
    r#"{"execute":"chardev-add","arguments":{"id":"charchannel9","backend":{"type":"socket","data":{"addr":{"type":"unix","data":{"path":"/var/tmp/domain-with-a-name-of-some-length/org.qemu.guest_agent.0-or-so"}},"wait":false,"server":true}}}}"#,
    r#"{"execute":"netdev_add","arguments":{"type":"tap","fds":"a:b","vhost":true,"vhostfds":"c:d","id":"hostnet9"}}"#,
    r#"{"execute":"object-add","arguments":{"qom-type":"secret","id":"vda-secret0","data":"YQ==","format":"base64"}}"#,
    r#"{"execute":"object-add","arguments":{"qom-type":"memory-backend-ram","id":"memdimm9","size":4096}}"#,
    r#"{"execute":"qom-set","arguments":{"path":"/machine/peripheral/balloon0","property":"guest-stats-polling-interval","value":5}}"#,
    r#"{"execute":"qom-set","arguments":{"property":"limits","path":"/objects/throttle-group9","value":{}}}"#,
    r#"{"execute":"pmemsave","arguments":{"val":0,"size":16,"filename":"/var/cache/libvirt/qemu/qemu.mem.aB3dE6"}}"#,
    r#"{"execute":"screendump","arguments":{"filename":"/var/cache/libvirt/qemu/qemu.screendump.aB3dE6"}}"#,
    r#"{"execute":"memsave","arguments":{"val":0,"size":16,"filename":"/var/lib/libvirt/qemu/domain-1-mon-4/qemu.mem.aB3dE6"}}"#,
    r#"{"execute":"screendump","arguments":{"filename":"/var/lib/libvirt/qemu/domain-1-mon-4/qemu.screendump.aB3dE6","format":"png"}}"#,
];

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_libvirt_says_in_its_daily_work_passes() {
    let scene = Scene::new("mon-4", Mode::Enforce);
    let guest = &scene.guest;
    let file = "/var/tmp/mon-4-device.xml";
    let attach = |xml: &str| {
        fs::write(file, xml).expect("/var/tmp is writable");
        virsh(&["attach-device", "mon-4", file])
    };
    let channel = "<channel type='unix'><source mode='bind'/>\
                   <target type='virtio' name='org.qemu.guest_agent.0'/></channel>";
    let mut said = vec![
        attach("<interface type='user'><model type='virtio'/></interface>"),
        attach("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"),
        attach(channel),
        virsh(&["iothreadadd", "mon-4", "1"]),
        virsh(&["iothreadset", "mon-4", "1", "--poll-max-ns", "1000"]),
    ];
    said.extend(AS_LIBVIRT_SAYS.map(|text| virsh(&["qemu-monitor-command", "mon-4", text])));
    for output in &said {
        let said = text(output);
        assert!(!said.contains("denied-by"), "{said}");
        assert!(!said.contains("CommandNotFound"), "{said}");
    }
    assert_in_order(guest, "all of it");
    guest.assert_ticks();
    let audit = scene.daemon.audit();
    let refused = audit.select(|r| r["kind"] == "kernel" && r["verdict"] == "refused");
    assert!(refused.is_empty(), "{refused:?}");
}

/// As people look at a console: libvirt has QEMU write a file, and reads it itself.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_screenshot_is_nobody_s_stop() {
    const SCREEN: &str = "<video><model type='vga'/></video>";
    assert_in_vm();
    let guest = Guest::start_changed("mon-5", |xml| parts::with_devices(xml, SCREEN));
    let daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected("mon-5");
    let output = virsh(&["screenshot", "mon-5", "/var/tmp/mon-5.ppm"]);
    assert!(output.status.success(), "{}", text(&output));
    guest.assert_ticks();
    let refused = daemon.audit().select(|r| r["verdict"] == "refused");
    assert!(refused.is_empty(), "{refused:?}");
}
