//! Limits whose windows a policy changes, and the journal between.

use super::*;
use crate::journal::{Replay, encode_line};

/// Three of these a window.
fn of_window(window: &str) -> Policy {
    policy(
        &r#"{"version": "1", "default": "deny", "tools": {"vm_stop": {"limits":
            [{"counter": "s", "window": "WINDOW", "max": 3, "scope": "grant"}]}}}"#
            .replace("WINDOW", window),
    )
}

/// A daemon's engine, and what it has written.
struct Host {
    engine: Engine,
    journal: Vec<JournalEntry>,
}

impl Host {
    /// Three calls are used up within an hour.
    fn used_up() -> Self {
        let engine = Engine::new(of_window("hour"), BOOT);
        let journal = vec![engine.boot_entry(at(0))];
        let mut host = Self { engine, journal };
        for n in 0..3 {
            assert!(host.asks(n, 0), "the first three");
        }
        assert!(!host.asks(3, 0), "the fourth");
        host
    }

    fn asks(&mut self, vm: u8, second: i64) -> bool {
        let answer = self.engine.authorize(stop(vm), at(second));
        self.journal.extend(answer.journal);
        matches!(answer.decision, Decision::Allow(_))
    }

    fn reloads(&mut self, window: &str) {
        self.engine.set_policy(of_window(window));
    }

    fn is_compacted(&mut self, second: i64) {
        self.journal = self.engine.snapshot(at(second));
    }

    fn restarts(&mut self, window: &str, second: i64) {
        let lines = self.journal.iter().map(|entry| encode_line(entry).unwrap());
        let replay = Replay::read(&lines.collect::<Vec<_>>().concat()).expect("intact");
        let replayed = replay.finish(BOOT, at(second));
        self.engine = Engine::restore(of_window(window), &replayed);
        self.journal.push(self.engine.boot_entry(at(second)));
    }
}

#[test]
fn a_window_that_was_short_for_a_moment_gives_nothing_back() {
    let mut host = Host::used_up();
    host.reloads("second");
    // Somebody asks for the status, and something is done meanwhile.
    host.engine.limiter_load(at(5));
    assert!(host.asks(4, 5));
    host.reloads("hour");
    assert!(!host.asks(5, 6));
}

#[test]
fn neither_does_it_over_a_restart_nor_a_compaction() {
    for is_compacted in [false, true] {
        let mut host = Host::used_up();
        host.reloads("second");
        assert!(host.asks(4, 5));
        for second in [6, 7] {
            if is_compacted {
                host.is_compacted(second);
            }
            host.restarts("second", second);
        }
        host.engine.limiter_load(at(8));
        assert!(host.asks(5, 8), "what holds now");
        host.reloads("hour");
        assert!(!host.asks(6, 9), "compacted: {is_compacted}");
        host.restarts("hour", 10);
        assert!(!host.asks(7, 10), "compacted: {is_compacted}");
        assert!(host.asks(8, 3700), "the hour is over");
    }
}

#[test]
fn a_policy_that_was_changed_while_no_daemon_ran_finds_what_was_charged() {
    let mut host = Host::used_up();
    host.restarts("second", 5);
    host.engine.limiter_load(at(6));
    host.is_compacted(6);
    host.restarts("hour", 7);
    assert!(!host.asks(4, 7));
}

#[test]
fn calls_of_the_short_window_are_gone_with_it() {
    let mut host = Host::used_up();
    host.reloads("second");
    for second in 10..200 {
        let vm = u8::try_from(second).expect("small");
        assert!(host.asks(vm, second));
    }
    let load = host.engine.limiter_load(at(200));
    assert_eq!((load.counters, load.stamps), (1, 3));
}

#[test]
fn a_new_policy_counts_what_was_used_under_the_old_one() {
    let mut engine = engine();
    for n in 0..3 {
        allowed(&engine.authorize(stop(n), at(0)));
    }
    engine.set_policy(policy(&SEED.replace("10", "3")));
    denied(&engine.authorize(stop(3), at(1)), ReasonCode::RateLimited);
    engine.set_policy(policy(SEED));
    allowed(&engine.authorize(stop(3), at(1)));
}
