//! The monitors in the kernel: on which sockets a VM takes orders, what each
//! order needs, and from where libvirt's daemon is run.

mod commands;
mod sockets;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{HashMap, MapData};
use vmward_abi::{CommandKey, CommandRow, FileKey, MonitorRow, monitor_mode};
use vmward_core::ids::Process;

pub(super) use sockets::file_key;

use super::KernelError;
use super::maps::{BPF_ANY, absent_is_fine, failed, take};

/// Where distributions install libvirt's daemons.
const LIBVIRT_FOLDERS: [&str; 6] = [
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/libexec",
];
/// What the kernel forbids to programs, with the level in force in brackets.
const LOCKDOWN_FILE: &str = "/sys/kernel/security/lockdown";

/// The mode that this kernel allows: under lockdown no program may write to a
/// process's memory.
pub(super) fn mode() -> u32 {
    match fs::read_to_string(LOCKDOWN_FILE) {
        Ok(levels) if !levels.contains("[none]") => monitor_mode::OBSERVE,
        _ => monitor_mode::REWRITE,
    }
}

pub(super) struct MonitorMaps {
    monitors: HashMap<MapData, FileKey, MonitorRow>,
    commands: HashMap<MapData, CommandKey, CommandRow>,
    folders: HashMap<MapData, FileKey, u32>,
    libvirts: HashMap<MapData, u32, u64>,
}

impl MonitorMaps {
    pub(super) fn open(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        let mut maps = Self {
            monitors: take(ebpf, "MONITORS")?
                .try_into()
                .map_err(failed("open", "MONITORS"))?,
            commands: take(ebpf, "COMMANDS")?
                .try_into()
                .map_err(failed("open", "COMMANDS"))?,
            folders: take(ebpf, "LIBVIRT_FOLDERS")?
                .try_into()
                .map_err(failed("open", "LIBVIRT_FOLDERS"))?,
            libvirts: take(ebpf, "LIBVIRTS")?
                .try_into()
                .map_err(failed("open", "LIBVIRTS"))?,
        };
        maps.put_commands()?;
        maps.look_for_libvirt()?;
        Ok(maps)
    }

    /// The table of this build; what another build had and this one has not
    /// goes.
    fn put_commands(&mut self) -> Result<(), KernelError> {
        let mut known = BTreeSet::new();
        for (key, row) in commands::rows() {
            self.commands
                .insert(key, row, BPF_ANY)
                .map_err(failed("add a command", "COMMANDS"))?;
            known.insert(key);
        }
        let listed: Result<Vec<CommandKey>, _> = self.commands.keys().collect();
        let listed = listed.map_err(failed("list the commands", "COMMANDS"))?;
        for key in listed.iter().filter(|key| !known.contains(key)) {
            absent_is_fine(self.commands.remove(key))
                .map_err(failed("remove a command", "COMMANDS"))?;
        }
        Ok(())
    }

    /// Folders, not files: an upgrade replaces the file, and the new daemon must
    /// reach its monitors at once.
    fn look_for_libvirt(&mut self) -> Result<(), KernelError> {
        for folder in LIBVIRT_FOLDERS {
            if let Some(key) = file_key(Path::new(folder)) {
                self.folders
                    .insert(key, 1, BPF_ANY)
                    .map_err(failed("add a folder", "LIBVIRT_FOLDERS"))?;
            }
        }
        Ok(())
    }

    /// Guards every socket on which `vm` takes orders; gives those that cannot
    /// be guarded.
    pub(super) fn guard(&mut self, vm: Process) -> Result<Vec<String>, KernelError> {
        let orders = sockets::find(vm.pid);
        for (key, kind) in orders.sockets {
            let row = MonitorRow {
                vm_start_ticks: vm.start_ticks,
                vm_tgid: vm.pid,
                kind,
            };
            self.put(key, row)?;
        }
        Ok(orders.open)
    }

    /// Takes this process for libvirt's daemon, or no longer: for the self-test.
    pub(super) fn set_libvirt(&mut self, process: Process, is: bool) -> Result<(), KernelError> {
        let changed = if is {
            self.libvirts
                .insert(process.pid, process.start_ticks, BPF_ANY)
        } else {
            absent_is_fine(self.libvirts.remove(&process.pid))
        };
        changed.map_err(failed("change a process", "LIBVIRTS"))
    }

    /// Guards one socket.
    pub(super) fn put(&mut self, key: FileKey, row: MonitorRow) -> Result<(), KernelError> {
        self.monitors
            .insert(key, row, BPF_ANY)
            .map_err(failed("add a socket", "MONITORS"))
    }

    /// Forgets the sockets of a VM.
    pub(super) fn forget(&mut self, vm: Process) -> Result<(), KernelError> {
        let mut of_vm = Vec::new();
        for entry in &self.monitors {
            let (key, row) = entry.map_err(failed("list the sockets", "MONITORS"))?;
            if row.vm_tgid == vm.pid {
                of_vm.push(key);
            }
        }
        for key in of_vm {
            absent_is_fine(self.monitors.remove(&key))
                .map_err(failed("remove a socket", "MONITORS"))?;
        }
        Ok(())
    }
}
