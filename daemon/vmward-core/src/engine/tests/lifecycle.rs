//! What becomes of an allowed call.

use super::*;
use crate::lease::{KernelLease, Lease};

/// An engine with one lease for VM 1, granted at 0 s.
fn with_lease(request: &Request) -> (Engine, DecisionId) {
    let mut engine = engine();
    let id = allowed(&engine.authorize(request.clone(), at(0))).id();
    (engine, id)
}

#[track_caller]
fn check_closed(closed: &Closed, state: LeaseState, refunded: bool) {
    let [lease] = closed.leases.as_slice() else {
        panic!("{closed:?}")
    };
    assert_eq!(lease.state, state);
    let [AuditBody::Lease(record)] = closed.audit.as_slice() else {
        panic!("{closed:?}")
    };
    assert_eq!(
        (record.lease, record.state, record.refunded),
        (lease.id, state, refunded)
    );
    let gave_back = matches!(closed.journal.as_slice(), [JournalEntry::Release { .. }]);
    let kept = matches!(closed.journal.as_slice(), [JournalEntry::Settle { .. }]);
    assert_eq!((gave_back, kept), (refunded, !refunded));
}

fn leased(engine: &Engine, id: DecisionId) -> &Lease {
    engine.lease(id).expect("still there")
}

#[test]
fn a_lease_that_nobody_used_gives_its_quota_back_at_the_deadline() {
    let (mut engine, id) = with_lease(&stop(1));
    assert_eq!(engine.next_deadline(), Some(30 * NS_PER_S));
    assert!(engine.due(at(29)).is_empty());
    assert_eq!(engine.due(at(30)), [id]);
    let closed = engine.close(id, KernelLease::Granted, true, at(30));
    check_closed(&closed, LeaseState::Expired, true);
    assert!(engine.limits(at(30)).is_empty());
    assert_eq!(engine.next_deadline(), None);
}

#[test]
fn a_used_lease_stays_charged_and_usable_for_a_minute() {
    let (mut engine, id) = with_lease(&stop(1));
    assert_eq!(engine.lease_claimed(id, at(20)).len(), 1);
    assert!(
        engine.lease_claimed(id, at(21)).is_empty(),
        "one claim, one entry"
    );
    assert_eq!(leased(&engine, id).state, LeaseState::Executing);
    assert!(engine.due(at(79)).is_empty());
    assert_eq!(engine.due(at(80)), [id]);
    let closed = engine.close(id, KernelLease::Executing, true, at(80));
    check_closed(&closed, LeaseState::Done, false);
    assert_eq!(remaining(&engine, at(30)), 9);
}

#[test]
fn a_claim_that_only_the_kernel_knows_of_is_found_at_the_deadline() {
    let (mut engine, id) = with_lease(&stop(1));
    let closed = engine.close(id, KernelLease::Executing, true, at(30));
    assert!(closed.leases.is_empty());
    assert_eq!(closed.journal.len(), 1);
    assert_eq!(engine.due(at(90)), [id]);
    let closed = engine.close(id, KernelLease::Executing, true, at(90));
    check_closed(&closed, LeaseState::Done, false);
}

#[test]
fn the_end_of_the_vm_ends_its_lease_and_keeps_the_charge() {
    let (mut engine, id) = with_lease(&stop(1));
    assert!(
        engine.vm_exited(process(1002), at(3)).leases.is_empty(),
        "another VM"
    );
    let closed = engine.vm_exited(process(1001), at(3));
    check_closed(&closed, LeaseState::Done, false);
    assert_eq!(closed.leases[0].id, id);
    assert_eq!(remaining(&engine, at(3)), 9);
    assert!(
        engine
            .close(id, KernelLease::Granted, true, at(30))
            .leases
            .is_empty()
    );
}

#[test]
fn no_refund_without_evidence() {
    for (kernel, alive, seconds, state) in [
        (KernelLease::Granted, false, 30, LeaseState::Done),
        (KernelLease::Missing, false, 30, LeaseState::Done),
        (KernelLease::Missing, true, 30, LeaseState::Lost),
        (KernelLease::Executing, false, 30, LeaseState::Done),
        (KernelLease::Granted, true, 29, LeaseState::Expired),
    ] {
        let (mut engine, id) = with_lease(&stop(1));
        let closed = engine.close(id, kernel, alive, at(seconds));
        check_closed(&closed, state, false);
        assert_eq!(
            remaining(&engine, at(30)),
            9,
            "{kernel:?}, alive {alive}, {seconds} s"
        );
    }
}

#[test]
fn an_effect_that_the_process_survives_is_never_refunded() {
    for effect in [
        Effect::Reboot,
        Effect::Reset,
        Effect::Pause,
        Effect::Save,
        Effect::Migrate,
    ] {
        let text = SEED.replace("vm_stop", effect.tool());
        let mut engine = Engine::new(policy(&text), BOOT);
        let answer = engine.authorize(
            request(effect.tool(), Some(effect), Target::Vm(vm(1))),
            at(0),
        );
        let id = allowed(&answer).id();
        let closed = engine.close(id, KernelLease::Granted, true, at(60));
        check_closed(&closed, LeaseState::Expired, false);
    }
}

#[test]
fn a_report_that_it_began_forbids_the_refund_and_one_that_it_did_not_grants_none() {
    for (outcome, refunded) in [
        (Outcome::NotAttempted, true),
        (Outcome::StillRunning, false),
        (Outcome::Failed, false),
        (Outcome::Stopped, false),
    ] {
        let (mut engine, id) = with_lease(&stop(1));
        let (journal, audit) = engine
            .report(id, &caller("uid:0"), outcome, None, at(1))
            .expect("taken");
        assert_eq!(journal.len(), 1);
        assert!(matches!(audit, AuditBody::Outcome(record) if record.outcome == outcome));
        assert_eq!(
            remaining(&engine, at(1)),
            9,
            "a report alone gives nothing back"
        );
        let closed = engine.close(id, KernelLease::Granted, true, at(30));
        check_closed(&closed, LeaseState::Expired, refunded);
    }
}

#[test]
fn only_the_callers_grant_may_report_and_only_once() {
    let (mut engine, id) = with_lease(&stop(1));
    let mut report = |id, grant: &str| {
        engine
            .report(id, &caller(grant), Outcome::Stopped, None, at(1))
            .err()
    };
    assert_eq!(
        report(DecisionId(99), "uid:0"),
        Some(ReportError::Unknown(DecisionId(99)))
    );
    assert_eq!(report(id, "uid:7"), Some(ReportError::NotYours(id)));
    assert_eq!(report(id, "uid:0"), None);
    assert_eq!(report(id, "uid:0"), Some(ReportError::AlreadyReported(id)));
}

/// So many allowed calls of one grant that nothing limits.
fn flood(engine: &mut Engine, grant: &str) {
    for _ in 0..=recent::RECENT_MAX {
        let mut call = request("vm_list", None, Target::None);
        call.caller = caller(grant);
        allowed(&engine.authorize(call, at(1)));
    }
}

const WITH_LIST: &str = r#"{"version": "1", "default": "deny",
    "tools": {"vm_stop": {}, "vm_list": {}}}"#;

#[test]
fn the_calls_of_one_grant_do_not_make_anothers_decision_unknown() {
    let mut engine = Engine::new(policy(WITH_LIST), BOOT);
    let mut call = stop(1);
    call.effect = None;
    let id = allowed(&engine.authorize(call, at(0))).id();
    for grant in ["uid:7", "uid:8"] {
        flood(&mut engine, grant);
    }
    engine
        .report(id, &caller("uid:0"), Outcome::Failed, None, at(2))
        .expect("still known");
    assert_eq!(engine.recent.iter().count(), recent::RECENT_MAX);
    let of = |grant: &str| {
        let all = engine.recent.iter();
        all.filter(|one| one.grant == grant).count()
    };
    assert!(
        of("uid:7").abs_diff(of("uid:8")) <= 1,
        "each gave up its own"
    );
}

#[test]
fn a_decision_that_made_room_is_known_as_long_as_its_lease_is_open() {
    let mut engine = Engine::new(policy(WITH_LIST), BOOT);
    let id = allowed(&engine.authorize(stop(1), at(0))).id();
    flood(&mut engine, "uid:0");
    let mut report = |grant| {
        let outcome = Outcome::StillRunning;
        let taken = engine.report(id, &caller(grant), outcome, None, at(2));
        taken.err()
    };
    assert_eq!(report("uid:7"), Some(ReportError::NotYours(id)));
    assert_eq!(report("uid:0"), None);
    assert_eq!(report("uid:0"), Some(ReportError::AlreadyReported(id)));
    assert!(leased(&engine, id).begun, "no refund");
    drop(engine.close(id, KernelLease::Granted, true, at(30)));
    let late = engine.report(id, &caller("uid:0"), Outcome::Failed, None, at(31));
    assert_eq!(late.err(), Some(ReportError::Unknown(id)));
}

#[test]
fn a_report_may_come_after_the_vm_ended() {
    let (mut engine, id) = with_lease(&stop(1));
    engine.vm_exited(process(1001), at(3));
    engine
        .report(id, &caller("uid:0"), Outcome::Stopped, None, at(4))
        .expect("taken");
}

#[test]
fn a_released_lease_frees_the_vm_at_once_and_the_quota_at_the_deadline() {
    let (mut engine, id) = with_lease(&stop(1));
    let released = engine.release(id, &caller("uid:0"), at(5)).expect("taken");
    assert_eq!(released.lease.state, LeaseState::Released);
    assert_eq!(remaining(&engine, at(5)), 9, "not yet");
    let second = allowed(&engine.authorize(stop(1), at(5))).id();
    assert_eq!(remaining(&engine, at(5)), 8);
    assert_eq!(engine.due(at(30)), [id]);
    let closed = engine.close(id, KernelLease::Missing, true, at(30));
    check_closed(&closed, LeaseState::Released, true);
    assert_eq!(remaining(&engine, at(30)), 9);
    assert!(leased(&engine, second).state.is_live());
}

#[test]
fn a_released_lease_whose_vm_ends_before_the_deadline_stays_charged() {
    let (mut engine, id) = with_lease(&stop(1));
    engine.release(id, &caller("uid:0"), at(5)).expect("taken");
    check_closed(
        &engine.vm_exited(process(1001), at(9)),
        LeaseState::Done,
        false,
    );
    assert_eq!(remaining(&engine, at(9)), 9);
}

#[test]
fn a_release_that_comes_after_the_first_use_gives_nothing_back() {
    let (mut engine, id) = with_lease(&stop(1));
    engine.release(id, &caller("uid:0"), at(5)).expect("taken");
    // The kernel's row, taken out just now, says that it was used.
    assert_eq!(engine.lease_claimed(id, at(5)).len(), 1);
    check_closed(
        &engine.close(id, KernelLease::Missing, true, at(65)),
        LeaseState::Done,
        false,
    );
}

#[test]
fn only_the_grant_of_a_live_unused_lease_may_give_it_back() {
    let (mut engine, id) = with_lease(&stop(1));
    let mut release = |id, grant: &str| engine.release(id, &caller(grant), at(1)).err();
    assert_eq!(
        release(DecisionId(9), "uid:0"),
        Some(ReleaseError::Unknown(DecisionId(9)))
    );
    assert_eq!(release(id, "uid:7"), Some(ReleaseError::NotYours(id)));
    assert_eq!(release(id, "uid:0"), None);
    assert_eq!(release(id, "uid:0"), Some(ReleaseError::Unknown(id)));
    let (mut engine, id) = with_lease(&stop(1));
    engine.lease_claimed(id, at(1));
    let in_use = engine.release(id, &caller("uid:0"), at(2)).err();
    assert_eq!(in_use, Some(ReleaseError::InUse(id)));
}

/// The kernel lets one reset happen by it and nothing else: see `claim.rs` of the
/// programs. What has more steps stays, whoever says that it is over.
#[test]
fn only_a_reset_is_over_when_its_used_lease_is_given_back() {
    for effect in Effect::ALL
        .into_iter()
        .filter(|effect| !effect.is_of_host())
    {
        let request = request("vm_stop", Some(effect), Target::Vm(vm(1)));
        let mut engine = engine();
        let id = allowed(&engine.authorize(request.clone(), at(0))).id();
        assert!(
            engine.spent(id, at(1)).leases.is_empty(),
            "{effect:?}: unused"
        );
        engine.lease_claimed(id, at(1));
        let released = engine.release(id, &caller("uid:0"), at(2));
        if effect != Effect::Reset {
            assert_eq!(released.err(), Some(ReleaseError::InUse(id)), "{effect:?}");
            assert!(engine.spent(id, at(2)).leases.is_empty(), "{effect:?}");
            denied(&engine.authorize(request, at(3)), ReasonCode::LeaseBusy);
            continue;
        }
        let released = released.expect("nothing is left to cover");
        assert_eq!(released.lease.state, LeaseState::Done);
        assert!(matches!(released.audit, AuditBody::Lease(record) if !record.refunded));
        let [JournalEntry::Settle { state, .. }] = released.journal.as_slice() else {
            panic!("{:?}", released.journal)
        };
        assert_eq!(*state, LeaseState::Done);
        allowed(&engine.authorize(request, at(3)));
        assert_eq!(remaining(&engine, at(3)), 8, "both stay charged");
    }
}

#[test]
fn a_reset_that_the_kernel_alone_knows_of_is_over_when_its_lease_is_given_back() {
    let request = request("vm_stop", Some(Effect::Reset), Target::Vm(vm(1)));
    let (mut engine, id) = with_lease(&request);
    engine.release(id, &caller("uid:0"), at(1)).expect("taken");
    // The kernel's row says that it was used.
    engine.lease_claimed(id, at(1));
    check_closed(&engine.spent(id, at(1)), LeaseState::Done, false);
    allowed(&engine.authorize(request, at(2)));
}

#[test]
fn a_lease_given_back_that_nothing_can_come_back_of_is_over_at_once() {
    let pause = request("vm_stop", Some(Effect::Pause), Target::Vm(vm(1)));
    let (mut engine, id) = with_lease(&pause);
    engine.release(id, &caller("uid:0"), at(1)).expect("taken");
    check_closed(&engine.spent(id, at(1)), LeaseState::Released, false);
    assert_eq!(engine.leases().count(), 0);
    assert_eq!(remaining(&engine, at(1)), 9, "it stays charged");
    // A stop may get its charge back at the deadline, unless its caller began it.
    let (mut engine, id) = with_lease(&stop(1));
    engine.release(id, &caller("uid:0"), at(1)).expect("taken");
    assert!(engine.spent(id, at(1)).leases.is_empty());
    let (mut engine, id) = with_lease(&stop(1));
    engine
        .report(id, &caller("uid:0"), Outcome::Failed, None, at(1))
        .expect("taken");
    engine.release(id, &caller("uid:0"), at(1)).expect("taken");
    check_closed(&engine.spent(id, at(1)), LeaseState::Released, false);
}

#[test]
fn leases_given_back_take_no_others_place_and_are_bounded_for_each_account() {
    let text = r#"{"version": "1", "default": "deny", "tools": {"vm_stop": {"limits": [
        {"counter": "c", "window": "day", "max": 100000, "scope": "grant"}]}}}"#;
    let mut engine = Engine::new(policy(text), "boot");
    for _ in 0..RELEASED_MAX {
        let id = allowed(&engine.authorize(stop(1), at(1))).id();
        engine.release(id, &caller("uid:0"), at(1)).expect("taken");
    }
    let answer = engine.authorize(stop(1), at(2));
    let denial = denied(&answer, ReasonCode::Unavailable);
    assert!(denial.message.contains("given back"), "{}", denial.message);
    assert_eq!(denial.retry_after_ms, Some(29_000));
    let other = Request {
        caller: caller("uid:7"),
        ..stop(1)
    };
    allowed(&engine.authorize(other, at(2)));
    for id in engine.due(at(31)) {
        engine.close(id, KernelLease::Missing, true, at(31));
    }
    allowed(&engine.authorize(stop(2), at(31)));
}
