//! Room for the message that a thread sends: too large for the stack.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;

use super::commands::Order;
use super::unix::HEAD_LEN;
use crate::maps::ROOMS;

/// Most threads that are looked at in one moment. A program is not left while it
/// holds one, so there is one a processor, and one for each that was preempted.
pub const ROOMS_MAX: u32 = 1024;

/// One thread's room.
#[repr(C)]
pub struct Room {
    /// The first bytes of the message, zero-filled.
    pub head: [u8; HEAD_LEN],
    /// What it was understood to be.
    pub order: Order,
}

static EMPTY: Room = Room {
    head: [0; HEAD_LEN],
    order: Order::EMPTY,
};

/// An empty room for this thread; `None` when all are taken. Followed by
/// [`leave`].
#[inline(always)]
pub fn enter() -> Option<&'static mut Room> {
    let thread = bpf_get_current_pid_tgid();
    ROOMS.insert(thread, &EMPTY, 0).ok()?;
    // SAFETY: only this thread knows of it, and it is not in here twice.
    ROOMS.get_ptr_mut(thread).map(|room| unsafe { &mut *room })
}

/// Gives this thread's room back.
#[inline(always)]
pub fn leave() {
    // It is there, or was never had.
    let _absent = ROOMS.remove(bpf_get_current_pid_tgid());
}
