//! Which part of a round of the engine took long, for the log.

use std::time::{Duration, Instant};

/// A part that takes longer is told: callers wait meanwhile.
const LONG: Duration = Duration::from_secs(2);

/// The clock of one round.
pub(super) struct Lap {
    messages: usize,
    since: Instant,
}

impl Lap {
    pub(super) fn start(messages: usize) -> Lap {
        Lap {
            messages,
            since: Instant::now(),
        }
    }

    /// A part ends here, and the next begins.
    pub(super) fn ends(&mut self, part: &str) {
        let now = Instant::now();
        let took = now.duration_since(self.since);
        self.since = now;
        if took >= LONG {
            let (seconds, messages) = (took.as_secs_f32(), self.messages);
            tracing::warn!(part, seconds, messages, "the engine was busy for long");
        }
    }
}
