//! Signals by system calls that the shell's `kill` does not make.

use nix::errno::Errno;

use super::{Failed, number, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // PID TID SIGNAL
        ["tgkill", rest @ ..] => tgkill(number(rest, 0)?, number(rest, 1)?, number(rest, 2)?),
        _ => usage("signals: tgkill PID TID SIGNAL"),
    }
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn tgkill(pid: i32, tid: i32, signal: i32) -> Result<(), Failed> {
    // SAFETY: takes integers only.
    let result = unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) };
    Ok(Errno::result(result).map(drop)?)
}
