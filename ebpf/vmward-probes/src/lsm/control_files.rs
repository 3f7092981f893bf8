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
use vmward_abi::event_kind;

use super::{cgroup_files, kernel_files};
use crate::emit::{Report, emit};
use crate::maps::{is_active, offset};
use crate::name::Name;
use crate::scope::Vm;
use crate::verdict::{Attempt, wall};

const MAY_WRITE: i32 = 2;
const FMODE_WRITE: u32 = 2;
const CGROUP_MAGIC: u64 = 0x0027_e0eb;
const CGROUP2_MAGIC: u64 = 0x6367_7270;
const PROC_MAGIC: u64 = 0x9fa0;
const SYSFS_MAGIC: u64 = 0x6265_6572;
const DEBUGFS_MAGIC: u64 = 0x6462_6720;

/// What a write to a file would be.
pub enum Act {
    /// For the wall to decide.
    Judge(Vm, Attempt),
    /// Let through, and on the record; true where libvirt's daemon does it.
    Witness(Vm, Attempt, bool),
}

/// Reads a `T` at `base + offset`, where `base` is an argument of the hook, or
/// was read from one.
#[inline(always)]
pub fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier knows what `base` points to, and refuses the program
    // where there is no such field; a null pointer reads as 0.
    unsafe { core::ptr::read_volatile(base.add(offset).cast()) }
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
    // Other guarded files of the product: one more arm here.
    match magic {
        CGROUP_MAGIC | CGROUP2_MAGIC | PROC_MAGIC | SYSFS_MAGIC | DEBUGFS_MAGIC => {
            control_file(magic, file as u64, inode as u64)
        }
        _ => 0,
    }
}

fn control_file(magic: u64, file: u64, inode: u64) -> i32 {
    let mut name = Name::EMPTY;
    let act = match magic {
        CGROUP_MAGIC | CGROUP2_MAGIC => cgroup_files::written(inode, &mut name),
        PROC_MAGIC => kernel_files::proc_written(file, inode, &mut name),
        _ => kernel_files::sysfs_written(file, &mut name),
    };
    match act {
        Some(Act::Judge(vm, mut attempt)) => {
            attempt.word = name.address();
            wall(&vm, &attempt)
        }
        Some(Act::Witness(vm, mut attempt, deputy)) if is_active() => {
            attempt.word = name.address();
            let mut report = Report::of(event_kind::WITNESSED, &attempt);
            report.deputy = deputy;
            emit(&vm, &report);
            0
        }
        _ => 0,
    }
}

/// Devices whose opening is enough: what is mapped is written without a call.
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
    if mode & FMODE_WRITE == 0 {
        return 0;
    }
    let inode: *const u8 = load(file, offset!(file_inode));
    let device: u32 = load(inode, offset!(inode_rdev));
    // Other guarded files of the product: one more question here.
    if !kernel_files::is_memory(device) {
        return 0;
    }
    memory_opened(file as u64, inode as u64)
}

fn memory_opened(file: u64, inode: u64) -> i32 {
    let mut name = Name::EMPTY;
    match kernel_files::memory_opened(file, inode, &mut name) {
        Some((vm, mut attempt)) => {
            attempt.word = name.address();
            wall(&vm, &attempt)
        }
        None => 0,
    }
}
