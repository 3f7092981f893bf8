//! BPF programs that reach for a process: a signal from within, or something
//! written over its stack.

mod attach;
mod types;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use vmward_tests::guest::lives;

use super::{Failed, usage};

/// How long a program gets to end its victim.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kernel's numbers of helpers.
const WRITE_USER: i32 = 36;
const SEND_SIGNAL: i32 = 109;
const READ_KERNEL: i32 = 113;
const SEND_SIGNAL_THREAD: i32 = 117;
/// Where x86-64 keeps the stack pointer of a system call's caller.
const REGS_SP: i32 = 152;
/// How much of the victim's stack is written over: a return address is in it.
const JUNK_LEN: i16 = 256;
/// More instructions than anybody looks through.
const LONG: usize = 1100;
/// The function that every QEMU calls while it waits.
const OFTEN_CALLED: &str = "__x64_sys_ppoll";

/// Kinds of programs.
const KPROBE: u32 = 2;
const SCHED_CLS: u32 = 3;
const TRACEPOINT: u32 = 5;
const PERF_EVENT: u32 = 7;
const RAW_TRACEPOINT: u32 = 17;
const RAW_TRACEPOINT_WRITABLE: u32 = 24;
const TRACING: u32 = 26;
const STRUCT_OPS: u32 = 27;
const LSM: u32 = 29;
/// Kinds of attachments, where the program's own kind does not tell.
const RAW_TP: u32 = 23;
const FENTRY: u32 = 24;
const MODIFY_RETURN: u32 = 26;
const LSM_MAC: u32 = 27;
const ITERATOR: u32 = 28;
const UPROBE_MULTI: u32 = 48;
/// A kind of map.
const SOCKMAP: u32 = 15;

/// `r0 = 0; exit`
const NOTHING: [u64; 2] = [0xb7, 0x95];

/// Loads a program, has it run, and waits for the end of the process `pid`.
pub(crate) fn run(what: &str, pid: i32) -> Result<(), Failed> {
    let signal = signal(pid, SEND_SIGNAL);
    let _attached: Vec<OwnedFd> = match what {
        "bpf-send-signal" => attach::raw_tracepoint(RAW_TRACEPOINT, &signal)?,
        "bpf-send-signal-thread" => {
            let program = self::signal(pid, SEND_SIGNAL_THREAD);
            attach::raw_tracepoint(RAW_TRACEPOINT, &program)?
        }
        "bpf-writable" => attach::raw_tracepoint(RAW_TRACEPOINT_WRITABLE, &signal)?,
        "bpf-long" => attach::raw_tracepoint(RAW_TRACEPOINT, &long(&signal))?,
        "bpf-network" => attach::once_on_a_packet(SCHED_CLS, &by_function(pid)?)?,
        "bpf-network-long" => attach::once_on_a_packet(SCHED_CLS, &long(&by_function(pid)?))?,
        "bpf-subprogram" => attach::raw_tracepoint(RAW_TRACEPOINT, &subprogram(&signal))?,
        "bpf-write-user" => attach::raw_tracepoint(RAW_TRACEPOINT, &write_user(pid))?,
        "bpf-tracepoint" => attach::tracepoint(TRACEPOINT, "raw_syscalls/sys_enter", &signal)?,
        "bpf-kprobe" => attach::kprobe(KPROBE, OFTEN_CALLED, &signal)?,
        "bpf-perf-event" => attach::clock(PERF_EVENT, &signal)?,
        "bpf-fentry" => {
            let target = types::find(types::FUNCTION, OFTEN_CALLED)?;
            attach::by_type(TRACING, FENTRY, target, &signal)?
        }
        "bpf-typed-tracepoint" => {
            let target = types::find(types::TYPEDEF, "btf_trace_sys_enter")?;
            attach::by_type(TRACING, RAW_TP, target, &signal)?
        }
        "bpf-lsm" => {
            let target = types::find(types::FUNCTION, "bpf_lsm_file_permission")?;
            attach::by_type(LSM, LSM_MAC, target, &signal)?
        }
        _ => {
            return usage(
                "host: bpf-send-signal | bpf-send-signal-thread | bpf-writable | bpf-long | \
                 bpf-network | bpf-network-long | bpf-subprogram | bpf-write-user | bpf-tracepoint | bpf-kprobe | \
                 bpf-perf-event | bpf-fentry | bpf-typed-tracepoint | bpf-lsm PID",
            );
        }
    };
    wait_gone(pid)
}

/// A program that says no in the place of the kernel: QEMU's next ioctl fails.
pub(crate) fn refuses() -> Result<(), Failed> {
    let target = types::find(types::FUNCTION, "bpf_lsm_file_ioctl")?;
    attach::by_type(LSM, LSM_MAC, target, &NOTHING).map(drop)
}

/// One that answers in the place of what guards maps.
pub(crate) fn modifies_return() -> Result<(), Failed> {
    let target = types::find(types::FUNCTION, "security_bpf_map")?;
    attach::by_type(TRACING, MODIFY_RETURN, target, &NOTHING).map(drop)
}

/// A part of a scheduler: the first of its functions, which chooses a processor.
pub(crate) fn scheduler() -> Result<(), Failed> {
    const FIRST: u32 = 0;
    let target = types::find(types::STRUCT, "sched_ext_ops")?;
    attach::load(STRUCT_OPS, FIRST, target, &NOTHING).map(drop)
}

/// A program that comes across every Unix socket, with a map to put them into.
pub(crate) fn takes_sockets() -> Result<(), Failed> {
    let target = types::find(types::FUNCTION, "bpf_iter_unix")?;
    let map = attach::map(SOCKMAP)?;
    // Merely naming the map makes it the program's: `r1 = map; r0 = 0; exit`
    let named = insn(0x18, 1, 1, 0, map.as_raw_fd());
    let program = [&[named, 0], &NOTHING[..]].concat();
    attach::load(TRACING, ITERATOR, target, &program).map(drop)
}

/// A breakpoint in a file.
pub(crate) fn breakpoint(path: &str) -> Result<(), Failed> {
    attach::uprobe(path).map(drop)
}

/// Breakpoints that a program brings along.
pub(crate) fn breakpoints(path: &str) -> Result<(), Failed> {
    attach::uprobe_multi(KPROBE, UPROBE_MULTI, path, &NOTHING).map(drop)
}

/// One BPF instruction.
fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    u64::from(code)
        | u64::from(dst) << 8
        | u64::from(src) << 12
        | u64::from(off.cast_unsigned()) << 16
        | u64::from(imm.cast_unsigned()) << 32
}

fn call(helper: i32) -> u64 {
    insn(0x85, 0, 0, 0, helper)
}

/// `to = from + more`
fn add(to: u8, from: u8, more: i32) -> [u64; 2] {
    [insn(0xbf, to, from, 0, 0), insn(0x07, to, 0, 0, more)]
}

fn set(register: u8, value: i32) -> u64 {
    insn(0xb7, register, 0, 0, value)
}

/// Does `deed` where the running process is `pid`, and ends.
fn where_it_runs(pid: i32, deed: &[u64]) -> Vec<u64> {
    let past = i16::try_from(deed.len()).unwrap_or(0);
    // bpf_get_current_pid_tgid: the upper half is the process.
    let mut program = vec![
        call(14),
        insn(0x77, 0, 0, 0, 32),
        insn(0x55, 0, 0, past, pid),
    ];
    program.extend(deed);
    program.extend([set(0, 0), insn(0x95, 0, 0, 0, 0)]);
    program
}

/// SIGKILL from within.
fn signal(pid: i32, helper: i32) -> Vec<u64> {
    where_it_runs(pid, &[set(1, libc::SIGKILL), call(helper)])
}

/// SIGKILL by functions of the kernel, which programs about packets may call, too
/// (since 6.13): wherever it runs.
fn by_function(pid: i32) -> Result<Vec<u64>, Failed> {
    let function = |name| {
        let number = types::find(types::FUNCTION, name)?;
        Ok::<_, Failed>(insn(0x85, 0, 2, 0, number.cast_signed()))
    };
    let copy = |to, from| insn(0xbf, to, from, 0, 0);
    // The whole process, and no value that comes along.
    let (whole, none) = (1, 0);
    Ok(vec![
        set(1, pid),
        function("bpf_task_from_pid")?,
        insn(0x55, 0, 0, 2, 0),
        set(0, 0),
        insn(0x95, 0, 0, 0, 0),
        copy(6, 0),
        copy(1, 6),
        set(2, libc::SIGKILL),
        set(3, whole),
        set(4, none),
        function("bpf_send_signal_task")?,
        copy(1, 6),
        function("bpf_task_release")?,
        set(0, 0),
        insn(0x95, 0, 0, 0, 0),
    ])
}

/// Junk over the stack of whoever makes a system call.
fn write_user(pid: i32) -> Vec<u64> {
    let mut deed = vec![insn(0x79, 3, 6, 0, 0), insn(0x07, 3, 0, 0, REGS_SP)];
    deed.extend(add(1, 10, -8));
    deed.extend([set(2, 8), call(READ_KERNEL)]);
    // Nothing is mapped at this number.
    let junk = (1..=JUNK_LEN / 8).map(|word| insn(0x7a, 10, 0, -8 - 8 * word, 0x4141_4141));
    deed.extend(junk);
    deed.push(insn(0x79, 1, 10, -8, 0));
    deed.extend(add(2, 10, -8 - i32::from(JUNK_LEN)));
    deed.extend([set(3, JUNK_LEN.into()), call(WRITE_USER)]);
    let mut program = vec![insn(0xbf, 6, 1, 0, 0)];
    program.extend(where_it_runs(pid, &deed));
    program
}

fn long(program: &[u64]) -> Vec<u64> {
    let mut all = vec![set(0, 0); LONG];
    all.extend(program);
    all
}

/// The same in a function that the program calls.
fn subprogram(program: &[u64]) -> Vec<u64> {
    let mut all = vec![insn(0x85, 0, 1, 0, 1), insn(0x95, 0, 0, 0, 0)];
    all.extend(program);
    all
}

fn wait_gone(pid: i32) -> Result<(), Failed> {
    let begun = Instant::now();
    while lives(pid) {
        if begun.elapsed() > PATIENCE {
            return Err(io::Error::other("the victim lives on").into());
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    Ok(())
}
