use vmward_core::audit::{CallerRecord, Verdict};
use vmward_core::engine::{ReasonCode, Via};
use vmward_core::ids::{DecisionId, Process};

use super::*;

fn denied(uid: u32, id: u64) -> DecisionRecord {
    DecisionRecord {
        decision: Verdict::Deny,
        decision_id: DecisionId(id),
        reason_code: ReasonCode::DefaultDeny,
        tool: "vm_list".to_owned(),
        via: Via::Tool,
        server: None,
        arguments: None,
        effect: None,
        claimed: false,
        vm: None,
        caller: CallerRecord {
            grant: format!("uid:{uid}"),
            process: Process {
                pid: 7,
                start_ticks: 1,
            },
            uid,
            comm: "agent".to_owned(),
            exe: None,
            agent: None,
            unit: None,
        },
        rule: "/default".to_owned(),
        message: "no".to_owned(),
        reason: None,
        lease: None,
        approval: None,
        shadow: None,
        policy_hash: String::new(),
        args_digest: String::new(),
        recovered: false,
        journalled: false,
        charges: None,
        decided: None,
    }
}

/// Records, and for how many calls they stand.
fn told(denials: &[DenialsRecord]) -> (usize, u64) {
    let calls = denials.iter().map(|record| record.count).sum();
    (denials.len(), calls)
}

#[test]
fn an_account_gets_a_hundred_records_and_then_a_count_a_second() {
    let mut denials = Denials::default();
    let own = (1..=5000).filter(|id| denials.take(&denied(1000, *id), 0));
    assert_eq!(own.count(), 100);
    assert_eq!(denials.due(NS_PER_S - 1), []);
    let due = denials.due(NS_PER_S);
    assert_eq!(told(&due), (1, 4900));
    assert_eq!(
        due[0].last.decision_id,
        DecisionId(5000),
        "the last of them"
    );
    assert_eq!(denials.due(2 * NS_PER_S), []);
}

#[test]
fn in_the_long_run_five_a_second_have_a_record_and_no_call_goes_uncounted() {
    let mut denials = Denials::default();
    let (mut own, mut shared, mut calls) = (0, 0, 0);
    for tick in 0..1000_i64 {
        let now_ns = tick * NS_PER_S / 10;
        for id in 0..7 {
            calls += 1;
            own += u64::from(denials.take(&denied(1000, id), now_ns));
        }
        shared += told(&denials.due(now_ns)).1;
    }
    shared += told(&denials.drain()).1;
    assert_eq!(own, 100 + 99 * 5);
    assert_eq!(own + shared, calls);
}

#[test]
fn one_account_takes_nothing_from_another_and_root_is_not_bound() {
    let mut denials = Denials::default();
    while denials.take(&denied(1000, 1), 0) {}
    assert!(denials.take(&denied(1001, 1), 0));
    for id in 0..10_000 {
        assert!(denials.take(&denied(0, id), 0));
    }
}

#[test]
fn accounts_that_are_quiet_are_forgotten_and_those_beyond_the_bound_share_one() {
    let mut denials = Denials::default();
    for uid in 1..=3000 {
        denials.take(&denied(uid, 1), 0);
    }
    assert_eq!(denials.accounts.len(), ACCOUNTS_MAX + 1);
    assert_eq!(told(&denials.due(NS_PER_S)), (1, 3000 - 1024 - 100));
    denials.due(60 * NS_PER_S);
    assert_eq!(denials.accounts.len(), 0);
}

#[test]
fn a_clock_that_stands_frees_nothing() {
    let mut denials = Denials::default();
    while denials.take(&denied(1000, 1), 5) {}
    assert!(!denials.take(&denied(1000, 2), 5));
    assert!(!denials.take(&denied(1000, 2), 0));
}
