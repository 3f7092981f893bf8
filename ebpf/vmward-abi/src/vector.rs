//! The ways to stop, pause, reset or starve a VM: [`crate::Event::vector`].
//! Append only; the names are those of the audit log.

macro_rules! vectors {
    ($($(#[$doc:meta])* $constant:ident = $number:literal, $name:literal;)*) => {
        $($(#[$doc])* pub const $constant: u32 = $number;)*

        /// Every vector with its name in the audit log.
        pub const NAMES: &[(u32, &str)] = &[$(($number, $name)),*];
    };
}

vectors! {
    /// A signal by kill, tkill, tgkill, sigqueue or pidfd.
    SIGNAL = 1, "signal";
    /// A signal by an event on a file (`F_SETOWN`, `F_SETSIG`).
    SIGIO = 2, "sigio";
    /// A signal through a terminal.
    TERMINAL = 3, "terminal";
    /// Attaching to the process, its memory or its descriptors.
    PTRACE = 4, "ptrace";
    /// A resource limit of the process.
    RLIMIT = 5, "rlimit";
    /// Scheduling of a thread: policy, niceness, affinity, I/O priority.
    SCHED = 6, "sched";
    /// `cgroup.kill`.
    CGROUP_KILL = 7, "cgroup-kill";
    /// `cgroup.freeze`, `freezer.state`.
    CGROUP_FREEZE = 8, "cgroup-freeze";
    /// Moving the VM to another cgroup.
    CGROUP_MOVE = 9, "cgroup-move";
    /// A limit of a cgroup: memory, CPU, CPU set, I/O.
    CGROUP_LIMIT = 10, "cgroup-limit";
    /// `oom_score_adj`, `oom_adj`.
    OOM_ADJUST = 11, "oom-adjust";
    /// `sysrq-trigger`.
    SYSRQ = 12, "sysrq";
    /// A connection to a monitor or agent socket.
    MONITOR_CONNECT = 13, "monitor-connect";
    /// A command on the monitor, by libvirt.
    MONITOR_COMMAND = 14, "monitor-command";
    /// A command to the guest agent, by libvirt.
    AGENT_COMMAND = 15, "agent-command";
    /// A call to libvirt, at its client.
    RPC = 16, "rpc";
    /// reboot(2), kexec.
    REBOOT = 17, "reboot";
    /// Loading or using a BPF program that can signal.
    BPF_PROGRAM = 18, "bpf-program";
    /// Reaching for vmward's own BPF maps, programs, links or pins.
    BPF_OBJECT = 19, "bpf-object";
    /// A file that libvirt needs to keep the VM.
    LIFELINE = 20, "lifeline-file";
    /// A mount over, or an unmount of, what keeps the VM or vmward.
    MOUNT = 21, "mount";
    /// A file of vmward's own.
    OWN_FILE = 22, "own-file";
    /// Other files of the kernel: memory failure, CPU hotplug, modules.
    KERNEL_FILE = 23, "kernel-file";
    /// The kernel ran out of memory and chose the VM.
    OOM = 24, "oom";
    /// Configuration of libvirt or vmward: its hooks, its domains, the policy.
    CONFIG = 25, "config-file";
    /// The VM's own process is made to wait at a FIFO that has nobody at its other end.
    FIFO = 26, "fifo";
    /// What a VM's disks lie on: a file system frozen or shut down, a device suspended,
    /// failed or taken away.
    STORAGE = 27, "storage";
}

/// The name of a vector in the audit log; `None` for an unknown number.
#[must_use]
pub fn name(vector: u32) -> Option<&'static str> {
    NAMES
        .iter()
        .find(|(number, _)| *number == vector)
        .map(|(_, name)| *name)
}
