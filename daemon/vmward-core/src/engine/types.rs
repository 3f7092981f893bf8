//! What goes into a decision and what comes out of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    audit::AuditBody,
    clock::LocalTime,
    digest::Arguments,
    disarm::Disarm,
    effect::Effect,
    ids::{DecisionId, Process, VmUuid},
    journal::JournalEntry,
    lease::Lease,
    policy::map::Mapped,
};

/// Who asks, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Whose limits are charged, such as `uid:0`.
    pub grant: String,
    /// The peer of the socket.
    pub process: Process,
    /// Its user.
    pub uid: u32,
    /// Its command name.
    pub comm: String,
    /// Its executable, for the audit.
    pub exe: Option<String>,
    /// The agent on whose behalf it says that it asks, for the audit.
    pub agent: Option<String>,
    /// Its systemd unit.
    pub unit: Option<String>,
    /// The user who logged in, whatever user it became later.
    pub loginuid: Option<u32>,
}

/// A VM of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmTarget {
    /// Its identity.
    pub uuid: VmUuid,
    /// Its name now.
    pub name: String,
    /// Its QEMU process, while it runs.
    pub process: Option<Process>,
    /// Does the kernel refuse a stop without a lease?
    pub protected: bool,
    /// From the domain's metadata, for the policy's selectors and conditions.
    pub labels: BTreeMap<String, String>,
}

impl VmTarget {
    /// What the host is called where a VM is expected.
    pub const HOST_NAME: &str = "(host)";

    /// The host, in the place of a VM: for the effects that are done to it as a
    /// whole. `protected`: does the kernel refuse them without a lease?
    pub fn host(protected: bool) -> Self {
        Self {
            uuid: VmUuid::HOST,
            name: Self::HOST_NAME.to_owned(),
            process: Some(Process::HOST),
            protected,
            labels: BTreeMap::new(),
        }
    }

    /// Is it the host?
    pub fn is_host(&self) -> bool {
        self.uuid == VmUuid::HOST
    }
}

/// What the call is aimed at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The call names no VM.
    None,
    /// The call names a VM that is not on this host.
    Unknown(String),
    /// The call names a VM and this daemon watches no hypervisor that could know
    /// it: only the policy decides.
    Unchecked(String),
    /// The call names this VM.
    Vm(VmTarget),
}

/// May this happen now?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The tool that is about to be called; [`Effect::tool`] where the caller
    /// names only an effect.
    pub tool: String,
    /// Does the caller name the tool? Otherwise it names only an effect, and
    /// `tool` is that effect's own.
    pub via: Via,
    /// The MCP server that offers the tool, where the caller names one.
    pub server: Option<String>,
    /// The arguments.
    pub arguments: Arguments,
    /// What the effect map says about the call.
    pub mapped: Mapped,
    /// What it would do: what the caller claims, else what the effect map says.
    pub effect: Option<Effect>,
    /// To which VM.
    pub target: Target,
    /// Who asks.
    pub caller: Caller,
    /// This process and its descendants may use the lease.
    pub holder: Process,
    /// Why, as the caller gives it.
    pub reason: Option<String>,
    /// What the host's time zone adds to universal time.
    pub local: LocalTime,
}

/// How a caller names what it is about to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A tool with its arguments: an MCP server or proxy.
    #[default]
    Tool,
    /// Only an effect on a VM: a person or a service of the host.
    Effect,
}

/// A decision with all that has to be done about it, in this order: make
/// `journal` durable, write `audit`, put `lease` into the kernel, answer.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// The answer.
    pub decision: Decision,
    /// Empty for a denial, for a request for approval that waits already, and for
    /// an allow that charges and leases nothing: they need no durability.
    pub journal: Vec<JournalEntry>,
    /// The decision's record.
    pub audit: AuditBody,
    /// The record of the request for approval that it opened or used, to write
    /// after its own.
    pub approval: Option<AuditBody>,
    /// The lease to put into the kernel.
    pub lease: Option<Lease>,
    /// What a rule in shadow mode would have said, where it is something else.
    pub shadow: Option<Shadow>,
}

/// What would have been decided, had every rule counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// Why, as a sentence.
    pub message: String,
    /// The rule in shadow mode, as a JSON Pointer.
    pub rule: String,
}

impl Shadow {
    /// Would the call have passed?
    pub(super) fn lets_pass(&self) -> bool {
        self.reason_code == ReasonCode::Allowed
    }
}

/// Yes, no, or not yet.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead.
    Allow(Permit),
    /// Do not.
    Deny(Denial),
    /// Not before a person has said yes.
    Pending(Pending),
}

/// A call that waits for a person. Nothing is charged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Names the decision.
    pub id: DecisionId,
    /// Names the request for approval: the decision that opened it.
    pub approval: DecisionId,
    /// Milliseconds until the request lapses.
    pub expires_in_ms: u64,
    /// What to do, as a sentence.
    pub message: String,
    /// The rule that asks for approval, as a JSON Pointer.
    pub rule: String,
    /// Each limit that was looked at.
    pub limits: Vec<LimitRow>,
}

/// A yes. Only the engine can make one.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    pub(super) id: DecisionId,
    pub(super) message: String,
    pub(super) rule: String,
    pub(super) limits: Vec<LimitRow>,
}

impl Permit {
    /// Names the decision and its lease.
    pub fn id(&self) -> DecisionId {
        self.id
    }

    /// What was allowed, as a sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The rule that decided, as a JSON Pointer into the policy.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// Each limit that was charged, after this call.
    pub fn limits(&self) -> &[LimitRow] {
        &self.limits
    }

    /// Message, rule and limits, for an answer.
    pub fn into_answer(self) -> (String, String, Vec<LimitRow>) {
        (self.message, self.rule, self.limits)
    }
}

/// A no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Names the decision.
    pub id: DecisionId,
    /// Why, as a code.
    pub reason: ReasonCode,
    /// Why, as a sentence that an agent or a person can act on.
    pub message: String,
    /// The rule that decided, as a JSON Pointer into the policy; empty where no
    /// rule did.
    pub rule: String,
    /// Each limit that was looked at.
    pub limits: Vec<LimitRow>,
    /// Milliseconds after which asking again makes sense.
    pub retry_after_ms: Option<u64>,
}

/// Why, as a code to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// A rule or the default allows it.
    Allowed,
    /// No rule names this tool and the default is to deny.
    DefaultDeny,
    /// The rule's action is to deny.
    RuleDenied,
    /// The policy hides the tool.
    Hidden,
    /// A condition of a rule denies, or cannot be judged.
    Condition,
    /// The arguments do not satisfy the rule's schema or the increment of one of
    /// its limits.
    BadArguments,
    /// The rule allows it at other hours only.
    OutsideHours,
    /// The rule wants to know why, and the caller does not say.
    ReasonRequired,
    /// The VM is one of the policy's protected VMs.
    VmProtected,
    /// The tool could stop a VM and the effect map does not know it.
    UnmappedTool,
    /// A person must say yes first.
    ApprovalRequired,
    /// A person said no.
    ApprovalDenied,
    /// The grant has too many requests for approval open.
    TooManyApprovals,
    /// A limit is used up.
    RateLimited,
    /// No such VM on this host, or none named.
    VmUnknown,
    /// The VM is not running: there is nothing to stop.
    VmNotRunning,
    /// Another lease for this VM is live.
    LeaseBusy,
    /// The daemon has no room for it, or could not make it durable.
    Unavailable,
}

/// One limit, as it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitRow {
    /// The counter's name in the policy.
    pub counter: String,
    /// Whose counter, such as `grant:uid:0`.
    pub key: String,
    /// Window length in seconds.
    pub window_s: u64,
    /// Most calls in any window of that length.
    pub max: u64,
    /// Calls left now.
    pub remaining: u64,
    /// Milliseconds until a call is free; 0 when one is free now.
    pub next_free_in_ms: u64,
}

/// What a caller says became of an allowed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The VM was seen to stop.
    Stopped,
    /// The request was sent; the VM still ran when the caller gave up.
    StillRunning,
    /// The request failed.
    Failed,
    /// The request was never sent.
    NotAttempted,
    /// The request was sent; the caller cannot see what became of the VM.
    Unknown,
}

/// Why a report is not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReportError {
    /// No such decision, or too long ago.
    #[error("decision {0} is not known; only recent allowed calls can be reported on")]
    Unknown(DecisionId),
    /// Another grant's decision.
    #[error("decision {0} was given to another grant")]
    NotYours(DecisionId),
    /// One report a decision.
    #[error("decision {0} was reported on already")]
    AlreadyReported(DecisionId),
}

/// Why a lease is not given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReleaseError {
    /// No such lease, or it is settled.
    #[error("lease {0} is not live")]
    Unknown(DecisionId),
    /// Another grant's lease.
    #[error("lease {0} belongs to another grant")]
    NotYours(DecisionId),
    /// It is in use, and its end decides.
    #[error("lease {0} is in use already")]
    InUse(DecisionId),
}

/// A lease that its holder gave back: take it out of the kernel, then write this
/// down. Where the kernel's row turns out to be used, call
/// [`super::Engine::lease_claimed`] and [`super::Engine::spent`] too.
#[derive(Clone, Debug)]
pub struct Released {
    /// The lease, for its kernel row.
    pub lease: Lease,
    /// To make durable.
    pub journal: Vec<JournalEntry>,
    /// To write.
    pub audit: AuditBody,
}

/// Protection that came back: write this down.
#[derive(Clone, Debug, Default)]
pub struct Rearmed {
    /// What was disarmed until now.
    pub ended: Vec<Disarm>,
    /// To make durable.
    pub journal: Vec<JournalEntry>,
    /// To write.
    pub audit: Vec<AuditBody>,
}

/// A lease that came to its end: write this down.
#[derive(Clone, Debug, Default)]
pub struct Closed {
    /// The leases as they ended.
    pub leases: Vec<Lease>,
    /// To make durable.
    pub journal: Vec<JournalEntry>,
    /// To write.
    pub audit: Vec<AuditBody>,
}
