//! Approvals: a person's yes to one call, and to no other.
//!
//! ```text
//!   pending --- approve ---> approved --- the same call again ---> used
//!     |   \                     |
//!     |    \-- deny --> denied  +-- deadline --> expired
//!     +-- deadline --> expired
//! ```
//!
//! An approval is bound to everything that was shown to the approver: caller,
//! tool, effect, the VM and its very process, the arguments in canonical form,
//! and the policy. Whatever of it changes, the call is another call. It is used
//! once, by a call that passes every rule again.

use serde::{Deserialize, Serialize};

use crate::{
    clock::Now,
    effect::Effect,
    ids::{DecisionId, Process, VmUuid},
};

/// What an approval is for. Two calls are the same call iff these are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The caller's grant.
    pub grant: String,
    /// The tool.
    pub tool: String,
    /// The effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
    /// The VM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmUuid>,
    /// The VM's process: after a restart of the VM it is another call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// SHA-256 of the arguments in canonical form (RFC 8785).
    pub args_digest: String,
    /// SHA-256 of the policy.
    pub policy_hash: String,
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

impl Person {
    /// Is it certain that these are two people? The login counts where both
    /// have one, because `sudo` changes the user and not the person.
    pub fn differs_from(&self, other: &Self) -> bool {
        match (self.loginuid, other.loginuid) {
            (Some(one), Some(two)) => one != two,
            _ => self.uid != other.uid,
        }
    }
}

/// Where an approval is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody has decided.
    Pending,
    /// Somebody said yes; the call has not come again.
    Approved,
    /// Somebody said no.
    Denied,
    /// The call came again and was allowed.
    Used,
    /// Nobody decided, or nobody used it, in time.
    Expired,
}

/// One request for approval, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// The decision that asked for it.
    pub id: DecisionId,
    /// What it is for.
    pub binding: Binding,
    /// Where it is in its life.
    pub state: ApprovalState,
    /// Who asks.
    pub requester: Person,
    /// The VM's name at that time, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm_name: Option<String>,
    /// The arguments in canonical form, cut where they are long.
    pub arguments: String,
    /// Why the caller asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The agent on whose behalf, as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The rule that asks for it, as a JSON Pointer.
    pub rule: String,
    /// When it was opened.
    pub opened: Now,
    /// When it lapses, in boot-time nanoseconds.
    pub deadline_ns: i64,
    /// Who decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Person>,
    /// What the one who decided had to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}
