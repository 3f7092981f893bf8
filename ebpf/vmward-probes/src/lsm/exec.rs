//! vmward's own program starts as itself: with nothing that the environment
//! loads into it.

use crate::maps::offset;
use crate::objects::is_own_file;
use crate::task::read;
use aya_ebpf::bindings::linux_binprm;
use aya_ebpf::helpers::generated::bpf_bprm_opts_set;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;

/// The dynamic linker takes the program for one with more rights than its
/// caller, and ignores `LD_PRELOAD` and the like.
const BPF_F_BPRM_SECUREEXEC: u64 = 1;

/// match-proto: security/security.c:int security_bprm_creds_for_exec(struct linux_binprm *bprm)
#[lsm(hook = "bprm_creds_for_exec")]
pub fn bprm_creds_for_exec(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    let program: *mut linux_binprm = ctx.arg(0);
    if earlier == 0 && is_own(program as u64) {
        // SAFETY: the pointer is the hook's own argument. It fails for unknown
        // options only.
        unsafe { bpf_bprm_opts_set(program, BPF_F_BPRM_SECUREEXEC) };
    }
    earlier
}

fn is_own(program: u64) -> bool {
    match read(program, offset!(binprm_file)) {
        Some(file) => is_own_file(file),
        None => false,
    }
}
