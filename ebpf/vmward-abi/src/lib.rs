//! What crosses the kernel line.
//!
//! Only fixed-width integers and arrays of them: an unknown value from the
//! other side is then a number to count, never undefined behaviour. Sizes and
//! offsets are asserted here for both sides at compile time. A change of any
//! layout takes a new [`ABI_VERSION`]; the version is part of the pin path, so
//! two layouts never meet in one map.
#![no_std]

mod calls;
mod control;
mod event;
mod host;
mod layout;
mod monitor;
mod offsets;
mod own;
mod rows;
pub mod vector;

pub use calls::{
    CALL_WINDOW_NS, CALLS_KEPT, Call, Calls, PROCEDURES_MAX, ProcedureKey, ProcedureRow,
    UNREAD_UUID, call_flag, procedure_flag,
};
pub use control::{CGROUPS_MAX, CgroupKey, CgroupRow, HOST_CGROUP, cgroup_flag};
pub use event::{
    ANCESTORS_MAX, Ancestor, COMM_LEN, Event, WORD_LEN, actor_flag, event_kind, finishing_cause,
};
pub use host::{
    HOST_ACTORS_MAX, HOST_RULES_MAX, HostActorKey, HostRuleRow, host_actor, host_rule_flag,
};
pub use monitor::{
    COMMAND_LEN, COMMANDS_MAX, CommandKey, CommandRow, FileKey, LIBVIRT_FOLDERS_MAX, MONITORS_MAX,
    MonitorRow, language, monitor_kind, monitor_mode,
};
pub use offsets::{OFFSET_ABSENT, Offsets};
pub use own::{OBJECTS_MAX, ObjectKey, ObjectRow, fact, object, object_class};
pub use rows::{
    HOST_UUID, LeaseRow, VmRow, VmState, effect, lease_state, lease_use, role, vm_flag,
};

/// Version of every layout in this crate.
pub const ABI_VERSION: u32 = 4;

/// Most VMs that one host can have under protection.
pub const VMS_MAX: u32 = 4096;

/// Size of the event ring in bytes: a power of two, and whole pages up to
/// 64 KiB pages.
pub const EVENT_RING_BYTES: u32 = 1 << 20;

/// Nanoseconds in one tick of `/proc/PID/stat`'s start time. Both sides name
/// a process by its id and its start time in these ticks, since that is all
/// that user space gets to see.
pub const TICK_NS: u64 = 10_000_000;

/// How long after its first use a lease goes on covering its operation:
/// libvirt sends SIGTERM, then SIGKILL after 10 s (2 s more for each host
/// device), and gives up after 40 s.
pub const EXECUTING_NS: u64 = 60_000_000_000;

/// Slots of the `TOTALS` map.
pub mod total {
    /// Events made so far; the number of the newest one.
    pub const EVENTS: u32 = 0;
    /// Events that the full ring could not take.
    pub const LOST: u32 = 1;
    /// Number of slots.
    pub const SLOTS: u32 = 2;
}
