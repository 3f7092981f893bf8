//! Host rules: who may end or pause a VM by a signal of its own, without a
//! lease.
//!
//! A rule has a number below [`HOST_RULES_MAX`], and a set of rules is a mask
//! with one bit a number. Two masks meet: the rules that name an actor, and the
//! rules that are about a VM.

/// Most host rules in force at a time: the bits of a mask.
pub const HOST_RULES_MAX: u32 = 64;

/// Most actors that all host rules together can name.
pub const HOST_ACTORS_MAX: u32 = 1024;

/// Values of [`HostActorKey::kind`].
pub mod host_actor {
    /// `id` is a real user id, in the initial namespace.
    pub const UID: u32 = 1;
    /// `id` is the inode of the executable, `dev` the device of its file
    /// system, as the kernel numbers it.
    pub const EXE: u32 = 2;
    /// `id` is that of a cgroup v2, and covers the cgroups below it.
    pub const CGROUP: u32 = 3;
}

/// Bits of [`HostRuleRow::flags`].
pub mod host_rule_flag {
    /// `ceiling` counts.
    pub const LIMITED: u32 = 1;
}

/// One actor.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostActorKey {
    /// What `kind` says.
    pub id: u64,
    /// One of [`host_actor`].
    pub kind: u32,
    /// What `kind` says, else 0.
    pub dev: u32,
}

/// One host rule: written by the daemon, only read by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostRuleRow {
    /// Stands for the rule in events, whatever its number: made from its name.
    pub id: u64,
    /// The rule can be used until its count of uses has reached this number.
    pub ceiling: u64,
    /// Up to which count of uses the daemon has taken them down.
    pub charged: u64,
    /// Bits of [`crate::effect`]; 0 for a rule that is not in force.
    pub effects: u32,
    /// Bits of [`host_rule_flag`].
    pub flags: u32,
}
