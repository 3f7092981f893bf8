//! Ends that no event told, and processes that cannot be looked at.

use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::ids::{Process, VmUuid};

use super::super::batch::Batch;
use super::super::shell::Shell;
use super::protect::vm_body;
use super::{Hidden, Vms};
use crate::counters::count;
use crate::process::armed;
use crate::process::life::{self, Life};

/// How often processes are looked for whose end the kernel's event did not tell.
const SWEEP_NS: i64 = 10 * NS_PER_S;

impl Vms {
    /// Takes down that a process under protection cannot be looked at; true where
    /// that is new.
    pub(super) fn hide(&mut self, process: Process, why: String, unread: bool) -> bool {
        if let Some(hidden) = self.hidden.get_mut(&process) {
            hidden.why = why;
            return false;
        }
        self.hidden.insert(process, Hidden { why, unread });
        true
    }

    /// Why a process under protection cannot be looked at; `None` where it can.
    pub(in crate::engine_task) fn doubt(&self, process: Process) -> Option<&str> {
        Some(self.hidden.get(&process)?.why.as_str())
    }

    /// What was set on a process before it was protected; `None` where nothing was.
    pub(in crate::engine_task) fn armed(&self, process: Process) -> Option<&str> {
        self.armed.get(&process).map(String::as_str)
    }

    /// Looks what was set on a process before. Once it is protected nothing is added.
    pub(super) fn look_armed(&mut self, process: Process) {
        let Some(what) = armed::armed(process) else {
            self.armed.remove(&process);
            return;
        };
        if self.armed.get(&process) != Some(&what) {
            tracing::warn!(pid = process.pid, what, "a VM can end by itself");
            self.armed.insert(process, what);
        }
    }

    /// How many processes under protection cannot be looked at.
    pub(in crate::engine_task) fn hidden_count(&self) -> usize {
        self.hidden.len()
    }

    /// Is it under protection, and just not to be seen?
    pub(in crate::engine_task) fn looks_hidden(&self, uuid: VmUuid) -> bool {
        let mut own = self.protected.iter().filter(|(_, vm)| vm.uuid == uuid);
        own.any(|(process, _)| life::life(*process).doubt().is_some())
    }
}

impl Shell {
    /// Finds the end of processes about which the kernel's event was lost.
    pub(in crate::engine_task) fn sweep(&mut self, now: Now, batch: &mut Batch) {
        if now.boot_ns.saturating_sub(self.vms.swept_ns) < SWEEP_NS {
            return;
        }
        self.vms.swept_ns = now.boot_ns;
        let all: Vec<Process> = self.vms.guarded().map(|(process, _)| process).collect();
        for process in all {
            match self.vms.lives.of(process) {
                Life::Ended => {
                    // The event may be on its way; only the second sweep in a row acts.
                    if self.evidence.missing_since_last_sweep(process) {
                        self.ended_unseen(process, now, batch);
                    }
                }
                life => self.looked_at(process, life, false, batch),
            }
        }
    }

    /// A process under protection has not ended; it stays protected, and what keeps
    /// it from being looked at is told. `unread`: the kernel's rows of it were made
    /// just now.
    pub(super) fn looked_at(
        &mut self,
        process: Process,
        life: Life,
        unread: bool,
        batch: &mut Batch,
    ) {
        let Some(why) = life.doubt() else {
            let hidden = self.vms.hidden.remove(&process);
            // Who has set it back is not told of it for ever.
            if unread || hidden.is_some() || self.vms.armed(process).is_some() {
                self.vms.look_armed(process);
            }
            if hidden.is_some_and(|hidden| hidden.unread && !unread) {
                self.protect_again(process);
            }
            return;
        };
        if !self.vms.hide(process, why.clone(), unread) {
            return;
        }
        count(&self.counters.vms_hidden);
        let Some(uuid) = self.vms.protected.get(&process).map(|vm| vm.uuid) else {
            return;
        };
        let vm = self.vms.reference(process, uuid);
        let pid = process.pid;
        tracing::warn!(
            vm = vm.name,
            pid,
            why,
            "a VM cannot be looked at; it stays protected"
        );
        batch.audit(vm_body("hidden", vm, process, Some(why)));
    }
}
