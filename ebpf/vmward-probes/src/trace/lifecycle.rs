//! Signals of kernel origin, and the end of a VM's process.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use vmward_abi::{WORD_LEN, event_kind, role, vector};

use crate::emit::{Report, emit};
use crate::lsm::signals::{attempt, is_benign};
use crate::maps::{LEASES, VM_STATES, VMS, is_active, offset};
use crate::objects::one_less;
use crate::scope::{Vm, guarded_or_starting, of_vm};
use crate::task::{Task, current_tgid, load, read};
use crate::verdict::{Attempt, is_passing};

/// `SEND_SIG_NOINFO` and `SEND_SIG_PRIV` are no addresses but 0 and 1.
const SEND_SIG_PRIV: u64 = 1;
/// SIGUSR1, SIGPIPE, SIGALRM, SIGIO: part of QEMU's normal work.
const QEMU_WORK: u64 = 1 << 10 | 1 << 13 | 1 << 14 | 1 << 29;

/// Signals that `task_kill` never sees: cgroup.kill, OOM, rlimits, ptrace's
/// EXITKILL, faults.
///
/// match-proto: include/trace/events/signal.h:TP_PROTO(int sig, struct kernel_siginfo *info, struct task_struct *task, int group, int result)
#[btf_tracepoint(function = "signal_generate")]
pub fn signal_generate(ctx: BtfTracePointContext) -> i32 {
    let signal: i32 = ctx.arg(0);
    let signal = signal as u32;
    if is_benign(signal) || (signal < 64 && QEMU_WORK & (1 << signal) != 0) {
        return 0;
    }
    // As in `task_kill`: nearly all of them are for nobody under guard.
    let target: *const u8 = ctx.arg(2);
    let tgid: u32 = load(target, offset!(task_tgid));
    let info = ctx.arg::<*const u8>(1) as u64;
    witness_signal(Task::from_arg(target), tgid, signal, info);
    0
}

fn witness_signal(target: Task, tgid: u32, signal: u32, info: u64) -> Option<()> {
    let found = guarded_or_starting(target, tgid)?;
    if found.row.role == role::STARTING {
        witness_start(&found, signal);
        return None;
    }
    if found.row.role == role::LOGGER {
        witness_logger(&found, signal);
        return None;
    }
    let vm = of_vm(found)?;
    if !is_active() || !from_kernel(&vm, signal, info) {
        return None;
    }
    emit(
        &vm,
        &attempt(vector::SIGNAL, signal),
        &Report::of(event_kind::KERNEL_SIGNAL),
    );
    Some(())
}

/// virtlogd may be ended, and is by its upgrades: no guest waits then, and what guests
/// print is lost until they start anew. What would have held it up was refused.
#[inline(never)]
fn witness_logger(logger: &Vm, signal: u32) {
    static WORD: [u8; WORD_LEN] = *b"virtlogd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    if !is_active() {
        return;
    }
    let attempt = Attempt {
        signal,
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::SIGNAL, 0)
    };
    emit(logger, &attempt, &Report::of(event_kind::WITNESSED));
}

/// Who ends a VM that starts, where no wall has told of it: libvirt, PID 1, the kernel.
#[inline(never)]
fn witness_start(vm: &Vm, signal: u32) {
    static WORD: [u8; WORD_LEN] = *b"a VM that starts\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    if !is_active() || current_tgid() == vm.tgid {
        return;
    }
    if is_passing(vm, &attempt(vector::SIGIO, signal))
        || is_passing(vm, &attempt(vector::SIGNAL, signal))
    {
        return;
    }
    let attempt = Attempt {
        word: WORD.as_ptr() as u64,
        ..attempt(vector::SIGNAL, signal)
    };
    emit(vm, &attempt, &Report::of(event_kind::WITNESSED));
}

/// Did no hook judge this signal? Kernels before 7.x describe a user's signal,
/// with a code of 0 or less; later ones describe it with nothing, as they do
/// some of their own, and only the wall's note tells them apart.
fn from_kernel(vm: &Vm, signal: u32, info: u64) -> bool {
    // By an event on a file: the wall has reported it.
    if is_passing(vm, &attempt(vector::SIGIO, signal)) {
        return false;
    }
    if info > SEND_SIG_PRIV
        && let Some(code) = read::<i32>(info, offset!(siginfo_code))
        && code <= 0
    {
        return false;
    }
    info == SEND_SIG_PRIV || !is_passing(vm, &attempt(vector::SIGNAL, signal))
}

/// The end of a VM: reported, and its rows removed so that nothing is left
/// that a reused process id could inherit.
///
/// match-proto: include/trace/events/sched.h:DEFINE_EVENT(sched_process_template, sched_process_exit, TP_PROTO(struct task_struct *p)
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    witness_exit(Task::from_arg(ctx.arg(0)));
    0
}

fn witness_exit(task: Task) -> Option<()> {
    let tgid = current_tgid();
    let vm = guarded_or_starting(task, tgid)?;
    if !is_active() || !task.group_is_dead() {
        return None;
    }
    if vm.row.role != role::VM {
        // A failed removal means the row was gone already.
        let _ = VMS.remove(tgid);
        return None;
    }
    // SAFETY: a plain copy of a live map value.
    let lease = unsafe { LEASES.get(tgid) }
        .filter(|row| row.vm_start_ticks == vm.row.start_ticks)
        .map_or(0, |row| row.id);
    emit(
        &vm,
        &Attempt::new(0, 0),
        &Report {
            lease,
            exit_code: task.exit_code(),
            ..Report::of(event_kind::EXITED)
        },
    );
    // A failed removal means the row was gone already.
    let _ = LEASES.remove(tgid);
    let _ = VM_STATES.remove(tgid);
    if VMS.remove(tgid).is_ok() {
        one_less(&vm);
    }
    Some(())
}
