//! How long a client's next bytes may take, and when what was decided for it is
//! written down.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::{Client, IDLE_DEADLINE};
use crate::counters::count;

/// A frame, once begun, must be whole within this time.
const FRAME_DEADLINE: Duration = Duration::from_secs(5);
/// Records may wait so long for more to be written with.
const RECORD_DELAY: Duration = Duration::from_millis(5);
/// So many records are enough for one write.
const RECORDS_ENOUGH: usize = 16;

impl Client {
    /// Writes the records that wait, where there are enough of them or none may
    /// wait now. True when some still do.
    pub(super) fn record_or_owe(&self, may_owe: bool) -> bool {
        let waiting = self.engine.owed();
        let owes = (1..RECORDS_ENOUGH).contains(&waiting) && may_owe;
        if !owes {
            self.engine.record();
        }
        owes
    }

    /// Sets how long the next read may wait: for a frame that began, what is
    /// left from its first byte on, so that a byte now and then buys no time.
    ///
    /// # Errors
    /// Nothing is left.
    pub(super) fn be_patient(
        &self,
        stream: &UnixStream,
        begun: Option<Instant>,
        owes: bool,
        patience: &mut Duration,
    ) -> io::Result<()> {
        let left = match begun {
            Some(begun) => FRAME_DEADLINE.saturating_sub(begun.elapsed()),
            None if owes => RECORD_DELAY,
            None => IDLE_DEADLINE,
        };
        if left == *patience {
            return Ok(());
        }
        *patience = left;
        // A deadline of zero would be none at all: that is an error, too.
        stream
            .set_read_timeout(Some(left))
            .inspect_err(|_error| count(&self.counters.clients_timed_out))
    }
}
