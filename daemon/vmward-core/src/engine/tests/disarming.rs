//! Protection taken away, put back, and coming back by itself.

use super::*;
use crate::{
    approval::Person,
    audit::ProtectionEvent,
    disarm::{Disarm, DisarmedVm, Operator},
    journal::{Replay, ReplayedState, encode_line},
};

pub(super) fn operator() -> Operator {
    Operator {
        person: Person {
            uid: 0,
            loginuid: Some(1000),
        },
        pid: 812,
        comm: "vmward".to_owned(),
    }
}

/// Of VM number `n`, or of the host, at second 10.
fn disarm(n: Option<u8>, until_s: Option<i64>) -> Disarm {
    let vm = n.map(vm).map(|vm| DisarmedVm {
        uuid: vm.uuid,
        name: vm.name,
        process: vm.process.expect("it runs"),
    });
    Disarm {
        vm,
        by: operator(),
        reason: "ticket 4711".to_owned(),
        since: at(10),
        until_ns: until_s.map(|s| s * NS_PER_S),
    }
}

fn events(audit: &[AuditBody]) -> Vec<ProtectionEvent> {
    let event = |body: &AuditBody| match body {
        AuditBody::Protection(record) => record.event,
        other => panic!("{other:?}"),
    };
    audit.iter().map(event).collect()
}

/// What a daemon finds that starts at second 100 of the boot `boot_id`.
fn replayed(entries: &[JournalEntry], boot_id: &str) -> ReplayedState {
    let boot = JournalEntry::Boot {
        boot_id: BOOT.to_owned(),
        at: at(0),
    };
    let lines = std::iter::once(&boot).chain(entries);
    let lines: Vec<u8> = lines.flat_map(|e| encode_line(e).expect("JSON")).collect();
    Replay::read(&lines)
        .expect("a good journal")
        .finish(boot_id, at(100))
}

#[test]
fn a_disarm_names_who_why_and_until_when() {
    let mut engine = engine();
    let (_, audit, former) = engine.disarm(disarm(Some(1), Some(610)));
    assert_eq!(former, None);
    let AuditBody::Protection(record) = audit else {
        panic!("{audit:?}");
    };
    assert_eq!(record.event, ProtectionEvent::Disarmed);
    assert_eq!(record.by, Some(operator()));
    assert_eq!(record.reason.as_deref(), Some("ticket 4711"));
    assert_eq!(record.vm.expect("a VM").name, "web-1");
    let until = record.until.expect("a deadline");
    assert_eq!(until, crate::clock::rfc3339(at(610).wall_ns));
}

#[test]
fn it_ends_at_its_deadline_and_not_before() {
    let mut engine = engine();
    drop(engine.disarm(disarm(Some(1), Some(20))));
    drop(engine.disarm(disarm(Some(2), None)));
    assert_eq!(engine.next_deadline(), Some(20 * NS_PER_S));
    assert!(engine.expire_disarms(at(19)).ended.is_empty());
    let over = engine.expire_disarms(at(20));
    assert_eq!(events(&over.audit), [ProtectionEvent::Expired]);
    assert_eq!(over.journal.len(), 1);
    assert_eq!(engine.disarms().get(vm(1).process), None);
    assert!(engine.disarms().get(vm(2).process).is_some());
}

#[test]
fn it_ends_with_the_vm_s_process_and_no_other_vm_s() {
    let mut engine = engine();
    drop(engine.disarm(disarm(Some(1), None)));
    drop(engine.disarm(disarm(None, None)));
    let other = engine.vm_exited(process(1002), at(30));
    assert!(other.audit.is_empty());
    let ended = engine.vm_exited(process(1001), at(30));
    assert_eq!(events(&ended.audit), [ProtectionEvent::Ended]);
    assert_eq!(ended.journal.len(), 1);
    assert!(engine.disarms().get(None).is_some(), "the host's goes on");
}

#[test]
fn arming_one_vm_leaves_the_others_and_arming_all_leaves_none() {
    let mut engine = engine();
    for n in [Some(1), Some(2), None] {
        drop(engine.disarm(disarm(n, None)));
    }
    let one = engine.arm(vm(1).process, &operator(), Some("done"), at(20));
    assert_eq!(one.ended.len(), 1);
    assert_eq!(engine.disarms().iter().count(), 2);
    let all = engine.arm(None, &operator(), None, at(20));
    assert_eq!(events(&all.audit), [ProtectionEvent::Armed; 2]);
    assert_eq!(engine.disarms().iter().count(), 0);
    assert!(engine.arm(None, &operator(), None, at(21)).ended.is_empty());
}

#[test]
fn one_that_could_not_be_written_down_leaves_the_former_in_force() {
    let mut engine = engine();
    drop(engine.disarm(disarm(Some(1), Some(60))));
    let (_, _, former) = engine.disarm(disarm(Some(1), None));
    engine.undo_disarm(&disarm(Some(1), None), former.clone());
    let left = engine.disarms().get(vm(1).process).expect("the former");
    assert_eq!(left.until_ns, Some(60 * NS_PER_S));
    // A person may have armed it in the same round.
    drop(engine.arm(vm(1).process, &operator(), None, at(11)));
    engine.undo_disarm(&disarm(Some(1), Some(60)), former);
    assert_eq!(engine.disarms().iter().count(), 0);
}

#[test]
fn it_survives_a_restart_of_the_daemon_and_a_compacted_journal() {
    let mut engine = engine();
    let mut journal = Vec::new();
    for n in [Some(1), Some(2), None] {
        journal.extend(engine.disarm(disarm(n, Some(3600))).0);
    }
    journal.extend(engine.arm(vm(2).process, &operator(), None, at(20)).journal);
    for entries in [journal, engine.snapshot(at(50))] {
        let state = replayed(&entries, BOOT);
        assert!(state.rebooted.is_empty());
        let again = Engine::restore(policy(SEED), &state);
        let all: Vec<_> = again.disarms().iter().cloned().collect();
        assert_eq!(all, [disarm(None, Some(3600)), disarm(Some(1), Some(3600))]);
    }
}

#[test]
fn no_disarm_outlives_the_boot_and_the_next_start_tells_of_it_once() {
    let mut engine = engine();
    let mut journal = engine.disarm(disarm(None, None)).0;
    let state = replayed(&journal, "boot-two");
    assert!(state.disarms.is_empty());
    assert_eq!(state.rebooted, [disarm(None, None)]);
    journal.push(JournalEntry::Boot {
        boot_id: "boot-two".to_owned(),
        at: at(1),
    });
    journal.push(JournalEntry::Armed {
        process: None,
        at: at(1),
    });
    let state = replayed(&journal, "boot-two");
    assert!(state.disarms.is_empty() && state.rebooted.is_empty());
}
