//! Into protection, and out of it.

use vmward_core::audit::{AuditBody, VmRecord, VmRef};
use vmward_core::ids::Process;

use super::super::batch::Batch;
use super::super::shell::{Shell, chain};
use super::Guarded;
use crate::counters::count;
use crate::kernel::Protected;
use crate::process::life::Life;
use crate::process::threads;

impl Guarded {
    pub(super) fn row(&self, process: Process) -> Protected {
        Protected {
            uuid: *self.uuid.as_bytes(),
            process,
            observe: self.observe,
            disarmed_until_s: self.disarmed_until_s,
            deputy_pid: self.deputy_pid,
        }
    }
}

impl Shell {
    pub(super) fn protect(&mut self, process: Process, wanted: Guarded, batch: &mut Batch) {
        if let Err(error) = self.kernel.protect(&wanted.row(process)) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
            self.vms.refused.insert(process, chain(&error));
            return;
        }
        // It may have ended while it was being protected; then nobody would
        // take the row away.
        let life = self.vms.lives.of(process);
        if life == Life::Ended {
            self.unprotect(process);
            return;
        }
        self.vms.refused.remove(&process);
        let name = wanted.name.clone();
        let uuid = wanted.uuid;
        if let Err(error) = self.vms.names.learn(uuid, &name) {
            self.complain("file of VM names", &error);
        }
        let observe = wanted.observe;
        self.vms.changed = true;
        if self.vms.protected.insert(process, wanted).is_none() {
            tracing::info!(vm = name, pid = process.pid, "protected");
            if !observe {
                self.lift_limit(process);
            }
            let vm = VmRef {
                uuid: Some(uuid),
                name,
            };
            batch.audit(vm_body("protected", vm, process, None));
        }
        self.looked_at(process, life, true, batch);
    }

    /// A VM of whose user others use up the threads would end.
    pub(in crate::engine_task) fn lift_limit(&mut self, process: Process) {
        match threads::lift_limit(process) {
            Ok(true) => tracing::info!(pid = process.pid, "its limit on threads is lifted"),
            Ok(false) => {}
            // Its end is told elsewhere.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                count(&self.counters.kernel_errors);
                self.complain("limit on threads", &error);
            }
        }
    }

    /// Has the kernel read once more what was hidden when it protected a VM.
    pub(super) fn protect_again(&mut self, process: Process) {
        let Some(row) = self.vms.protected.get(&process).map(|vm| vm.row(process)) else {
            return;
        };
        if let Err(error) = self.kernel.protect(&row) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
        }
    }

    pub(in crate::engine_task) fn unprotect(&mut self, process: Process) {
        if let Err(error) = self.kernel.unprotect(process) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
        }
        self.vms.forget(process);
        // Its helpers are libvirt's to clean up.
        self.guard_beside();
    }
}

pub(in crate::engine_task) fn vm_body(
    event: &str,
    vm: VmRef,
    process: Process,
    cause: Option<String>,
) -> AuditBody {
    AuditBody::Vm(Box::new(VmRecord {
        event: event.to_owned(),
        vm,
        pid: process.pid,
        cause,
        signal: None,
        exit_code: None,
        lease: None,
        charged: None,
        actor: None,
    }))
}
