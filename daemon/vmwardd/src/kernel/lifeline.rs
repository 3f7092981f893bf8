//! The files that libvirt needs to keep a running VM: its status, its pid file,
//! and the folder with its monitor socket. Without them libvirtd loses, kills or
//! misreads the VM when it starts the next time. And those that are the guest's
//! memory: whoever cuts one short ends QEMU at its next look.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vmward_core::ids::Process;

use crate::executable;
use crate::process::{ProcHandle, SharedFile};

/// Where libvirtd keeps what it knows of running VMs.
const STATUS_DIR: &str = "/run/libvirt/qemu";
/// Where it keeps a folder for each of them.
const DOMAINS_DIR: &str = "/var/lib/libvirt/qemu";
/// These, and what they lie in.
pub(super) const FOLDERS: [&str; 4] = [STATUS_DIR, "/run/libvirt", DOMAINS_DIR, "/var/lib/libvirt"];
/// Every so many looks each VM is looked at again.
const LOOKS_A_ROUND: u32 = 15;
/// libvirt cuts names short in the names of those folders.
const SHORT_NAME_CHARS: usize = 20;

/// What libvirt keeps now: read once, however many VMs there are.
pub(super) struct Kept {
    status: PathBuf,
    /// The domain whose pid file holds a number.
    names: BTreeMap<u32, String>,
    /// By the domain's name, as far as libvirt writes it there.
    folders: BTreeMap<String, Vec<PathBuf>>,
}

impl Kept {
    pub(super) fn read() -> Self {
        Self::of(Path::new(STATUS_DIR), Path::new(DOMAINS_DIR))
    }

    fn of(status: &Path, domains: &Path) -> Self {
        let mut names = BTreeMap::new();
        for path in entries(status) {
            if let Some((pid, name)) = pid_file(&path) {
                names.entry(pid).or_insert(name);
            }
        }
        let mut folders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for path in entries(domains) {
            if let Some(name) = name_of(&path) {
                folders.entry(name).or_default().push(path);
            }
        }
        Self {
            status: status.to_owned(),
            names,
            folders,
        }
    }

    /// The files of the VM that the process `pid` runs; none where libvirt does
    /// not name it.
    pub(super) fn files(&self, pid: u32) -> Vec<(u32, u64)> {
        let paths = self.paths(pid);
        let numbers = paths
            .iter()
            .filter_map(|path| executable::link_number(path));
        numbers.collect()
    }

    fn paths(&self, pid: u32) -> Vec<PathBuf> {
        let Some(name) = self.names.get(&pid) else {
            return Vec::new();
        };
        let mut files = vec![
            self.status.join(format!("{name}.xml")),
            self.status.join(format!("{name}.pid")),
        ];
        let short: String = name.chars().take(SHORT_NAME_CHARS).collect();
        for folder in self.folders.get(&short).into_iter().flatten() {
            files.extend(entries(folder));
            files.push(folder.clone());
        }
        files
    }
}

/// The files that are VMs' memory. Looking is slow, and a VM gets such a file only
/// when it starts or memory is plugged in.
#[derive(Default)]
pub(super) struct MemoryFiles {
    known: BTreeMap<Process, Vec<(u32, u64)>>,
    looks: u32,
}

impl MemoryFiles {
    /// Looks at the VMs that are new, and now and then at all. What `is_kept` says is
    /// under guard for a VM already stays so while it is mapped: the path by which
    /// it was known can be another by now, since folders can be moved.
    pub(super) fn look(&mut self, vms: &[Process], is_kept: impl Fn(Process, (u32, u64)) -> bool) {
        self.looks = (self.looks + 1) % LOOKS_A_ROUND;
        if self.looks == 0 {
            self.known.clear();
        }
        self.known.retain(|vm, _| vms.contains(vm));
        for vm in vms {
            self.known.entry(*vm).or_insert_with(|| {
                let process = ProcHandle::open(vm.pid);
                let files = process.map_or_else(Vec::new, |process| process.shared_files());
                memory(&files, |number| is_kept(*vm, number))
            });
        }
    }

    /// Device and inode of each of a VM's.
    pub(super) fn of(&self, vm: Process) -> &[(u32, u64)] {
        self.known.get(&vm).map_or(&[], Vec::as_slice)
    }
}

fn memory(files: &[SharedFile], is_kept: impl Fn((u32, u64)) -> bool) -> Vec<(u32, u64)> {
    let files = files.iter();
    files
        .filter(|file| file.is_memory || is_kept(file.number))
        .map(|file| file.number)
        .collect()
}

/// The number that a pid file holds, and the domain that it is named after.
fn pid_file(path: &Path) -> Option<(u32, String)> {
    if path.extension()? != "pid" {
        return None;
    }
    let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some((pid, path.file_stem()?.to_str()?.to_owned()))
}

/// `domain-ID-NAME`
fn name_of(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let (id, name) = name.strip_prefix("domain-")?.split_once('-')?;
    id.parse::<u32>().is_ok().then(|| name.to_owned())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    // A folder that is not there holds nothing.
    fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_vm_are_found_by_the_number_in_its_pid_file() {
        let dir = tempfile::tempdir().unwrap();
        let (status, domains) = (dir.path().join("run"), dir.path().join("lib"));
        fs::create_dir_all(domains.join("domain-7-web-1")).unwrap();
        fs::create_dir_all(domains.join("domain-8-web-2")).unwrap();
        fs::create_dir(&status).unwrap();
        fs::write(status.join("web-1.pid"), "4711\n").unwrap();
        fs::write(status.join("web-2.pid"), "no number").unwrap();
        fs::write(domains.join("domain-7-web-1/monitor.sock"), "").unwrap();
        let kept = Kept::of(&status, &domains);
        assert_eq!(
            kept.paths(4711),
            [
                status.join("web-1.xml"),
                status.join("web-1.pid"),
                domains.join("domain-7-web-1/monitor.sock"),
                domains.join("domain-7-web-1"),
            ]
        );
        assert_eq!(kept.paths(4712), Vec::<PathBuf>::new());
    }

    #[test]
    fn memory_is_known_by_its_path_and_kept_when_that_is_another() {
        let file = |inode, is_memory| SharedFile {
            number: (1, inode),
            is_memory,
        };
        let files = [file(7, true), file(8, false), file(9, false)];
        assert_eq!(memory(&files, |_| false), [(1, 7)]);
        assert_eq!(memory(&files, |number| number == (1, 9)), [(1, 7), (1, 9)]);
    }

    #[test]
    fn a_folder_belongs_to_the_domain_whose_name_it_ends_with() {
        let name = |folder: &str| name_of(&Path::new(DOMAINS_DIR).join(folder));
        assert_eq!(name("domain-12-web-1").as_deref(), Some("web-1"));
        assert_eq!(
            name("domain-12-other-web-1").as_deref(),
            Some("other-web-1")
        );
        assert_eq!(name("domain-x-web-1"), None);
        assert_eq!(name("snapshot"), None);
    }
}
