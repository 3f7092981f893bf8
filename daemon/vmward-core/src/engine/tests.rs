//! Decisions; `lifecycle` has what becomes of them, `crash` what a crash leaves.

mod approvals;
mod approvals_model;
mod attacks;
mod crash;
mod disarming;
mod explain;
mod lifecycle;
mod of_host;
mod rules;
mod salvaging;
mod scopes;
mod shares;
mod summer_time;
mod windows;

use serde_json::Map;

use super::*;
use crate::{
    audit::{AuditBody, Verdict},
    clock::{LocalTime, NS_PER_S},
    digest::Arguments,
    effect::Effect,
    ids::{Process, VmUuid},
    journal::JournalEntry,
    lease::LeaseState,
    policy::map::Mapped,
};

const SEED: &str = include_str!("../../tests/data/policy.json");
const BOOT: &str = "boot-one";

pub(super) fn policy(text: &str) -> Policy {
    Policy::parse(text, "policy.json").expect("no mistake")
}

fn engine() -> Engine {
    Engine::new(policy(SEED), BOOT)
}

/// So many seconds after boot, on a day in 2026.
pub(super) fn at(seconds: i64) -> Now {
    Now {
        boot_ns: seconds * NS_PER_S,
        wall_ns: (1_795_397_562 + seconds) * NS_PER_S,
    }
}

fn process(pid: u32) -> Process {
    Process {
        pid,
        start_ticks: u64::from(pid) * 100,
    }
}

fn caller(grant: &str) -> Caller {
    Caller {
        grant: grant.to_owned(),
        process: process(500),
        uid: 1000,
        comm: "agent".to_owned(),
        exe: None,
        agent: Some("helper".to_owned()),
        unit: None,
        loginuid: None,
    }
}

/// VM number `n`, running as process 1000 + n and protected.
fn vm(n: u8) -> VmTarget {
    VmTarget {
        uuid: VmUuid::from_bytes([n; 16]),
        name: format!("web-{n}"),
        process: Some(process(1000 + u32::from(n))),
        protected: true,
        labels: BTreeMap::new(),
    }
}

fn request(tool: &str, effect: Option<Effect>, target: Target) -> Request {
    Request {
        tool: tool.to_owned(),
        via: Via::Tool,
        server: None,
        arguments: Arguments::new(Map::new()),
        mapped: Mapped::Known {
            pointer: "builtin:test".into(),
            effect,
            vm: None,
        },
        local: LocalTime::default(),
        effect,
        target,
        caller: caller("uid:0"),
        holder: process(500),
        reason: Some("maintenance".to_owned()),
    }
}

/// `vm_stop` with force, of VM number `n`.
fn stop(n: u8) -> Request {
    request("vm_stop", Some(Effect::ForceStop), Target::Vm(vm(n)))
}

#[track_caller]
fn allowed(answer: &Authorized) -> &Permit {
    match &answer.decision {
        Decision::Allow(permit) => permit,
        Decision::Deny(denial) => panic!("denied: {}", denial.message),
        Decision::Pending(pending) => panic!("pending: {}", pending.message),
    }
}

#[track_caller]
fn denied(answer: &Authorized, reason: ReasonCode) -> &Denial {
    assert!(answer.journal.is_empty(), "a denial charges nothing");
    assert!(answer.lease.is_none(), "a denial leases nothing");
    match &answer.decision {
        Decision::Deny(denial) => {
            assert_eq!(denial.reason, reason, "{}", denial.message);
            denial
        }
        Decision::Pending(pending) => panic!("pending: {}", pending.message),
        Decision::Allow(permit) => panic!("allowed: {}", permit.message),
    }
}

fn remaining(engine: &Engine, now: Now) -> u64 {
    engine.limits(now).first().map_or(10, |row| row.remaining)
}

#[test]
fn the_eleventh_stop_in_a_minute_is_denied_with_the_time_to_wait() {
    let mut engine = engine();
    for n in 0..10 {
        let answer = engine.authorize(stop(n), at(100 + i64::from(n)));
        let permit = allowed(&answer);
        assert_eq!(permit.limits()[0].remaining, u64::from(9 - n));
        assert_eq!(permit.rule(), "/tools/vm_stop");
    }
    let answer = engine.authorize(stop(10), at(119));
    let denial = denied(&answer, ReasonCode::RateLimited);
    assert_eq!(
        denial.message,
        "vm_stop is limited to 10 a minute for uid:0; 10 were used, the next is free in 41 s"
    );
    assert_eq!(denial.rule, "/tools/vm_stop/limits/0");
    assert_eq!(denial.retry_after_ms, Some(41_000));
    assert_eq!(
        (denial.limits[0].remaining, denial.limits[0].next_free_in_ms),
        (0, 41_000)
    );
    assert_eq!(denial.limits[0].key, "grant:uid:0");
    allowed(&engine.authorize(stop(10), at(160)));
}

#[test]
fn another_grant_has_its_own_counter() {
    let mut engine = engine();
    for n in 0..10 {
        allowed(&engine.authorize(stop(n), at(0)));
    }
    let mut other = stop(10);
    other.caller = caller("uid:7");
    allowed(&engine.authorize(other.clone(), at(0)));
}

#[test]
fn an_allow_carries_a_lease_a_journal_entry_and_a_record_that_agree() {
    let mut engine = engine();
    let answer = engine.authorize(stop(1), at(5));
    let lease = answer.lease.clone().expect("a lease");
    assert_eq!(lease.id, allowed(&answer).id());
    assert_eq!((lease.vm, lease.process), (vm(1).uuid, process(1001)));
    assert_eq!(
        (lease.effect, lease.holder),
        (Effect::ForceStop, process(500))
    );
    assert_eq!(lease.deadline_ns, 35 * NS_PER_S);
    let [JournalEntry::Allow(entry)] = answer.journal.as_slice() else {
        panic!("{:?}", answer.journal)
    };
    let (AuditBody::Decision(record), AuditBody::Decision(kept)) = (&answer.audit, &entry.audit)
    else {
        panic!("{:?}", answer.audit)
    };
    assert_eq!(kept.charges, None, "the entry has them");
    let mut whole = kept.clone();
    whole.charges = Some(entry.charges.clone());
    assert_eq!((&entry.lease, &whole), (&answer.lease, record));
    assert_eq!(
        (record.decision, record.decision_id),
        (Verdict::Allow, lease.id)
    );
    assert_eq!(record.policy_hash, engine.policy().hash());
    // A journal that loses the entry can be told again what it charged.
    assert_eq!(record.charges.as_ref(), Some(&entry.charges));
    assert_eq!(
        record.message,
        "vm_stop of web-1 is allowed; 9 of 10 are left; the lease for force_stop lapses in 30 s"
    );
}

#[test]
fn what_no_rule_names_is_denied_by_default() {
    let mut engine = engine();
    let answer = engine.authorize(request("vm_list", None, Target::None), at(0));
    assert_eq!(denied(&answer, ReasonCode::DefaultDeny).rule, "/default");
    let AuditBody::Decision(record) = &answer.audit else {
        panic!("{:?}", answer.audit)
    };
    assert_eq!(
        (record.decision, record.reason_code),
        (Verdict::Deny, ReasonCode::DefaultDeny)
    );
    assert!(engine.limits(at(0)).is_empty());
}

#[test]
fn a_call_without_effect_is_counted_and_gets_no_lease() {
    let text = SEED.replace("vm_stop", "vm_list");
    let mut engine = Engine::new(policy(&text), BOOT);
    let list = request("vm_list", None, Target::None);
    for _ in 0..10 {
        let answer = engine.authorize(list.clone(), at(0));
        assert!(answer.lease.is_none());
        assert_eq!(answer.journal.len(), 1);
    }
    denied(
        &engine.authorize(list.clone(), at(0)),
        ReasonCode::RateLimited,
    );
}

#[test]
fn a_vm_that_is_unknown_unnamed_or_off_is_said_so_and_costs_nothing() {
    let mut engine = engine();
    let effect = Some(Effect::Stop);
    let unknown = request("vm_stop", effect, Target::Unknown("wbe-1".to_owned()));
    let answer = engine.authorize(unknown.clone(), at(0));
    let denial = denied(&answer, ReasonCode::VmUnknown);
    assert_eq!(denial.message, "there is no VM \"wbe-1\" on this host");
    denied(
        &engine.authorize(request("vm_stop", effect, Target::None), at(0)),
        ReasonCode::VmUnknown,
    );
    let off = Target::Vm(VmTarget {
        process: None,
        ..vm(1)
    });
    denied(
        &engine.authorize(request("vm_stop", effect, off), at(0)),
        ReasonCode::VmNotRunning,
    );
    assert!(engine.limits(at(0)).is_empty());
}

#[test]
fn a_vm_that_is_off_can_be_deleted() {
    let mut engine = Engine::new(policy(&SEED.replace("vm_stop", "vm_delete")), BOOT);
    let off = Target::Vm(VmTarget {
        process: None,
        ..vm(1)
    });
    let answer = engine.authorize(request("vm_delete", Some(Effect::Delete), off), at(0));
    allowed(&answer);
    assert!(answer.lease.is_none());
}

#[test]
fn an_unprotected_vm_and_an_unchecked_one_are_counted_without_a_lease() {
    let mut engine = engine();
    let open = Target::Vm(VmTarget {
        protected: false,
        ..vm(1)
    });
    for target in [open, Target::Unchecked("i-0abc".to_owned())] {
        let answer = engine.authorize(request("vm_stop", Some(Effect::Stop), target), at(0));
        assert!(allowed(&answer).message().contains("by the kernel") || answer.lease.is_none());
        assert!(answer.lease.is_none());
    }
    assert_eq!(remaining(&engine, at(0)), 8);
}

#[test]
fn one_vm_has_one_live_lease_and_a_second_ask_costs_nothing() {
    let mut engine = engine();
    allowed(&engine.authorize(stop(1), at(0)));
    let answer = engine.authorize(stop(1), at(10));
    let denial = denied(&answer, ReasonCode::LeaseBusy);
    assert_eq!(denial.retry_after_ms, Some(20_000));
    assert_eq!(
        denial.message,
        "web-1 already has a live lease (decision 1, force_stop for uid:0); it ends in 20 s at the latest"
    );
    assert_eq!(remaining(&engine, at(10)), 9);
}

#[test]
fn a_harmless_tools_name_does_not_open_the_door_to_a_stop() {
    let text = SEED.replace("\"tools\": {", "\"tools\": { \"vm_list\": {},");
    let only_list = r#"{"version":"1","default":"deny","tools":{"vm_list":{}}}"#;
    let disguised = Request {
        mapped: Mapped::Harmless { vm: None },
        ..request("vm_list", Some(Effect::ForceStop), Target::Vm(vm(1)))
    };

    let mut engine = Engine::new(policy(only_list), BOOT);
    denied(
        &engine.authorize(disguised.clone(), at(0)),
        ReasonCode::DefaultDeny,
    );

    let mut engine = Engine::new(policy(&text), BOOT);
    for n in 0..10 {
        let target = Target::Vm(vm(n));
        allowed(&engine.authorize(
            Request {
                target,
                ..disguised.clone()
            },
            at(0),
        ));
    }
    let target = Target::Vm(vm(11));
    let answer = engine.authorize(
        Request {
            target,
            ..disguised
        },
        at(0),
    );
    assert_eq!(
        denied(&answer, ReasonCode::RateLimited).rule,
        "/tools/vm_stop/limits/0"
    );
}

#[test]
fn another_name_for_the_same_effect_shares_its_limit() {
    let text = r#"{"version":"1","default":"deny","tools":{"vm_terminate":{},
        "vm_delete":{"limits":[{"counter":"d","window":"hour","max":1,"scope":"grant"}]}}}"#;
    let mut engine = Engine::new(policy(text), BOOT);
    let ask = |tool, n| request(tool, Some(Effect::Delete), Target::Vm(vm(n)));
    allowed(&engine.authorize(ask("vm_terminate", 1), at(0)));
    let answer = engine.authorize(ask("vm_delete", 2), at(0));
    assert_eq!(
        denied(&answer, ReasonCode::RateLimited)
            .message
            .split(';')
            .next(),
        Some("vm_delete is limited to 1 an hour for uid:0")
    );
    let alone = r#"{"version":"1","default":"deny","tools":{"vm_terminate":{}}}"#;
    let mut engine = Engine::new(policy(alone), BOOT);
    allowed(&engine.authorize(ask("vm_terminate", 1), at(0)));
}

#[test]
fn of_two_limits_on_one_counter_the_stricter_counts() {
    let limit = |max| {
        format!(r#"{{"limits":[{{"counter":"d","window":"hour","max":{max},"scope":"grant"}}]}}"#)
    };
    let text = format!(
        r#"{{"version":"1","default":"deny","tools":{{"vm_terminate":{},"vm_delete":{}}}}}"#,
        limit(5),
        limit(1)
    );
    let mut engine = Engine::new(policy(&text), BOOT);
    let ask = |n| request("vm_terminate", Some(Effect::Delete), Target::Vm(vm(n)));
    allowed(&engine.authorize(ask(1), at(0)));
    denied(&engine.authorize(ask(2), at(0)), ReasonCode::RateLimited);
    assert_eq!(engine.limits(at(0)).len(), 2, "one row for each max");
}

#[test]
fn an_undone_allow_leaves_no_trace() {
    let mut engine = engine();
    let id = allowed(&engine.authorize(stop(1), at(0))).id();
    engine.undo(id);
    assert!(engine.limits(at(0)).is_empty());
    assert_eq!(engine.leases().count(), 0);
    let answer = engine.authorize(stop(1), at(0));
    assert!(allowed(&answer).id() > id, "its number is not used again");
}

#[test]
fn numbers_of_decisions_rise_and_skip_what_the_audit_holds() {
    let mut engine = engine();
    engine.skip_ids(DecisionId(41));
    engine.skip_ids(DecisionId(7));
    let answer = engine.authorize(request("vm_list", None, Target::None), at(0));
    assert_eq!(denied(&answer, ReasonCode::DefaultDeny).id, DecisionId(42));
    assert_eq!(
        allowed(&engine.authorize(stop(1), at(0))).id(),
        DecisionId(43)
    );
}
