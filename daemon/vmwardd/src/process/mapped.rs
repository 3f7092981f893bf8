//! The files that a process has mapped, by which somebody else can end it: it does not
//! survive its next look at one that was cut short.

use std::path::{Path, PathBuf};

use procfs::process::{MMPermissions, MMapPath, MemoryMap};

use crate::executable;

/// A file that a process shares as memory and can write. Not what drivers give out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SharedFile {
    /// Device and inode, as the kernel numbers them.
    pub number: (u32, u64),
    /// By its path it is a guest's own memory, and nothing that it shares with others
    /// on purpose (ivshmem, NVDIMMs).
    pub is_memory: bool,
}

/// A library that a process runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Library {
    /// It is there by this path.
    At(PathBuf),
    /// Another one has taken its place, or none: device and inode, as the kernel
    /// numbers them.
    Replaced((u32, u64)),
}

/// What a process has mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapped {
    /// What it shares as memory.
    pub shared: Vec<SharedFile>,
    /// What it runs beside its program, which the kernel itself keeps from being written.
    pub libraries: Vec<Library>,
}

impl Mapped {
    pub(super) fn of(maps: &[MemoryMap]) -> Self {
        Self {
            shared: each(maps.iter().filter_map(shared_file)),
            libraries: each(maps.iter().filter_map(library)),
        }
    }
}

/// Each of them once.
fn each<T: Ord>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn shared_file(map: &MemoryMap) -> Option<SharedFile> {
    const NEEDED: MMPermissions = MMPermissions::WRITE.union(MMPermissions::SHARED);
    let MMapPath::Path(path) = &map.pathname else {
        return None;
    };
    map.perms.contains(NEEDED).then_some(SharedFile {
        number: number(map)?,
        is_memory: is_guest_memory(path),
    })
}

/// By its name, too: whoever has a process under his control could map any file, and
/// nobody could write to that any more.
fn library(map: &MemoryMap) -> Option<Library> {
    let MMapPath::Path(path) = &map.pathname else {
        return None;
    };
    let name = path.file_name()?.to_str()?;
    if !map.perms.contains(MMPermissions::EXECUTE) || !is_library(name) {
        return None;
    }
    Some(if name.ends_with(NAMELESS) {
        Library::Replaced(number(map)?)
    } else {
        Library::At(path.clone())
    })
}

/// `libc.so.6`, `accel-tcg-x86_64.so`
fn is_library(name: &str) -> bool {
    let name = name.trim_end_matches(NAMELESS);
    name.split('.').skip(1).any(|part| part == "so")
}

fn number(map: &MemoryMap) -> Option<(u32, u64)> {
    let major = u32::try_from(map.dev.0).ok()?;
    let minor = u32::try_from(map.dev.1).ok()?;
    let dev = executable::kernel_dev(major, minor)?;
    (map.inode != 0).then_some((dev, map.inode))
}

/// Under which libvirt makes a folder for each domain's memory: its own, the
/// session daemon's, and, with `/libvirt/qemu` behind it, each mount of huge pages
/// and what `memory_backing_dir` in `qemu.conf` says.
const MEMORY_FOLDERS: [&str; 3] = ["libvirt/qemu/ram", "libvirt/qemu", "qemu/lib/ram"];
/// How the kernel marks a file that has no name any more.
const NAMELESS: &str = " (deleted)";

/// Is this mapping's path one that only the guest's own memory has? A file that
/// others find by its name may be there for them, be it another VM's QEMU; what has
/// no name (memfds, huge pages, memory that is shared without a file) is nobody
/// else's.
fn is_guest_memory(path: &Path) -> bool {
    if path.starts_with("/memfd:") || path.to_string_lossy().ends_with(NAMELESS) {
        return true;
    }
    let Some(folder) = path.parent() else {
        return false;
    };
    // `ID-NAME`, as libvirt calls the domain's own.
    let id = folder.file_name().and_then(|name| name.to_str());
    let is_domains = id
        .and_then(|name| name.split_once('-'))
        .is_some_and(|(id, _)| id.parse::<u32>().is_ok());
    let above = folder.parent();
    is_domains && above.is_some_and(|above| MEMORY_FOLDERS.iter().any(|at| above.ends_with(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_shares_on_purpose_is_not_its_memory() {
        for (path, is_memory) in [
            ("/memfd:memory-backend-memfd (deleted)", true),
            ("/var/lib/libvirt/qemu/ram/1-web-1/pc.ram", true),
            ("/var/lib/libvirt/qemu/ram/12-web-1/ram-node0", true),
            ("/dev/hugepages/libvirt/qemu/1-web-1/ram (deleted)", true),
            ("/dev/hugepages1G/libvirt/qemu/1-web-1/ram", true),
            ("/dev/shm/libvirt/qemu/1-web-1/ram-node0", true),
            (
                "/srv/user/.config/libvirt/qemu/lib/ram/1-web-1/pc.ram",
                true,
            ),
            ("/dev/shm/qemu-4711-shm-pc.ram (deleted)", true),
            ("/dev/zero (deleted)", true),
            ("/dev/shm/looking-glass", false),
            ("/dev/shm/my-ivshmem", false),
            ("/dev/hugepages/shared-by-two", false),
            ("/var/lib/libvirt/qemu/nvdimm/web-1", false),
            ("/var/lib/libvirt/qemu/nvram/1-web-1_VARS.fd", false),
            ("/var/lib/libvirt/images/web-1.pmem", false),
            ("/srv/1-web-1/pmem", false),
            ("/dev/dri/renderD128", false),
            ("/", false),
        ] {
            assert_eq!(is_guest_memory(Path::new(path)), is_memory, "{path}");
        }
    }

    #[test]
    fn a_library_is_told_by_its_name() {
        for name in [
            "libc.so.6",
            "libpixman-1.so.0.42.2",
            "hw-usb.so",
            "x.so (deleted)",
        ] {
            assert!(is_library(name), "{name}");
        }
        for name in [
            "so",
            "wtmp",
            "disk.sold",
            "qemu-system-x86_64",
            "memory.img (deleted)",
        ] {
            assert!(!is_library(name), "{name}");
        }
    }

    #[test]
    fn this_process_runs_its_c_library() {
        let process = procfs::process::Process::myself().unwrap();
        let mapped = Mapped::of(&process.maps().unwrap().0);
        let is_libc =
            |library: &Library| matches!(library, Library::At(path) if path.ends_with("libc.so.6"));
        assert_eq!(mapped.libraries.iter().filter(|it| is_libc(it)).count(), 1);
    }
}
