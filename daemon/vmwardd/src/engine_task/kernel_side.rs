//! The kernel, or its absence under `--policy-only`. Every call that makes no
//! sense without it does nothing then.

use vmward_core::ids::Process;
use vmward_core::lease::{KernelLease, Lease};
use vmward_wire::v1::HookStatus;

use crate::kernel::{Kernel, KernelError, LeaseRow, Protected, ProtectedState, Totals};

/// The kernel side.
pub enum KernelSide {
    /// Attached and tested.
    On(Box<Kernel>),
    /// Not there, as asked for.
    Off,
    /// Takes no lease, and has nothing else.
    #[cfg(test)]
    Refusing,
}

impl KernelSide {
    /// Is there one?
    pub fn is_on(&self) -> bool {
        matches!(self, KernelSide::On(_))
    }

    pub(super) fn hooks(&self) -> Vec<HookStatus> {
        let KernelSide::On(kernel) = self else {
            return Vec::new();
        };
        kernel.hooks()
    }

    pub(super) fn protect(&mut self, vm: &Protected) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.protect(vm)
    }

    pub(super) fn guard_start(&mut self, vm: &Protected) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.guard_start(vm)
    }

    pub(super) fn unprotect(&mut self, process: Process) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.unprotect(process)
    }

    pub(super) fn moved(&mut self, process: Process, may: bool) -> Result<bool, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(false);
        };
        kernel.moved(process, may)
    }

    pub(super) fn protected(&self) -> Result<Vec<ProtectedState>, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(Vec::new());
        };
        kernel.protected()
    }

    pub(super) fn leases(&self) -> Result<Vec<LeaseRow>, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(Vec::new());
        };
        kernel.leases()
    }

    pub(super) fn put_lease(&mut self, lease: &Lease) -> Result<(), KernelError> {
        #[cfg(test)]
        if matches!(self, KernelSide::Refusing) {
            return Err(KernelError::Unkept { seconds: 0 });
        }
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.put_lease(&LeaseRow {
            id: lease.id.0,
            vm: lease.process,
            holder: lease.holder,
            effects: lease.effect.bit(),
            deadline_ns: u64::try_from(lease.deadline_ns).unwrap_or(0),
            executing: false,
        })
    }

    /// What the kernel's row for this very lease says.
    pub(super) fn look_up(&self, lease: &Lease) -> Result<KernelLease, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(KernelLease::Missing);
        };
        let row = kernel
            .lease(lease.process)?
            .filter(|row| row.id == lease.id.0);
        Ok(match row {
            None => KernelLease::Missing,
            Some(row) if row.executing => KernelLease::Executing,
            Some(_) => KernelLease::Granted,
        })
    }

    pub(super) fn remove_lease(&mut self, vm: Process, id: u64) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.remove_lease(vm, id)
    }

    pub(super) fn disarm_vm(&mut self, vm: Process, until_s: u32) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.disarm_vm(vm, until_s)
    }

    pub(super) fn disarm_host(&mut self, until_ns: u64) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.disarm_host(until_ns)
    }

    pub(super) fn host_disarmed_until(&self) -> Result<u64, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(0);
        };
        kernel.host_disarmed_until()
    }

    pub(super) fn beat(&mut self, now_ns: i64) -> Result<(), KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(());
        };
        kernel.beat(u64::try_from(now_ns).unwrap_or(0))
    }

    pub(super) fn totals(&self) -> Result<Totals, KernelError> {
        let KernelSide::On(kernel) = self else {
            return Ok(Totals::default());
        };
        kernel.totals()
    }
}
