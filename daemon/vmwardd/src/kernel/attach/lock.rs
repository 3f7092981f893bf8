//! Whoever touches the pins has them alone: two daemons on one set would take events
//! and leases from each other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;
use nix::mount::MsFlags;
use nix::sys::statfs::statfs;
use nix::sys::statvfs::{FsFlags, statvfs};

use super::super::KernelError;
use crate::lock::{InstanceLock, ask_older};
use crate::process::view;

/// The host's first process.
const INIT: u32 = 1;
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// The right to attach, and to detach. Held for as long as the programs are this
/// process's.
#[derive(Debug)]
pub struct PinLock {
    pin_dir: PathBuf,
    _host: InstanceLock,
    /// What a vmwardd from before that lock asks for, and one that was led to another
    /// lock of the host. None for a folder that somebody else has locked.
    folders: BTreeMap<PathBuf, Option<Flock<File>>>,
    warnings: Vec<String>,
}

/// Whoever has made the mount read-only, which `mount_setattr(2)` lets root do past every
/// wall, keeps no daemon from its pins: it is written to again, in the mount namespace
/// that the daemon has.
fn make_writable(mount: &Path) -> Result<(), KernelError> {
    let flags = statvfs(mount).map_or(FsFlags::empty(), |stat| stat.flags());
    if !flags.contains(FsFlags::ST_RDONLY) {
        return Ok(());
    }
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
    ];
    let kept = kept.into_iter().filter(|(is, _)| flags.contains(*is));
    let kept = kept.fold(MsFlags::MS_REMOUNT | MsFlags::MS_BIND, |all, (_, flag)| {
        all | flag
    });
    let none = None::<&str>;
    let path = mount.display();
    match nix::mount::mount(none, mount, none, kept, none) {
        Ok(()) => {
            tracing::warn!(%path, "somebody has made it read-only; it can be written to again");
            Ok(())
        }
        Err(source) => Err(KernelError::ReadOnly {
            path: mount.to_owned(),
            source: source.into(),
        }),
    }
}

/// The number of the host's PID namespace, the same on every host (`PROC_PID_INIT_INO`).
const HOST_PIDS: u64 = 0xefff_fffc;

/// The number of this process's PID namespace. For a clear word: who makes it up is
/// refused by the programs all the same.
fn pid_namespace() -> Option<u64> {
    Some(fs::metadata("/proc/self/ns/pid").ok()?.ino())
}

/// Is there a filter of system calls on this process? For a clear word, as above.
fn is_filtered() -> bool {
    const FILTER: &str = "2";
    let status = view::read("self/status").unwrap_or_default();
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    mode.is_some_and(|mode| mode.trim() == FILTER)
}

impl PinLock {
    /// Is this process one that the programs take for vmward's, as far as it can tell?
    ///
    /// # Errors
    /// [`KernelError::NotHostPids`]; [`KernelError::Filtered`].
    pub fn check_process() -> Result<(), KernelError> {
        if pid_namespace().is_some_and(|number| number != HOST_PIDS) {
            return Err(KernelError::NotHostPids);
        }
        if is_filtered() && parent_id() != INIT {
            return Err(KernelError::Filtered);
        }
        Ok(())
    }

    /// Takes it for the pins in `pin_dir`, which need not be there. There is one a
    /// host, whatever the folder: two walls would both decide.
    ///
    /// # Errors
    /// [`KernelError::Lock`] when a daemon with programs in the kernel runs, whatever
    /// its configuration; [`KernelError::NoBpfFs`] for a folder that can hold no pins,
    /// and is not to be removed as if it did; [`KernelError::ReadOnly`];
    /// [`KernelError::NotHostPids`]; [`KernelError::Filtered`].
    pub fn take(pin_dir: &Path) -> Result<PinLock, KernelError> {
        PinLock::check_process()?;
        let parent = pin_dir.parent().unwrap_or(Path::new("/"));
        if !statfs(parent).is_ok_and(|s| s.filesystem_type().0 == BPF_FS_MAGIC) {
            return Err(KernelError::NoBpfFs {
                path: pin_dir.to_owned(),
            });
        }
        let host = InstanceLock::of_host()?;
        make_writable(parent)?;
        let mut lock = PinLock {
            pin_dir: pin_dir.to_owned(),
            warnings: host.warning().map(str::to_owned).into_iter().collect(),
            _host: host,
            folders: BTreeMap::new(),
        };
        // A folder that is not there is nobody's.
        let entries = fs::read_dir(pin_dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            lock.take_folder(&path)?;
        }
        Ok(lock)
    }

    /// Takes a folder of pins as well.
    ///
    /// # Errors
    /// As [`PinLock::take`].
    pub(super) fn take_folder(&mut self, path: &Path) -> Result<(), KernelError> {
        if self.folders.contains_key(path) {
            return Ok(());
        }
        if let Ok(folder) = File::open(path) {
            let (flock, warning) = ask_older(&folder, path)?;
            self.folders.insert(path.to_owned(), flock);
            self.warnings.extend(warning);
        }
        Ok(())
    }

    /// The folder of the pins.
    pub fn pin_dir(&self) -> &Path {
        &self.pin_dir
    }

    /// Removes every pin, and with it all enforcement. True if there were any.
    ///
    /// # Errors
    /// When a pin cannot be removed.
    pub fn detach(&self) -> Result<bool, KernelError> {
        super::detach(&self.pin_dir)
    }

    /// Locks of others that were passed over.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
