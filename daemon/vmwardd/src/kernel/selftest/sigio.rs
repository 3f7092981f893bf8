//! A signal to the canary by an event: on a file of which it was made the owner,
//! or of perf's.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::process::Canary;
use super::{Findings, failed};
use crate::kernel::{Kernel, KernelError};

/// `F_SETSIG`, which the library does not name.
const F_SETSIG: i32 = 10;

/// Nobody is told that such a signal was refused: it does not come, and the
/// canary answers on.
pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    for owner in [canary.process.pid, canary.thread] {
        arm_and_fire(owner).map_err(failed("make the canary a pipe's owner"))?;
        findings.caused(1);
        findings.refused("a perf event that sends a signal", count(owner));
    }
    Ok(())
}

/// A software event that never comes, with `sigtrap` and the `remove_on_exec`
/// that goes with it.
#[expect(unsafe_code, reason = "nix has no perf events")]
fn count(task: u32) -> Result<(), Errno> {
    const SOFTWARE: u64 = 1;
    const DUMMY: u64 = 9;
    let mut attr = [0_u64; 16];
    attr[0] = SOFTWARE | (size_of_val(&attr) as u64) << 32;
    attr[1] = DUMMY;
    attr[5] = 1 << 36 | 1 << 37;
    let at = attr.as_ptr() as libc::c_long;
    // SAFETY: the attribute is as long as it says; the rest are integers.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, at, task, -1, -1, 0) };
    let fd = i32::try_from(Errno::result(fd)?).unwrap_or(-1);
    // SAFETY: it was just given, and nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

fn arm_and_fire(owner: u32) -> io::Result<()> {
    let (reader, mut writer) = io::pipe()?;
    let fd = reader.as_raw_fd();
    let owner = i32::try_from(owner).unwrap_or(-1);
    control(fd, libc::F_SETOWN, owner)?;
    control(fd, F_SETSIG, libc::SIGKILL)?;
    control(fd, libc::F_SETFL, libc::O_ASYNC)?;
    writer.write_all(b"x")?;
    // The end of the last writer would be an event, too.
    drop(reader);
    Ok(())
}

#[expect(unsafe_code, reason = "nix has no F_SETOWN")]
fn control(fd: i32, command: i32, argument: i32) -> io::Result<()> {
    // SAFETY: these commands take integers.
    let done = unsafe { libc::fcntl(fd, command, argument) };
    Ok(Errno::result(done).map(drop)?)
}
