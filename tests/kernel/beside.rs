//! What is guarded beside the VMs: their helpers, and libvirt's daemon.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::attack;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Daemon, Mode, take_enforcement_out};
use vmward_tests::guest::{Guest, parts, run, text, virsh};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_helper_is_guarded_like_its_vm_and_by_nobody_after_it() {
    let scene = Scene::new("helper-1", Mode::Enforce);
    let id = text(&virsh(&["domid", "helper-1"])).trim().to_owned();
    // A pid file makes no helper of any program.
    let mut stranger = sleeper("sleep");
    let decoy = format!("/run/libvirt/qemu/{id}-helper-1-fs1-fs.pid");
    std::fs::write(&decoy, stranger.id().to_string()).expect("the folder is writable");
    let mut helper = sleeper(&named_like_virtiofsd("sleep"));
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
    assert_eq!(record["word"], "virtiofsd", "{record:#}");
    let output = run("/bin/kill", &["-9", &stranger.id().to_string()]);
    assert!(output.status.success(), "{}", text(&output));
    stranger.wait().expect("it is our child");
    std::fs::remove_file(&decoy).expect("the folder is writable");
    // The guest powers itself off.
    let vm = scene.guest.pid();
    scene.guest.send("p");
    Guest::wait_gone(vm);
    let output = run("/bin/kill", &["-9", &pid]);
    assert!(output.status.success(), "{}", text(&output));
    helper.wait().expect("it is our child");
    std::fs::remove_file(&file).expect("the folder is writable");
}

/// A copy of a program, under the name of one that libvirt starts for VMs.
fn named_like_virtiofsd(program: &str) -> String {
    let script = "mkdir -p /var/tmp/$0 && cp $(command -v $0) /var/tmp/$0/virtiofsd";
    let output = run("bash", &["-c", script, program]);
    assert!(output.status.success(), "{}", text(&output));
    format!("/var/tmp/{program}/virtiofsd")
}

fn sleeper(program: &str) -> Child {
    let mut command = Command::new(program);
    command.arg("3600").spawn().expect("it can be started")
}

/// By its socket anybody could order what libvirt can: a shutdown, a suspend.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn an_agents_channel_is_libvirts_alone() {
    assert_in_vm();
    take_enforcement_out();
    let guest = Guest::start_changed("channel-1", |xml| parts::with_devices(xml, parts::AGENT));
    let channel = text(&run(
        "find",
        &[
            "/var/lib/libvirt/qemu",
            "-type",
            "s",
            "-path",
            "*channel-1*agent*",
        ],
    ));
    let channel = channel.trim();
    UnixStream::connect(channel).expect("nobody refuses it yet");
    let daemon = Daemon::start(Mode::Enforce);
    daemon.wait_protected("channel-1");
    let refused = UnixStream::connect(channel).expect_err("it is libvirt's");
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
    daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "channel-1") && r["vector"] == "monitor-connect"
    });
    let order = r#"{"execute":"guest-ping"}"#;
    let asked = virsh(&["qemu-agent-command", "channel-1", "--timeout", "1", order]);
    assert!(text(&asked).contains("agent"), "{}", text(&asked));
    guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_first_process_of_a_pid_namespace_is_guarded_with_what_is_in_it() {
    let scene = Scene::new("inside-1", Mode::Enforce);
    let id = text(&virsh(&["domid", "inside-1"])).trim().to_owned();
    // Two namespaces, one in the other; the helper is in the inner one, and not
    // its first process. It ends with its input.
    let mut outside = Command::new("unshare")
        .args(["--pid", "--fork", "unshare", "--pid", "--fork"])
        .args(["sh", "-c", "$0; exit 0", &named_like_virtiofsd("cat")])
        .stdin(Stdio::piped())
        .spawn()
        .expect("unshare can be started");
    let first = child_of(outside.id());
    let second = child_of(first);
    let helper = child_of(second);
    let file = format!("/run/libvirt/qemu/{id}-inside-1-fs0-fs.pid");
    std::fs::write(&file, helper.to_string()).expect("the folder is writable");
    for pid in [helper, second, first].map(|pid| pid.to_string()) {
        wait::until("it to be guarded", Duration::from_mins(1), || {
            (!attack("tampering", "open-mem", &[&pid]).status.success()).then_some(())
        });
        let output = run("/bin/kill", &["-9", &pid]);
        assert!(text(&output).contains("not permitted"), "{}", text(&output));
    }
    assert!(
        scene
            .daemon
            .audit()
            .select(|r| is_kernel(r, "refused", "inside-1") && r["vector"] == "signal")
            .len()
            >= 3,
        "each is on record"
    );
    drop(outside.stdin.take());
    assert!(outside.wait().expect("it is our child").success());
    std::fs::remove_file(&file).expect("the folder is writable");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_done_to_configuration_is_recorded_and_let_through() {
    let scene = Scene::new("config-1", Mode::Enforce);
    let hooks = "/etc/libvirt/hooks";
    std::fs::create_dir_all(hooks).expect("/etc is writable");
    let file = format!("{hooks}/qemu");
    let steps = [
        ("a new file", format!("echo '#!/bin/sh' > {file}")),
        ("an old one", format!("echo 'exit 0' >> {file}")),
        (
            "another in its place",
            format!("touch /etc/new && mv -T /etc/new {file}"),
        ),
        ("none", format!("rm {file}")),
    ];
    let records = || {
        scene.daemon.audit().select(|r| {
            is_kernel(r, "witnessed", "(host)")
                && r["vector"] == "config-file"
                && r["word"] == "qemu"
        })
    };
    // A folder that has just been made is known a moment later.
    wait::until("the folder to be watched", Duration::from_secs(20), || {
        let output = run("sh", &["-c", &format!("echo > {file}; rm {file}")]);
        assert!(output.status.success(), "{}", text(&output));
        (!records().is_empty()).then_some(())
    });
    for (what, script) in steps {
        let before = vmward_tests::audit::events(&records());
        let output = run("sh", &["-c", &script]);
        assert!(output.status.success(), "{what}: {}", text(&output));
        wait::until(what, Duration::from_secs(10), || {
            (vmward_tests::audit::events(&records()) > before).then_some(())
        });
    }
}

/// Where the running kernel has no such file the record is not to be had; its folder
/// is then missing too.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn what_is_done_to_devices_and_to_memory_s_settings_is_recorded_and_let_through() {
    let scene = Scene::new("device-1", Mode::Enforce);
    let damon = "/sys/kernel/mm/damon/admin/kdamonds";
    let reclaim = "/sys/module/damon_reclaim/parameters";
    let pci = "$(ls -d /sys/bus/pci/devices/* | head -n 1)";
    let driver = "$(ls -d /sys/bus/pci/drivers/* | head -n 1)";
    let steps = [
        (
            "min_ttl_ms",
            "/sys/kernel/mm/lru_gen",
            "f=$0/min_ttl_ms; cat $f > /tmp/v; cat /tmp/v > $f".to_owned(),
        ),
        (
            "state",
            damon,
            "echo 1 > $0/nr_kdamonds; echo off > $0/0/state".to_owned(),
        ),
        ("enabled", reclaim, "echo N > $0/enabled".to_owned()),
        // Its first bytes are its maker's name, which nobody can change.
        (
            "config",
            "/sys",
            format!("f={pci}/config; head -c 2 $f > /tmp/v; dd if=/tmp/v of=$f conv=notrunc"),
        ),
        (
            "remove",
            "/sys",
            format!("/bin/echo nonsense > {pci}/remove"),
        ),
        (
            "unbind",
            "/sys",
            format!("/bin/echo nonsense > {driver}/unbind"),
        ),
        // The test VM has one: this ends the countdown that opening it begins.
        (
            "watchdog",
            "/tmp",
            "mknod $0/watchdog c 10 130; echo V > $0/watchdog".to_owned(),
        ),
        // It has no eighth one.
        (
            "watchdog7",
            "/tmp",
            "mknod $0/watchdog7 c 249 7; : > $0/watchdog7".to_owned(),
        ),
    ];
    for (word, folder, script) in steps {
        if !Path::new(folder).exists() {
            println!("{word}: this kernel has no {folder}");
            continue;
        }
        let output = run("sh", &["-c", &script, folder]);
        assert!(
            !text(&output).contains("not permitted"),
            "{word}: {}",
            text(&output)
        );
        wait::until(word, Duration::from_secs(10), || {
            let audit = scene.daemon.audit();
            let found = audit.select(|r| {
                is_kernel(r, "witnessed", "(host)")
                    && r["vector"] == "kernel-file"
                    && r["word"] == word
            });
            (!found.is_empty()).then_some(())
        });
    }
}

/// A copy of a shell, called as libvirt's daemon is, with a pid file of such a one.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_pid_file_makes_nobody_libvirt() {
    let scene = Scene::new("false-1", Mode::Enforce);
    let script = "echo $$ > /run/virtqemud.pid; read _
        cd /sys/fs/cgroup/$(cut -d: -f3 /proc/$1/cgroup | tail -n 1)
        for file in cpu.max ../memory.max; do echo 1 > $file; done";
    std::fs::copy("/bin/bash", "/tmp/virtqemud").expect("/tmp is writable");
    let mut shell = Command::new("/tmp/virtqemud")
        .args(["-c", script, "sh", &scene.guest.pid().to_string()])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell starts");
    let pid = shell.id().to_string();
    wait::until(
        "it to be guarded as libvirt is",
        Duration::from_mins(1),
        || (!attack("tampering", "open-mem", &[&pid]).status.success()).then_some(()),
    );
    drop(shell.stdin.take());
    let output = shell.wait_with_output().expect("it is our child");
    std::fs::remove_file("/run/virtqemud.pid").expect("it is there");
    assert_eq!(
        text(&output).matches("not permitted").count(),
        2,
        "{}",
        text(&output)
    );
    scene.guest.assert_ticks();
}

/// What runs in a namespace of processes may start that one anew.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_container_without_users_of_its_own_restarts_itself() {
    let _scene = Scene::new("around-1", Mode::Enforce);
    let output = run("unshare", &["-pf", "vmward-attack", "host", "reboot"]);
    // Of its arguments.
    assert!(
        text(&output).contains("Invalid argument"),
        "{}",
        text(&output)
    );
    let output = attack("host", "reboot", &[]);
    assert!(text(&output).contains("not permitted"), "{}", text(&output));
}

/// Upgrades do it: nobody refuses it, and it is no secret.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn another_file_in_the_place_of_vmward_s_program_is_on_record() {
    let scene = Scene::new("upgrade-1", Mode::Enforce);
    let script = "p=$(command -v vmwardd); cp -p $p $p.new && mv -f $p.new $p";
    let output = run("sh", &["-c", script]);
    assert!(output.status.success(), "{}", text(&output));
    wait::until("the record", Duration::from_secs(10), || {
        let audit = scene.daemon.audit();
        let found = audit.select(|r| {
            is_kernel(r, "witnessed", "(host)")
                && r["vector"] == "config-file"
                && r["word"] == "vmwardd"
        });
        (!found.is_empty()).then_some(())
    });
}

/// The first child of a process, once it has one.
fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    wait::until("a child", Duration::from_secs(20), || {
        let list = std::fs::read_to_string(&path).ok()?;
        list.split_whitespace().next()?.parse().ok()
    })
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
    // That somebody asked libvirt for it is recorded, and no more.
    let refused = scene.daemon.audit();
    let refused = refused.select(|r| r["kind"] == "kernel" && r["verdict"] != "witnessed");
    assert_eq!(refused, Vec::<Value>::new());
}
