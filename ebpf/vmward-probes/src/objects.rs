//! What vmward guards beside processes, and who may reach for it: vmward's own
//! program, and nobody else, root included.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use vmward_abi::{ObjectKey, ObjectRow, fact, object, role, vm_flag};

use crate::atomic::fetch_add_u64;
use crate::maps::{FACTS, OBJECTS, VMS, offset};
use crate::scope::{Vm, guarded, host, is_of_vmward};
use crate::task::{INIT, Task, current_tgid, forget, opaque, read};
use crate::verdict::{Attempt, EPERM, is_leased, refuse, returned};

const NS_PER_S: u64 = 1_000_000_000;

/// The number in a slot of `vmward_abi::fact`.
pub fn fact(slot: u32) -> u64 {
    FACTS.get(slot).copied().unwrap_or(0)
}

/// Has a person disarmed the whole host? Ends by itself, without the daemon.
pub fn is_host_disarmed() -> bool {
    let until = fact(fact::DISARMED_UNTIL);
    // SAFETY: the helper has no precondition.
    until != 0 && unsafe { bpf_ktime_get_boot_ns() } < until
}

/// Is what is tried on it let through and only recorded? Always, or because a
/// person has disarmed it or the whole host. vmward itself is disarmed by
/// nobody, and the self-test's canary is refused whatever holds for VMs.
#[inline(always)]
pub fn is_observed(vm: &Vm) -> bool {
    if vm.row.flags & vm_flag::OBSERVE != 0 {
        return true;
    }
    if is_of_vmward(vm.row.role) || vm.row.uuid == [0; 16] {
        return false;
    }
    if is_host_disarmed() {
        return true;
    }
    let until = u64::from(vm.row.disarmed_until_s);
    // SAFETY: as above.
    until != 0 && unsafe { bpf_ktime_get_boot_ns() } / NS_PER_S < until
}

/// The host, where what is meant is all its VMs: only observed while it is
/// disarmed.
pub fn host_of_vms() -> Vm {
    let mut host = host();
    if is_host_disarmed() {
        host.row.flags = vm_flag::OBSERVE;
    }
    host
}

/// What is known of an object; `None` for what is not under guard.
pub fn find(kind: u32, id: u64, dev: u32) -> Option<ObjectRow> {
    // SAFETY: a plain copy of a live map value.
    unsafe { OBJECTS.get(ObjectKey { id, dev, kind }) }.copied()
}

/// The number of an inode and of its file system's device.
pub fn identify(inode: u64) -> Option<(u64, u32)> {
    let sb: u64 = read(inode, offset!(inode_sb))?;
    Some((
        read(inode, offset!(inode_number))?,
        read(sb, offset!(sb_dev))?,
    ))
}

/// What is known of the inode at this address.
pub fn of_inode(inode: u64) -> Option<ObjectRow> {
    let (number, dev) = identify(inode)?;
    find(object::INODE, number, dev)
}

/// The inode of the `struct dentry` at this address; 0 for a negative one.
pub fn inode_of(dentry: u64) -> u64 {
    read(dentry, offset!(dentry_inode)).unwrap_or(0)
}

/// Is the running process vmward's own? By the program that it runs, so that a
/// new daemon can take over from one that has gone. A process that somebody
/// traces does what the tracer wants, one in a PID namespace of its own does not see
/// the host, one whose system calls somebody filters is told what that one likes, and the
/// self-test's canary plays a stranger.
#[inline(always)]
pub fn is_own() -> bool {
    vmward_is_own() == 1
}

/// [`is_own`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_own() -> i32 {
    opaque(runs_own(Task::current()).into())
}

fn runs_own(task: Task) -> bool {
    if guarded(task, current_tgid()).is_some_and(|found| found.row.role == role::VM) {
        return false;
    }
    // In a PID namespace below the host's it would take VMs' numbers for others.
    let is_elsewhere = task.is_traced() || task.is_in_pid_namespace();
    // A service manager's filter is the unit's, and the same for every process.
    let is_deceived = task.is_filtered() && task.parent_tgid() != Some(INIT);
    let own = match task.exe_file() {
        Some(file) => is_own_file(file),
        None => false,
    };
    own && !is_elsewhere && !is_deceived
}

/// vmward's program, with the NUL.
const PROGRAM: [u8; 8] = *b"vmwardd\0";

/// Is it vmward's program: the very file, or one of its name in its folder, which
/// an upgrade has put there?
#[inline(always)]
pub fn is_own_file(file: u64) -> bool {
    vmward_is_own_file(file) == 1
}

/// [`is_own_file`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_own_file(file: u64) -> i32 {
    opaque(is_own_program(file).into())
}

fn is_own_program(file: u64) -> bool {
    let inode: u64 = read(file, offset!(file_inode)).unwrap_or(0);
    let Some((number, dev)) = identify(inode) else {
        return false;
    };
    if find(object::OWN_EXE, number, dev).is_some() {
        return true;
    }
    names_own_program(read(file, offset!(file_path) + offset!(path_dentry)).unwrap_or(0))
}

/// Is the `struct dentry` at this address where vmward's program is, or would be?
pub fn names_own_program(dentry: u64) -> bool {
    let name: u64 = read(dentry, offset!(dentry_name)).unwrap_or(0);
    if read(name, 0) != Some(PROGRAM) {
        return false;
    }
    let above: u64 = read(dentry, offset!(dentry_parent)).unwrap_or(0);
    match identify(inode_of(above)) {
        Some((number, dev)) => find(object::OWN_FOLDER, number, dev).is_some(),
        None => false,
    }
}

/// Whom an attempt on something of vmward's own is about: the host, or the
/// canary where it is the one that tries.
fn subject() -> (Vm, bool) {
    let tgid = current_tgid();
    match guarded(Task::current(), tgid) {
        Some(found) if found.row.uuid == [0; 16] => (found, true),
        _ => (host(), false),
    }
}

/// Does the self-test's canary try it? It may live in a mount namespace of the
/// daemon's own, and must be refused all the same.
pub fn is_canary() -> bool {
    subject().1
}

/// Whom an attempt on something of vmward's own is about, as it is to be refused.
pub fn own_subject() -> Vm {
    let (mut about, canary) = subject();
    if !canary && fact(fact::OBSERVE) != 0 {
        about.row.flags = vm_flag::OBSERVE;
    }
    about
}

/// The wall around what is vmward's own.
#[inline(always)]
pub fn own_wall(attempt: &Attempt) -> i32 {
    forget(attempt);
    returned(vmward_own_wall(attempt))
}

/// [`own_wall`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_own_wall(attempt: *const Attempt) -> i32 {
    // SAFETY: null or alive.
    let Some(attempt) = (unsafe { attempt.as_ref() }) else {
        return opaque(EPERM);
    };
    opaque(refuse(&own_subject(), attempt))
}

/// The wall around the host: stands while VMs run, and lets everything through
/// where each of them is only observed, or the host is disarmed. Disarming one
/// VM after the other does not open it.
#[inline(always)]
pub fn host_wall(attempt: &Attempt) -> i32 {
    forget(attempt);
    returned(vmward_host_wall(attempt))
}

/// [`host_wall`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_host_wall(attempt: *const Attempt) -> i32 {
    // SAFETY: null or alive.
    let Some(attempt) = (unsafe { attempt.as_ref() }) else {
        return opaque(EPERM);
    };
    let (mut about, canary) = subject();
    if !canary {
        let enforced = running(fact::VMS_ENFORCED);
        if enforced && !is_host_disarmed() {
            about.row.flags = 0;
        } else if enforced || running(fact::VMS_OBSERVED) {
            about.row.flags = vm_flag::OBSERVE;
        } else {
            return opaque(0);
        }
    }
    if is_leased(&about, attempt) {
        return opaque(0);
    }
    opaque(refuse(&about, attempt))
}

/// Is any VM of this kind under protection?
pub fn running(slot: u32) -> bool {
    fact(slot).cast_signed() > 0
}

/// A VM ended: its row is gone.
pub fn one_less(vm: &Vm) {
    if vm.row.uuid == [0; 16] {
        return;
    }
    let slot = if vm.row.flags & vm_flag::OBSERVE == 0 {
        fact::VMS_ENFORCED
    } else {
        fact::VMS_OBSERVED
    };
    if let Some(count) = FACTS.get_ptr_mut(slot) {
        // SAFETY: a live, aligned map value.
        unsafe { fetch_add_u64(count, u64::MAX) };
    }
}

/// The VM whose lifeline a row says the object is, while it runs.
pub fn vm_of_lifeline(row: &ObjectRow) -> Option<Vm> {
    // SAFETY: a plain copy of a live map value.
    let vm = *unsafe { VMS.get(row.tgid) }?;
    (vm.start_ticks == row.start_ticks).then_some(Vm {
        tgid: row.tgid,
        row: vm,
    })
}
