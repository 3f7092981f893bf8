//! The leases that the kernel has.

use vmward_core::ids::Process;

use super::{Kernel, KernelError, LeaseRow};

impl Kernel {
    /// Puts a lease.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn put_lease(&mut self, lease: &LeaseRow) -> Result<(), KernelError> {
        self.maps.put_lease(lease)
    }

    /// The lease of a VM.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn lease(&self, vm: Process) -> Result<Option<LeaseRow>, KernelError> {
        self.maps.lease(vm)
    }

    /// Every lease.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn leases(&self) -> Result<Vec<LeaseRow>, KernelError> {
        self.maps.leases()
    }

    /// Removes the lease `id` of a VM; another lease stays.
    ///
    /// # Errors
    /// When the map refuses.
    pub fn remove_lease(&mut self, vm: Process, id: u64) -> Result<(), KernelError> {
        self.maps.remove_lease(vm, id)
    }
}
