//! One daemon a host: the lock that a second instance fails on before it has
//! touched anything.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// Held for as long as the daemon lives; the kernel drops it with the process.
#[derive(Debug)]
pub struct InstanceLock {
    _file: Flock<File>,
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
        source: std::io::Error,
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

impl InstanceLock {
    /// Takes the lock in `dir`, without waiting.
    ///
    /// # Errors
    /// [`LockError::Busy`] when another instance runs.
    pub fn take(dir: &Path) -> Result<InstanceLock, LockError> {
        let path = dir.join("vmwardd.lock");
        let at_open = |source| LockError::Open {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at_open)?;
        let mut locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => locked,
            Err((file, Errno::EWOULDBLOCK)) => {
                return Err(LockError::Busy {
                    pid: holder(file),
                    path,
                });
            }
            Err((_, errno)) => return Err(at_open(errno.into())),
        };
        locked.set_len(0).map_err(at_open)?;
        writeln!(locked, "{}", std::process::id()).map_err(at_open)?;
        Ok(InstanceLock { _file: locked })
    }
}

fn holder(file: File) -> String {
    let mut text = String::new();
    match file.take(32).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "unknown".to_owned(),
    }
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
}
