//! A process begins its life in a VM's cgroup: no file is written.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use nix::errno::Errno;

use crate::Failed;

const INTO_CGROUP: u64 = 1 << 33;

/// `struct clone_args` of the kernel.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Has another process do it, and says how that one fared.
pub(super) fn into(folder: &str) -> Result<(), Failed> {
    let status = Command::new(std::env::current_exe()?)
        .args(["control_files", "clone-here", folder, "-"])
        .status()?;
    match status.signal() {
        Some(signal) => Err(io::Error::other(format!("ended by signal {signal}")).into()),
        None if status.success() => Ok(()),
        None => Err(io::Error::other(status.to_string()).into()),
    }
}

/// A child in the cgroup `folder`, which ends at once.
#[expect(unsafe_code, reason = "no library makes this system call")]
pub(super) fn here(folder: &str) -> Result<(), Failed> {
    let folder = File::open(folder)?;
    let args = CloneArgs {
        flags: INTO_CGROUP,
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        cgroup: folder.as_raw_fd().unsigned_abs().into(),
        ..CloneArgs::default()
    };
    // SAFETY: the arguments are alive and only read; with a stack of null the child
    // goes on as after a fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    if Errno::result(pid)? == 0 {
        // SAFETY: ends the child, which has touched nothing.
        unsafe { libc::_exit(0) };
    }
    let child = nix::unistd::Pid::from_raw(i32::try_from(pid).map_err(io::Error::other)?);
    nix::sys::wait::waitpid(child, None)?;
    Ok(())
}
