//! vmward's own maps, programs, pins and files. Fail mode: closed.
//!
//! A map or a program is reached for by a descriptor, and each of the two hooks
//! is asked for every new one: by id, by pin, by load. A link cannot be detached
//! or updated by whoever holds it, so its pin is all that needs a guard.

use aya_ebpf::helpers::generated;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{
    ObjectKey, ObjectRow, effect, fact, finishing_cause, object, object_class, role, vector,
};

use super::{config, libvirt, unix};
use crate::maps::{OBJECTS, VM_STATES, VMS, is_active, offset};
use crate::objects::{
    fact, find, host_wall, identify, inode_of, is_observed, is_own, names_own_program, of_inode,
    own_wall, vm_of_lifeline,
};
use crate::scope::{Vm, guarded, is_of_vmward};
use crate::task::{INIT, Task, current_tgid, number, opaque, read};
use crate::verdict::{Attempt, libvirt_side, refuse, returned};

const EPERM: i32 = -1;
pub const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Makes the daemon read its policy again.
const SIGHUP: u32 = 1;

/// match-proto: security/security.c:int security_bpf_map(struct bpf_map *map, fmode_t fmode)
#[lsm(hook = "bpf_map")]
pub fn bpf_map(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let map = ctx.arg::<*const u8>(0) as u64;
    match read::<u32>(map, offset!(bpf_map_id)) {
        Some(id) => try_bpf(object::BPF_MAP, id),
        None => 0,
    }
}

/// Refuses where the object is vmward's own and the actor is not.
pub fn try_bpf(kind: u32, id: u32) -> i32 {
    if find(kind, u64::from(id), 0).is_none() || is_own() {
        return 0;
    }
    let attempt = Attempt {
        detail: id,
        ..Attempt::new(vector::BPF_OBJECT, 0)
    };
    own_wall(&attempt)
}

/// What somebody does to a file.
#[derive(Clone, Copy)]
pub enum Deed {
    /// Gives it another name, or another file its name.
    Name,
    /// Cuts it short.
    Truncate,
    /// Takes its name away.
    Remove,
    /// Opens it to write to it.
    Write,
    /// Mounts something over it.
    Cover,
}

/// match-proto: security/security.c:int security_inode_unlink(struct inode *dir, struct dentry *dentry)
#[lsm(hook = "inode_unlink")]
pub fn inode_unlink(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_file(ctx.arg::<*const u8>(1) as u64, Deed::Remove)
}

/// match-proto: security/security.c:int security_inode_rmdir(struct inode *dir, struct dentry *dentry)
#[lsm(hook = "inode_rmdir")]
pub fn inode_rmdir(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_file(ctx.arg::<*const u8>(1) as u64, Deed::Remove)
}

/// The file that is renamed, and the one in whose place it comes.
///
/// match-proto: include/linux/lsm_hook_defs.h:LSM_HOOK(int, 0, inode_rename, struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir, struct dentry *new_dentry)
#[lsm(hook = "inode_rename")]
pub fn inode_rename(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(4);
    if earlier != 0 {
        return earlier;
    }
    let from = ctx.arg::<*const u8>(1) as u64;
    let onto = ctx.arg::<*const u8>(3) as u64;
    let guarded = of_inode(inode_of(from)).is_some();
    if guarded && named(from) != 0 {
        return EPERM;
    }
    if named(onto) != 0 {
        return EPERM;
    }
    if !guarded {
        inherit(inode_of(from), inode_of(onto));
    }
    0
}

/// The file gets another name, or another file its name.
fn named(dentry: u64) -> i32 {
    vmward_named(number(dentry))
}

/// [`named`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_named(dentry: u64) -> i32 {
    opaque(try_file(dentry, Deed::Name))
}

/// libvirt never writes to a status file: it puts a new one in its place. That
/// one is under guard from now on, and not from the daemon's next look; the old
/// one is gone, and must not take up room while there is no daemon.
fn inherit(new: u64, old: u64) {
    let (Some((id, dev)), Some(new)) = (identify(old), identify(new)) else {
        return;
    };
    let kind = object::INODE;
    let row = find(kind, id, dev).filter(|row| row.class == object_class::LIFELINE);
    let Some(row) = row else { return };
    let key = ObjectKey {
        id: new.0,
        dev: new.1,
        kind,
    };
    if OBJECTS.insert(key, row, 0).is_ok() {
        // It may be gone already.
        let _ = OBJECTS.remove(ObjectKey { id, dev, kind });
    }
}

/// match-proto: security/security.c:int security_path_truncate(const struct path *path)
#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    let path = ctx.arg::<*const u8>(0) as u64;
    let dentry: u64 = read(path, offset!(path_dentry)).unwrap_or(0);
    try_file(dentry, Deed::Truncate)
}

/// The file of the `struct dentry` at this address is opened to be written to, cut
/// short by that or not.
#[inline(always)]
pub fn opened(dentry: u64) -> i32 {
    returned(vmward_opened(number(dentry)))
}

/// [`opened`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_opened(dentry: u64) -> i32 {
    opaque(try_file(dentry, Deed::Write))
}

/// The file of a `struct dentry`, which need not be there yet.
fn try_file(dentry: u64, deed: Deed) -> i32 {
    let dentry = number(dentry);
    let inode = inode_of(dentry);
    match of_inode(inode) {
        Some(row) if row.class != object_class::CONFIG => try_object(&row, inode, deed),
        Some(_) => config::witness(dentry, deed),
        // One more in a folder; or vmward's program, which upgrades replace.
        None if config::is_in_folder(dentry) || names_own_program(dentry) => {
            config::witness(dentry, deed)
        }
        None => 0,
    }
}

fn try_object(row: &ObjectRow, inode: u64, deed: Deed) -> i32 {
    if row.class == object_class::LIFELINE {
        return try_lifeline(row, inode, deed);
    }
    let vector = match row.class {
        object_class::FOLDER | object_class::ABOVE => return try_folder(deed),
        object_class::LIBRARY => return try_library(deed),
        object_class::BPF => vector::BPF_OBJECT,
        // The service manager clears away the folder of what is there for a run.
        object_class::STATE if current_tgid() == INIT && is_in_memory(inode) => return 0,
        object_class::STATE => vector::OWN_FILE,
        _ => return 0,
    };
    if is_own() {
        return 0;
    }
    own_wall(&Attempt {
        detail: deed as u32,
        ..Attempt::new(vector, 0)
    })
}

/// Is the file on a file system that is gone with the next start of the host?
fn is_in_memory(inode: u64) -> bool {
    let sb: Option<u64> = read(inode, offset!(inode_sb));
    sb.and_then(|sb| read(sb, offset!(sb_magic))) == Some(TMPFS_MAGIC)
}

/// The folders in which libvirt keeps what it knows of VMs: without them, or with
/// others in their place, it knows of none.
#[inline(never)]
fn try_folder(deed: Deed) -> i32 {
    if !matches!(deed, Deed::Name | Deed::Remove) {
        return 0;
    }
    host_wall(&Attempt {
        detail: deed as u32,
        ..Attempt::new(vector::LIFELINE, 0)
    })
}

/// A library that VMs run: one that is cut short ends all that run it, as if by
/// themselves.
#[inline(never)]
fn try_library(deed: Deed) -> i32 {
    if !matches!(deed, Deed::Write | Deed::Truncate) {
        return 0;
    }
    host_wall(&Attempt {
        detail: deed as u32,
        ..Attempt::new(vector::LIFELINE, effect::FORCE_STOP)
    })
}

/// libvirt's files of a VM are libvirt's to change, and the VM's own.
#[inline(never)]
fn try_lifeline(row: &ObjectRow, inode: u64, deed: Deed) -> i32 {
    let Some(vm) = vm_of_lifeline(row) else {
        return 0;
    };
    let (actor, mine) = (Task::current(), current_tgid());
    let (its_libvirt, finishing) = libvirt_side(&vm, actor);
    if its_libvirt && keeps(&vm, inode, deed, finishing) {
        return EPERM;
    }
    if mine == vm.tgid || its_libvirt || libvirt::is_current() {
        return 0;
    }
    let attempt = Attempt {
        detail: deed as u32,
        ..Attempt::new(vector::LIFELINE, effect::FORCE_STOP)
    };
    refuse(&vm, &attempt)
}

/// Are libvirt's files kept from libvirt itself? It removes the monitor's socket
/// when it is about to end the VM whatever comes. Where the guest is not over,
/// only the wall at that kill knows whether the VM ends: until it has, its files
/// stay, so that a libvirt that starts anew finds a VM that still runs, and none
/// starts a second process for it. Not recorded: the kill is.
fn keeps(vm: &Vm, inode: u64, deed: Deed, finishing: u32) -> bool {
    if finishing & finishing_cause::OVER != 0 || is_observed(vm) || !is_active() {
        return false;
    }
    if finishing & finishing_cause::GIVEN_UP != 0 {
        return true;
    }
    if !matches!(deed, Deed::Remove) || !unix::is_monitor(vm, inode) {
        return false;
    }
    if let Some(state) = VM_STATES.get_ptr_mut(vm.tgid) {
        // SAFETY: a field of a live map value; libvirt talks to QEMU no more.
        unsafe { (*state).finishing |= finishing_cause::GIVEN_UP };
    }
    true
}

/// A signal to a process of vmward's own, which `tgid` is: sent, or by an event on a
/// file, as `vector` says.
#[inline(always)]
pub fn try_signal(target: Task, tgid: u32, vector: u32, signal: u32) -> i32 {
    if signal == SIGHUP {
        return 0;
    }
    returned(vmward_reach_own(
        number(target.address()),
        tgid,
        vector,
        signal,
    ))
}

/// Scheduling a thread of a process of vmward's own: a daemon that gets no processor time
/// would soon count as one that hangs. The kernel's own threads may.
#[inline(always)]
pub fn try_sched(target: Task, tgid: u32, what: u32) -> i32 {
    let is_ours = guarded(target, tgid).is_some_and(|found| is_of_vmward(found.row.role));
    if !is_ours || Task::current().is_kernel_thread() {
        return 0;
    }
    returned(vmward_reach_own(
        number(target.address()),
        tgid,
        vector::SCHED,
        what,
    ))
}

/// Is this a process of vmward's own? The host is called like the daemon.
pub fn is_own_daemon(vm: &Vm) -> bool {
    is_of_vmward(vm.row.role) && vm.tgid != 0
}

/// Has the daemon given a sign of life of late?
pub fn is_well() -> bool {
    // SAFETY: the helper has no precondition.
    let now = unsafe { generated::bpf_ktime_get_boot_ns() };
    now <= fact(fact::WELL_UNTIL)
}

/// As long as the daemon is well, only who started it may touch it (systemd, by
/// stop and restart), and its inventory only the daemon and PID 1; where it hangs,
/// anybody may. Verified by itself. `what` is the signal, or the attempt's detail.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_reach_own(target: u64, tgid: u32, vector: u32, what: u32) -> i32 {
    let mine = current_tgid();
    let parent = Task::at(target).parent_tgid();
    if !is_well() || mine == tgid || parent == Some(mine) || ends_inventory(tgid, mine) {
        return opaque(0);
    }
    let is_signal = vector == vector::SIGNAL || vector == vector::SIGIO;
    opaque(own_wall(&Attempt {
        signal: if is_signal { what } else { 0 },
        detail: if is_signal { 0 } else { what },
        ..Attempt::new(vector, 0)
    }))
}

/// May `mine` end the inventory that `tgid` is? When its daemon ends, the kernel
/// ends it in the daemon's name, and has given it another parent by then.
#[inline(always)]
fn ends_inventory(tgid: u32, mine: u32) -> bool {
    // SAFETY: fields of a live map value; no reference is kept.
    let row = unsafe { VMS.get(tgid) };
    row.is_some_and(|row| row.role == role::INVENTORY && (mine == row.owner_tgid || mine == INIT))
}
