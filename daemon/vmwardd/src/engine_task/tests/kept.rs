//! What has happened and cannot be undone, while the journal takes nothing.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vmward_core::clock::NS_PER_S;
use vmward_core::effect::Effect;
use vmward_core::engine::VmTarget;
use vmward_core::ids::VmUuid;
use vmward_core::journal::{JournalEntry, Replay, ReplayedState};

use super::batch::Batch;
use super::full_disk::on_full_disk;
use super::*;

const POLICY: &str = r#"{"version": "1", "default": "deny", "tools": {
    "vm_list": {},
    "vm_stop": {"limits": [{"counter": "c", "window": "day", "max": 3, "scope": "host"}]}
}}"#;

/// A VM is stopped beside the gateway, in a round of its own.
fn stop_beside_the_gateway(shell: &mut Shell) {
    let vm = VmTarget {
        uuid: VmUuid::from_bytes([1; 16]),
        name: "web-1".to_owned(),
        labels: std::collections::BTreeMap::default(),
        process: Some(VM),
        protected: true,
    };
    let now = convert::now();
    let grant = "uid:0".to_owned();
    let charged = shell
        .engine
        .charge_out_of_band(Effect::ForceStop, &vm, 0, grant, now);
    let mut batch = Batch::default();
    batch.journal(charged.0);
    shell.commit(batch, now);
}

fn replayed(lines: &[u8]) -> ReplayedState {
    Replay::read(lines).unwrap().finish("boot", convert::now())
}

fn waiting(shell: &mut Shell) -> usize {
    let degraded = shell.status(None, convert::now()).degraded;
    let told = degraded.iter();
    told.filter(|line| line.contains("wait for room in the journal"))
        .count()
}

#[test]
fn a_stop_beside_the_gateway_is_charged_after_a_restart_though_the_disk_was_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let (full, lines) = on_full_disk(&shell);
    stop_beside_the_gateway(&mut shell);
    assert_eq!(waiting(&mut shell), 1);
    // What needs no journal is not held up by it.
    let listed = ask(&mut shell, 0, "vm_list").unwrap();
    assert_eq!(listed.decision, v1::Decision::Allow);
    assert_eq!(replayed(&lines.lock().unwrap()).stamps.len(), 0);
    full.store(false, Ordering::Relaxed);
    shell.step(Vec::new());
    assert_eq!(waiting(&mut shell), 0);
    shell.step(Vec::new());
    assert_eq!(replayed(&lines.lock().unwrap()).stamps.len(), 1);
}

#[test]
fn a_step_of_the_clock_is_marked_though_the_disk_was_full() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let (full, lines) = on_full_disk(&shell);
    let mut now = convert::now();
    shell.engine.clock_mark(now);
    now.wall_ns += 3600 * NS_PER_S;
    let mark = shell.engine.clock_mark(now);
    assert!(mark.is_some());
    let mut batch = Batch::default();
    batch.journal(mark.into_iter().collect());
    shell.commit(batch, now);
    full.store(false, Ordering::Relaxed);
    shell.commit(Batch::default(), now);
    let lines = lines.lock().unwrap();
    let text = String::from_utf8_lossy(&lines);
    assert_eq!(text.matches("\"t\":\"boot\"").count(), 2, "{text}");
}

#[test]
fn what_a_closed_journal_does_not_take_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut shell = shell_with(dir.path(), POLICY);
    let ledger = Arc::clone(&shell.ledger);
    ledger.lock().unwrap().close("a sync failed".to_owned());
    stop_beside_the_gateway(&mut shell);
    assert_eq!(waiting(&mut shell), 0);
    let status = shell.status(None, convert::now());
    assert_eq!(status.counters["journal-entries-dropped"], 1);
    // Reports are no reason to keep anything: a client makes as many as it likes.
    let report = JournalEntry::Report {
        id: DecisionId(1),
        begun: true,
        at: convert::now(),
    };
    shell.keep(vec![report]);
    let status = shell.status(None, convert::now());
    assert_eq!(status.counters["journal-entries-dropped"], 1);
}
