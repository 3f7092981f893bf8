//! Mounts over, and unmounts of, what keeps vmward, its pins and the folders on
//! the way to them, or the VMs: the folders where libvirt knows of them. Another
//! root puts all of these out of reach at once. Only in the host's own mount
//! namespace and in vmwardd's, and where a mount is shared with one there; what a
//! container mounts in its own is its own affair.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, event_kind, fact, object_class, vector};

use super::config;
use super::own::Deed;
use super::storage;
use crate::cgroups::host_with_vms;
use crate::emit::{Report, emit};
use crate::maps::{is_active, is_own_mounts, offset};
use crate::objects::{fact, host_wall, inode_of, is_canary, is_own, of_inode, own_wall};
use crate::task::{Task, opaque, read};
use crate::verdict::Attempt;

const MS_MOVE: u64 = 1 << 13;
/// `MS_REMOUNT`, `MS_UNBINDABLE`, `MS_PRIVATE`, `MS_SLAVE`, `MS_SHARED`: no mount comes
/// over another.
const IN_PLACE: u64 = 1 << 5 | 1 << 17 | 1 << 18 | 1 << 19 | 1 << 20;

/// Most mounts that are looked at of those that one is shared with.
const PEERS_MAX: usize = 64;

/// What the kernel takes for "no such option of mine" from a security module.
/// Whoever serves the file system is given up at once, before anybody looks whether it is
/// in use.
const MNT_FORCE: i32 = 1;
const ENOPARAM: i32 = -519;
const ABORT: [u8; 6] = *b"abort\0";

/// What is done to a mount.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    /// Another comes over it, or it goes somewhere else.
    Cover,
    /// It has other options.
    InPlace,
    /// It goes.
    Unmount,
}

/// match-proto: security/security.c:int security_sb_umount(struct vfsmount *mnt, int flags)
#[lsm(hook = "sb_umount")]
pub fn sb_umount(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let mount = ctx.arg::<*const u8>(0) as u64;
    // The root of what is mounted there.
    let root: u64 = read(mount, offset!(vfsmount_root)).unwrap_or(0);
    let flags: i32 = ctx.arg(1);
    if flags & MNT_FORCE != 0 {
        let verdict = storage::unmount_by_force(root);
        if verdict != 0 {
            return verdict;
        }
    }
    try_place(mount, root, Change::Unmount)
}

/// match-proto: security/security.c:int security_sb_mount(const char *dev_name, const struct path *path, const char *type, unsigned long flags, void *data)
#[lsm(hook = "sb_mount")]
pub fn sb_mount(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(5);
    if earlier != 0 {
        return earlier;
    }
    let path = ctx.arg::<*const u8>(1) as u64;
    let flags: u64 = ctx.arg(3);
    let change = if flags & IN_PLACE == 0 {
        Change::Cover
    } else {
        Change::InPlace
    };
    let verdict = try_path(path, change);
    if verdict != 0 || flags & MS_MOVE == 0 {
        return verdict;
    }
    try_move(path)
}

/// The older way to move a mount tells the hook its source as text only, which may
/// be anything: none moves on a host while VMs run. Where `/` is shared, as systemd
/// has it, the kernel itself refuses most of them.
fn try_move(path: u64) -> i32 {
    let mount: u64 = read(path, offset!(path_mnt)).unwrap_or(0);
    if is_own() || !is_of_host(mount) {
        return 0;
    }
    host_wall(&Attempt::new(vector::MOUNT, 0))
}

/// Another root for every process of the host: what libvirt and vmward know by name
/// would be somewhere else. Whoever takes the host down does so when no VM runs any
/// more.
///
/// match-proto: security/security.c:int security_sb_pivotroot(const struct path *old_path, const struct path *new_path)
#[lsm(hook = "sb_pivotroot")]
pub fn sb_pivotroot(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let root = ctx.arg::<*const u8>(1) as u64;
    let verdict = try_path(root, Change::Cover);
    if verdict != 0 {
        return verdict;
    }
    try_move(root)
}

/// A file system gets other options. fsconfig(2) asks nobody else, so vmward's pins
/// could be made read-only, and no later daemon could start. What other file systems
/// are, is no affair of this hook.
///
/// match-proto: security/security.c:int security_sb_remount(struct super_block *sb, void *mnt_opts)
#[lsm(hook = "sb_remount")]
pub fn sb_remount(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let sb = ctx.arg::<*const u8>(0) as u64;
    let root: u64 = read(sb, offset!(sb_root)).unwrap_or(0);
    let Some(row) = of_inode(inode_of(root)) else {
        return 0;
    };
    let others = row.class == object_class::CONFIG
        || row.class == object_class::ABOVE
        || row.class == object_class::FOLDER;
    if others || is_own() {
        return 0;
    }
    own_wall(&Attempt::new(vector::MOUNT, 0))
}

/// A file system is told to give up its journal (`remount,abort`): what lies on it can
/// be neither written nor, in part, read from then on. Both mount(2) and fsconfig(2)
/// come by here with each option.
///
/// match-proto: security/security.c:int security_fs_context_parse_param(struct fs_context *fc, struct fs_parameter *param)
#[lsm(hook = "fs_context_parse_param")]
pub fn fs_context_parse_param(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 && earlier != ENOPARAM {
        return earlier;
    }
    let option = ctx.arg::<*const u8>(1) as u64;
    let name: u64 = read(option, offset!(fs_parameter_key)).unwrap_or(0);
    if read(name, 0) != Some(ABORT) {
        return 0;
    }
    storage::abort(ctx.arg::<*const u8>(0) as u64)
}

/// match-proto: security/security.c:int security_move_mount(const struct path *from_path, const struct path *to_path)
#[lsm(hook = "move_mount")]
pub fn move_mount(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let verdict = try_path(ctx.arg::<*const u8>(0) as u64, Change::Cover);
    if verdict != 0 {
        return verdict;
    }
    try_path(ctx.arg::<*const u8>(1) as u64, Change::Cover)
}

fn try_path(path: u64, change: Change) -> i32 {
    let mount: u64 = read(path, offset!(path_mnt)).unwrap_or(0);
    let dentry: u64 = read(path, offset!(path_dentry)).unwrap_or(0);
    try_place(mount, dentry, change)
}

/// A mount is known by what is mounted, not by where: `/run`, bound a second time for
/// a chroot, is `/run`.
fn try_place(mount: u64, dentry: u64, change: Change) -> i32 {
    let Some(row) = of_inode(inode_of(dentry)) else {
        return 0;
    };
    if is_own() || !changes_host(mount, change) && !is_canary() {
        return 0;
    }
    let attempt = Attempt::new(vector::MOUNT, 0);
    match row.class {
        // Who runs it already goes on with it.
        object_class::LIBRARY => 0,
        object_class::CONFIG => config::witness(dentry, Deed::Cover),
        object_class::ABOVE if change != Change::Cover => config::witness(dentry, Deed::Cover),
        object_class::ABOVE | object_class::FOLDER => host_wall(&attempt),
        _ => own_wall(&attempt),
    }
}

/// The options of one of the host's mounts are changed, by the call of which no other
/// hook is told. Which mount it is about does not show here, so it is recorded and not
/// refused: who binds a folder read-only does the same.
pub fn witness_options() -> i32 {
    static WORD: [u8; WORD_LEN] = *b"mount_setattr\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    if is_active()
        && is_namespace_of_host(Task::current().mount_namespace())
        && let Some(host) = host_with_vms()
    {
        let attempt = Attempt {
            word: WORD.as_ptr() as u64,
            ..Attempt::new(vector::MOUNT, 0)
        };
        emit(&host, &attempt, &Report::of(event_kind::WITNESSED));
    }
    0
}

/// Does it change what the host sees? A mount in another namespace does, too, where
/// the one that it is on is shared with the host: the kernel then does the same there.
fn changes_host(mount: u64, change: Change) -> bool {
    if is_of_host(mount) {
        return true;
    }
    let whole = mount.wrapping_sub(offset!(mount_vfsmount) as u64);
    match change {
        Change::Cover => vmward_has_peer_in_host(whole) != 0,
        Change::Unmount => {
            let parent = read::<u64>(whole, offset!(mount_parent)).unwrap_or(0);
            vmward_has_peer_in_host(parent) != 0
        }
        Change::InPlace => false,
    }
}

/// Is one of those with which the `struct mount` at this address is shared in the
/// host's namespace, or does one of them have others that follow it, as the host's may
/// be made to? Where there are too many to tell, yes. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_has_peer_in_host(mount: u64) -> i32 {
    opaque(has_peer_in_host(mount).into())
}

#[inline(always)]
fn has_peer_in_host(mount: u64) -> bool {
    if has_followers(mount) {
        return true;
    }
    let peers = offset!(mount_share) as u64;
    let ring = mount.wrapping_add(peers);
    let mut at = ring;
    for _ in 0..PEERS_MAX {
        let Some(next) = read::<u64>(at, 0) else {
            return true;
        };
        if next == ring {
            return false;
        }
        let peer = next.wrapping_sub(peers);
        if is_in_host(peer) || has_followers(peer) {
            return true;
        }
        at = next;
    }
    true
}

/// The list of those that follow a mount is a ring or, on newer kernels, none: empty
/// where it leads to itself or nowhere.
fn has_followers(mount: u64) -> bool {
    let list = mount.wrapping_add(offset!(mount_slave_list) as u64);
    let first: u64 = read(list, 0).unwrap_or(list);
    first != 0 && first != list
}

/// Is the `struct vfsmount` at this address in the host's mount namespace, or in
/// vmwardd's own, where what comes over libvirt's folders hides them from it alone? A
/// mount that is not attached yet is in none.
fn is_of_host(mount: u64) -> bool {
    is_in_host(mount.wrapping_sub(offset!(mount_vfsmount) as u64))
}

/// The same of a `struct mount`.
fn is_in_host(mount: u64) -> bool {
    read(mount, offset!(mount_ns)).is_some_and(is_namespace_of_host)
}

fn is_namespace_of_host(namespace: u64) -> bool {
    let at = offset!(mnt_namespace_ns) + offset!(ns_common_inum);
    let number = read::<u32>(namespace, at).unwrap_or(0);
    number != 0 && (u64::from(number) == fact(fact::HOST_MOUNTS) || is_own_mounts(number))
}
