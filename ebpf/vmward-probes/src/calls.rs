//! Who asked libvirt for what: noted when a client sends its call, looked up
//! when libvirt acts.
//!
//! Names the requester; where it is sure, whose lease or host rule libvirt may
//! use. A client can hide what it sends, so whoever sent what could not be read
//! counts as one that may have asked for anything.

use core::mem::offset_of;

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_uid_gid, generated};
use vmward_abi::{CALL_WINDOW_NS, CALLS_KEPT, Call, TICK_NS, UNREAD_UUID, call_flag};

use crate::atomic::fetch_add_u32;
use crate::host;
use crate::maps::{CALLS, LEASES};
use crate::scope::Vm;
use crate::task::{Task, current_tgid, forget, key, read};

/// Who is behind libvirt.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Requester {
    /// Address of the [`Call`]; 0 when nobody is known to have asked. A number,
    /// since the verifier loses track of a pointer on the way; it lies in the
    /// map, where a few calls later it is another's.
    call: u64,
    /// Nobody else can have asked: 1.
    sure: u64,
}

impl Requester {
    /// Nobody is known to have asked.
    pub const UNKNOWN: Self = Self { call: 0, sure: 0 };

    /// Nobody else can have asked.
    pub fn is_sure(&self) -> bool {
        self.sure != 0
    }

    fn field<T: Copy + Default>(&self, offset: usize) -> T {
        read(self.call, offset).unwrap_or_default()
    }

    /// Thread group; 0 when unknown, as all others.
    pub fn tgid(&self) -> u32 {
        self.field(offset_of!(Call, tgid))
    }

    /// Start time of the process, in ticks since boot.
    pub fn start_ticks(&self) -> u64 {
        self.field(offset_of!(Call, start_ticks))
    }

    /// Real user id.
    pub fn uid(&self) -> u32 {
        self.field(offset_of!(Call, uid))
    }

    /// The VM's lease that it held when it asked, itself or an ancestor.
    pub fn lease(&self) -> u64 {
        self.field(offset_of!(Call, lease))
    }

    /// Number and id of the host rule that named it then.
    pub fn host_rule(&self) -> (u32, u64) {
        (
            self.field(offset_of!(Call, host_rule_number)),
            self.field(offset_of!(Call, host_rule)),
        )
    }
}

fn now() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { generated::bpf_ktime_get_boot_ns() }
}

fn is_recent(then: u64, now: u64) -> bool {
    then != 0 && now.wrapping_sub(then) < CALL_WINDOW_NS
}

/// Notes that the running process asked for what does `seen` to `vm`.
#[inline(always)]
pub fn note(vm: &Vm, seen: u32) {
    forget(vm);
    vmward_note(vm, seen);
}

/// [`note`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_note(vm: *const Vm, seen: u32) -> i32 {
    // SAFETY: null or alive.
    let Some(vm) = (unsafe { vm.as_ref() }) else {
        return 0;
    };
    let task = Task::current();
    let mut call = caller(task, seen);
    call.lease = held_lease(vm, task);
    if let Some((number, id)) = host::rule_for(vm, seen, task) {
        call.host_rule_number = number;
        call.host_rule = id;
    }
    keep(&vm.row.uuid, &call);
    0
}

/// Notes that the running process sent libvirt what could not be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn vmward_note_unread() -> i32 {
    keep(&UNREAD_UUID, &caller(Task::current(), u32::MAX));
    0
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
    let Some(calls) = CALLS.get_ptr_mut(key(uuid)) else {
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
/// One that was passed on counts only where there is no other. What was asked
/// before the VM's process began, was about the process before it.
#[inline(always)]
pub fn behind(vm: &Vm, effect: u32) -> Requester {
    let mut requester = Requester::UNKNOWN;
    let begun_ns = vm.row.start_ticks.wrapping_mul(TICK_NS);
    vmward_behind(&vm.row.uuid, effect, begun_ns, &raw mut requester);
    requester
}

/// [`behind`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_behind(
    uuid: *const [u8; 16],
    effect: u32,
    since_ns: u64,
    out: *mut Requester,
) -> i32 {
    // SAFETY: null or alive.
    if let (Some(uuid), Some(out)) = unsafe { (uuid.as_ref(), out.as_mut()) } {
        *out = find(uuid, effect, since_ns);
    }
    0
}

#[inline(always)]
fn find(uuid: &[u8; 16], effect: u32, since_ns: u64) -> Requester {
    // SAFETY: a live map value, only read.
    let Some(calls) = (unsafe { CALLS.get(key(uuid)) }) else {
        return Requester::UNKNOWN;
    };
    let now = now();
    let mut found: Option<&'static Call> = None;
    let mut sure = !is_recent(calls.dropped_ns, now);
    for call in &calls.kept {
        let fits = is_recent(call.boot_ns, now) && call.seen & effect != 0;
        if !fits || call.boot_ns < since_ns {
            continue;
        }
        if is_passed_on(call) {
            sure = false;
        }
        let Some(before) = found else {
            found = Some(call);
            continue;
        };
        if !is_same(before, call) {
            sure = false;
        }
        let better = if is_passed_on(before) == is_passed_on(call) {
            call.boot_ns > before.boot_ns
        } else {
            is_passed_on(before)
        };
        if better {
            found = Some(call);
        }
    }
    let Some(call) = found else {
        return Requester::UNKNOWN;
    };
    Requester {
        call: core::ptr::from_ref(call) as u64,
        sure: u64::from(sure && !others_unread(call, now)),
    }
}

fn is_passed_on(call: &Call) -> bool {
    call.flags & call_flag::MIDDLEMAN != 0
}

fn is_same(one: &Call, other: &Call) -> bool {
    one.tgid == other.tgid && one.start_ticks == other.start_ticks
}

/// Did another than the caller send libvirt what could not be read?
fn others_unread(call: &Call, now: u64) -> bool {
    // SAFETY: as in `behind`.
    let Some(unread) = (unsafe { CALLS.get(UNREAD_UUID) }) else {
        return true;
    };
    let other = |one: &Call| is_recent(one.boot_ns, now) && !is_same(one, call);
    is_recent(unread.dropped_ns, now) || unread.kept.iter().any(other)
}
