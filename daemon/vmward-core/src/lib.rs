//! May this happen? The pure heart of vmward.
//!
//! Nothing here opens a file, reads a clock, spawns a task or talks to the
//! kernel: time is an argument and every effect is returned as data, so that
//! each promise below can be tested without a machine.
//!
//! | module | answers |
//! | --- | --- |
//! | [`policy`] | what the administrator wrote, or every mistake in it, with a caret |
//! | [`grant`] | whose account a call is charged to |
//! | [`effect`] | what a tool call does to which VM |
//! | [`limit`] | how many calls are left: an exact sliding log |
//! | [`approval`] | the states of a person's yes to one call |
//! | [`lease`] | the states of a permission that the kernel holds |
//! | [`engine`] | the decision, what to write down for it, and what became of it |
//! | [`journal`] | the lines that make a decision survive a crash |
//! | [`disarm`] | what protection people took away, and until when |
//! | [`audit`] | the lines that prove what happened |
//!
//! Invariants:
//! 1. No window of a limit's length ever holds more than `max` calls, whatever
//!    the clocks do, and however often the daemon dies.
//! 2. One VM has at most one usable lease.
//! 3. A charge is given back only for a lease that the kernel never saw used
//!    and whose VM still runs at the deadline.
//! 4. Replaying any prefix of the journal gives no more quota than was left
//!    after the entries of that prefix.
#![forbid(unsafe_code)]

pub mod approval;
pub mod audit;
pub mod clock;
pub mod digest;
pub mod disarm;
pub mod effect;
pub mod engine;
pub mod grant;
pub mod ids;
pub mod journal;
pub mod lease;
pub mod limit;
pub mod policy;
