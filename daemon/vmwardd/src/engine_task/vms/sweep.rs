//! Ends that no event told.

use vmward_core::clock::{NS_PER_S, Now};
use vmward_core::ids::Process;

use super::super::batch::Batch;
use super::super::shell::Shell;
use crate::process;

/// How often processes are looked for whose end the kernel's event did not tell.
const SWEEP_NS: i64 = 10 * NS_PER_S;

impl Shell {
    /// Finds the end of processes about which the kernel's event was lost.
    pub(in crate::engine_task) fn sweep(&mut self, now: Now, batch: &mut Batch) {
        if now.boot_ns.saturating_sub(self.vms.swept_ns) < SWEEP_NS {
            return;
        }
        self.vms.swept_ns = now.boot_ns;
        let ended: Vec<Process> = self
            .vms
            .guarded()
            .map(|(process, _)| process)
            .filter(|process| !process::is_alive(*process))
            .collect();
        for process in ended {
            // The event may be on its way; only the second sweep in a row acts.
            if self.evidence.missing_since_last_sweep(process) {
                self.ended_unseen(process, now, batch);
            }
        }
    }
}
