//! The maps, all pinned by name so that they outlive the daemon, and the two
//! constants that the daemon writes before it loads a program.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, RingBuf};
use vmward_abi::{
    CGROUPS_MAX, COMMANDS_MAX, Calls, CgroupKey, CgroupRow, CommandKey, CommandRow,
    EVENT_RING_BYTES, FileKey, HOST_ACTORS_MAX, HOST_RULES_MAX, HostActorKey, HostRuleRow,
    LIBVIRT_FOLDERS_MAX, LeaseRow, MONITORS_MAX, MonitorRow, OBJECTS_MAX, ObjectKey, ObjectRow,
    Offsets, PROCEDURES_MAX, ProcedureKey, ProcedureRow, VMS_MAX, VmRow, VmState, fact, role,
    total,
};

/// Protected VMs by tgid. Only the daemon writes.
#[map]
pub static VMS: HashMap<u32, VmRow> = HashMap::pinned(VMS_MAX, 0);

/// What the programs know of each VM, by tgid.
#[map]
pub static VM_STATES: HashMap<u32, VmState> = HashMap::pinned(VMS_MAX, 0);

/// Live leases by the VM's tgid: one for each VM.
#[map]
pub static LEASES: HashMap<u32, LeaseRow> = HashMap::pinned(VMS_MAX, 0);

/// Which host rules name an actor: one bit a rule. Only the daemon writes.
#[map]
pub static HOST_ACTORS: HashMap<HostActorKey, u64> = HashMap::pinned(HOST_ACTORS_MAX, 0);

/// Which host rules are about a VM, by its UUID: one bit a rule. Only the
/// daemon writes.
#[map]
pub static HOST_PICKS: HashMap<[u8; 16], u64> = HashMap::pinned(VMS_MAX, 0);

/// The host rules by number. Only the daemon writes.
#[map]
pub static HOST_RULES: Array<HostRuleRow> = Array::pinned(HOST_RULES_MAX, 0);

/// How often each host rule was used since the programs were first attached.
/// Only the programs write.
#[map]
pub static HOST_USES: Array<u64> = Array::pinned(HOST_RULES_MAX, 0);

/// Events on their way to the daemon, kept while it is away.
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(EVENT_RING_BYTES, 0);

/// Slots of `vmward_abi::total`.
#[map]
pub static TOTALS: Array<u64> = Array::pinned(total::SLOTS, 0);

/// Which generation of programs decides. The daemon attaches the next
/// generation beside the old one, switches here with a single write, and only
/// then detaches the old: no gap, and no event twice.
#[map]
pub static ACTIVE: Array<u32> = Array::pinned(1, 0);

/// The signal that each thread is sending with the wall's leave, by thread:
/// how a witness tells it from one of kernel origin, and a former generation's
/// wall that the next one has decided. Small: an entry lives for
/// the rest of one system call.
#[map]
pub static PASSING: LruHashMap<u64, u64> = LruHashMap::pinned(1024, 0);

/// The tgid of each protected VM by its UUID; where there are VMs that are not
/// only observed, their number under `HOST_UUID`. Only the daemon writes.
#[map]
pub static UUIDS: HashMap<[u8; 16], u32> = HashMap::pinned(VMS_MAX, 0);

/// The newest calls about each VM, by UUID, and those that could not be read.
/// Only the programs write; the daemon makes and removes rows.
#[map]
pub static CALLS: HashMap<[u8; 16], Calls> = HashMap::pinned(VMS_MAX, 0);

/// libvirt's procedures that matter. Only the daemon writes.
#[map]
pub static PROCEDURES: HashMap<ProcedureKey, ProcedureRow> = HashMap::pinned(PROCEDURES_MAX, 0);

/// Connections to libvirt that have started guests which end with them, by the
/// address of the client's socket.
#[map]
pub static AUTODESTROY: LruHashMap<u64, u32> = LruHashMap::pinned(1024, 0);
/// The cgroups at or above VMs, in every hierarchy. The programs add what a move
/// makes one.
#[map]
pub static CGROUPS: HashMap<CgroupKey, CgroupRow> = HashMap::pinned(CGROUPS_MAX, 0);

/// Room for a monitor message, too large for the stack, by the thread that sends
/// it. Not by its CPU: where the kernel can be preempted, another thread's message
/// would come in the place of what was just looked at.
#[map]
pub static ROOMS: HashMap<u64, crate::lsm::Room> =
    HashMap::with_max_entries(crate::lsm::ROOMS_MAX, 0);

/// The sockets on which VMs take orders, by the file that each is bound to.
/// Only the daemon writes.
#[map]
pub static MONITORS: HashMap<FileKey, MonitorRow> = HashMap::pinned(MONITORS_MAX, 0);

/// What each command needs. Only the daemon writes.
#[map]
pub static COMMANDS: HashMap<CommandKey, CommandRow> = HashMap::pinned(COMMANDS_MAX, 0);

/// The folders that libvirt's daemon is run from. Only the daemon writes.
#[map]
pub static LIBVIRT_FOLDERS: HashMap<FileKey, u32> = HashMap::pinned(LIBVIRT_FOLDERS_MAX, 0);

/// The processes that were found to be libvirt's daemon, with their start times.
#[map]
pub static LIBVIRTS: LruHashMap<u32, u64> = LruHashMap::pinned(LIBVIRT_FOLDERS_MAX, 0);

/// Files, BPF maps and programs under guard. The daemon writes; and a file that
/// takes the place of a VM's lifeline takes its row.
#[map]
pub static OBJECTS: HashMap<ObjectKey, ObjectRow> = HashMap::pinned(OBJECTS_MAX, 0);

/// Slots of `vmward_abi::fact`.
#[map]
pub static FACTS: Array<u64> = Array::pinned(fact::SLOTS, 0);

/// Where this kernel keeps its fields. All zero fails the daemon's own check
/// before it comes to a load.
#[unsafe(no_mangle)]
// SAFETY: integers only, and 0 is one.
pub static OFFSETS: Offsets = unsafe { core::mem::zeroed() };

/// The generation of this load.
#[unsafe(no_mangle)]
pub static GENERATION: u32 = 0;

/// One of `vmward_abi::monitor_mode`.
#[unsafe(no_mangle)]
pub static MONITOR_MODE: u32 = 0;

/// The mount namespace of the daemon that has loaded this: its unit gives it one.
#[unsafe(no_mangle)]
pub static OWN_MOUNTS: u32 = 0;

/// That daemon's thread group.
#[unsafe(no_mangle)]
pub static OWN_TGID: u32 = 0;

/// Is it the number of that daemon's mount namespace, while the daemon runs? The kernel
/// gives the number to another afterwards, such as that of the next daemon, which its
/// service manager has yet to set up.
pub fn is_own_mounts(number: u32) -> bool {
    // SAFETY: live statics; volatile because the loader replaces them.
    let (mounts, tgid) = unsafe {
        (
            core::ptr::read_volatile(&raw const OWN_MOUNTS),
            core::ptr::read_volatile(&raw const OWN_TGID),
        )
    };
    // SAFETY: a field of a live map value; no reference is kept.
    number == mounts && unsafe { VMS.get(tgid) }.is_some_and(|row| row.role == role::OWN)
}

/// One field of [`OFFSETS`], read so that the compiler cannot fold the value
/// that it sees here.
macro_rules! offset {
    ($field:ident) => {{
        // SAFETY: a live static; volatile because the loader replaces it.
        unsafe { core::ptr::read_volatile(&raw const $crate::maps::OFFSETS.$field) as usize }
    }};
}
pub(crate) use offset;

/// Does this generation decide? A program of another generation steps aside,
/// since the deciding one is attached beside it.
pub fn is_active() -> bool {
    turn() == Turn::Mine
}

/// Whose turn it is to decide.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This generation's.
    Mine,
    /// A later one's.
    Later,
    /// An earlier one's, or nobody's.
    Other,
}

/// Whose turn is it now? It can change between two programs of one hook.
pub fn turn() -> Turn {
    // SAFETY: a live static; volatile because the loader replaces it.
    let mine = unsafe { core::ptr::read_volatile(&raw const GENERATION) };
    match ACTIVE.get(0) {
        Some(active) if *active > mine => Turn::Later,
        Some(active) if *active < mine => Turn::Other,
        _ => Turn::Mine,
    }
}
