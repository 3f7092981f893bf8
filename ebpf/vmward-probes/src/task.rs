//! Processes as the kernel keeps them, read by the offsets of this kernel.
//!
//! Every read goes through `bpf_probe_read_kernel`: a bad pointer gives
//! `None`, never a fault.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated};
use vmward_abi::{ANCESTORS_MAX, Ancestor, COMM_LEN, OFFSET_ABSENT, TICK_NS, WORD_LEN};

use crate::maps::offset;
use crate::objects::identify;

/// How far up a process tree the holder of a lease is looked for.
const DESCENT_MAX: usize = 16;
/// `PIDTYPE_TGID`: the same since 4.19.
const PIDTYPE_TGID: usize = 1;
/// `PF_KTHREAD`: the same since 2.6.
const PF_KTHREAD: u32 = 0x0020_0000;
/// `PF_IO_WORKER`: the same since 5.12.
const PF_IO_WORKER: u32 = 0x10;

/// The host's first process.
pub const INIT: u32 = 1;

/// Address of a `task_struct`.
#[derive(Clone, Copy)]
pub struct Task(u64);

/// Reads a `T` at `base + offset`.
pub fn read<T: Copy>(base: u64, offset: usize) -> Option<T> {
    if base == 0 {
        return None;
    }
    let address = base.wrapping_add(offset as u64) as *const T;
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { bpf_probe_read_kernel(address) }.ok()
}

/// Reads a `T` at `base + offset`, where `base` is an argument of the hook, or
/// was read from one.
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier knows what `base` points to, and refuses the program
    // where there is no such field; a null pointer reads as 0.
    unsafe { core::ptr::read_volatile(base.add(offset).cast()) }
}

/// Copies a `T` at `from` to `to`, zeros where it cannot be read.
///
/// # Safety
/// `to` is writable.
pub unsafe fn read_to<T>(to: *mut T, from: u64) {
    // SAFETY: the helper checks the address, and zeroes what it cannot fill.
    unsafe {
        generated::bpf_probe_read_kernel(to.cast(), size_of::<T>() as u32, from as *const _);
    }
}

/// Reads a `T` at `base + offset`; zeros where it cannot be read. One way on, where
/// [`read`] has three.
fn read_or_zero<T: Copy>(base: u64, offset: usize) -> T {
    let mut value = MaybeUninit::uninit();
    // SAFETY: writable; the helper fills the whole of it, and every caller's `T`
    // is an integer.
    unsafe {
        read_to(value.as_mut_ptr(), base.wrapping_add(offset as u64));
        value.assume_init()
    }
}

/// A result that the compiler knows nothing of. The verifier does not look into a
/// function that it has verified by itself, so its caller must check what comes
/// back, and the compiler must not find that check needless.
#[inline(always)]
pub fn opaque(result: i32) -> i32 {
    // SAFETY: a local.
    unsafe { core::ptr::read_volatile(&raw const result) }
}

/// Copies a value onto itself. Nothing changes but what the verifier knows of it:
/// the many ways that lead here become one, and what follows is walked once. What
/// lies between its fields is written too, which the verifier asks of what is
/// handed to a function that it verifies by itself.
#[inline(always)]
pub fn forget<T: Copy>(value: &T) {
    let at = core::ptr::from_ref(value);
    // SAFETY: every byte is written with what it holds.
    unsafe {
        generated::bpf_probe_read_kernel(at.cast_mut().cast(), size_of::<T>() as u32, at.cast())
    };
}

/// A UUID as a map's key. Up to 6.1 the verifier takes no key from what a function
/// was given that it verifies by itself, only from the stack.
#[inline(always)]
pub fn key(uuid: &[u8; 16]) -> [u8; 16] {
    let key = *uuid;
    forget(&key);
    key
}

/// An argument of a hook as a plain number. The verifier knows what it points to,
/// and lets no pointer stand where a function that it verifies by itself takes a
/// number.
#[inline(always)]
pub fn number(argument: u64) -> u64 {
    forget(&argument);
    argument
}

fn events_at(task: u64, place: usize) -> u32 {
    let context: u64 = read_or_zero(task, place);
    if context == 0 {
        return 0;
    }
    read_or_zero(context, offset!(perf_context_events))
}

impl Task {
    /// The task at a pointer that a hook was given.
    pub fn from_arg(pointer: *const u8) -> Self {
        Self(pointer as u64)
    }

    /// The task at an address that was read.
    pub fn at(address: u64) -> Self {
        Self(address)
    }

    /// Its address.
    pub fn address(self) -> u64 {
        self.0
    }

    /// The running task.
    pub fn current() -> Self {
        // SAFETY: the helper has no precondition.
        Self(unsafe { generated::bpf_get_current_task() })
    }

    /// The one task whose number a `struct pid` is; `None` where it has ended.
    pub fn of_pid(pid: u64) -> Option<Self> {
        // `PIDTYPE_PID` is 0.
        let link: u64 = read(pid, offset!(pid_tasks))?;
        (link != 0).then(|| Self(link.wrapping_sub(offset!(task_pid_links) as u64)))
    }

    /// Thread group id in the initial namespace.
    pub fn tgid(self) -> Option<u32> {
        read(self.0, offset!(task_tgid))
    }

    /// Start time of the process (not the thread), in ticks since boot.
    pub fn start_ticks(self) -> Option<u64> {
        let leader: u64 = read(self.0, offset!(task_group_leader))?;
        let start_ns: u64 = read(leader, offset!(task_start_boottime))?;
        Some(start_ns / TICK_NS)
    }

    fn parent(self) -> Option<Task> {
        read(self.0, offset!(task_real_parent)).map(Task)
    }

    fn comm(self) -> [u8; COMM_LEN] {
        read(self.0, offset!(task_comm)).unwrap_or([0; COMM_LEN])
    }

    /// The command name as the word of an event.
    pub fn comm_word(self) -> [u8; WORD_LEN] {
        let mut word = [0; WORD_LEN];
        for (to, from) in word.iter_mut().zip(self.comm()) {
            *to = from;
        }
        word
    }

    /// A thread of the kernel itself: no system call of anybody's.
    pub fn is_kernel_thread(self) -> bool {
        self.has_flag(PF_KTHREAD)
    }

    /// Does nobody else have its descriptors: no thread, no process, no worker?
    pub fn has_files_alone(self) -> bool {
        let files: Option<u64> = read(self.0, offset!(task_files));
        let users: Option<u32> = files.and_then(|files| read(files, offset!(files_count)));
        users == Some(1)
    }

    /// The `struct file` of one of its descriptors.
    pub fn file(self, fd: u32) -> Option<u64> {
        let files: u64 = read(self.0, offset!(task_files))?;
        let table: u64 = read(files, offset!(files_table))?;
        let max: u32 = read(table, offset!(fdtable_max))?;
        let all: u64 = read(table, offset!(fdtable_files))?;
        let at = all.wrapping_add(u64::from(fd) * 8);
        let file: u64 = (fd < max).then(|| read(at, 0)).flatten()?;
        (file != 0).then_some(file)
    }

    /// How many perf events count its work, without those that only its processor has.
    pub fn perf_events(self) -> u32 {
        let first = events_at(self.0, offset!(task_perf));
        first.max(events_at(self.0, offset!(task_perf_second)))
    }

    /// A thread of a process that works off what the process has queued in `io_uring`.
    pub fn is_io_worker(self) -> bool {
        self.has_flag(PF_IO_WORKER)
    }

    /// What such a thread works off: the operation of `io_uring`; `None` where this kernel
    /// does not show it.
    pub fn queued(self) -> Option<u8> {
        let at = [
            offset!(task_worker),
            offset!(io_worker_work),
            offset!(io_request_work),
            offset!(io_request_operation),
        ];
        if at.contains(&(OFFSET_ABSENT as usize)) {
            return None;
        }
        let worker: u64 = read(self.0, at[0])?;
        let work: u64 = read(worker, at[1])?;
        if work == 0 {
            return None;
        }
        read(work.wrapping_sub(at[2] as u64), at[3])
    }

    fn has_flag(self, flag: u32) -> bool {
        read::<u32>(self.0, offset!(task_flags)).is_some_and(|flags| flags & flag != 0)
    }

    /// Is it in a PID namespace below the host's? A doubt counts as no.
    pub fn is_in_pid_namespace(self) -> bool {
        let pid: Option<u64> = read(self.0, offset!(task_thread_pid));
        pid.and_then(|pid| read::<u32>(pid, offset!(pid_level)))
            .is_some_and(|level| level > 0)
    }

    /// The process's limit number `resource`: soft, then hard.
    pub fn limit(self, resource: u32) -> Option<[u64; 2]> {
        let at = offset!(signal_rlim) + resource as usize * size_of::<[u64; 2]>();
        read(self.signal()?, at)
    }

    fn signal(self) -> Option<u64> {
        read(self.0, offset!(task_signal))
    }

    /// Address of the `struct pid` of the thread group.
    pub fn tgid_pid_ptr(self) -> Option<u64> {
        let at = offset!(signal_pids) + PIDTYPE_TGID * 8;
        read(self.signal()?, at)
    }

    /// True when no thread of the process lives.
    pub fn group_is_dead(self) -> bool {
        match self.signal() {
            Some(signal) => read::<i32>(signal, offset!(signal_live)) == Some(0),
            None => false,
        }
    }

    /// Address of the `struct file` that the process runs.
    pub fn exe_file(self) -> Option<u64> {
        let mm: u64 = read(self.0, offset!(task_mm))?;
        read(mm, offset!(mm_exe_file))
    }

    /// Address of its `struct mnt_namespace`.
    pub fn mount_namespace(self) -> u64 {
        let all: u64 = read(self.0, offset!(task_nsproxy)).unwrap_or(0);
        read(all, offset!(nsproxy_mnt_ns)).unwrap_or(0)
    }

    /// Is the task traced? A doubt counts as yes.
    pub fn is_traced(self) -> bool {
        read::<u32>(self.0, offset!(task_ptrace)) != Some(0)
    }

    /// Does a filter of its system calls (seccomp) decide what they do? It can answer in
    /// the kernel's place.
    pub fn is_filtered(self) -> bool {
        let at = offset!(task_seccomp);
        at != OFFSET_ABSENT as usize && read::<u32>(self.0, at) != Some(0)
    }

    /// The inode that the process runs, and the number of its file system's
    /// device; `None` for a kernel thread.
    pub fn exe(self) -> Option<(u64, u32)> {
        identify(read(self.exe_file()?, offset!(file_inode))?)
    }

    /// Thread group id of its parent.
    pub fn parent_tgid(self) -> Option<u32> {
        self.parent()?.tgid()
    }

    /// Wait status of the process.
    pub fn exit_code(self) -> u32 {
        let group: Option<u32> = match self.signal() {
            Some(signal) => read(signal, offset!(signal_group_exit_code)),
            None => None,
        };
        match group {
            Some(code) if code != 0 => code,
            _ => read(self.0, offset!(task_exit_code)).unwrap_or(0),
        }
    }

    /// Login uid, `u32::MAX` when unset or unknown to this kernel.
    pub fn loginuid(self) -> u32 {
        optional(self.0, offset!(task_loginuid))
    }

    /// Audit session, `u32::MAX` when unset or unknown to this kernel.
    pub fn session(self) -> u32 {
        optional(self.0, offset!(task_sessionid))
    }

    /// Is this task in the process `(tgid, start_ticks)` or one of its
    /// descendants?
    pub fn descends_from(self, tgid: u32, start_ticks: u64) -> bool {
        vmward_descends(self.0, tgid, start_ticks) != 0
    }

    /// Writes the ancestors, nearest first, zero-filled.
    ///
    /// # Safety
    /// `out` is writable for the whole array.
    pub unsafe fn write_ancestors(self, out: *mut [Ancestor; ANCESTORS_MAX]) {
        let mut task = self.0;
        for i in 0..ANCESTORS_MAX {
            let parent: u64 = read_or_zero(task, offset!(task_real_parent));
            // The first task is its own parent. Of no task, all that is read is 0.
            task = if parent == task { 0 } else { parent };
            let tgid: u32 = read_or_zero(task, offset!(task_tgid));
            let comm = task.wrapping_add(offset!(task_comm) as u64);
            // SAFETY: `i` is inside the array that the caller vouches for.
            unsafe {
                (*out)[i].tgid = tgid;
                read_to(&raw mut (*out)[i].comm, comm);
            }
            if tgid <= 1 {
                task = 0;
            }
        }
    }
}

/// [`Task::descends_from`]. What cannot be read is 0, and nobody's number. Written
/// so that the verifier walks each turn of the loop once.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_descends(task: u64, tgid: u32, start_ticks: u64) -> i32 {
    if tgid == 0 || start_ticks == 0 {
        return opaque(0);
    }
    let mut task = task;
    for _ in 0..DESCENT_MAX {
        let found: u32 = read_or_zero(task, offset!(task_tgid));
        let leader: u64 = read_or_zero(task, offset!(task_group_leader));
        let start_ns: u64 = read_or_zero(leader, offset!(task_start_boottime));
        let differs = u64::from(found ^ tgid) | ((start_ns / TICK_NS) ^ start_ticks);
        if differs == 0 {
            return opaque(1);
        }
        let parent: u64 = read_or_zero(task, offset!(task_real_parent));
        if parent == task {
            return opaque(0);
        }
        task = parent;
    }
    opaque(0)
}

fn optional(base: u64, at: usize) -> u32 {
    if at == OFFSET_ABSENT as usize {
        return u32::MAX;
    }
    read(base, at).unwrap_or(u32::MAX)
}

/// Thread group id of the running task.
pub fn current_tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Thread id of the running task.
pub fn current_pid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}
