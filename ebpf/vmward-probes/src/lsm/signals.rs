//! Signals to a protected VM. Fail mode: closed.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{effect, vector};

use crate::lsm::own;
use crate::scope::{Vm, vm_of};
use crate::task::{Task, current_tgid};
use crate::verdict::{Attempt, wall};

/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOP_SIGNALS: u64 = 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22;
/// 0 (does it exist?), SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
const BENIGN_SIGNALS: u64 = 1 | 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28;

/// A signal that stops, pauses or ends nothing.
pub fn is_benign(signal: u32) -> bool {
    signal < 64 && BENIGN_SIGNALS & (1 << signal) != 0
}

/// Sending `signal` by `vector`. Every signal that is neither benign nor a stop
/// signal ends QEMU or may end it.
pub fn attempt(vector: u32, signal: u32) -> Attempt {
    let pauses = signal < 64 && STOP_SIGNALS & (1 << signal) != 0;
    let effect = if pauses {
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
    try_task_kill(Task::from_arg(ctx.arg(0)), signal as u32)
}

fn try_task_kill(target: Task, signal: u32) -> i32 {
    if is_benign(signal) {
        return 0;
    }
    let Some(tgid) = target.tgid() else {
        return 0;
    };
    let Some(vm) = vm_of(target, tgid) else {
        return own::try_signal(target, tgid, signal);
    };
    // QEMU signals its own vCPU threads all the time, and its helpers in order.
    if current_tgid() == vm.tgid {
        return 0;
    }
    try_vm(&vm, signal)
}

/// With a stack frame of its own: the other way needs room for its own.
#[inline(never)]
fn try_vm(vm: &Vm, signal: u32) -> i32 {
    wall(vm, &attempt(vector::SIGNAL, signal))
}
