//! The head of the chain, kept in the state directory: by it the next start, and
//! `vmward audit verify`, see that the log's newest records are missing. It is
//! written after each write to the log and never synced, like the log itself; so
//! after a power cut either may be the older one.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use vmward_core::audit::AuditBody;
use vmward_core::audit::chain::Chain;
use vmward_core::audit::head::{HEAD_BYTES, HEAD_FILE, KeptHead};
use vmward_core::clock::Now;
use vmward_core::ids::DecisionId;

use super::rotate::rotated;
use super::{AUDIT_FILE, AuditError, AuditFile, Resumed};
use crate::secure_file::open_own;

impl AuditFile {
    /// [`AuditFile::open`], with the head kept in `state_dir` from now on. Where the
    /// log lacks the record that was kept, or no record was kept of a log that has
    /// some, that goes on record and into [`Resumed::end_missing`].
    ///
    /// # Errors
    /// See [`AuditFile::open`].
    pub fn open_kept(
        dir: &Path,
        state_dir: &Path,
        boot_id: &str,
        at: Now,
        wanted: &HashSet<DecisionId>,
    ) -> Result<(AuditFile, Resumed), AuditError> {
        let (mut audit, mut resumed) = AuditFile::open(dir, boot_id, at, wanted)?;
        resumed.end_missing = audit.keep_head(dir, state_dir, resumed.records, at);
        if let Some(why) = &resumed.end_missing {
            tracing::warn!("{why}");
        }
        Ok((audit, resumed))
    }

    /// Goes on with the head that a former daemon kept of a log of so many `records`.
    fn keep_head(&mut self, dir: &Path, state_dir: &Path, records: u64, at: Now) -> Option<String> {
        let path = state_dir.join(HEAD_FILE);
        let outcome = open(&path).and_then(|(file, kept)| {
            let missing = self.missing(dir, &path, kept, records)?;
            Ok((file, missing))
        });
        let (file, missing) = match outcome {
            Ok(found) => found,
            Err(error) => {
                return Some(format!(
                    "{} cannot be used ({error}), so nobody would see that the newest records of \
                     the audit log are missing",
                    path.display()
                ));
            }
        };
        self.head.file = Some(file);
        let Some(missing) = missing else {
            self.head.put(&self.chain);
            return None;
        };
        let (event, why) = missing;
        self.append(AuditBody::daemon(event, Some(why.clone())), at);
        Some(why)
    }

    /// What the kept head says of the log: nothing, or the event and the sentence
    /// that go on record.
    fn missing(
        &self,
        dir: &Path,
        path: &Path,
        kept: Kept,
        records: u64,
    ) -> io::Result<Option<(&'static str, String)>> {
        let what = match kept {
            Kept::Head(kept) => {
                // Unless the daemon was ended between the two, they agree.
                if kept == KeptHead::of(&self.chain) || holds(dir, &kept)? {
                    return Ok(None);
                }
                let why = format!(
                    "the audit log lacks record {} with the hash {}, which was written: its newest \
                     records are missing, or all of them; a power cut can take those of the last \
                     second",
                    kept.seq, kept.hash
                );
                return Ok(Some(("audit-end-missing", why)));
            }
            Kept::Damaged => "damaged",
            Kept::Missing => "missing",
        };
        // The first record comes before the first head, and a crash between them.
        Ok((records > 1).then(|| {
            let why = format!(
                "{} is {what}, and the audit log has {records} records: nobody can tell whether \
                 newer ones were taken away before this start; a power cut can take the file",
                path.display()
            );
            ("audit-head-missing", why)
        }))
    }

    /// Why the head is not kept, where it cannot be written.
    pub fn head_fault(&self) -> Option<&str> {
        self.head.fault.as_deref()
    }
}

/// Where the head is kept.
#[derive(Default)]
pub(super) struct Head {
    file: Option<File>,
    /// Why the last write failed.
    fault: Option<String>,
}

impl Head {
    /// Writes the chain's head. While that fails an older one is still in the log,
    /// so this costs sharpness alone.
    pub(super) fn put(&mut self, chain: &Chain) {
        let Some(file) = &self.file else {
            return;
        };
        let head = KeptHead::of(chain);
        let Err(error) = file.write_all_at(head.text().as_bytes(), 0) else {
            if self.fault.take().is_some() {
                tracing::info!("the head of the audit log is kept again");
            }
            return;
        };
        if self.fault.is_none() {
            tracing::warn!(%error, "cannot keep the head of the audit log");
        }
        self.fault = Some(error.to_string());
    }
}

/// What a former daemon kept.
enum Kept {
    Head(KeptHead),
    Damaged,
    Missing,
}

fn open(path: &Path) -> io::Result<(File, Kept)> {
    let file = open_own(path)?;
    let mut text = [0; HEAD_BYTES];
    let kept = match file.read_exact_at(&mut text, 0) {
        Ok(()) => str::from_utf8(&text).ok().and_then(KeptHead::read),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(error),
    };
    let kept = match kept {
        Some(head) => Kept::Head(head),
        None if file.metadata()?.len() == 0 => Kept::Missing,
        None => {
            // Nothing of it may stand behind the next head.
            file.set_len(0)?;
            Kept::Damaged
        }
    };
    Ok((file, kept))
}

/// Is the record in the log? It is near the end: only what was written last can be
/// behind it.
fn holds(dir: &Path, kept: &KeptHead) -> io::Result<bool> {
    let newest = std::iter::once(dir.join(AUDIT_FILE));
    let before = rotated(dir)?.into_iter().rev().map(|(_, path)| path);
    for path in newest.chain(before) {
        let mut begins_before = false;
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            let line = line?;
            let Ok(chain) = Chain::resume(&String::from_utf8_lossy(&line)) else {
                continue;
            };
            let head = KeptHead::of(&chain);
            if head == *kept {
                return Ok(true);
            }
            begins_before |= head.seq < kept.seq;
        }
        if begins_before {
            return Ok(false);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_cannot_be_written_is_told_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(HEAD_FILE);
        std::fs::write(&path, "").unwrap();
        let chain = Chain::default();
        let mut head = Head {
            file: Some(File::open(&path).unwrap()),
            fault: None,
        };
        head.put(&chain);
        assert!(head.fault.as_ref().unwrap().contains("Bad file descriptor"));
        head.file = Some(File::options().write(true).open(&path).unwrap());
        head.put(&chain);
        assert_eq!(head.fault, None);
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            KeptHead::of(&chain).text()
        );
    }
}
