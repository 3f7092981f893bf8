//! Starving a thread by the scheduler.

use nix::errno::Errno;

use super::{Failed, number, perf, usage};

/// `SCHED_FLAG_KEEP_ALL | SCHED_FLAG_UTIL_CLAMP_MAX`
const CLAMP_MAX: u64 = 0x08 | 0x10 | 0x40;

/// `struct sched_attr`, the size that has clamps.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
    util_min: u32,
    util_max: u32,
}

pub(crate) fn run(args: &[&str]) -> Result<(), Failed> {
    match args {
        // A microsecond every four seconds.
        ["deadline", rest @ ..] => set(
            number(rest, 0)?,
            &SchedAttr {
                policy: 6,
                runtime: 1024,
                deadline: 4_000_000_000,
                period: 4_000_000_000,
                ..SchedAttr::default()
            },
        ),
        ["clamp", rest @ ..] => set(
            number(rest, 0)?,
            &SchedAttr {
                flags: CLAMP_MAX,
                ..SchedAttr::default()
            },
        ),
        ["nice", "process", rest @ ..] => nice(libc::PRIO_PROCESS, number(rest, 0)?),
        ["nice", "group", rest @ ..] => nice(libc::PRIO_PGRP, group_of(number(rest, 0)?)?),
        // Niceness by the call for policies.
        ["setattr-nice", rest @ ..] => set(
            number(rest, 0)?,
            &SchedAttr {
                nice: 19,
                ..SchedAttr::default()
            },
        ),
        ["move-pages", rest @ ..] => move_pages(number(rest, 0)?),
        ["migrate-pages", rest @ ..] => migrate_pages(number(rest, 0)?),
        ["page-out", rest @ ..] => page_out(number(rest, 0)?),
        ["perf-events", "sampling", rest @ ..] => crowd(rest, 10_000),
        ["perf-events", "counting", rest @ ..] => crowd(rest, 0),
        _ => usage(
            "sched: deadline|clamp|setattr-nice TID | nice process|group PID | \
             move-pages|migrate-pages|page-out PID | perf-events sampling|counting TID COUNT",
        ),
    }
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn set(tid: i32, attr: &SchedAttr) -> Result<(), Failed> {
    let attr = SchedAttr {
        size: u32::try_from(size_of::<SchedAttr>()).unwrap_or(0),
        ..*attr
    };
    // SAFETY: the structure says its own size.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, tid, &raw const attr, 0_u32) };
    Ok(Errno::result(done).map(drop)?)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn nice(which: libc::__priority_which_t, who: u32) -> Result<(), Failed> {
    // SAFETY: takes integers only.
    let done = unsafe { libc::setpriority(which, who, 19) };
    Ok(Errno::result(done).map(drop)?)
}

#[expect(unsafe_code, reason = "no safe wrapper")]
fn group_of(pid: i32) -> Result<u32, Failed> {
    // SAFETY: takes an integer only.
    let group = Errno::result(unsafe { libc::getpgid(pid) })?;
    u32::try_from(group).or_else(|_| usage("no such process"))
}

/// Of no page: the kernel asks for leave all the same.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn move_pages(pid: i32) -> Result<(), Failed> {
    let none = 0_usize;
    // SAFETY: no page is named, so none of the arrays is read.
    let done = unsafe { libc::syscall(libc::SYS_move_pages, pid, none, none, none, none, none) };
    Ok(Errno::result(done).map(drop)?)
}

/// Pushes the first part of its memory out to disk, as far as there is a place.
#[expect(unsafe_code, reason = "raw system calls")]
fn page_out(pid: i32) -> Result<(), Failed> {
    const PAGE_OUT: i32 = 21;
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let part = maps.split_whitespace().next().and_then(|range| {
        let (from, to) = range.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some((number(from)?, number(to)?))
    });
    let (from, to) = part.ok_or_else(|| std::io::Error::other("it has no memory"))?;
    // SAFETY: takes integers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = Errno::result(fd)?;
    let part = libc::iovec {
        iov_base: from as *mut libc::c_void,
        iov_len: to - from,
    };
    let call = libc::SYS_process_madvise;
    // SAFETY: the part is alive and only read; what it names is not ours.
    let done = unsafe { libc::syscall(call, fd, &raw const part, 1_usize, PAGE_OUT, 0_u32) };
    Ok(Errno::result(done).map(drop)?)
}

/// Opens so many perf events on a thread, each of which has the processor's clock
/// interrupt it after so many nanoseconds, or only counts them; lets all of them go.
fn crowd(args: &[&str], period_ns: u64) -> Result<(), Failed> {
    let (tid, count): (i32, i32) = (number(args, 0)?, number(args, 1)?);
    // type software, config cpu-clock, the period.
    let mut attr = [0_u64; 16];
    attr[0] = 1;
    attr[2] = period_ns;
    let mut open = Vec::new();
    for _ in 0..count {
        let event = perf::open(attr, tid, -1);
        open.push(event.inspect_err(|_| println!("{} are open", open.len()))?);
    }
    println!("{} are open", open.len());
    Ok(())
}

/// From the first node of memory to itself: a test VM has no other.
#[expect(unsafe_code, reason = "no safe wrapper")]
fn migrate_pages(pid: i32) -> Result<(), Failed> {
    let first = 1_u64;
    let (call, bits, place) = (libc::SYS_migrate_pages, 64_u64, &raw const first);
    // SAFETY: one word of nodes, twice, only read.
    let done = unsafe { libc::syscall(call, pid, bits, place, place) };
    Ok(Errno::result(done).map(drop)?)
}
