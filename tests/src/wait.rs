//! Waiting for a state, never for a time.

use std::time::{Duration, Instant};

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `state` gives something.
///
/// # Panics
/// When `limit` has passed; names `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut state: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = state() {
            return found;
        }
        assert!(Instant::now() < end, "waited {limit:?} in vain for {what}");
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
