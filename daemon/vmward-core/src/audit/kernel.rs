//! What the kernel judged or saw, and who did it.

use serde::{Deserialize, Serialize};

use super::VmRef;
use crate::{effect::Effect, ids::DecisionId};

/// What the kernel did about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelVerdict {
    /// Refused.
    Refused,
    /// Let through, because the daemon only observes.
    WouldRefuse,
    /// Let through: a lease covers it.
    AllowedLease,
    /// Let through: the guest had ended already and libvirt cleans up.
    AllowedFinishing,
    /// Seen, where no hook can refuse.
    Witnessed,
    /// Let through: a host rule names who did it.
    AllowedHostRule,
    /// Refused: a host rule names who tried, and its limit is used up.
    RefusedHostLimit,
}

/// The kernel judged or saw something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelRecord {
    /// What the kernel did about it.
    pub verdict: KernelVerdict,
    /// The VM at which it was aimed.
    pub vm: VmRef,
    /// The VM's QEMU process.
    pub pid: u32,
    /// The way that was tried, such as `signal`.
    pub vector: String,
    /// What it was, in a word: a monitor command, a control file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub word: Option<String>,
    /// What it would have done to the VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The signal, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Who tried.
    pub actor: Actor,
    /// On whose behalf, where the actor is libvirt: who asked it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// The lease that covered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<DecisionId>,
    /// libvirt acted under a lease of which it is not known that the requester
    /// holds it: somebody may have ridden on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rode: bool,
    /// The host rule that decided, by its name in the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_rule: Option<String>,
    /// For how many events of the kernel the record stands, where they came in a
    /// flood: the actor did them all, or, where it is process 0, several did.
    /// The other fields are those of the last. One event where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// When the kernel saw it: RFC 3339, UTC. Earlier than the record's own
    /// time by as long as no daemon was there to read it.
    pub seen: String,
    /// Counts every kernel event of this boot, lost ones included.
    pub kernel_seq: u64,
    /// Counts the events of this VM.
    pub vm_seq: u64,
}

/// A signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// Its number.
    pub number: u32,
    /// Its name, such as `SIGKILL`.
    pub name: String,
}

/// Who asked libvirt to do it, as far as the host can tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// False where several had asked and this is the latest of them.
    pub sure: bool,
    /// The process.
    #[serde(flatten)]
    pub process: Actor,
}

/// A process that did something, as the kernel saw it at that moment, with what
/// `/proc` added where the process still lived.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// The thread.
    pub pid: u32,
    /// Its process.
    pub tgid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its command name.
    pub comm: String,
    /// Its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Its command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmdline: Option<String>,
    /// The user who logged in, whatever user it became later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
    /// The audit session of that login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// Its cgroup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Its systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Its parents, nearest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<Ancestor>,
}

/// A parent of an actor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// The process.
    pub pid: u32,
    /// Its command name.
    pub comm: String,
}
