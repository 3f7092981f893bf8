//! vmward's own program starts as itself: with nothing that the environment
//! loads into it, and by nobody traced. And the host's first process becomes the one that ends
//! everything: a witness, see `reboot.rs`.

use aya_ebpf::bindings::linux_binprm;
use aya_ebpf::helpers::generated::bpf_bprm_opts_set;
use aya_ebpf::macros::lsm;
use aya_ebpf::programs::LsmContext;
use vmward_abi::{effect, event_kind, fact, vector};

use crate::emit::{Report, emit};
use crate::maps::{is_active, offset};
use crate::name::Name;
use crate::objects::{host_of_vms, is_own_file, own_wall, running};
use crate::task::{INIT, Task, current_tgid, read};
use crate::verdict::Attempt;

/// The dynamic linker takes the program for one with more rights than its
/// caller, and ignores `LD_PRELOAD` and the like.
const BPF_F_BPRM_SECUREEXEC: u64 = 1;

/// match-proto: security/security.c:int security_bprm_creds_for_exec(struct linux_binprm *bprm)
#[lsm(hook = "bprm_creds_for_exec")]
pub fn bprm_creds_for_exec(ctx: LsmContext) -> i32 {
    let earlier: i32 = ctx.arg(1);
    let program: *mut linux_binprm = ctx.arg(0);
    if earlier == 0 && is_own(program as u64) {
        // What a tracer makes of it would be vmward's.
        if Task::current().is_traced() {
            return own_wall(&Attempt::new(vector::PTRACE, 0));
        }
        // SAFETY: the pointer is the hook's own argument. It fails for unknown
        // options only.
        unsafe { bpf_bprm_opts_set(program, BPF_F_BPRM_SECUREEXEC) };
    }
    if current_tgid() == INIT {
        witness_shutdown(program as u64);
    }
    earlier
}

/// systemd's way from the request to the end: it becomes `systemd-shutdown`, which
/// signals every process, waits for them, and restarts or halts the host. At an orderly
/// shutdown vmward has let go of the VMs before that, and this program is not asked any
/// more; a forced one ends VMs that are still under protection. The daemon lives until
/// the first of those signals, and takes this down before it ends. Whatever else PID 1
/// becomes can do the same.
#[inline(never)]
fn witness_shutdown(program: u64) -> Option<()> {
    if !running(fact::VMS_ENFORCED) && !running(fact::VMS_OBSERVED) {
        return None;
    }
    let file: u64 = read(program, offset!(binprm_file))?;
    let dentry: u64 = read(file, offset!(file_path) + offset!(path_dentry))?;
    let name = Name::at(read(dentry, offset!(dentry_name))?);
    // Which it starts anew as after an update of its own, and then ends nothing.
    if name.is("systemd") || !is_active() {
        return None;
    }
    let attempt = Attempt {
        word: name.address(),
        ..Attempt::new(vector::REBOOT, effect::HOST_REBOOT)
    };
    emit(&host_of_vms(), &attempt, &Report::of(event_kind::WITNESSED));
    None
}

fn is_own(program: u64) -> bool {
    match read(program, offset!(binprm_file)) {
        Some(file) => is_own_file(file),
        None => false,
    }
}
