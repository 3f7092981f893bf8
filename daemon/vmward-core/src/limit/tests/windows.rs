//! Windows that a policy changes.

use super::*;

#[test]
fn a_window_that_was_made_shorter_and_long_again_has_lost_no_call() {
    let mut limiter = Limiter::new();
    let hour = Want {
        window_ns: 60 * WINDOW,
        ..want(3)
    };
    let known = |ns| BTreeMap::from([("stops".to_owned(), ns)]);
    let ids = |limiter: &Limiter| {
        let live = limiter.counters().flat_map(|one| one.stamps);
        live.map(|(stamp, _)| stamp.id.0).collect::<Vec<_>>()
    };
    limiter.set_windows(&known(hour.window_ns));
    for id in 1..=3 {
        let charged = limiter.reserve(std::slice::from_ref(&hour), DecisionId(id), 0);
        charged.expect("room");
    }
    limiter.set_windows(&known(WINDOW));
    // Calls under the short one lapse in its time, and are dropped.
    for id in 4..=9 {
        let now_ns = i64::try_from(id).unwrap() * WINDOW;
        assert_eq!(limiter.state(&want(2), now_ns).remaining, 2);
        limiter
            .reserve(&[want(2)], DecisionId(id), now_ns)
            .expect("the minute is over");
        assert_eq!(limiter.load(now_ns).stamps, 4);
        assert_eq!(ids(&limiter), [1, 2, 3, id]);
        assert_eq!(limiter.state(&want(2), now_ns).remaining, 1);
    }
    let mut back = limiter.clone();
    back.set_windows(&known(hour.window_ns));
    assert_eq!(back.state(&hour, 10 * WINDOW).remaining, 0);
    assert_eq!(
        back.state(&hour, 60 * WINDOW).remaining,
        2,
        "the ninth is left"
    );
    // An hour after they were charged they are dropped under either.
    limiter.load(60 * WINDOW);
    assert_eq!(ids(&limiter), [0; 0]);
    assert_eq!(limiter.load(60 * WINDOW).counters, 0);
}
