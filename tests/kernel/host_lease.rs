//! The host's own lease: who may restart the host while VMs run.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::attack;
use vmward_tests::daemon::{Mode, take_enforcement_out};
use vmward_tests::guest::{run, text};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

/// Twice a day, and no VM's stop at all.
const POLICY: &str = r#"{
    "version": "1", "default": "deny",
    "effects": {"host_reboot": {
        "require_reason": true,
        "limits": [{"counter": "restarts", "window": "day", "max": 2, "scope": "host"}]
    }}
}"#;
/// `SysRq`'s help: as good as any other letter, and harmless. For bash, which says why it
/// failed.
const SYSRQ: &str = "echo h > /proc/sysrq-trigger";

/// `vmward run --host`, with the command after it.
fn vmward_run(command: &[&str]) -> Output {
    let args = ["run", "--host", "--reason", "a new kernel", "--"];
    run("vmward", &[&args[..], command].concat())
}

#[track_caller]
fn assert_refused(what: &str, output: &Output) {
    let said = text(output);
    assert!(!output.status.success(), "{what} was let through: {said}");
    assert!(said.contains("not permitted"), "{what}: {said}");
}

/// reboot(2) with wrong numbers: where it is not refused, it fails as invalid.
#[track_caller]
fn assert_got_through(what: &str, output: &Output) {
    let said = text(output);
    assert!(!said.contains("not permitted"), "{what}: {said}");
    assert!(said.contains("Invalid argument"), "{what}: {said}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_host_s_lease_lets_its_holder_restart_the_host_and_nobody_else() {
    let scene = Scene::with_policy("host-lease-1", Mode::Enforce, POLICY);
    let audit = scene.daemon.audit();
    let reboot = ["vmward-attack", "host", "reboot"];
    assert_refused("reboot", &attack("host", "reboot", &[]));
    assert_refused("sysrq", &run("bash", &["-c", SYSRQ]));

    let both = format!("{}; {SYSRQ} && echo sysrq passed", reboot.join(" "));
    let output = vmward_run(&["sh", "-c", &both]);
    assert_got_through("under the lease", &output);
    assert!(text(&output).contains("sysrq passed"), "{}", text(&output));
    let decision = audit.one("the decision", |r| r["kind"] == "decision");
    assert_eq!(decision["decision"], "allow");
    assert_eq!(decision["effect"], "host_reboot");
    assert_eq!(decision["reason"], "a new kernel");
    let used = audit.one("the restart", |r| {
        r["verdict"] == "allowed-lease" && r["vector"] == "reboot"
    });
    assert_eq!(used["lease"], decision["decision_id"], "{used:#}");
    assert_eq!(used["vm"]["name"], "(host)");
    scene.guest.assert_ticks();

    // The lease was used and is live yet: for its holder, who has ended.
    assert_refused("a stranger", &attack("host", "reboot", &[]));
    let lease = &scene.daemon.status()["leases"][0];
    assert_eq!(lease["state"], "executing", "{lease:#}");
    let denied = vmward_run(&reboot);
    assert_eq!(denied.status.code(), Some(3), "{}", text(&denied));
    let qemu = scene.guest.pid().to_string();
    assert_refused("kill -9", &run("/bin/kill", &["-9", &qemu]));
    scene.guest.assert_ticks();
    audit.verify();
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn the_policy_decides_and_a_live_host_s_lease_is_its_holder_s() {
    let mut scene = Scene::new("host-lease-2", Mode::Enforce);
    let denied = vmward_run(&["true"]);
    assert_eq!(denied.status.code(), Some(3), "{}", text(&denied));
    scene.daemon.put_policy(POLICY);
    scene.daemon.audit().one("the new policy", |r| {
        r["kind"] == "daemon" && r["event"] == "policy-loaded"
    });
    // `cat` holds the lease open until its input ends.
    let mut holder = Command::new("vmward")
        .args(["run", "--host", "--reason", "a new kernel", "--"])
        .args(["sh", "-c", "echo leased; cat; vmward-attack host reboot"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("vmward is on the path");
    let mut line = String::new();
    let out = holder.stdout.take().expect("piped");
    let mut out = BufReader::new(out);
    out.read_line(&mut line).expect("a line");
    assert_eq!(line, "leased\n");
    assert_refused("a stranger", &attack("host", "reboot", &[]));
    // The lease lives on without the daemon.
    scene.daemon.kill_9();
    assert_refused("a stranger", &attack("host", "reboot", &[]));
    drop(holder.stdin.take());
    let output = holder.wait_with_output().expect("it is our child");
    assert_got_through("the holder", &output);
    scene.daemon.start_again(&[]);
    let used = scene.daemon.audit().one("the restart", |r| {
        r["verdict"] == "allowed-lease" && r["vector"] == "reboot"
    });
    assert_eq!(used["vm"]["name"], "(host)");
    scene.guest.assert_ticks();
}

/// systemd has the keyboard's three keys restart nothing whenever it begins anew, as its
/// upgrades have it do, by the call that restarts the host. The other way is no better
/// than a restart.
#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn whoever_has_the_keyboard_restart_nothing_restarts_nothing() {
    let keys = |order: &str| {
        let script = "my $done = syscall(169, 0xfee1dead, 672274793, hex($ARGV[0]), 0);
            die \"$!\\n\" if $done";
        let output = run("perl", &["-e", script, order]);
        (output.status.success(), text(&output))
    };
    let (off, on) = ("0", "89abcdef");
    assert_in_vm();
    take_enforcement_out();
    // The control: both are done.
    assert!(keys(on).0 && keys(off).0);

    let scene = Scene::with_policy("keys-1", Mode::Enforce, POLICY);
    let audit = scene.daemon.audit();
    let refused = || {
        let of_reboot = |r: &Value| r["verdict"] == "refused" && r["vector"] == "reboot";
        audit.select(of_reboot).len()
    };
    let (done, said) = keys(off);
    assert!(done, "{said}");
    let (done, said) = keys(on);
    assert!(!done && said.contains("not permitted"), "{said}");
    wait::until("its record", Duration::from_secs(30), || {
        (refused() > 0).then_some(())
    });
    assert_eq!(refused(), 1, "the harmless one is on record");
    scene.guest.assert_ticks();
}
