//! VMs that libvirt's status files show, and libvirt itself has not told of yet.
//! What a file says only ever adds protection, and changes nothing that libvirt
//! has said.

use vmward_core::ids::Process;

use super::super::batch::Batch;
use super::super::shell::Shell;
use super::{Guarded, Vms};
use crate::inventory::ByFile;

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
            let pid = process.pid;
            tracing::info!(
                vm = name,
                pid,
                "protecting a VM by its status file: libvirt was not heard of it yet"
            );
            self.protect(*process, wanted, batch);
        }
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
