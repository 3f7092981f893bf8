//! Is this task part of a VM under protection? Answered here once, for every
//! hook.

use vmward_abi::VmRow;

use crate::maps::VMS;
use crate::task::Task;

/// A VM under protection.
#[derive(Clone, Copy)]
pub struct Vm {
    /// Its thread group.
    pub tgid: u32,
    /// What the daemon wrote about it.
    pub row: VmRow,
}

/// The VM that `tgid` stands for, where `task` is one of its threads. A reused
/// process id is told apart by the start time; where that cannot be read the
/// answer is yes, since a doubt about a protected id must not open the door.
pub fn vm_of(task: Task, tgid: u32) -> Option<Vm> {
    // SAFETY: the copy may race with the daemon's removal of the row; the
    // start time below is part of the same copy.
    let row = *unsafe { VMS.get(tgid) }?;
    match task.start_ticks() {
        Some(ticks) if ticks != row.start_ticks => None,
        _ => Some(Vm { tgid, row }),
    }
}
