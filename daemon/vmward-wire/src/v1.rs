//! Version 1 of the protocol: the parameters and results of each method.
//!
//! Rules for the next version: add a module `v2`, keep this one and its golden
//! files for ever; a new optional field is no new version.

mod answer;
pub mod approval;
mod call;
pub mod disarm;
pub mod events;
pub mod explain;
mod hello;
pub mod status;
pub mod tools;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::answer::write_answer;
pub use self::call::read_call;
pub use self::hello::{HelloParams, HelloResult};
pub use self::status::{
    HookStatus, HostRuleStatus, KernelStatus, LeaseStatus, LibvirtStatus, Mode, OthersStatus,
    PolicyStatus, StatusParams, StatusResult, VmStatus,
};

/// The number that `hello` exchanges.
pub const PROTOCOL_VERSION: u32 = 1;

/// Names of the methods, as they stand in `"method"`.
pub mod method {
    /// Exchange versions.
    pub const HELLO: &str = "hello";
    /// May this tool call, or this effect on this VM, happen now?
    pub const AUTHORIZE: &str = "authorize";
    /// What became of an authorized call.
    pub const COMPLETE: &str = "complete";
    /// Give a lease back before its deadline.
    pub const LEASE_RELEASE: &str = "lease.release";
    /// The daemon's whole state.
    pub const STATUS: &str = "status";
    /// Which of these tools should an agent see?
    pub const TOOLS_FILTER: &str = "tools.filter";
    /// What would each rule say about this call?
    pub const EXPLAIN: &str = "explain";
    /// Wait for a person's decision about a request of one's own.
    pub const APPROVAL_WAIT: &str = "approval.wait";
    /// Every request for approval. Admin socket only, as the next three.
    pub const APPROVAL_LIST: &str = "approval.list";
    /// One request for approval.
    pub const APPROVAL_SHOW: &str = "approval.show";
    /// Say yes.
    pub const APPROVAL_APPROVE: &str = "approval.approve";
    /// Say no.
    pub const APPROVAL_DENY: &str = "approval.deny";
    /// Take protection away. Admin socket only, as the next.
    pub const DISARM: &str = "disarm";
    /// Put it back.
    pub const ARM: &str = "arm";
    /// Audit records as they are written.
    pub const EVENTS_SUBSCRIBE: &str = "events.subscribe";
}

/// What a call does to a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Ask the guest to power off.
    Stop,
    /// Cut the power: `virsh destroy`, `kill`.
    ForceStop,
    /// Ask the guest to reboot.
    Reboot,
    /// Pull the reset line.
    Reset,
    /// Stop the virtual CPUs; the VM keeps its memory.
    Pause,
    /// Write the VM's memory to disk and end the process.
    Save,
    /// Move the VM to another host.
    Migrate,
    /// Remove the VM for good.
    Delete,
    /// Restart, halt or replace the host's kernel at once: the one effect that is
    /// done to the host, so no `vm` goes with it.
    HostReboot,
}

/// Who may use the lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The calling process and its descendants.
    #[default]
    Caller,
    /// The caller's parent and its descendants: for a command that asks and
    /// ends while the shell that ran it goes on.
    Parent,
}

/// Parameters of `authorize`. Either `tool` or `effect` with
/// `vm` must be there; `host_reboot` goes without one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorizeParams {
    /// The MCP tool that is about to be called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// The MCP server that offers it, by the name that the effect map knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The arguments of that call.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
    /// The VM, by name or UUID. Where absent, the effect map reads it from the
    /// arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<String>,
    /// The effect, for a caller that names no tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// Why, for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent on whose behalf the caller asks, as the caller names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Who may use the lease.
    #[serde(default)]
    pub holder: Holder,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Go ahead, within the lease.
    Allow,
    /// Do not.
    Deny,
    /// Not before a person has said yes: ask again then, with the same
    /// arguments.
    Pending,
}

/// A request for approval, as the one who asked sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalRef {
    /// For `approval.wait` and `vmward approvals`.
    pub id: u64,
    /// Milliseconds until it lapses.
    pub expires_in_ms: u64,
}

/// What would have been decided, had the rules in shadow mode counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowVerdict {
    /// `deny` or `pending`.
    pub decision: Decision,
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// Why, as a sentence.
    pub message: String,
    /// The rule in shadow mode, as a JSON Pointer.
    pub rule: String,
}

/// Why, as a code to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReasonCode {
    /// A rule allows it.
    Allowed,
    /// No rule names this tool and the default is to deny.
    DefaultDeny,
    /// The rule's action is to deny.
    RuleDenied,
    /// The policy hides the tool.
    Hidden,
    /// A condition of a rule denies, or cannot be judged.
    Condition,
    /// The arguments do not satisfy the rule.
    BadArguments,
    /// The rule allows it at other hours only.
    OutsideHours,
    /// The rule wants a `reason`.
    ReasonRequired,
    /// The VM is one of the policy's protected VMs.
    VmProtected,
    /// The tool could stop a VM and the effect map does not know it.
    UnmappedTool,
    /// A person must say yes first: `approval` says which request.
    ApprovalRequired,
    /// A person said no.
    ApprovalDenied,
    /// The grant has too many requests for approval open.
    TooManyApprovals,
    /// A limit is used up; `retry_after_ms` says until when.
    RateLimited,
    /// No such VM on this host.
    VmUnknown,
    /// The VM is not running: there is nothing to stop.
    VmNotRunning,
    /// Another lease for this VM is live.
    LeaseBusy,
    /// The daemon could not make its decision durable, or put the lease into
    /// the kernel.
    Unavailable,
}

/// A VM as the daemon knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmRef {
    /// Hyphenated lower-case UUID: the identity.
    pub uuid: String,
    /// The libvirt domain name: for people.
    pub name: String,
}

/// A lease as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// For `lease.release` and the audit.
    pub id: u64,
    /// The one VM that it covers.
    pub vm: VmRef,
    /// The one effect that it covers.
    pub effect: Effect,
    /// Milliseconds until it lapses unused.
    pub expires_in_ms: u64,
    /// The process whose descendants may use it.
    pub holder_pid: u32,
}

/// One limit, after this decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitState {
    /// The counter's name in the policy.
    pub counter: String,
    /// Whose counter: scope and key, such as `grant:uid:0`.
    pub key: String,
    /// Window length in seconds.
    pub window_s: u64,
    /// Most calls in any window of that length.
    pub max: u64,
    /// Calls left now.
    pub remaining: u64,
    /// Milliseconds until one more is free; 0 when one is free now.
    pub next_free_in_ms: u64,
}

/// Result of `authorize`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuthorizeResult {
    /// The verdict.
    pub decision: Decision,
    /// Names this decision in the audit.
    pub decision_id: u64,
    /// Why, as a code.
    pub reason_code: ReasonCode,
    /// Why, as a sentence that an agent or a person can act on.
    pub message: String,
    /// The rule that decided, as a JSON Pointer into the policy.
    pub rule: String,
    /// Each limit that was looked at.
    pub limits: Vec<LimitState>,
    /// Milliseconds after which asking again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The lease, where the effect needs one and the kernel enforces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Lease>,
    /// The request for approval, where one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRef>,
    /// What a rule in shadow mode would have said, where it is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<ShadowVerdict>,
    /// SHA-256 of the arguments in canonical form.
    pub args_digest: String,
    /// SHA-256 of the policy in force.
    pub policy_hash: String,
}

/// What became of an authorized call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The VM was seen to stop.
    Stopped,
    /// The request was sent; the VM was still running when the caller gave up.
    StillRunning,
    /// The request failed.
    Failed,
    /// The request was never sent.
    NotAttempted,
    /// The request was sent; the caller cannot see the VM.
    Unknown,
}

/// Parameters of `complete`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompleteParams {
    /// From the answer to `authorize`.
    pub decision_id: u64,
    /// What the caller saw. A report, not evidence: quota is given back only
    /// on what kernel and libvirt show.
    pub outcome: Outcome,
    /// Free text for the audit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Parameters of `lease.release`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseReleaseParams {
    /// The lease to give back.
    pub lease: u64,
}

/// Result of `complete` and `lease.release`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Always true; an error answer says otherwise.
    pub ok: bool,
}
