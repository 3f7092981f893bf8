//! Leases being used.

use aya_ebpf::helpers::generated;
use vmward_abi::{EXECUTING_NS, LeaseRow, effect, event_kind, lease_state, lease_use};

use crate::atomic::{fetch_or_u32, replace_u32};
use crate::calls::Requester;
use crate::maps::LEASES;
use crate::scope::Vm;
use crate::task::Task;
use crate::verdict::Attempt;

/// Uses the VM's lease for this attempt, where there is one that covers it.
/// Gives its id and the kind of event. Where libvirt acts, `asked_by` says for
/// whom: where it is known beyond doubt, it must be the lease's holder.
#[inline(never)]
pub fn claim(
    vm: &Vm,
    attempt: &Attempt,
    actor: Task,
    asked_by: Option<&Requester>,
) -> Option<(u64, u32)> {
    let row = LEASES.get_ptr_mut(vm.tgid)?;
    // SAFETY: a live map value, read field by field since the stack is small;
    // what other CPUs change under it (state, uses) is decided by the atomics
    // below.
    let lease: &LeaseRow = unsafe { &*row };
    let needed = attempt.effect;
    let of_operation = lease.effects & attempt.covers != 0;
    if lease.vm_start_ticks != vm.row.start_ticks || (lease.effects & needed == 0 && !of_operation)
    {
        return None;
    }
    let is_holders = match asked_by {
        Some(requester) => !requester.is_sure() || requester.lease() == lease.id,
        None => actor.descends_from(lease.holder_tgid, lease.holder_start_ticks),
    };
    if !is_holders {
        return None;
    }
    // SAFETY: the helper has no precondition.
    let now = unsafe { generated::bpf_ktime_get_boot_ns() };
    let first = if lease.state == lease_state::EXECUTING {
        if now > lease.claimed_ns.wrapping_add(EXECUTING_NS) {
            return None;
        }
        false
    } else {
        if lease.state != lease_state::GRANTED || now > lease.deadline_ns {
            return None;
        }
        mark_executing(row, now)
    };
    // As a part of another operation a pause uses nothing up. A reset leaves the VM
    // where it was, so that it could be reset again and again.
    let use_of = match needed {
        effect::PAUSE if !of_operation => lease_use::PAUSE,
        effect::RESET => lease_use::RESET,
        _ => 0,
    };
    if use_of != 0 && !take_use(row, use_of) {
        return None;
    }
    Some((
        lease.id,
        if first {
            event_kind::LEASE_CLAIMED
        } else {
            event_kind::LEASE_USED
        },
    ))
}

/// Moves the lease from granted to executing; true for the one CPU that did.
fn mark_executing(row: *mut LeaseRow, now: u64) -> bool {
    // The time comes first: whoever sees the new state must see it too.
    // SAFETY: an aligned field of a live map value; racing writers write the
    // same moment.
    unsafe { core::ptr::write_volatile(&raw mut (*row).claimed_ns, now) };
    // SAFETY: an aligned field of a live map value.
    unsafe {
        replace_u32(
            &raw mut (*row).state,
            lease_state::GRANTED,
            lease_state::EXECUTING,
        )
    }
}

/// Takes the one use of a kind, a bit; false when it was taken before.
fn take_use(row: *mut LeaseRow, of: u32) -> bool {
    // SAFETY: an aligned field of a live map value.
    let used = unsafe { fetch_or_u32(&raw mut (*row).used, of) };
    used & of == 0
}
