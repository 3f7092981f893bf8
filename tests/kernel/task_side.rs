//! Signals, tampering and scheduling: each way of the table, without vmward and
//! with it.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use vmward_tests::attacks::{Attack, Harm, Refusal, attack, sched, signals, tampering};
use vmward_tests::audit::is_kernel;
use vmward_tests::daemon::Mode;
use vmward_tests::guest::{Guest, run, text, virsh};
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
    .filter(move |attack| only.split(',').any(|part| attack.id.contains(part)))
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
        if happened.is_none() || (matches!(attack.harm, Harm::Arms) && status != Some(0)) {
            wrong.push((attack.id, status, said));
        }
        if !matches!(attack.harm, Harm::Ends) {
            run("/bin/kill", &["-CONT", &pid.to_string()]);
            run("/bin/kill", &["-KILL", &pid.to_string()]);
            Guest::wait_gone(pid);
        }
        let _settled = tries(100, || (guest.state() != "running").then_some(()));
        if guest.state() != "shut off" && guest.state() != "running" {
            virsh(&["destroy", &guest.name]);
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

fn wait_more(audit: &vmward_tests::audit::AuditLog, records: usize) -> Vec<Value> {
    let look = || audit.select(|r| r["kind"] == "kernel");
    tries(30, || (look().len() > records).then_some(()));
    look()
}

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
