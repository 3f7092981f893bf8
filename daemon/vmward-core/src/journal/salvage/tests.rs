//! What of a damaged journal goes on, and what is told of the rest.

mod made;

use proptest::prelude::*;

use self::made::{
    GRANT, PROCESS, allow, approval, at, boot, charged, lease, leased, lines, log, logged, person,
    record, repaired,
};
use super::{
    scan::{Found, legible, scan},
    *,
};
use crate::{
    approval::ApprovalState,
    audit::{ApprovalEvent, ApprovalRecord, AuditBody, DecisionRecord, LeaseNote},
    disarm::{Disarm, Operator},
    ids::DecisionId,
    journal::Replay,
    lease::LeaseState,
};

#[test]
fn whole_lines_are_found_where_lines_run_into_each_other() {
    let entries = [boot(), allow(1), allow(2), allow(3)];
    let all = lines(&entries);
    let mut bytes = all.concat();
    let end = all[0].len() + all[1].len() - 1;
    bytes[end] = b'x';
    bytes.splice(0..0, *b"rubbish ");
    let found = scan(&bytes);
    let whole: Vec<&JournalEntry> = found
        .iter()
        .filter_map(|piece| match &piece.found {
            Found::Entry(entry, _) => Some(entry.as_ref()),
            _ => None,
        })
        .collect();
    assert_eq!(whole, entries.iter().collect::<Vec<_>>());
    let (state, report) = repaired(&bytes, &log(&[logged(1), logged(2), logged(3)]));
    assert_eq!(
        charged(&state),
        [(1, "stops", 1), (2, "stops", 1), (3, "stops", 1)]
    );
    assert_eq!(report.charged, Vec::<String>::new(), "nothing is missing");
    let damage: Vec<(usize, usize)> = report.damage.iter().map(|one| (one.0, one.1)).collect();
    assert_eq!(damage, [(1, 0), (2, end + 8)]);
}

#[test]
fn what_a_damaged_line_was_is_told_where_it_can_be_read() {
    let line = lines(&[boot(), allow(12)])[1].clone();
    assert_eq!(legible(&line), Some(("allow".to_owned(), Some(12))));
    assert_eq!(legible(b"rubbish"), None);
    let mut bytes = lines(&[boot(), allow(12), allow(13)]).concat();
    let at = lines(&[boot()]).concat().len() + 60;
    bytes[at] ^= 1;
    let (state, report) = repaired(&bytes, &log(&[logged(12), logged(13)]));
    assert_eq!(
        report.lines()[0],
        format!(
            "damaged: line 2 (at byte {}): the line's checksum is wrong (it seems to be the \
             \"allow\" of decision 12)",
            lines(&[boot()]).concat().len()
        )
    );
    assert_eq!(report.carried.get("allow"), Some(&1));
    assert_eq!(report.charged, ["decision 12 on stops for grant:uid:0"]);
    assert_eq!(charged(&state), [(12, "stops", 1), (13, "stops", 1)]);
    assert_eq!(state.next_id, 14);
    // Its caller may still say what became of it.
    let recent: Vec<u64> = state.recent.iter().map(|one| one.id.0).collect();
    assert_eq!(recent, [12, 13]);
}

#[test]
fn what_was_open_is_over_and_stays_charged() {
    let disarm = Disarm {
        vm: None,
        by: Operator {
            person: person(0),
            pid: 1,
            comm: "vmward".to_owned(),
        },
        reason: "ticket".to_owned(),
        since: at(12),
        until_ns: None,
    };
    let entries = [
        boot(),
        allow(1),
        leased(2),
        JournalEntry::Approval(Box::new(approval(3, ApprovalState::Approved))),
        JournalEntry::Disarm(Box::new(disarm)),
    ];
    let mut all = lines(&entries);
    all.remove(1);
    let (state, report) = repaired(&all.concat(), &log(&[logged(1), logged(2)]));
    assert_eq!(charged(&state), [(1, "stops", 1), (2, "stops", 1)]);
    assert_eq!(state.leases, []);
    assert_eq!(state.disarms, []);
    let states: Vec<ApprovalState> = state.approvals.iter().map(|one| one.state).collect();
    assert_eq!(states, [ApprovalState::Denied]);
    assert_eq!(
        report.closed,
        [
            "lease 2 on web-1 is over, and stays charged",
            "the disarm of the host is over: protection is on",
            "request 3 for approval counts as denied: nothing proves that it is still open",
        ]
    );
}

fn said(id: u64, event: ApprovalEvent) -> AuditBody {
    let asked = approval(id, ApprovalState::Pending);
    AuditBody::Approval(Box::new(ApprovalRecord {
        approval: asked.id,
        event,
        grant: asked.binding.grant,
        requester: asked.requester,
        also_asked: Vec::new(),
        tool: asked.binding.tool,
        effect: asked.binding.effect,
        vm: None,
        args_digest: String::new(),
        rule: String::new(),
        decision: None,
        decided_by: Some(person(2000)),
        note: Some("not today".to_owned()),
        recovered: false,
    }))
}

#[test]
fn what_people_said_comes_from_the_log_and_a_yes_that_was_used_is_used() {
    let open = |id, state| JournalEntry::Approval(Box::new(approval(id, state)));
    let entries = [
        boot(),
        open(1, ApprovalState::Approved),
        open(2, ApprovalState::Pending),
        open(3, ApprovalState::Approved),
    ];
    let used = DecisionRecord {
        approval: Some(DecisionId(3)),
        ..record(4, Some(Vec::new()))
    };
    let log = log(&[
        said(1, ApprovalEvent::Used),
        said(2, ApprovalEvent::Denied),
        AuditBody::Decision(Box::new(used)),
        said(9, ApprovalEvent::Denied),
    ]);
    let (state, report) = repaired(&lines(&entries).concat(), &log);
    let [denied] = state.approvals.as_slice() else {
        panic!("{:?}", state.approvals)
    };
    assert_eq!(
        (denied.id, denied.state),
        (DecisionId(2), ApprovalState::Denied)
    );
    assert_eq!(denied.decided_by, Some(person(2000)));
    assert_eq!(denied.note.as_deref(), Some("not today"));
    assert_eq!(denied.deadline_ns, at(960).boot_ns);
    assert_eq!(
        report.forgotten,
        ["request 9 for approval, which was denied: the call is asked about again"]
    );
}

#[test]
fn a_record_that_does_not_tell_its_charges_is_charged_as_much_as_can_be() {
    let former = DecisionRecord {
        journalled: false,
        lease: Some(LeaseNote {
            holder: PROCESS,
            deadline_ns: 1,
        }),
        ..record(1, None)
    };
    let (state, report) = repaired(b"", &log(&[AuditBody::Decision(Box::new(former))]));
    assert_eq!(charged(&state), [(1, "stops", 1), (1, "units", 40)]);
    let keys: Vec<&str> = state
        .stamps
        .iter()
        .map(|one| one.charge.key.key.as_str())
        .collect();
    assert_eq!(keys, [GRANT, "agent:uid:0/helper"]);
    assert!(
        report.charged[0].ends_with("at most, since its record does not tell"),
        "{report:?}"
    );
}

#[test]
fn a_refund_that_either_of_both_tells_of_stays_one() {
    let release = JournalEntry::Release {
        id: DecisionId(1),
        state: LeaseState::Expired,
        at: at(50),
    };
    let mut all = lines(&[boot(), leased(1), release]);
    let log_of = |more: &[AuditBody]| log(&[&[logged(1)], more].concat());
    let refunded = AuditBody::lease(&lease(1), true);
    all.remove(1);
    let (state, _) = repaired(&all.concat(), &log_of(&[]));
    assert_eq!(charged(&state), [], "the journal tells of it");
    all.pop();
    let (state, _) = repaired(&all.concat(), &log_of(&[refunded]));
    assert_eq!(charged(&state), [], "the log tells of it");
    let (state, _) = repaired(&all.concat(), &log_of(&[]));
    assert_eq!(charged(&state), [(1, "stops", 1)], "nobody does");
}

#[test]
fn lines_of_an_older_file_behind_the_others_free_and_open_nothing() {
    let snapshot = JournalEntry::Snapshot {
        next_id: 40,
        recent: Vec::new(),
    };
    let open = JournalEntry::Approval(Box::new(approval(3, ApprovalState::Approved)));
    let used = JournalEntry::Approval(Box::new(approval(3, ApprovalState::Used)));
    let old = lines(&[boot(), snapshot, open.clone()]).concat();
    let new = lines(&[boot(), allow(1), allow(2), open, used]).concat();
    let bytes = [new, old].concat();
    let (state, report) = repaired(&bytes, &log(&[logged(1), logged(2)]));
    assert_eq!(charged(&state), [(1, "stops", 1), (2, "stops", 1)]);
    assert_eq!((state.approvals.len(), state.next_id), (0, 40));
    assert!(
        report
            .lines()
            .join("\n")
            .contains("it is out of its place: its number is 2")
    );
}

#[test]
fn a_daemon_that_was_killed_leaves_no_doubt_before_what_the_log_confirms() {
    let log = log(&[logged(1), logged(2)]);
    let killed = &log[..log.len() - 1];
    let all = lines(&[boot(), allow(1), allow(2)]);
    let without = |missing: usize| {
        let mut kept = all.clone();
        kept.remove(missing);
        repaired(&kept.concat(), killed).1.lost
    };
    assert_eq!(without(1), Vec::<String>::new());
    assert_eq!(without(2).len(), 1, "another line may have stood there");
    // What can be read of a damaged line tells which it was.
    let mut flipped = all.concat();
    let at = flipped.len() - 30;
    flipped[at] ^= 1;
    assert_eq!(repaired(&flipped, killed).1.lost, Vec::<String>::new());
    let rubbish = [all[..2].concat(), b"rubbish\n".to_vec()].concat();
    assert_eq!(repaired(&rubbish, killed).1.lost.len(), 1);
}

#[test]
fn doubts_are_told_one_by_one() {
    let bytes = lines(&[boot(), allow(1)]).concat();
    let doubt = |log: &[String]| repaired(&bytes, log).1.lost.join("; ");
    let whole = log(&[logged(1), logged(2), logged(3)]);
    assert_eq!(doubt(&whole), "");
    assert!(doubt(&[]).contains("does not reach back"));
    // Killed, or its end is missing.
    assert!(doubt(&whole[..5]).contains("was not stopped in order"));
    let mut changed = whole.clone();
    changed[3] = changed[3].replace("helper", "another");
    assert!(
        doubt(&changed).contains("was changed"),
        "{}",
        doubt(&changed)
    );
    let gap = log(&[logged(1), logged(5)]);
    assert_eq!(
        doubt(&gap),
        "3 of the decisions 2 to 5 are in neither journal nor audit log"
    );
    let text = r#"{"n":3,"t":"later"}"#;
    let newer = format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
    let bytes = [bytes.clone(), newer.into_bytes()].concat();
    let (_, report) = repaired(&bytes, &whole);
    assert!(
        report.lost[0].starts_with("line 3 is whole, and of a newer version"),
        "{report:?}"
    );
}

#[test]
fn the_record_of_a_former_versions_entry_tells_what_it_charged() {
    let text = include_str!("../../../tests/data/journal/before-costs.jsonl");
    let state = Replay::read(text.as_bytes())
        .expect("intact")
        .finish("boot-0", Now::default());
    let charged = state
        .decisions
        .iter()
        .map(|decision| match &decision.audit {
            AuditBody::Decision(record) => record.charges.as_ref().map_or(0, Vec::len),
            other => panic!("{other:?}"),
        });
    assert_eq!(charged.collect::<Vec<_>>(), [1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_are_too_bad_for_a_repair(
        before in prop::collection::vec(any::<u8>(), 0..80),
        text in "[0-9a-f]{8} \\{.{0,40}",
        after in prop::collection::vec(any::<u8>(), 0..80),
        record in ".{0,60}",
    ) {
        let whole = lines(&[boot(), allow(1)]).concat();
        let bytes = [before, text.into_bytes(), whole, after].concat();
        let mut log = log(&[logged(1), logged(2)]);
        log.insert(2, record);
        let (state, _) = repaired(&bytes, &log);
        let ids: Vec<u64> = charged(&state).iter().map(|one| one.0).collect();
        prop_assert_eq!(ids, [1, 2]);
    }
}
