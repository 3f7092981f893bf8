//! Processes as the kernel keeps them, read by the offsets of this kernel.
//!
//! Every read goes through `bpf_probe_read_kernel`: a bad pointer gives
//! `None`, never a fault.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, generated};
use vmward_abi::{ANCESTORS_MAX, Ancestor, COMM_LEN, OFFSET_ABSENT, TICK_NS};

use crate::maps::offset;

/// How far up a process tree the holder of a lease is looked for.
const DESCENT_MAX: usize = 16;
/// `PIDTYPE_TGID`: the same since 4.19.
const PIDTYPE_TGID: usize = 1;

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

impl Task {
    /// The task at a pointer that a hook was given.
    pub fn from_arg(pointer: *const u8) -> Self {
        Self(pointer as u64)
    }

    /// The running task.
    pub fn current() -> Self {
        // SAFETY: the helper has no precondition.
        Self(unsafe { generated::bpf_get_current_task() })
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

    /// The inode that the process runs, and the number of its file system's
    /// device; `None` for a kernel thread.
    pub fn exe(self) -> Option<(u64, u32)> {
        let mm: u64 = read(self.0, offset!(task_mm))?;
        let file: u64 = read(mm, offset!(mm_exe_file))?;
        let inode: u64 = read(file, offset!(file_inode))?;
        let sb: u64 = read(inode, offset!(inode_sb))?;
        Some((
            read(inode, offset!(inode_number))?,
            read(sb, offset!(sb_dev))?,
        ))
    }

    /// Does somebody trace it?
    pub fn is_traced(self) -> bool {
        read::<u32>(self.0, offset!(task_ptrace)) != Some(0)
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
        let mut task = self;
        for _ in 0..DESCENT_MAX {
            if task.tgid() == Some(tgid) && task.start_ticks() == Some(start_ticks) {
                return true;
            }
            let Some(parent) = task.parent() else {
                return false;
            };
            if parent.0 == task.0 {
                return false;
            }
            task = parent;
        }
        false
    }

    /// Writes the ancestors, nearest first, zero-filled.
    ///
    /// # Safety
    /// `out` is writable for the whole array.
    pub unsafe fn write_ancestors(self, out: *mut [Ancestor; ANCESTORS_MAX]) {
        let mut task = self;
        let mut done = false;
        for i in 0..ANCESTORS_MAX {
            let mut entry = Ancestor {
                tgid: 0,
                comm: [0; COMM_LEN],
            };
            if !done {
                match task.parent() {
                    Some(parent) if parent.0 != task.0 => {
                        task = parent;
                        entry.tgid = parent.tgid().unwrap_or(0);
                        entry.comm = parent.comm();
                        done = entry.tgid <= 1;
                    }
                    _ => done = true,
                }
            }
            // SAFETY: `i` is inside the array that the caller vouches for.
            unsafe { (*out)[i] = entry };
        }
    }
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
