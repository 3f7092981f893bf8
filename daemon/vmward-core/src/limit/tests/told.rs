//! Callers learn of decisions later than they are made.

use super::*;

const SECOND: i64 = NS_PER_S;

#[test]
fn a_call_counts_from_when_its_caller_learns_of_it() {
    let mut limiter = windows_known();
    limiter.reserve(&[want(1)], DecisionId(1), 0).unwrap();
    limiter.told(DecisionId(1), || SECOND);
    let refused = limiter.reserve(&[want(1)], DecisionId(2), WINDOW);
    let exceeded = LimitError::Exceeded {
        index: 0,
        retry_after_ns: SECOND,
    };
    assert_eq!(refused, Err(exceeded));
    limiter
        .reserve(&[want(1)], DecisionId(3), WINDOW + SECOND)
        .unwrap();
}

#[test]
fn a_decision_that_is_made_while_an_earlier_one_is_written_counts_from_its_own_turn() {
    let mut limiter = windows_known();
    limiter.reserve(&[want(2)], DecisionId(1), 0).unwrap();
    limiter.reserve(&[want(2)], DecisionId(2), SECOND).unwrap();
    limiter.told(DecisionId(1), || 2 * SECOND);
    limiter.told(DecisionId(2), || 5 * SECOND);
    let mut stamps = Vec::new();
    for counter in limiter.counters() {
        stamps.extend(counter.stamps.map(|(stamp, _)| (stamp.id.0, stamp.at_ns)));
    }
    assert_eq!(stamps, [(1, 2 * SECOND), (2, 5 * SECOND)]);
    assert_eq!(limiter.state(&want(2), WINDOW + 2 * SECOND).remaining, 1);
    assert_eq!(limiter.state(&want(2), WINDOW + 5 * SECOND).remaining, 2);
}

#[test]
fn a_call_that_names_a_counter_twice_is_moved_whole() {
    let mut limiter = windows_known();
    limiter
        .reserve(&[want(2), want(2)], DecisionId(1), 0)
        .unwrap();
    limiter.told(DecisionId(1), || SECOND);
    assert_eq!(limiter.state(&want(2), WINDOW).remaining, 0);
}

#[test]
fn what_is_told_twice_or_was_taken_back_stays_where_it_is() {
    let mut limiter = windows_known();
    for id in 1..=2 {
        limiter.reserve(&[want(2)], DecisionId(id), 0).unwrap();
    }
    limiter.told(DecisionId(1), || SECOND);
    limiter.told(DecisionId(1), || 2 * SECOND);
    limiter.forget(DecisionId(2));
    limiter.told(DecisionId(2), || 3 * SECOND);
    assert_eq!(limiter.state(&want(2), WINDOW).remaining, 1);
    assert_eq!(limiter.state(&want(2), WINDOW + SECOND).remaining, 2);
}

#[test]
fn a_longer_window_that_held_when_a_call_was_made_holds_for_it_when_it_is_told() {
    let mut limiter = windows_known();
    limiter.reserve(&[want(1)], DecisionId(1), 0).unwrap();
    limiter.set_windows(&BTreeMap::from([("stops".to_owned(), SECOND)]));
    limiter.told(DecisionId(1), || SECOND);
    // The longer one comes back.
    limiter.set_windows(&BTreeMap::from([("stops".to_owned(), WINDOW)]));
    assert_eq!(limiter.state(&want(1), 30 * SECOND).remaining, 0);
}

#[test]
fn a_call_that_the_disk_holds_up_for_longer_than_the_window_does_not_lapse_meanwhile() {
    let mut limiter = windows_known();
    limiter.reserve(&[want(1)], DecisionId(1), 0).unwrap();
    // Its caller has not learnt of it when the next one asks.
    limiter.hold_untold(WINDOW + SECOND);
    let refused = limiter.reserve(&[want(1)], DecisionId(2), WINDOW + SECOND);
    assert!(
        matches!(refused, Err(LimitError::Exceeded { index: 0, .. })),
        "{refused:?}"
    );
    limiter.told(DecisionId(1), || WINDOW + 2 * SECOND);
    limiter.hold_untold(2 * WINDOW + SECOND);
    let refused = limiter.reserve(&[want(1)], DecisionId(3), 2 * WINDOW + SECOND);
    let exceeded = LimitError::Exceeded {
        index: 0,
        retry_after_ns: SECOND,
    };
    assert_eq!(refused, Err(exceeded), "it counts from when it was told");
    limiter
        .reserve(&[want(1)], DecisionId(4), 2 * WINDOW + 2 * SECOND)
        .unwrap();
}

#[test]
fn what_was_told_is_held_no_longer() {
    let mut limiter = windows_known();
    limiter.reserve(&[want(2)], DecisionId(1), 0).unwrap();
    limiter.told(DecisionId(1), || SECOND);
    limiter
        .reserve(&[want(2)], DecisionId(2), 30 * SECOND)
        .unwrap();
    limiter.hold_untold(WINDOW);
    assert_eq!(limiter.state(&want(2), WINDOW).remaining, 0);
    assert_eq!(limiter.state(&want(2), WINDOW + SECOND).remaining, 1);
    assert_eq!(limiter.state(&want(2), 2 * WINDOW).remaining, 2);
}
