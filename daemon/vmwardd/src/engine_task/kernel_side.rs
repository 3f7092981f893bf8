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
}

impl KernelSide {
    /// Is there one?
    pub fn is_on(&self) -> bool {
        matches!(self, KernelSide::On(_))
    }

    pub(super) fn hooks(&self) -> Vec<HookStatus> {
        match self {
            KernelSide::On(kernel) => kernel.hooks(),
            KernelSide::Off => Vec::new(),
        }
    }

    pub(super) fn protect(&mut self, vm: &Protected) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.protect(vm),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn guard_start(&mut self, vm: &Protected) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.guard_start(vm),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn unprotect(&mut self, process: Process) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.unprotect(process),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn moved(&mut self, process: Process, may: bool) -> Result<bool, KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.moved(process, may),
            KernelSide::Off => Ok(false),
        }
    }

    pub(super) fn protected(&self) -> Result<Vec<ProtectedState>, KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.protected(),
            KernelSide::Off => Ok(Vec::new()),
        }
    }

    pub(super) fn leases(&self) -> Result<Vec<LeaseRow>, KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.leases(),
            KernelSide::Off => Ok(Vec::new()),
        }
    }

    pub(super) fn put_lease(&mut self, lease: &Lease) -> Result<(), KernelError> {
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
        match self {
            KernelSide::On(kernel) => kernel.remove_lease(vm, id),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn disarm_vm(&mut self, vm: Process, until_s: u32) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.disarm_vm(vm, until_s),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn disarm_host(&mut self, until_ns: u64) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.disarm_host(until_ns),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn host_disarmed_until(&self) -> Result<u64, KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.host_disarmed_until(),
            KernelSide::Off => Ok(0),
        }
    }

    pub(super) fn beat(&mut self, now_ns: i64) -> Result<(), KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.beat(u64::try_from(now_ns).unwrap_or(0)),
            KernelSide::Off => Ok(()),
        }
    }

    pub(super) fn totals(&self) -> Result<Totals, KernelError> {
        match self {
            KernelSide::On(kernel) => kernel.totals(),
            KernelSide::Off => Ok(Totals::default()),
        }
    }
}
