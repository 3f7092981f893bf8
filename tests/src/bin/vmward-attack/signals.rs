//! Signals by system calls that the shell's `kill` does not make.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;

use super::{Failed, number, usage};

/// `SI_QUEUE`
const SI_QUEUE: i32 = -1;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    let first = number(args, 1)?;
    let second = number(args, 2)?;
    match args {
        ["kill", ..] => syscall(libc::SYS_kill, [first, second, 0, 0]),
        ["tkill", ..] => syscall(libc::SYS_tkill, [first, second, 0, 0]),
        ["tgkill", ..] => syscall(libc::SYS_tgkill, [first, second, number(args, 3)?, 0]),
        ["sigqueue", ..] => {
            let info = siginfo(second);
            let at = (&raw const info) as i64;
            syscall(libc::SYS_rt_sigqueueinfo, [first, second, at, 0])
        }
        ["tgsigqueue", ..] => {
            let signal = number(args, 3)?;
            let info = siginfo(signal);
            let at = (&raw const info) as i64;
            syscall(libc::SYS_rt_tgsigqueueinfo, [first, second, signal, at])
        }
        ["pidfd", ..] => pidfd(first, second),
        ["group", ..] => syscall(
            libc::SYS_kill,
            [group_of(first)?.wrapping_neg(), second, 0, 0],
        ),
        ["everything", ..] => {
            become_owner(first)?;
            syscall(libc::SYS_kill, [-1, second, 0, 0])
        }
        ["own-user", ..] => {
            become_owner(first)?;
            syscall(libc::SYS_kill, [first, second, 0, 0])
        }
        _ => usage(
            "signals: kill|sigqueue|pidfd|group|everything|own-user PID SIGNAL | \
             tkill TID SIGNAL | tgkill|tgsigqueue PID TID SIGNAL",
        ),
    }
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn syscall(call: libc::c_long, args: [i64; 4]) -> Result<(), Failed> {
    // SAFETY: the calls made here take integers, or the address of a live
    // siginfo of the caller's.
    let result = unsafe { libc::syscall(call, args[0], args[1], args[2], args[3]) };
    Ok(Errno::result(result).map(drop)?)
}

/// As `sigqueue` fills it.
#[expect(unsafe_code, reason = "a structure of the library's")]
fn siginfo(signal: i64) -> libc::siginfo_t {
    // SAFETY: integers and pointers only, and 0 is one.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    info.si_signo = i32::try_from(signal).unwrap_or(0);
    info.si_code = SI_QUEUE;
    info
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn pidfd(pid: i64, signal: i64) -> Result<(), Failed> {
    // SAFETY: takes integers only.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    syscall(libc::SYS_pidfd_send_signal, [fd, signal, 0, 0])
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn group_of(pid: i64) -> Result<i64, Failed> {
    // SAFETY: takes an integer only.
    Ok(Errno::result(unsafe {
        libc::syscall(libc::SYS_getpgid, pid)
    })?)
}

/// Goes on as the user that the process is.
fn become_owner(pid: i64) -> Result<(), Failed> {
    let uid = fs::metadata(format!("/proc/{pid}"))?.uid();
    if uid == 0 {
        return usage("the VM runs as root: everything of root's is more than the VM");
    }
    Ok(nix::unistd::setuid(uid.into())?)
}
