//! A person's yes: asked for, given, used once.

mod unapprovable;

use super::*;
use crate::{
    approval::{ASKERS_MAX, ApprovalConfig, ApprovalError, ApprovalState, Person},
    audit::{ApprovalEvent, Verdict},
    journal::{Replay, encode_line},
};

const ASKS: &str = r#"{"version":"1","default":"deny","tools":{"vm_stop":
    {"action":"require_approval","reason":"production","approval_timeout":600,
     "limits":[{"counter":"c","window":"hour","max":2,"scope":"grant"}]}}}"#;

fn asking() -> Engine {
    Engine::new(policy(ASKS), BOOT)
}

/// Makes another call of a call.
type Change = fn(&mut Request);

pub(super) fn person(uid: u32) -> Person {
    Person {
        uid,
        loginuid: None,
    }
}

#[track_caller]
fn waits(answer: &Authorized) -> &Pending {
    match &answer.decision {
        Decision::Pending(pending) => pending,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn event(body: Option<&AuditBody>) -> ApprovalEvent {
    match body {
        Some(AuditBody::Approval(record)) => record.event,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_call_waits_until_a_person_says_yes_and_the_yes_is_used_once() {
    let mut engine = asking();
    let answer = engine.authorize(stop(1), at(0));
    let pending = waits(&answer);
    assert_eq!(
        pending.message,
        "vm_stop of web-1 waits for a person's approval (production): `vmward approvals approve \
         1` within 600 s, then make the same call again"
    );
    assert_eq!(
        (pending.expires_in_ms, &*pending.rule),
        (600_000, "/tools/vm_stop")
    );
    assert!(matches!(
        answer.journal.as_slice(),
        [JournalEntry::Approval(_)]
    ));
    assert_eq!(event(answer.approval.as_ref()), ApprovalEvent::Opened);
    assert!(engine.limits(at(0)).is_empty(), "nothing is charged");
    assert_eq!(engine.next_deadline(), Some(600 * NS_PER_S));
    let id = pending.approval;

    let again = engine.authorize(stop(1), at(10));
    assert_eq!(waits(&again).approval, id);
    assert!(again.journal.is_empty() && again.approval.is_none());

    let decided = engine.decide_approval(id, person(0), true, None, at(20));
    let (journal, audit) = decided.expect("another person");
    assert_eq!(journal.len(), 1);
    assert_eq!(event(Some(&audit)), ApprovalEvent::Approved);
    let used = engine.authorize(stop(1), at(30));
    let decision = allowed(&used).id();
    assert!(used.lease.is_some());
    assert_eq!(allowed(&used).limits()[0].remaining, 1);
    assert_eq!(event(used.approval.as_ref()), ApprovalEvent::Used);
    let [JournalEntry::Allow(entry)] = used.journal.as_slice() else {
        panic!("{:?}", used.journal)
    };
    assert_eq!(entry.approval, Some(id), "in one line with the allow");

    engine.undo(decision);
    assert_eq!(
        engine.approval(id).map(|one| one.state),
        Some(ApprovalState::Approved)
    );
    allowed(&engine.authorize(stop(1), at(31)));
    engine.vm_exited(process(1001), at(32));
    let next = engine.authorize(stop(1), at(33));
    assert_ne!(waits(&next).approval, id);
}

#[test]
fn a_yes_is_for_this_call_alone() {
    let mut engine = asking();
    let id = waits(&engine.authorize(stop(1), at(0))).approval;
    engine
        .decide_approval(id, person(0), true, None, at(1))
        .expect("another person");
    let changes: [Change; 5] = [
        |request| request.target = Target::Vm(vm(2)),
        |request| request.effect = Some(Effect::Stop),
        |request| request.arguments = Arguments::new(Map::from_iter([("a".into(), 1.into())])),
        |request| request.caller.grant = "uid:7".to_owned(),
        |request| {
            request.target = Target::Vm(VmTarget {
                process: Some(process(77)),
                ..vm(1)
            });
        },
    ];
    for change in changes {
        let mut other = stop(1);
        change(&mut other);
        assert_ne!(waits(&engine.authorize(other.clone(), at(2))).approval, id);
    }
    engine.set_policy(policy(&ASKS.replace("600", "700")));
    let answer = engine.authorize(stop(1), at(3));
    assert!(
        waits(&answer).message.ends_with("counts no more"),
        "{}",
        waits(&answer).message
    );
    assert_eq!(engine.next_deadline(), Some(0), "something is to be ended");
    let (journal, audit) = engine.expire_approvals(at(4));
    assert_eq!(
        (journal.len(), audit.len()),
        (6, 6),
        "the yes and all that wait"
    );
    assert!(engine.approval(id).is_none());
}

#[test]
fn a_no_is_remembered_with_its_note() {
    let mut engine = asking();
    engine.set_approval_config(ApprovalConfig {
        denied_memory_s: 60,
        ..ApprovalConfig::default()
    });
    let id = waits(&engine.authorize(stop(1), at(0))).approval;
    let note = Some("not before friday".to_owned());
    engine
        .decide_approval(id, person(1000), false, note, at(5))
        .expect("anyone may say no");
    let answer = engine.authorize(stop(1), at(10));
    let denial = denied(&answer, ReasonCode::ApprovalDenied);
    assert_eq!(
        denial.message,
        "a person has denied vm_stop of web-1 (request 1): not before friday; the answer stands \
         for 55 s"
    );
    assert_eq!(denial.retry_after_ms, Some(55_000));
    waits(&engine.authorize(stop(1), at(65)));
}

#[test]
fn a_change_of_the_policy_ends_a_yes_on_record_and_no_no() {
    let mut engine = asking();
    let yes = waits(&engine.authorize(stop(1), at(0))).approval;
    let no = waits(&engine.authorize(stop(2), at(0))).approval;
    let wait = waits(&engine.authorize(stop(3), at(0))).approval;
    let note = Some("go ahead".to_owned());
    for (id, yes, note) in [(yes, true, note), (no, false, None)] {
        let decided = engine.decide_approval(id, person(0), yes, note, at(1));
        decided.expect("another person");
    }
    engine.set_policy(policy(&ASKS.replace("600", "700")));
    let (journal, audit) = engine.expire_approvals(at(2));
    assert_eq!(journal.len(), 2);
    let ended: Vec<_> = audit
        .iter()
        .map(|body| match body {
            AuditBody::Approval(record) => (record.approval, record.note.as_deref()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        ended,
        [
            (yes, Some("ended by a change of the policy; note: go ahead")),
            (wait, Some("ended by a change of the policy")),
        ]
    );
    assert!(engine.approval(no).is_some(), "a no is not forgotten");
    denied(
        &engine.authorize(stop(2), at(3)),
        ReasonCode::ApprovalDenied,
    );
    assert_ne!(waits(&engine.authorize(stop(1), at(3))).approval, yes);
    // What only lapses has nothing to say.
    let (_, audit) = engine.expire_approvals(at(1000));
    let has_note =
        |body: &AuditBody| matches!(body, AuditBody::Approval(one) if one.note.is_some());
    assert!(
        !audit.is_empty() && !audit.iter().any(has_note),
        "{audit:?}"
    );
}

#[test]
fn a_grant_with_a_number_of_its_own_asks_no_more_often() {
    let mut engine = asking();
    engine.set_approval_config(ApprovalConfig {
        cap_per_grant: 2,
        caps: [("uid:0".to_owned(), 1)].into(),
        ..ApprovalConfig::default()
    });
    waits(&engine.authorize(stop(1), at(0)));
    let answer = engine.authorize(stop(2), at(1));
    let denial = denied(&answer, ReasonCode::TooManyApprovals);
    assert_eq!(
        denial.message,
        "uid:0 has 1 request for approval waiting, which is the most it may have; wait until \
         a person has decided one of them"
    );
    let by_other = |vm| {
        let mut request = stop(vm);
        request.caller.grant = "other".to_owned();
        request
    };
    waits(&engine.authorize(by_other(1), at(2)));
    waits(&engine.authorize(by_other(2), at(3)));
    denied(
        &engine.authorize(by_other(3), at(4)),
        ReasonCode::TooManyApprovals,
    );
}

#[test]
fn who_asks_may_not_say_yes_and_nothing_is_decided_twice_or_late() {
    let mut engine = asking();
    let id = waits(&engine.authorize(stop(1), at(0))).approval;
    let mut decide = |id, by, seconds| {
        let decided = engine.decide_approval(id, by, true, None, at(seconds));
        decided.err()
    };
    assert_eq!(
        decide(id, person(1000), 1),
        Some(ApprovalError::OwnRequest { id, uid: 1000 })
    );
    let unknown = DecisionId(99);
    assert_eq!(
        decide(unknown, person(0), 1),
        Some(ApprovalError::Unknown(unknown))
    );
    assert_eq!(decide(id, person(0), 600), Some(ApprovalError::Expired(id)));
    assert_eq!(decide(id, person(0), 599), None);
    let state = ApprovalState::Approved;
    assert_eq!(
        decide(id, person(0), 599),
        Some(ApprovalError::NotPending { id, state })
    );
    let answer = engine.authorize(stop(1), at(600));
    assert_ne!(waits(&answer).approval, id, "too late to use it");
}

#[test]
fn a_no_takes_back_a_yes_until_it_is_used_and_nothing_takes_back_a_no() {
    let mut engine = asking();
    let id = waits(&engine.authorize(stop(1), at(0))).approval;
    let mut decide = |yes| engine.decide_approval(id, person(0), yes, None, at(1));
    decide(true).expect("another person");
    let (journal, audit) = decide(false).expect("the yes was a mistake");
    assert_eq!(journal.len(), 1);
    assert_eq!(event(Some(&audit)), ApprovalEvent::Denied);
    let state = ApprovalState::Denied;
    for yes in [true, false] {
        let error = decide(yes).expect_err("a no is the last word");
        assert_eq!(error, ApprovalError::NotPending { id, state });
    }
    denied(
        &engine.authorize(stop(1), at(2)),
        ReasonCode::ApprovalDenied,
    );

    let id = waits(&engine.authorize(stop(2), at(3))).approval;
    let yes = engine.decide_approval(id, person(0), true, None, at(4));
    yes.expect("another person");
    allowed(&engine.authorize(stop(2), at(5)));
    let late = engine.decide_approval(id, person(0), false, None, at(6));
    let state = ApprovalState::Used;
    assert_eq!(late.err(), Some(ApprovalError::NotPending { id, state }));
}

#[test]
fn a_person_is_not_asked_about_a_call_that_is_denied_anyway_nor_too_often() {
    let mut engine = asking();
    for n in 0..2 {
        let id = waits(&engine.authorize(stop(n), at(0))).approval;
        let decided = engine.decide_approval(id, person(0), true, None, at(0));
        decided.expect("another person");
        allowed(&engine.authorize(stop(n), at(0)));
    }
    denied(&engine.authorize(stop(2), at(1)), ReasonCode::RateLimited);
    for n in 0..5 {
        waits(&engine.authorize(stop(n + 10), at(3601)));
    }
    let answer = engine.authorize(stop(20), at(3601));
    denied(&answer, ReasonCode::TooManyApprovals);
    let (journal, _) = engine.expire_approvals(at(4201));
    assert_eq!(journal.len(), 5);
    waits(&engine.authorize(stop(20), at(4201)));
}

#[test]
fn a_request_that_could_not_be_written_down_is_gone() {
    let mut engine = asking();
    let answer = engine.authorize(stop(1), at(0));
    engine.undo(waits(&answer).id);
    assert_eq!(engine.approvals().count(), 0);
}

fn stop_by(uid: u32) -> Request {
    let mut request = stop(1);
    request.caller.uid = uid;
    request
}

#[test]
fn nobody_who_asked_may_say_yes_over_a_restart_too() {
    let mut engine = asking();
    let mut journal = vec![engine.boot_entry(at(0))];
    let first = engine.authorize(stop_by(1000), at(0));
    let id = waits(&first).approval;
    let second = engine.authorize(stop_by(1001), at(1));
    assert_eq!(waits(&second).approval, id);
    assert_eq!(second.journal.len(), 1, "who asks is on disk");
    assert!(second.approval.is_none(), "its decision is on record");
    let again = engine.authorize(stop_by(1001), at(2));
    assert!(again.journal.is_empty(), "once");
    let lost = engine.authorize(stop_by(1002), at(3));
    engine.undo(waits(&lost).id);
    for answer in [first, second] {
        journal.extend(answer.journal);
    }
    let lines = |entries: &[JournalEntry]| -> Vec<u8> {
        let lines = entries.iter().map(|one| encode_line(one).expect("JSON"));
        lines.flatten().collect()
    };
    let read = |journal: &[u8]| Replay::read(journal).expect("intact").finish(BOOT, at(4));
    let engine = Engine::restore(policy(ASKS), &read(&lines(&journal)));
    let mut engine = Engine::restore(policy(ASKS), &read(&lines(&engine.snapshot(at(4)))));
    let sudo = |loginuid| Person {
        uid: 0,
        loginuid: Some(loginuid),
    };
    for (by, uid) in [(person(1001), 1001), (sudo(1001), 1001), (sudo(1000), 1000)] {
        let refused = engine.decide_approval(id, by, true, None, at(5)).err();
        assert_eq!(refused, Some(ApprovalError::OwnRequest { id, uid }));
    }
    let yes = engine.decide_approval(id, sudo(1002), true, None, at(6));
    yes.expect("what 1002 asked was undone");
    let answer = engine.authorize(stop_by(1002), at(7));
    let denial = denied(&answer, ReasonCode::ApprovalRequired);
    assert!(denial.message.contains("somebody else than who approved"));
    assert_eq!(
        engine.explain(&stop_by(1002), at(7)).decision,
        Verdict::Deny
    );
    allowed(&engine.authorize(stop_by(1003), at(8)));
}

#[test]
fn no_more_people_ask_than_are_written_down() {
    let mut engine = asking();
    for uid in (1000..).take(ASKERS_MAX) {
        waits(&engine.authorize(stop_by(uid), at(0)));
    }
    let more = engine.authorize(stop_by(2000), at(1));
    denied(&more, ReasonCode::TooManyApprovals);
    waits(&engine.authorize(stop_by(1000), at(1)));
}

#[test]
fn a_yes_is_for_one_agent_and_a_no_for_all() {
    let mut engine = asking();
    let by_other = || {
        let mut request = stop(1);
        request.caller.agent = Some("another".to_owned());
        request
    };
    let id = waits(&engine.authorize(stop(1), at(0))).approval;
    let yes = engine.decide_approval(id, person(0), true, None, at(1));
    yes.expect("another person");
    assert_ne!(waits(&engine.authorize(by_other(), at(2))).approval, id);
    let no = engine.decide_approval(id, person(0), false, None, at(3));
    no.expect("a no takes it back");
    denied(
        &engine.authorize(by_other(), at(4)),
        ReasonCode::ApprovalDenied,
    );
}
