//! Keys and values of the maps. The key of each is the VM's tgid (`u32`).

/// Stands for the host itself where an event or a row is about no VM: the
/// processes of role [`role::DEPUTY`], [`role::OWN`], [`role::LOGGER`] and
/// [`role::INVENTORY`], and what ends every VM at once.
pub const HOST_UUID: [u8; 16] = [0xff; 16];

/// Values of [`VmRow::role`]: what the process is that the row guards.
pub mod role {
    /// A VM.
    pub const VM: u32 = 0;
    /// A process whose end is the end of the VM [`super::VmRow::owner_tgid`]:
    /// virtiofsd, swtpm, the init of its PID namespace.
    pub const HELPER: u32 = 1;
    /// libvirt's daemon: may be ended, not tampered with.
    pub const DEPUTY: u32 = 2;
    /// vmward's own daemon.
    pub const OWN: u32 = 3;
    /// virtlogd, which reads what guests print: when it does not, each QEMU waits
    /// for it. May be ended, not held up or tampered with.
    pub const LOGGER: u32 = 4;
    /// The program that asks libvirt, a child of vmward's daemon, which is
    /// [`super::VmRow::owner_tgid`]: guarded like it, with none of its rights.
    pub const INVENTORY: u32 = 5;
    /// A VM that starts or comes in: may be ended by libvirt, which cleans up what did
    /// not start, and by PID 1, by nobody else.
    pub const STARTING: u32 = 6;
}

/// Bits of [`VmRow::flags`].
pub mod vm_flag {
    /// Let a stop without lease through, and record that it would have been
    /// refused.
    pub const OBSERVE: u32 = 1;
}

/// Bits of [`LeaseRow::effects`], in the order of the policy's effects.
pub mod effect {
    /// Ask the guest to power off.
    pub const STOP: u32 = 1 << 0;
    /// Cut the power.
    pub const FORCE_STOP: u32 = 1 << 1;
    /// Ask the guest to reboot.
    pub const REBOOT: u32 = 1 << 2;
    /// Pull the reset line.
    pub const RESET: u32 = 1 << 3;
    /// Stop the virtual CPUs.
    pub const PAUSE: u32 = 1 << 4;
    /// Write the memory to disk and end the process.
    pub const SAVE: u32 = 1 << 5;
    /// Move the VM to another host.
    pub const MIGRATE: u32 = 1 << 6;
    /// Remove the VM for good.
    pub const DELETE: u32 = 1 << 7;
    /// Restart, halt or replace the host's kernel: the lease of the key 0.
    pub const HOST_REBOOT: u32 = 1 << 8;
}

/// Values of [`LeaseRow::state`].
pub mod lease_state {
    /// Put by the daemon, not used yet.
    pub const GRANTED: u32 = 1;
    /// Used at least once; covers its operation to the end.
    pub const EXECUTING: u32 = 2;
}

/// What leaves a VM where it was, and so could be done again and again under one lease.
/// Not 1: a former version counted there how often a pause was left.
pub mod lease_use {
    /// It was paused.
    pub const PAUSE: u32 = 2;
    /// It was reset.
    pub const RESET: u32 = 4;
}

/// A guarded process: written by the daemon, only read by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmRow {
    /// libvirt's UUID; all zero for the self-test's canary, [`HOST_UUID`] for
    /// what is no VM's.
    pub uuid: [u8; 16],
    /// Start time of the process, in ticks since boot.
    pub start_ticks: u64,
    /// Bits of [`vm_flag`].
    pub flags: u32,
    /// One of [`role`].
    pub role: u32,
    /// The VM's thread group, for a helper; the daemon's, for its inventory; else 0.
    pub owner_tgid: u32,
    /// `CLOCK_BOOTTIME` second until which a person has disarmed the VM: as
    /// [`vm_flag::OBSERVE`], and over by itself. 0 for never.
    pub disarmed_until_s: u32,
}

/// What the programs know of a VM: written by the programs. The daemon only
/// creates it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VmState {
    /// Number of the newest event about this VM.
    pub seq: u64,
    /// Address of the `struct pid` of the process at the other end of the
    /// monitor; 0 until a monitor write was seen. An identity, never
    /// dereferenced.
    pub deputy_pid_ptr: u64,
    /// Thread group of that process; what the daemon found, until a monitor
    /// write was seen. 0 when unknown.
    pub deputy_tgid: u32,
    /// Bits of [`crate::finishing_cause`]: what is known of the guest's end.
    pub finishing: u32,
}

/// A lease: put and removed by the daemon, claimed by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// The decision that granted it.
    pub id: u64,
    /// Start time of the VM's process, in ticks since boot.
    pub vm_start_ticks: u64,
    /// Start time of the holder, in ticks since boot.
    pub holder_start_ticks: u64,
    /// `CLOCK_BOOTTIME` nanoseconds after which it can no longer be claimed.
    pub deadline_ns: u64,
    /// `CLOCK_BOOTTIME` nanoseconds of the claim; 0 before.
    pub claimed_ns: u64,
    /// The process that may use it, with its descendants.
    pub holder_tgid: u32,
    /// Bits of [`effect`].
    pub effects: u32,
    /// One of [`lease_state`].
    pub state: u32,
    /// What was used that can be used once: bits of [`lease_use`].
    pub used: u32,
}
