//! Which domains run, by libvirt's status files alone.
//!
//! Whoever can make libvirt, or the program that asks it, silent must not keep new
//! VMs from being protected. What libvirt keeps on disk of each running domain is
//! enough for that: its state, its UUID and its process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use vmward_core::ids::{Process, VmUuid};

use super::lines::pause;
use super::status_xml::{STATUS_BYTES_MAX, check, parse};
use super::{ByFile, DOMAINS_MAX, Sighting, deputy};
use crate::secure_file::read_in_place;

/// How often is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Looks until it is told to end, or nobody listens.
pub(super) fn watch(run_dir: &Path, stop: &UnixStream, mut tell: impl FnMut(Sighting) -> bool) {
    let mut files = StatusFiles::default();
    loop {
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
        if pause(stop, LOOK_EVERY) {
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
    claim: Option<(u32, VmUuid)>,
    /// The process that was told of.
    told: Option<Process>,
}

/// The files that were seen last, by name.
#[derive(Debug, Default)]
struct StatusFiles {
    known: BTreeMap<OsString, Known>,
}

impl StatusFiles {
    /// Domains that run, and whose process was not told of before. Files that have
    /// not changed are not read again.
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
            if let Some((process, uuid)) = file.newly_running() {
                let name = name.to_string_lossy().into_owned();
                running.push(ByFile {
                    uuid,
                    name,
                    process,
                });
            }
            self.known.insert(name.to_owned(), file);
        }
        running
    }
}

/// What a file says; `None` where it cannot be read, and is to be tried again.
fn read(path: &Path, stamp: Stamp, before: Option<Known>) -> Option<Known> {
    let before = match before {
        Some(known) if known.stamp == stamp => return Some(known),
        before => before,
    };
    let text = read_in_place(path, STATUS_BYTES_MAX).ok()?;
    let status = parse(&text).filter(|status| status.is_settled);
    Some(Known {
        stamp,
        claim: status.and_then(|status| Some((status.pid, status.uuid?))),
        told: before.and_then(|known| known.told),
    })
}

impl Known {
    /// The process that runs the domain, where it may be protected and was not told
    /// of before. One that may not, as while it is traced, is looked at again each
    /// time.
    fn newly_running(&mut self) -> Option<(Process, VmUuid)> {
        let (pid, uuid) = self.claim?;
        let process = check(pid, uuid).ok()?;
        self.claim = None;
        let before = self.told.replace(process);
        (before != Some(process)).then_some((process, uuid))
    }
}

#[cfg(test)]
mod tests;
