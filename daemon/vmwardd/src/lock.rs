//! One daemon a host: the lock that a second instance fails on before it has
//! touched anything.
//!
//! It is a write lock of an open file (`F_OFD_SETLK`). That takes a descriptor open
//! for writing, which nobody but vmwardd gets of files under its guard. A read lock
//! takes one open for reading, which root gets; it is no daemon's, so the file it is
//! on is replaced by a new one. So is one that is locked for writing and names no
//! process that lives: it was opened before it was under guard. flock(2) is anybody's,
//! too: a former vmwardd has it, anybody else is only told of.

mod older;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, Flock, fcntl};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use vmward_core::ids::Process;

use crate::process;
use crate::process::life::is_in_use;
use crate::secure_file::{make_dir, open_own};

/// Where locks and notes are that hold for the whole host, whatever the
/// configuration says.
pub const HOST_DIR: &str = "/run/vmward";
/// So often the file may be another than it was a moment ago.
const TRIES_MAX: u32 = 20;
/// After so many tries whoever has the lock should have said who he is.
const TRIES_UNNAMED: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// Held for as long as the daemon lives; the kernel drops it with the process.
#[derive(Debug)]
pub struct InstanceLock {
    _file: File,
    /// For a former vmwardd, which asks for this one.
    _flock: Option<Flock<File>>,
    warning: Option<String>,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file cannot be opened or written.
    #[error("Failed to open lock file {path}")]
    Open {
        /// The lock file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Someone holds it.
    #[error("another vmwardd (pid {pid}) runs already and holds {path}; stop that one first")]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// What the lock file says.
        pid: String,
    },
}

/// What came of asking for the lock on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Taken,
    /// Somebody who may write the file has it.
    Written,
    /// Somebody who can only read it keeps it from everybody.
    Read,
    /// It was free again a moment later.
    Gone,
}

impl InstanceLock {
    /// Takes the lock in `dir`, without waiting.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another instance runs.
    pub fn take(dir: &Path) -> Result<InstanceLock, LockError> {
        InstanceLock::take_at(&dir.join("vmwardd.lock"))
    }

    /// Takes the one lock of this host for whoever has programs in the kernel.
    ///
    /// # Errors
    /// As [`InstanceLock::take`].
    pub fn of_host() -> Result<InstanceLock, LockError> {
        let path = Path::new(HOST_DIR).join("kernel.lock");
        make_dir(Path::new(HOST_DIR), 0o755).map_err(at(&path))?;
        InstanceLock::take_at(&path)
    }

    /// Somebody else's lock was passed over.
    pub fn warning(&self) -> Option<&str> {
        self.warning.as_deref()
    }

    fn take_at(path: &Path) -> Result<InstanceLock, LockError> {
        for tried in 0..TRIES_MAX {
            let mut file = open_own(path).map_err(at(path))?;
            let taken = match ask(&file).map_err(at(path))? {
                Asked::Taken => is_at(path, &file).then_some(file),
                Asked::Gone => None,
                Asked::Written if let Some(pid) = living_holder(&mut file) => {
                    let path = path.to_owned();
                    return Err(LockError::Busy { path, pid });
                }
                Asked::Written if tried < TRIES_UNNAMED => {
                    pause();
                    None
                }
                Asked::Written | Asked::Read => replace(path, &file).map_err(at(path))?,
            };
            if let Some(file) = taken {
                return InstanceLock::settle(path, file);
            }
        }
        Err(at(path)(io::ErrorKind::ResourceBusy.into()))
    }

    /// The lock is taken; only a vmwardd of before this kind of lock could still run.
    fn settle(path: &Path, mut file: File) -> Result<InstanceLock, LockError> {
        let (flock, warning) = older::ask(&file, path)?;
        let pid = std::process::id();
        let line = match process::identify(pid) {
            Some(own) => format!("{pid} {}\n", own.start_ticks),
            None => format!("{pid}\n"),
        };
        file.set_len(0).map_err(at(path))?;
        file.write_all(line.as_bytes()).map_err(at(path))?;
        Ok(InstanceLock {
            _file: file,
            _flock: flock,
            warning,
        })
    }
}

pub use older::ask as ask_older;

fn at(path: &Path) -> impl FnOnce(io::Error) -> LockError {
    let path = path.to_owned();
    move |source| LockError::Open { path, source }
}

fn ask(file: &File) -> io::Result<Asked> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        Ok(_) => return Ok(Asked::Taken),
        Err(Errno::EAGAIN | Errno::EACCES) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut found = whole_file(libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(match i32::from(found.l_type) {
        libc::F_RDLCK => Asked::Read,
        libc::F_UNLCK => Asked::Gone,
        _ => Asked::Written,
    })
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    libc::flock {
        // Numbers of one digit.
        l_type: i16::try_from(kind).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Is the file still the one at `path`?
fn is_at(path: &Path, file: &File) -> bool {
    let same = |meta: fs::Metadata| -> io::Result<bool> {
        let own = file.metadata()?;
        Ok((own.dev(), own.ino()) == (meta.dev(), meta.ino()))
    };
    fs::symlink_metadata(path).and_then(same).unwrap_or(false)
}

/// Puts a new file, locked from its beginning, in the place of `judged`; `None` where
/// another one is there by now.
fn replace(path: &Path, judged: &File) -> io::Result<Option<File>> {
    let new = path.with_extension(format!("lock-{}", std::process::id()));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    let swap = || renameat_with(CWD, &new, CWD, path, RenameFlags::EXCHANGE);
    let mut taken = ask(&file)? == Asked::Taken;
    if taken {
        swap()?;
        taken = is_at(&new, judged);
        if !taken {
            swap()?;
        }
    }
    fs::remove_file(&new)?;
    Ok(taken.then_some(file))
}

#[expect(
    clippy::disallowed_methods,
    reason = "whoever takes a lock names itself a moment later, and nothing tells when"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// The number of the process that the file names, where it lives.
fn living_holder(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.take(64).read_to_string(&mut text).ok()?;
    let mut words = text.split_ascii_whitespace();
    let pid: u32 = words.next()?.parse().ok()?;
    let lives = match words.next().and_then(|ticks| ticks.parse().ok()) {
        Some(start_ticks) => process::is_alive(Process { pid, start_ticks }),
        None => is_in_use(pid),
    };
    lives.then(|| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_and_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let first = InstanceLock::take(dir.path()).unwrap();
        let error = InstanceLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(first);
        InstanceLock::take(dir.path()).unwrap();
    }

    #[test]
    fn who_can_only_read_the_file_keeps_no_daemon_out() {
        let dir = tempfile::tempdir().unwrap();
        drop(InstanceLock::take(dir.path()).unwrap());
        let reader = File::open(dir.path().join("vmwardd.lock")).unwrap();
        let lock = whole_file(libc::F_RDLCK);
        fcntl(&reader, FcntlArg::F_OFD_SETLK(&lock)).unwrap();
        let first = InstanceLock::take(dir.path()).unwrap();
        // It holds for the next one, and nothing is left behind.
        let error = InstanceLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(first);
    }

    #[test]
    fn a_lock_for_writing_that_names_nobody_alive_is_no_daemons() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmwardd.lock");
        let stranger = open_own(&path).unwrap();
        assert_eq!(ask(&stranger).unwrap(), Asked::Taken);
        fs::write(&path, "4711 1\n").unwrap();
        let _first = InstanceLock::take(dir.path()).unwrap();
        assert!(InstanceLock::take(dir.path()).is_err());
    }

    #[test]
    fn a_file_that_another_daemon_has_put_there_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vmwardd.lock");
        let judged = open_own(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let other = InstanceLock::take(dir.path()).unwrap();
        assert!(replace(&path, &judged).unwrap().is_none());
        assert!(InstanceLock::take(dir.path()).is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        drop(other);
    }
}
