//! What the audit log says about protection that people take away and put back.

use serde::{Deserialize, Serialize};

use super::{AuditBody, VmRef};
use crate::{
    clock::{Now, rfc3339},
    disarm::{Disarm, Operator},
};

/// What happened to the protection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectionEvent {
    /// A person took it away.
    Disarmed,
    /// A daemon started, and it is still away.
    StillDisarmed,
    /// A person put it back.
    Armed,
    /// It came back at the deadline.
    Expired,
    /// The VM's process ended, and with it the disarm.
    Ended,
    /// The host was started anew, and with that the disarm ended.
    Rebooted,
}

/// Protection was taken away, or came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectionRecord {
    /// What happened.
    pub event: ProtectionEvent,
    /// Of which VM; of the whole host where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRef>,
    /// Its process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Who did it; absent where nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Operator>,
    /// Who had taken it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disarmed_by: Option<Operator>,
    /// Why, in the words of whoever did it; for what nobody did, in those of who
    /// had taken it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Until when it is away, in the wall clock's time, where a time was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl AuditBody {
    /// Protection is away, by whom `disarm` says.
    pub fn disarmed(disarm: &Disarm) -> Self {
        Self::Protection(Box::new(ProtectionRecord {
            by: Some(disarm.by.clone()),
            disarmed_by: None,
            until: until(disarm),
            ..record(ProtectionEvent::Disarmed, disarm)
        }))
    }

    /// A daemon starts, and protection is still away.
    pub fn still_disarmed(disarm: &Disarm) -> Self {
        Self::Protection(Box::new(ProtectionRecord {
            until: until(disarm),
            ..record(ProtectionEvent::StillDisarmed, disarm)
        }))
    }

    /// A person put the protection back.
    pub fn armed(disarm: &Disarm, by: &Operator, reason: Option<String>) -> Self {
        Self::Protection(Box::new(ProtectionRecord {
            by: Some(by.clone()),
            reason,
            ..record(ProtectionEvent::Armed, disarm)
        }))
    }

    /// Protection came back by itself.
    pub fn disarm_over(disarm: &Disarm, event: ProtectionEvent) -> Self {
        Self::Protection(Box::new(record(event, disarm)))
    }
}

fn record(event: ProtectionEvent, disarm: &Disarm) -> ProtectionRecord {
    ProtectionRecord {
        event,
        vm: disarm.vm.as_ref().map(|vm| VmRef {
            uuid: Some(vm.uuid),
            name: vm.name.clone(),
        }),
        pid: disarm.vm.as_ref().map(|vm| vm.process.pid),
        by: None,
        disarmed_by: Some(disarm.by.clone()),
        reason: Some(disarm.reason.clone()),
        until: None,
    }
}

/// The deadline as the wall clock stood when it was set.
fn until(disarm: &Disarm) -> Option<String> {
    let Now { boot_ns, wall_ns } = disarm.since;
    let time_ns = disarm.until_ns?.saturating_sub(boot_ns);
    Some(rfc3339(wall_ns.saturating_add(time_ns)))
}
