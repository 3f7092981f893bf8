//! Signals, tampering and scheduling: each way of the table, without vmward and
//! with it.

use std::time::Duration;

use vmward_tests::attacks::{Attack, Harm, Refusal, sched, signals, tampering};
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text};
use vmward_tests::wait;

use crate::{Scene, assert_in_vm};

fn table() -> impl Iterator<Item = &'static Attack> {
    let only = std::env::var("VMWARD_ROWS").unwrap_or_default();
    [
        tampering::ATTACKS,
        sched::ATTACKS,
        signals::BY_FILES,
        signals::ATTACKS,
        signals::EVERY_SIGNAL,
    ]
    .into_iter()
    .flatten()
    .filter(move |attack| attack.id.contains(&only))
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn task_control() {
    assert_in_vm();
    vmward_tests::daemon::take_enforcement_out();
    let guest = Guest::start("task-control");
    let pid = guest.pid();
    for file in ["status", "cgroup", "stat"] {
        eprintln!(
            "{}",
            std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap()
        );
    }
    let mut wrong = Vec::new();
    for attack in table() {
        if guest.state() != "running" {
            guest.start_again();
        }
        let pid = guest.pid();
        let output = (attack.run)(&guest);
        let status = output.status.code();
        let said = text(&output);
        let happened = match attack.harm {
            Harm::Ends => ends(pid),
            Harm::Stalls => stalls(&guest),
            _ => Some(()),
        };
        eprintln!("{} {status:?} {happened:?} {said:?}", attack.id);
        if happened.is_none() || (attack.harm == Harm::Arms && status != Some(0)) {
            wrong.push((attack.id, status, said));
        }
        if attack.harm != Harm::Ends {
            run("/bin/kill", &["-CONT", &pid.to_string()]);
            run("/bin/kill", &["-KILL", &pid.to_string()]);
            Guest::wait_gone(pid);
        }
        let _settled = tries(100, || (guest.state() != "running").then_some(()));
        if guest.state() != "shut off" && guest.state() != "running" {
            vmward_tests::guest::virsh(&["destroy", &guest.name]);
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn tries(times: u32, mut look: impl FnMut() -> Option<()>) -> Option<()> {
    for _ in 0..times {
        if let Some(found) = look() {
            return Some(found);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

fn ends(pid: i32) -> Option<()> {
    tries(80, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        matches!(state, None | Some('Z' | 'X')).then_some(())
    })
}

fn stalls(guest: &Guest) -> Option<()> {
    let output = run(
        "xtask",
        &[
            "guest",
            "wait-ticks",
            &guest.name,
            "--count",
            "6",
            "--seconds",
            "20",
        ],
    );
    (!output.status.success()).then_some(())
}

#[test]
#[ignore = "attacks VMs: runs in the test VM"]
fn task_enforce() {
    let scene = Scene::new("task-enforce", Mode::Enforce);
    let mut wrong = Vec::new();
    let mut records = 0;
    for attack in table() {
        let output = (attack.run)(&scene.guest);
        let said = text(&output);
        let told = match attack.refusal {
            Refusal::NotPermitted => {
                !output.status.success() && said.contains("Operation not permitted")
            }
            Refusal::Says(what) => !output.status.success() && said.contains(what),
            Refusal::Silent => output.status.success(),
        };
        let all = scene.daemon.audit();
        let found = wait_more(&all, records);
        let new = &found[records.min(found.len())..];
        let named = !new.is_empty()
            && new
                .iter()
                .all(|r| r["vector"] == attack.vector && r["verdict"] == "refused");
        eprintln!(
            "{} told {told} named {named} {} {said:?}",
            attack.id,
            new.len()
        );
        for r in new {
            eprintln!(
                "   {} {} {}",
                r["word"], r["actor"]["comm"], r["vm"]["name"]
            );
        }
        if !told || !named || new.len() != 1 {
            wrong.push((attack.id, said, new.to_vec()));
        }
        records = found.len();
    }
    scene.guest.assert_ticks();
    assert_eq!(scene.guest.state(), "running");
    scene.daemon.audit().verify();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn wait_more(audit: &vmward_tests::audit::AuditLog, records: usize) -> Vec<serde_json::Value> {
    let look = || audit.select(|r| r["kind"] == "kernel");
    tries(30, || (look().len() > records).then_some(()));
    look()
}
