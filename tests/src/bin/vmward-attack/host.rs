//! The host's end, and other people's BPF programs.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Failed, number, usage};

/// How long a program gets to end its victim.
const PATIENCE: Duration = Duration::from_secs(10);
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const RAW_TRACEPOINT: u32 = 17;
const SEND_SIGNAL: i32 = 109;
const SEND_SIGNAL_THREAD: i32 = 117;

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // Wrong magic numbers: where it is not refused, it fails as invalid and
        // the host goes on.
        ["reboot"] => raw(libc::SYS_reboot, &[0; 5]).map(drop),
        ["kexec-load"] => raw(libc::SYS_kexec_load, &[0, 0, 0, -1, 0]).map(drop),
        ["kexec-file-load"] => raw(libc::SYS_kexec_file_load, &[-1, -1, 0, 0, -1]).map(drop),
        ["bpf-send-signal", rest @ ..] => send_signal(number(rest, 0)?, SEND_SIGNAL),
        ["bpf-send-signal-thread", rest @ ..] => send_signal(number(rest, 0)?, SEND_SIGNAL_THREAD),
        _ => usage(
            "host: reboot | kexec-load | kexec-file-load | bpf-send-signal PID | \
             bpf-send-signal-thread PID",
        ),
    }
}

#[expect(unsafe_code, reason = "a raw system call")]
fn raw(number: libc::c_long, args: &[libc::c_long; 5]) -> Result<libc::c_long, Failed> {
    let [first, second, third, fourth, fifth] = *args;
    // SAFETY: the callers' pointers are alive; the rest is numbers.
    let result = unsafe { libc::syscall(number, first, second, third, fourth, fifth) };
    Ok(Errno::result(result)?)
}

/// One BPF instruction.
fn insn(code: u8, dst: u8, off: i16, imm: i32) -> u64 {
    u64::from(code)
        | u64::from(dst) << 8
        | u64::from(off.cast_unsigned()) << 16
        | u64::from(imm.cast_unsigned()) << 32
}

/// A program on every system call that kills the process `pid` from within.
fn send_signal(pid: i32, helper: i32) -> Result<(), Failed> {
    let program = [
        insn(0x85, 0, 0, 14),            // call bpf_get_current_pid_tgid
        insn(0x77, 0, 0, 32),            // r0 >>= 32
        insn(0x55, 0, 2, pid),           // if r0 != pid goto +2
        insn(0xb7, 1, 0, libc::SIGKILL), // r1 = SIGKILL
        insn(0x85, 0, 0, helper),        // call
        insn(0xb7, 0, 0, 0),             // r0 = 0
        insn(0x95, 0, 0, 0),             // exit
    ];
    let license = c"GPL";
    let mut load = [0_u64; 6];
    load[0] = u64::from(RAW_TRACEPOINT) | (program.len() as u64) << 32;
    load[1] = program.as_ptr() as u64;
    load[2] = license.as_ptr() as u64;
    let program = bpf(BPF_PROG_LOAD, &load)?;
    let name = c"sys_enter";
    let descriptor = u64::from(program.as_raw_fd().cast_unsigned());
    let _attached = bpf(
        BPF_RAW_TRACEPOINT_OPEN,
        &[name.as_ptr() as u64, descriptor, 0, 0, 0, 0],
    )?;
    let begun = Instant::now();
    while is_alive(pid) {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other("the victim lives on").into());
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}

#[expect(unsafe_code, reason = "taking ownership of a new descriptor")]
fn bpf(command: libc::c_long, attr: &[u64; 6]) -> Result<OwnedFd, Failed> {
    let size = size_of_val(attr).try_into().map_err(io::Error::other)?;
    let fd = raw(
        libc::SYS_bpf,
        &[command, attr.as_ptr() as libc::c_long, size, 0, 0],
    )?;
    let fd = fd.try_into().map_err(io::Error::other)?;
    // SAFETY: the kernel just gave it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A zombie is not alive any more.
fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
