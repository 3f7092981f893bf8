//! What the audit log says: one record a line, each bound to the one before.
//!
//! The daemon fills these in; `vmward audit` and every log shipper read them.
//! Adding an optional field is compatible, removing or renaming one is not.

mod approval;
pub mod chain;
pub mod files;
pub mod head;
mod kernel;
mod protection;

pub use approval::{ApprovalEvent, ApprovalRecord};
pub use kernel::{Actor, Ancestor, KernelRecord, KernelVerdict, Requester, Signal};
pub use protection::{ProtectionEvent, ProtectionRecord};
use serde::{Deserialize, Serialize};

use crate::{
    clock,
    effect::Effect,
    engine::{Outcome, ReasonCode, Shadow, Via},
    ids::{DecisionId, Process, VmUuid},
    journal::JournalEntry,
    lease::{Lease, LeaseState},
    limit::Charge,
};

/// The format that [`Genesis::format`] names.
pub const AUDIT_FORMAT: u32 = 1;

/// Room for a record; most are shorter.
const TEXT_BYTES: usize = 1024;
/// Longest arguments that a decision's record keeps, in bytes.
pub const ARGUMENTS_BYTES_MAX: usize = 4096;

/// What happened. The variant's name is the record's `kind`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum AuditBody {
    /// The first record of a log.
    Genesis(Genesis),
    /// Something about the daemon itself.
    Daemon(DaemonRecord),
    /// A call was allowed or denied.
    Decision(Box<DecisionRecord>),
    /// Denied calls that share a record, since there were too many.
    Denials(Box<DenialsRecord>),
    /// What a caller says became of an allowed call.
    Outcome(OutcomeRecord),
    /// A lease changed its state.
    Lease(LeaseRecord),
    /// A request for approval was opened, or changed its state.
    Approval(Box<ApprovalRecord>),
    /// A VM came under protection, left it, or ended.
    Vm(Box<VmRecord>),
    /// A person took protection away, or it came back.
    Protection(Box<ProtectionRecord>),
    /// The kernel judged or saw something.
    Kernel(Box<KernelRecord>),
    /// Kernel events that nobody will ever see. Between the first and the last may be others
    /// that came.
    Loss(LossRecord),
}

impl AuditBody {
    /// The decision that the record announces, if it is a decision record.
    pub fn decision_id(&self) -> Option<DecisionId> {
        match self {
            Self::Decision(record) => Some(record.decision_id),
            _ => None,
        }
    }

    /// The record as a JSON object. It never fails: the records are plain structs
    /// of strings and integers, with which that is impossible; were it not, a
    /// record without content is still a record.
    pub fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(TEXT_BYTES);
        match serde_json::to_writer(&mut text, self) {
            Ok(()) => text,
            Err(error) => {
                let detail = format!("unwritable record: {error}");
                let lost = serde_json::json!({"kind": "unwritable", "detail": detail});
                lost.to_string().into_bytes()
            }
        }
    }

    /// Something happened to the daemon itself.
    pub fn daemon(event: &str, detail: Option<String>) -> Self {
        Self::Daemon(DaemonRecord {
            event: event.to_owned(),
            detail,
            charged: None,
        })
    }

    /// So many uses of a host rule were charged.
    pub fn host_rule_charged(name: &str, times: u64, charged: OutOfBandCharge) -> Self {
        Self::Daemon(DaemonRecord {
            event: "host-rule-charged".to_owned(),
            detail: Some(format!("{name}, used {times} times")),
            charged: Some(charged),
        })
    }

    /// A lease is in another state now; `refunded` when its quota went back.
    pub fn lease(lease: &Lease, refunded: bool) -> Self {
        Self::Lease(LeaseRecord {
            lease: lease.id,
            vm: VmRef {
                uuid: Some(lease.vm),
                name: lease.vm_name.clone(),
            },
            state: lease.state,
            refunded,
        })
    }

    /// The same record, marked as written again after a crash, with the wall
    /// clock's time of the decision where that is known.
    #[must_use]
    pub fn recovered(mut self, decided_ns: Option<i64>) -> Self {
        match &mut self {
            Self::Decision(record) => {
                record.recovered = true;
                record.decided = decided_ns.map(clock::rfc3339);
            }
            Self::Approval(record) => record.recovered = true,
            _ => {}
        }
        self
    }
}

/// The first record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    /// [`AUDIT_FORMAT`].
    pub format: u32,
    /// The daemon's version.
    pub daemon: String,
}

/// Something about the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonRecord {
    /// `started`, `stopping`, `policy-loaded`, `policy-rejected`, `takeover` ...
    pub event: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of `host-rule-charged`, what was charged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<OutOfBandCharge>,
}

/// Allowed or denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Allowed.
    Allow,
    /// Denied.
    Deny,
    /// Waits for a person.
    Pending,
}

/// A VM, by its identity and its name at that time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRef {
    /// Absent where a name did not resolve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<VmUuid>,
    /// The domain's name, or what the caller called it.
    pub name: String,
}

/// Who asked, as the kernel vouches for it (`agent` is the caller's own word).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerRecord {
    /// Whose limits are charged, such as `uid:0`.
    pub grant: String,
    /// The peer of the socket.
    #[serde(flatten)]
    pub process: Process,
    /// Its user.
    pub uid: u32,
    /// Its command name.
    pub comm: String,
    /// Its executable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// The agent on whose behalf it says that it asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Its systemd unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// A call was allowed or denied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// Allowed or denied.
    pub decision: Verdict,
    /// Names the decision.
    pub decision_id: DecisionId,
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// The tool that was to be called.
    pub tool: String,
    /// How the caller named it.
    #[serde(default)]
    pub via: Via,
    /// The MCP server that offers it, as the caller named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The arguments in canonical form. Absent where they are longer than
    /// [`ARGUMENTS_BYTES_MAX`], or not to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<String>,
    /// What it would do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// True when only the caller says so, and the effect map does not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub claimed: bool,
    /// To which VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRef>,
    /// Who asked.
    pub caller: CallerRecord,
    /// The rule that decided, as a JSON Pointer into the policy.
    pub rule: String,
    /// Why, as the caller was told.
    pub message: String,
    /// Why, as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The lease's deadline and holder, where a lease was granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseNote>,
    /// The request for approval that it opened, waits for, or used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<DecisionId>,
    /// What a rule in shadow mode would have said, where it is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
    /// SHA-256 of the policy in force.
    pub policy_hash: String,
    /// SHA-256 of the arguments in canonical form.
    pub args_digest: String,
    /// True when a crash kept the record from being written and the journal gave
    /// it back: the record's own time is that of the recovery.
    #[serde(default)]
    pub recovered: bool,
    /// True for an allow that the journal has, too: it was charged, leased or
    /// approved. A journal that lacks it lost lines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub journalled: bool,
    /// What such an allow was charged, for a journal that lost it. Former versions
    /// did not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charges: Option<Vec<Charge>>,
    /// When it was decided, where the record was recovered and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided: Option<String>,
}

/// Denied calls of one account that have no record of their own: more of them
/// came in a second than the log takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenialsRecord {
    /// How many.
    pub count: u64,
    /// The last of them.
    pub last: DecisionRecord,
}

/// A granted lease, within the decision's record; its id is the decision's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseNote {
    /// This process and its descendants may use it.
    pub holder: Process,
    /// The boot-time nanosecond at which it lapses unused.
    pub deadline_ns: i64,
}

/// What a caller says became of an allowed call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// The decision that allowed it.
    pub decision_id: DecisionId,
    /// The grant that it was given to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// What the caller says. A report, not evidence.
    pub outcome: Outcome,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A lease changed its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// The lease: the decision that granted it.
    pub lease: DecisionId,
    /// The VM that it covers.
    pub vm: VmRef,
    /// The state that it is in now.
    pub state: LeaseState,
    /// True when its quota went back.
    pub refunded: bool,
}

/// A VM came under protection, left it, stands still, goes on, has other labels, or
/// ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRecord {
    /// `protected`, `unprotected`, `paused`, `resumed`, `labels` or `ended`.
    pub event: String,
    /// Which.
    pub vm: VmRef,
    /// Its QEMU process.
    pub pid: u32,
    /// Why it ended, as far as the evidence goes: `lease`, `guest`, ...; why its guest
    /// stands still, in libvirt's words: `user`, `I/O error`, ...; what its labels were
    /// and are: `tier=prod -> tier=test`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Its exit status, where no signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The lease that covered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<DecisionId>,
    /// What it was charged, where it was a stop beside the gateway that counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub charged: Option<OutOfBandCharge>,
    /// Who did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// What was charged for something that did not ask: a stop beside the gateway, or the
/// uses of a host rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfBandCharge {
    /// Names the charge, like a decision.
    pub id: DecisionId,
    /// What was charged.
    pub charges: Vec<Charge>,
}

impl OutOfBandCharge {
    /// What the journal's entry says; none where it is of something else.
    pub fn of(entry: &JournalEntry) -> Option<Self> {
        match entry {
            JournalEntry::OutOfBand { id, charges, .. } => Some(Self {
                id: *id,
                charges: charges.clone(),
            }),
            _ => None,
        }
    }
}

/// Kernel events that nobody will ever see. Between the first and the last may be others
/// that came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossRecord {
    /// The `kernel_seq` of the first.
    pub from: u64,
    /// The `kernel_seq` of the last.
    pub to: u64,
    /// How many.
    pub count: u64,
}

#[cfg(test)]
mod tests;
