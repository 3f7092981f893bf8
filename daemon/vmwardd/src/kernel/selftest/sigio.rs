//! A signal to the canary by an event on a file of which it was made the owner.

use std::io::{self, Write};
use std::os::fd::AsRawFd;

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
    }
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
