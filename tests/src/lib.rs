//! What the tests share: a daemon, a guest, the audit log, and waiting for a
//! state with a deadline.
//!
//! Tests panic rather than return errors, so that the line that failed is the
//! one that is shown.

pub mod attacks;
pub mod audit;
pub mod coverage;
pub mod daemon;
pub mod guest;
pub mod progress;
pub mod wait;

/// The policy that the product started from: ten stops a minute.
pub const SEED: &str = include_str!("../../daemon/vmward-core/tests/data/policy.json");

/// The seed's limit over a day: for tests that take more than a minute on a slow
/// machine and must not see quota come back by itself.
///
/// # Panics
/// When the seed has changed.
pub fn ten_stops_a_day() -> String {
    assert!(SEED.contains("\"minute\""), "the seed limits by the minute");
    SEED.replace("\"minute\"", "\"day\"")
}

/// The steps of an allow, in order, as vmwardd names its crash points.
pub const CRASH_STEPS: [&str; 7] = [
    "before-journal",
    "after-journal-write",
    "after-fsync",
    "after-lease",
    "after-audit",
    "before-answer",
    "after-answer",
];
