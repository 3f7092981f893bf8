//! Requests for approval. Anyone may wait for his own; only the admin socket
//! lists and decides.

use serde::{Deserialize, Serialize};

use super::{Effect, VmRef};

/// Longest wait in milliseconds.
pub const WAIT_MS_MAX: u64 = 50_000;

/// Where a request for approval is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Somebody said yes: make the same call again.
    Approved,
    /// Somebody said no.
    Denied,
    /// The call was made and allowed.
    Used,
    /// Nobody decided, or nobody used it, in time.
    Expired,
}

/// Parameters of `approval.wait`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WaitParams {
    /// The request, from the answer to `authorize`.
    pub approval: u64,
    /// Answer after so many milliseconds at the latest, at most [`WAIT_MS_MAX`].
    #[serde(default = "wait_ms")]
    pub timeout_ms: u64,
}

fn wait_ms() -> u64 {
    WAIT_MS_MAX
}

/// Result of `approval.wait`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitResult {
    /// Where the request is in its life; `pending` when the time was up.
    pub state: ApprovalState,
    /// What the one who decided had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Milliseconds until it lapses; 0 when it has.
    pub expires_in_ms: u64,
}

/// Parameters of `approval.list`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListParams {}

/// Result of `approval.list`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ListResult {
    /// Every request that has not lapsed, oldest first.
    pub approvals: Vec<Approval>,
}

/// Parameters of `approval.show`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShowParams {
    /// The request.
    pub approval: u64,
}

/// Parameters of `approval.approve` and `approval.deny`. The result is the
/// request as it stands then.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecideParams {
    /// The request.
    pub approval: u64,
    /// What there is to say about it; the one who asked gets to see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A person or a service, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// The user that the process runs as.
    pub uid: u32,
    /// The user who logged in, whatever user it became later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loginuid: Option<u32>,
}

/// One request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Its number: the decision that opened it.
    pub id: u64,
    /// Where it is in its life.
    pub state: ApprovalState,
    /// The caller's grant.
    pub grant: String,
    /// Who asked first.
    pub requester: Person,
    /// Who else made the same call while it waited. None of them may approve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_asked: Vec<Person>,
    /// The agent on whose behalf, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The tool.
    pub tool: String,
    /// The MCP server that offers it, as the caller says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmRef>,
    /// The arguments in canonical form, cut where they are long.
    pub arguments: String,
    /// SHA-256 of the whole arguments in canonical form.
    pub args_digest: String,
    /// Why the caller asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that asks for approval, as a JSON Pointer into the policy.
    pub rule: String,
    /// SHA-256 of the policy that it is bound to.
    pub policy_hash: String,
    /// When it was opened, RFC 3339, UTC.
    pub opened: String,
    /// Milliseconds until it lapses; 0 when it has.
    pub expires_in_ms: u64,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Person>,
    /// What the one who decided had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
