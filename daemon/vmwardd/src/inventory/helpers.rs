//! Processes whose end is the end of a VM: virtiofsd, swtpm, passt, vhost-user
//! backends, qemu-pr-helper, the VM's dbus-daemon.
//!
//! libvirt puts them in the VM's cgroup, where it has one, and keeps a pid file for
//! each, under its run directory or in the VM's own folder. Whoever is root can
//! write such a file, so it is believed only of what can be a helper: decoys would
//! push the VM's own ones out, and could not be ended any more. The first process
//! of a PID namespace around a helper or the VM is one, too.

mod looks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmward_core::ids::Process;

use self::looks::{Looks, own_part};
use super::namespace;
use crate::process::life::{Life, Lives};
use crate::process::{self, ProcHandle};
use crate::secure_file::read_bounded;

/// Where libvirt's QEMU driver keeps a folder for each running VM.
const LIB_DIR: &str = "/var/lib/libvirt/qemu";
/// Folders of the run directory that hold pid files of helpers.
const RUN_SUBDIRS: [&str; 5] = [".", "swtpm", "dbus", "passt", "slirp"];
const CGROUP_ROOT: &str = "/sys/fs/cgroup";
/// How deep below the VM's own cgroup processes are looked for: libvirt makes
/// `libvirt/emulator` there.
const CGROUP_DEPTH_MAX: u32 = 4;
/// Most bytes of a list of processes.
const PROCS_BYTES_MAX: u64 = 64 * 1024;
/// Most helpers of one VM.
const HELPERS_MAX: usize = 64;
/// Both times are rounded.
const SLACK: Duration = Duration::from_secs(2);

/// The helpers of every VM that runs, as far as they were ever seen.
#[derive(Debug, Default)]
pub(super) struct HelperBook {
    known: BTreeMap<Process, Vec<Process>>,
    /// Handles on all of them.
    lives: Lives,
}

/// What a look found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// In the VM's own cgroup, or around it.
    sure: Vec<Process>,
    /// By a pid file alone.
    told: Vec<Process>,
}

impl HelperBook {
    /// The helpers of the VM with libvirt's number `id`, which `vm` runs, and how
    /// many more there are than have room.
    pub(super) fn look(
        &mut self,
        run_dir: &Path,
        id: Option<u32>,
        vm: Process,
    ) -> (Vec<Process>, usize) {
        let found = id.map_or_else(Found::default, |id| find(run_dir, id, vm));
        self.note(vm, found)
    }

    /// What was a helper once is one until it ends: its file can be taken away.
    fn note(&mut self, vm: Process, found: Found) -> (Vec<Process>, usize) {
        let known = self.known.remove(&vm).unwrap_or_default();
        let lives = &mut self.lives;
        // What `/proc` does not show any more may only be hidden.
        let known = known
            .into_iter()
            .filter(|one| lives.of(*one) != Life::Ended);
        let mut all = Vec::new();
        for one in found.sure.into_iter().chain(known).chain(found.told) {
            if one != vm && !all.contains(&one) {
                all.push(one);
            }
        }
        let left_out = all.len().saturating_sub(HELPERS_MAX);
        all.truncate(HELPERS_MAX);
        for one in all.iter().chain([&vm]) {
            self.lives.of(*one);
        }
        self.known.insert(vm, all.clone());
        (all, left_out)
    }

    /// Adds the VMs that this look did not see and that run all the same, and
    /// forgets those that have ended.
    pub(super) fn complete(&mut self, seen: &mut BTreeMap<Process, Vec<Process>>) {
        let lives = &mut self.lives;
        self.known.retain(|vm, _| lives.of(*vm) != Life::Ended);
        let running = self.known.keys().copied();
        let unseen: Vec<_> = running.filter(|vm| !seen.contains_key(vm)).collect();
        for vm in unseen {
            seen.insert(vm, self.note(vm, Found::default()).0);
        }
        let known = self.known.iter();
        let wanted: BTreeSet<Process> = known
            .flat_map(|(vm, helpers)| helpers.iter().chain([vm]).copied())
            .collect();
        self.lives.keep_only(|process| wanted.contains(&process));
    }
}

fn find(run_dir: &Path, id: u32, vm: Process) -> Found {
    let mut sure = BTreeSet::new();
    if let Some(own) = own_cgroup(vm) {
        by_cgroup(&own, CGROUP_DEPTH_MAX, &mut sure);
    }
    let mut told = BTreeSet::new();
    if let Some(of_vm) = Looks::of(vm) {
        for (folder, prefix) in folders(run_dir, id) {
            told.extend(by_pid_files(&folder, &prefix));
        }
        told.retain(|one| Looks::of(*one).is_some_and(|looks| looks.may_help(&of_vm)));
    }
    let around = |inside: &BTreeSet<Process>| -> Vec<Process> {
        inside.iter().copied().flat_map(namespace::inits).collect()
    };
    // It is no helper of its own, and first here for what is around it.
    sure.insert(vm);
    let around_sure = around(&sure);
    let around_told = around(&told);
    Found {
        sure: sure.into_iter().chain(around_sure).collect(),
        told: told.into_iter().chain(around_told).collect(),
    }
}

/// Every folder to look in, and how the names of this VM's files begin there.
fn folders(run_dir: &Path, id: u32) -> Vec<(PathBuf, String)> {
    let of_run = RUN_SUBDIRS.iter();
    let mut all: Vec<_> = of_run
        .map(|dir| (run_dir.join(dir), format!("{id}-")))
        .collect();
    let own = format!("domain-{id}-");
    for entry in fs::read_dir(LIB_DIR).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&own) {
            all.push((entry.path(), String::new()));
        }
    }
    all
}

fn by_pid_files(folder: &Path, prefix: &str) -> Vec<Process> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(prefix) && path.extension().is_some_and(|end| end == "pid")
    });
    paths.filter_map(|path| of_pid_file(&path)).collect()
}

/// The process that a pid file names, unless the number is another's by now: a
/// process is older than the file that tells of it.
fn of_pid_file(path: &Path) -> Option<Process> {
    let pid = read_bounded(path, 64).ok()?.trim().parse().ok()?;
    let process = process::identify(pid)?;
    let written = fs::metadata(path).ok()?.modified().ok()?;
    (started(process)? <= written + SLACK).then_some(process)
}

/// When a process started, by the clock that files are dated by.
fn started(process: Process) -> Option<SystemTime> {
    let boot = procfs::boot_time_secs().ok()?;
    let since = process.start_ticks / procfs::ticks_per_second().max(1);
    UNIX_EPOCH.checked_add(Duration::from_secs(boot.checked_add(since)?))
}

/// The cgroup that holds this VM and nothing else.
fn own_cgroup(vm: Process) -> Option<PathBuf> {
    let path = ProcHandle::open(vm.pid)?.cgroup()?;
    let own = own_part(&path)?;
    Some(Path::new(CGROUP_ROOT).join(own.trim_start_matches('/')))
}

fn by_cgroup(cgroup: &Path, depth: u32, found: &mut BTreeSet<Process>) {
    let procs = read_bounded(&cgroup.join("cgroup.procs"), PROCS_BYTES_MAX).unwrap_or_default();
    let pids = procs.lines().filter_map(|line| line.parse().ok());
    found.extend(pids.filter_map(process::identify));
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    for entry in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            by_cgroup(&entry.path(), depth, found);
        }
    }
}

#[cfg(test)]
mod tests;
