//! Who asked libvirt for what: noted when a client sends its call, looked up
//! when libvirt acts.
//!
//! Names the requester; where it is sure, whose lease or host rule libvirt may
//! use. A client can hide what it sends, so whoever sent what could not be read
//! counts as one that may have asked for anything.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_uid_gid, generated};
use vmward_abi::{CALL_WINDOW_NS, CALLS_KEPT, Call, Calls, UNREAD_UUID, call_flag};

use crate::atomic::fetch_add_u32;
use crate::host;
use crate::maps::{CALLS, LEASES};
use crate::scope::Vm;
use crate::task::{Task, current_tgid};

/// Who is behind libvirt.
#[derive(Clone, Copy)]
pub struct Requester {
    /// Start time of the process, in ticks since boot.
    pub start_ticks: u64,
    /// The VM's lease that it held, itself or an ancestor, when it asked.
    pub lease: u64,
    /// The host rule that named it then; 0 for none.
    pub host_rule: u64,
    /// Its number.
    pub host_rule_number: u32,
    /// Thread group; 0 when nobody is known to have asked.
    pub tgid: u32,
    /// Real user id.
    pub uid: u32,
    /// Nobody else can have asked.
    pub sure: bool,
}

impl Requester {
    /// Nobody is known to have asked.
    pub const UNKNOWN: Self = Self {
        start_ticks: 0,
        lease: 0,
        host_rule: 0,
        host_rule_number: 0,
        tgid: 0,
        uid: 0,
        sure: false,
    };
}

fn now() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { generated::bpf_ktime_get_boot_ns() }
}

fn is_recent(then: u64, now: u64) -> bool {
    then != 0 && now.wrapping_sub(then) < CALL_WINDOW_NS
}

/// Notes that the running process asked for what does `seen` to `vm`.
pub fn note(vm: &Vm, seen: u32) {
    let task = Task::current();
    let mut call = caller(task, seen);
    call.lease = held_lease(vm, task);
    if let Some((number, id)) = host::rule_for(vm, seen, task) {
        call.host_rule_number = number;
        call.host_rule = id;
    }
    keep(&vm.row.uuid, &call);
}

/// Notes that the running process sent libvirt what could not be read.
pub fn note_unread() {
    keep(&UNREAD_UUID, &caller(Task::current(), u32::MAX));
}

fn caller(task: Task, seen: u32) -> Call {
    let comm = bpf_get_current_comm().unwrap_or([0; 16]);
    Call {
        boot_ns: 0,
        start_ticks: task.start_ticks().unwrap_or(0),
        lease: 0,
        host_rule: 0,
        tgid: current_tgid(),
        uid: bpf_get_current_uid_gid() as u32,
        seen,
        host_rule_number: 0,
        flags: if is_middleman(&comm) {
            call_flag::MIDDLEMAN
        } else {
            0
        },
        pad: 0,
    }
}

/// virtproxyd passes on what its clients ask. Who takes on its name gains
/// nothing: the requester is then never sure.
fn is_middleman(comm: &[u8; 16]) -> bool {
    let names: [&[u8]; 3] = [b"virtproxyd", b"rpc-virtproxyd", b"prio-rpc-virtpr"];
    names.iter().any(|name| comm.starts_with(name))
}

/// The VM's lease, where `task` may use it.
fn held_lease(vm: &Vm, task: Task) -> u64 {
    // SAFETY: a plain copy of a live map value.
    let Some(lease) = (unsafe { LEASES.get(vm.tgid) }).copied() else {
        return 0;
    };
    if lease.vm_start_ticks == vm.row.start_ticks
        && task.descends_from(lease.holder_tgid, lease.holder_start_ticks)
    {
        lease.id
    } else {
        0
    }
}

/// The place of a call that is dropped is marked first, then made void, then
/// filled: who looks on meanwhile is less sure, never wrong.
fn keep(uuid: &[u8; 16], call: &Call) {
    let Some(calls) = CALLS.get_ptr_mut(uuid) else {
        return;
    };
    let now = now();
    // SAFETY: an aligned field of a live map value.
    let number = unsafe { fetch_add_u32(&raw mut (*calls).count, 1) } as usize % CALLS_KEPT;
    // SAFETY: inside the array of a live map value; racing writers of one place
    // are four calls apart.
    unsafe {
        let place = &raw mut (*calls).kept[number];
        let old = *place;
        let same = old.tgid == call.tgid && old.start_ticks == call.start_ticks;
        if is_recent(old.boot_ns, now) && !same {
            core::ptr::write_volatile(&raw mut (*calls).dropped_ns, now);
        }
        core::ptr::write_volatile(&raw mut (*place).boot_ns, 0);
        *place = *call;
        core::ptr::write_volatile(&raw mut (*place).boot_ns, now);
    }
}

/// Who asked for what libvirt now does to the VM: the newest call that fits.
pub fn behind(uuid: &[u8; 16], effect: u32) -> Requester {
    let mut found = Requester::UNKNOWN;
    // SAFETY: a live map value; its fields are copied one by one.
    let Some(calls) = (unsafe { CALLS.get(uuid) }) else {
        return found;
    };
    let now = now();
    let mut newest = 0;
    let mut direct = false;
    let mut alone = !is_recent(calls.dropped_ns, now);
    for call in &calls.kept {
        if !is_recent(call.boot_ns, now) || call.seen & effect == 0 {
            continue;
        }
        let is_direct = call.flags & call_flag::MIDDLEMAN == 0;
        if found.tgid != 0
            && (found.tgid != call.tgid || found.start_ticks != call.start_ticks || !is_direct)
        {
            alone = false;
        }
        if found.tgid != 0 && !(is_direct && !direct) && (is_direct != direct || call.boot_ns < newest)
        {
            continue;
        }
        newest = call.boot_ns;
        direct = is_direct;
        found.start_ticks = call.start_ticks;
        found.lease = call.lease;
        found.host_rule = call.host_rule;
        found.host_rule_number = call.host_rule_number;
        found.tgid = call.tgid;
        found.uid = call.uid;
    }
    found.sure = found.tgid != 0 && direct && alone && !others_unread(&found, now);
    found
}

/// Did another than `found` send libvirt what could not be read?
fn others_unread(found: &Requester, now: u64) -> bool {
    // SAFETY: as in `behind`.
    let Some(unread) = (unsafe { CALLS.get(UNREAD_UUID) }) else {
        return true;
    };
    if is_recent(unread.dropped_ns, now) {
        return true;
    }
    others(unread, found, now)
}

fn others(calls: &Calls, found: &Requester, now: u64) -> bool {
    for call in &calls.kept {
        if is_recent(call.boot_ns, now)
            && (call.tgid != found.tgid || call.start_ticks != found.start_ticks)
        {
            return true;
        }
    }
    false
}
