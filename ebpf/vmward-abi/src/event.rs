//! What the programs report through the ring buffer.

/// Length of a kernel command name with its NUL.
pub const COMM_LEN: usize = 16;
/// Length of [`Event::word`].
pub const WORD_LEN: usize = 32;
/// How many ancestors of the actor an event names.
pub const ANCESTORS_MAX: usize = 4;

/// Values of [`Event::kind`]. Append only.
pub mod event_kind {
    /// A stop without lease was refused.
    pub const REFUSED: u32 = 1;
    /// The same, let through because the VM is only observed.
    pub const WOULD_REFUSE: u32 = 2;
    /// A lease was claimed.
    pub const LEASE_CLAIMED: u32 = 3;
    /// A further step under a claimed lease.
    pub const LEASE_USED: u32 = 4;
    /// libvirt's finishing kill after QEMU said that the guest is over.
    pub const FINISHING_KILL: u32 = 5;
    /// A signal of kernel origin, which no hook can refuse.
    pub const KERNEL_SIGNAL: u32 = 6;
    /// QEMU said on its monitor that the guest is over; `signal` holds the
    /// cause.
    pub const FINISHING: u32 = 7;
    /// QEMU said that the guest runs again.
    pub const RESUMED: u32 = 8;
    /// The VM's process is gone.
    pub const EXITED: u32 = 9;
    /// A stop without lease was let through: a host rule names the actor.
    pub const HOST_RULE: u32 = 10;
    /// A host rule names the actor, and it is used up.
    pub const HOST_RULE_USED_UP: u32 = 11;
    /// Something that no hook can refuse, or that is only watched, happened to a
    /// VM; `vector`, `detail` and `word` say what.
    pub const WITNESSED: u32 = 12;
}

/// Why a VM is finishing.
pub mod finishing_cause {
    /// The monitor event SHUTDOWN, by the guest's own doing.
    pub const SHUTDOWN: u32 = 1;
    /// The monitor event `GUEST_PANICKED`.
    pub const PANICKED: u32 = 2;
    /// The monitor event MIGRATION, status completed: save, dump, migrate.
    pub const MIGRATED: u32 = 4;
    /// The answer to query-status says so: how a libvirtd that was away finds
    /// out.
    pub const STATUS: u32 = 8;
    /// The monitor event SHUTDOWN, by the host's doing: a signal, `quit`.
    pub const HOST_SHUTDOWN: u32 = 16;
    /// Any of the above: the guest is over.
    pub const OVER: u32 = 31;
    /// With a wall's leave, QEMU was told to write the guest's memory away, and
    /// the guest has not run since. Nobody announces the end of a dump or of a
    /// snapshot.
    pub const WRITTEN: u32 = 32;
    /// libvirt takes the monitor's socket away: it has done with the VM, and
    /// whether its last kill is refused makes no difference to it any more.
    pub const GIVEN_UP: u32 = 64;
}

/// Bits of [`Event::actor_flags`].
pub mod actor_flag {
    /// The actor is the process at the other end of the VM's monitor: libvirt
    /// acting for somebody.
    pub const DEPUTY: u32 = 1;
    /// The requester is the only one that asked the deputy lately; without it,
    /// it is the latest of several.
    pub const REQUESTER_SURE: u32 = 2;
    /// The lease is another's, as far as is known: the deputy acted while it was
    /// live, and the requester is not known to be its holder.
    pub const RODE: u32 = 4;
}

/// One ancestor of the actor, nearest first.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ancestor {
    /// Thread group; 0 ends the list.
    pub tgid: u32,
    /// Its command name, NUL padded.
    pub comm: [u8; COMM_LEN],
}

/// One event. Fields that a kind has no use for are zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Number of this event on this host, from 1, without gaps: a gap is a
    /// loss.
    pub seq: u64,
    /// Number of this event for this VM, from 1, without gaps.
    pub vm_seq: u64,
    /// `CLOCK_BOOTTIME` nanoseconds.
    pub boot_ns: u64,
    /// Start time of the VM's process, in ticks since boot.
    pub vm_start_ticks: u64,
    /// Start time of the actor's process, in ticks since boot.
    pub actor_start_ticks: u64,
    /// The lease that covered it; 0 for none.
    pub lease: u64,
    /// [`crate::HostRuleRow::id`] of the host rule that decided; 0 for none.
    pub host_rule: u64,
    /// cgroup v2 id of the actor.
    pub cgroup_id: u64,
    /// libvirt's UUID of the VM.
    pub vm_uuid: [u8; 16],
    /// One of [`event_kind`].
    pub kind: u32,
    /// Signal number, or the cause of a FINISHING; 0 for what is no signal.
    pub signal: u32,
    /// The VM's thread group.
    pub vm_tgid: u32,
    /// Wait status of an EXITED.
    pub exit_code: u32,
    /// Thread of the actor.
    pub actor_pid: u32,
    /// Thread group of the actor.
    pub actor_tgid: u32,
    /// Real user id of the actor.
    pub uid: u32,
    /// Real group id of the actor.
    pub gid: u32,
    /// Login uid of the actor; `u32::MAX` when unset.
    pub loginuid: u32,
    /// Audit session of the actor; `u32::MAX` when unset.
    pub session: u32,
    /// Bits of [`actor_flag`].
    pub actor_flags: u32,
    /// One of [`crate::vector`]; 0 for a FINISHING, RESUMED and EXITED.
    pub vector: u32,
    /// Start time of the requester, in ticks since boot.
    pub requester_start_ticks: u64,
    /// Thread group of who asked the deputy; 0 when unknown.
    pub requester_tgid: u32,
    /// Real user id of who asked the deputy.
    pub requester_uid: u32,
    /// Bit of [`crate::effect`] that was asked for; 0 for none.
    pub effect: u32,
    /// What the vector says: a resource, an access mode, an ioctl.
    pub detail: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u64,
    /// What it was, in a word: a command, a file's name. NUL padded.
    pub word: [u8; WORD_LEN],
    /// Command name of the actor's thread, NUL padded.
    pub comm: [u8; COMM_LEN],
    /// The actor's ancestors, nearest first.
    pub ancestors: [Ancestor; ANCESTORS_MAX],
}
