//! Starving the canary's threads.

use nix::errno::Errno;

use super::process::Canary;
use super::{Findings, syscall};
use crate::kernel::{Kernel, KernelError};

/// `IOPRIO_WHO_PROCESS`
const WHO_PROCESS: libc::c_long = 1;
/// `IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0)`
const IO_IDLE: libc::c_long = 3 << 13;
/// The lowest.
const NICE: libc::c_long = 19;

/// See the module's text.
#[expect(clippy::unnecessary_wraps, reason = "families have one signature")]
pub(super) fn attack(
    _kernel: &mut Kernel,
    canary: &mut Canary,
    findings: &mut Findings,
) -> Result<(), KernelError> {
    let (pid, thread) = (canary.process.pid, canary.thread);
    findings.refused("sched_setscheduler", set_policy(thread));
    findings.refused("sched_setaffinity", pin(thread));
    let nice = [
        libc::c_long::from(libc::PRIO_PROCESS),
        thread.into(),
        NICE,
        0,
    ];
    findings.refused(
        "setpriority",
        syscall(libc::SYS_setpriority, nice).map(drop),
    );
    let idle = [WHO_PROCESS, thread.into(), IO_IDLE, 0];
    findings.refused("ioprio_set", syscall(libc::SYS_ioprio_set, idle).map(drop));
    findings.refused("move_pages", move_memory(pid));
    Ok(())
}

#[expect(unsafe_code, reason = "raw system calls")]
fn set_policy(thread: u32) -> Result<(), Errno> {
    let plain = libc::sched_param { sched_priority: 0 };
    let thread = i32::try_from(thread).unwrap_or(-1);
    // SAFETY: the parameter is a whole sched_param.
    let set = unsafe { libc::sched_setscheduler(thread, libc::SCHED_IDLE, &raw const plain) };
    Errno::result(set).map(drop)
}

#[expect(unsafe_code, reason = "raw system calls")]
fn pin(thread: u32) -> Result<(), Errno> {
    let first = 1_u64;
    let thread = i32::try_from(thread).unwrap_or(-1);
    // SAFETY: the kernel reads no more than the eight bytes of the mask.
    let set = unsafe {
        libc::syscall(
            libc::SYS_sched_setaffinity,
            thread,
            size_of_val(&first),
            &raw const first,
        )
    };
    Errno::result(set).map(drop)
}

/// Of nothing: the kernel asks for leave all the same.
#[expect(unsafe_code, reason = "raw system calls")]
fn move_memory(pid: u32) -> Result<(), Errno> {
    let (none, flags) = (0_usize, 0_usize);
    // SAFETY: no page is named, so neither of the three arrays is read.
    let moved = unsafe { libc::syscall(libc::SYS_move_pages, pid, none, none, none, none, flags) };
    Errno::result(moved).map(drop)
}
