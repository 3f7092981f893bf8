//! Which kernel events have been taken down. Events are numbered by the kernel
//! without gaps, so a gap here is a loss, and is recorded as one, also across
//! restarts: the newest number is kept in a file. That file needs no sync,
//! because the numbers begin anew with each boot.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

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
    /// Numbers of the canary's events, which nobody hands over.
    canary: Option<Gap>,
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
    /// the audit log. `took_over` is false where the numbers begin anew.
    pub(super) fn resume(
        state_dir: &Path,
        boot_id: &str,
        in_audit: Option<u64>,
        took_over: bool,
        canary: Option<Gap>,
    ) -> Seq {
        let path = state_dir.join("kernel-seq.json");
        let stored = std::fs::read_to_string(&path)
            .ok()
            .and_then(|text| serde_json::from_str::<Stored>(&text).ok())
            .filter(|stored| stored.boot_id == boot_id)
            .map(|stored| stored.kernel_seq);
        let last = if took_over {
            stored.max(in_audit).unwrap_or(0)
        } else {
            0
        };
        Seq {
            last,
            canary,
            path,
            boot_id: boot_id.to_owned(),
            written: last,
        }
    }

    /// Event `seq` has come; says what is missing before it.
    pub(super) fn reached(&mut self, seq: u64) -> Vec<Gap> {
        let expected = self.last.saturating_add(1);
        let missing = if seq > expected {
            without(
                Gap {
                    from: expected,
                    to: seq - 1,
                },
                self.canary,
            )
        } else {
            Vec::new()
        };
        self.last = self.last.max(seq);
        missing
    }

    /// Everything up to the end of the self-test has come.
    pub(super) fn caught_up(&mut self) -> Vec<Gap> {
        match self.canary {
            Some(canary) if canary.to > self.last => {
                let gaps = self.reached(canary.to.saturating_add(1));
                self.last = canary.to;
                gaps
            }
            _ => Vec::new(),
        }
    }

    /// Keeps the newest number for the next daemon.
    pub(super) fn store(&mut self) -> std::io::Result<()> {
        if self.last == self.written {
            return Ok(());
        }
        let stored = Stored {
            boot_id: self.boot_id.clone(),
            kernel_seq: self.last,
        };
        let new = self.path.with_extension("new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&serde_json::to_vec(&stored)?)?;
        std::fs::rename(&new, &self.path)?;
        self.written = self.last;
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
    use super::*;

    fn fresh(dir: &Path, canary: Option<Gap>) -> Seq {
        Seq::resume(dir, "boot", None, true, canary)
    }

    #[test]
    fn a_gap_is_reported_once_and_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        assert_eq!(seq.reached(1), []);
        assert_eq!(seq.reached(5), [Gap { from: 2, to: 4 }]);
        assert_eq!(seq.reached(6), []);
    }

    #[test]
    fn the_canary_s_numbers_are_no_loss_and_real_ones_beside_them_are() {
        let dir = tempfile::tempdir().unwrap();
        let canary = Some(Gap { from: 4, to: 9 });
        let mut seq = fresh(dir.path(), canary);
        seq.reached(1);
        assert_eq!(seq.caught_up(), [Gap { from: 2, to: 3 }]);
        assert_eq!(seq.reached(10), []);
        assert_eq!(seq.reached(12), [Gap { from: 11, to: 11 }]);
        let mut none_before = fresh(dir.path(), Some(Gap { from: 1, to: 9 }));
        assert_eq!(none_before.caught_up(), []);
        assert_eq!(none_before.reached(10), []);
    }

    #[test]
    fn the_next_daemon_of_the_same_boot_goes_on_and_finds_the_gap() {
        let dir = tempfile::tempdir().unwrap();
        let mut seq = fresh(dir.path(), None);
        seq.reached(1);
        seq.store().unwrap();
        let mut next = fresh(dir.path(), None);
        assert_eq!(next.reached(4), [Gap { from: 2, to: 3 }]);
        let mut other_boot = Seq::resume(dir.path(), "other", None, false, None);
        assert_eq!(other_boot.reached(1), []);
    }
}
