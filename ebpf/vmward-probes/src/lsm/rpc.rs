//! What a client sends to libvirt. A signpost: a client can send its calls in
//! ways that nobody else can read (byte by byte, several at once, out of memory
//! that changes meanwhile), so no wall rests on this.
//!
//! It notes who asks for what, so that the walls can name the requester behind
//! libvirt. It refuses the calls that make a later stop possible and that no
//! wall meets, and, where the configuration says so, clear stops. A client whose
//! send is refused loses its connection, and with it the guests that it started
//! to end with it: a connection that has started such guests is never refused.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_probe_read_user;
use vmward_abi::{HOST_UUID, ProcedureKey, ProcedureRow, event_kind, procedure_flag, role, vector};

use super::unix;
use crate::calls;
use crate::emit::{Report, emit};
use crate::maps::{AUTODESTROY, PROCEDURES, UUIDS, VMS, is_active, offset};
use crate::objects::{host_of_vms, is_observed};
use crate::scope::{Vm, host};
use crate::task::{Task, forget, key, number, opaque, read};
use crate::verdict::{Attempt, is_covered, returned, wall};

/// The ends of the paths of libvirt's sockets that take orders, no longer than
/// [`TAIL`]. virtproxyd has those of libvirtd.
const SOCKETS: [&[u8]; 4] = [
    b"/libvirt-sock",
    b"/virtqemud-sock",
    b"bvirt-admin-sock",
    b"qemud-admin-sock",
];
const TAIL: usize = 16;

/// A message's length and header, in bytes.
const HEADER: u32 = 28;
const VERSION: u32 = 1;
const TYPE_CALL: u32 = 0;
const TYPE_CALL_WITH_FDS: u32 = 4;
/// Longest string of the protocol, in bytes.
const STRING_MAX: u32 = 4 << 20;
/// A domain's UUID and its number after it, in bytes.
const UUID_AND_ID: u32 = 20;
/// The flag of a start that binds the guest to the connection.
const START_AUTODESTROY: u32 = 2;
/// The flags of a snapshot that ends the VM and has its disks alone.
const SNAPSHOT_OF_DISKS_AND_HALT: u32 = 8 | 16;
/// The self-test's VM: refused whatever the configuration says.
const CANARY_UUID: [u8; 16] = [0; 16];

/// For any process that sends on a socket. Gives what the hook returns.
#[inline(never)]
pub fn watch(socket: u64, message: u64, size: u32) -> i32 {
    let sk = client_of_libvirt(socket);
    if sk == 0 {
        return 0;
    }
    let mut order = Order {
        procedure: 0,
        flags: 0,
        uuid: HOST_UUID,
        number: 0,
        autodestroy: 0,
    };
    forget(&order);
    if vmward_parse(number(message), size, &raw mut order) == 1 {
        return returned(vmward_judge_call(sk, &raw const order));
    }
    0
}

/// Reads what is sent; 1 where it is an order of interest. Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_parse(message: u64, size: u32, order: *mut Order) -> i32 {
    // SAFETY: null or alive.
    match unsafe { order.as_mut() } {
        Some(order) => opaque(parse(message, size, order).into()),
        None => opaque(0),
    }
}

#[inline(always)]
fn parse(message: u64, size: u32, order: &mut Order) -> bool {
    let read = match start_of(message) {
        Some(from) => Sent { from, size }.order(order),
        None => Err(Unread),
    };
    if read.is_err() && is_active() {
        calls::vmward_note_unread();
    }
    matches!(read, Ok(true))
}

/// The sending socket, where libvirt's daemon is at its other end; else 0. With
/// a stack frame of its own, since the caller's is part of a long chain.
#[inline(never)]
fn client_of_libvirt(socket: u64) -> u64 {
    to_libvirt(socket).unwrap_or(0)
}

/// A stranger's socket of that name does not count: root must have opened it.
#[inline(always)]
fn to_libvirt(socket: u64) -> Option<u64> {
    let sk = unix::sock_of(socket)?;
    let tail: [u8; TAIL] = unix::path_tail(unix::peer(sk))?;
    if !SOCKETS.iter().any(|socket| tail.ends_with(socket)) {
        return None;
    }
    let cred: u64 = read(sk, offset!(sock_peer_cred))?;
    (read::<u32>(cred, offset!(cred_euid))? == 0).then_some(sk)
}

/// What cannot be read: it may be any order.
struct Unread;

/// A procedure, and what it is about.
#[derive(Clone, Copy)]
#[repr(C)]
struct Order {
    /// Address of the [`ProcedureRow`]: the verifier would lose a pointer.
    procedure: u64,
    uuid: [u8; 16],
    number: u32,
    flags: u32,
    /// The guest is to end with the connection: 1.
    autodestroy: u32,
}

impl Order {
    fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }

    fn field(&self, offset: usize) -> u32 {
        read(self.procedure, offset).unwrap_or(0)
    }
}

/// Where the sent bytes begin in the sender's memory, where they lie in one
/// piece.
fn start_of(message: u64) -> Option<u64> {
    let iter = message.wrapping_add(offset!(msghdr_iter) as u64);
    let kind: u8 = read(iter, offset!(iter_type))?;
    let skip: u64 = read(iter, offset!(iter_offset))?;
    let base: u64 = if kind as usize == offset!(iter_type_ubuf) {
        read(iter, offset!(iter_ubuf))?
    } else if kind as usize == offset!(iter_type_iovec)
        && read::<u64>(iter, offset!(iter_segments))? == 1
    {
        // `struct iovec`: base first.
        read(read(iter, offset!(iter_iov))?, 0)?
    } else {
        return None;
    };
    Some(base.wrapping_add(skip))
}

/// What is being sent.
struct Sent {
    from: u64,
    size: u32,
}

impl Sent {
    fn bytes<T: Copy>(&self, at: u32) -> Result<T, Unread> {
        let end = at as usize + core::mem::size_of::<T>();
        if end > self.size as usize {
            return Err(Unread);
        }
        let from = self.from.wrapping_add(u64::from(at)) as *const T;
        // SAFETY: the helper checks the address and fails instead of faulting.
        unsafe { bpf_probe_read_user(from) }.map_err(|_| Unread)
    }

    fn number(&self, at: u32) -> Result<u32, Unread> {
        self.bytes(at).map(u32::from_be)
    }

    /// Where the string at `at` ends.
    fn after_string(&self, at: u32) -> Result<u32, Unread> {
        let len = self.number(at)?;
        if len > STRING_MAX {
            return Err(Unread);
        }
        Ok(at + 4 + ((len + 3) & !3))
    }

    /// The one order that was sent; false for what orders nothing of interest.
    fn order(&self, order: &mut Order) -> Result<bool, Unread> {
        if self.size < HEADER || self.number(0)? != self.size {
            return Err(Unread);
        }
        let arguments = match self.number(16)? {
            TYPE_CALL => HEADER,
            // The number of descriptors comes first.
            TYPE_CALL_WITH_FDS => HEADER + 4,
            _ => return Ok(false),
        };
        let number = self.number(12)?;
        let key = ProcedureKey {
            program: self.number(4)?,
            number,
        };
        if self.number(8)? != VERSION {
            return Err(Unread);
        }
        // SAFETY: a live map value, which the daemon writes once.
        let Some(procedure) = (unsafe { PROCEDURES.get(key) }) else {
            return Ok(false);
        };
        order.procedure = core::ptr::from_ref(procedure) as u64;
        order.flags = procedure.flags;
        order.number = number;
        if order.has(procedure_flag::HOST) {
            return Ok(true);
        }
        // A string in any case: of a snapshot, a description or a domain.
        let mut at = self.after_string(arguments)?;
        if order.has(procedure_flag::STRING_FIRST) {
            at = self.after_string(at)?;
        }
        if !order.has(procedure_flag::NO_DOMAIN) {
            order.uuid = self.bytes(at)?;
            at += UUID_AND_ID;
        }
        if order.has(procedure_flag::AUTODESTROY) {
            order.autodestroy = u32::from(self.number(at)? & START_AUTODESTROY != 0);
        }
        if order.has(procedure_flag::HALTS) {
            let asked = self.number(self.after_string(at)?)?;
            if asked & SNAPSHOT_OF_DISKS_AND_HALT == SNAPSHOT_OF_DISKS_AND_HALT {
                order.flags |= procedure_flag::STOP | procedure_flag::REFUSE;
            }
        }
        Ok(true)
    }
}

/// Puts what an order is about into `vm`; false where that is not protected. With a
/// stack frame of its own.
#[inline(never)]
fn aim(uuid: &[u8; 16], vm: &mut Vm) -> bool {
    match target(uuid) {
        Some(found) => {
            *vm = found;
            true
        }
        None => false,
    }
}

/// The protected VM that an order is about, or the host.
#[inline(always)]
fn target(uuid: &[u8; 16]) -> Option<Vm> {
    // SAFETY: plain copies of live map values.
    let tgid = *unsafe { UUIDS.get(key(uuid)) }?;
    if *uuid == HOST_UUID {
        return Some(host_of_vms());
    }
    // SAFETY: as above.
    let row = *unsafe { VMS.get(tgid) }?;
    (row.role == role::VM && row.uuid == *uuid).then_some(Vm { tgid, row })
}

/// Verified by itself.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vmward_judge_call(sk: u64, order: *const Order) -> i32 {
    // SAFETY: null or alive.
    match unsafe { order.as_ref() } {
        Some(order) => opaque(judge(sk, order)),
        None => opaque(0),
    }
}

#[inline(always)]
fn judge(sk: u64, order: &Order) -> i32 {
    if order.has(procedure_flag::AUTODESTROY) && order.autodestroy == 0 {
        return 0;
    }
    // What it is before does not matter; the copies of a result would not fit.
    let mut vm = host();
    if order.has(procedure_flag::NO_DOMAIN) || !aim(&order.uuid, &mut vm) {
        if order.autodestroy != 0 {
            // A full map forgets the connection that was longest without a start.
            let _ = AUTODESTROY.insert(sk, 1, 0);
        }
        return 0;
    }
    let seen = order.field(offset_of!(ProcedureRow, seen));
    if seen != 0 && is_active() {
        calls::note(&vm, seen);
    }
    let attempt = Attempt {
        detail: order.number,
        word: order.procedure + offset_of!(ProcedureRow, word) as u64,
        ..Attempt::new(vector::RPC, order.field(offset_of!(ProcedureRow, effect)))
    };
    if refuses(sk, order.flags, attempt.effect, &vm) {
        return wall(&vm, &attempt);
    }
    if order.has(procedure_flag::WITNESS) && is_active() {
        emit(&vm, &attempt, &Report::of(event_kind::WITNESSED));
    }
    0
}

/// Is this to be refused here, unless something covers it?
fn refuses(sk: u64, flags: u32, effect: u32, vm: &Vm) -> bool {
    let canary = vm.row.uuid == CANARY_UUID;
    if flags & procedure_flag::REFUSE == 0 && !canary {
        return false;
    }
    if flags & procedure_flag::STOP != 0 {
        // The walls judge it in any case: no use is spent here, and what is only
        // observed is recorded there.
        if is_observed(vm) || is_covered(vm, effect, Task::current()) {
            return false;
        }
    }
    // SAFETY: only asks whether there is one.
    unsafe { AUTODESTROY.get(sk) }.is_none()
}
