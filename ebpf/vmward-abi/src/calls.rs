//! Calls to libvirt, as its clients send them: which procedures matter, and who
//! asked lately for what.
//!
//! A client may send its calls in ways that nobody else can read. What stands
//! here names who asked and gives the friendly refusal; no wall rests on it.

use crate::event::WORD_LEN;

/// How many calls about one VM are remembered.
pub const CALLS_KEPT: usize = 4;

/// How long a call can be what libvirt acts on.
pub const CALL_WINDOW_NS: u64 = 60_000_000_000;

/// Stands for every VM: who sent libvirt what could not be read may have asked
/// for anything.
pub const UNREAD_UUID: [u8; 16] = [0xfe; 16];

/// Most procedures that are known.
pub const PROCEDURES_MAX: u32 = 256;

/// Bits of [`ProcedureRow::flags`].
pub mod procedure_flag {
    /// Refused at the client, where nothing covers it.
    pub const REFUSE: u32 = 1 << 0;
    /// Recorded, where it is not refused.
    pub const WITNESS: u32 = 1 << 1;
    /// A string comes before the domain: a snapshot's name.
    pub const STRING_FIRST: u32 = 1 << 2;
    /// About the host, or libvirt's daemon: no domain.
    pub const HOST: u32 = 1 << 3;
    /// A start; it matters where its last argument asks that the VM end with
    /// the connection.
    pub const AUTODESTROY: u32 = 1 << 4;
    /// A start with the domain's description in place of a domain.
    pub const NO_DOMAIN: u32 = 1 << 5;
    /// A wall meets what it does: refusing here is only the friendlier way.
    pub const STOP: u32 = 1 << 6;
    /// A snapshot, its description behind the domain and flags behind that: where they
    /// ask for disks alone and for the VM's end, it is a stop, and refused in any case.
    pub const HALTS: u32 = 1 << 7;
}

/// Bits of [`Call::flags`].
pub mod call_flag {
    /// Passed on for somebody else.
    pub const MIDDLEMAN: u32 = 1 << 0;
}

/// A procedure of libvirt's protocol.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcedureKey {
    /// Number of the program: the domains', QEMU's own, administration.
    pub program: u32,
    /// Its number there.
    pub number: u32,
}

/// What is known of a procedure: written by the daemon, only read by the
/// programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcedureRow {
    /// Bits of [`crate::effect`]: what libvirt does on the way, as the walls see
    /// it.
    pub seen: u32,
    /// The bit of [`crate::effect`] whose lease covers it; 0 for none.
    pub effect: u32,
    /// Bits of [`procedure_flag`].
    pub flags: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u32,
    /// Its name for the audit log. NUL padded.
    pub word: [u8; WORD_LEN],
}

/// One call: written by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// `CLOCK_BOOTTIME` nanoseconds; 0 for none.
    pub boot_ns: u64,
    /// Start time of the caller, in ticks since boot.
    pub start_ticks: u64,
    /// The VM's lease that the caller holds, or an ancestor of it; 0 for none.
    pub lease: u64,
    /// [`crate::HostRuleRow::id`] of a host rule that names the caller; 0 for
    /// none.
    pub host_rule: u64,
    /// Thread group of the caller.
    pub tgid: u32,
    /// Real user id of the caller.
    pub uid: u32,
    /// Bits of [`crate::effect`]: what the walls may see of it.
    pub seen: u32,
    /// The number of `host_rule`.
    pub host_rule_number: u32,
    /// Bits of [`call_flag`].
    pub flags: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u32,
}

/// The newest calls about a VM: written by the programs. The daemon only
/// creates it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calls {
    /// When a call was last dropped that could still be what libvirt acts on;
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub dropped_ns: u64,
    /// How many calls there were; wraps.
    pub count: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u32,
    /// The newest calls; the next one goes to `count` modulo their number.
    pub kept: [Call; CALLS_KEPT],
}
