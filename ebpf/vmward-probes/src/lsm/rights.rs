//! What has no hook of its own but asks for a right, while VMs run. Fail mode:
//! closed.
//!
//! reboot(2) and kexec, and nothing else, ask for `CAP_SYS_BOOT`. Pushing out
//! somebody else's memory (`process_madvise`) asks for `CAP_SYS_NICE`, as much else
//! does; whose memory it is, does not show.

use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{WORD_LEN, effect, vector};

use crate::input::is_process_madvise;
use crate::maps::offset;
use crate::objects::host_wall;
use crate::task::{INIT, current_tgid, read};
use crate::verdict::Attempt;

const CAP_SYS_BOOT: i32 = 22;
const CAP_SYS_NICE: i32 = 23;

/// match-proto: security/security.c:int security_capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let capability: i32 = ctx.arg(2);
    let earlier: i32 = ctx.arg(4);
    match capability {
        _ if earlier != 0 => earlier,
        CAP_SYS_BOOT => try_boot(ctx.arg::<*const u8>(1) as u64),
        CAP_SYS_NICE => try_madvise(),
        _ => 0,
    }
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

fn try_madvise() -> i32 {
    static WORD: [u8; WORD_LEN] = *b"process_madvise\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    if !is_process_madvise() {
        return 0;
    }
    host_wall(&Attempt {
        word: WORD.as_ptr() as u64,
        ..Attempt::new(vector::PTRACE, 0)
    })
}
