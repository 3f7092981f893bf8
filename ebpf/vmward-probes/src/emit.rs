//! Reports an event: numbers it first, so that a full ring leaves a gap that
//! the reader sees, then fills it in place.

use aya_ebpf::helpers::{bpf_get_current_uid_gid, generated};
use vmward_abi::{COMM_LEN, Event, actor_flag, total};

use crate::atomic::fetch_add_u64;
use crate::calls::Requester;
use crate::maps::{EVENTS, TOTALS, VM_STATES};
use crate::scope::Vm;
use crate::task::{Task, current_pid, current_tgid, forget, read_to};
use crate::verdict::Attempt;

/// What differs from event to event.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Report {
    /// One of `event_kind`.
    pub kind: u32,
    /// The lease that covered it; 0 for none.
    pub lease: u64,
    /// The host rule that decided; 0 for none.
    pub host_rule: u64,
    /// Wait status.
    pub exit_code: u32,
    /// The actor is the VM's libvirtd.
    pub deputy: bool,
    /// Who asked the deputy.
    pub requester: Requester,
    /// The lease is not known to be the requester's.
    pub rode: bool,
}

impl Report {
    /// A report of `kind`, and nothing else.
    pub fn of(kind: u32) -> Self {
        Self {
            kind,
            lease: 0,
            host_rule: 0,
            exit_code: 0,
            deputy: false,
            requester: Requester::UNKNOWN,
            rode: false,
        }
    }
}

/// Adds one to a counter and gives the new value; 0 when there is no counter.
fn next(counter: Option<*mut u64>) -> u64 {
    match counter {
        // SAFETY: a live map value, shared with other CPUs only by atomics.
        Some(p) => unsafe { fetch_add_u64(p, 1) }.wrapping_add(1),
        None => 0,
    }
}

fn flags(what: &Report) -> u32 {
    let mut flags = 0;
    if what.deputy {
        flags |= actor_flag::DEPUTY;
    }
    if what.requester.is_sure() {
        flags |= actor_flag::REQUESTER_SURE;
    }
    if what.rode {
        flags |= actor_flag::RODE;
    }
    flags
}

/// Reports `what` about `attempt` on `vm`, with the running task as the actor. Of
/// a FINISHING the attempt has only the cause, in place of the signal.
#[inline(always)]
pub fn emit(vm: &Vm, attempt: &Attempt, what: &Report) {
    forget(vm);
    forget(attempt);
    forget(what);
    vmward_emit(vm, attempt, what);
}

/// [`emit`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_emit(vm: *const Vm, attempt: *const Attempt, what: *const Report) -> i32 {
    // SAFETY: null or alive.
    let given = unsafe { (vm.as_ref(), attempt.as_ref(), what.as_ref()) };
    if let (Some(vm), Some(attempt), Some(what)) = given {
        write(vm, attempt, what);
    }
    0
}

#[inline(always)]
fn write(vm: &Vm, attempt: &Attempt, what: &Report) {
    let seq = next(TOTALS.get_ptr_mut(total::EVENTS));
    let vm_seq = next(VM_STATES.get_ptr_mut(vm.tgid).map(|state| {
        // SAFETY: a field of a live map value; no reference is made.
        unsafe { &raw mut (*state).seq }
    }));
    let Some(mut entry) = EVENTS.reserve::<Event>(0) else {
        next(TOTALS.get_ptr_mut(total::LOST));
        return;
    };
    let task = Task::current();
    let ids = bpf_get_current_uid_gid();
    let event = entry.as_mut_ptr();
    // SAFETY: `event` points to reserved room for a whole Event; every field is
    // written, so nothing of the ring's old content leaks or is read.
    unsafe {
        (*event).seq = seq;
        (*event).vm_seq = vm_seq;
        (*event).boot_ns = generated::bpf_ktime_get_boot_ns();
        (*event).vm_start_ticks = vm.row.start_ticks;
        (*event).actor_start_ticks = task.start_ticks().unwrap_or(0);
        (*event).lease = what.lease;
        (*event).host_rule = what.host_rule;
        (*event).cgroup_id = generated::bpf_get_current_cgroup_id();
        (*event).vm_uuid = vm.row.uuid;
        (*event).kind = what.kind;
        (*event).signal = attempt.signal;
        (*event).vm_tgid = vm.tgid;
        (*event).exit_code = what.exit_code;
        (*event).actor_pid = current_pid();
        (*event).actor_tgid = current_tgid();
        (*event).uid = ids as u32;
        (*event).gid = (ids >> 32) as u32;
        (*event).loginuid = task.loginuid();
        (*event).session = task.session();
        (*event).actor_flags = flags(what);
        (*event).vector = attempt.vector;
        (*event).requester_start_ticks = what.requester.start_ticks();
        (*event).requester_tgid = what.requester.tgid();
        (*event).requester_uid = what.requester.uid();
        (*event).effect = attempt.effect;
        (*event).detail = attempt.detail;
        (*event).pad = 0;
        // Straight to their place, since the stack is small; what cannot be read
        // is left as zeros by the helpers.
        read_to(&raw mut (*event).word, attempt.word);
        generated::bpf_get_current_comm((&raw mut (*event).comm).cast(), COMM_LEN as u32);
        task.write_ancestors(&raw mut (*event).ancestors);
    }
    entry.submit(0);
}
