//! Writing to files of the kernel that control processes. Fail mode: closed.
//!
//! Decided at each write, so that it matters neither when, where nor by whom the
//! file was opened, nor which system call writes. What a program can do by
//! opening alone, as with `/dev/mem`, is decided there.
//!
//! These hooks run for every file of the host: what is no control file leaves
//! after one compare. Arguments are read by plain loads, which the verifier
//! checks; no helper is called before that.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{effect, event_kind, role, vector};

use super::own::TMPFS_MAGIC;
use super::{cgroup_files, kernel_files, own};
use crate::emit::{Report, emit};
use crate::maps::{is_active, offset};
use crate::name::Name;
use crate::scope::{Vm, guarded, host};
use crate::task::{Task, current_tgid, forget, load, number, read};
use crate::verdict::{Attempt, refuse, wall};

const MAY_WRITE: i32 = 2;
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
const O_NONBLOCK: u32 = 0o4000;
const S_IFMT: u16 = 0o170_000;
const S_IFIFO: u16 = 0o010_000;
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;
const TRACEFS_MAGIC: u64 = 0x7472_6163;
const SECURITYFS_MAGIC: u64 = 0x7363_6673;
const RESCTRL_MAGIC: u64 = 0x0765_5821;
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// What a write to a file would be.
pub enum Act {
    /// For the wall to decide.
    Judge(Vm, Attempt),
    /// Refused, whatever lease there is.
    Refuse(Vm, Attempt),
    /// Let through, and on the record; true where libvirt's daemon does it.
    Witness(Vm, Attempt, bool),
}

/// write and its relatives, `io_uring`, splice, sendfile: each asks before each
/// write, whatever was asked at the opening.
///
/// match-proto: security/security.c:int security_file_permission(struct file *file, int mask)
#[lsm(hook = "file_permission")]
pub fn file_permission(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    let mask: i32 = ctx.arg(1);
    if mask & MAY_WRITE == 0 {
        return 0;
    }
    let file: *const u8 = ctx.arg(0);
    let inode: *const u8 = load(file, offset!(file_inode));
    let sb: *const u8 = load(inode, offset!(inode_sb));
    let magic: u64 = load(sb, offset!(sb_magic));
    match magic {
        CGROUP_MAGIC | CGROUP2_MAGIC | PROC_MAGIC | SYSFS_MAGIC | DEBUGFS_MAGIC | TRACEFS_MAGIC
        | SECURITYFS_MAGIC | RESCTRL_MAGIC => control_file(magic, file as u64, inode as u64),
        // Whoever writes to a keyboard presses its keys, and one of them restarts hosts.
        _ if kernel_files::is_keyboard(load(inode, offset!(inode_rdev))) => {
            host_device(file as u64, inode as u64)
        }
        _ => 0,
    }
}

/// What was found out about a write. Filled in by functions that are not inlined:
/// what they need of the small stack is free again when the wall decides.
#[derive(Clone, Copy)]
#[repr(C)]
struct Found {
    name: Name,
    vm: Vm,
    attempt: Attempt,
    act: u32,
}

const JUDGE: u32 = 1;
const WITNESS: u32 = 2;
const WITNESS_DEPUTY: u32 = 3;
const REFUSE: u32 = 5;
/// It takes a process into a cgroup that is no VM's: which process?
pub const TAKE_IN: u32 = 4;

impl Found {
    /// To be forgotten where it lies: what is forgotten here would be copied.
    #[inline(always)]
    fn nothing() -> Self {
        Self {
            name: Name::EMPTY,
            vm: host(),
            attempt: Attempt::new(0, 0),
            act: 0,
        }
    }

    fn set(&mut self, act: Option<Act>) {
        (self.vm, self.attempt, self.act) = match act {
            Some(Act::Judge(vm, attempt)) => (vm, attempt, JUDGE),
            Some(Act::Refuse(vm, attempt)) => (vm, attempt, REFUSE),
            Some(Act::Witness(vm, attempt, false)) => (vm, attempt, WITNESS),
            Some(Act::Witness(vm, attempt, true)) => (vm, attempt, WITNESS_DEPUTY),
            None => return,
        };
    }

    #[inline(always)]
    fn verdict(&mut self) -> i32 {
        // An address of the caller's stack, which cannot be handed upwards.
        self.attempt.word = self.name.address();
        match self.act {
            JUDGE => wall(&self.vm, &self.attempt),
            REFUSE => refuse(&self.vm, &self.attempt),
            WITNESS | WITNESS_DEPUTY => {
                witness(self);
                0
            }
            _ => 0,
        }
    }
}

#[inline(never)]
fn witness(found: &Found) {
    if is_active() {
        let mut report = Report::of(event_kind::WITNESSED);
        report.deputy = found.act == WITNESS_DEPUTY;
        emit(&found.vm, &found.attempt, &report);
    }
}

/// With a frame of its own, as [`host_device`].
#[inline(never)]
fn control_file(magic: u64, file: u64, inode: u64) -> i32 {
    let mut found = Found::nothing();
    forget(&found);
    let (file, inode) = (number(file), number(inode));
    match magic {
        CGROUP_MAGIC | CGROUP2_MAGIC => vmward_find_cgroup(inode, &raw mut found),
        PROC_MAGIC => vmward_find_proc(file, inode, &raw mut found),
        RESCTRL_MAGIC => vmward_find_share(file, &raw mut found),
        _ => vmward_find_sysfs(file, &raw mut found),
    };
    if found.act == TAKE_IN {
        vmward_find_taken_in(&raw mut found);
    }
    found.verdict()
}

// Each of the next is verified by itself, and never given null.

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_cgroup(inode: u64, found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        let act = cgroup_files::written(inode, &mut found.name, &mut found.act);
        found.set(act);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_taken_in(found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        found.act = 0;
        let act = cgroup_files::taken_in();
        found.set(act);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_proc(file: u64, inode: u64, found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        let act = kernel_files::proc_written(file, inode, &mut found.name);
        found.set(act);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_sysfs(file: u64, found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        let act = kernel_files::sysfs_written(file, &mut found.name);
        found.set(act);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_share(file: u64, found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        let act = kernel_files::share_written(file, &mut found.name);
        found.set(act);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_find_device(file: u64, inode: u64, found: *mut Found) -> i32 {
    // SAFETY: null or alive.
    if let Some(found) = unsafe { found.as_mut() } {
        let act = kernel_files::device_opened(file, inode, &mut found.name);
        found.set(act);
    }
    0
}

/// Devices whose opening is enough: what is mapped is written without a call, and an
/// ioctl needs no more. And files under guard, which nobody else has to write to at
/// all.
///
/// match-proto: security/security.c:int security_file_open(struct file *file)
#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    let file: *const u8 = ctx.arg(0);
    let mode: u32 = load(file, offset!(file_mode));
    let inode: *const u8 = load(file, offset!(file_inode));
    let device: u32 = load(inode, offset!(inode_rdev));
    let writes = mode & FMODE_WRITE != 0;
    if kernel_files::is_host_device(device, writes) {
        return host_device(file as u64, inode as u64);
    }
    let kind: u16 = load(inode, offset!(inode_mode));
    if kind & S_IFMT == S_IFIFO {
        return fifo_opened(file as u64, mode);
    }
    let sb: *const u8 = load(inode, offset!(inode_sb));
    let magic: u64 = load(sb, offset!(sb_magic));
    if !writes {
        // Of memory without a name even a descriptor to read will do: `udmabuf` makes of
        // it one that writes.
        let in_memory = magic == TMPFS_MAGIC || magic == HUGETLBFS_MAGIC;
        if !in_memory || load::<u32>(inode, offset!(inode_links)) != 0 {
            return 0;
        }
    }
    if magic == SYSFS_MAGIC {
        return sysfs_opened(file as u64);
    }
    let dentry: u64 = load(file, offset!(file_path) + offset!(path_dentry));
    own::opened(dentry)
}

/// Whoever opens a FIFO for one direction waits until somebody opens it for the other,
/// and where QEMU waits, so does its guest. Any name that QEMU is told could be that
/// of a FIFO: a ROM, a certificate, a screenshot. What its consoles are, it opens for
/// both.
#[inline(never)]
fn fifo_opened(file: u64, mode: u32) -> i32 {
    let (file, mode) = (number(file), number(mode.into()) as u32);
    let both = FMODE_READ | FMODE_WRITE;
    let flags: u32 = read(file, offset!(file_flags)).unwrap_or(0);
    if mode & both == both || flags & O_NONBLOCK != 0 {
        return 0;
    }
    let found = guarded(Task::current(), current_tgid());
    let waits = |found: &Vm| found.row.role == role::VM || found.row.role == role::LOGGER;
    let Some(vm) = found.filter(waits) else {
        return 0;
    };
    let name = kernel_files::name_of_file(file);
    wall(
        &vm,
        &Attempt {
            word: name.address(),
            ..Attempt::new(vector::FIFO, effect::PAUSE)
        },
    )
}

/// Since 6.12 a loop device writes without the hook's being asked. What is on the
/// record alone is recorded where it is written.
#[inline(never)]
fn sysfs_opened(file: u64) -> i32 {
    let mut found = Found::nothing();
    forget(&found);
    vmward_find_sysfs(number(file), &raw mut found);
    found.attempt.word = found.name.address();
    match found.act {
        JUDGE => wall(&found.vm, &found.attempt),
        _ => 0,
    }
}

/// A device that is the host itself. A frame of its own: the way to what is vmward's
/// own is long, too.
#[inline(never)]
fn host_device(file: u64, inode: u64) -> i32 {
    let mut found = Found::nothing();
    forget(&found);
    vmward_find_device(number(file), number(inode), &raw mut found);
    found.attempt.word = found.name.address();
    match found.act {
        JUDGE => wall(&found.vm, &found.attempt),
        WITNESS => {
            witness(&found);
            0
        }
        _ => 0,
    }
}
