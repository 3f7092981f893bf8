//! What VMs' disks lie on: held still, failed or taken away by an ioctl(2) that asks
//! for `CAP_SYS_ADMIN`. Fail mode: closed.
//!
//! A file system that is frozen or shut down is refused where files of VMs lie on it,
//! or vmward's own. What is done to a device is recorded: whoever makes a snapshot of a
//! volume, or makes it longer, suspends it as well.

use vmward_abi::{WORD_LEN, effect, event_kind, object, object_class, vector};

use crate::cgroups::host_with_vms;
use crate::emit::{Report, emit};
use crate::lsm::kernel_files::name_of_file;
use crate::maps::{is_active, offset};
use crate::objects::{find, host_wall, identify, inode_of, of_inode};
use crate::syscall::{DM_KIND, DM_SUSPEND, ioctl, user};
use crate::task::{Task, read};
use crate::verdict::Attempt;

/// `struct dm_ioctl`: the flags, and the name of the device.
const DM_FLAGS: u64 = 28;
const DM_NAME: u64 = 48;
/// `DM_SUSPEND_FLAG`; without it the device goes on.
const SUSPENDS: u32 = 1 << 1;
/// `FS_IOC_SHUTDOWN`
const SHUTDOWN: u64 = 0x8004_587d;

/// A file system is frozen or shut down.
#[inline(never)]
pub fn hold_files() -> i32 {
    static FREEZE: [u8; WORD_LEN] = *b"FIFREEZE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    static SHUT: [u8; WORD_LEN] = *b"FS_IOC_SHUTDOWN\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let call = ioctl();
    if !holds_vms(call.fd) {
        return 0;
    }
    let word = if call.command == SHUTDOWN {
        SHUT.as_ptr()
    } else {
        FREEZE.as_ptr()
    };
    host_wall(&Attempt {
        word: word as u64,
        ..Attempt::new(vector::STORAGE, effect::PAUSE)
    })
}

/// A file that nobody may write to any more (`chattr +i`, `+a`): one that is a VM's
/// memory ends it, libvirt's or vmward's own can no longer be kept. Which file is meant,
/// an ioctl(2) says first; a later call that does the same (`file_setattr`) is not let
/// through while VMs run.
#[inline(never)]
pub fn hold_file() -> i32 {
    static WORD: [u8; WORD_LEN] = *b"chattr\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let call = ioctl();
    if call.is_it && !is_guarded(call.fd) {
        return 0;
    }
    host_wall(&Attempt {
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::STORAGE, effect::FORCE_STOP)
    })
}

/// Is an open file under guard? Where somebody else could put another one in its place
/// meanwhile: yes.
fn is_guarded(fd: u32) -> bool {
    let task = Task::current();
    if !task.has_files_alone() {
        return true;
    }
    let row = inode_behind(task, fd).and_then(of_inode);
    // Who runs a library does not write to it.
    row.is_some_and(|row| row.class != object_class::LIBRARY)
}

/// The inode of a task's open file.
fn inode_behind(task: Task, fd: u32) -> Option<u64> {
    read(task.file(fd)?, offset!(file_inode))
}

/// Do files of VMs lie on the file system of an open file, or vmward's own? Where
/// somebody else could put another file in its place meanwhile, or it cannot be read:
/// yes.
fn holds_vms(fd: u32) -> bool {
    let task = Task::current();
    if !task.has_files_alone() {
        return true;
    }
    let Some((_, dev)) = inode_behind(task, fd).and_then(identify) else {
        return true;
    };
    is_of_vms(dev)
}

/// Do files of VMs lie on the file system of this device, or vmward's own?
fn is_of_vms(dev: u32) -> bool {
    find(object::FILE_SYSTEM, 0, dev).is_some()
}

/// The file system of a `struct fs_context` is told to give up its journal. One that is
/// not mounted yet has no root, and is none of VMs'.
pub fn abort(context: u64) -> i32 {
    static WORD: [u8; WORD_LEN] = *b"remount, abort\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let root: u64 = read(context, offset!(fs_context_root)).unwrap_or(0);
    give_up(root, &WORD)
}

/// What serves a file system is given up: a FUSE or Ceph of VMs' disks for good.
pub fn unmount_by_force(root: u64) -> i32 {
    static WORD: [u8; WORD_LEN] = *b"umount, force\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    give_up(root, &WORD)
}

/// The file system whose root is the `struct dentry` at this address is of use to nobody
/// any more. What cannot be read is no file system of VMs.
#[inline(never)]
fn give_up(root: u64, word: &'static [u8; WORD_LEN]) -> i32 {
    if !identify(inode_of(root)).is_some_and(|(_, dev)| is_of_vms(dev)) {
        return 0;
    }
    host_wall(&Attempt {
        word: word.as_ptr() as u64,
        ..Attempt::new(vector::STORAGE, effect::PAUSE)
    })
}

/// A device is suspended, failed or taken away.
#[inline(never)]
pub fn hold_device() -> i32 {
    if is_active() {
        witness();
    }
    0
}

fn witness() -> Option<()> {
    let host = host_with_vms()?;
    let call = ioctl();
    let mut attempt = Attempt::new(vector::STORAGE, effect::PAUSE);
    if call.command & 0xff00 == DM_KIND {
        let flags: u32 = user(call.argument.wrapping_add(DM_FLAGS))?;
        if call.command & 0xffff == DM_SUSPEND && flags & SUSPENDS == 0 {
            return None;
        }
        let name: [u64; WORD_LEN / 8] = user(call.argument.wrapping_add(DM_NAME))?;
        attempt.word = &raw const name as u64;
        emit(&host, &attempt, &Report::of(event_kind::WITNESSED));
        return Some(());
    }
    let name = name_of_file(Task::current().file(call.fd)?);
    attempt.word = name.address();
    emit(&host, &attempt, &Report::of(event_kind::WITNESSED));
    Some(())
}
