//! Restarting, halting or replacing the host's kernel while VMs run. Fail mode:
//! closed.
//!
//! There is no hook for reboot(2) and kexec: they, and nothing else, ask for
//! `CAP_SYS_BOOT`.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{effect, vector};

use crate::maps::offset;
use crate::objects::host_wall;
use crate::task::{INIT, current_tgid, read};
use crate::verdict::Attempt;

const CAP_SYS_BOOT: i32 = 22;

/// match-proto: security/security.c:int security_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let capability: i32 = ctx.arg(2);
    let earlier: i32 = ctx.arg(4);
    if capability != CAP_SYS_BOOT || earlier != 0 {
        return earlier;
    }
    try_boot(ctx.arg::<*const u8>(1) as u64)
}

fn try_boot(user_namespace: u64) -> i32 {
    // A container that restarts itself: the right is asked for in the user
    // namespace of its process namespace.
    //
    // The host's first process: at an orderly shutdown vmward has let go of the
    // VMs before it comes to this. At another (`systemctl reboot --force`) there
    // is nothing left to keep a host for: everything else has been ended, and
    // refused, it would wait for ever. What it is about to do is recorded while
    // there still is somebody to write it down: see `exec.rs`.
    let in_container = read::<i32>(user_namespace, offset!(user_ns_level)).unwrap_or(0) > 0;
    if in_container || current_tgid() == INIT {
        return 0;
    }
    host_wall(&Attempt::new(vector::REBOOT, effect::HOST_REBOOT))
}
