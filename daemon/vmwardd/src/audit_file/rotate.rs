//! The log in several files: when the one that is written is long enough it is
//! put aside under a number, and the chain goes on in a new one. Files are taken
//! away by age only, never to make room: who fills the log must not be able to
//! push out of it what was there before.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use vmward_core::audit::AuditBody;
use vmward_core::audit::chain::Chain;
use vmward_core::audit::files::{REMOVED, ROTATED, rotated_name, rotated_number};
use vmward_core::clock::{Now, parse_rfc3339};
use vmward_core::ids::DecisionId;

use super::scan::scan;
use super::{AUDIT_FILE, AuditFile, Resumed, genesis};
use crate::secure_file::append_own;

/// As many of the files that were put aside stay, however old: a clock that was
/// set wrong must not take the whole log away.
const KEPT_MIN: usize = 16;
/// So many files are looked through for an allow that the journal should have.
const BARE_MAX: usize = 4;
/// Longest record that is looked for at the end of a file.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// When a file is put aside, and when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// How long the file that is written may become.
    pub bytes_max: u64,
    /// How old a file that was put aside may become; `None` for ever.
    pub age_max: Option<Duration>,
}

impl AuditFile {
    /// Puts the file aside where it is long enough. What fails is tried again
    /// with the next round; until then the log goes on in the file that is there.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn rotate(&mut self, rotation: Rotation, at: Now) -> io::Result<()> {
        let waits = self.torn || !self.backlog.is_empty();
        if self.len < rotation.bytes_max || waits {
            return Ok(());
        }
        let dir = self.path.parent().unwrap_or(Path::new("/")).to_owned();
        let mut aside = rotated(&dir)?;
        let number = aside
            .last()
            .map_or(1, |(number, _)| number.saturating_add(1));
        let to = dir.join(rotated_name(AUDIT_FILE, number));
        // What was put aside is never synced again.
        self.file.sync_data()?;
        fs::rename(&self.path, &to)?;
        match append_own(&self.path) {
            Ok(file) => self.file = Arc::new(file),
            Err(error) => {
                fs::rename(&to, &self.path)?;
                return Err(error);
            }
        }
        self.len = 0;
        File::open(&dir)?.sync_all()?;
        self.begin(at);
        aside.push((number, to));
        self.remove_old(&aside, rotation, at)
    }

    /// The first record of an empty file.
    pub(super) fn begin(&mut self, at: Now) {
        let first = if self.chain.next_seq() == 1 {
            genesis()
        } else {
            let detail = format!("record {} and on", self.chain.next_seq());
            AuditBody::daemon(ROTATED, Some(detail))
        };
        self.append(first, at);
    }

    /// Removes what is too old, oldest first, and says which record was its last,
    /// so that the chain still shows what is missing.
    fn remove_old(
        &mut self,
        aside: &[(u64, PathBuf)],
        rotation: Rotation,
        at: Now,
    ) -> io::Result<()> {
        let Some(age_max) = rotation.age_max else {
            return Ok(());
        };
        let now = UNIX_EPOCH + Duration::from_nanos(u64::try_from(at.wall_ns).unwrap_or(0));
        let surplus = aside.len().saturating_sub(KEPT_MIN);
        for (number, path) in aside.iter().take(surplus) {
            let written = fs::metadata(path)?.modified()?;
            // One from the future is not old: the clock was set back.
            if !now.duration_since(written).is_ok_and(|age| age > age_max) {
                return Ok(());
            }
            let name = rotated_name(AUDIT_FILE, *number);
            let last = last_line(path)?.and_then(|line| Chain::resume(&line).ok());
            let head = last.as_ref().map_or("", Chain::head);
            fs::remove_file(path)?;
            let detail = format!("{name}, whose last record has the hash {head}");
            self.append(AuditBody::daemon(REMOVED, Some(detail)), at);
        }
        Ok(())
    }
}

/// The files that were put aside, oldest first, with their numbers.
pub(super) fn rotated(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| rotated_number(AUDIT_FILE, name));
        all.extend(number.map(|number| (number, entry.path())));
    }
    all.sort_unstable();
    Ok(all)
}

/// The files of the log in `dir`, oldest first, from the newest on as far back as one
/// whose first record is older than `since_ns`, in nanoseconds since 1970.
///
/// # Errors
/// The system's errors.
pub fn files_since(dir: &Path, since_ns: i64) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let newest = Some(dir.join(AUDIT_FILE)).filter(|path| path.exists());
    let before = rotated(dir)?.into_iter().rev().map(|(_, path)| path);
    for path in newest.into_iter().chain(before) {
        let mut line = Vec::new();
        BufReader::new(File::open(&path)?).read_until(b'\n', &mut line)?;
        files.push(path);
        if time_ns(&line).is_some_and(|first_ns| first_ns < since_ns) {
            break;
        }
    }
    files.reverse();
    Ok(files)
}

fn time_ns(line: &[u8]) -> Option<i64> {
    let record: serde_json::Value = serde_json::from_slice(line).ok()?;
    parse_rfc3339(record.get("time")?.as_str()?)
}

/// The chain that an empty file goes on with: that of the newest file that was put
/// aside, if there is one whose last record is whole.
pub(super) fn chain_before(dir: &Path) -> io::Result<Chain> {
    let Some((_, path)) = rotated(dir)?.pop() else {
        return Ok(Chain::new());
    };
    let chain = last_line(&path)?.and_then(|line| Chain::resume(&line).ok());
    Ok(chain.unwrap_or_default())
}

/// Looks into the files that were put aside for what the newest one does not say,
/// newest first, as far back as it can matter. The number of the kernel's newest
/// event is also kept elsewhere, so for that one file is enough.
pub(super) fn look_back(
    dir: &Path,
    boot_id: &str,
    wanted: &HashSet<DecisionId>,
    resumed: &mut Resumed,
) -> io::Result<()> {
    for (back, (_, path)) in rotated(dir)?.into_iter().rev().enumerate() {
        let missing = wanted.difference(&resumed.decisions).min().copied();
        // In a file of refusals alone there is no allow that the journal should have.
        let is_bare = resumed.journalled.is_none() && back < BARE_MAX;
        let needed = missing.is_some() || resumed.newest.is_none() || is_bare;
        if !needed && (back > 0 || resumed.kernel_seq.is_some()) {
            return Ok(());
        }
        let mut found = Resumed::default();
        scan(&mut File::open(path)?, boot_id, wanted, &mut found)?;
        resumed.decisions.extend(found.decisions);
        resumed.newest = resumed.newest.max(found.newest);
        // Files come newest first.
        resumed.journalled = resumed.journalled.take().or(found.journalled);
        resumed.requests.before(found.requests, wanted);
        resumed.kernel_seq = resumed.kernel_seq.max(found.kernel_seq);
        // Decisions are numbered in the order of the log.
        if let (Some(missing), Some(newest)) = (missing, found.newest)
            && newest < missing
        {
            return Ok(());
        }
    }
    Ok(())
}

/// The last whole line of a file.
fn last_line(path: &Path) -> io::Result<Option<String>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(RECORD_BYTES_MAX)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let whole = text.rsplit_once('\n').map(|(whole, _torn)| whole);
    Ok(whole
        .and_then(|whole| whole.rsplit('\n').next())
        .map(str::to_owned))
}

#[cfg(test)]
mod tests;
