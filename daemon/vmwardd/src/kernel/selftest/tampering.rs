//! Reaching into the canary: ptrace, its memory, its descriptors, its limits.

use std::fs::OpenOptions;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr::null_mut;

use nix::errno::Errno;

use super::process::Canary;
use super::{Findings, syscall};
use crate::kernel::{Kernel, KernelError};

/// See the module's text.
#[expect(clippy::unnecessary_wraps, reason = "families have one signature")]
pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let pid = canary.process.pid;
    findings.refused("ptrace seize", seize(pid));
    findings.refused("ptrace seize of a thread", seize(canary.thread));
    findings.refused("process_vm_writev", write_nothing(pid));
    findings.refused("pidfd_getfd", steal(pid));
    findings.refused("opening its memory", open(pid, "mem", true));
    findings.allowed("reading its environment", open(pid, "environ", false));
    limits(pid, findings);
    Ok(())
}

fn seize(pid: u32) -> Result<(), Errno> {
    let seize = i64::from(libc::PTRACE_SEIZE);
    syscall(libc::SYS_ptrace, [seize, pid.into(), 0, 0]).map(drop)
}

/// The kernel asks for leave before it looks at what is to be written.
#[expect(unsafe_code, reason = "a raw system call")]
fn write_nothing(pid: u32) -> Result<(), Errno> {
    let mut byte = 0_u8;
    let part = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let pid = i32::try_from(pid).unwrap_or(-1);
    // SAFETY: the parts describe a byte of ours; the other process's is only an
    // address.
    let written =
        unsafe { libc::process_vm_writev(pid, &raw const part, 1, &raw const part, 1, 0) };
    Errno::result(written).map(drop)
}

#[expect(unsafe_code, reason = "taking ownership of new descriptors")]
fn steal(pid: u32) -> Result<(), Errno> {
    let fd = syscall(libc::SYS_pidfd_open, [pid.into(), 0, 0, 0])?;
    // SAFETY: pidfd_open just gave it, and nobody else has it.
    let _open = unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) };
    let stolen = syscall(libc::SYS_pidfd_getfd, [fd, 0, 0, 0])?;
    // SAFETY: as above.
    drop(unsafe { OwnedFd::from_raw_fd(i32::try_from(stolen).unwrap_or(-1)) });
    Ok(())
}

fn open(pid: u32, file: &str, write: bool) -> Result<(), Errno> {
    let opened = OpenOptions::new()
        .read(true)
        .write(write)
        .open(format!("/proc/{pid}/{file}"));
    let errno = |e: std::io::Error| match e.raw_os_error() {
        // What /proc makes of the refusal.
        Some(libc::EACCES) => Errno::EPERM,
        other => Errno::from_raw(other.unwrap_or(0)),
    };
    opened.map(drop).map_err(errno)
}

fn limits(pid: u32, findings: &mut Findings) {
    let mut now = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    findings.allowed("reading its limits", limit(pid, None, Some(&mut now)));
    let lower = libc::rlimit {
        rlim_cur: now.rlim_cur.saturating_sub(1),
        ..now
    };
    findings.refused("lowering its limits", limit(pid, Some(&lower), None));
    findings.allowed("leaving its limits", limit(pid, Some(&now), None));
}

#[expect(unsafe_code, reason = "a raw system call")]
fn limit(
    pid: u32,
    new: Option<&libc::rlimit>,
    old: Option<&mut libc::rlimit>,
) -> Result<(), Errno> {
    let pid = i32::try_from(pid).unwrap_or(-1);
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    let old = old.map_or(null_mut(), std::ptr::from_mut);
    // SAFETY: both are null or point to a whole rlimit.
    Errno::result(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, new, old) }).map(drop)
}
