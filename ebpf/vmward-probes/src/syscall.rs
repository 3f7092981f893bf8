//! The running system call: its number and its arguments, which do not change under
//! way, so that a wall may rest on them. What they point to may.

use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use vmward_abi::OFFSET_ABSENT;

use crate::maps::offset;
use crate::task::{Task, read, read_to};

/// Noted of a task that runs a system call by its number for 32 bits (`int 0x80`), as
/// a program of 64 bits may, too: `TS_COMPAT`.
const COMPAT: u32 = 2;
/// System calls, by their numbers on x86-64.
pub const WRITE: u64 = 1;
pub const PWRITE64: u64 = 18;
pub const WRITEV: u64 = 20;
const IOCTL: u64 = 16;
const MADVISE: u64 = 28;
const PRCTL: u64 = 157;
const IOPL: u64 = 172;
const IOPERM: u64 = 173;
pub const PWRITEV: u64 = 296;
pub const PWRITEV2: u64 = 328;
const REBOOT: u64 = 169;
const DELETE_MODULE: u64 = 176;
const PROCESS_MADVISE: u64 = 440;
const MOUNT_SETATTR: u64 = 442;
const OPEN_TREE_ATTR: u64 = 467;
const SCHED_SETPARAM: u64 = 142;
const SCHED_SETSCHEDULER: u64 = 144;
const SCHED_SETAFFINITY: u64 = 203;
const SCHED_SETATTR: u64 = 314;
/// The same for 32 bits.
const WRITE_32: u64 = 4;
const IOCTL_32: u64 = 54;
const REBOOT_32: u64 = 88;
const IOPERM_32: u64 = 101;
const IOPL_32: u64 = 110;
const PRCTL_32: u64 = 172;
const MADVISE_32: u64 = 219;
const DELETE_MODULE_32: u64 = 129;
const SCHED_SETPARAM_32: u64 = 154;
const SCHED_SETSCHEDULER_32: u64 = 156;
const SCHED_SETAFFINITY_32: u64 = 241;
const SCHED_SETATTR_32: u64 = 351;
/// Set in the numbers of the x32 calls, which are else the same.
const X32: u64 = 1 << 30;
/// `PR_SET_MM`, `PR_SET_MM_EXE_FILE`, `PR_SET_MM_MAP`: the latter asks for a right
/// only where it, too, changes the file.
const SET_MM: u64 = 35;
const SET_EXE: [u64; 2] = [13, 14];
/// The first of reboot(2)'s two passwords, and its order that the keyboard's three keys
/// be the first process's affair, and restart nothing.
const REBOOT_PASSWORD: u64 = 0xfee1_dead;
const KEYS_OFF: u64 = 0;
/// `O_TRUNC`: whoever uses the module.
const FORCED: u64 = 1 << 9;
/// `FIFREEZE`, `FS_IOC_SHUTDOWN`, `XFS_IOC_SET_RESBLKS`
const HOLDING: [u64; 3] = [0xc004_5877, 0x8004_587d, 0xc010_5872];
const TIOCSSERIAL: u64 = 0x541f;
/// `DM_DEV_SUSPEND`, by its kind and number as the kernel knows it.
pub const DM_SUSPEND: u64 = 0xfd06;
/// `DM_TABLE_LOAD`, `DM_TARGET_MSG`: what a device is made of from its next resumption
/// on, or what a part of it is to do, such as giving up a path.
const DM_LOAD: u64 = 0xfd09;
const DM_MESSAGE: u64 = 0xfd0e;
/// The kind of orders to device mapper.
pub const DM_KIND: u64 = 0xfd00;
/// What sched_setscheduler(2) calls a class of threads, beside a flag:
/// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR`.
const CLASS: u64 = 0xff;
const USUAL_CLASSES: [u64; 3] = [0, 1, 2];
/// `IORING_OP_MADVISE`
const OP_MADVISE: u8 = 25;
/// `MADV_HWPOISON`, `MADV_SOFT_OFFLINE`
const POISONING: [u64; 2] = [100, 101];

/// A system call: its number on x86-64 and its first arguments.
pub struct Running {
    pub number: u64,
    pub first: u64,
    pub second: u64,
    pub third: u64,
}

/// The running system call. What cannot be read is 0, which is no call of those that
/// are looked for. Not an absent value: the verifier before 6.3 refuses one that is
/// left undefined.
#[inline(always)]
pub fn running() -> Running {
    let regs = registers();
    let number = register(regs, offset!(regs_syscall));
    if !is_compat() {
        return Running {
            number: number & !X32,
            first: register(regs, offset!(regs_first)),
            second: register(regs, offset!(regs_second)),
            third: register(regs, offset!(regs_third)),
        };
    }
    Running {
        number: wide(number),
        first: low(register(regs, offset!(regs_bx))),
        second: low(register(regs, offset!(regs_cx))),
        third: low(register(regs, offset!(regs_third))),
    }
}

/// The number on x86-64 of a call by its number for 32 bits; none's where it is not
/// looked for.
fn wide(number: u64) -> u64 {
    match low(number) {
        WRITE_32 => WRITE,
        IOCTL_32 => IOCTL,
        REBOOT_32 => REBOOT,
        IOPERM_32 | IOPL_32 => IOPL,
        PRCTL_32 => PRCTL,
        MADVISE_32 => MADVISE,
        DELETE_MODULE_32 => DELETE_MODULE,
        PROCESS_MADVISE => PROCESS_MADVISE,
        MOUNT_SETATTR => MOUNT_SETATTR,
        OPEN_TREE_ATTR => OPEN_TREE_ATTR,
        SCHED_SETPARAM_32 | SCHED_SETSCHEDULER_32 | SCHED_SETAFFINITY_32 | SCHED_SETATTR_32 => {
            SCHED_SETATTR
        }
        _ => u64::MAX,
    }
}

fn low(register: u64) -> u64 {
    register & 0xffff_ffff
}

fn is_compat() -> bool {
    let at = offset!(task_status);
    if at == OFFSET_ABSENT as usize {
        return false;
    }
    let task = Task::current().address();
    read::<u32>(task, at).is_some_and(|status| status & COMPAT != 0)
}

/// A system call that does more than the right says that it asks for. Its number
/// and its arguments do not change under way, so that a wall may rest on them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// process_madvise(2): on the memory of another process.
    ProcessMadvise,
    /// ioperm(2), iopl(2): the way to a port by which a host starts anew.
    Ports,
    /// madvise(2) that takes memory for broken.
    Poison,
    /// delete_module(2) of a module that is in use.
    Tear,
    /// prctl(2) that changes what the process is said to run.
    SetExe,
    /// reboot(2)
    Reboot,
    /// reboot(2) by which the keyboard restarts nothing any more: systemd says so anew
    /// whenever it begins anew.
    KeysOff,
    /// sched_setscheduler(2) and the like: how a thread is scheduled.
    Schedule,
    /// As that, where the thread may be left next to no time: by a class that only idle
    /// processors run, or by one that has deadlines.
    Starve,
    /// ioctl(2) that freezes a file system, or shuts it down.
    HoldFiles,
    /// ioctl(2) that suspends a device of disks, fails it or takes it away.
    HoldDevice,
    /// mount_setattr(2), open_tree_attr(2): the options of mounts.
    SetMount,
    /// ioctl(2) that gives a serial line other ports: any port, or any memory.
    SetSerial,
    /// None: a worker of `io_uring` does what somebody has queued, which is madvise(2),
    /// or cannot be told.
    Queued,
    /// Any other, or none that can be told.
    Other,
}

/// The running system call.
pub fn call() -> Call {
    // Its registers are those of the call that began it.
    if Task::current().is_io_worker() {
        return match Task::current().queued() {
            None | Some(OP_MADVISE) => Call::Queued,
            Some(_) => Call::Other,
        };
    }
    if !is_shown() {
        return Call::Other;
    }
    let call = running();
    match call.number {
        PROCESS_MADVISE => Call::ProcessMadvise,
        MOUNT_SETATTR | OPEN_TREE_ATTR => Call::SetMount,
        IOPL | IOPERM => Call::Ports,
        REBOOT if low(call.first) == REBOOT_PASSWORD && low(call.third) == KEYS_OFF => {
            Call::KeysOff
        }
        REBOOT => Call::Reboot,
        SCHED_SETATTR => Call::Starve,
        SCHED_SETSCHEDULER if !USUAL_CLASSES.contains(&(low(call.second) & CLASS)) => Call::Starve,
        SCHED_SETPARAM | SCHED_SETSCHEDULER | SCHED_SETAFFINITY => Call::Schedule,
        DELETE_MODULE if call.second & FORCED != 0 => Call::Tear,
        MADVISE if POISONING.contains(&call.third) => Call::Poison,
        PRCTL if call.first == SET_MM && SET_EXE.contains(&call.second) => Call::SetExe,
        IOCTL if low(call.second) == TIOCSSERIAL => Call::SetSerial,
        IOCTL if HOLDING.contains(&low(call.second)) => Call::HoldFiles,
        IOCTL if is_device(low(call.second) & 0xffff) => Call::HoldDevice,
        _ => Call::Other,
    }
}

/// Does it suspend a device of disks, fail it or take it away, where it is that kind
/// of device?
fn is_device(command: u64) -> bool {
    matches!(
        command,
        DM_SUSPEND | DM_LOAD | DM_MESSAGE
            // `SET_DISK_FAULTY`, `STOP_ARRAY`, `STOP_ARRAY_RO`
            | 0x0929 | 0x0932 | 0x0933
            // `NBD_CLEAR_SOCK`, `NBD_DISCONNECT`
            | 0xab04 | 0xab08
            // `NVME_IOCTL_RESET`, `NVME_IOCTL_SUBSYS_RESET`
            | 0x4e44 | 0x4e45
            // `BLKROSET`
            | 0x125d
    )
}

/// What ioctl(2) is given.
pub struct Ioctl {
    /// Is it one at all?
    pub is_it: bool,
    /// The descriptor.
    pub fd: u32,
    /// Kind and number of the command, as a rule; all of it for a few.
    pub command: u64,
    /// The argument: mostly an address.
    pub argument: u64,
}

/// The running ioctl(2).
#[inline(always)]
pub fn ioctl() -> Ioctl {
    let call = running();
    Ioctl {
        is_it: call.number == IOCTL,
        fd: call.first as u32,
        command: low(call.second),
        argument: call.third,
    }
}

/// Does this kernel show what is called, and with what?
#[inline(always)]
pub fn is_shown() -> bool {
    offset!(regs_syscall) != OFFSET_ABSENT as usize
}

/// Where write(2) of 64 bits writes from, and how much; `None` where it is not what runs.
/// It takes less of the stack than [`running`].
#[inline(always)]
pub fn plain_write() -> Option<(u64, u64)> {
    let regs = registers();
    if register(regs, offset!(regs_syscall)) != WRITE || is_compat() {
        return None;
    }
    let at = register(regs, offset!(regs_second));
    Some((at, register(regs, offset!(regs_third))))
}

fn registers() -> u64 {
    // SAFETY: no precondition; the second takes what the first gives.
    unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) as u64 }
}

fn register(regs: u64, offset: usize) -> u64 {
    let mut value = 0;
    // SAFETY: a local, as large as what is read.
    unsafe { read_to(&raw mut value, regs.wrapping_add(offset as u64)) };
    value
}

/// What lies in the caller's memory.
pub fn user<T: Copy>(at: u64) -> Option<T> {
    // SAFETY: the helper checks the address and fails instead of faulting.
    unsafe { aya_ebpf::helpers::bpf_probe_read_user(at as *const T) }.ok()
}
