//! Signals to a protected VM. Fail mode: closed.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

use crate::maps::{Turn, turn};
use crate::scope::vm_of;
use crate::task::{Task, current_tgid};
use crate::verdict::{has_leave, is_benign, on_signal};

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
        return 0;
    };
    // QEMU signals its own vCPU threads all the time.
    if current_tgid() == tgid {
        return 0;
    }
    match turn() {
        Turn::Mine => {}
        Turn::Other => return 0,
        // The kernel asks the newest program first. Where the turn changed after
        // that one stepped aside, nobody has decided yet.
        Turn::Later if has_leave(&vm, signal) => return 0,
        Turn::Later => {}
    }
    on_signal(&vm, signal)
}
