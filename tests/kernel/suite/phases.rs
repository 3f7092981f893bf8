//! The five ways in which every row is played.

use std::time::Duration;

use serde_json::{Value, json};
use vmward_tests::attacks::control_files::asks_twice;
use vmward_tests::attacks::{Attack, Harm, is_harmless};
use vmward_tests::audit::{events, events_of};
use vmward_tests::coverage::word;
use vmward_tests::daemon::{Mode, client, take_enforcement_out};
use vmward_tests::guest::{Guest, lives, run, text, virsh};
use vmward_tests::wait;
use vmward_wire::v1::{AuthorizeParams, AuthorizeResult};

use super::POLICY;
use super::harm::{Before, fresh, heal, is_well, refused, undo, wake};
use super::records::{any, brief, exactly_one, is_by_libvirt, is_by_thread, is_of, mark, wait_for};
use super::report::{Failed, Report};
use crate::{Scene, assert_in_vm};

/// How long a guest may take to power itself off.
const POWER_OFF: Duration = Duration::from_secs(10);
/// Rows for one death of the daemon: fewer than records that may come at once.
const ROWS_A_DEATH: usize = 40;

/// Without vmward, each attack does its harm.
pub(super) fn control(rows: &[&'static Attack]) {
    assert_in_vm();
    take_enforcement_out();
    let mut report = Report::new("control");
    let guest = Guest::start("suite-1");
    let mut armed = false;
    for row in rows {
        disarm(row, &guest, &mut armed, kill);
        match row.harm {
            Harm::Host => report.skip(row, "it would end the test VM"),
            Harm::Disarms | Harm::Daemon => {
                report.skip(row, "without vmward there is nothing to attack");
            }
            _ => {
                if let Some(why) = is_harmless(row) {
                    report.skip(row, why);
                    continue;
                }
                report.play(row, || {
                    let before = Before::look(&guest);
                    let outcome = before.harmed(row, &guest, &(row.run)(&guest));
                    heal(row, &guest, &before, kill);
                    Ok(outcome?)
                });
            }
        }
    }
    report.end();
}

/// What rows before have armed goes off with the process; the next of those that
/// only arm something may go on with it.
fn disarm(row: &Attack, guest: &Guest, armed: &mut bool, end: impl FnOnce(i32)) {
    let arms = matches!(row.harm, Harm::Arms);
    if *armed && !arms {
        fresh(guest, guest.pid(), end);
    }
    *armed = arms;
}

fn kill(pid: i32) {
    run("/bin/kill", &["-9", &pid.to_string()]);
}

/// Enforced: refused as the row says, on record once, the guest well.
pub(super) fn enforce(rows: &[&'static Attack]) {
    let scene = Scene::with_policy("suite-1", Mode::Enforce, POLICY);
    let mut report = Report::new("enforce");
    for row in rows {
        let before = Before::look(&scene.guest);
        let good = report.play(row, || refuse(row, &scene, &before));
        if !good {
            recover(&scene, row, &before);
        }
    }
    scene.daemon.audit().verify();
    report.end();
}

/// Observed: the harm is done, and a record says that it would have been refused.
pub(super) fn observe(rows: &[&'static Attack]) {
    let scene = Scene::with_policy("suite-1", Mode::Observe, POLICY);
    let mut report = Report::new("observe");
    let mut armed = false;
    for row in rows {
        if matches!(row.harm, Harm::Host | Harm::Disarms | Harm::Daemon) {
            report.skip(row, "nothing may let it through here");
            continue;
        }
        if let Some(why) = is_harmless(row) {
            report.skip(row, why);
            continue;
        }
        disarm(row, &scene.guest, &mut armed, kill);
        protected(&scene);
        report.play(row, || {
            let audit = scene.daemon.audit();
            let (before, mark) = (Before::look(&scene.guest), mark(&audit));
            let outcome = before.harmed(row, &scene.guest, &(row.run)(&scene.guest));
            let records = wait_for(&audit, mark, "would-refuse");
            heal(row, &scene.guest, &before, kill);
            protected(&scene);
            outcome?;
            let records = records?;
            one_of(row, &records, &scene.guest.name)?;
            for record in records.iter().filter(|record| !follows(row, record)) {
                is_of(row, record, &scene.guest.name)?;
            }
            Ok(())
        });
    }
    scene.daemon.audit().verify();
    report.end();
}

/// With the row's lease the attack works and the record names the lease; with
/// another it is refused.
pub(super) fn lease(rows: &[&'static Attack]) {
    let scene = Scene::with_policy("suite-1", Mode::Enforce, POLICY);
    let mut report = Report::new("lease");
    for row in rows {
        if let Some(why) = asks_twice(row).or_else(|| is_harmless(row)) {
            report.skip(row, why);
            continue;
        }
        let before = Before::look(&scene.guest);
        let good = match row.lease {
            _ if matches!(row.harm, Harm::Host | Harm::Disarms | Harm::Daemon) => {
                report.skip(row, "a VM's lease does not cover it");
                continue;
            }
            Some(effect) => report.play(row, || pass(row, &scene, &before, effect)),
            None => report.play(row, || {
                let leased = Leased::take(&scene.guest.name, "force_stop");
                let outcome = refuse(row, &scene, &before);
                leased.give_back();
                outcome
            }),
        };
        if !good {
            recover(&scene, row, &before);
        }
    }
    scene.daemon.audit().verify();
    report.end();
}

fn pass(row: &Attack, scene: &Scene, before: &Before, effect: &str) -> Result<(), Failed> {
    let audit = scene.daemon.audit();
    let mark = mark(&audit);
    let leased = Leased::take(&scene.guest.name, effect);
    let outcome = before.harmed(row, &scene.guest, &(row.run)(&scene.guest));
    let records = wait_for(&audit, mark, "allowed-lease");
    undo(row, &scene.guest);
    leased.give_back();
    another_process(row, scene, before);
    outcome?;
    let records = records?;
    let record = one_of(row, &records, &scene.guest.name)?;
    if record["lease"] != json!(leased.decision) {
        return Err(format!("another lease is named: {record}").into());
    }
    Ok(())
}

/// Where nothing refuses it, what is armed by a call to libvirt becomes an order to
/// QEMU, a stolen descriptor is put to use, and libvirt ends a QEMU that it has given
/// the last order, or that answers no more.
fn follows(row: &Attack, record: &Value) -> bool {
    let vector = record["vector"].as_str().unwrap_or_default();
    let steals = row.id.ends_with("pidfd-getfd");
    let ends = row.vector == "monitor-command" && matches!(row.harm, Harm::Ends);
    (row.vector == "rpc" && vector == "monitor-command")
        || (steals && ["monitor-connect", "signal"].contains(&vector))
        || (ends && vector == "signal" && is_by_libvirt(record))
}

/// The record of this attack.
fn one_of<'a>(row: &Attack, records: &'a [Value], vm: &str) -> Result<&'a Value, String> {
    let found = records.iter().find(|record| is_of(row, record, vm).is_ok());
    found.ok_or_else(|| {
        let list: Vec<_> = records.iter().map(brief).collect();
        format!("no record of vector {}: {list:?}", row.vector)
    })
}

/// Without a daemon: refused all the same, and recorded by the next one.
pub(super) fn down(rows: &[&'static Attack]) {
    let mut scene = Scene::with_policy("suite-1", Mode::Enforce, POLICY);
    let mut report = Report::new("down");
    let (rows, others): (Vec<&'static Attack>, Vec<_>) = rows
        .iter()
        .partition(|row| !matches!(row.harm, Harm::Daemon));
    for row in others {
        report.skip(row, "there is no daemon");
    }
    for some in rows.chunks(ROWS_A_DEATH) {
        scene.daemon.kill_9();
        let audit = scene.daemon.audit();
        let start = mark(&audit);
        let mut refused_ones = Vec::new();
        for row in some {
            let before = Before::look(&scene.guest);
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                refused(row, &(row.run)(&scene.guest))?;
                before.unharmed(row, &scene.guest)
            }))
            .unwrap_or_else(|_panic| Err("a panic, shown above".to_owned()));
            refused_ones.push((row, outcome));
            if !before.lives() {
                fresh(&scene.guest, before.pid, kill);
            }
        }
        scene.daemon.start_again(&[]);
        protected(&scene);
        let mut records = Vec::new();
        wait::within(Duration::from_secs(20), || {
            records = wait_for(&audit, start, "refused").unwrap_or_default();
            (events(&records) >= some.len() as u64).then_some(())
        });
        // A record stands for several events that came together.
        let mut left: Vec<_> = records
            .iter()
            .map(|record| (events_of(record), record))
            .collect();
        for (row, outcome) in refused_ones {
            report.play(row, || {
                outcome?;
                let own = left.iter_mut().find(|(events, record)| {
                    *events > 0 && is_of(row, record, &scene.guest.name).is_ok()
                });
                let (events, record) = own.ok_or_else(|| "no record tells of it".to_owned())?;
                *events -= 1;
                if is_by_thread(row) {
                    let actor = &record["actor"];
                    left.retain(|(_, record)| record["actor"] != *actor);
                }
                Ok(())
            });
        }
        // One of several events of an attack, or one of nobody's.
        left.retain(|(events, _)| *events > 0);
        let left: Vec<_> = left.iter().map(|(_, record)| brief(record)).collect();
        report.also(left.is_empty(), &format!("too many records: {left:?}"));
    }
    scene.daemon.audit().verify();
    report.end();
}

/// One attack that must be refused.
fn refuse(row: &Attack, scene: &Scene, before: &Before) -> Result<(), Failed> {
    let audit = scene.daemon.audit();
    let mark = mark(&audit);
    let output = (row.run)(&scene.guest);
    let told = refused(row, &output);
    let recorded = wait_for(&audit, mark, "refused");
    if let Err(why) = before.unharmed(row, &scene.guest) {
        let word = if any(&audit, mark) {
            word::STOPPED
        } else {
            word::UNRECORDED
        };
        return Err(Failed { word, why });
    }
    told?;
    recorded?;
    exactly_one(row, &audit, mark, "refused", &scene.guest.name)?;
    Ok(())
}

/// A guest that ticks and is protected, whatever a row that failed left behind.
fn recover(scene: &Scene, row: &Attack, before: &Before) {
    undo(row, &scene.guest);
    // It may be another process of the guest's already.
    if !is_well(&scene.guest) {
        heal(row, &scene.guest, before, |pid| {
            end_disarmed(row, scene, pid);
        });
    }
    protected(scene);
}

/// Waits until the guest's present process is under protection.
fn protected(scene: &Scene) {
    let (name, pid) = (&scene.guest.name, scene.guest.pid());
    wait::until("the guest to be protected", Duration::from_mins(2), || {
        let status = scene.daemon.status();
        let vms = status["vms"].as_array()?;
        vms.iter()
            .any(|vm| vm["name"] == name.as_str() && vm["pid"] == pid && vm["protected"] == true)
            .then_some(())
    });
}

/// A guest in a process of its own for the next row: what a lease has begun is
/// covered for a minute, and as long its VM gets no other lease. So the guest
/// powers itself off where it can.
fn another_process(row: &Attack, scene: &Scene, before: &Before) {
    let guest = &scene.guest;
    if before.lives() && wake(guest, before) {
        guest.send("p");
        // One that was left no files or no memory does not hear it.
        let _heard = wait::within(POWER_OFF, || (!before.lives()).then_some(()));
    }
    fresh(guest, before.pid, |pid| end_disarmed(row, scene, pid));
    protected(scene);
}

/// Ends a guest that does not hear, and may have been left no processor time to end
/// with. It is disarmed for the rest of its process.
fn end_disarmed(row: &Attack, scene: &Scene, pid: i32) {
    protected(scene);
    let name = scene.guest.name.as_str();
    let disarm = ["disarm", "--vm", name, "--reason", "attack suite"];
    let output = run("vmward", &disarm);
    // It may have come to its end by itself in this very moment.
    let done = output.status.success() || !lives(pid);
    assert!(done, "{}", text(&output));
    undo(row, &scene.guest);
    kill(pid);
    Guest::wait_gone(pid);
    virsh(&["destroy", name]);
}

/// A lease that this process holds: what it starts may use it.
struct Leased {
    decision: u64,
    lease: u64,
}

impl Leased {
    fn take(vm: &str, effect: &str) -> Self {
        let params = AuthorizeParams {
            vm: Some(vm.to_owned()),
            effect: Some(serde_json::from_value(json!(effect)).expect("an effect of vmward's")),
            reason: Some("attack suite".to_owned()),
            ..AuthorizeParams::default()
        };
        let answer: AuthorizeResult = client().authorize(&params).expect("the daemon answers");
        let lease = answer.lease;
        let lease = lease.unwrap_or_else(|| panic!("no lease for {effect}: {}", answer.message));
        Self {
            decision: answer.decision_id,
            lease: lease.id,
        }
    }

    /// It may have ended with its VM.
    fn give_back(&self) {
        let _ended = client().release(self.lease);
    }
}
