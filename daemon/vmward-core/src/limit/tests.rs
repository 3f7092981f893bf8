//! The sliding log, case by case; `model` has it against a model.

mod model;
mod shares;
mod told;
mod windows;

use super::*;

const WINDOW: i64 = 60 * NS_PER_S;

fn want(max: u32) -> Want {
    named("stops", max)
}

fn named(counter: &str, max: u32) -> Want {
    Want {
        counter: counter.to_owned(),
        key: "grant:uid:0".to_owned(),
        window_ns: WINDOW,
        max,
        cost: 1,
        maker: None,
    }
}

fn with_key(key: usize) -> Want {
    Want {
        key: key.to_string(),
        ..want(1)
    }
}

/// A limiter that knows how long its one counter's window is.
fn windows_known() -> Limiter {
    let mut limiter = Limiter::new();
    limiter.set_windows(&BTreeMap::from([("stops".to_owned(), WINDOW)]));
    limiter
}

/// Admissions of `admit` when it is asked every 100 ms for 60 s, after `rest`
/// had no call for an hour, at the worst offset against a minute's boundary.
fn burst(mut admit: impl FnMut(i64) -> bool) -> usize {
    let start = 3600 * NS_PER_S + 30 * NS_PER_S + 1;
    (0..600)
        .filter(|step| admit(start + step * (NS_PER_S / 10)))
        .count()
}

#[test]
fn a_window_never_holds_more_than_ten_where_a_fixed_window_holds_20_and_gcra_19() {
    let mut limiter = Limiter::new();
    let mut id = 0;
    let ours = burst(|now| {
        id += 1;
        limiter.reserve(&[want(10)], DecisionId(id), now).is_ok()
    });

    let (mut window, mut used) = (-1, 0);
    let fixed = burst(|now| {
        if now / WINDOW != window {
            (window, used) = (now / WINDOW, 0);
        }
        used += 1;
        used <= 10
    });

    // GCRA: a burst of 10, and one more for every tenth of the window.
    let (interval, mut arrival) = (WINDOW / 10, 0);
    let gcra = burst(|now| {
        let admitted = arrival.max(now) - now <= interval * 9;
        if admitted {
            arrival = arrival.max(now) + interval;
        }
        admitted
    });

    assert_eq!((ours, fixed, gcra), (10, 20, 19));
}

#[test]
fn the_wait_is_exact_to_the_nanosecond() {
    let mut limiter = Limiter::new();
    for (id, at) in [(1, 0), (2, 7), (3, 20)] {
        limiter
            .reserve(&[want(3)], DecisionId(id), at)
            .expect("room");
    }
    let refused = limiter.reserve(&[want(3)], DecisionId(4), 30);
    assert_eq!(
        refused,
        Err(LimitError::Exceeded {
            index: 0,
            retry_after_ns: WINDOW - 30
        })
    );
    assert!(
        limiter
            .reserve(&[want(3)], DecisionId(5), WINDOW - 1)
            .is_err()
    );
    assert!(limiter.reserve(&[want(3)], DecisionId(6), WINDOW).is_ok());
    let view = limiter.state(&want(3), WINDOW);
    assert_eq!(
        view,
        LimitView {
            remaining: 0,
            next_free_in_ns: 7
        }
    );
}

#[test]
fn a_tightened_limit_waits_until_enough_calls_lapse() {
    let mut limiter = Limiter::new();
    for id in 0..5 {
        limiter
            .reserve(
                &[want(5)],
                DecisionId(id),
                i64::try_from(id).expect("small"),
            )
            .expect("room");
    }
    // Stamps 0..=4, two allowed: 0, 1, 2 and 3 must lapse.
    let refused = limiter.reserve(&[want(2)], DecisionId(9), 10);
    assert_eq!(
        refused,
        Err(LimitError::Exceeded {
            index: 0,
            retry_after_ns: WINDOW + 3 - 10
        })
    );
}

#[test]
fn all_limits_are_charged_or_none() {
    let mut limiter = Limiter::new();
    limiter
        .reserve(&[named("narrow", 1)], DecisionId(1), 0)
        .expect("room");
    let both = [named("wide", 5), named("narrow", 1)];
    let refused = limiter.reserve(&both, DecisionId(2), 1);
    assert_eq!(
        refused,
        Err(LimitError::Exceeded {
            index: 1,
            retry_after_ns: WINDOW - 1
        })
    );
    assert_eq!(limiter.state(&named("wide", 5), 1).remaining, 5);
}

#[test]
fn a_call_that_wants_one_counter_twice_pays_twice() {
    let mut limiter = Limiter::new();
    let twice = [want(3), want(3)];
    limiter
        .reserve(&twice, DecisionId(1), 0)
        .expect("room for two");
    assert!(limiter.reserve(&twice, DecisionId(2), 1).is_err());
    assert!(limiter.reserve(&[want(3)], DecisionId(3), 1).is_ok());
}

#[test]
fn a_release_gives_back_exactly_one_call_and_only_before_the_commit() {
    let mut limiter = Limiter::new();
    for id in [1, 2] {
        limiter
            .reserve(&[want(2)], DecisionId(id), 0)
            .expect("room");
    }
    limiter.commit(DecisionId(2));
    assert!(!limiter.release(DecisionId(2)), "committed");
    assert!(limiter.release(DecisionId(1)));
    assert!(!limiter.release(DecisionId(1)), "released already");
    assert_eq!(limiter.state(&want(2), 0).remaining, 1);
    limiter.forget(DecisionId(2));
    assert_eq!(limiter.state(&want(2), 0).remaining, 2);
}

#[test]
fn a_clock_that_steps_back_frees_nothing() {
    let mut limiter = Limiter::new();
    limiter
        .reserve(&[want(1)], DecisionId(1), WINDOW)
        .expect("room");
    for back in [0, -WINDOW, i64::MIN] {
        assert!(limiter.reserve(&[want(1)], DecisionId(2), back).is_err());
        assert_eq!(limiter.state(&want(1), back).remaining, 0);
    }
}

#[test]
fn when_all_counters_are_live_a_new_one_is_refused_and_no_live_one_is_dropped() {
    let mut limiter = windows_known();
    for key in 0..COUNTERS_MAX {
        limiter
            .reserve(&[with_key(key)], DecisionId(1), 0)
            .expect("room");
    }
    let one_more = [with_key(COUNTERS_MAX)];
    let expected = LimitError::Full {
        index: 0,
        whose: Whose::All,
        retry_after_ns: Some(WINDOW - 1),
    };
    assert_eq!(limiter.reserve(&one_more, DecisionId(2), 1), Err(expected));
    assert_eq!(limiter.state(&with_key(0), 1).remaining, 0);
    assert!(
        limiter.reserve(&one_more, DecisionId(3), WINDOW).is_ok(),
        "the old ones lapsed"
    );
    assert_eq!(limiter.counters().count(), 1);
}

#[test]
fn restored_calls_count_and_those_of_the_future_count_as_of_now() {
    let mut limiter = Limiter::new();
    let stamp = |id, at_ns| StampEntry {
        id: DecisionId(id),
        at_ns,
        cost: 1,
    };
    let charge = Charge {
        window_s: None,
        ..Charge::from(&want(3))
    };
    limiter.restore(&charge, stamp(1, 500), true, 100);
    limiter.restore(&charge, stamp(2, -50), false, 100);
    limiter.restore(&charge, stamp(3, 100 - WINDOW_NS_MAX), false, 100);
    assert_eq!(limiter.state(&want(3), 100).remaining, 1);
    assert_eq!(limiter.state(&want(3), WINDOW + 99).remaining, 2);
    assert_eq!(limiter.state(&want(3), WINDOW + 100).remaining, 3);
    assert!(limiter.release(DecisionId(1)));
    assert!(!limiter.release(DecisionId(2)));
}

fn costing(max: u32, cost: u32) -> Want {
    Want { cost, ..want(max) }
}

#[test]
fn a_costly_call_is_charged_whole_and_waits_until_enough_lapses() {
    let mut limiter = Limiter::new();
    for (id, at, cost) in [(1, 0, 4), (2, 5, 1), (3, 9, 3)] {
        limiter
            .reserve(&[costing(10, cost)], DecisionId(id), at)
            .expect("room");
    }
    assert_eq!(limiter.state(&want(10), 9).remaining, 2);
    // 8 of 10 are used. 3 more need the first call to lapse, 7 more the second,
    // 8 more the third.
    for (cost, lapses) in [(3, 0), (6, 0), (7, 5), (8, 9), (10, 9)] {
        let refused = limiter.reserve(&[costing(10, cost)], DecisionId(9), 20);
        let retry_after_ns = WINDOW + lapses - 20;
        let expected = LimitError::Exceeded {
            index: 0,
            retry_after_ns,
        };
        assert_eq!(refused, Err(expected), "{cost}");
    }
    // The call in the middle goes back: exactly 1 more fits.
    assert!(limiter.release(DecisionId(2)));
    assert_eq!(limiter.state(&want(10), 20).remaining, 3);
    limiter
        .reserve(&[costing(10, 3)], DecisionId(4), 20)
        .expect("exactly what is left");
    assert!(limiter.reserve(&[want(10)], DecisionId(5), 20).is_err());
}

#[test]
fn a_call_that_costs_more_than_the_limit_is_told_that_waiting_does_not_help() {
    let mut limiter = Limiter::new();
    let refused = limiter.reserve(&[want(3), costing(10, 11)], DecisionId(1), 0);
    assert_eq!(refused, Err(LimitError::NeverFits { index: 0 }));
    let refused = limiter.reserve(&[costing(10, 11)], DecisionId(1), 0);
    assert_eq!(refused, Err(LimitError::NeverFits { index: 0 }));
    assert_eq!(limiter.counters().count(), 0, "nothing was charged");
}

#[test]
fn limits_that_share_a_counter_both_hold_in_either_order() {
    for wants in [[want(10), want(3)], [want(3), want(10)]] {
        let mut limiter = Limiter::new();
        limiter.reserve(&wants, DecisionId(1), 0).expect("2 of 3");
        assert!(limiter.reserve(&wants, DecisionId(2), 1).is_err(), "4 of 3");
    }
}

#[test]
fn short_lived_keys_do_not_fill_the_table_for_ever() {
    let mut limiter = windows_known();
    // Each key is used once; those of the last minute are 5000.
    let step = WINDOW / 5000;
    for key in 0..4 * COUNTERS_MAX {
        let now = i64::try_from(key).expect("small") * step;
        let id = DecisionId(u64::try_from(key).expect("small"));
        limiter
            .reserve(&[with_key(key)], id, now)
            .expect("no more than 5000 keys are live");
    }
    assert!(limiter.counters().count() <= 5001);
}

#[test]
fn what_happened_without_asking_counts_beyond_the_limit_and_is_final() {
    let mut limiter = Limiter::new();
    for id in 1..=4 {
        limiter
            .charge(&[want(2)], DecisionId(id), 0)
            .expect("there is room in the table");
        assert!(!limiter.release(DecisionId(id)), "it happened");
    }
    assert_eq!(limiter.state(&want(2), 1).remaining, 0);
    let refused = limiter.reserve(&[want(2)], DecisionId(5), 1);
    let retry_after_ns = WINDOW - 1;
    let expected = LimitError::Exceeded {
        index: 0,
        retry_after_ns,
    };
    assert_eq!(refused, Err(expected));
}

#[test]
fn calls_are_kept_as_long_as_the_longest_window_of_their_counter() {
    let mut limiter = windows_known();
    let hour = Want {
        window_ns: 60 * WINDOW,
        ..want(2)
    };
    let windows = BTreeMap::from([("stops".to_owned(), hour.window_ns)]);
    limiter.reserve(&[want(2)], DecisionId(1), 0).expect("room");
    limiter.set_windows(&windows);
    limiter
        .reserve(&[want(2)], DecisionId(2), 2 * WINDOW)
        .expect("the minute is over");
    assert_eq!(limiter.state(&hour, 2 * WINDOW).remaining, 0);

    // The policy no longer names the counter, then names it again.
    limiter.set_windows(&BTreeMap::new());
    limiter
        .reserve(&[named("other", 2)], DecisionId(3), 3 * WINDOW)
        .expect("room");
    limiter.set_windows(&windows);
    assert_eq!(limiter.state(&hour, 3 * WINDOW).remaining, 0);
    assert_eq!(limiter.state(&hour, 60 * WINDOW).remaining, 1);
}

#[test]
fn a_window_of_31_days_holds_to_the_nanosecond() {
    let mut limiter = Limiter::new();
    let month = Want {
        window_ns: WINDOW_NS_MAX,
        ..want(1)
    };
    let mut ask = |id, at| limiter.reserve(std::slice::from_ref(&month), DecisionId(id), at);
    ask(1, 5).expect("room");
    assert!(ask(2, 4 + WINDOW_NS_MAX).is_err());
    assert!(ask(3, 5 + WINDOW_NS_MAX).is_ok());
}
