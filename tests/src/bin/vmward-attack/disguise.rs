//! SIGKILL by threads and system calls that hide who calls.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Failed, number, usage};

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        ["thread-exec", rest @ ..] => thread_exec(number(rest, 0)?),
        ["thread-kill", rest @ ..] => thread_kill(number(rest, 0)?),
        ["int80", rest @ ..] => int80(number(rest, 0)?),
        // PID COUNT
        ["flood", rest @ ..] => flood(number(rest, 0)?, number(rest, 1)?),
        _ => usage("disguise: thread-exec|thread-kill|int80 PID, flood PID COUNT"),
    }
}

/// A thread that is not the process's first takes its place.
fn thread_exec(pid: i32) -> Result<(), Failed> {
    let other = thread::spawn(move || {
        let pid = pid.to_string();
        Command::new("/bin/kill").args(["-9", &pid]).exec()
    });
    match other.join() {
        Ok(error) => Err(error.into()),
        Err(_panic) => usage("the thread panicked"),
    }
}

fn thread_kill(pid: i32) -> Result<(), Failed> {
    let other = thread::spawn(move || kill(Pid::from_raw(pid), Signal::SIGKILL));
    match other.join() {
        Ok(result) => Ok(result?),
        Err(_panic) => usage("the thread panicked"),
    }
}

/// kill(2) through the entry for 32-bit programs.
#[expect(unsafe_code, reason = "no wrapper enters the kernel this way")]
fn int80(pid: i32) -> Result<(), Failed> {
    const KILL: i64 = 37;
    let result: i64;
    // SAFETY: the call takes integers only; rbx, which the compiler keeps to
    // itself, is put back.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {pid}",
            "int 0x80",
            "xchg rbx, {pid}",
            pid = inout(reg) i64::from(pid) => _,
            inlateout("rax") KILL => result,
            in("rcx") 9_i64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    // A 32-bit result in a 64-bit register.
    let code = i32::try_from(result & 0xffff_ffff)
        .unwrap_or_else(|_| i32::try_from(result | !0xffff_ffff).unwrap_or(-1));
    if code < 0 {
        return Err(Errno::from_raw(-code).into());
    }
    Ok(())
}

/// So many attempts, each of which must be refused; fails with the refusal.
fn flood(pid: i32, count: u64) -> Result<(), Failed> {
    let vm = Pid::from_raw(pid);
    for _ in 0..count {
        if kill(vm, Signal::SIGKILL) != Err(Errno::EPERM) {
            return Ok(());
        }
    }
    Err(Errno::EPERM.into())
}
