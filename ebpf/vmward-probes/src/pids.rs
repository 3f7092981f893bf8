//! Which process has a number: the kernel's own table, walked here, since a program
//! of this kind has no call for it.
//!
//! Read without a lock. Whoever comes or goes meanwhile is found or not, as by the
//! kernel itself a moment later.

use crate::maps::offset;
use crate::task::{Task, number, opaque, read};

/// Entries of one node of the table, as bits.
const NODE_BITS: u32 = 6;
/// Levels of nodes: process ids are below `2^22`.
const DEPTH_MAX: usize = 4;
/// How the table marks an entry that is another node.
const IS_NODE: u64 = 2;
const MARKS: u64 = 3;
/// `sizeof(struct upid)`: a number and its namespace.
const UPID_LEN: usize = 16;
const LEVEL_MAX: u32 = 32;

/// Whose a number is.
#[derive(Clone, Copy)]
pub enum Whose {
    /// A thread's of this thread group.
    Group(u32),
    /// A thread's of the kernel's own.
    Kernel,
    /// Nobody's.
    Nobody,
}

/// Whose the number of a process or thread is, as the running task counts them.
#[inline(always)]
pub fn whose(wanted: u32) -> Whose {
    match vmward_whose(wanted) {
        0 => Whose::Nobody,
        KERNEL => Whose::Kernel,
        tgid => Whose::Group(tgid.cast_unsigned()),
    }
}

const KERNEL: i32 = -1;

/// [`whose`], verified by itself: the thread group, [`KERNEL`], or 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_whose(wanted: u32) -> i32 {
    let Some(task) = find(wanted) else {
        return opaque(0);
    };
    if task.is_kernel_thread() {
        return opaque(KERNEL);
    }
    opaque(task.tgid().unwrap_or(0).cast_signed())
}

#[inline(always)]
fn find(wanted: u32) -> Option<Task> {
    let table = namespace()?.wrapping_add(offset!(pid_namespace_idr) as u64);
    let mut entry: u64 = read(table, offset!(idr_head))?;
    for level in 0..DEPTH_MAX {
        if entry & MARKS != IS_NODE {
            break;
        }
        let node = number(entry & !MARKS);
        let shift = u32::from(read::<u8>(node, offset!(xa_node_shift))?) & 31;
        // The first node says how far the table reaches.
        if level == 0 && shift < 32 - NODE_BITS && wanted >> (shift + NODE_BITS) != 0 {
            return None;
        }
        let slot = (wanted >> shift) & ((1 << NODE_BITS) - 1);
        entry = read(node, offset!(xa_node_slots) + slot as usize * 8)?;
    }
    if entry == 0 || entry & MARKS != 0 {
        return None;
    }
    Task::of_pid(number(entry))
}

/// The namespace in which the running task counts processes.
#[inline(always)]
fn namespace() -> Option<u64> {
    let pid: u64 = read(Task::current().address(), offset!(task_thread_pid))?;
    let level: u32 = read(pid, offset!(pid_level))?;
    if level > LEVEL_MAX {
        return None;
    }
    let upid = offset!(pid_numbers) + level as usize * UPID_LEN;
    read(pid, upid + offset!(upid_ns))
}
