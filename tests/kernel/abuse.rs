//! A lease or a process number that is not what it was.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use vmward_tests::audit::{events, is_kernel};
use vmward_tests::daemon::{Mode, client, take_enforcement_out};
use vmward_tests::guest::{Guest, run, text, virsh};
use vmward_tests::wait;
use vmward_wire::POLICY_SOCKET;
use vmward_wire::v1::{AuthorizeParams, Lease};

use crate::Scene;

const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A lease that this process and what it starts may use.
#[track_caller]
fn lease(vm: &str, effect: &str) -> Lease {
    let params = AuthorizeParams {
        vm: Some(vm.to_owned()),
        effect: Some(serde_json::from_value(json!(effect)).expect("an effect")),
        reason: Some("test".to_owned()),
        ..AuthorizeParams::default()
    };
    let answer = client().authorize(&params).expect("the daemon answers");
    answer
        .lease
        .unwrap_or_else(|| panic!("no lease: {}", answer.message))
}

fn kill(pid: i32, signal: &str) -> bool {
    run("/bin/kill", &[signal, &pid.to_string()])
        .status
        .success()
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_lease_is_for_its_vm_its_effect_one_use_and_its_time() {
    let open = r#"{"version": "1", "default": "allow", "tools": {}}"#;
    let mut scene = Scene::with_policy("abuse-1", Mode::Enforce, open);
    let other = Guest::start("abuse-2");
    scene.daemon.wait_protected("abuse-2");
    let (pid, other_pid) = (scene.guest.pid(), other.pid());

    let pause = lease("abuse-1", "pause");
    assert!(!kill(other_pid, "-STOP"), "it covered another VM");
    assert!(!kill(pid, "-KILL"), "it covered another effect");
    assert!(kill(pid, "-STOP"), "it did not cover what it was for");
    assert!(kill(pid, "-CONT"));
    assert!(!kill(pid, "-STOP"), "it covered a second operation");
    // What has begun cannot be given back, and keeps the VM for a minute.
    assert!(client().release(pause.id).is_err());
    let over = |what: &str, limit: Duration| {
        wait::until(what, limit + Duration::from_mins(1), || {
            let leases = scene.daemon.status()["leases"].as_array()?.len();
            (leases == 0).then_some(())
        });
    };
    over("the first operation to be over", Duration::from_mins(1));

    let back = lease("abuse-1", "pause");
    client().release(back.id).expect("nobody has used it");
    assert!(!kill(pid, "-STOP"), "it works after it was given back");

    let _reset = lease("abuse-1", "reset");
    let reset = || text(&virsh(&["reset", "abuse-1"]));
    assert!(reset().contains("was reset"), "it did not cover a reset");
    let again = reset();
    assert!(
        !again.contains("was reset"),
        "it covered a second one: {again}"
    );
    over("the reset to be over", Duration::from_mins(1));

    let unused = lease("abuse-1", "force_stop");
    over(
        "the lease to lapse",
        Duration::from_millis(unused.expires_in_ms),
    );
    assert!(!kill(pid, "-KILL"), "it works after its deadline");
    scene.guest.assert_ticks();
    other.assert_ticks();
    // The other guest can only be ended when nothing refuses it any more.
    scene.daemon.give_up();
}

/// Has the daemon get to know it, and its child ask on the connection once it has ended
/// itself.
const ORPHAN: &str = r#"
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect(sys.argv[1])
answers = line.makefile()
def ask(method, params):
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    line.sendall(json.dumps(call).encode() + b"\n")
    return answers.readline()
ask("hello", {"version": 1})
parent = os.getpid()
if os.fork():
    os._exit(0)
while os.getppid() == parent:
    pass
print(ask("authorize", {"vm": sys.argv[2], "effect": "force_stop", "reason": "test"}))
"#;

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_process_that_has_ended_gets_no_lease() {
    let open = r#"{"version": "1", "default": "allow", "tools": {}}"#;
    let scene = Scene::with_policy("abuse-3", Mode::Enforce, open);
    let said = run("python3", &["-c", ORPHAN, POLICY_SOCKET, "abuse-3"]);
    let said = text(&said);
    assert!(said.contains(r#""decision":"deny""#), "{said}");
    assert!(said.contains("hold the lease has ended"), "{said}");
    // Nor does it keep anybody else from one.
    let lease = lease("abuse-3", "force_stop");
    client().release(lease.id).expect("nobody has used it");
    scene.guest.assert_ticks();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_lease_does_not_outlive_the_boot_in_which_it_was_given() {
    let open = r#"{"version": "1", "default": "allow", "tools": {}}"#;
    let mut scene = Scene::with_policy("abuse-3", Mode::Enforce, open);
    let pid = scene.guest.pid();
    lease("abuse-3", "force_stop");
    scene.daemon.kill_9();
    // What a reboot does: the kernel's maps are gone and the boot has another
    // name. The state on disk, and here the process too, stay.
    take_enforcement_out();
    fs::write("/var/tmp/boot-id", "00000000-0000-4000-8000-000000000001\n")
        .expect("/var/tmp is writable");
    let mounted = run("mount", &["--bind", "/var/tmp/boot-id", BOOT_ID]);
    assert!(mounted.status.success(), "{}", text(&mounted));
    scene.daemon.start_again(&[]);
    scene.daemon.wait_protected("abuse-3");
    let refused = !kill(pid, "-KILL");
    let unmounted = run("umount", &[BOOT_ID]);
    assert!(refused, "a lease of another boot covered it");
    assert!(unmounted.status.success(), "{}", text(&unmounted));
    scene.guest.assert_ticks();
}

/// Starts a program as process `pid`, which is free.
#[track_caller]
fn start_as(pid: u32, program: &str, args: &[&str]) -> Child {
    for _ in 0..200 {
        fs::write(LAST_PID, (pid - 1).to_string()).expect("root may set it");
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        if child.id() == pid {
            return child;
        }
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }
    panic!("process {pid} could not be had again");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_process_number_that_is_used_again_inherits_nothing() {
    let open = r#"{"version": "1", "default": "allow", "tools": {}}"#;
    let scene = Scene::with_policy("abuse-4", Mode::Enforce, open);
    let pid = scene.guest.pid();

    // The number of a lease's holder.
    let mut holder = Command::new("vmward")
        .args(["run", "--vm", "abuse-4", "--effect", "force_stop"])
        .args(["--reason", "test", "--", "sh", "-c", "kill -9 $PPID"])
        .spawn()
        .expect("vmward is on the path");
    let number = holder.id();
    holder.wait().expect("it is our child");
    let status = scene.daemon.status();
    assert_eq!(
        status["leases"].as_array().map(Vec::len),
        Some(1),
        "{status:#}"
    );
    let mut heir = start_as(number, "/bin/kill", &["-9", &pid.to_string()]);
    let outcome = heir.wait().expect("it is our child");
    assert!(
        !outcome.success(),
        "the number's next process used its lease"
    );
    scene.guest.assert_ticks();

    // The number of the VM itself.
    let id = status["leases"][0]["id"].as_u64().expect("a number");
    let _ended = client().release(id);
    wait::until("the old lease to go", Duration::from_mins(2), || {
        let leases = scene.daemon.status()["leases"].as_array()?.len();
        (leases == 0).then_some(())
    });
    lease("abuse-4", "force_stop");
    assert!(kill(pid, "-KILL"));
    Guest::wait_gone(pid);
    scene.guest.wait_state("shut off");
    let number = u32::try_from(pid).expect("a process number");
    let mut heir = start_as(number, "/bin/sleep", &["600"]);
    let ended = kill(pid, "-KILL");
    if !ended {
        take_enforcement_out();
        heir.kill().expect("it is our child");
    }
    heir.wait().expect("it is our child");
    assert!(ended, "the number's next process is protected");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_million_refusals_are_all_right_and_all_accounted_for() {
    const MANY: u64 = 1_000_000;
    let scene = Scene::new("flood-3", Mode::Enforce);
    let pid = scene.guest.pid().to_string();
    let flood = ["disguise", "flood", &pid, &MANY.to_string()];
    let output = run("vmward-attack", &flood);
    // It fails with the last refusal; one that got through would end it with 0.
    assert!(!output.status.success(), "one of them got through");
    assert!(text(&output).contains("Operation not permitted"));
    scene.guest.assert_ticks();
    let audit = scene.daemon.audit();
    let accounted = || {
        let lost = audit.select(|r| r["kind"] == "loss");
        let lost: u64 = lost.iter().filter_map(|r| r["count"].as_u64()).sum();
        events(&audit.select(|r| is_kernel(r, "refused", "flood-3"))) + lost
    };
    wait::within(Duration::from_mins(2), || {
        (accounted() >= MANY).then_some(())
    });
    let status = scene.daemon.status();
    assert_eq!(accounted(), MANY, "accounted for; {status:#}");
    audit.verify();
    // Who comes after is named by a record of its own.
    assert!(!kill(scene.guest.pid(), "-9"));
    audit.one("the record of the next attempt", |r| {
        is_kernel(r, "refused", "flood-3") && r["actor"]["comm"] == "kill"
    });
}
