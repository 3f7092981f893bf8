//! Processes that are guarded beside the VMs: those whose end is a VM's end,
//! libvirt's daemon, whose memory and descriptors hold every VM, and the program
//! that asks libvirt.

use vmward_core::ids::Process;

use super::KernelSide;
use super::shell::Shell;
use crate::counters::{count, count_by};
use crate::inventory::Beside;
use crate::kernel::{Guard, GuardRole};

impl Shell {
    /// Has the kernel guard what was seen beside the VMs under protection.
    pub(super) fn guard_beside(&mut self) {
        let mut wanted = Vec::new();
        let guard = |process: Process, role| Guard {
            process,
            role,
            observe: self.observe,
        };
        if let Some(inventory) = self.vms.inventory {
            wanted.push(guard(inventory, GuardRole::Inventory));
        }
        for process in &self.vms.beside.deputies {
            wanted.push(guard(*process, GuardRole::Deputy));
        }
        if let Some(logger) = self.vms.beside.logger {
            wanted.push(guard(logger, GuardRole::Logger));
        }
        for (vm, guarded) in self.vms.guarded() {
            let role = GuardRole::Helper {
                uuid: *guarded.uuid.as_bytes(),
                vm,
            };
            let helpers = self.vms.beside.helpers.get(&vm);
            wanted.extend(helpers.into_iter().flatten().map(|one| guard(*one, role)));
        }
        if let KernelSide::On(kernel) = &mut self.kernel
            && let Err(error) = kernel.set_guards(&wanted)
        {
            count(&self.counters.kernel_errors);
            self.complain("guarded processes", &error);
        }
    }

    /// Takes note of what was seen, and says what is new.
    pub(super) fn sighted_beside(&mut self, beside: Beside) {
        if beside == self.vms.beside {
            // The rows may have changed with the VMs.
            return self.guard_beside();
        }
        for process in &beside.deputies {
            if !self.vms.beside.deputies.contains(process) {
                tracing::info!(pid = process.pid, "libvirt's daemon is guarded");
            }
        }
        if let Some(logger) = beside.logger
            && self.vms.beside.logger != Some(logger)
        {
            tracing::info!(pid = logger.pid, "virtlogd is guarded");
        }
        for (vm, helpers) in &beside.helpers {
            let before = self.vms.beside.helpers.get(vm);
            for helper in helpers {
                if !before.is_some_and(|before| before.contains(helper)) {
                    let (pid, vm) = (helper.pid, vm.pid);
                    tracing::info!(pid, vm, "a helper of a VM is guarded");
                }
            }
        }
        let more = beside.left_out.saturating_sub(self.vms.beside.left_out);
        if more > 0 {
            let left_out = beside.left_out;
            tracing::warn!(
                left_out,
                "helpers of VMs are not guarded: there are too many"
            );
            count_by(&self.counters.helpers_left_out, more as u64);
        }
        self.vms.beside = beside;
        self.guard_beside();
    }
}
