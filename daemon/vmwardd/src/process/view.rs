//! A view of `/proc` that nobody can mount over.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{AtFlags, Mode, OFlags, Statx, StatxFlags, fstatfs, open, openat, statx};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::{PROC, PROC_FILE_BYTES_MAX};

/// Says that a file system is procfs (`PROC_SUPER_MAGIC`).
const PROC_MAGIC: u64 = 0x9fa0;

/// The first 64 KiB of a file, by its path below `/proc`, as the kernel has it, whatever
/// is mounted there.
///
/// # Errors
/// The system's errors. Where no procfs of its own is to be had and something is mounted
/// over the file at `/proc`, that is one.
pub fn read(path: &str) -> io::Result<String> {
    let mut text = String::new();
    open_at(path)?
        .take(PROC_FILE_BYTES_MAX)
        .read_to_string(&mut text)?;
    Ok(text)
}

/// The same, to be read by the caller.
///
/// # Errors
/// As [`read`].
pub fn open_at(path: &str) -> io::Result<File> {
    let root = root().ok_or(io::ErrorKind::Unsupported)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(root, path, flags, Mode::empty())?;
    // openat2(2) would stay on the mount by itself; `RestrictSUIDSGID=`, as the shipped
    // unit has it, takes that call away.
    if mount_of(&file)? != mount_of(root)? {
        return Err(Errno::XDEV.into());
    }
    Ok(File::from(file))
}

/// Device and inode of what the host's first process sees at `path`.
///
/// # Errors
/// The system's errors.
pub fn of_host(path: &Path) -> io::Result<(u64, u64)> {
    seen_by("1", path)
}

fn seen_by(process: &str, path: &Path) -> io::Result<(u64, u64)> {
    let inside = path.strip_prefix("/").unwrap_or(path);
    let found = followed(&Path::new(process).join("root").join(inside))?;
    let dev = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    Ok((dev, found.stx_ino))
}

/// The number of the mount namespace of a process, by its name in `/proc`; `None`
/// where it does not show.
pub fn mount_namespace(process: &str) -> Option<u32> {
    let found = followed(&Path::new(process).join("ns/mnt")).ok()?;
    u32::try_from(found.stx_ino).ok()
}

/// What a path below `/proc` leads to, wherever that is.
fn followed(path: &Path) -> io::Result<Statx> {
    let root = root().ok_or(io::ErrorKind::Unsupported)?;
    let found = statx(root, path, AtFlags::empty(), StatxFlags::INO)?;
    Ok(found)
}

fn mount_of(file: &OwnedFd) -> Result<u64, Errno> {
    Ok(statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?.stx_mnt_id)
}

/// A procfs of the daemon's own, mounted nowhere; where that is not to be had, the
/// one at `/proc`, as long as it is one.
fn root() -> Option<&'static OwnedFd> {
    static ROOT: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let root = ROOT.get_or_init(|| {
        own_proc()
            .or_else(|errno| {
                tracing::debug!(%errno, "no procfs of its own; /proc is looked at instead");
                common_proc()
            })
            .ok()
    });
    root.as_ref()
}

fn own_proc() -> Result<OwnedFd, Errno> {
    let system = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&system)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(&system, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

fn common_proc() -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = open(PROC, flags, Mode::empty())?;
    let kind = u64::try_from(fstatfs(&root)?.f_type).unwrap_or(0);
    (kind == PROC_MAGIC).then_some(root).ok_or(Errno::NODEV)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_see_and_are_in_is_what_proc_shows() {
        use std::os::unix::fs::MetadataExt;

        let own = std::fs::metadata("/proc/self/ns/mnt").unwrap().ino();
        assert_eq!(mount_namespace("self").map(u64::from), Some(own));
        let seen = std::fs::metadata("/usr").unwrap();
        let usr = seen_by("self", Path::new("/usr")).unwrap();
        assert_eq!(usr, (seen.dev(), seen.ino()));
    }

    #[test]
    fn what_it_shows_is_what_proc_shows_where_nothing_is_mounted_over_it() {
        let own = format!("{}/comm", std::process::id());
        let shown = std::fs::read_to_string(format!("/proc/{own}")).unwrap();
        assert_eq!(read(&own).unwrap(), shown);
        // Nothing outside is meant, wherever links lead.
        for outside in [
            "../etc/passwd",
            "self/root/etc/passwd",
            "self/cwd/Cargo.toml",
        ] {
            assert!(read(outside).is_err(), "{outside}");
        }
    }
}
