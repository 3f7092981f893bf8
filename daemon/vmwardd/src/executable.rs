//! Which file a program is, as the kernel numbers it.
//!
//! What `stat` says is no use here: on overlayfs and btrfs it names another
//! device than the kernel keeps with the inode. `/proc` tells the kernel's own
//! numbers of a file that is open.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use procfs::process::{MountInfo, MountInfos};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};

use crate::kernel::Actor;
use crate::secure_file::{SecureFileError, check_way};

/// Anybody but the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// Why an executable cannot be named to the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// It cannot be opened.
    #[error("Failed to open it")]
    Open(#[source] io::Error),
    /// It is a folder, a device or the like.
    #[error("it is no regular file")]
    NoFile,
    /// Somebody but root could put another program into it.
    #[error("somebody else than root may write it (owner {uid}, mode {mode:04o})")]
    Untrusted {
        /// Its owner.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Somebody but root could put another program in its place.
    #[error("another program can be put in its place")]
    Way(#[source] SecureFileError),
    /// `/proc` does not say which one it is.
    #[error("the kernel does not say which file it is")]
    Unnumbered,
}

/// The program at the absolute `path`, which only root may write or put another
/// in the place of.
///
/// # Errors
/// See [`ExecutableError`].
pub fn trusted(path: &Path) -> Result<Actor, ExecutableError> {
    let file = open(path)?;
    let meta = file.metadata().map_err(ExecutableError::Open)?;
    let mode = meta.mode() & 0o7777;
    if !meta.is_file() {
        return Err(ExecutableError::NoFile);
    }
    if meta.uid() != 0 || mode & OTHERS_WRITE != 0 {
        let uid = meta.uid();
        return Err(ExecutableError::Untrusted { uid, mode });
    }
    check_way(path).map_err(ExecutableError::Way)?;
    number(&file).ok_or(ExecutableError::Unnumbered)
}

/// This very program.
///
/// # Errors
/// See [`ExecutableError`].
pub fn own() -> Result<Actor, ExecutableError> {
    let file = open(Path::new("/proc/self/exe"))?;
    number(&file).ok_or(ExecutableError::Unnumbered)
}

/// Device and inode of the file at `path`, a folder or a socket too, as the
/// kernel numbers them; `None` when it cannot be found.
pub fn file_number(path: &Path) -> Option<(u32, u64)> {
    number_at(path, AtFlags::empty(), 0)
}

/// The same, where a symbolic link at the end of `path` is the file that is meant.
pub fn link_number(path: &Path) -> Option<(u32, u64)> {
    number_at(path, AtFlags::SYMLINK_NOFOLLOW, libc::O_NOFOLLOW)
}

/// What a folder holds under one name.
#[derive(Debug)]
pub struct Entry {
    /// Device and inode, as the kernel numbers them.
    pub number: (u32, u64),
    /// A folder, a socket or the like.
    pub kind: FileType,
    /// How many names it has.
    pub links: u32,
    /// Its length.
    pub bytes: u64,
    mount: u64,
    handle: OwnedFd,
}

impl Entry {
    /// What `folder` itself has there: neither what a symbolic link leads to nor what
    /// is mounted over it, so that who follows entries stays on one mount. `None`
    /// where there is nothing of its own.
    pub fn of(folder: &Entry, name: &CStr) -> Option<Entry> {
        // By openat2(2) the kernel itself would stay there; `RestrictSUIDSGID=`, as the
        // shipped unit has it, takes that call away.
        if name.to_bytes().contains(&b'/') || name == c".." {
            return None;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = Self::of_handle(openat(folder, name, flags, Mode::empty()).ok()?)?;
        (found.mount == folder.mount).then_some(found)
    }

    /// What is at `path`, wherever links and mounts lead to.
    pub fn at(path: &Path) -> Option<Entry> {
        Self::of_handle(open(path).ok()?.into())
    }

    fn of_handle(handle: OwnedFd) -> Option<Entry> {
        let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::SIZE | NUMBERS;
        let found = statx(&handle, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
        let number = told(&found).or_else(|| numbers(&handle))?;
        Some(Entry {
            number,
            kind: FileType::from_raw_mode(found.stx_mode.into()),
            links: found.stx_nlink,
            bytes: found.stx_size,
            mount: found.stx_mnt_id,
            handle,
        })
    }

    /// Is it a folder?
    pub fn is_folder(&self) -> bool {
        self.kind == FileType::Directory
    }
}

impl AsFd for Entry {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

const NUMBERS: StatxFlags = StatxFlags::INO.union(StatxFlags::MNT_ID);

/// Without opening it, where the file system tells the kernel's own number.
fn number_at(path: &Path, at: AtFlags, open: i32) -> Option<(u32, u64)> {
    let found = statx(CWD, path, at, NUMBERS).ok()?;
    told(&found).or_else(|| numbers(&open_with(path, open).ok()?))
}

fn told(found: &Statx) -> Option<(u32, u64)> {
    if !StatxFlags::from_bits_retain(found.stx_mask).contains(NUMBERS) {
        return None;
    }
    let mount = mount(found.stx_mnt_id)?;
    mount.tells_inodes.then_some((mount.dev, found.stx_ino))
}

/// Only to name it: needs no permission on the file itself.
fn open(path: &Path) -> Result<File, ExecutableError> {
    open_with(path, 0)
}

fn open_with(path: &Path, flags: i32) -> Result<File, ExecutableError> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | flags)
        .open(path)
        .map_err(ExecutableError::Open)
}

fn number(file: &File) -> Option<Actor> {
    numbers(file).map(|(dev, inode)| Actor::Exe { dev, inode })
}

fn numbers(file: &impl AsRawFd) -> Option<(u32, u64)> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    let mount = field(&info, "mnt_id:")?;
    Some((self::mount(mount)?.dev, field(&info, "ino:")?))
}

/// How old the table of mounts may be. Reading it takes far longer than all the
/// rest, and whole folders are looked at in one go.
const MOUNTS_AGE_MAX: Duration = Duration::from_secs(1);
/// File systems on which `stat` tells the number that the kernel keeps with the
/// inode. On others, such as overlayfs, it may be another file system's.
const TELL_INODES: [&str; 9] = [
    "bpf", "btrfs", "cgroup2", "ext2", "ext3", "ext4", "sysfs", "tmpfs", "xfs",
];

/// A file system at its place.
#[derive(Clone, Copy)]
struct Mount {
    /// As the kernel numbers it.
    dev: u32,
    tells_inodes: bool,
}

thread_local! {
    static MOUNTS: RefCell<Option<(Instant, HashMap<u64, Mount>)>> = const { RefCell::new(None) };
}

/// What a mount is of.
fn mount(number: u64) -> Option<Mount> {
    MOUNTS.with_borrow_mut(|table| {
        let fresh = table.as_ref().filter(|(read, mounts)| {
            read.elapsed() < MOUNTS_AGE_MAX && mounts.contains_key(&number)
        });
        if let Some((_, mounts)) = fresh {
            return mounts.get(&number).copied();
        }
        let mounts = mounts()?;
        let mount = mounts.get(&number).copied();
        *table = Some((Instant::now(), mounts));
        mount
    })
}

fn mounts() -> Option<HashMap<u64, Mount>> {
    let all = procfs::process::Process::myself().ok()?.mountinfo().ok()?;
    let known = all.into_iter().filter_map(|mount| {
        let found = Mount {
            dev: device(&mount)?,
            tells_inodes: TELL_INODES.contains(&mount.fs_type.as_str()),
        };
        Some((u64::try_from(mount.mnt_id).ok()?, found))
    });
    Some(known.collect())
}

/// The devices of a process's mounts, by the mounts' numbers.
pub(crate) fn devices(mounts: MountInfos) -> BTreeMap<u64, u32> {
    let known = mounts.into_iter().filter_map(|mount| {
        let number = u64::try_from(mount.mnt_id).ok()?;
        Some((number, device(&mount)?))
    });
    known.collect()
}

/// The device of a mount of this process's own namespace, by its number.
pub(crate) fn device_of_mount(number: u64) -> Option<u32> {
    mount(number).map(|mount| mount.dev)
}

/// The device of a mount, as the kernel numbers it.
pub(crate) fn device(mount: &MountInfo) -> Option<u32> {
    let (major, minor) = mount.majmin.split_once(':')?;
    kernel_dev(major.parse().ok()?, minor.parse().ok()?)
}

/// A field of a file of `/proc/PID/fdinfo`.
pub(crate) fn field(info: &str, name: &str) -> Option<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok()
}

/// The kernel's own `dev_t`: twelve bits of major, twenty of minor.
pub fn kernel_dev(major: u32, minor: u32) -> Option<u32> {
    (major < 1 << 12 && minor < 1 << 20).then_some(major << 20 | minor)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn number_of(path: &Path) -> Actor {
        number(&open(path).unwrap()).unwrap()
    }

    #[test]
    fn what_is_told_without_opening_is_what_the_kernel_says_of_the_open_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let all = ["/", "/proc/self", "/sys", "/dev/null", "/run"].map(Path::new);
        for path in all.into_iter().chain([dir.path(), &file]) {
            let opened = numbers(&open(path).unwrap());
            assert_eq!(file_number(path), opened, "{}", path.display());
            assert!(opened.is_some());
        }
        assert_eq!(file_number(&link), file_number(&file));
        let opened = numbers(&open_with(&link, libc::O_NOFOLLOW).unwrap());
        assert_eq!(link_number(&link), opened);
        assert_ne!(link_number(&link), link_number(&file));
        assert_eq!(file_number(&dir.path().join("none")), None);
    }

    #[test]
    fn a_folders_entry_is_its_own_and_not_what_a_link_or_a_mount_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "four").unwrap();
        fs::hard_link(at("file"), at("again")).unwrap();
        std::os::unix::fs::symlink("/etc", at("link")).unwrap();
        let folder = Entry::at(dir.path()).unwrap();
        assert!(folder.is_folder());
        let file = Entry::of(&folder, c"file").unwrap();
        assert_eq!((file.links, file.bytes), (2, 4));
        assert_eq!(Some(file.number), file_number(&at("again")));
        let link = Entry::of(&folder, c"link").unwrap();
        assert_eq!(link.kind, FileType::Symlink);
        assert_eq!(Some(link.number), link_number(&at("link")));
        let root = Entry::at(Path::new("/")).unwrap();
        assert!(Entry::of(&root, c"etc").unwrap().is_folder());
        assert!(Entry::of(&root, c"proc").is_none(), "a mount of its own");
        assert!(Entry::of(&folder, c"..").is_none());
    }

    #[test]
    fn a_hard_link_is_the_same_program_and_a_copy_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("one"), "#!").unwrap();
        fs::hard_link(at("one"), at("link")).unwrap();
        fs::copy(at("one"), at("copy")).unwrap();
        assert_eq!(number_of(&at("one")), number_of(&at("link")));
        assert_ne!(number_of(&at("one")), number_of(&at("copy")));
    }

    #[test]
    fn a_program_that_others_may_write_and_a_folder_are_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tool");
        fs::write(&path, "#!").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o775)).unwrap();
        let error = trusted(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0775"), "{error}");
        assert!(matches!(trusted(dir.path()), Err(ExecutableError::NoFile)));
        assert!(matches!(
            trusted(&dir.path().join("none")),
            Err(ExecutableError::Open(_))
        ));
    }

    #[test]
    fn this_program_is_found() {
        assert!(matches!(own(), Ok(Actor::Exe { inode, .. }) if inode > 0));
    }
}
