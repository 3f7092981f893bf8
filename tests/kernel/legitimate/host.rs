//! What the host does to its VMs by itself: shutdown, fencing; and what a client
//! of libvirt asks for at the start.

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use vmward_tests::audit::is_kernel;
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::{SEED, wait};

use super::{ANYTHING, Hosted, assert_done, assert_off, leased, virsh_done};

/// Where systemd would put the unit.
const UNIT: &str = "/sys/fs/cgroup/system.slice/libvirt-guests.service";
const SCRIPT: &str = "/usr/lib/libvirt/libvirt-guests.sh";

/// Waits until the host rule has somebody whom it allows something.
#[track_caller]
fn wait_for_rule(hosted: &Hosted, name: &str) {
    let start = format!("{name}: in the kernel, actors: 1");
    hosted.daemon.audit().one("the rule", |r| {
        r["kind"] == "daemon"
            && r["detail"]
                .as_str()
                .is_some_and(|text| text.starts_with(&start))
    });
}

/// libvirt's script, as its unit runs it.
fn libvirt_guests(what: &str) -> std::process::Output {
    let line = format!("echo $$ > {UNIT}/cgroup.procs && exec {SCRIPT} {what}");
    run("bash", &["-c", &line])
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn libvirt_guests_saves_every_guest_at_shutdown_by_its_built_in_rule() {
    const NAMES: [&str; 2] = ["guests-1", "guests-2"];
    fs::create_dir_all(UNIT).expect("cgroup v2 is mounted");
    let settings = "URIS=qemu:///system\nON_BOOT=start\nON_SHUTDOWN=suspend\n";
    fs::write("/etc/default/libvirt-guests", settings).expect("/etc is writable");
    let hosted = Hosted::start(&NAMES, SEED, |_, xml| xml.to_owned());
    wait_for_rule(&hosted, "libvirt-guests");
    let pids = NAMES.map(|name| hosted.guest(name).pid());
    assert_done(&libvirt_guests("stop"));
    for (name, pid) in NAMES.into_iter().zip(pids) {
        assert_off(hosted.guest(name), pid);
    }
    hosted.assert_order("libvirt-guests stop");
    assert_done(&libvirt_guests("start"));
    for name in NAMES {
        hosted.daemon.wait_protected(name);
    }
    hosted.assert_order("libvirt-guests start");
    // The rule is the unit's: nobody else's managed save is let through.
    let other = virsh(&["managedsave", "guests-1"]);
    assert!(!other.status.success(), "{}", text(&other));
    hosted.assert_order("somebody else's managed save");
    let audit = hosted.daemon.audit();
    for name in NAMES {
        let by_rule = audit.select(|r| is_kernel(r, "allowed-host-rule", name));
        assert!(!by_rule.is_empty(), "{name}");
        assert!(
            by_rule.iter().all(|r| r["host_rule"] == "libvirt-guests"),
            "{by_rule:#?}"
        );
    }
    fs::remove_dir(UNIT).expect("nobody is in it any more");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_fence_agent_ends_a_vm_and_libvirt_knows() {
    const NAMES: [&str; 2] = ["fence-term", "fence-kill"];
    let agent = "/run/legitimate-fence";
    fs::copy("/bin/kill", agent).expect("a copy of kill");
    let policy = format!(
        r#"{{"version":"1","default":"deny","tools":{{}},"host_rules":{{
            "fence":{{"exe":"{agent}","effects":["force_stop"]}}}}}}"#
    );
    let hosted = Hosted::start(&NAMES, &policy, |_, xml| xml.to_owned());
    wait_for_rule(&hosted, "fence");
    for (name, signal) in NAMES.into_iter().zip(["-TERM", "-KILL"]) {
        let guest = hosted.guest(name);
        let pid = guest.pid();
        assert_done(&run(agent, &[signal, &pid.to_string()]));
        assert_off(guest, pid);
        hosted.assert_order(name);
        let ended = hosted.daemon.audit().one("the end of the VM", |r| {
            r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == name
        });
        assert_eq!(ended["cause"], "host-rule", "{ended:#}");
    }
    fs::remove_file(agent).expect("it was copied there");
}

/// A client of libvirt that has started a guest to end with it.
fn start_autodestroy(guest: &Guest) -> Child {
    let mut client = Command::new("virsh")
        .args(["-c", "qemu:///system"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("virsh is on the path");
    let line = format!("start {} --autodestroy\n", guest.name);
    let input = client.stdin.as_mut().expect("piped");
    input.write_all(line.as_bytes()).expect("virsh reads");
    guest.wait_state("running");
    client
}

/// The end of a client is nothing that a VM could be stopped by: it can be
/// brought about by anybody who may end a process or a connection.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_guest_that_is_to_end_with_its_client_does_so_under_a_lease_only() {
    let hosted = Hosted::start(&["auto-1"], ANYTHING, |_, xml| xml.to_owned());
    let guest = hosted.guest("auto-1");
    let first = guest.pid();
    assert_done(&leased("auto-1", "force_stop", &["destroy", "auto-1"]));
    assert_off(guest, first);

    let mut client = start_autodestroy(guest);
    hosted.daemon.wait_protected("auto-1");
    let pid = guest.pid();
    drop(client.stdin.take());
    client.wait().expect("it is our child");
    hosted.daemon.audit().one("the refusal", |r| {
        is_kernel(r, "refused", "auto-1") && r["pid"] == pid
    });
    guest.assert_ticks();
    assert_eq!((guest.pid(), guest.state().as_str()), (pid, "running"));
    hosted.assert_order("a client that left");
    virsh_done(&["domcontrol", "auto-1"]);
    assert_done(&leased("auto-1", "force_stop", &["destroy", "auto-1"]));
    assert_off(guest, pid);

    let mut client = start_autodestroy(guest);
    // Waiting for it would close it, and so have it leave too early.
    let _open = client.stdin.take();
    hosted.daemon.wait_protected("auto-1");
    let pid = guest.pid();
    // Who holds the lease sees to it that the client leaves, and waits.
    let leave = format!(
        "kill {} && until virsh -c qemu:///system domstate auto-1 | grep -q 'shut off'; do :; done",
        client.id()
    );
    let words = [
        "run",
        "--effect",
        "force_stop",
        "--reason",
        "test",
        "--vm",
        "auto-1",
        "--",
    ];
    let mut holder = Command::new("vmward")
        .args(words)
        .args(["bash", "-c", &leave])
        .spawn()
        .expect("vmward is on the path");
    client.wait().expect("it is our child");
    assert_off(guest, pid);
    let status = wait::until("the holder to end", Duration::from_mins(1), || {
        holder.try_wait().expect("it is our child")
    });
    assert!(status.success(), "{status}");
    hosted.assert_order("a client that left under a lease");
}
