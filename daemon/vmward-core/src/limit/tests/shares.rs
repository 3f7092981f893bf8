//! One account's share of the limiter.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

/// A limit under a key that this account made up.
fn made_up(maker: &str, key: usize) -> Want {
    Want {
        key: format!("agent:{maker}/{key}"),
        maker: Some(Arc::from(maker)),
        ..want(2)
    }
}

/// As many counters as `maker` gets. The number of the first that it does not get.
fn fill(limiter: &mut Limiter, maker: &str, now_ns: i64) -> usize {
    (0..COUNTERS_MAX)
        .find(|key| {
            let wants = [made_up(maker, *key)];
            limiter.reserve(&wants, DecisionId(1), now_ns).is_err()
        })
        .unwrap_or(COUNTERS_MAX)
}

#[test]
fn one_account_takes_no_more_than_its_share_and_nobody_else_is_denied() {
    let mut limiter = windows_known();
    assert_eq!(fill(&mut limiter, "uid:1001", 7), SHARE_COUNTERS_MAX);
    let refused = limiter.reserve(&[made_up("uid:1001", 9_999)], DecisionId(2), 10);
    let expected = LimitError::Full {
        index: 0,
        whose: Whose::Share,
        retry_after_ns: Some(WINDOW - 3),
    };
    assert_eq!(refused, Err(expected));
    // What it has goes on, another account has its own, and a limit on accounts
    // has room.
    for wants in [
        [made_up("uid:1001", 0)],
        [made_up("uid:1002", 0)],
        [want(5)],
    ] {
        limiter.reserve(&wants, DecisionId(3), 10).expect("room");
    }
    assert_eq!(limiter.load(10).short, ["uid:1001"]);
    // The wait was right.
    let again = [made_up("uid:1001", 9_999)];
    assert!(limiter.reserve(&again, DecisionId(4), 6 + WINDOW).is_err());
    assert!(limiter.reserve(&again, DecisionId(4), 7 + WINDOW).is_ok());
}

#[test]
fn all_accounts_together_leave_room_for_limits_on_accounts_and_vms() {
    let mut limiter = windows_known();
    let taken: usize = (0..20)
        .map(|n| fill(&mut limiter, &format!("uid:{n}"), 0))
        .sum();
    assert_eq!(taken, 12 * SHARE_COUNTERS_MAX);
    let refused = limiter.reserve(&[made_up("uid:99", 0)], DecisionId(2), 1);
    let expected = LimitError::Full {
        index: 0,
        whose: Whose::MadeUp,
        retry_after_ns: Some(WINDOW - 1),
    };
    assert_eq!(refused, Err(expected));
    assert_eq!(limiter.load(1).near, Some(Whose::MadeUp));
    for key in 0..COUNTERS_MAX - taken {
        let wants = [with_key(key)];
        limiter.reserve(&wants, DecisionId(3), 1).expect("room");
    }
    assert!(limiter.reserve(&[want(1)], DecisionId(4), 1).is_err());
    assert_eq!(limiter.load(1).counters, COUNTERS_MAX);
    assert_eq!(limiter.load(1).near, Some(Whose::All));
}

#[test]
fn one_account_takes_no_more_than_its_share_of_the_calls() {
    let mut limiter = windows_known();
    let wants = [Want {
        max: u32::MAX,
        ..made_up("uid:1001", 0)
    }];
    for _ in 0..SHARE_STAMPS_MAX {
        limiter.reserve(&wants, DecisionId(1), 0).expect("room");
    }
    let expected = LimitError::Full {
        index: 0,
        whose: Whose::Share,
        retry_after_ns: Some(WINDOW - 1),
    };
    assert_eq!(limiter.reserve(&wants, DecisionId(2), 1), Err(expected));
    let other = [made_up("uid:1002", 0)];
    limiter.reserve(&other, DecisionId(3), 1).expect("room");
}

#[test]
fn a_share_is_still_used_up_after_a_restart() {
    let mut before = windows_known();
    fill(&mut before, "uid:1001", 0);
    let mut after = windows_known();
    for one in before.counters() {
        let key = CounterKey {
            counter: one.counter.to_owned(),
            key: one.key.to_owned(),
        };
        // As the journal has it: the key says whose it is.
        let maker = maker_beside(one.key, one.maker);
        assert_eq!(maker, None);
        for (stamp, keep_ns) in one.stamps {
            let charge = Charge {
                key: key.clone(),
                cost: stamp.cost,
                maker: None,
                window_s: window_s(keep_ns),
            };
            after.restore(&charge, stamp, false, 1);
        }
    }
    assert!(
        after
            .reserve(&[made_up("uid:1001", 9_999)], DecisionId(2), 1)
            .is_err()
    );
    let other = [made_up("uid:1002", 0)];
    after.reserve(&other, DecisionId(3), 1).expect("room");
}

#[derive(Clone, Debug)]
enum Step {
    Reserve(usize, usize, i64),
    Charge(usize, i64),
    Release(u64),
    Forget(u64),
    Windows(bool),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let passed = 0..WINDOW / 4;
    prop_oneof![
        6 => (0..3_usize, 0..6_usize, passed.clone())
            .prop_map(|(maker, key, ns)| Step::Reserve(maker, key, ns)),
        2 => (0..6_usize, passed).prop_map(|(key, ns)| Step::Charge(key, ns)),
        1 => (0..99_u64).prop_map(Step::Release),
        1 => (0..99_u64).prop_map(Step::Forget),
        1 => any::<bool>().prop_map(Step::Windows),
        1 => Just(Step::Sweep),
    ]
}

proptest! {
    /// What is noted as taken is what is there, whatever came and went.
    #[test]
    fn the_books_of_every_share_are_right(steps in prop::collection::vec(step(), 1..100)) {
        let mut limiter = windows_known();
        let mut now_ns = 0;
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Reserve(maker, key, ns) => {
                    now_ns += ns;
                    // Keys are shared between accounts, as VMs' names are.
                    let maker = ["uid:1", "uid:2", "uid:3"][maker];
                    let shared = Want {
                        key: format!("vm:{key}"),
                        ..made_up(maker, key)
                    };
                    let wants = [made_up(maker, key), shared];
                    let answer = limiter.reserve(&wants, DecisionId(id), now_ns);
                    let used_up = matches!(answer, Err(LimitError::Exceeded { .. }));
                    prop_assert!(answer.is_ok() || used_up, "{answer:?}");
                }
                Step::Charge(key, ns) => {
                    now_ns += ns;
                    let charged = limiter.charge(&[with_key(key)], DecisionId(id), now_ns);
                    charged.expect("room");
                }
                Step::Release(id) => {
                    limiter.release(DecisionId(id));
                }
                Step::Forget(id) => limiter.forget(DecisionId(id)),
                Step::Windows(short) => {
                    let ns = if short { WINDOW / 2 } else { WINDOW };
                    limiter.set_windows(&BTreeMap::from([("stops".to_owned(), ns)]));
                }
                Step::Sweep => drop(limiter.load(now_ns)),
            }
            prop_assert_eq!(limiter.logs.noted(), limiter.logs.counted());
        }
    }
}
