//! Signals to a protected VM. Fail mode: closed.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, role, vector};

use crate::lsm::{libvirt, own, sched};
use crate::maps::offset;
use crate::objects::host_wall;
use crate::scope::{Vm, guarded, guarded_or_starting, held_up, is_of_vmward};
use crate::task::{INIT, Task, current_tgid, load, number, read};
use crate::verdict::{Attempt, end_of, libvirt_side, wall};

const SIGTRAP: u32 = 5;
const SIGIO: u32 = 29;
/// Of a `struct perf_event_attr`: how often it samples, the flags, and `sigtrap` among
/// them (since 5.13).
const PERF_PERIOD: usize = 16;
const PERF_FLAGS: usize = 40;
const PERF_SIGTRAP: u64 = 1 << 37;

/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOP_SIGNALS: u64 = 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22;
/// 0 (does it exist?), SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
const BENIGN_SIGNALS: u64 = 1 | 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28;

/// A signal that stops, pauses or ends nothing.
pub fn is_benign(signal: u32) -> bool {
    signal < 64 && BENIGN_SIGNALS & (1 << signal) != 0
}

fn pauses(signal: u32) -> bool {
    signal < 64 && STOP_SIGNALS & (1 << signal) != 0
}

/// Sending `signal` by `vector`. Every signal that is neither benign nor a stop
/// signal ends QEMU or may end it.
pub fn attempt(vector: u32, signal: u32) -> Attempt {
    let effect = if pauses(signal) {
        effect::PAUSE
    } else {
        effect::FORCE_STOP
    };
    Attempt {
        signal,
        ..Attempt::new(vector, effect)
    }
}

/// kill, tkill, tgkill, rt_sigqueueinfo, pidfd_send_signal, process groups and
/// `kill -1`, to any thread of the VM, from whoever: root, PID 1, libvirtd.
///
/// match-proto: security/security.c:int security_task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)
#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(4);
    if earlier != 0 {
        return earlier;
    }
    let signal: i32 = ctx.arg(2);
    let signal = signal as u32;
    if is_benign(signal) {
        return 0;
    }
    // A plain load, and one look-up for whoever is not under guard: this runs at
    // every signal of the host.
    let target: *const u8 = ctx.arg(0);
    let tgid: u32 = load(target, offset!(task_tgid));
    decide(Task::from_arg(target), tgid, vector::SIGNAL, signal, |vm| {
        try_vm(vm, tgid, signal)
    })
}

/// Decides about a signal by `vector` to the process `tgid`, one of whose threads
/// is `target`: a VM's or its helper's as `of_vm` says, the daemon's, or nobody's.
#[inline(always)]
fn decide(
    target: Task,
    tgid: u32,
    vector: u32,
    signal: u32,
    of_vm: impl FnOnce(&Vm) -> i32,
) -> i32 {
    let Some(found) = guarded_or_starting(target, tgid) else {
        return 0;
    };
    if is_of_vmward(found.row.role) {
        return own::try_signal(target, tgid, vector, signal);
    }
    if found.row.role == role::LOGGER && !pauses(signal) {
        // It may be ended, and is by its upgrades.
        return 0;
    }
    match held_up(found) {
        Some(vm) => of_vm(&vm),
        None => 0,
    }
}

/// With a stack frame of its own: the other way needs room for its own.
#[inline(never)]
fn try_vm(vm: &Vm, tgid: u32, signal: u32) -> i32 {
    // QEMU signals its own vCPU threads all the time, and its helpers in order.
    let actor = current_tgid();
    if actor == vm.tgid || (vm.row.role == role::STARTING && cleans_up(actor)) {
        return 0;
    }
    if tgid != vm.tgid && (is_helper_of(vm, actor) || libvirt_side(vm, Task::current()).0) {
        return 0;
    }
    let helper = if vm.row.role != role::LOGGER && tgid == vm.tgid {
        0
    } else {
        tgid
    };
    wall(
        vm,
        &Attempt {
            detail: helper,
            covers: end_of(vm),
            ..attempt(vector::SIGNAL, signal)
        },
    )
}

/// Who may end a VM that starts, or comes in: it is on record all the same, see
/// `signal_generate`.
fn cleans_up(actor: u32) -> bool {
    actor == INIT || libvirt::is_current()
}

/// A helper may signal itself and the others of its VM: some are two processes.
/// libvirt ends one when it unplugs its device.
fn is_helper_of(vm: &Vm, actor: u32) -> bool {
    guarded(Task::current(), actor)
        .is_some_and(|found| found.row.role == role::HELPER && found.row.owner_tgid == vm.tgid)
}

/// An event on a file whose owner somebody made the VM (`F_SETOWN`), with a
/// signal of his choice (`F_SETSIG`): pipes, sockets, terminals, leases,
/// dnotify, inotify, perf.
///
/// The running task is whoever caused the event, or, where the kernel comes to
/// it by itself, anybody; the file keeps only the user who set the owner, which
/// is what the event's word tells. QEMU sets no such owner, so the
/// VM as the actor is no excuse: its own write may be the event.
///
/// match-proto: security/security.c:int security_file_send_sigiotask(struct task_struct *tsk, struct fown_struct *fown, int sig)
#[lsm(hook = "file_send_sigiotask")]
pub fn file_send_sigiotask(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(3);
    if earlier != 0 {
        return earlier;
    }
    let target: *const u8 = ctx.arg(0);
    let owner = ctx.arg::<*const u8>(1) as u64;
    let signal: i32 = ctx.arg(2);
    // 0 is how the file says: SIGIO.
    let signal = if signal == 0 { SIGIO } else { signal as u32 };
    if is_benign(signal) {
        return 0;
    }
    let tgid: u32 = load(target, offset!(task_tgid));
    decide(Task::from_arg(target), tgid, vector::SIGIO, signal, |vm| {
        try_owned_vm(vm, number(owner), signal)
    })
}

/// With a stack frame of its own, as [`try_vm`].
#[inline(never)]
fn try_owned_vm(vm: &Vm, owner: u64, signal: u32) -> i32 {
    let uid = read(owner, offset!(fown_uid)).unwrap_or(u32::MAX);
    let word = uid_word(uid);
    wall(
        vm,
        &Attempt {
            word: word.as_ptr() as u64,
            ..attempt(vector::SIGIO, signal)
        },
    )
}

/// A perf event on a thread of the VM that is to send it a SIGTRAP whenever it
/// counts (`sigtrap`). The kernel sends that one itself, and asks nobody then.
///
/// And one that is a breakpoint in a program (uprobe): in the middle of an instruction
/// it ends whoever runs it, and which program that is, does not show. And the last of too
/// many: see [`sched::try_crowd`].
///
/// match-proto: include/linux/lsm_hook_defs.h:LSM_HOOK(int, 0, perf_event_alloc, struct perf_event *event)
#[lsm(hook = "perf_event_alloc")]
pub fn perf_event_alloc(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    let event = ctx.arg::<*const u8>(0) as u64;
    let kind: u32 = read(event, offset!(perf_event_attr)).unwrap_or(u32::MAX);
    if kind as usize == offset!(uprobe_pmu) {
        return try_uprobe();
    }
    let target: u64 = read(event, offset!(perf_event_target)).unwrap_or(0);
    if target == 0 {
        // Of a processor and no task: the kernel takes no sigtrap there.
        return 0;
    }
    let target = Task::at(number(target));
    let flags: u64 = read(event, offset!(perf_event_attr) + PERF_FLAGS).unwrap_or(PERF_SIGTRAP);
    if flags & PERF_SIGTRAP != 0 {
        return try_perf(target);
    }
    let period: u64 = read(event, offset!(perf_event_attr) + PERF_PERIOD).unwrap_or(1);
    sched::try_crowd(target, period != 0)
}

fn try_uprobe() -> i32 {
    static WORD: [u8; WORD_LEN] = *b"perf event, uprobe\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    host_wall(&Attempt {
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::KERNEL_FILE, effect::FORCE_STOP)
    })
}

fn try_perf(target: Task) -> i32 {
    let Some(tgid) = target.tgid().filter(|tgid| *tgid != current_tgid()) else {
        return 0;
    };
    decide(target, tgid, vector::SIGIO, SIGTRAP, try_counted_vm)
}

/// With a stack frame of its own, as [`try_vm`].
#[inline(never)]
fn try_counted_vm(vm: &Vm) -> i32 {
    static WORD: [u8; WORD_LEN] = *b"perf event, sigtrap\0\0\0\0\0\0\0\0\0\0\0\0\0";
    wall(
        vm,
        &Attempt {
            word: WORD.as_ptr() as u64,
            ..attempt(vector::SIGIO, SIGTRAP)
        },
    )
}

/// "owner set by uid N".
fn uid_word(uid: u32) -> [u8; WORD_LEN] {
    const DIGITS: usize = 10;
    let mut word = *b"owner set by uid \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut at = 17;
    let mut unit = 1_000_000_000;
    let mut begun = false;
    for place in 0..DIGITS {
        let digit = uid / unit % 10;
        unit /= 10;
        begun = begun || digit != 0 || place == DIGITS - 1;
        if begun && at < WORD_LEN {
            word[at] = b'0' + digit as u8;
            at += 1;
        }
    }
    word
}
