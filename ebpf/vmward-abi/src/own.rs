//! What vmward guards beside processes: files, and BPF maps and programs of its
//! own.

/// Most objects under guard.
pub const OBJECTS_MAX: u32 = 32_768;

/// Values of [`ObjectKey::kind`].
pub mod object {
    /// `id` is an inode, `dev` the device of its file system, as the kernel
    /// numbers it.
    pub const INODE: u32 = 1;
    /// `id` is that of a BPF map.
    pub const BPF_MAP: u32 = 2;
    /// `id` is that of a BPF program.
    pub const BPF_PROG: u32 = 3;
    /// As `INODE`, of a program that is vmward's own: whoever runs it may reach
    /// for all the others.
    pub const OWN_EXE: u32 = 4;
    /// As `INODE`, of the folder that vmward's program lies in: another of its
    /// name there is the one that an upgrade has put in its place.
    pub const OWN_FOLDER: u32 = 5;
    /// `dev` is the device of a file system, `id` is 0: files of VMs lie there, or
    /// vmward's own.
    pub const FILE_SYSTEM: u32 = 6;
}

/// Values of [`ObjectRow::class`].
pub mod object_class {
    /// vmward's own in the kernel: maps, programs, and their pins.
    pub const BPF: u32 = 1;
    /// vmward's state, its log and its sockets.
    pub const STATE: u32 = 2;
    /// A place that nothing may be mounted over or unmounted from.
    pub const PLACE: u32 = 3;
    /// A file that libvirt needs to keep the VM of the row.
    pub const LIFELINE: u32 = 4;
    /// Configuration, or a folder of it: what is done to it is recorded.
    pub const CONFIG: u32 = 5;
    /// A folder in which libvirt keeps what it knows of VMs: its name and its place
    /// are not to change while VMs run.
    pub const FOLDER: u32 = 6;
    /// A folder that guarded ones lie in: as [`FOLDER`], but what is mounted elsewhere
    /// with it may be unmounted, and it may be mounted anew with other options.
    pub const ABOVE: u32 = 7;
    /// A file system for which VMs wait, or vmward, where it is frozen or shut down.
    pub const STORAGE: u32 = 8;
    /// A library that VMs or vmward run: it can be replaced, as upgrades do, and is not
    /// to be written to or cut short while VMs run.
    pub const LIBRARY: u32 = 9;
}

/// One object.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// What `kind` says.
    pub id: u64,
    /// What `kind` says, else 0.
    pub dev: u32,
    /// One of [`object`].
    pub kind: u32,
}

/// What an object is. Written by the daemon, only read by the programs.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectRow {
    /// Start time of the VM's process, in ticks since boot; 0 for vmward's own.
    pub start_ticks: u64,
    /// The VM's thread group; 0 for vmward's own.
    pub tgid: u32,
    /// One of [`object_class`].
    pub class: u32,
}

/// Slots of the `FACTS` map, 64 bits each.
pub mod fact {
    /// How many VMs are protected; the daemon sets it, and the programs take
    /// one off for each VM that ends.
    pub const VMS_ENFORCED: u32 = 0;
    /// The same of VMs that are only observed.
    pub const VMS_OBSERVED: u32 = 1;
    /// Not 0: attempts on what is no VM are let through and recorded.
    pub const OBSERVE: u32 = 2;
    /// `CLOCK_BOOTTIME` nanoseconds until which the daemon counts as well, and
    /// only its parent may end it.
    pub const WELL_UNTIL: u32 = 3;
    /// Number of the mount namespace of the host's first process.
    pub const HOST_MOUNTS: u32 = 4;
    /// Which of [`CALLS`] the next program that the daemon loads makes, from 1;
    /// 0 when it teaches none.
    pub const LESSON: u32 = 5;
    /// First of the instructions by which a program calls what it must not: as
    /// the running kernel writes them. 0 where it has no such call.
    pub const CALLS: u32 = 6;
    /// How many there are.
    pub const CALLS_LEN: u32 = 5;
    /// `CLOCK_BOOTTIME` nanoseconds until which a person has disarmed the whole
    /// host: every VM is only observed, and over by itself. 0 for never.
    pub const DISARMED_UNTIL: u32 = CALLS + CALLS_LEN;
    /// Number of slots.
    pub const SLOTS: u32 = DISARMED_UNTIL + 1;
}
