//! Protection that a person took away: of one VM, or of the whole host.
//!
//! ```text
//!            disarm: a person, a reason, a deadline or none
//!   armed ---------------------------------------------------> disarmed
//!     ^                                                         |
//!     +-- a person arms | deadline | the VM's process ends -----+
//!     +-- reboot -----------------------------------------------+
//! ```
//!
//! Protection comes back by itself: the kernel knows the deadline and needs no
//! daemon for it, a VM's disarm is its process's and not its name's, and none
//! outlives the boot in which it was made. A second disarm of the same thing
//! takes the place of the first. What is done meanwhile is let through and
//! recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    approval::Person,
    clock::Now,
    ids::{Process, VmUuid},
};

/// Longest time for which protection can be taken away, in milliseconds: 30
/// days.
pub const DISARM_MS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

/// Who disarmed or armed: whoever was at the other end of the admin socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The user, and the one who logged in.
    #[serde(flatten)]
    pub person: Person,
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// One VM's process that is disarmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DisarmedVm {
    /// The VM.
    pub uuid: VmUuid,
    /// Its name at that time, for people.
    pub name: String,
    /// Its process: a VM that starts again is protected.
    pub process: Process,
}

/// Protection that was taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disarm {
    /// Of which VM; of the whole host where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<DisarmedVm>,
    /// By whom.
    pub by: Operator,
    /// Why, in the person's words.
    pub reason: String,
    /// Since when.
    pub since: Now,
    /// The boot-time nanosecond at which protection comes back; with the end of
    /// the VM's process or of the boot where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ns: Option<i64>,
}

impl Disarm {
    /// The VM's process; `None` for the whole host.
    pub fn process(&self) -> Option<Process> {
        self.vm.as_ref().map(|vm| vm.process)
    }

    fn is_over(&self, now: Now) -> bool {
        self.until_ns.is_some_and(|until| until <= now.boot_ns)
    }
}

/// Everything that is disarmed now, by the VM's process; the whole host is
/// `None`.
#[derive(Clone, Debug, Default)]
pub struct Disarms(BTreeMap<Option<Process>, Disarm>);

impl Disarms {
    /// Every one, the host's first.
    pub fn iter(&self) -> impl Iterator<Item = &Disarm> {
        self.0.values()
    }

    /// The one of this VM's process, or of the whole host.
    pub fn get(&self, of: Option<Process>) -> Option<&Disarm> {
        self.0.get(&of)
    }

    /// What takes this VM's protection away: a disarm of its own, or the host's.
    pub fn of_vm(&self, process: Process) -> Option<&Disarm> {
        self.get(Some(process)).or_else(|| self.get(None))
    }

    /// Puts it in the place of a former one, which it gives.
    pub fn put(&mut self, disarm: Disarm) -> Option<Disarm> {
        self.0.insert(disarm.process(), disarm)
    }

    /// Ends it.
    pub fn remove(&mut self, of: Option<Process>) -> Option<Disarm> {
        self.0.remove(&of)
    }

    /// Ends all of them.
    pub fn take_all(&mut self) -> Vec<Disarm> {
        std::mem::take(&mut self.0).into_values().collect()
    }

    /// Ends those whose time is over.
    pub fn take_due(&mut self, now: Now) -> Vec<Disarm> {
        self.0
            .extract_if(.., |_, disarm| disarm.is_over(now))
            .map(|(_, disarm)| disarm)
            .collect()
    }

    /// The boot-time nanosecond of the next deadline.
    pub fn next_deadline(&self) -> Option<i64> {
        self.iter().filter_map(|disarm| disarm.until_ns).min()
    }
}
