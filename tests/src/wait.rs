//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `state` gives something.
///
/// # Panics
/// When `limit` has passed; names `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, state: impl FnMut() -> Option<T>) -> T {
    within(limit, state).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

/// Looks until `state` gives something, or `limit` has passed.
pub fn within<T>(limit: Duration, mut state: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let late = Instant::now() >= end;
        let found = state();
        if found.is_some() || late {
            return found;
        }
        pause();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one pause of the loop that waits for a state"
)]
fn pause() {
    std::thread::sleep(INTERVAL);
}
