//! How often and how long the programs ran, where the kernel counts it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// The runs of one program.
#[derive(Clone, Copy)]
pub(super) struct Ran {
    pub(super) count: u64,
    pub(super) mean_ns: u64,
}

/// The runs of every program of this host by its number; none where nobody has
/// the kernel count.
pub(super) struct Runs(HashMap<u32, Ran>);

impl Runs {
    pub(super) fn look() -> Runs {
        let counts = fs::read_to_string(SWITCH).is_ok_and(|text| text.trim() == "1");
        if !counts {
            return Runs(HashMap::new());
        }
        // What goes meanwhile has no runs.
        let programs = loaded_programs().flatten().map(|program| {
            let count = program.run_count();
            let all_ns = u64::try_from(program.run_time().as_nanos()).unwrap_or(u64::MAX);
            let mean_ns = all_ns.checked_div(count).unwrap_or(0);
            (program.id(), Ran { count, mean_ns })
        });
        Runs(programs.collect())
    }

    /// Those of the program behind a pinned link.
    pub(super) fn of(&self, pin: &Path) -> Option<Ran> {
        if self.0.is_empty() {
            return None;
        }
        let link = FdLink::from(PinnedLink::from_pin(pin).ok()?);
        self.0.get(&link.info().ok()?.program_id()).copied()
    }
}
