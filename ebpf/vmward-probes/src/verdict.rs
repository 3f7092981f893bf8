//! May this be done to this VM? The one place that decides it.
//!
//! Order: a lease; a host rule that names the actor; else refused (or, for a VM
//! that is only observed or disarmed, reported and let through). libvirt's finishing kill
//! of a guest that is over comes before all, and is a matter of signals alone.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated};
use vmward_abi::{EXECUTING_NS, effect, event_kind, finishing_cause, lease_state, vector};

use crate::calls::{self, Requester};
use crate::claim::claim;
use crate::emit::{Report, emit};
use crate::host::{self, Use};
use crate::lsm::libvirt;
use crate::maps::{LEASES, PASSING, Turn, VM_STATES, turn};
use crate::objects::is_observed;
use crate::scope::Vm;
use crate::task::{Task, current_tgid, forget, opaque};

/// What a wall returns to refuse.
pub const EPERM: i32 = -1;
const ALLOW: i32 = 0;

/// What somebody tries.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Attempt {
    /// One of `vmward_abi::vector`.
    pub vector: u32,
    /// The bit of `vmward_abi::effect` that a lease or a host rule must cover.
    pub effect: u32,
    /// Further effects whose lease covers it, since it is a part of them.
    pub covers: u32,
    /// Signal number; 0 for what is no signal.
    pub signal: u32,
    /// What the vector says.
    pub detail: u32,
    /// Kernel memory of `WORD_LEN` bytes, or 0.
    pub word: u64,
}

impl Attempt {
    /// An attempt without signal, detail or word.
    pub fn new(vector: u32, effect: u32) -> Self {
        Self {
            vector,
            effect,
            covers: 0,
            signal: 0,
            detail: 0,
            word: 0,
        }
    }

    /// What [`PASSING`] holds about this attempt on `vm`.
    fn passage(&self, vm: &Vm) -> u64 {
        // The witness of a signal knows the signal alone.
        let detail = if self.signal == 0 { self.detail } else { 0 };
        let what = self.vector << 16 | (self.signal & 0xff) << 8 | detail & 0xff;
        u64::from(vm.tgid) << 32 | u64::from(what)
    }
}

/// A whole wall: decides where it is this generation's turn to, reports, and
/// gives what the hook returns.
#[inline(always)]
pub fn wall(vm: &Vm, attempt: &Attempt) -> i32 {
    forget(vm);
    forget(attempt);
    returned(vmward_wall(vm, attempt))
}

/// A wall that neither a lease nor a host rule opens: around what is no VM.
#[inline(always)]
pub fn refuse(vm: &Vm, attempt: &Attempt) -> i32 {
    forget(vm);
    forget(attempt);
    returned(vmward_refuse(vm, attempt))
}

/// Lets the attempt through under the lease of what is meant, where there is
/// one.
#[inline(always)]
pub fn is_leased(vm: &Vm, attempt: &Attempt) -> bool {
    forget(vm);
    forget(attempt);
    vmward_is_leased(vm, attempt) == 1
}

/// Would a lease or a host rule let `actor` do this by itself? Uses neither.
#[inline(always)]
pub fn is_covered(vm: &Vm, needed: u32, actor: Task) -> bool {
    forget(vm);
    vmward_is_covered(vm, needed, actor.address()) == 1
}

/// What a hook may return: newer verifiers ask for the proof.
#[inline(always)]
pub fn returned(verdict: i32) -> i32 {
    if verdict == ALLOW { ALLOW } else { EPERM }
}

/// [`wall`], verified by itself, as are the functions below: once a program, not
/// once for every way that leads to it. None of them is ever given null.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_wall(vm: *const Vm, attempt: *const Attempt) -> i32 {
    // SAFETY: null or alive.
    let (Some(vm), Some(attempt)) = (unsafe { (vm.as_ref(), attempt.as_ref()) }) else {
        return opaque(EPERM);
    };
    let thread = bpf_get_current_pid_tgid();
    match turn() {
        Turn::Mine => {}
        Turn::Other => {
            // A note of an earlier attempt must not pass for a decision on this
            // one. A failed removal means that there was none.
            let _ = PASSING.remove(thread);
            return opaque(ALLOW);
        }
        // The kernel asks the newest program first. Where the turn changed after
        // that one stepped aside, nobody has decided yet.
        Turn::Later if has_leave(vm, attempt) => return opaque(ALLOW),
        Turn::Later => {}
    }
    let verdict = judge(vm, attempt);
    if verdict == ALLOW {
        // Without the entry the witness reports a signal once more.
        let _ = PASSING.insert(thread, attempt.passage(vm), 0);
    } else {
        let _ = PASSING.remove(thread);
    }
    opaque(verdict)
}

/// [`refuse`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_refuse(vm: *const Vm, attempt: *const Attempt) -> i32 {
    // SAFETY: null or alive.
    let (Some(vm), Some(attempt)) = (unsafe { (vm.as_ref(), attempt.as_ref()) }) else {
        return opaque(EPERM);
    };
    match turn() {
        Turn::Other => return opaque(ALLOW),
        Turn::Later if has_leave(vm, attempt) => return opaque(ALLOW),
        Turn::Mine | Turn::Later => {}
    }
    let observed = is_observed(vm);
    let kind = if observed {
        // Without the note a former generation reports it once more.
        let _ = PASSING.insert(bpf_get_current_pid_tgid(), attempt.passage(vm), 0);
        event_kind::WOULD_REFUSE
    } else {
        event_kind::REFUSED
    };
    emit(vm, attempt, &Report::of(kind));
    opaque(if observed { ALLOW } else { EPERM })
}

/// [`is_leased`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_leased(vm: *const Vm, attempt: *const Attempt) -> i32 {
    // SAFETY: null or alive.
    let (Some(vm), Some(attempt)) = (unsafe { (vm.as_ref(), attempt.as_ref()) }) else {
        return opaque(0);
    };
    if turn() != Turn::Mine {
        return opaque(0);
    }
    let Some((lease, kind)) = claim(vm, attempt, Task::current(), None) else {
        return opaque(0);
    };
    // As in `wall`.
    let _ = PASSING.insert(bpf_get_current_pid_tgid(), attempt.passage(vm), 0);
    let mut report = Report::of(kind);
    report.lease = lease;
    emit(vm, attempt, &report);
    opaque(1)
}

/// [`is_covered`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_is_covered(vm: *const Vm, needed: u32, actor: u64) -> i32 {
    // SAFETY: null or alive.
    let Some(vm) = (unsafe { vm.as_ref() }) else {
        return opaque(0);
    };
    let actor = Task::at(actor);
    // SAFETY: a plain copy of a live map value.
    if let Some(lease) = unsafe { LEASES.get(vm.tgid) }.copied()
        && lease.vm_start_ticks == vm.row.start_ticks
        && lease.effects & needed != 0
        && actor.descends_from(lease.holder_tgid, lease.holder_start_ticks)
    {
        // SAFETY: the helper has no precondition.
        let now = unsafe { generated::bpf_ktime_get_boot_ns() };
        let until = if lease.state == lease_state::EXECUTING {
            lease.claimed_ns.wrapping_add(EXECUTING_NS)
        } else {
            lease.deadline_ns
        };
        if now <= until {
            return opaque(1);
        }
    }
    opaque(host::rule_for(vm, needed, actor).is_some().into())
}

/// Has a wall let the running thread do this?
pub fn has_leave(vm: &Vm, attempt: &Attempt) -> bool {
    // SAFETY: a plain copy of a live map value.
    let passing = unsafe { PASSING.get(bpf_get_current_pid_tgid()) }.copied();
    passing == Some(attempt.passage(vm))
}

/// Is this the signal that the running thread sends with the wall's leave?
/// Answers yes once.
pub fn is_passing(vm: &Vm, attempt: &Attempt) -> bool {
    if !has_leave(vm, attempt) {
        return false;
    }
    // A failed removal means the entry was evicted already.
    let _ = PASSING.remove(bpf_get_current_pid_tgid());
    true
}

/// Decides without asking whose turn it is, and reports.
///
/// Fails closed: what cannot be read covers nothing.
#[inline(always)]
fn judge(vm: &Vm, attempt: &Attempt) -> i32 {
    let actor = Task::current();
    let (deputy, finishing) = libvirt_side(vm, actor);
    let mut report = Report::of(event_kind::FINISHING_KILL);
    report.deputy = deputy;
    if deputy {
        report.requester = calls::behind(vm, attempt.effect | attempt.covers);
    }
    let ends = attempt.signal != 0 || attempt.vector == vector::MONITOR_COMMAND;
    if ends && deputy && is_done(finishing) {
        emit(vm, attempt, &report);
        return ALLOW;
    }
    let asked_by = deputy.then_some(&report.requester);
    if let Some((lease, kind)) = claim(vm, attempt, actor, asked_by) {
        report.kind = kind;
        report.lease = lease;
        report.rode = deputy && report.requester.lease() != lease;
        emit(vm, attempt, &report);
        return ALLOW;
    }
    report.kind = event_kind::REFUSED;
    match host_rule(vm, attempt, actor, deputy, &report.requester) {
        Use::Allowed(rule) => {
            report.kind = event_kind::HOST_RULE;
            report.host_rule = rule;
            emit(vm, attempt, &report);
            return ALLOW;
        }
        Use::UsedUp(rule) => {
            report.kind = event_kind::HOST_RULE_USED_UP;
            report.host_rule = rule;
        }
        Use::None => {}
    }
    if is_observed(vm) {
        report.kind = event_kind::WOULD_REFUSE;
        emit(vm, attempt, &report);
        return ALLOW;
    }
    emit(vm, attempt, &report);
    EPERM
}

/// Is libvirt to end the VM? Its guest is over; or it was written away with a
/// wall's leave, and libvirt has done with it. Refusing would leave a QEMU that
/// libvirt calls shut off.
fn is_done(finishing: u32) -> bool {
    const WRITTEN_AWAY: u32 = finishing_cause::WRITTEN | finishing_cause::GIVEN_UP;
    finishing & finishing_cause::OVER != 0 || finishing & WRITTEN_AWAY == WRITTEN_AWAY
}

/// Effects of which the end of the VM by this actor is a part: a dump with `--crash`. A
/// newer libvirt ends the VM before it has done with it. With a frame of its own.
#[inline(never)]
pub fn end_of(vm: &Vm) -> u32 {
    let (deputy, finishing) = libvirt_side(vm, Task::current());
    if deputy && finishing & finishing_cause::WRITTEN != 0 {
        effect::SAVE
    } else {
        0
    }
}

/// Is the actor the process at the other end of the VM's monitor, and what is
/// known of its guest's end (bits of [`finishing_cause`])? Its number alone proves
/// nothing: it may be somebody else's by now. The canary's libvirt is played.
pub fn libvirt_side(vm: &Vm, actor: Task) -> (bool, u32) {
    // SAFETY: a plain copy of a live map value.
    let Some(state) = (unsafe { VM_STATES.get(vm.tgid) }).copied() else {
        return (false, 0);
    };
    if state.deputy_tgid == 0 || state.deputy_tgid != current_tgid() {
        return (false, 0);
    }
    let same = (state.deputy_pid_ptr == 0 || actor.tgid_pid_ptr() == Some(state.deputy_pid_ptr))
        && (vm.row.uuid == [0; 16] || libvirt::is_current());
    (same, if same { state.finishing } else { 0 })
}

/// libvirt acts for anybody: a rule that names it would name everybody. What
/// counts is who asked it, where that is beyond doubt.
fn host_rule(vm: &Vm, attempt: &Attempt, actor: Task, deputy: bool, asked_by: &Requester) -> Use {
    if !deputy {
        return host::use_rule(vm, attempt.effect, actor);
    }
    if !asked_by.is_sure() {
        return Use::None;
    }
    let (number, id) = asked_by.host_rule();
    // As with a lease: who may save may pause on the way.
    host::use_noted(number, id, attempt.effect | attempt.covers)
}
