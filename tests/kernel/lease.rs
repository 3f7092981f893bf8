//! A stop with a lease: allowed, once, for this VM, for its holder.

use std::process::Stdio;

use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::{Mode, client};
use vmward_tests::guest::{Guest, run, text};
use vmward_wire::v1::{AuthorizeParams, Decision, Effect};

use crate::Scene;

const RUN: [&str; 7] = [
    "run",
    "--effect",
    "force_stop",
    "--reason",
    "maintenance, ticket 4711",
    "--vm",
    "",
];

/// `vmward run` for `vm`, with the command after it.
fn vmward_run(vm: &str, command: &[&str]) -> std::process::Output {
    let mut args = RUN.to_vec();
    args[6] = vm;
    args.push("--");
    args.extend(command);
    run("vmward", &args)
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_lease_lets_virsh_destroy_through_once() {
    let scene = Scene::new("lease-1", Mode::Enforce);
    let before = scene.guest.pid();
    let output = vmward_run(
        "lease-1",
        &["virsh", "-c", "qemu:///system", "destroy", "lease-1"],
    );
    assert!(output.status.success(), "{}", text(&output));
    Guest::wait_gone(before);
    scene.guest.wait_state("shut off");
    let audit = scene.daemon.audit();
    let decision = audit.one("the decision", |r| r["kind"] == "decision");
    assert_eq!(decision["decision"], "allow");
    assert_eq!(decision["reason"], "maintenance, ticket 4711");
    let ended = audit.one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended"
    });
    assert_eq!(ended["lease"], decision["decision_id"], "{ended:#}");

    scene.guest.start_again();
    scene.daemon.wait_protected("lease-1");
    let again = run("/bin/kill", &["-9", &scene.guest.pid().to_string()]);
    assert!(
        !again.status.success(),
        "the lease of the former process still works"
    );
    scene.guest.assert_ticks();
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn a_lease_lets_its_holders_child_kill_the_vm() {
    let scene = Scene::new("lease-2", Mode::Enforce);
    let pid = scene.guest.pid();
    let output = vmward_run("lease-2", &["/bin/kill", "-9", &pid.to_string()]);
    assert!(output.status.success(), "{}", text(&output));
    Guest::wait_gone(pid);
    let record = scene.daemon.audit().one("the allowed signal", |r| {
        is_kernel(r, "allowed-lease", "lease-2")
    });
    assert_eq!(record["actor"]["comm"], "kill");
    assert_eq!(record["signal"]["name"], "SIGKILL");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn another_process_cannot_use_a_live_lease() {
    let scene = Scene::new("lease-3", Mode::Enforce);
    let pid = scene.guest.pid().to_string();
    // `cat` holds the lease open until its input ends.
    let mut args = RUN.to_vec();
    args[6] = "lease-3";
    args.extend(["--", "sh", "-c", "echo leased; exec cat"]);
    let mut holder = std::process::Command::new("vmward")
        .args(&args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("vmward is on the path");
    let mut line = String::new();
    let out = holder.stdout.take().expect("piped");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).expect("a line");
    assert_eq!(line, "leased\n");
    assert_eq!(
        scene.daemon.status()["leases"].as_array().map(Vec::len),
        Some(1)
    );

    let stranger = run("/bin/kill", &["-9", &pid]);
    assert!(!stranger.status.success(), "a stranger used the lease");
    scene.guest.assert_ticks();
    drop(holder.stdin.take());
    holder.wait().expect("it is our child");
    let record = scene
        .daemon
        .audit()
        .one("the refusal", |r| is_kernel(r, "refused", "lease-3"));
    assert_eq!(record["signal"]["name"], "SIGKILL");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_eleventh_stop_within_a_window_gets_no_lease() {
    let scene = Scene::with_policy("lease-4", Mode::Enforce, &vmward_tests::ten_stops_a_day());
    assert_eq!(scene.daemon.status()["mode"], "enforce");
    let ask = || {
        // A lease for a graceful stop waits longest for its use: its deadline,
        // which gives the quota back of a VM that lived, is far away.
        let answer = client().authorize(&AuthorizeParams {
            vm: Some("lease-4".to_owned()),
            effect: Some(Effect::Stop),
            ..AuthorizeParams::default()
        });
        let answer = answer.expect("the daemon answers");
        if let Some(lease) = answer.lease {
            // Given back, so that the next can be had; its quota stays used.
            assert!(client().release(lease.id).expect("it is ours").ok);
        }
        answer.decision
    };
    for n in 1..=10 {
        assert_eq!(ask(), Decision::Allow, "stop {n}");
    }
    assert_eq!(ask(), Decision::Deny, "the eleventh");
}
