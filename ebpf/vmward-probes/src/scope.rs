//! Is this task part of a VM under protection, or another process that vmward
//! guards? Answered here once, for every hook.

use vmward_abi::{HOST_UUID, VmRow, role};

use crate::maps::VMS;
use crate::task::Task;

/// A VM under protection.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Vm {
    /// Its thread group.
    pub tgid: u32,
    /// What the daemon wrote about it.
    pub row: VmRow,
}

/// The row about `tgid`, where `task` is one of its threads: a VM, a helper,
/// libvirt's daemon or one of vmward's own. A reused process id is told apart by the
/// start time; where that cannot be read the answer is yes, since a doubt about
/// a guarded id must not open the door.
///
/// A VM that starts is none of them: see [`guarded_or_starting`].
pub fn guarded(task: Task, tgid: u32) -> Option<Vm> {
    // SAFETY: the copy may race with the daemon's removal of the row; the
    // start time in it is part of the same copy.
    let row = *unsafe { VMS.get(tgid) }?;
    if row.role == role::STARTING {
        return None;
    }
    same_process(task, Vm { tgid, row })
}

/// As [`guarded`], and a VM that starts: signals to it are refused, and nothing else is,
/// since libvirt and those who act for it still set it up.
pub fn guarded_or_starting(task: Task, tgid: u32) -> Option<Vm> {
    // SAFETY: as above.
    let row = *unsafe { VMS.get(tgid) }?;
    same_process(task, Vm { tgid, row })
}

#[inline(always)]
fn same_process(task: Task, found: Vm) -> Option<Vm> {
    match task.start_ticks() {
        Some(ticks) if ticks != found.row.start_ticks => None,
        _ => Some(found),
    }
}

/// The VM that the process `tgid` is, or whose helper it is.
pub fn vm_of(task: Task, tgid: u32) -> Option<Vm> {
    of_vm(guarded(task, tgid)?)
}

/// The VM that what was found is, or whose helper it is.
pub fn of_vm(found: Vm) -> Option<Vm> {
    match found.row.role {
        role::VM | role::HELPER => answerable(found),
        _ => None,
    }
}

/// As [`vm_of`], and virtlogd, for which every VM waits.
pub fn vm_or_logger(task: Task, tgid: u32) -> Option<Vm> {
    held_up(guarded(task, tgid)?)
}

/// Is it a process of vmward's own: its daemon, or the program that this asks libvirt
/// with?
pub fn is_of_vmward(role: u32) -> bool {
    role == role::OWN || role == role::INVENTORY
}

/// Whom it holds up when what was found does not go on: its VM, one that starts too, or
/// virtlogd, and so all of them.
pub fn held_up(found: Vm) -> Option<Vm> {
    match found.row.role {
        role::VM | role::HELPER | role::LOGGER | role::STARTING => answerable(found),
        _ => None,
    }
}

/// Whose lease lets somebody reach for `found`: its VM's for a helper, else its
/// own. A helper whose VM has ended is nobody's.
pub fn answerable(found: Vm) -> Option<Vm> {
    if found.row.role != role::HELPER {
        return Some(found);
    }
    let tgid = found.row.owner_tgid;
    // SAFETY: a plain copy of a live map value.
    let row = *unsafe { VMS.get(tgid) }?;
    // The id may be another VM's by now.
    (row.uuid == found.row.uuid).then_some(Vm { tgid, row })
}

/// Stands for the host where no VM is meant, or all of them are. No row of
/// `VMS`; the lease of the key 0 is the host's.
pub fn host() -> Vm {
    Vm {
        tgid: 0,
        row: VmRow {
            uuid: HOST_UUID,
            start_ticks: 0,
            flags: 0,
            role: role::OWN,
            owner_tgid: 0,
            disarmed_until_s: 0,
        },
    }
}
