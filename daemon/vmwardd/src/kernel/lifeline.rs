//! The files that libvirt needs to keep a running VM: its status, its pid file,
//! and the folder with its monitor socket. Without them libvirtd loses, kills or
//! misreads the VM when it starts the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use rustix::fs::FileType;

use super::guarded::tree::names;
use crate::executable::Entry;

/// Where libvirtd keeps what it knows of running VMs.
const STATUS_DIR: &str = "/run/libvirt/qemu";
/// Where it keeps a folder for each of them.
const DOMAINS_DIR: &str = "/var/lib/libvirt/qemu";
/// These, and what they lie in.
pub(super) const FOLDERS: [&str; 4] = [STATUS_DIR, "/run/libvirt", DOMAINS_DIR, "/var/lib/libvirt"];
/// libvirt cuts names short in the names of those folders.
const SHORT_NAME_CHARS: usize = 20;
/// What it cannot do without in such a folder.
const NEEDED: [&CStr; 2] = [c"master-key.aes", c"monitor.sock"];
/// No pid file and no key of libvirt's is longer.
const SMALL_BYTES_MAX: u64 = 4096;
/// So much of what is in a domain's folder is looked at: QEMU's user may write there.
const FOLDER_FILES_MAX: usize = 256;

/// What libvirt keeps now: read once, however many VMs there are.
pub(super) struct Kept {
    status: Option<Entry>,
    domains: Option<Entry>,
    /// The domains whose pid files hold a number: the real one, and any that somebody
    /// has put beside it.
    names: BTreeMap<u32, Vec<String>>,
    /// The folders of a domain, by its name as far as libvirt writes it there.
    folders: BTreeMap<String, Vec<CString>>,
}

impl Kept {
    pub(super) fn read() -> Self {
        Self::of(Path::new(STATUS_DIR), Path::new(DOMAINS_DIR))
    }

    fn of(status: &Path, domains: &Path) -> Self {
        let (status, domains) = (Entry::at(status), Entry::at(domains));
        let mut of_pids: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if let Some(folder) = &status {
            for (pid, name) in names(folder).filter_map(|file| pid_file(folder, &file)) {
                of_pids.entry(pid).or_default().push(name);
            }
        }
        let mut folders: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for folder in domains.iter().flat_map(names) {
            if let Some(name) = name_of(&folder) {
                folders.entry(name).or_default().push(folder);
            }
        }
        Self {
            status,
            domains,
            names: of_pids,
            folders,
        }
    }

    /// Device and inode of each file of the VM that the process `pid` runs; none
    /// where libvirt does not name it. What libvirt cannot do without comes first.
    pub(super) fn files(&self, pid: u32) -> Vec<(u32, u64)> {
        let (mut files, mut others) = (Vec::new(), Vec::new());
        let mut shorts = BTreeSet::new();
        for name in self.names.get(&pid).into_iter().flatten() {
            for file in [format!("{name}.xml"), format!("{name}.pid")] {
                let file = self.status.as_ref().and_then(|at| entry(at, &file));
                files.extend(file.map(|file| file.number));
            }
            shorts.insert(name.chars().take(SHORT_NAME_CHARS).collect::<String>());
        }
        for folder in shorts.iter().flat_map(|name| self.folders_of(name)) {
            files.push(folder.number);
            for (name, entry) in own_entries(&folder) {
                let is_needed = NEEDED.contains(&name.as_c_str());
                let list = if is_needed { &mut files } else { &mut others };
                list.push(entry.number);
            }
        }
        files.append(&mut others);
        files
    }

    fn folders_of(&self, name: &str) -> impl Iterator<Item = Entry> {
        let domains = self.domains.as_ref();
        let folders = self.folders.get(name).into_iter().flatten();
        let entries = folders.filter_map(move |name| Entry::of(domains?, name));
        entries.filter(Entry::is_folder)
    }
}

fn entry(folder: &Entry, name: &str) -> Option<Entry> {
    Entry::of(folder, &CString::new(name).ok()?)
}

/// What is libvirt's in a domain's folder.
fn own_entries(folder: &Entry) -> impl Iterator<Item = (CString, Entry)> {
    let needed = NEEDED.iter().map(|name| CString::from(*name));
    let others = names(folder)
        .filter(|name| !NEEDED.contains(&name.as_c_str()))
        .take(FOLDER_FILES_MAX);
    let entries = needed.chain(others);
    let entries =
        entries.filter_map(move |name| Entry::of(folder, &name).map(|entry| (name, entry)));
    entries.filter(|(name, entry)| is_libvirts(name, entry))
}

/// Is what lies in a domain's folder libvirt's? QEMU's user may write there, and can
/// link another VM's disk image to it: no VM could be started from that any more.
/// Sockets are libvirt's, and so are its few small files, however many names they
/// have: else one more would take them off guard.
fn is_libvirts(name: &CStr, entry: &Entry) -> bool {
    let name = name.to_bytes();
    let is_known = name == b"master-key.aes" || name.ends_with(b".pid");
    match entry.kind {
        FileType::Directory | FileType::Socket => true,
        _ => entry.links <= 1 || is_known && entry.bytes <= SMALL_BYTES_MAX,
    }
}

/// The number that a pid file holds, and the domain that it is named after.
fn pid_file(folder: &Entry, name: &CStr) -> Option<(u32, String)> {
    let domain = name.to_str().ok()?.strip_suffix(".pid")?;
    let entry = Entry::of(folder, name)?;
    if entry.kind != FileType::RegularFile || entry.bytes > SMALL_BYTES_MAX {
        return None;
    }
    // That very file, whatever has its name by now.
    let path = format!("/proc/self/fd/{}", entry.as_fd().as_raw_fd());
    let pid = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    Some((pid, domain.to_owned()))
}

/// `domain-ID-NAME`
fn name_of(folder: &CStr) -> Option<String> {
    let folder = folder.to_string_lossy();
    let (id, name) = folder.strip_prefix("domain-")?.split_once('-')?;
    id.parse::<u32>().is_ok().then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::executable;

    /// libvirt's two folders, in a temporary one.
    struct Libvirt(tempfile::TempDir);

    impl Libvirt {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("lib")).unwrap();
            fs::create_dir(dir.path().join("run")).unwrap();
            Self(dir)
        }

        fn with_domain(self, id: u32, name: &str, pid: u32) -> Self {
            self.put(&format!("run/{name}.xml"), "<domstatus/>");
            self.put(&format!("run/{name}.pid"), &format!("{pid}\n"));
            fs::create_dir(self.at(&format!("lib/domain-{id}-{name}"))).unwrap();
            self
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn put(&self, name: &str, text: &str) {
            fs::write(self.at(name), text).unwrap();
        }

        #[track_caller]
        fn check(&self, pid: u32, expected: &[&str]) {
            let mut found = Kept::of(&self.at("run"), &self.at("lib")).files(pid);
            let number = |name: &&str| executable::link_number(&self.at(name)).unwrap();
            let mut expected: Vec<_> = expected.iter().map(number).collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn the_files_of_a_vm_are_found_by_the_number_in_its_pid_file() {
        let libvirt = Libvirt::new()
            .with_domain(7, "web-1", 4711)
            .with_domain(8, "web-2", 4712);
        libvirt.put("run/web-2.pid", "no number");
        libvirt.put("lib/domain-7-web-1/monitor.sock", "");
        let all = [
            "run/web-1.xml",
            "run/web-1.pid",
            "lib/domain-7-web-1/monitor.sock",
            "lib/domain-7-web-1",
        ];
        libvirt.check(4711, &all);
        libvirt.check(4712, &[]);
        fs::remove_file(libvirt.at("run/web-1.xml")).unwrap();
        libvirt.check(4711, &all[1..]);
    }

    #[test]
    fn a_second_pid_file_takes_nothing_from_a_vm() {
        let libvirt = Libvirt::new().with_domain(7, "web-1", 4711);
        let real = ["run/web-1.xml", "run/web-1.pid", "lib/domain-7-web-1"];
        for decoy in ["run/aaa.pid", "run/zzz.pid"] {
            libvirt.put(decoy, "4711");
            let mut expected = real.to_vec();
            expected.push(decoy);
            libvirt.check(4711, &expected);
            fs::remove_file(libvirt.at(decoy)).unwrap();
        }
    }

    #[test]
    fn another_vms_image_in_a_domains_folder_is_not_its_file() {
        let libvirt = Libvirt::new().with_domain(7, "web-1", 4711);
        fs::create_dir(libvirt.at("lib/domain-99-web-1")).unwrap();
        libvirt.put("image", &"x".repeat(10_000));
        for name in ["x", "x.sock", "x.pid", "master-key.aes"] {
            let link = libvirt.at(&format!("lib/domain-99-web-1/{name}"));
            fs::hard_link(libvirt.at("image"), link).unwrap();
        }
        let expected = [
            "run/web-1.xml",
            "run/web-1.pid",
            "lib/domain-7-web-1",
            "lib/domain-99-web-1",
        ];
        libvirt.check(4711, &expected);
    }

    #[test]
    fn a_domains_own_files_come_before_a_flood_in_its_folder() {
        let libvirt = Libvirt::new().with_domain(7, "web-1", 4711);
        let folder = "lib/domain-7-web-1";
        for file in 0..2 * FOLDER_FILES_MAX {
            libvirt.put(&format!("{folder}/{file}"), "");
        }
        let monitor = format!("{folder}/monitor.sock");
        libvirt.put(&monitor, "");
        let found = Kept::of(&libvirt.at("run"), &libvirt.at("lib")).files(4711);
        let number = executable::link_number(&libvirt.at(&monitor)).unwrap();
        assert_eq!(found.get(3), Some(&number));
        assert_eq!(found.len(), 4 + FOLDER_FILES_MAX);
    }

    #[test]
    fn one_more_name_takes_none_of_libvirts_files_off_guard() {
        let libvirt = Libvirt::new().with_domain(7, "web-1", 4711);
        let socket = "lib/domain-7-web-1/monitor.sock";
        let _listener = std::os::unix::net::UnixListener::bind(libvirt.at(socket)).unwrap();
        let mut all = vec![
            "run/web-1.xml",
            "run/web-1.pid",
            "lib/domain-7-web-1",
            socket,
        ];
        for name in [
            "lib/domain-7-web-1/master-key.aes",
            "lib/domain-7-web-1/pr-helper0.pid",
        ] {
            libvirt.put(name, "short");
            all.push(name);
        }
        for (number, name) in all.iter().enumerate() {
            if *name != "lib/domain-7-web-1" {
                let other = libvirt.at(&format!("other-{number}"));
                fs::hard_link(libvirt.at(name), other).unwrap();
            }
        }
        libvirt.check(4711, &all);
    }

    #[test]
    fn a_pid_file_that_is_none_holds_nobody_up() {
        let libvirt = Libvirt::new().with_domain(7, "web-1", 4711);
        let pipe = libvirt.at("run/pipe.pid");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        std::os::unix::fs::symlink("/dev/zero", libvirt.at("run/zero.pid")).unwrap();
        libvirt.check(
            4711,
            &["run/web-1.xml", "run/web-1.pid", "lib/domain-7-web-1"],
        );
    }

    #[test]
    fn a_folder_belongs_to_the_domain_whose_name_it_ends_with() {
        let name = |folder: &str| name_of(&CString::new(folder).unwrap());
        assert_eq!(name("domain-12-web-1").as_deref(), Some("web-1"));
        assert_eq!(
            name("domain-12-other-web-1").as_deref(),
            Some("other-web-1")
        );
        assert_eq!(name("domain-x-web-1"), None);
        assert_eq!(name("snapshot"), None);
    }
}
