//! What libvirt tells QEMU and the guest agent. Fail mode: closed.
//!
//! libvirt reads what its caller wants sent, whatever its spacing and escapes,
//! and writes it anew: one value a write, without spaces, in its own order. So
//! the name of an honest command stands at the very front. What has no lease is
//! made harmless in place, since an error here would cost libvirt its monitor:
//! QEMU answers that there is no such command, and libvirt tells its caller.
//! Text of any other form is made harmless too. More than one value in a write, which
//! libvirt never sends, is refused: what stands behind the first could not be spoilt.
//!
//! Reading and writing the sender's memory is no race here: only libvirt's
//! daemon itself could change it in between.

use aya_ebpf::helpers::generated;
use vmward_abi::{
    COMMAND_LEN, CommandKey, CommandRow, effect, finishing_cause, language, monitor_kind,
    monitor_mode, vector, vm_flag,
};

use super::arguments::{EXECUTE, vmward_arguments, worded};
use super::connect::reach;
use super::libvirt;
use super::room::{self, Room};
use super::unix::{self, HEAD_LEN, Message, starts};
use super::whole::is_one_value;
use crate::maps::{COMMANDS, MONITOR_MODE, Turn, VM_STATES, turn};
use crate::scope::{Vm, host};
use crate::task::{current_tgid, forget, number, opaque};
use crate::verdict::{Attempt, EPERM, wall};

const ALLOW: i32 = 0;
/// The sender tries again, with the same text.
const EAGAIN: i32 = -11;

/// What stands in the place of a refused command, as far as it was long.
static DENIED: [u8; DENIED_LEN] =
    *b"denied-by-vmward-for-want-of-a-lease----------------------------";
/// A power of two, and no less than the longest name.
const DENIED_LEN: usize = 64;

const EXEC_OOB: &[u8] = b"{\"exec-oob\":\"";
/// What comes after the name of a command for people.
const HMP: &[u8] = b"human-monitor-command\",\"arguments\":{\"command-line\":\"";
/// As long as `human-monitor-command`.
const HMP_NAME_LEN: u32 = 21;
const QUERY: &[u8] = b"query-";
/// Taking libvirt's own end away.
const SEVER: &[u8] = b"chardev-remove\",\"arguments\":{\"id\":\"charmonitor\"";
/// The agent's way to say: forget what came before.
const AGENT_RESET: u8 = 0xff;

/// Where a text that has no command at its front is spoilt: the name of the
/// first member of an object.
const ODD_AT: usize = 2;
const ODD_LEN: u32 = 2;

/// A command, as far as it is understood. It lies in a map, so that the verifier
/// takes what follows to be the same for every length and place.
#[repr(C)]
pub struct Order {
    key: CommandKey,
    row: CommandRow,
    /// Where its name stands, and how long it is.
    at: u32,
    len: u32,
    /// The word of it that decides what it does, where there is one.
    pub argument: CommandKey,
}

const NO_KEY: CommandKey = CommandKey {
    name: [0; COMMAND_LEN],
    language: 0,
};

impl Order {
    /// None yet.
    pub const EMPTY: Self = Self {
        key: NO_KEY,
        row: BENIGN,
        at: 0,
        len: 0,
        argument: NO_KEY,
    };
}

/// What [`on_send`] gives where the socket is no VM's monitor or agent.
pub const NOT_A_VMS: i32 = 1;

/// Something is sent to the socket `peer`. Gives what the hook returns, or
/// [`NOT_A_VMS`]. A frame of its own, which what comes after it does not carry.
#[inline(never)]
pub fn on_send(peer: u64, header: u64, size: u32) -> i32 {
    // What it is before does not matter; the copies of a result would not fit.
    let mut vm = host();
    let kind = unix::listener(peer, &mut vm);
    if kind == unix::NOBODY {
        return NOT_A_VMS;
    }
    if current_tgid() == vm.tgid {
        return ALLOW;
    }
    forget(&vm);
    match vmward_order(&raw const vm, kind, number(header), size) {
        ALLOW => ALLOW,
        EAGAIN => EAGAIN,
        _ => EPERM,
    }
}

/// The rest of [`on_send`], verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_order(vm: *const Vm, kind: u32, header: u64, size: u32) -> i32 {
    // SAFETY: null or alive.
    let Some(vm) = (unsafe { vm.as_ref() }) else {
        return opaque(EPERM);
    };
    // The connection may be older than the protection, or another's.
    if kind == monitor_kind::OTHER || !libvirt::is_current() {
        return opaque(reach(vm, kind));
    }
    let mut vm = *vm;
    if mode() == monitor_mode::OBSERVE {
        vm.row.flags |= vm_flag::OBSERVE;
    }
    // What cannot be read now may be read later; until then it is not sent.
    let verdict = match room::enter() {
        Some(room) => command(&vm, kind, Message { header, size }, room),
        None => None,
    };
    room::leave();
    opaque(verdict.unwrap_or(EAGAIN))
}

#[inline(always)]
fn command(vm: &Vm, kind: u32, message: Message, room: &mut Room) -> Option<i32> {
    let address = message.copy_head(&mut room.head)?;
    let order = &raw mut room.order;
    vmward_understand(&raw const room.head, kind, message.size, order);
    // SAFETY: this thread's own row; volatile, so that it is read from there.
    let mut row = unsafe { core::ptr::read_volatile(&raw const (*order).row) };
    let whole = is_whole(kind, message, address, room.head[0]);
    if !whole {
        row = UNKNOWN;
    }
    if row.effect == 0 {
        return Some(ALLOW);
    }
    let vector = if kind == monitor_kind::AGENT {
        vector::AGENT_COMMAND
    } else {
        vector::MONITOR_COMMAND
    };
    let attempt = Attempt {
        covers: row.covers,
        // SAFETY: as above.
        detail: unsafe { (*order).key.language },
        // Its name comes first.
        word: order as u64,
        ..Attempt::new(vector, row.effect)
    };
    let verdict = wall(vm, &attempt);
    if verdict == ALLOW && row.effect == effect::SAVE {
        note_written(vm.tgid);
    }
    if verdict == ALLOW || !whole || mode() != monitor_mode::REWRITE {
        return Some(verdict);
    }
    spoil(address, order)
}

/// Is it one order and nothing more, in one part?
#[inline(always)]
fn is_whole(kind: u32, message: Message, address: u64, first: u8) -> bool {
    let skip = u32::from(kind == monitor_kind::AGENT && first == AGENT_RESET);
    message.is_in_one_part()
        && is_one_value(
            address.wrapping_add(skip.into()),
            message.size.wrapping_sub(skip),
        )
}

/// The guest's memory is written away, and libvirt may end the VM afterwards.
fn note_written(tgid: u32) {
    if let Some(state) = VM_STATES.get_ptr_mut(tgid) {
        // SAFETY: a field of a live map value; QEMU says nothing of its guest
        // before it has the command.
        unsafe { (*state).finishing |= finishing_cause::WRITTEN };
    }
}

/// What becomes of a refused command.
fn mode() -> u32 {
    // SAFETY: a live static; volatile because the loader replaces it.
    unsafe { core::ptr::read_volatile(&raw const MONITOR_MODE) }
}

/// Overwrites the name in the sender's memory. Where the kernel does not allow
/// the helper, this is dead code to the verifier: the mode is a constant.
fn spoil(address: u64, order: *const Order) -> Option<i32> {
    // The verifier has to see the bounds in the register that it checks.
    // SAFETY: this thread's own row.
    let len = unsafe { core::ptr::read_volatile(&raw const (*order).len) };
    let len = (len.wrapping_sub(1) & (DENIED_LEN as u32 - 1)) + 1;
    // SAFETY: as above.
    let at = unsafe { core::ptr::read_volatile(&raw const (*order).at) };
    let to = address.wrapping_add(u64::from(at)) as *mut core::ffi::c_void;
    // SAFETY: `len` is within the text; the helper checks the address.
    let failed = unsafe { generated::bpf_probe_write_user(to, DENIED.as_ptr().cast(), len) };
    (failed == 0).then_some(ALLOW)
}

/// Finds the command and what it needs. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_understand(
    head: *const [u8; HEAD_LEN],
    kind: u32,
    size: u32,
    order: *mut Order,
) -> i32 {
    // SAFETY: null, or this thread's own room; nobody else has a reference to them.
    if let (Some(head), Some(order)) = unsafe { (head.as_ref(), order.as_mut()) } {
        understand(head, kind, size, order);
    }
    0
}

#[inline(always)]
fn understand(head: &[u8; HEAD_LEN], kind: u32, size: u32, order: &mut Order) {
    let agent = kind == monitor_kind::AGENT;
    let start = if agent && head[0] == AGENT_RESET {
        1
    } else {
        0
    };
    let front = if starts(head, start, EXECUTE) {
        EXECUTE.len()
    } else if starts(head, start, EXEC_OOB) {
        EXEC_OOB.len()
    } else {
        0
    };
    let at = start + front;
    let people = !agent && front != 0 && starts(head, at, HMP);
    let (name_at, speaks) = match (agent, people) {
        (true, _) => (at, language::AGENT),
        (_, true) => (at + HMP.len(), language::HMP),
        _ => (at, language::QMP),
    };
    name(head, name_at, order, speaks);
    if turn() == Turn::Later && is_spoilt(head, start, at, front == 0) {
        order.row = BENIGN;
        return;
    }
    if front == 0 {
        order.row = UNKNOWN;
        order.at = (start + ODD_AT) as u32;
        order.len = ODD_LEN;
        return;
    }
    order.at = at as u32;
    if people {
        order.len = HMP_NAME_LEN;
    }
    order.row = if starts(head, at, SEVER) {
        UNKNOWN
    } else if speaks == language::QMP && starts(head, at, QUERY) {
        BENIGN
    } else {
        // SAFETY: a plain copy of a live map value, by this thread's own key.
        match unsafe { COMMANDS.get(order.key) }.copied() {
            Some(row) if speaks == language::QMP => weigh(row, head, size, order),
            found => found.unwrap_or(UNKNOWN),
        }
    };
}

/// What a command needs whose arguments decide. Of those QEMU takes none out of
/// band, where its name would stand elsewhere.
#[inline(always)]
fn weigh(row: CommandRow, head: &[u8; HEAD_LEN], size: u32, order: *mut Order) -> CommandRow {
    match vmward_arguments(head, size, order) {
        worded::BY_LIBVIRT => BENIGN,
        worded::OTHERWISE if row.effect == 0 => UNKNOWN,
        _ => row,
    }
}

/// What a later generation of programs has refused already comes here as it left
/// it. QEMU has no command, and knows no member of an order, that begins so.
fn is_spoilt(head: &[u8; HEAD_LEN], start: usize, at: usize, odd: bool) -> bool {
    if odd {
        starts(head, start + ODD_AT, b"de")
    } else {
        starts(head, at, b"deni")
    }
}

const BENIGN: CommandRow = CommandRow {
    effect: 0,
    covers: 0,
};
const UNKNOWN: CommandRow = CommandRow {
    effect: effect::FORCE_STOP,
    covers: 0,
};

/// Copies the name at `at` and notes its length, at least 1. A name that is too
/// long, or is no plain word, is found in no table.
#[inline(always)]
fn name(head: &[u8; HEAD_LEN], at: usize, order: &mut Order, speaks: u32) {
    order.key.name = [0; COMMAND_LEN];
    order.key.language = speaks;
    order.len = 1;
    for i in 0..COMMAND_LEN {
        let c = head[(at + i) & (HEAD_LEN - 1)];
        if c == b'"' || speaks == language::HMP && (c == b' ' || c == b'/') {
            break;
        }
        order.key.name[i] = c;
        // SAFETY: a field; volatile, so that no register carries it on.
        unsafe { core::ptr::write_volatile(&raw mut order.len, i as u32 + 1) };
    }
}
