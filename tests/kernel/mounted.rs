//! What somebody mounts or links where vmward looks: it must neither take a guard away
//! nor put anything under guard that is not vmward's or libvirt's.

use std::process::Output;
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{run, text};
use vmward_tests::wait;

use crate::Scene;

/// Longer than three of the looks at what is under guard.
const LOOKS: Duration = Duration::from_secs(8);
/// Longer than two of the looks at who has ended.
const SWEEPS: Duration = Duration::from_secs(30);

fn sh(script: &str) -> Output {
    run("sh", &["-c", script])
}

#[track_caller]
fn works(script: &str) {
    let output = sh(script);
    assert!(output.status.success(), "{script}: {}", text(&output));
}

/// Never works for as long as `limit`.
#[track_caller]
fn is_refused_for(limit: Duration, script: &str) {
    let passed = wait::within(limit, || {
        let output = sh(script);
        let said = text(&output);
        let refused = said.contains("not permitted") || said.contains("permission denied");
        (!refused).then_some(said)
    });
    assert_eq!(passed, None, "{script}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_mounted_among_configuration_stays_under_guard() {
    let _scene = Scene::new("mounted-1", Mode::Enforce);
    works("mkdir -p /etc/libvirt/x && mount --bind /sys/fs/bpf /etc/libvirt/x");
    is_refused_for(LOOKS, "rm /sys/fs/bpf/vmward/abi4/VMS");
    works("mkdir -p /etc/libvirt/y && mount --bind /run/libvirt /etc/libvirt/y");
    is_refused_for(LOOKS, "mv -T /run/libvirt /run/other");
    // Folders above those, too; and what else is there goes on.
    is_refused_for(Duration::ZERO, "mv -T /var/lib /var/other");
    is_refused_for(Duration::ZERO, "mount -t tmpfs none /run");
    works(
        "mkdir -p /var/lib/docker && mount -t tmpfs none /var/lib/docker && umount /var/lib/docker",
    );
    works("mkdir -p /tmp/root/run && mount --bind /run /tmp/root/run && umount /tmp/root/run");
    works("touch /run/a /var/a && rm /run/a /var/a");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_second_pid_file_and_another_files_name_change_nothing() {
    let scene = Scene::new("named-1", Mode::Enforce);
    let pid = scene.guest.pid();
    works(&format!(
        "echo {pid} > /run/libvirt/qemu/aaa.pid; echo {pid} > /run/libvirt/qemu/zzz.pid"
    ));
    is_refused_for(LOOKS, "rm /run/libvirt/qemu/named-1.xml");
    is_refused_for(Duration::ZERO, "rm /run/libvirt/qemu/named-1.pid");
    works(
        "cd $(ls -dt /var/tmp/vmward-test-*/state | head -n 1)
         echo whole > /var/tmp/theirs && ln /var/tmp/theirs mine",
    );
    let written = wait::within(LOOKS, || {
        let output = sh("echo more >> /var/tmp/theirs");
        (!output.status.success()).then_some(text(&output))
    });
    assert_eq!(written, None, "somebody else's file is under guard");
    works("rm /var/tmp/vmward-test-*/state/mine && echo more >> /var/tmp/theirs");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_vm_that_proc_does_not_show_is_protected_as_before() {
    let scene = Scene::new("hidden-1", Mode::Enforce);
    let pid = scene.guest.pid();
    works(&format!(
        "mkdir -p /tmp/none && mount --bind /tmp/none /proc/{pid}"
    ));
    wait::until("the daemon to say that it is hidden", SWEEPS, || {
        let status = scene.daemon.status();
        (status["counters"]["vms-hidden"].as_u64() > Some(0)).then_some(())
    });
    let gone = wait::within(SWEEPS, || {
        let status = scene.daemon.status();
        let vms = status["vms"].as_array()?;
        let held = vms
            .iter()
            .any(|vm| vm["name"] == "hidden-1" && vm["protected"] == true);
        (!held).then_some(status["vms"].clone())
    });
    assert_eq!(gone, None);
    // kill(1) by procps looks at `/proc`, the shell's own does not.
    let output = sh(&format!("kill -9 {pid}"));
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    works(&format!("umount /proc/{pid}"));
    scene.guest.assert_ticks();
    let ended = scene.daemon.audit();
    let ended = ended.select(|r| r["kind"] == "vm" && r["event"] == "ended");
    assert_eq!(ended, Vec::<serde_json::Value>::new());
    let refused = scene.daemon.audit();
    assert!(
        !refused
            .select(|r| is_kernel(r, "refused", "hidden-1"))
            .is_empty()
    );
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_file_that_says_vmward_off_over_the_command_line_turns_nothing_off() {
    let mut scene = Scene::new("switch-1", Mode::Enforce);
    works("echo vmward=off > /tmp/cmdline && mount --bind /tmp/cmdline /proc/cmdline");
    scene.daemon.kill_9();
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected("switch-1");
    let pid = scene.guest.pid().to_string();
    let output = run("/bin/kill", &["-9", &pid]);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
    works("umount /proc/cmdline");
}
