//! Waiting for a state with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const POLL: Duration = Duration::from_millis(50);

/// One short pause between two looks at a state; the only sleep in this crate.
#[expect(
    clippy::disallowed_methods,
    reason = "the pause inside every wait with a deadline"
)]
pub(crate) fn pause() {
    std::thread::sleep(POLL);
}

/// Polls `ready` until it yields a value; an error names `what` once `limit` has passed.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if start.elapsed() > limit {
            bail!("waited {} s in vain for {what}", limit.as_secs());
        }
        pause();
    }
}
