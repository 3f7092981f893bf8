//! What is guarded beside the VMs: their helpers, and libvirt's daemon.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::attack;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;

use crate::Scene;

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_helper_is_guarded_like_its_vm_and_by_nobody_after_it() {
    let scene = Scene::new("helper-1", Mode::Enforce);
    let id = text(&virsh(&["domid", "helper-1"])).trim().to_owned();
    let mut helper = Command::new("sleep")
        .arg("3600")
        .spawn()
        .expect("sleep can be started");
    let pid = helper.id().to_string();
    // As libvirt names the pid file of a virtiofsd.
    let file = format!("/run/libvirt/qemu/{id}-helper-1-fs0-fs.pid");
    std::fs::write(&file, &pid).expect("the folder is writable");
    wait::until("the helper to be guarded", Duration::from_mins(1), || {
        (!attack("tampering", "open-mem", &[&pid]).status.success()).then_some(())
    });
    let output = run("/bin/kill", &["-9", &pid]);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    let record = scene.daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "helper-1") && r["vector"] == "signal"
    });
    assert_eq!(record["signal"]["name"], "SIGKILL", "{record:#}");
    assert_eq!(record["word"], "sleep", "{record:#}");
    // The guest powers itself off.
    let vm = scene.guest.pid();
    scene.guest.send("p");
    Guest::wait_gone(vm);
    let output = run("/bin/kill", &["-9", &pid]);
    assert!(output.status.success(), "{}", text(&output));
    helper.wait().expect("it is our child");
    std::fs::remove_file(&file).expect("the folder is writable");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirt_s_daemon_is_guarded_and_goes_on_with_its_work() {
    let scene = Scene::new("deputy-1", Mode::Enforce);
    // Pinning and weighing by libvirt is its users' to ask for.
    for args in [
        &["vcpupin", "deputy-1", "0", "0"][..],
        &["emulatorpin", "deputy-1", "0-1"],
        &["schedinfo", "deputy-1"],
        &["dommemstat", "deputy-1"],
    ] {
        let output = virsh(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output));
    }
    scene.guest.assert_ticks();
    let refused = scene.daemon.audit().select(|r| r["kind"] == "kernel");
    assert_eq!(refused, Vec::<Value>::new());
}
