//! A VM is moved to another cgroup. No hook can refuse that by what it is: the
//! daemon brings the VM back.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use vmward_abi::{event_kind, role, vector};

use crate::cgroups::cover;
use crate::emit::{Report, emit};
use crate::lsm::cgroup_files::MOVE;
use crate::lsm::libvirt;
use crate::maps::is_active;
use crate::scope::{guarded, vm_of};
use crate::task::{Task, current_tgid, number};
use crate::verdict::{Attempt, is_passing, libvirt_side};

/// No role.
const NOBODY: u32 = u32::MAX;

/// After the move, in whatever hierarchy. The new cgroup is the VM's from here
/// on, whoever moved it.
///
/// match-proto: include/trace/events/cgroup.h:TP_PROTO(struct cgroup *dst_cgrp, const char *path, struct task_struct *task, bool threadgroup)
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    let cgroup = ctx.arg::<*const u8>(0) as u64;
    witness_move(cgroup, Task::from_arg(ctx.arg(2)));
    0
}

fn witness_move(cgroup: u64, task: Task) -> Option<()> {
    let vm = vm_of(task, task.tgid()?)?;
    if !is_active() {
        return None;
    }
    cover(&vm, number(cgroup));
    let attempt = Attempt::new(vector::CGROUP_MOVE, MOVE);
    // What a wall let through with a lease is on the record and stays.
    if is_passing(&vm, &attempt) {
        return None;
    }
    let actor = Task::current();
    if vmward_role_of(actor.address()) == role::OWN {
        return None;
    }
    let mut report = Report::of(event_kind::WITNESSED);
    report.deputy = libvirt_side(&vm, actor).0 || libvirt::is_current();
    emit(&vm, &attempt, &report);
    Some(())
}

/// `NOBODY` for who is not guarded. A number: the verifier does not follow an
/// absent value that the compiler leaves undefined.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_role_of(actor: u64) -> u32 {
    match guarded(Task::at(actor), current_tgid()) {
        Some(found) => found.row.role,
        None => NOBODY,
    }
}
