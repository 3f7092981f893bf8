//! The monitor and agent sockets of the VMs, and what libvirt may say there.

/// Most sockets of all VMs together.
pub const MONITORS_MAX: u32 = 16_384;
/// Most commands in the table.
pub const COMMANDS_MAX: u32 = 1024;
/// Most folders that libvirt's daemon may run from.
pub const LIBVIRT_FOLDERS_MAX: u32 = 64;
/// Longest name of a command; a longer one is unknown.
pub const COMMAND_LEN: usize = 44;

/// Values of [`MonitorRow::kind`].
pub mod monitor_kind {
    /// The monitor that libvirt uses, or another one that speaks QMP.
    pub const QMP: u32 = 1;
    /// The guest agent's channel.
    pub const AGENT: u32 = 2;
    /// What libvirt does not use: a monitor for people, a debugger's door.
    /// Nobody may connect.
    pub const OTHER: u32 = 3;
}

/// What becomes of a command that libvirt sends without a lease.
pub mod monitor_mode {
    /// It is sent, and recorded.
    pub const OBSERVE: u32 = 0;
    /// It is made harmless in libvirt's memory. Not under kernel lockdown.
    pub const REWRITE: u32 = 1;
    /// Sending it fails. libvirt then takes the monitor for broken, until it is
    /// started anew.
    pub const DENY: u32 = 2;
}

/// A file, as the kernel numbers it: a bound socket, or a folder.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// Its inode.
    pub inode: u64,
    /// The device of its file system.
    pub dev: u32,
    /// Explicit, so that no padding is left unwritten.
    pub pad: u32,
}

/// A socket on which a VM listens: written by the daemon, only read by the
/// programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MonitorRow {
    /// Start time of the VM's process, in ticks since boot.
    pub vm_start_ticks: u64,
    /// The VM's thread group.
    pub vm_tgid: u32,
    /// One of [`monitor_kind`].
    pub kind: u32,
}

/// Values of [`CommandKey::language`].
pub mod language {
    /// The monitor's JSON.
    pub const QMP: u32 = 1;
    /// The line of a `human-monitor-command`.
    pub const HMP: u32 = 2;
    /// The guest agent's JSON.
    pub const AGENT: u32 = 3;
    /// No command: a property that libvirt sets while a guest runs.
    pub const PROPERTY: u32 = 4;
    /// No command: a kind of object that libvirt adds to a running guest.
    pub const OBJECT: u32 = 5;
    /// No command: a kind of network back end that libvirt adds.
    pub const NETDEV: u32 = 6;
    /// No command: a kind of character device that libvirt adds.
    pub const CHARDEV: u32 = 7;
}

/// A command by name, or a word of one that decides what it does.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandKey {
    /// The name, NUL padded.
    pub name: [u8; COMMAND_LEN],
    /// One of [`language`].
    pub language: u32,
}

/// What a command needs: written by the daemon, only read by the programs. A
/// command that is in no row needs a lease for a forced stop.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandRow {
    /// The bit of [`crate::effect`] that a lease must cover; 0 where anybody
    /// may give the command.
    pub effect: u32,
    /// Further bits of [`crate::effect`] whose lease covers it: it is a part of
    /// those operations.
    pub covers: u32,
}
