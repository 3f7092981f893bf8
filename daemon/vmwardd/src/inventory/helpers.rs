//! Processes whose end is the end of a VM: virtiofsd, swtpm, passt, vhost-user
//! backends, qemu-pr-helper, the VM's dbus-daemon.
//!
//! libvirt keeps a pid file for each, under its run directory or in the VM's
//! own folder, and puts them in the VM's cgroup, where it has one. The first
//! process of a PID namespace around any of them is one, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vmward_core::ids::Process;

use super::namespace;
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

/// The helpers of the VM with libvirt's number `id`, which `vm` runs.
pub(super) fn find(run_dir: &Path, id: u32, vm: Process) -> Vec<Process> {
    let mut found = BTreeSet::new();
    for folder in folders(run_dir, id) {
        let prefix = folder.1;
        found.extend(by_pid_files(&folder.0, &prefix));
    }
    if let Some(own) = own_cgroup(vm) {
        by_cgroup(&own, CGROUP_DEPTH_MAX, &mut found);
    }
    let inside: Vec<_> = found.iter().copied().chain([vm]).collect();
    found.extend(inside.into_iter().flat_map(namespace::inits));
    found.remove(&vm);
    found.into_iter().take(HELPERS_MAX).collect()
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

/// Up to machined's scope, or the folder that libvirt makes where there is no
/// machined.
fn own_part(path: &str) -> Option<&str> {
    let mut end = 0;
    for part in path.split_inclusive('/') {
        end += part.len();
        let name = part.trim_end_matches('/');
        let is_scope = name.starts_with("machine-qemu") && has_end(name, "scope");
        if is_scope || has_end(name, "libvirt-qemu") {
            return path.get(..end).map(|own| own.trim_end_matches('/'));
        }
    }
    None
}

fn has_end(name: &str, end: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found == end)
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
mod tests {
    use super::*;

    #[test]
    fn a_helper_is_found_by_the_pid_file_of_its_vm_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("swtpm")).unwrap();
        let own = process::identify(std::process::id()).unwrap();
        let vm = Process {
            pid: u32::MAX,
            start_ticks: 0,
        };
        let file = dir.path().join("swtpm/7-web-1-swtpm.pid");
        fs::write(&file, format!("{}\n", own.pid)).unwrap();
        assert_eq!(find(dir.path(), 7, vm), [own]);
        assert_eq!(find(dir.path(), 77, vm), []);
        assert_eq!(
            find(dir.path(), 7, own),
            [],
            "the VM is no helper of its own"
        );
    }

    #[test]
    fn a_pid_file_that_is_older_than_its_process_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("7-web-1-fs0-fs.pid");
        fs::write(&path, std::process::id().to_string()).unwrap();
        assert!(of_pid_file(&path).is_some());
        let long_ago = UNIX_EPOCH + Duration::from_secs(1);
        fs::File::open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        assert_eq!(of_pid_file(&path), None);
    }

    #[test]
    fn the_cgroup_of_a_vm_is_told_from_those_above_it() {
        let scope = "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope";
        assert_eq!(own_part(&format!("{scope}/libvirt/emulator")), Some(scope));
        assert_eq!(own_part(scope), Some(scope));
        let plain = "/machine/qemu-1-web-1.libvirt-qemu";
        assert_eq!(own_part(&format!("{plain}/emulator")), Some(plain));
        for shared in ["/", "/machine.slice", "/system.slice/libvirtd.service", ""] {
            assert_eq!(own_part(shared), None, "{shared}");
        }
    }
}
