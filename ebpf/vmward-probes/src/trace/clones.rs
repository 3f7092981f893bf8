//! A process is cloned straight into a VM's cgroup (`CLONE_INTO_CGROUP`), past the
//! file that takes members in. No hook asks about that: whoever may not is ended,
//! and the kernel makes no child for a process that is about to end.

use aya_ebpf::helpers::generated::bpf_send_signal;
use aya_ebpf::macros::fexit;
use aya_ebpf::programs::FExitContext;
use vmward_abi::{effect, role, vector};

use crate::cgroups::Folder;
use crate::lsm::cgroup_files::sorts_threads;
use crate::maps::offset;
use crate::scope::is_of_vmward;
use crate::task::{INIT, current_tgid, load};
use crate::verdict::{Attempt, EPERM, wall};

/// `CLONE_INTO_CGROUP`
const INTO_CGROUP: u64 = 1 << 33;
const SIGKILL: u32 = 9;

/// What it would have taken from the VM is its share of the host, and its memory.
///
/// match-proto: kernel/cgroup/cgroup.c:int cgroup_can_fork(struct task_struct *child, struct kernel_clone_args *kargs)
#[fexit(function = "cgroup_can_fork")]
pub fn cgroup_can_fork(ctx: FExitContext) -> i32 {
    let args: *const u8 = ctx.arg(1);
    let flags: u64 = load(args, offset!(clone_flags));
    let refused: i32 = ctx.arg(2);
    if flags & INTO_CGROUP == 0 || refused != 0 {
        return 0;
    }
    if judge(load(args, offset!(clone_cgroup))) == Some(EPERM) {
        // The service manager cannot be ended, and has been let through.
        // SAFETY: the helper has no precondition.
        unsafe { bpf_send_signal(SIGKILL) };
    }
    0
}

/// As a write to the cgroup's `cgroup.procs` would be.
fn judge(cgroup: u64) -> Option<i32> {
    let place = Folder::of_cgroup(cgroup)?.place()?;
    let vm = place.vm()?;
    let of_vm = place.own && vm.row.role != role::LOGGER && !is_of_vmward(vm.row.role);
    let own = current_tgid() == vm.tgid || current_tgid() == INIT;
    if !of_vm || own || sorts_threads(&vm) {
        return None;
    }
    Some(wall(&vm, &Attempt::new(vector::CGROUP_MOVE, effect::PAUSE)))
}
