//! Which kernel events have been taken down. Events are numbered by the kernel
//! without gaps, so a gap here is a loss, and is recorded as one, also across
//! restarts: the newest number is kept in a file. That file needs no sync,
//! because the numbers begin anew with each boot.
//!
//! An event takes its number before its place in the ring, so that on several
//! processors 5 may come before 4. A missing number therefore gets a moment to
//! come before it counts as lost.

use std::collections::VecDeque;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::secure_file;

/// How long a number may come after a greater one. A program that holds a number
/// cannot sleep before it has its place, so this is more than it needs.
const LATE_NS: i64 = 1_000_000_000;

/// Longest file that keeps the number.
const STORED_BYTES_MAX: u64 = 4096;
/// As long as it is made, with blanks behind what it says: it is written over and
/// never replaced, so that the kernel, which guards it by its number, knows it.
const STORED_BYTES: usize = 128;

/// A range of numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Events that nobody will ever see: in an overload there is a gap before most of those
/// that come, and one record tells of all that a look finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// The first number.
    pub(super) from: u64,
    /// The last one; between them are others that have come.
    pub(super) to: u64,
    pub(super) count: u64,
}

impl Loss {
    fn of(gap: Gap) -> Self {
        let Gap { from, to } = gap;
        let count = to.saturating_sub(from).saturating_add(1);
        Self { from, to, count }
    }

    fn and(self, other: Self) -> Self {
        Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            count: self.count.saturating_add(other.count),
        }
    }
}

/// Most gaps that are waited for; beyond that the oldest are lost at once.
const LATE_MAX: usize = 16_384;

/// The newest event taken down, and the numbers that the self-test used up.
#[derive(Debug)]
pub(super) struct Seq {
    last: u64,
    /// Missing below `last`, by number, and since when (boot-time nanoseconds).
    late: VecDeque<(Gap, i64)>,
    /// What there was no room to wait for.
    given_up: Option<Loss>,
    /// Numbers of the canary's events, which nobody hands over.
    canary: Option<Gap>,
    /// A number beyond `last` that the kernel had given out, and when.
    ahead: Option<(u64, i64)>,
    /// What was in the ring at this time has come.
    caught_up_ns: i64,
    /// When that was last looked at.
    looked_ns: i64,
    path: PathBuf,
    boot_id: String,
    written: u64,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    boot_id: String,
    kernel_seq: u64,
}

impl Seq {
    /// Goes on where the former daemon stopped: at the newest of the file and
    /// the audit log. `took_over` is false where the numbers begin anew. A
    /// number that the kernel had not reached before the self-test is from a
    /// former count of the same boot, and means nothing.
    pub(super) fn resume(
        state_dir: &Path,
        boot_id: &str,
        in_audit: Option<u64>,
        took_over: bool,
        canary: Option<Gap>,
    ) -> Seq {
        let path = state_dir.join("kernel-seq.json");
        let stored = secure_file::read_own(&path, STORED_BYTES_MAX)
            .ok()
            .and_then(|text| serde_json::from_str::<Stored>(&text).ok())
            .filter(|stored| stored.boot_id == boot_id)
            .map(|stored| stored.kernel_seq);
        let of_this_count = |seq: &u64| canary.is_none_or(|canary| *seq < canary.from);
        let last = if took_over {
            stored
                .filter(of_this_count)
                .max(in_audit.filter(of_this_count))
                .unwrap_or(0)
        } else {
            0
        };
        Seq {
            last,
            late: VecDeque::new(),
            given_up: None,
            canary,
            ahead: None,
            caught_up_ns: i64::MIN,
            looked_ns: i64::MIN,
            path,
            boot_id: boot_id.to_owned(),
            written: last,
        }
    }

    /// Event `seq` has come.
    pub(super) fn reached(&mut self, seq: u64, now_ns: i64) {
        let expected = self.last.saturating_add(1);
        if seq < expected {
            self.came_late(seq);
            return;
        }
        if seq > expected {
            let missing = Gap {
                from: expected,
                to: seq - 1,
            };
            let missing = without(missing, self.canary).into_iter();
            self.late.extend(missing.map(|gap| (gap, now_ns)));
            while self.late.len() > LATE_MAX
                && let Some((gap, _)) = self.late.pop_front()
            {
                let loss = Loss::of(gap);
                self.given_up = Some(self.given_up.map_or(loss, |former| former.and(loss)));
            }
        }
        self.last = seq;
    }

    /// One that was missing is none of a gap's any more.
    fn came_late(&mut self, seq: u64) {
        let place = self.late.partition_point(|(gap, _)| gap.to < seq);
        let Some((gap, since)) = self.late.get(place).copied() else {
            return;
        };
        if gap.from > seq {
            return;
        }
        self.late.remove(place);
        let one = Gap { from: seq, to: seq };
        for rest in without(gap, Some(one)).into_iter().rev() {
            self.late.insert(place, (rest, since));
        }
    }

    /// Everything that was in the ring at `at_ns` has come; and what the self-test
    /// used up was there before the first time.
    pub(super) fn caught_up(&mut self, at_ns: i64, now_ns: i64) {
        self.caught_up_ns = at_ns;
        if let Some(canary) = self.canary
            && canary.to > self.last
        {
            self.no_more_until(canary.to, now_ns);
        }
    }

    /// No event up to `seq` is still to be read.
    fn no_more_until(&mut self, seq: u64, now_ns: i64) {
        self.reached(seq.saturating_add(1), now_ns);
        self.last = seq;
    }

    /// Is it time for [`Seq::given_out`]?
    pub(super) fn wants_newest(&mut self, now_ns: i64) -> bool {
        let wants = now_ns.saturating_sub(self.looked_ns) >= LATE_NS;
        if wants {
            self.looked_ns = now_ns;
        }
        wants
    }

    /// The kernel has given out numbers up to `newest`. Once what was in the ring
    /// after that has come, none of them is still to come. So what is lost at the end
    /// of a flood is told without waiting for an event that comes through.
    pub(super) fn given_out(&mut self, newest: u64, now_ns: i64) {
        match self.ahead {
            Some((seq, then)) if self.caught_up_ns > then => {
                self.ahead = None;
                if seq > self.last {
                    self.no_more_until(seq, now_ns);
                }
            }
            Some(_) => {}
            None => self.ahead = (newest > self.last).then_some((newest, now_ns)),
        }
    }

    /// Numbers that will not come any more.
    pub(super) fn lost(&mut self, now_ns: i64) -> Option<Loss> {
        let is_overdue = |(_, since): &(Gap, i64)| now_ns.saturating_sub(*since) >= LATE_NS;
        let overdue = self.late.iter().take_while(|late| is_overdue(late)).count();
        self.give_up(overdue)
    }

    /// As [`Seq::lost`], when there is no more time to wait.
    pub(super) fn lost_at_end(&mut self) -> Option<Loss> {
        self.give_up(self.late.len())
    }

    /// Waits no longer for the first gaps.
    fn give_up(&mut self, gaps: usize) -> Option<Loss> {
        let given_up = self.given_up.take().into_iter();
        let losses = self.late.drain(..gaps).map(|(gap, _)| Loss::of(gap));
        given_up.chain(losses).reduce(Loss::and)
    }

    /// Keeps the newest number for the next daemon; where events from `held` on
    /// are in no record yet, the one before them.
    pub(super) fn store(&mut self, held: Option<u64>) -> std::io::Result<()> {
        let newest = held.map_or(self.last, |held| self.last.min(held.saturating_sub(1)));
        if newest == self.written {
            return Ok(());
        }
        let stored = Stored {
            boot_id: self.boot_id.clone(),
            kernel_seq: newest,
        };
        let mut text = serde_json::to_vec(&stored)?;
        text.resize(text.len().max(STORED_BYTES), b' ');
        secure_file::open_own(&self.path)?.write_all_at(&text, 0)?;
        self.written = newest;
        Ok(())
    }
}

/// `gap` without the numbers in `hole`.
fn without(gap: Gap, hole: Option<Gap>) -> Vec<Gap> {
    let Some(hole) = hole else {
        return vec![gap];
    };
    let before = Gap {
        from: gap.from,
        to: gap.to.min(hole.from.saturating_sub(1)),
    };
    let after = Gap {
        from: gap.from.max(hole.to.saturating_add(1)),
        to: gap.to,
    };
    match (before.from <= before.to, after.from <= after.to) {
        (true, true) => vec![before, after],
        (true, false) => vec![before],
        (false, true) => vec![after],
        (false, false) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
