//! What the running thread is about to write, as far as can be seen before the
//! kernel has copied it: another thread may still change it. Good for a friendly
//! refusal and for letting a known writer do its work; no wall rests on that.

use aya_ebpf::helpers::generated::{
    bpf_get_current_task_btf, bpf_probe_read_user, bpf_task_pt_regs,
};
use vmward_abi::OFFSET_ABSENT;

use crate::maps::offset;
use crate::task::{Task, read, read_to};

/// How much is looked at: a process id with its newline, the word `max`.
pub const TEXT_LEN: usize = 16;
/// Process ids are below `2^22`.
const DIGITS_MAX: u32 = 7;
/// Noted of a task that runs a system call by its number for 32 bits (`int 0x80`), as
/// a program of 64 bits may, too: `TS_COMPAT`.
const COMPAT: u32 = 2;
/// System calls, by their numbers on x86-64.
const WRITE: u64 = 1;
const PWRITE64: u64 = 18;
const WRITEV: u64 = 20;
const IOCTL: u64 = 16;
const MADVISE: u64 = 28;
const PRCTL: u64 = 157;
const IOPL: u64 = 172;
const IOPERM: u64 = 173;
const PWRITEV: u64 = 296;
const PWRITEV2: u64 = 328;
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
/// `MADV_HWPOISON`, `MADV_SOFT_OFFLINE`
const POISONING: [u64; 2] = [100, 101];

/// The beginning of a text, NUL padded.
pub type Text = [u8; TEXT_LEN];

/// The beginning of what is written.
pub enum Input {
    /// This.
    Text(Text),
    /// By a system call that hides it (`io_uring`, splice, sendfile), in memory that
    /// is not there yet, or in several parts.
    Hidden,
    /// Where this kernel keeps a system call's arguments is not known.
    Unknown,
}

/// A system call: its number on x86-64 and its first arguments.
struct Running {
    number: u64,
    first: u64,
    second: u64,
    third: u64,
}

/// The running system call. What cannot be read is 0, which is no call of those that
/// are looked for. Not an absent value: the verifier before 6.3 refuses one that is
/// left undefined.
#[inline(always)]
fn running() -> Running {
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

/// Looks at the running system call.
pub fn input() -> Input {
    if offset!(regs_syscall) == OFFSET_ABSENT as usize {
        return Input::Unknown;
    }
    let call = running();
    match call.number {
        WRITE | PWRITE64 => text(call.second, call.third, 1),
        WRITEV | PWRITEV | PWRITEV2 => {
            let Some([mut at, mut len]) = user::<[u64; 2]>(call.second) else {
                return Input::Hidden;
            };
            // C libraries put an empty or buffered part before the text.
            let mut parts = call.third;
            if len == 0 && parts > 1 {
                let Some(second) = user::<[u64; 2]>(call.second.wrapping_add(16)) else {
                    return Input::Hidden;
                };
                [at, len] = second;
                parts -= 1;
            }
            text(at, len, parts)
        }
        _ => Input::Hidden,
    }
}

/// What a plain write(2) is about to write, as most programs do; false where it is
/// none. It takes less of the stack than [`input`].
#[inline(always)]
pub fn plain_input(text: &mut Text) -> bool {
    if offset!(regs_syscall) == OFFSET_ABSENT as usize {
        return false;
    }
    let regs = registers();
    if register(regs, offset!(regs_syscall)) != WRITE || is_compat() {
        return false;
    }
    let at = register(regs, offset!(regs_second)) as *const _;
    let len = up_to_text(register(regs, offset!(regs_third)));
    // SAFETY: `len` bytes are inside the text; the helper checks the other address and
    // fails instead of faulting.
    unsafe { bpf_probe_read_user(text.as_mut_ptr().cast(), len, at) == 0 }
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
    /// ioctl(2) that freezes a file system, or shuts it down.
    HoldFiles,
    /// ioctl(2) that suspends a device of disks, fails it or takes it away.
    HoldDevice,
    /// mount_setattr(2), open_tree_attr(2): the options of mounts.
    SetMount,
    /// ioctl(2) that gives a serial line other ports: any port, or any memory.
    SetSerial,
    /// None: a worker of `io_uring` does what somebody has queued.
    Queued,
    /// Any other, or none that can be told.
    Other,
}

/// The running system call.
pub fn call() -> Call {
    // Its registers are those of the call that began it.
    if Task::current().is_io_worker() {
        return Call::Queued;
    }
    if offset!(regs_syscall) == OFFSET_ABSENT as usize {
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
        SCHED_SETPARAM | SCHED_SETSCHEDULER | SCHED_SETAFFINITY | SCHED_SETATTR => Call::Schedule,
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
        DM_SUSPEND
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

/// What is written from `at` on: of several parts only what ends in the first.
fn text(at: u64, len: u64, parts: u64) -> Input {
    let mut text = [0; TEXT_LEN];
    let len = up_to_text(len);
    // SAFETY: `len` bytes are inside the array; the helper checks the other
    // address and fails instead of faulting.
    let failed = unsafe { bpf_probe_read_user((&raw mut text).cast(), len, at as *const _) };
    if failed != 0 || parts > 1 && !is_line(&text) {
        return Input::Hidden;
    }
    Input::Text(text)
}

fn up_to_text(len: u64) -> u32 {
    if len > TEXT_LEN as u64 {
        TEXT_LEN as u32
    } else {
        len as u32
    }
}

/// Does the text end in itself?
fn is_line(text: &Text) -> bool {
    let mut ends = false;
    for byte in text {
        ends |= *byte == b'\n';
    }
    ends
}

/// The number that a text is, as whoever has nothing to hide writes it: in decimal,
/// without a sign, blanks or zeros before it. `None` for any other text: the kernel
/// reads more.
pub fn number(text: &Text) -> Option<u32> {
    let mut number: u32 = 0;
    for (digits, byte) in (0..).zip(text) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            let ends = *byte == b'\n' || *byte == 0;
            return (ends && digits > 0).then_some(number);
        }
        // 0 alone is the writer itself; more behind it is another base.
        if digits == DIGITS_MAX || digits == 1 && number == 0 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    None
}
