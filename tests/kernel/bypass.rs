//! A stop without a lease: refused, or, where vmward only observes or is not
//! there, not.

use std::time::Duration;

use serde_json::Value;
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::Guest;
use vmward_tests::wait;

use crate::attacks::{ATTACKS, Attack, assert_refused};
use crate::{Scene, assert_in_vm};

/// The guest has stopped, whatever way the attack takes.
#[track_caller]
fn assert_stopped(attack: &Attack, guest: &Guest, pid: i32) {
    if attack.signal == "SIGSTOP" {
        wait::until("QEMU to be stopped", Duration::from_secs(10), || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            stat.rsplit(") ").next()?.starts_with('T').then_some(())
        });
        vmward_tests::guest::run("/bin/kill", &["-KILL", &pid.to_string()]);
    }
    Guest::wait_gone(pid);
    guest.wait_state("shut off");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn control_without_vmward_every_attack_stops_the_vm() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let guest = Guest::start("control-1");
    for (i, attack) in ATTACKS.iter().enumerate() {
        if i > 0 {
            guest.start_again();
        }
        let pid = guest.pid();
        (attack.run)(&guest);
        assert_stopped(attack, &guest, pid);
    }
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn enforce_refuses_every_attack_and_records_it_once() {
    let scene = Scene::new("enforce-1", Mode::Enforce);
    let mut refusals = 0;
    for attack in &ATTACKS {
        let output = (attack.run)(&scene.guest);
        assert_refused(attack, &output);
        scene.guest.assert_ticks();
        assert_eq!(scene.guest.state(), "running", "after {}", attack.name);
        refusals += 1;
        let all = scene.daemon.audit();
        let found = wait::until("the record of the refusal", Duration::from_secs(10), || {
            let found = all.select(|r| is_kernel(r, "refused", "enforce-1"));
            (found.len() >= refusals).then_some(found)
        });
        assert_eq!(found.len(), refusals, "after {}: {found:#?}", attack.name);
        assert_names(attack, &found[refusals - 1]);
    }
    scene.daemon.audit().verify();
}

/// The record says what was tried and who tried.
#[track_caller]
fn assert_names(attack: &Attack, record: &Value) {
    assert_eq!(record["vector"], "signal", "{record:#}");
    assert_eq!(record["signal"]["name"], attack.signal, "{record:#}");
    let actor = record["actor"]["comm"].as_str().unwrap_or_default();
    assert!(attack.actors.contains(&actor), "{record:#}");
    assert_eq!(record["actor"]["uid"], 0, "{record:#}");
    assert!(record["vm"]["uuid"].is_string(), "{record:#}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn signals_that_stop_nothing_pass_unrecorded() {
    let scene = Scene::new("benign-1", Mode::Enforce);
    let pid = scene.guest.pid().to_string();
    for signal in ["-0", "-CONT", "-CHLD", "-WINCH", "-URG"] {
        let output = vmward_tests::guest::run("/bin/kill", &[signal, &pid]);
        assert!(
            output.status.success(),
            "kill {signal}: {}",
            vmward_tests::guest::text(&output)
        );
    }
    // A refusal after them: what came before it is in the log by then.
    let output = vmward_tests::guest::run("/bin/kill", &["-9", &pid]);
    assert!(!output.status.success());
    let record = scene
        .daemon
        .audit()
        .one("the refusal", |r| is_kernel(r, "refused", "benign-1"));
    assert_eq!(record["signal"]["name"], "SIGKILL");
    assert_eq!(record["vm_seq"], 1, "an earlier event was made: {record:#}");
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn observe_lets_the_attack_through_and_says_that_it_would_have_refused() {
    let limit = vmward_tests::ten_stops_a_day();
    let scene = Scene::with_policy("observe-1", Mode::Observe, &limit);
    let pid = scene.guest.pid();
    let output = vmward_tests::guest::run("/bin/kill", &["-9", &pid.to_string()]);
    assert!(
        output.status.success(),
        "{}",
        vmward_tests::guest::text(&output)
    );
    Guest::wait_gone(pid);
    let audit = scene.daemon.audit();
    let record = audit.one("the record", |r| is_kernel(r, "would-refuse", "observe-1"));
    assert_eq!(record["signal"]["name"], "SIGKILL");
    assert_eq!(record["actor"]["comm"], "kill");
    let ended = audit.one("the end of the VM", |r| {
        r["kind"] == "vm" && r["event"] == "ended" && r["vm"]["name"] == "observe-1"
    });
    assert_eq!(ended["signal"]["name"], "SIGKILL", "{ended:#}");
    assert!(
        audit
            .select(|r| is_kernel(r, "refused", "observe-1"))
            .is_empty()
    );
    let status = scene.daemon.status();
    assert_eq!(status["mode"], "observe");
    // A stop beside the gateway counts like one that was asked for.
    let limits = status["limits"].as_array().cloned().unwrap_or_default();
    let charged = limits.iter().find(|limit| limit["key"] == "grant:uid:0");
    let charged = charged.unwrap_or_else(|| panic!("nothing was charged: {limits:#?}"));
    assert_eq!(charged["remaining"], 9, "{charged:#}");
}
