//! May this signal reach this VM? The one place that decides it.
//!
//! Order: libvirt's finishing kill of a guest that is over; a lease; a host rule
//! that names the sender; else refused (or, for a VM that is only observed,
//! reported and let through).

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use vmward_abi::{EXECUTING_NS, LeaseRow, effect, event_kind, lease_state, vm_flag};

use crate::atomic::{fetch_add_u32, replace_u32};
use crate::emit::{Report, emit};
use crate::host::{self, Use};
use crate::maps::{LEASES, PASSING, VM_STATES};
use crate::scope::Vm;
use crate::task::{Task, current_tgid};

const EPERM: i32 = -1;
const ALLOW: i32 = 0;

/// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
const STOP_SIGNALS: u64 = 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22;
/// 0 (does it exist?), SIGCHLD, SIGCONT, SIGURG, SIGWINCH.
const BENIGN_SIGNALS: u64 = 1 | 1 << 17 | 1 << 18 | 1 << 23 | 1 << 28;

/// A signal that stops, pauses or ends nothing.
pub fn is_benign(signal: u32) -> bool {
    signal < 64 && BENIGN_SIGNALS & (1 << signal) != 0
}

/// The effect that a lease must cover for this signal to pass. Every signal
/// that is neither benign nor a stop signal ends QEMU or may end it.
fn effect_of(signal: u32) -> u32 {
    if signal < 64 && STOP_SIGNALS & (1 << signal) != 0 {
        effect::PAUSE
    } else {
        effect::FORCE_STOP
    }
}

/// What [`PASSING`] holds about a signal on its way to `vm`.
fn passage(vm: &Vm, signal: u32) -> u64 {
    u64::from(vm.tgid) << 32 | u64::from(signal)
}

/// Is this the signal that the running thread sends with the wall's leave?
/// Answers yes once.
pub fn is_passing(vm: &Vm, signal: u32) -> bool {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: a plain copy of a live map value.
    let passing = unsafe { PASSING.get(thread) }.copied();
    if passing != Some(passage(vm, signal)) {
        return false;
    }
    // A failed removal means the entry was evicted already.
    let _ = PASSING.remove(thread);
    true
}

/// Decides on a signal that the running task sends to `vm`, and reports it.
pub fn on_signal(vm: &Vm, signal: u32) -> i32 {
    let verdict = judge(vm, signal);
    if verdict == ALLOW {
        // Without the entry the witness reports the signal once more.
        let _ = PASSING.insert(bpf_get_current_pid_tgid(), passage(vm, signal), 0);
    }
    verdict
}

/// Fails closed: what cannot be read covers nothing.
fn judge(vm: &Vm, signal: u32) -> i32 {
    let sender = Task::current();
    let (deputy, finishing) = libvirt_side(vm, sender);
    let mut report = Report {
        kind: event_kind::FINISHING_KILL,
        signal,
        lease: 0,
        host_rule: 0,
        exit_code: 0,
        deputy,
    };
    if deputy && finishing != 0 {
        emit(vm, &report);
        return ALLOW;
    }
    if let Some((lease, kind)) = claim(vm, signal, sender, deputy) {
        report.kind = kind;
        report.lease = lease;
        emit(vm, &report);
        return ALLOW;
    }
    report.kind = event_kind::REFUSED;
    // libvirt acts for anybody: a rule that names it would name everybody.
    if !deputy {
        match host::use_rule(vm, effect_of(signal), sender) {
            Use::Allowed(rule) => {
                report.kind = event_kind::HOST_RULE;
                report.host_rule = rule;
                emit(vm, &report);
                return ALLOW;
            }
            Use::UsedUp(rule) => {
                report.kind = event_kind::HOST_RULE_USED_UP;
                report.host_rule = rule;
            }
            Use::None => {}
        }
    }
    if vm.row.flags & vm_flag::OBSERVE != 0 {
        report.kind = event_kind::WOULD_REFUSE;
        emit(vm, &report);
        return ALLOW;
    }
    emit(vm, &report);
    EPERM
}

/// Is the sender the process at the other end of the VM's monitor, and what
/// has QEMU said about its end?
fn libvirt_side(vm: &Vm, sender: Task) -> (bool, u32) {
    // SAFETY: a plain copy of a live map value.
    let Some(state) = (unsafe { VM_STATES.get(vm.tgid) }).copied() else {
        return (false, 0);
    };
    if state.deputy_tgid == 0 || state.deputy_tgid != current_tgid() {
        return (false, 0);
    }
    let same = state.deputy_pid_ptr == 0 || sender.tgid_pid_ptr() == Some(state.deputy_pid_ptr);
    (same, if same { state.finishing } else { 0 })
}

/// Uses the VM's lease for this signal, where there is one that covers it.
/// Gives its id and the kind of event.
fn claim(vm: &Vm, signal: u32, sender: Task, deputy: bool) -> Option<(u64, u32)> {
    let row = LEASES.get_ptr_mut(vm.tgid)?;
    // SAFETY: a plain copy of a live map value; what other CPUs change under
    // it (state, uses) is decided by the atomics below.
    let lease: LeaseRow = unsafe { *row };
    let needed = effect_of(signal);
    if lease.vm_start_ticks != vm.row.start_ticks || lease.effects & needed == 0 {
        return None;
    }
    if !deputy && !sender.descends_from(lease.holder_tgid, lease.holder_start_ticks) {
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
    if needed == effect::PAUSE && !take_use(row) {
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

/// Takes one use; false when none was left.
fn take_use(row: *mut LeaseRow) -> bool {
    // SAFETY: an aligned field of a live map value.
    let before = unsafe { fetch_add_u32(&raw mut (*row).uses, u32::MAX) };
    if before == 0 || before > i32::MAX as u32 {
        // SAFETY: as above.
        unsafe { fetch_add_u32(&raw mut (*row).uses, 1) };
        return false;
    }
    true
}
