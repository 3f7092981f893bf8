//! Which kernel events have been taken down. Events are numbered by the kernel
//! without gaps, so a gap here is a loss, and is recorded as one, also across
//! restarts: the newest number is kept in a file. That file needs no sync,
//! because the numbers begin anew with each boot.
//!
//! An event takes its number before its place in the ring, so that on several
//! processors 5 may come before 4. A missing number therefore gets a moment to
//! come before it counts as lost.

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

/// The newest event taken down, and the numbers that the self-test used up.
#[derive(Debug)]
pub(super) struct Seq {
    last: u64,
    /// Missing below `last`, and since when (boot-time nanoseconds).
    late: Vec<(Gap, i64)>,
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
            late: Vec::new(),
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
            let one = Gap { from: seq, to: seq };
            let late = std::mem::take(&mut self.late).into_iter();
            self.late = late
                .flat_map(|(gap, since)| {
                    let rest = without(gap, Some(one)).into_iter();
                    rest.map(move |gap| (gap, since))
                })
                .collect();
            return;
        }
        if seq > expected {
            let missing = Gap {
                from: expected,
                to: seq - 1,
            };
            let missing = without(missing, self.canary).into_iter();
            self.late.extend(missing.map(|gap| (gap, now_ns)));
        }
        self.last = seq;
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
    pub(super) fn lost(&mut self, now_ns: i64) -> Vec<Gap> {
        let overdue = |(_, since): &mut (Gap, i64)| now_ns.saturating_sub(*since) >= LATE_NS;
        self.late
            .extract_if(.., overdue)
            .map(|(gap, _)| gap)
            .collect()
    }

    /// As [`Seq::lost`], when there is no more time to wait.
    pub(super) fn lost_at_end(&mut self) -> Vec<Gap> {
        self.late.drain(..).map(|(gap, _)| gap).collect()
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
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn fresh(dir: &Path, canary: Option<Gap>) -> Seq {
        Seq::resume(dir, "boot", None, true, canary)
    }

    /// What is lost once nothing is late any more.
    fn lost(seq: &mut Seq) -> Vec<Gap> {
        assert_eq!(seq.lost(LATE_NS - 1), [], "too early to say");
        seq.lost(LATE_NS)
    }

    #[test]
    fn a_gap_is_reported_once_and_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        seq.reached(1, 0);
        seq.reached(5, 0);
        seq.reached(6, 0);
        assert_eq!(lost(&mut seq), [Gap { from: 2, to: 4 }]);
        assert_eq!(lost(&mut seq), []);
    }

    #[test]
    fn events_that_overtook_each_other_are_not_lost() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        for number in [2, 1, 6, 4, 7, 3] {
            seq.reached(number, 0);
        }
        assert_eq!(lost(&mut seq), [Gap { from: 5, to: 5 }]);
        seq.reached(9, 0);
        assert_eq!(seq.lost_at_end(), [Gap { from: 8, to: 8 }]);
    }

    #[test]
    fn the_canary_s_numbers_are_no_loss_and_real_ones_beside_them_are() {
        let dir = tempfile::tempdir().unwrap();
        let canary = Some(Gap { from: 4, to: 9 });
        let mut seq = fresh(dir.path(), canary);
        seq.reached(1, 0);
        seq.caught_up(0, 0);
        assert_eq!(lost(&mut seq), [Gap { from: 2, to: 3 }]);
        seq.reached(10, 0);
        seq.reached(12, 0);
        assert_eq!(lost(&mut seq), [Gap { from: 11, to: 11 }]);
        let mut none_before = fresh(dir.path(), Some(Gap { from: 1, to: 9 }));
        none_before.caught_up(0, 0);
        none_before.reached(10, 0);
        assert_eq!(lost(&mut none_before), []);
    }

    #[test]
    fn the_next_daemon_of_the_same_boot_goes_on_and_finds_the_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        seq.reached(1, 0);
        seq.store(None).unwrap();
        let mut next = fresh(dir.path(), None);
        next.reached(4, 0);
        assert_eq!(lost(&mut next), [Gap { from: 2, to: 3 }]);
        next.store(Some(3)).unwrap();
        let mut after = fresh(dir.path(), None);
        after.reached(5, 0);
        assert_eq!(lost(&mut after), [Gap { from: 3, to: 4 }]);
        let mut other_boot = Seq::resume(dir.path(), "other", None, false, None);
        other_boot.reached(1, 0);
        assert_eq!(lost(&mut other_boot), []);
    }

    #[test]
    fn the_file_stays_the_one_that_the_kernel_guards() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        let mut stored = |number| {
            seq.reached(number, 0);
            seq.store(None).unwrap();
            std::fs::metadata(dir.path().join("kernel-seq.json")).unwrap()
        };
        let (first, second) = (stored(9), stored(10));
        assert_eq!(first.ino(), second.ino());
        assert_eq!(
            first.len(),
            second.len(),
            "nothing of the former stays behind"
        );
    }

    #[test]
    fn what_is_lost_at_the_end_is_told_once_the_ring_was_empty() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        seq.reached(1, 0);
        seq.caught_up(0, 0);
        seq.given_out(1, 10);
        seq.caught_up(5, 10);
        seq.given_out(5, 10);
        seq.caught_up(10, 20);
        seq.given_out(6, 20);
        assert_eq!(seq.lost(i64::MAX), [], "it may still be in the ring");
        seq.reached(2, 20);
        // Read, perhaps; but not handed over before this.
        seq.given_out(6, 29);
        assert_eq!(seq.lost(i64::MAX), [], "it may be in a message");
        seq.caught_up(25, 30);
        seq.given_out(6, 30);
        assert_eq!(seq.lost(30), [], "it may still be on its way");
        seq.reached(4, 40);
        let late = [Gap { from: 3, to: 3 }, Gap { from: 5, to: 5 }];
        assert_eq!(seq.lost(30 + LATE_NS), late);
        seq.reached(6, 50);
        assert_eq!(seq.lost_at_end(), [], "none is told twice");
    }

    #[test]
    fn the_newest_number_is_asked_for_once_a_second() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        assert!(seq.wants_newest(0));
        assert!(!seq.wants_newest(LATE_NS - 1));
        assert!(seq.wants_newest(LATE_NS));
    }

    #[test]
    fn numbers_of_a_count_that_began_anew_hide_no_loss() {
        // The kernel side was removed and attached again within one boot, so
        // the log holds greater numbers than the kernel has given out.
        let dir = tempfile::tempdir().unwrap();
        let canary = Some(Gap { from: 4, to: 9 });
        let mut seq = Seq::resume(dir.path(), "boot", Some(5000), true, canary);
        seq.reached(10, 0);
        assert_eq!(lost(&mut seq), [Gap { from: 1, to: 3 }]);
    }
}
