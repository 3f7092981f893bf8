//! The rows of guarded processes that are no VMs: helpers, libvirt's daemons and
//! the program that asks libvirt.

use aya::maps::MapError;
use vmward_abi::{HOST_UUID, VmRow, role, vm_flag};
use vmward_core::ids::Process;

use super::{BPF_ANY, Maps, absent_is_fine, absent_is_none, failed};
use crate::kernel::{Guard, GuardRole, KernelError};

impl Guard {
    fn row(&self) -> VmRow {
        let (uuid, role, owner_tgid) = match self.role {
            GuardRole::Helper { uuid, vm } => (uuid, role::HELPER, vm.pid),
            GuardRole::Deputy => (HOST_UUID, role::DEPUTY, 0),
            GuardRole::Logger => (HOST_UUID, role::LOGGER, 0),
            GuardRole::Inventory => (HOST_UUID, role::INVENTORY, std::process::id()),
        };
        VmRow {
            uuid,
            start_ticks: self.process.start_ticks,
            flags: if self.observe { vm_flag::OBSERVE } else { 0 },
            role,
            owner_tgid,
            disarmed_until_s: 0,
        }
    }
}

impl Maps {
    /// Puts the rows of `wanted` and removes those of other helpers. The row of a
    /// daemon goes with its process alone: what is not found any more may only be
    /// hidden.
    pub(in crate::kernel) fn set_guards(&mut self, wanted: &[Guard]) -> Result<(), KernelError> {
        let list = failed("list the guarded processes", "VMS");
        let rows: Result<Vec<(u32, VmRow)>, MapError> = self.vms.iter().collect();
        for (pid, row) in rows.map_err(list)? {
            let process = Process {
                pid,
                start_ticks: row.start_ticks,
            };
            let is_wanted = wanted.iter().any(|guard| guard.process == process);
            if row.role == role::HELPER && !is_wanted {
                absent_is_fine(self.vms.remove(&pid)).map_err(failed("remove a helper", "VMS"))?;
            }
        }
        for guard in wanted {
            self.put_guard(guard)?;
        }
        Ok(())
    }

    /// A process that has a row for a greater reason keeps that one.
    fn put_guard(&mut self, guard: &Guard) -> Result<(), KernelError> {
        let pid = guard.process.pid;
        let row = guard.row();
        let before = absent_is_none(self.vms.get(&pid, 0))
            .map_err(failed("look up a guarded process", "VMS"))?
            .filter(|before| before.start_ticks == row.start_ticks);
        let stays = before.is_some_and(|before| match before.role {
            role::HELPER | role::INVENTORY => before == row,
            role::DEPUTY | role::LOGGER => before == row || row.role == role::HELPER,
            _ => true,
        });
        if stays {
            return Ok(());
        }
        self.vms
            .insert(pid, row, BPF_ANY)
            .map_err(failed("add a guarded process", "VMS"))
    }
}
