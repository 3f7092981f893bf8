//! Whether a process lives, by the kernel's own handle on it.
//!
//! What `/proc` does not show may only be hidden: a mount over it is enough. So
//! nothing counts as ended by that. A pidfd that is readable says it, and so does a
//! kernel that knows nobody of that number: one process at a time has a number, so
//! whoever has it now and ends was this process or came after it. That the number
//! is another's by now is read through a view of `/proc` that nobody can mount over.

use std::collections::btree_map::{BTreeMap, Entry};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use procfs::FromRead;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use vmward_core::ids::Process;

use super::{PROC, ProcHandle, view};

/// What is known of a process's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It lives, and `/proc` shows it.
    Lives,
    /// It has ended: for sure.
    Ended,
    /// Somebody of its number lives, and `/proc` does not show that it is another.
    Hidden,
    /// The kernel gives no handle on it, for this reason.
    Unheld(Errno),
}

impl Life {
    /// Why nothing is known for sure; `None` where it is.
    pub fn doubt(self) -> Option<String> {
        match self {
            Life::Lives | Life::Ended => None,
            Life::Hidden => Some(
                "it lives, and /proc does not show it; is something mounted over it?".to_owned(),
            ),
            Life::Unheld(errno) => Some(format!("the kernel gives no handle on it ({errno})")),
        }
    }
}

/// Handles on processes, kept as long as somebody cares how they are: one
/// descriptor each.
#[derive(Debug)]
pub struct Lives {
    held: BTreeMap<Process, Hold>,
    /// Where everybody else looks at processes.
    shown_in: PathBuf,
}

impl Default for Lives {
    fn default() -> Lives {
        Lives {
            held: BTreeMap::new(),
            shown_in: PROC.into(),
        }
    }
}

impl Lives {
    /// As a daemon sees it that has something else mounted on its `/proc`.
    #[cfg(test)]
    pub(crate) fn shown_in(proc: &Path) -> Lives {
        Lives {
            shown_in: proc.to_owned(),
            ..Lives::default()
        }
    }

    /// How `process` is. From the first time on it is held, until it has ended or
    /// [`Lives::let_go`].
    pub fn of(&mut self, process: Process) -> Life {
        if process == Process::HOST {
            return Life::Lives;
        }
        let mut held = match self.held.entry(process) {
            Entry::Occupied(held) => held,
            Entry::Vacant(free) => match Hold::take(process) {
                Ok(hold) => free.insert_entry(hold),
                Err(life) => return life,
            },
        };
        let life = held.get_mut().look(process, &self.shown_in);
        if life == Life::Ended {
            held.remove();
        }
        life
    }

    /// Nobody cares any more.
    pub fn let_go(&mut self, process: Process) {
        self.held.remove(&process);
    }

    /// Nobody cares about others than these.
    pub fn keep_only(&mut self, cares: impl Fn(Process) -> bool) {
        self.held.retain(|process, _| cares(*process));
    }
}

/// How `process` is, asked once.
pub fn life(process: Process) -> Life {
    Lives::default().of(process)
}

/// Lives anybody of this number, shown in `/proc` or not?
pub fn is_in_use(pid: u32) -> bool {
    match handle(pid) {
        Ok(pidfd) => !has_ended(&pidfd),
        Err(life) => life != Life::Ended,
    }
}

/// A pidfd becomes readable when its process ends.
pub fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::ZERO), Ok(ready) if ready > 0)
}

/// A handle on whoever had the number of a process when it was taken.
#[derive(Debug)]
struct Hold {
    pidfd: OwnedFd,
    /// It was that very process, and not one that came after it.
    is_it: bool,
}

impl Hold {
    fn take(process: Process) -> Result<Hold, Life> {
        let pidfd = handle(process.pid)?;
        Ok(Hold {
            pidfd,
            is_it: false,
        })
    }

    fn look(&mut self, process: Process, shown_in: &Path) -> Life {
        if has_ended(&self.pidfd) {
            return Life::Ended;
        }
        if !self.is_it {
            // Read after the handle was taken, so that its number cannot have gone to
            // this process only in between.
            match start_of(process.pid) {
                Some(start_ticks) if start_ticks != process.start_ticks => return Life::Ended,
                found => self.is_it = found.is_some(),
            }
        }
        let shown = ProcHandle::open_in(shown_in, process.pid)
            .and_then(|handle| handle.stat())
            .is_some_and(|stat| stat.process == process);
        if self.is_it && shown {
            return Life::Lives;
        }
        // It may have ended just now.
        if has_ended(&self.pidfd) {
            return Life::Ended;
        }
        Life::Hidden
    }
}

/// A handle on whoever has this number; [`Life::Ended`] where nobody has.
fn handle(pid: u32) -> Result<OwnedFd, Life> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    match pidfd_open(pid.ok_or(Life::Ended)?, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(pidfd),
        // The last two where the number is a mere thread's by now.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Err(Life::Ended),
        Err(errno) => Err(Life::Unheld(errno)),
    }
}

/// When whoever has this number started, in clock ticks; `None` where that cannot be
/// read for sure.
fn start_of(pid: u32) -> Option<u64> {
    let text = view::read(&format!("{pid}/stat")).ok()?;
    let stat = procfs::process::Stat::from_read(text.as_bytes());
    Some(stat.ok()?.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::testing::{child, end};

    #[test]
    fn a_process_that_proc_does_not_show_has_not_ended_until_it_has() {
        let empty = tempfile::tempdir().unwrap();
        let mut lives = Lives::shown_in(empty.path());
        let (child, process) = child();
        for _ in 0..3 {
            assert_eq!(lives.of(process), Life::Hidden);
        }
        assert!(Life::Hidden.doubt().is_some() && is_in_use(process.pid));
        end(child);
        assert_eq!(lives.of(process), Life::Ended);
        assert!(lives.held.is_empty() && !is_in_use(process.pid));
    }

    #[test]
    fn one_that_is_not_waited_for_has_ended_all_the_same() {
        let mut lives = Lives::default();
        let (mut child, process) = child();
        assert_eq!(lives.of(process), Life::Lives);
        child.kill().unwrap();
        let mut fds = [PollFd::new(
            lives.held[&process].pidfd.as_fd(),
            PollFlags::POLLIN,
        )];
        poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap();
        assert_eq!(lives.of(process), Life::Ended);
        assert_eq!(life(process), Life::Ended);
        child.wait().unwrap();
    }

    #[test]
    fn a_number_that_went_to_another_is_not_taken_for_the_process() {
        let (child, process) = child();
        let former = Process {
            start_ticks: process.start_ticks - 1,
            ..process
        };
        assert_eq!(life(former), Life::Ended);
        assert_eq!(life(process), Life::Lives);
        end(child);
        assert_eq!(
            life(Process {
                pid: u32::MAX,
                start_ticks: 1
            }),
            Life::Ended
        );
        assert_eq!(life(Process::HOST), Life::Lives);
    }

    #[test]
    fn what_is_let_go_holds_no_descriptor() {
        let mut lives = Lives::default();
        let (one, process) = child();
        let (other, kept) = child();
        lives.of(process);
        lives.of(kept);
        lives.keep_only(|which| which == kept);
        assert_eq!(lives.held.keys().copied().collect::<Vec<_>>(), [kept]);
        lives.let_go(kept);
        assert!(lives.held.is_empty());
        end(one);
        end(other);
    }
}
