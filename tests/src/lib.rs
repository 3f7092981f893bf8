//! What the tests share: a daemon, a guest, the audit log, and waiting for a
//! state with a deadline.
//!
//! Tests panic rather than return errors, so that the line that failed is the
//! one that is shown.

pub mod audit;
pub mod daemon;
pub mod guest;
pub mod wait;

/// The steps of an allow, in order, as vmwardd names its crash points.
pub const CRASH_STEPS: [&str; 6] = [
    "before-journal",
    "after-journal-write",
    "after-fsync",
    "after-audit",
    "after-lease",
    "before-answer",
];
