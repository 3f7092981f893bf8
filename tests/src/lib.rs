//! What the tests share: a daemon, a guest, the audit log, and waiting for a
//! state with a deadline.
//!
//! Tests panic rather than return errors, so that the line that failed is the
//! one that is shown.

pub mod audit;
pub mod daemon;
pub mod guest;
pub mod wait;
