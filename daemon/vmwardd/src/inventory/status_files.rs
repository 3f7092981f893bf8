//! Which domains run, by libvirt's status files alone.
//!
//! Whoever can make libvirt, or the program that asks it, silent must not keep new
//! VMs from being protected. What libvirt keeps on disk of each running domain is
//! enough for that: its state, its UUID and its process. It also says so first, and
//! already of a domain that only starts.

mod changes;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use vmward_core::ids::{Process, VmUuid};

use self::changes::Changes;
use super::lines::pause;
use super::status_xml::{STATUS_BYTES_MAX, Stage, check, parse};
use super::{ByFile, DOMAINS_MAX, Sighting, deputy};
use crate::secure_file::read_in_place;

/// How often is looked where nothing is noticed.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How soon is looked again for a process that is no QEMU yet, and for how long:
/// libvirt writes its number down before it becomes one.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(5);
/// Between two looks, whatever happens in the folder.
const REST: Duration = Duration::from_millis(5);

/// Looks until it is told to end, or nobody listens.
pub(super) fn watch(run_dir: &Path, stop: &UnixStream, mut tell: impl FnMut(Sighting) -> bool) {
    let mut files = StatusFiles::default();
    let mut changes = Changes::default();
    loop {
        // Before the look, so that nothing falls between the two.
        changes.watch(run_dir);
        let running = files.look(run_dir);
        if !running.is_empty() {
            let deputy_pid = deputy::first(&deputy::find());
            if !tell(Sighting::Running {
                running,
                deputy_pid,
            }) {
                return;
            }
        }
        let wait = if files.are_waited_for() {
            LOOK_AGAIN
        } else {
            LOOK_EVERY
        };
        if pause(stop, REST) || changes.wait(stop, wait) {
            return;
        }
    }
}

/// By which a file that changed is known: its change time can be set by nobody.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// `None` for what is no file that can be read: libvirt makes no links here, and
    /// what one leads to might never answer.
    fn of(path: &Path) -> Option<Stamp> {
        let meta = fs::symlink_metadata(path).ok()?;
        (meta.is_file() && meta.len() <= STATUS_BYTES_MAX).then(|| Stamp {
            inode: meta.ino(),
            bytes: meta.len(),
            changed: (meta.ctime(), meta.ctime_nsec()),
        })
    }
}

/// What a file said when it was read last.
#[derive(Debug)]
struct Known {
    stamp: Stamp,
    /// The process that runs the domain, where that is to be protected and was not
    /// found yet.
    claim: Option<Claim>,
    /// The process that was told of, and whether it started then.
    told: Option<(Process, bool)>,
}

/// What a file says of the process that is to be protected.
#[derive(Debug)]
struct Claim {
    pid: u32,
    uuid: VmUuid,
    is_starting: bool,
    since: Instant,
}

/// The files that were seen last, by name.
#[derive(Debug, Default)]
struct StatusFiles {
    known: BTreeMap<OsString, Known>,
}

impl StatusFiles {
    /// Domains that run or start, and whose process was not told of before as such.
    /// Files that have not changed are not read again.
    fn look(&mut self, run_dir: &Path) -> Vec<ByFile> {
        let Ok(entries) = fs::read_dir(run_dir) else {
            // libvirt has not run yet.
            return Vec::new();
        };
        let mut running = Vec::new();
        let mut before = std::mem::take(&mut self.known);
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let files = paths.filter(|path| path.extension().is_some_and(|ends| ends == "xml"));
        for path in files.take(DOMAINS_MAX) {
            let (Some(name), Some(stamp)) = (path.file_stem(), Stamp::of(&path)) else {
                continue;
            };
            let Some(mut file) = read(&path, stamp, before.remove(name)) else {
                continue;
            };
            if let Some((process, claim)) = file.newly_told() {
                running.push(ByFile {
                    uuid: claim.uuid,
                    name: name.to_string_lossy().into_owned(),
                    process,
                    is_starting: claim.is_starting,
                });
            }
            self.known.insert(name.to_owned(), file);
        }
        running
    }

    /// Is there a process that may soon be what its file says?
    fn are_waited_for(&self) -> bool {
        let claims = self.known.values().filter_map(|known| known.claim.as_ref());
        claims
            .into_iter()
            .any(|claim| claim.since.elapsed() < AGAIN_MAX)
    }
}

/// What a file says; `None` where it cannot be read, and is to be tried again.
fn read(path: &Path, stamp: Stamp, before: Option<Known>) -> Option<Known> {
    let before = match before {
        Some(known) if known.stamp == stamp => return Some(known),
        before => before,
    };
    let text = read_in_place(path, STATUS_BYTES_MAX).ok()?;
    let status = parse(&text).filter(|status| status.stage != Stage::Over);
    let claim = status.and_then(|status| {
        Some(Claim {
            pid: status.pid,
            uuid: status.uuid?,
            is_starting: status.stage == Stage::Starting,
            since: Instant::now(),
        })
    });
    Some(Known {
        stamp,
        claim,
        told: before.and_then(|known| known.told),
    })
}

impl Known {
    /// The process that runs the domain, where it may be protected and was not told
    /// of before as it is. One that may not, as while it is traced, is looked at again
    /// each time.
    fn newly_told(&mut self) -> Option<(Process, Claim)> {
        let claim = self.claim.as_ref()?;
        let process = check(claim.pid, claim.uuid).ok()?;
        let claim = self.claim.take()?;
        let now = (process, claim.is_starting);
        let before = self.told.replace(now);
        (before != Some(now)).then_some((process, claim))
    }
}

#[cfg(test)]
mod tests;
