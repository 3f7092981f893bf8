//! Loading programs, and what makes the kernel run them. What is returned keeps
//! them attached.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

use super::Failed;
use crate::{own, perf};

const BPF_MAP_CREATE: libc::c_long = 0;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_long = 17;
const BPF_LINK_CREATE: libc::c_long = 28;
/// `union bpf_attr` for loading, in words, up to the type to attach to.
const LOAD_LEN: usize = 15;

/// `struct perf_event_attr`, in words, up to the second parameter of a probe.
const PERF_LEN: usize = 9;
/// Not of one thread.
const EVERYBODY: i32 = -1;
const PERF_SOFTWARE: u64 = 1;
const PERF_TRACEPOINT: u64 = 2;
/// Nanoseconds of processor time.
const SAMPLE_PERIOD: u64 = 250_000;
const PERF_SET_BPF: libc::c_ulong = 0x4004_2408;
const KPROBE_TYPE: &str = "/sys/bus/event_source/devices/kprobe/type";
const UPROBE_TYPE: &str = "/sys/bus/event_source/devices/uprobe/type";
/// A place in a file that is a program.
const BEYOND_HEADERS: u64 = 64;
/// More than the head of a frame.
const PACKET_LEN: usize = 64;
const EVENTS: &str = "/sys/kernel/tracing/events";

/// On every system call.
pub(super) fn raw_tracepoint(kind: u32, program: &[u64]) -> Result<Vec<OwnedFd>, Failed> {
    let program = load(kind, 0, 0, program)?;
    let name = c"sys_enter";
    let link = open_tracepoint(name.as_ptr() as u64, &program)?;
    Ok(vec![program, link])
}

/// On nothing: the kernel runs it for a packet that it is given.
pub(super) fn once_on_a_packet(kind: u32, program: &[u64]) -> Result<Vec<OwnedFd>, Failed> {
    let program = load(kind, 0, 0, program)?;
    let packet = [0_u8; PACKET_LEN];
    // Program and result, lengths in and out, bytes in and out.
    let lengths = PACKET_LEN as u64;
    let attr = [descriptor(&program), lengths, packet.as_ptr() as u64, 0];
    let ran = raw_bpf(BPF_PROG_TEST_RUN, &attr);
    Errno::result(ran)?;
    Ok(vec![program])
}

/// On what the kernel's type `target` is.
pub(super) fn by_type(
    kind: u32,
    attach: u32,
    target: u32,
    program: &[u64],
) -> Result<Vec<OwnedFd>, Failed> {
    let program = load(kind, attach, target, program)?;
    let link = open_tracepoint(0, &program)?;
    Ok(vec![program, link])
}

/// On an event of `tracefs`.
pub(super) fn tracepoint(kind: u32, event: &str, program: &[u64]) -> Result<Vec<OwnedFd>, Failed> {
    let program = load(kind, 0, 0, program)?;
    let number = read_number(&format!("{EVENTS}/{event}/id"))?;
    let mut attr = [0; PERF_LEN];
    attr[0] = PERF_TRACEPOINT;
    attr[1] = number;
    run_by(attr, 0, program)
}

/// At the beginning of a function.
pub(super) fn kprobe(kind: u32, function: &str, program: &[u64]) -> Result<Vec<OwnedFd>, Failed> {
    let program = load(kind, 0, 0, program)?;
    let function = CString::new(function).map_err(io::Error::other)?;
    let mut attr = [0; PERF_LEN];
    attr[0] = read_number(KPROBE_TYPE)?;
    attr[7] = function.as_ptr() as u64;
    run_by(attr, 0, program)
}

/// Where a file's code is run: the kernel writes a breakpoint there.
pub(super) fn uprobe(path: &str) -> Result<OwnedFd, Failed> {
    let path = CString::new(path).map_err(io::Error::other)?;
    let mut attr = [0; PERF_LEN];
    attr[0] = read_number(UPROBE_TYPE)?;
    attr[7] = path.as_ptr() as u64;
    attr[8] = BEYOND_HEADERS;
    perf::open(attr, EVERYBODY, 0)
}

/// The same by a program of the kind that brings such places along (since 6.6).
pub(super) fn uprobe_multi(
    kind: u32,
    attach: u32,
    path: &str,
    program: &[u64],
) -> Result<Vec<OwnedFd>, Failed> {
    let path = CString::new(path).map_err(io::Error::other)?;
    let program = load(kind, attach, 0, program)?;
    let (places, everybody) = ([BEYOND_HEADERS], 0);
    let (of_path, of_places) = (path.as_ptr() as u64, places.as_ptr() as u64);
    let what = [descriptor(&program), u64::from(attach)];
    let where_to = [of_path, of_places, 0, 0, places.len() as u64, everybody];
    let link = bpf(BPF_LINK_CREATE, &[&what[..], &where_to].concat())?;
    Ok(vec![program, link])
}

/// Every so often, on each processor.
pub(super) fn clock(kind: u32, program: &[u64]) -> Result<Vec<OwnedFd>, Failed> {
    let mut attr = [0; PERF_LEN];
    attr[0] = PERF_SOFTWARE;
    attr[2] = SAMPLE_PERIOD;
    let mut all = Vec::new();
    let processors = std::thread::available_parallelism()?.get();
    for processor in 0..processors {
        let program = load(kind, 0, 0, program)?;
        let processor = processor.try_into().map_err(io::Error::other)?;
        all.extend(run_by(attr, processor, program)?);
    }
    Ok(all)
}

fn read_number(path: &str) -> io::Result<u64> {
    let text = std::fs::read_to_string(path)?;
    text.trim().parse().map_err(io::Error::other)
}

/// A program that is on nothing yet.
pub(super) fn load(
    kind: u32,
    attach: u32,
    target: u32,
    program: &[u64],
) -> Result<OwnedFd, Failed> {
    let mut load = [0_u64; LOAD_LEN];
    load[0] = u64::from(kind) | (program.len() as u64) << 32;
    load[1] = program.as_ptr() as u64;
    load[2] = c"GPL".as_ptr() as u64;
    load[8] = u64::from(attach) << 32;
    load[13] = u64::from(target) << 32;
    bpf(BPF_PROG_LOAD, &load)
}

/// A map with one place, its keys and values of four bytes.
pub(super) fn map(kind: u32) -> Result<OwnedFd, Failed> {
    let (key, value, places) = (4, 4, 1);
    bpf(
        BPF_MAP_CREATE,
        &[u64::from(kind) | key << 32, value | places << 32],
    )
}

fn open_tracepoint(name: u64, program: &OwnedFd) -> Result<OwnedFd, Failed> {
    bpf(BPF_RAW_TRACEPOINT_OPEN, &[name, descriptor(program)])
}

fn descriptor(program: &OwnedFd) -> u64 {
    program.as_raw_fd().cast_unsigned().into()
}

fn bpf(command: libc::c_long, attr: &[u64]) -> Result<OwnedFd, Failed> {
    let fd = raw_bpf(command, attr);
    Ok(own(Errno::result(fd)?)?)
}

#[expect(unsafe_code, reason = "a raw system call")]
fn raw_bpf(command: libc::c_long, attr: &[u64]) -> libc::c_long {
    // SAFETY: the attribute and what it points to are alive, only read but for a result
    // in it.
    unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) }
}

/// For every process, on one processor: the program runs on all of them where
/// the event is a place in the kernel.
#[expect(unsafe_code, reason = "a raw system call")]
fn run_by(attr: [u64; PERF_LEN], processor: i32, program: OwnedFd) -> Result<Vec<OwnedFd>, Failed> {
    let event = perf::open(attr, EVERYBODY, processor)?;
    // SAFETY: takes a descriptor.
    let done = unsafe { libc::ioctl(event.as_raw_fd(), PERF_SET_BPF, program.as_raw_fd()) };
    Errno::result(done)?;
    Ok(vec![program, event])
}
