//! The lock of a vmwardd from before [`super::InstanceLock`] was one of an open file:
//! flock(2), which whoever can open a file for reading can take, and keep every daemon
//! out. So whose it is counts.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::{LockError, at};
use crate::executable::{self, kernel_dev};
use crate::process::{ProcHandle, view};

/// Most bytes of the list of all locks: some fifty thousand of them.
const LOCKS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Takes the flock on a file or folder, or says in a warning who has it that is no
/// vmwardd. Who holds it always shows to whoever is in the host's PID namespace.
///
/// # Errors
/// [`LockError::Busy`] when a vmwardd has it.
pub fn ask(file: &File, path: &Path) -> Result<(Option<Flock<File>>, Option<String>), LockError> {
    let again = file.try_clone().map_err(at(path))?;
    match Flock::lock(again, FlockArg::LockExclusiveNonblock) {
        Ok(flock) => return Ok((Some(flock), None)),
        Err((_, Errno::EWOULDBLOCK)) => {}
        Err((_, errno)) => return Err(at(path)(errno.into())),
    }
    let mut locks = String::new();
    if let Ok(list) = view::open_at("locks") {
        // What was read of it is looked at.
        let _bytes = list.take(LOCKS_BYTES_MAX).read_to_string(&mut locks);
    }
    let number = executable::link_number(path);
    let holders = number.map_or_else(Vec::new, |(dev, inode)| holders(&locks, dev, inode));
    if let Some(pid) = holders.iter().find(|pid| is_vmwardd(**pid)) {
        return Err(LockError::Busy {
            path: path.to_owned(),
            pid: pid.to_string(),
        });
    }
    let by = holders.iter().map(u32::to_string).collect::<Vec<_>>();
    let by = if by.is_empty() {
        "somebody who does not show".to_owned()
    } else {
        format!("process {}, no vmwardd", by.join(", "))
    };
    let path = path.display();
    Ok((
        None,
        Some(format!(
            "{path} is locked by {by}; that lock is passed over"
        )),
    ))
}

/// The processes that have a flock on this file, by the lines of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 4711 00:1b:1234 0 EOF`.
fn holders(locks: &str, dev: u32, inode: u64) -> Vec<u32> {
    let holder = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [_, "FLOCK", _, _, pid, file, ..] = words.as_slice() else {
            return None;
        };
        let mut parts = file.split(':');
        let mut hex = || u32::from_str_radix(parts.next()?, 16).ok();
        let found = kernel_dev(hex()?, hex()?)?;
        let is_it = found == dev && parts.next()?.parse::<u64>().ok()? == inode;
        pid.parse().ok().filter(|_| is_it)
    };
    locks.lines().filter_map(holder).collect()
}

/// Is it this very program, or the one that was at its place before an upgrade?
fn is_vmwardd(pid: u32) -> bool {
    let Ok(own) = std::env::current_exe() else {
        // Better no daemon than two.
        return true;
    };
    let same_file = || {
        let theirs = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        let own = fs::metadata("/proc/self/exe").ok()?;
        Some((own.dev(), own.ino()) == (theirs.dev(), theirs.ino()))
    };
    let same_place = || {
        let exe = ProcHandle::open(pid)?.exe()?;
        let plain = |path: &str| path.trim_end_matches(" (deleted)").to_owned();
        Some(plain(&exe) == plain(&own.to_string_lossy()))
    };
    same_file() == Some(true) || same_place() == Some(true)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::InstanceLock;
    use super::*;
    use crate::process::testing::prepared;

    #[test]
    fn who_has_a_flock_is_read_from_the_kernels_list() {
        let locks = "1: FLOCK  ADVISORY  WRITE 4711 00:1b:1234 0 EOF\n\
                     1: -> FLOCK  ADVISORY  WRITE 4712 00:1b:1234 0 EOF\n\
                     2: OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 EOF\n\
                     3: FLOCK  ADVISORY  READ 4713 00:1b:1235 0 EOF\n\
                     4: FLOCK  ADVISORY  READ 4714 fe:01:1234 0 EOF\n";
        let dev = kernel_dev(0, 0x1b).unwrap();
        assert_eq!(holders(locks, dev, 1234), [4711]);
        assert_eq!(holders(locks, kernel_dev(0xfe, 1).unwrap(), 1234), [4714]);
        assert!(holders("", dev, 1234).is_empty());
    }

    #[test]
    fn a_former_vmwardd_is_noticed_by_its_flock() {
        let dir = tempfile::tempdir().unwrap();
        drop(InstanceLock::take(dir.path()).unwrap());
        let file = File::open(dir.path().join("vmwardd.lock")).unwrap();
        let former = Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap();
        let error = InstanceLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(former);
        assert_eq!(InstanceLock::take(dir.path()).unwrap().warning(), None);
    }

    #[test]
    fn anybody_elses_flock_is_passed_over_and_told() {
        let dir = tempfile::tempdir().unwrap();
        drop(InstanceLock::take(dir.path()).unwrap());
        let mut stranger = prepared(
            Command::new("flock")
                .arg(dir.path().join("vmwardd.lock"))
                .args(["sh", "-c", "echo; exec cat"]),
        );
        let first = InstanceLock::take(dir.path()).unwrap();
        let warning = first.warning().unwrap();
        assert!(warning.contains(&stranger.id().to_string()), "{warning}");
        assert!(
            InstanceLock::take(dir.path()).is_err(),
            "one daemon all the same"
        );
        // It goes with its input.
        drop(stranger.stdin.take());
        stranger.wait().unwrap();
    }
}
