//! vmward's own maps, programs, pins and files. Fail mode: closed.
//!
//! A map or a program is reached for by a descriptor, and each of the two hooks
//! is asked for every new one: by id, by pin, by load. A link cannot be detached
//! or updated by whoever holds it, so its pin is all that needs a guard.

use aya_ebpf::helpers::generated;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{ObjectRow, effect, fact, object, object_class, role, vector};

use crate::maps::offset;
use crate::objects::{fact, find, inode_of, is_own, of_inode, own_wall, vm_of_lifeline};
use crate::scope::guarded;
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::{Attempt, libvirt_side, refuse};

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
    /// Takes its name away, gives it another, or another file its name.
    Name,
    /// Cuts it short.
    Truncate,
}

/// match-proto: security/security.c:int security_inode_unlink(struct inode *dir, struct dentry *dentry)
#[lsm(hook = "inode_unlink")]
pub fn inode_unlink(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_inode(inode_of(ctx.arg::<*const u8>(1) as u64), Deed::Name)
}

/// match-proto: security/security.c:int security_inode_rmdir(struct inode *dir, struct dentry *dentry)
#[lsm(hook = "inode_rmdir")]
pub fn inode_rmdir(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_inode(inode_of(ctx.arg::<*const u8>(1) as u64), Deed::Name)
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
    let from = inode_of(ctx.arg::<*const u8>(1) as u64);
    let onto = inode_of(ctx.arg::<*const u8>(3) as u64);
    let inode = if of_inode(from).is_some() { from } else { onto };
    try_inode(inode, Deed::Name)
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
    try_inode(inode_of(dentry), Deed::Truncate)
}

fn try_inode(inode: u64, deed: Deed) -> i32 {
    match of_inode(inode) {
        Some(row) => try_object(&row, deed),
        None => 0,
    }
}

fn try_object(row: &ObjectRow, deed: Deed) -> i32 {
    if row.class == object_class::LIFELINE {
        return try_lifeline(row, deed);
    }
    let vector = match row.class {
        object_class::BPF => vector::BPF_OBJECT,
        object_class::STATE if current_tgid() != INIT => vector::OWN_FILE,
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

/// libvirt's files of a VM are libvirt's to change, and the VM's own.
fn try_lifeline(row: &ObjectRow, deed: Deed) -> i32 {
    let Some(vm) = vm_of_lifeline(row) else {
        return 0;
    };
    let (actor, mine) = (Task::current(), current_tgid());
    let is_deputy = guarded(actor, mine).is_some_and(|found| found.row.role == role::DEPUTY);
    if mine == vm.tgid || is_deputy || libvirt_side(&vm, actor).0 {
        return 0;
    }
    let attempt = Attempt {
        detail: deed as u32,
        ..Attempt::new(vector::LIFELINE, effect::FORCE_STOP)
    };
    refuse(&vm, &attempt)
}

/// A signal to vmward's own daemon. As long as it is well, only who started it
/// may end it (systemd, by stop and restart); one that hangs, anybody may.
#[inline(never)]
pub fn try_signal(target: Task, tgid: u32, signal: u32) -> i32 {
    let is_daemon = guarded(target, tgid).is_some_and(|found| found.row.role == role::OWN);
    if !is_daemon || signal == SIGHUP {
        return 0;
    }
    // SAFETY: the helper has no precondition.
    let now = unsafe { generated::bpf_ktime_get_boot_ns() };
    let mine = current_tgid();
    if now > fact(fact::WELL_UNTIL) || mine == tgid || target.parent_tgid() == Some(mine) {
        return 0;
    }
    own_wall(&Attempt {
        signal,
        ..Attempt::new(vector::SIGNAL, 0)
    })
}
