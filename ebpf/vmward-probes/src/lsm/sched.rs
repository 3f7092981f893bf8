//! Scheduling of a VM's threads: a VM that gets no processor time is stopped.
//! Fail mode: closed.
//!
//! libvirt pins and weighs the threads of its VMs as its users ask, so its
//! daemon passes here.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, event_kind, role, vector};

use crate::emit::{Report, emit};
use crate::lsm::own;
use crate::maps::is_active;
use crate::objects::host_wall;
use crate::scope::{Vm, host, vm_or_logger};
use crate::syscall::{Call, call};
use crate::task::{Task, current_tgid};
use crate::verdict::{Attempt, has_leave, libvirt_side, wall};

/// What is tried: [`vmward_abi::Event::detail`], and its word.
#[derive(Clone, Copy)]
enum What {
    Policy = 1,
    Nice = 2,
    IoPriority = 3,
    Memory = 4,
    Events = 5,
}

static WORDS: [[u8; WORD_LEN]; 6] = [
    [0; WORD_LEN],
    *b"setscheduler\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"nice\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"ioprio\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"move-memory\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    *b"perf events, too many\0\0\0\0\0\0\0\0\0\0\0",
];

/// Perf events on one thread: more than those who measure have, and few enough that the
/// thread gets on with its work. Each costs at every switch of the processor.
const EVENTS_MAX: u32 = 64;
/// The same where the new one samples, which interrupts the thread up to a hundred
/// thousand times a second.
const SAMPLING_MAX: u32 = 16;

/// Policy, priority, deadline, utilisation clamp, affinity, timer slack, and
/// the CPU set of a cgroup that the thread is moved to.
///
/// match-proto: security/security.c:int security_task_setscheduler(struct task_struct *p)
#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    try_sched(Task::from_arg(ctx.arg(0)), What::Policy)
}

/// setpriority.
///
/// match-proto: security/security.c:int security_task_setnice(struct task_struct *p, int nice)
#[lsm(hook = "task_setnice")]
pub fn task_setnice(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_sched(Task::from_arg(ctx.arg(0)), What::Nice)
}

/// ioprio_set.
///
/// match-proto: security/security.c:int security_task_setioprio(struct task_struct *p, int ioprio)
#[lsm(hook = "task_setioprio")]
pub fn task_setioprio(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(2);
    if earlier != 0 {
        return earlier;
    }
    try_sched(Task::from_arg(ctx.arg(0)), What::IoPriority)
}

/// move_pages and migrate_pages.
///
/// match-proto: security/security.c:int security_task_movememory(struct task_struct *p)
#[lsm(hook = "task_movememory")]
pub fn task_movememory(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    if earlier != 0 {
        return earlier;
    }
    try_sched(Task::from_arg(ctx.arg(0)), What::Memory)
}

/// One perf event more on a thread that has many: it spends its time on them.
#[inline(always)]
pub fn try_crowd(target: Task, samples: bool) -> i32 {
    let max = if samples { SAMPLING_MAX } else { EVENTS_MAX };
    if target.perf_events() < max {
        return 0;
    }
    try_sched(target, What::Events)
}

/// Part of each hook's own frame: the way to what is vmward's own is long.
#[inline(always)]
fn try_sched(target: Task, what: What) -> i32 {
    let Some(tgid) = target.tgid() else {
        return 0;
    };
    let Some(vm) = vm_or_logger(target, tgid) else {
        if target.is_kernel_thread() {
            return try_kernel(what);
        }
        return own::try_sched(target, tgid, what as u32);
    };
    try_vm(&vm, tgid, what)
}

/// The kernel's own threads write for file systems, free memory, and on old kernels carry
/// a VM's packets: one that gets no time has all VMs wait. Where and how urgently they
/// run is an administrator's to say.
#[inline(never)]
fn try_kernel(what: What) -> i32 {
    let starves = matches!(what, What::Policy) && call() == Call::Starve;
    if !starves || Task::current().is_kernel_thread() {
        return 0;
    }
    static WORD: [u8; WORD_LEN] = *b"setscheduler, kernel thread\0\0\0\0\0";
    host_wall(&Attempt {
        detail: what as u32,
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::SCHED, effect::PAUSE)
    })
}

fn is_to_go_on(role: u32) -> bool {
    role == role::VM || role == role::LOGGER
}

/// Kernels before 6.6 ask again for each thread that moves to another cgroup: the move
/// has been judged, by the host where it was not to be seen who moves.
#[inline(always)]
fn is_moved(vm: &Vm) -> bool {
    let moves = Attempt::new(vector::CGROUP_MOVE, effect::PAUSE);
    let judged = has_leave(vm, &moves) || has_leave(&host(), &moves);
    judged && !matches!(call(), Call::Schedule | Call::Starve)
}

/// With a stack frame of its own: the other way needs room for its own.
#[inline(never)]
fn try_vm(vm: &Vm, tgid: u32, what: What) -> i32 {
    let actor = current_tgid();
    if actor == tgid || actor == vm.tgid || !is_to_go_on(vm.row.role) {
        return 0;
    }
    // The kernel itself empties a CPU set whose processors go away.
    let current = Task::current();
    if current.is_kernel_thread() {
        return 0;
    }
    let word = &WORDS[what as usize];
    let attempt = Attempt {
        detail: what as u32,
        word: word.as_ptr() as u64,
        ..Attempt::new(vector::SCHED, effect::PAUSE)
    };
    if libvirt_side(vm, current).0 {
        witness(vm, &attempt);
        return 0;
    }
    if matches!(what, What::Policy) && is_moved(vm) {
        return 0;
    }
    wall(vm, &attempt)
}

/// libvirt sets its VMs' threads up as its users ask. One that is left next to no time is
/// on record.
fn witness(vm: &Vm, attempt: &Attempt) {
    if attempt.detail == What::Policy as u32 && call() == Call::Starve && is_active() {
        let mut report = Report::of(event_kind::WITNESSED);
        report.deputy = true;
        emit(vm, attempt, &report);
    }
}
