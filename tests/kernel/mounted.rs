//! What somebody mounts or links where vmward looks: it must neither take a guard away
//! nor put anything under guard that is not vmward's or libvirt's.

use std::process::{Command, Output};
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Mode, take_enforcement_out};
use vmward_tests::guest::{run, text};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

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
        // In the words of mount(8) and umount(8).
        let words = ["not permitted", "permission denied", "must be superuser"];
        let refused = words.iter().any(|word| said.contains(word));
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

/// Shares the mounts of the host, as systemd does, for as long as it lives.
struct Shared;

impl Shared {
    fn make() -> Self {
        works("mount --make-rshared /");
        Self
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        works("mount --make-rprivate /");
    }
}

/// `script` in a copy of the host's mounts that is shared with them.
fn in_a_shared_copy(script: &str) -> String {
    format!("unshare --mount --propagation unchanged sh -c '{script}'")
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_done_to_a_shared_copy_of_the_mounts_is_done_to_the_host() {
    assert_in_vm();
    take_enforcement_out();
    let _shared = Shared::make();
    // The control: it comes to the host.
    works("mkdir -p /run/libvirt/qemu");
    works(&in_a_shared_copy("mount -t tmpfs none /run/libvirt/qemu"));
    works("grep -q /run/libvirt/qemu /proc/self/mounts");
    works(&in_a_shared_copy("umount /run/libvirt/qemu"));

    let scene = Scene::new("shared-1", Mode::Enforce);
    let state = "$(ls -dt /var/tmp/vmward-test-*/state | head -n 1)";
    let attacks = [
        "umount --lazy /sys/fs/bpf",
        "mount -t tmpfs none /sys/fs/bpf",
        "mount -t tmpfs none /run/libvirt/qemu",
        &format!("mount -t tmpfs none {state}"),
    ];
    for attack in attacks {
        is_refused_for(Duration::ZERO, &in_a_shared_copy(attack));
    }
    let refusals = wait::until("a record of each", LOOKS, || {
        let audit = scene.daemon.audit();
        let all = audit.select(|r| r["verdict"] == "refused" && r["vector"] == "mount");
        (all.len() >= attacks.len()).then_some(all)
    });
    let by: Vec<_> = refusals.iter().map(|r| &r["actor"]["comm"]).collect();
    assert_eq!(by, ["umount", "mount", "mount", "mount"]);
    // What a container does with mounts of its own is its own affair.
    works("unshare --mount mount -t tmpfs none /run/libvirt/qemu");
    works(&in_a_shared_copy("mount -t tmpfs none /mnt && umount /mnt"));
    works("test -e /sys/fs/bpf/vmward");
    // Nor where the host's mounts are made to follow those of a copy.
    let copy = Command::new("unshare")
        .args(["--mount", "--propagation", "unchanged", "sleep", "600"])
        .spawn();
    let mut copy = copy.unwrap();
    let is_apart = format!(
        "test $(readlink /proc/{0}/ns/mnt) != $(readlink /proc/self/ns/mnt)",
        copy.id()
    );
    wait::until("the copy", LOOKS, || {
        sh(&is_apart).status.success().then_some(())
    });
    works("mount --make-rslave /");
    let inside = format!(
        "nsenter --target {} --mount umount --lazy /sys/fs/bpf",
        copy.id()
    );
    is_refused_for(Duration::ZERO, &inside);
    works("test -e /sys/fs/bpf/vmward");
    copy.kill().unwrap();
    copy.wait().unwrap();
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn pins_that_were_made_read_only_keep_no_daemon_away() {
    let mut scene = Scene::new("read-only-1", Mode::Enforce);
    works("vmward-attack own set-read-only /sys/fs/bpf");
    let record = scene.daemon.audit().one("who did it", |r| {
        r["vector"] == "mount" && r["verdict"] == "witnessed"
    });
    assert_eq!(record["word"], "mount_setattr", "{record}");
    assert_eq!(record["actor"]["comm"], "vmward-attack", "{record}");
    works("! mkdir /sys/fs/bpf/other");
    // A container's own mounts are its own affair.
    works("unshare --mount vmward-attack own set-read-only /tmp");

    scene.daemon.stop();
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected(&scene.guest.name);
    assert!(
        scene
            .daemon
            .log()
            .contains("somebody has made it read-only"),
        "{}",
        scene.daemon.log()
    );
    let audit = scene.daemon.audit();
    let mounts = audit.select(|r| r["vector"] == "mount");
    assert_eq!(mounts.len(), 1, "{mounts:#?}");
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
