//! VMs that libvirt's status files show, and libvirt itself has not told of yet.
//! What a file says only ever adds protection, and changes nothing that libvirt
//! has said.

use vmward_core::ids::Process;

use super::super::batch::Batch;
use super::super::shell::Shell;
use super::{Guarded, Vms};
use crate::counters::count;
use crate::inventory::ByFile;
use crate::process::life::Life;

impl Vms {
    /// Is this process to be protected by its status file? Not one that is already,
    /// nor one that the kernel saw end: the file can be older.
    fn is_missing(&self, process: Process) -> bool {
        !self.protected.contains_key(&process) && !self.ended.contains(&process)
    }
}

impl Shell {
    pub(super) fn protect_by_file(&mut self, found: &[ByFile], deputy_pid: u32, batch: &mut Batch) {
        if !self.kernel.is_on() {
            return;
        }
        for ByFile {
            uuid,
            name,
            process,
            is_starting,
        } in found
        {
            if !self.vms.is_missing(*process) {
                continue;
            }
            let wanted = Guarded {
                uuid: *uuid,
                name: name.clone(),
                observe: self.observe,
                disarmed_until_s: self.disarmed_until_s(*process),
                deputy_pid: if deputy_pid == 0 {
                    self.vms.deputy_pid
                } else {
                    deputy_pid
                },
            };
            if *is_starting {
                self.guard_start(*process, &wanted);
                continue;
            }
            let pid = process.pid;
            tracing::info!(vm = name, pid, "protecting a VM by its status file");
            self.protect(*process, wanted, batch);
        }
    }

    /// A VM that starts, or comes in, is libvirt's to clean up, and nobody else's to
    /// end. From when it runs it is protected as all are.
    fn guard_start(&mut self, process: Process, wanted: &Guarded) {
        if let Err(error) = self.kernel.guard_start(&wanted.row(process)) {
            count(&self.counters.kernel_errors);
            self.complain("kernel", &error);
            return;
        }
        // As in `protect`.
        if self.vms.lives.of(process) == Life::Ended {
            self.unprotect(process);
            return;
        }
        self.vms.lives.let_go(process);
        // For the record of what is tried on it.
        if let Err(error) = self.vms.names.learn(wanted.uuid, &wanted.name) {
            self.complain("file of VM names", &error);
        }
        tracing::info!(
            vm = wanted.name,
            pid = process.pid,
            "guarded while it starts"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_task::names::Names;
    use crate::kernel::Protected;
    use crate::process::testing::{child, end};

    #[test]
    fn only_a_process_that_is_not_protected_and_has_not_ended_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut vms = Vms::new(false, Names::load(dir.path()));
        let (running, process) = child();
        assert!(vms.is_missing(process));
        vms.adopt(&Protected {
            uuid: [1; 16],
            process,
            observe: false,
            disarmed_until_s: 0,
            deputy_pid: 0,
        });
        assert!(!vms.is_missing(process));
        end(running);
        vms.forget(process);
        assert!(!vms.is_missing(process), "it has ended");
        assert_eq!(vms.domains(), [], "libvirt has said nothing");
    }
}
