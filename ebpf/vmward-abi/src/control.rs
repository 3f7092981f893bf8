//! The cgroups that hold a VM, so that a write to one of their files is known
//! for what it is.

/// Most cgroups at or above VMs.
pub const CGROUPS_MAX: u32 = 32_768;

/// A cgroup, in any hierarchy.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupKey {
    /// The kernel's number of its folder: what `stat` calls the inode.
    pub id: u64,
    /// Number of the hierarchy, as in `/proc/PID/cgroup`: 0 for version 2.
    pub hierarchy: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u32,
}

/// Stands for the host as a whole: there while any VM is protected.
pub const HOST_CGROUP: CgroupKey = CgroupKey {
    id: 0,
    hierarchy: u32::MAX,
    pad: 0,
};

/// Bits of [`CgroupRow::flags`].
pub mod cgroup_flag {
    /// Every VM at or below it is only observed.
    pub const OBSERVE: u32 = 1;
    /// A VM's threads are in it or may be spread over the cgroups below it, and
    /// nobody else's belong there. The top of a hierarchy never has it.
    pub const HOLDS: u32 = 2;
}

/// Whose cgroup it is. Written by the daemon for the VMs that it protects, and
/// by the programs when a VM is moved; taken away by the daemon.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupRow {
    /// Start time of the VM's process, in ticks since boot; 0 for several.
    pub start_ticks: u64,
    /// `CLOCK_BOOTTIME` nanoseconds of the newest move that needs the row; 0
    /// for one that the daemon wrote.
    pub moved_ns: u64,
    /// The VM's thread group; 0 where several VMs are at or below it.
    pub tgid: u32,
    /// Bits of [`cgroup_flag`].
    pub flags: u32,
}
