//! How many threads a VM may have.
//!
//! libvirt lets all VMs run as one user, and a limit (`RLIMIT_NPROC`, `max_processes`
//! in `qemu.conf`) counts the threads of that user, whosever they are. Whoever becomes
//! that user and starts so many threads takes the next one from each VM: QEMU ends
//! itself where it gets none. What holds a VM back is its cgroup's `pids.max`, which
//! nobody else fills.

use std::io;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use vmward_core::ids::Process;

use super::ProcHandle;

/// Lifts the limit on threads. False where there was none.
///
/// # Errors
/// The system's errors; the process has ended.
pub fn lift_limit(process: Process) -> io::Result<bool> {
    let gone = || io::Error::from(io::ErrorKind::NotFound);
    let handle = ProcHandle::open(process.pid).ok_or_else(gone)?;
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    let none = Rlimit {
        current: None,
        maximum: None,
    };
    if handle.stat().is_none_or(|stat| stat.process != process) {
        return Err(gone());
    }
    let former = prlimit(Some(pid.ok_or_else(gone)?), Resource::Nproc, none)?;
    Ok(former.current.is_some())
}

// That it is lifted, and what for, is proved in the test VM: not everywhere is root
// allowed to.
#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::identify;
    use crate::process::testing::{end, prepared};

    #[test]
    fn a_successor_with_the_same_number_keeps_its_limit() {
        let script = "ulimit -S -u 4000; echo; exec cat";
        let child = prepared(Command::new("bash").args(["-c", script]));
        let process = identify(child.id()).unwrap();
        let former = Process {
            start_ticks: process.start_ticks - 1,
            ..process
        };
        let error = lift_limit(former).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let limits = ProcHandle::open(process.pid).unwrap().process.limits();
        let limit = format!("{:?}", limits.unwrap().max_processes.soft_limit);
        assert_eq!(limit, "Value(4000)");
        end(child);
    }
}
