//! Records that have their place in the log and are not written yet, in memory
//! that outlives the process: a file in the run directory, mapped. After a
//! `kill -9` the next start finds them and writes them, so a decision may be
//! answered once its record is here. It takes no system call, which is all there
//! is to gain.
//!
//! The file begins with the number of bytes in use, then come the records, one
//! line of JSON each. It is as lasting as the run directory: it does not outlive
//! the host, and neither does what the log was not synced with yet.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::MmapMut;
use serde::{Deserialize, Serialize};
use vmward_core::audit::AuditBody;
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;

use super::{AuditError, AuditFile, Resumed};

/// The file's name in the run directory.
const SPOOL_FILE: &str = "audit.spool";
/// Its length. The longest record, with 4 KiB of arguments, takes some 16 KiB.
const SPOOL_BYTES: usize = 128 * 1024;
/// The number of bytes in use.
const HEAD_BYTES: usize = size_of::<u64>();

/// The open file.
pub(super) struct Spool {
    map: MmapMut,
    /// Bytes in use, the head not counted.
    used: usize,
}

#[derive(Serialize)]
struct Owed<'a> {
    at: Now,
    body: &'a AuditBody,
}

#[derive(Deserialize)]
struct Left {
    at: Now,
    body: AuditBody,
}

impl Spool {
    /// Opens the file, and returns what a former daemon left in it, oldest first.
    /// It stays in the file until [`Spool::clear`].
    ///
    /// # Errors
    /// The system's errors.
    pub(super) fn open(dir: &Path) -> io::Result<(Spool, Vec<(AuditBody, Now)>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(dir.join(SPOOL_FILE))?;
        // Every page has its place from now on: one that found none when it is
        // first written to would end the daemon.
        let len = i64::try_from(SPOOL_BYTES).unwrap_or(i64::MAX);
        nix::fcntl::posix_fallocate(&file, 0, len)?;
        file.set_len(SPOOL_BYTES as u64)?;
        let map = map(&file)?;
        let mut spool = Spool { map, used: 0 };
        let (left, used) = spool.read();
        spool.used = used;
        Ok((spool, left))
    }

    /// The records, up to the first that cannot be read, and where they end.
    fn read(&self) -> (Vec<(AuditBody, Now)>, usize) {
        let (head, lines) = self.map.split_at(HEAD_BYTES);
        let used = head.try_into().map_or(0, u64::from_le_bytes);
        let used = usize::try_from(used).unwrap_or(usize::MAX);
        let lines = lines.get(..used).unwrap_or_default();
        let mut left = Vec::new();
        let mut end = 0;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let Ok(Left { at, body }) = serde_json::from_slice(line) else {
                tracing::warn!("a record that a former daemon owed the audit log cannot be read");
                break;
            };
            left.push((body, at));
            end += line.len();
        }
        (left, end)
    }

    /// Puts a record behind the others; false when there is no room for it.
    pub(super) fn push(&mut self, body: &AuditBody, at: Now) -> bool {
        let start = HEAD_BYTES + self.used;
        let mut rest = self.map.get_mut(start..).unwrap_or_default();
        let room = rest.len();
        let written = serde_json::to_writer(&mut rest, &Owed { at, body });
        if written.is_err() || rest.write_all(b"\n").is_err() {
            return false;
        }
        let taken = room - rest.len();
        self.set_used(self.used + taken);
        true
    }

    /// Everything is in the log.
    pub(super) fn clear(&mut self) {
        if self.used > 0 {
            self.set_used(0);
        }
    }

    fn set_used(&mut self, used: usize) {
        self.used = used;
        if let Some(head) = self.map.get_mut(..HEAD_BYTES) {
            head.copy_from_slice(&(used as u64).to_le_bytes());
        }
    }
}

impl AuditFile {
    /// As [`AuditFile::open`], and writes what a former daemon left in the spool
    /// of `run_dir`. Where the spool cannot be opened, nothing will be owed: each
    /// record is written before its decision is answered.
    ///
    /// # Errors
    /// As [`AuditFile::open`].
    pub fn open_with_spool(
        dir: &Path,
        run_dir: &Path,
        boot_id: &str,
        at: Now,
        mut wanted: HashSet<DecisionId>,
    ) -> Result<(AuditFile, Resumed), AuditError> {
        let opened = Spool::open(run_dir).inspect_err(|error| {
            let dir = run_dir.display();
            tracing::warn!(%error, "records are written one by one: no {SPOOL_FILE} in {dir}");
        });
        let (spool, left) = opened.map_or_else(
            |_error| (None, Vec::new()),
            |(spool, left)| (Some(spool), left),
        );
        wanted.extend(left.iter().filter_map(|(body, _)| body.decision_id()));
        let (mut audit, mut resumed) = AuditFile::open(dir, boot_id, at, &wanted)?;
        for (body, _) in left {
            let Some(id) = body.decision_id() else {
                continue;
            };
            resumed.newest = resumed.newest.max(Some(id));
            if resumed.decisions.insert(id) {
                tracing::warn!(
                    decision = id.0,
                    "the audit log lacked a decision; it is written again from the spool"
                );
                audit.push(body.recovered(), at);
            }
        }
        // Whatever the disk does not take now stays in the spool, too.
        audit.spool = spool;
        audit.flush();
        Ok((audit, resumed))
    }
}

#[expect(unsafe_code, reason = "a mapped file can change under its reader")]
fn map(file: &std::fs::File) -> io::Result<MmapMut> {
    // SAFETY: only root can open the file, only one daemon does (it holds the run
    // directory's lock), and no reference into the map outlives a call here.
    unsafe { MmapMut::map_mut(file) }
}

#[cfg(test)]
mod tests {
    use vmward_core::audit::DaemonRecord;

    use super::*;

    fn record(detail: &str) -> AuditBody {
        AuditBody::Daemon(DaemonRecord {
            event: "test".to_owned(),
            detail: Some(detail.to_owned()),
        })
    }

    fn at(boot_ns: i64) -> Now {
        Now {
            boot_ns,
            wall_ns: 7,
        }
    }

    #[test]
    fn what_was_owed_is_there_at_the_next_start_until_it_is_paid() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, left) = Spool::open(dir.path()).unwrap();
        assert_eq!(left, []);
        assert!(spool.push(&record("one"), at(1)));
        assert!(spool.push(&record("two"), at(2)));
        drop(spool);
        let two = vec![(record("one"), at(1)), (record("two"), at(2))];
        let (mut spool, left) = Spool::open(dir.path()).unwrap();
        assert_eq!(left, two);
        assert!(spool.push(&record("three"), at(3)));
        assert_eq!(Spool::open(dir.path()).unwrap().1.len(), 3);
        spool.clear();
        assert!(spool.push(&record("two"), at(2)));
        assert_eq!(Spool::open(dir.path()).unwrap().1, two[1..]);
    }

    #[test]
    fn a_full_spool_says_so_and_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let (mut spool, _) = Spool::open(dir.path()).unwrap();
        let long = record(&"x".repeat(50_000));
        assert!(spool.push(&long, at(1)) && spool.push(&long, at(2)));
        assert!(!spool.push(&long, at(3)));
        assert!(spool.push(&record("short"), at(4)));
        let left = Spool::open(dir.path()).unwrap().1;
        let instants: Vec<i64> = left.iter().map(|(_, at)| at.boot_ns).collect();
        assert_eq!(instants, [1, 2, 4]);
    }

    #[test]
    fn nonsense_in_the_file_is_no_record() {
        let dir = tempfile::tempdir().unwrap();
        drop(Spool::open(dir.path()).unwrap());
        let mut bytes = vec![b'{'; SPOOL_BYTES];
        std::fs::write(dir.path().join(SPOOL_FILE), &bytes).unwrap();
        assert_eq!(Spool::open(dir.path()).unwrap().1, []);
        bytes[..HEAD_BYTES].copy_from_slice(&20_u64.to_le_bytes());
        std::fs::write(dir.path().join(SPOOL_FILE), &bytes).unwrap();
        let (mut spool, left) = Spool::open(dir.path()).unwrap();
        assert_eq!(left, []);
        assert!(spool.push(&record("one"), at(1)));
        assert_eq!(Spool::open(dir.path()).unwrap().1.len(), 1);
    }
}
